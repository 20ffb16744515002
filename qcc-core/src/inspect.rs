//! Reads a request once, on its way in.
//!
//! [`Inspect`] stands on top of the stack. It makes the [`Exchange`] of the request, reads the
//! body into memory up to a limit, so that it can be sent more than once, and has the facts read
//! from it. It changes no byte: what goes down is what came in.
//!
//! It knows no API; a [`ReadFacts`] does.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Request;
use http::request::Parts;
use http_body::Body;
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use crate::body::{Collect, RequestBody};
use crate::error::{BoxError, Error, ErrorKind};
use crate::exchange::{Exchange, RequestId};
use crate::facts::ReadFacts;

/// Makes [`Inspect`].
#[derive(Clone, Debug)]
pub struct InspectLayer {
    reader: Arc<dyn ReadFacts>,
    limit: usize,
}

impl InspectLayer {
    /// How large a body may be to be kept, by default: 32 MiB, what the Messages API takes.
    pub const DEFAULT_LIMIT: usize = 32 * 1024 * 1024;

    /// Has the facts read by `reader`.
    pub fn new(reader: impl ReadFacts) -> Self {
        Self::shared(Arc::new(reader))
    }

    /// Has the facts read by a reader that others use, too.
    #[must_use]
    pub const fn shared(reader: Arc<dyn ReadFacts>) -> Self {
        Self {
            reader,
            limit: Self::DEFAULT_LIMIT,
        }
    }

    /// Keeps bodies of at most `limit` bytes. A larger one is passed on as it comes: it is sent
    /// once, and only the head of its request is read for facts.
    #[must_use]
    pub const fn with_limit(mut self, limit: usize) -> Self {
        self.limit = limit;
        self
    }
}

impl<S> Layer<S> for InspectLayer {
    type Service = Inspect<S>;

    fn layer(&self, inner: S) -> Inspect<S> {
        Inspect {
            inner,
            config: self.clone(),
        }
    }
}

/// Reads a request once, on its way in. See the [module](self).
///
/// # Errors
///
/// [`Error`] of kind [`ErrorKind::RequestBody`] if the client's body breaks; else those of the
/// inner service, whose error is [`Error`] itself or the box between layers.
///
/// # Cancel safety
///
/// Dropping the future drops the request.
#[derive(Clone, Debug)]
pub struct Inspect<S> {
    inner: S,
    config: InspectLayer,
}

impl<S> Inspect<S> {
    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<B>> for Inspect<S>
where
    S: Service<Request<RequestBody>> + Clone,
    S::Error: From<Error>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = InspectFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> InspectFuture<S, B> {
        // The one that was polled ready is the one to call, and it is called later.
        let next = self.inner.clone();
        let inner = mem::replace(&mut self.inner, next);
        let (mut head, body) = request.into_parts();
        let exchange = exchange(&mut head);
        InspectFuture {
            state: State::Reading {
                body: RequestBody::collect(body, self.config.limit),
                request: Some(Pending {
                    head,
                    exchange,
                    inner,
                    config: self.config.clone(),
                }),
            },
        }
    }
}

/// The exchange of the request. A new one takes the id that the client gave, if it is sane.
fn exchange(head: &mut Parts) -> Exchange {
    if Exchange::get(&head.extensions).is_none()
        && let Some(id) = RequestId::given(&head.headers)
    {
        head.extensions.insert(Exchange::new(id));
    }
    Exchange::of(&mut head.extensions)
}

