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
use crate::exchange::Exchange;
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
/// inner service.
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
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = S::Response;
    type Error = BoxError;
    type Future = InspectFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
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
    let given = || {
        head.headers
            .get("x-request-id")?
            .to_str()
            .ok()?
            .parse()
            .ok()
    };
    if Exchange::get(&head.extensions).is_none()
        && let Some(id) = given()
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
        let bytes = body.as_bytes();
        if bytes.is_none() {
            tracing::debug!(
                request = %self.exchange.id(),
                limit = self.config.limit,
                "the body is larger than the limit: sent once and not inspected"
            );
        }
        if !self.exchange.has_facts() {
            let bytes = bytes.map(|bytes| &**bytes);
            self.exchange
                .set_facts(self.config.reader.facts(&self.head, bytes));
        }
    }
}

impl<S, B> Future for InspectFuture<S, B>
where
    S: Service<Request<RequestBody>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut state = self.project().state;
        loop {
            let response = match state.as_mut().project() {
                StateProj::Called { response } => return response.poll(cx).map_err(Into::into),
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