pin_project! {
    /// The future of [`Inspect`].
    pub struct InspectFuture<S, B>
    where
        S: Service<Request<RequestBody>>,
    {
        #[pin]
        state: State<S, B>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S, B>
    where
        S: Service<Request<RequestBody>>,
    {
        // The body is being read; the rest of the request waits for it.
        Reading {
            body: Collect<B>,
            request: Option<Pending<S>>,
        },
        // The inner service has it.
        Called {
            #[pin]
            response: S::Future,
        },
    }
}

struct Pending<S> {
    head: Parts,
    exchange: Exchange,
    inner: S,
    config: InspectLayer,
}

impl<S> Pending<S> {
    fn read_facts(&self, body: &RequestBody) {
        if self.exchange.has_facts() {
            return;
        }
        let bytes = body.as_bytes().map(|bytes| &**bytes);
        if bytes.is_none() {
            tracing::debug!(
                request_id = %self.exchange.id(),
                limit = self.config.limit,
                "the body is larger than the limit: its facts are those of its head"
            );
        }
        let facts = self.config.reader.facts(&self.head, bytes);
        self.exchange.set_facts(facts);
    }
}

impl<S, B> Future for InspectFuture<S, B>
where
    S: Service<Request<RequestBody>>,
    S::Error: From<Error>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<S::Response, S::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let response = match state.as_mut().project() {
                StateProj::Called { response } => return response.poll(cx),
                StateProj::Reading { body, request } => {
                    let body = ready!(Pin::new(body).poll(cx));
                    #[expect(clippy::expect_used, reason = "taken only where this state ends")]
                    let mut pending = request.take().expect("polled after it was done");
                    match body {
                        Ok(body) => {
                            pending.read_facts(&body);
                            pending.inner.call(Request::from_parts(pending.head, body))
                        }
                        Err(broken) => {
                            let id = pending.exchange.id().clone();
                            let error = Error::new(ErrorKind::RequestBody, id);
                            return Poll::Ready(Err(error.with_source(broken.into()).into()));
                        }
                    }
                }
            };
            state.set(State::Called { response });
        }
    }
}

impl<S, B> fmt::Debug for InspectFuture<S, B>
where
    S: Service<Request<RequestBody>>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InspectFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::future;
    use std::io;
    use std::sync::Mutex;

    use http::Response;
    use http_body::Frame;
    use http_body_util::{BodyExt as _, Full};
    use tower::ServiceExt;

    use super::*;
    use crate::facts::Facts;

    /// Writes down the body that it was shown.
    #[derive(Clone, Debug, Default)]
    struct Shown(Arc<Mutex<Vec<Option<Vec<u8>>>>>);

    impl ReadFacts for Shown {
        fn facts(&self, head: &Parts, body: Option<&[u8]>) -> Facts {
            self.0.lock().unwrap().push(body.map(<[u8]>::to_vec));
            Facts {
                model: Some(head.uri.path().into()),
                ..Facts::default()
            }
        }
    }

    impl Shown {
        fn all(&self) -> Vec<Option<Vec<u8>>> {
            self.0.lock().unwrap().clone()
        }
    }

    /// Answers with the request that it got. A clone is not ready, and calling it so panics.
    #[derive(Debug, Default)]
    struct Echo {
        ready: bool,
    }

    impl Clone for Echo {
        fn clone(&self) -> Self {
            Self::default()
        }
    }

    impl Service<Request<RequestBody>> for Echo {
        type Response = Response<Request<RequestBody>>;
        type Error = BoxError;
        type Future = future::Ready<Result<Self::Response, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            self.ready = true;
            Poll::Ready(Ok(()))
        }

        fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
            assert!(mem::take(&mut self.ready), "called before it was ready");
            future::ready(Ok(Response::new(request)))
        }
    }

    /// A body that comes in pieces, with a pause before each.
    #[derive(Debug)]
    struct Pieces {
        left: VecDeque<Result<&'static str, io::Error>>,
        paused: bool,
    }

    impl Pieces {
        fn new<const N: usize>(left: [Result<&'static str, io::Error>; N]) -> Self {
            Self {
                left: left.into(),
                paused: false,
            }
        }
    }

    impl Body for Pieces {
        type Data = Bytes;
        type Error = io::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
            self.paused = !self.paused;
            if self.paused {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let piece = self.left.pop_front();
            let frame = piece.map(|piece| piece.map(|text| Frame::data(Bytes::from(text))));
            Poll::Ready(frame)
        }
    }

    async fn inspect<B>(
        layer: &InspectLayer,
        request: Request<B>,
    ) -> Result<Request<RequestBody>, BoxError>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        let echo = layer.layer(Echo::default()).oneshot(request).await;
        echo.map(Response::into_body)
    }

    fn post<B>(body: B) -> Request<B> {
        let request = Request::post("/v1/messages?beta=true");
        request.header("x-a", "1").body(body).unwrap()
    }

    fn exchange_of(request: &Request<RequestBody>) -> &Exchange {
        Exchange::get(request.extensions()).unwrap()
    }

    // UPS-12
    #[tokio::test]
    async fn the_body_goes_down_byte_for_byte_and_the_head_as_it_was() {
        let shown = Shown::default();
        let layer = InspectLayer::new(shown.clone());
        let odd = "{ \"model\" : \"m\",\u{0}\r\n  \"n\":1.50e+2 }  ";
        let (one, two) = odd.split_at(7);
        let request = inspect(&layer, post(Pieces::new([Ok(one), Ok(two)])))
            .await
            .unwrap();
        assert_eq!(request.uri(), "/v1/messages?beta=true");
        assert_eq!(request.headers().len(), 1);
        assert_eq!(request.body().as_bytes().unwrap(), odd);
        assert_eq!(shown.all(), [Some(odd.as_bytes().to_vec())]);
        let facts = exchange_of(&request).facts();
        assert_eq!(facts.model.as_deref(), Some("/v1/messages"));
    }

    // RTY-15, AFF-06
    #[tokio::test]
    async fn over_the_limit_only_the_head_is_read_and_the_body_streams_through() {
        let shown = Shown::default();
        let layer = InspectLayer::new(shown.clone()).with_limit(4);
        let request = inspect(&layer, post(Pieces::new([Ok("abc"), Ok("de"), Ok("f")])));
        let request = request.await.unwrap();
        assert!(request.body().as_bytes().is_none());
        assert_eq!(shown.all(), [None]);
        assert!(exchange_of(&request).has_facts());
        let body = request.into_body().collect().await.unwrap();
        assert_eq!(body.to_bytes(), "abcdef");

        let request = inspect(&layer, post(Pieces::new([Ok("abc"), Ok("d")])))
            .await
            .unwrap();
        assert!(request.body().as_bytes().is_some());
    }

    // EMB-02
    #[tokio::test]
    async fn the_service_that_was_ready_is_the_one_that_is_called() {
        let layer = InspectLayer::new(Shown::default());
        let mut service = layer.layer(Echo::default());
        let mut calls = Vec::new();
        for _ in 0..2 {
            let ready = ServiceExt::<Request<Pieces>>::ready(&mut service).await;
            // The body pauses, so that the inner service is called after the next was readied.
            calls.push(ready.unwrap().call(post(Pieces::new([Ok("x")]))));
        }
        for call in calls {
            assert!(call.await.is_ok());
        }
    }

    #[tokio::test]
    async fn a_body_that_breaks_is_the_clients_own_error() {
        let layer = InspectLayer::new(Shown::default());
        let broken = Pieces::new([Ok("x"), Err(io::ErrorKind::UnexpectedEof.into())]);
        let error = inspect(&layer, post(broken)).await.unwrap_err();
        let error = error.downcast::<Error>().unwrap();
        assert_eq!(error.kind(), ErrorKind::RequestBody);
        assert!(std::error::Error::source(&*error).is_some());
    }

    // OPS-14
    #[tokio::test]
    async fn a_sane_request_id_of_the_client_becomes_that_of_the_exchange() {
        let layer = InspectLayer::new(Shown::default());
        for (given, taken) in [("req-7", true), ("not sane", false)] {
            let mut request = post(Full::new(Bytes::new()));
            let value = given.parse().unwrap();
            request.headers_mut().insert("x-request-id", value);
            let request = inspect(&layer, request).await.unwrap();
            assert_eq!(exchange_of(&request).id().to_string() == given, taken);
            assert_eq!(request.headers()["x-request-id"], given);
        }
    }

    #[tokio::test]
    async fn an_exchange_that_is_there_is_kept_and_its_facts_are_not_read_again() {
        let shown = Shown::default();
        let layer = InspectLayer::new(shown.clone());
        let exchange = Exchange::new("mine".parse().unwrap());
        exchange.set_facts(Facts::default());
        let mut request = post(Full::from("x"));
        request
            .headers_mut()
            .insert("x-request-id", "other".parse().unwrap());
        request.extensions_mut().insert(exchange);
        let request = inspect(&layer, request).await.unwrap();
        assert_eq!(exchange_of(&request).id().to_string(), "mine");
        assert_eq!(shown.all(), []);
    }
}
