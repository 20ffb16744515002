//! One request: who sends it, where it goes, and how its answer is signed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use qcc_core::body::RequestBody;
use qcc_core::endpoint::Endpoints;
use qcc_core::error::{BoxError, Error};
use qcc_core::exchange::{Exchange, RequestId};
use qcc_core::facts::{Dialect, ReadFacts as _};
use qcc_core::inspect::InspectLayer;
use qcc_core::llm::{LlmFacts, error_response, respond};
use qcc_core::time;
use tower::util::Oneshot;
use tower::{Layer as _, Service, ServiceExt as _};

use super::access;
use super::ambiguous;
use super::arriving::{Arriving, SILENCE, Stalled};
use super::route::{self, Candidate, Refusal};
use crate::config::ClientKey;

/// The id that the client gave the request.
const GIVEN_ID: HeaderName = HeaderName::from_static("x-request-id");
/// The id of the request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-qcc-request-id");
/// The id of the endpoint that answered or was tried last.
const ENDPOINT: HeaderName = HeaderName::from_static("x-qcc-endpoint");
/// How many attempts were made.
const ATTEMPTS: HeaderName = HeaderName::from_static("x-qcc-attempts");
/// Whether the SDKs of Anthropic and OpenAI repeat a failed request.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// Tells reverse proxies in between to pass events on at once.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// The body of an answer: ours, or the upstream's as it comes.
pub(crate) type AnswerBody<B> = Either<Full<Bytes>, B>;

/// A cluster as the proxy sees it.
pub(crate) struct Target<S> {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its endpoints, which say what it serves.
    pub(crate) endpoints: Endpoints,
    /// What sends requests to them.
    pub(crate) service: S,
}

impl<S> Candidate for Target<S> {
    fn name(&self) -> &Arc<str> {
        &self.name
    }

    fn endpoints(&self) -> &Endpoints {
        &self.endpoints
    }
}

/// Serves requests. Shared by all connections.
pub(crate) struct Proxy<S> {
    targets: Box<[Target<S>]>,
    client_keys: Box<[ClientKey]>,
    inspect: InspectLayer,
}

impl<S> Proxy<S> {
    /// A proxy for these clusters, of which there is at least one, open to clients with one of
    /// these keys; without keys, to everybody.
    pub(crate) fn new(
        targets: Vec<Target<S>>,
        client_keys: Vec<ClientKey>,
        inspect: InspectLayer,
    ) -> Self {
        debug_assert!(!targets.is_empty());
        Self {
            targets: targets.into(),
            client_keys: client_keys.into(),
            inspect,
        }
    }

    /// The cluster that the head of a request names, if the request may be served.
    fn admit(&self, head: &mut Parts) -> Result<Option<usize>, Refusal> {
        let named = route::named(head, &self.targets);
        if !access::allowed(&self.client_keys, head) {
            return Err(route::bad_key());
        }
        route::check_upgrade(&head.headers)?;
        named
    }

    /// Answers one request; every failure is an answer.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the request, and with it what was sent upstream.
    #[expect(
        clippy::manual_async_fn,
        reason = "`Send` has to be said: a listener that is generic over this future cannot find it out"
    )]
    pub(crate) fn answer<I, B>(
        self: Arc<Self>,
        request: Request<I>,
    ) -> impl Future<Output = Result<Response<AnswerBody<B>>, Infallible>> + Send
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Error, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        I: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        async move { Ok(self.serve(request).await) }
    }

    async fn serve<I, B>(self: Arc<Self>, request: Request<I>) -> Response<AnswerBody<B>>
    where
        S: Service<Request<RequestBody>, Response = Response<B>, Error = Error, Future: Send>
            + Clone
            + Send
            + Sync
            + 'static,
        I: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
        B: Body<Data = Bytes> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::new(request_id(&head.headers));
        if let Err(refusal) = ambiguous::check(&head) {
            let mut response = refuse(&refusal, None, exchange.id());
            ambiguous::close(&head, &mut response);
            sign(&mut response, &exchange);
            return response;
        }
        let mut response = match self.admit(&mut head) {
            Ok(named) => {
                head.extensions.insert(exchange.clone());
                let inspect = self.inspect.clone();
                let router = Router { proxy: self, named };
                let request = Request::from_parts(head, Arriving::new(body));
                match inspect.layer(router).oneshot(request).await {
                    Ok(response) => response,
                    Err(error) => {
                        tracing::debug!(request_id = %exchange.id(), %error, "the body of the request could not be read");
                        refuse(&unreadable(&error), exchange.facts().dialect, exchange.id())
                    }
                }
            }
            Err(refusal) => refuse(
                &refusal,
                LlmFacts::default().facts(&head, None).dialect,
                exchange.id(),
            ),
        };
        sign(&mut response, &exchange);
        response
    }
}

/// The client's own id, if it is sane.
fn request_id(headers: &HeaderMap) -> RequestId {
    headers
        .get(GIVEN_ID)
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or_else(RequestId::random)
}

fn unreadable(error: &Error) -> Refusal {
    let error: &(dyn std::error::Error + 'static) = error;
    let stalled = std::iter::successors(Some(error), |error| error.source())
        .any(|error| error.is::<Stalled>());
    if stalled {
        return Refusal {
            status: StatusCode::REQUEST_TIMEOUT,
            code: "request_body_stalled",
            message: format!(
                "nothing of the body of the request came for {} s; send it again",
                SILENCE.as_secs()
            ),
        };
    }
    Refusal {
        status: StatusCode::BAD_REQUEST,
        code: "request_body_unreadable",
        message: "the body of the request could not be read to its end; send it again".into(),
    }
}

fn refuse<B>(
    refusal: &Refusal,
    dialect: Option<Dialect>,
    id: &RequestId,
) -> Response<AnswerBody<B>> {
    let Refusal {
        status,
        code,
        message,
    } = refusal;
    own(error_response(dialect, *status, code, message, id))
}

fn own<B>(response: Response<Bytes>) -> Response<AnswerBody<B>> {
    response.map(|body| Either::Left(Full::new(body)))
}

/// Passes on an upstream's answer. One that clients would repeat was repeated here, as often as
/// it makes sense: they are told not to, or their retries would multiply ours.
fn relay<B>(mut response: Response<B>) -> Response<AnswerBody<B>> {
    let status = response.status();
    if status.is_server_error() || matches!(status.as_u16(), 408 | 409 | 429) {
        let no = HeaderValue::from_static("false");
        response.headers_mut().insert(SHOULD_RETRY, no);
    }
    response.map(Either::Right)
}

/// Adds what says where an answer comes from, and what keeps a stream from being held up on its
/// way.
fn sign<B>(response: &mut Response<B>, exchange: &Exchange) {
    let headers = response.headers_mut();
    // Ids consist of characters that may stand in a header.
    if let Ok(id) = HeaderValue::try_from(exchange.id().to_string()) {
        headers.insert(REQUEST_ID, id);
    }
    headers.insert(ATTEMPTS, HeaderValue::from(exchange.attempts()));
    let endpoint = exchange.choice().and_then(|choice| choice.endpoint);
    match endpoint.map(|endpoint| HeaderValue::try_from(endpoint.id().to_string())) {
        Some(Ok(id)) => headers.insert(ENDPOINT, id),
        // An answer that passed another proxy of this kind brings its own.
        _ => headers.remove(ENDPOINT),
    };
    let is_stream = headers.get(CONTENT_TYPE).is_some_and(|value| {
        let kind = value.as_bytes().split(|byte| *byte == b';').next();
        kind.is_some_and(|kind| kind.trim_ascii().eq_ignore_ascii_case(b"text/event-stream"))
    });
    if is_stream {
        let no_cache = HeaderValue::from_static("no-cache");
        headers.entry(CACHE_CONTROL).or_insert(no_cache);
        let no = HeaderValue::from_static("no");
        headers.entry(ACCEL_BUFFERING).or_insert(no);
    }
}

/// Sends a request whose facts are known to its cluster.
struct Router<S> {
    proxy: Arc<Proxy<S>>,
    named: Option<usize>,
}

impl<S> Clone for Router<S> {
    fn clone(&self) -> Self {
        Self {
            proxy: self.proxy.clone(),
            named: self.named,
        }
    }
}

impl<S> Router<S> {
    fn route(&self, head: &Parts, exchange: &Exchange) -> Result<&Target<S>, Refusal> {
        let targets = &self.proxy.targets;
        let facts = exchange.facts();
        route::check(head, facts.dialect, targets)?;
        let index = self
            .named
            .unwrap_or_else(|| route::choose(head, facts, targets));
        Ok(&targets[index])
    }
}

impl<S, B> Service<Request<RequestBody>> for Router<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Error> + Clone,
{
    type Response = Response<AnswerBody<B>>;
    type Error = Error;
    type Future = Routed<S>;

    /// Always ready: the service of the cluster is made ready in the future.
    fn poll_ready(&mut self, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Routed<S> {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::of(&mut head.extensions);
        match self.route(&head, &exchange) {
            Ok(target) => {
                exchange.set_cluster(target.name.clone());
                let service = target.service.clone();
                let sent = service.oneshot(Request::from_parts(head, body));
                Routed::Sent { sent, exchange }
            }
            Err(refusal) => Routed::Refused { refusal, exchange },
        }
    }
}

pin_project! {
    /// The future of [`Router`].
    #[project = RoutedProj]
    enum Routed<S: Service<Request<RequestBody>>> {
        /// On its way through the cluster.
        Sent {
            #[pin]
            sent: Oneshot<S, Request<RequestBody>>,
            exchange: Exchange,
        },
        /// Sent nowhere.
        Refused {
            refusal: Refusal,
            exchange: Exchange,
        },
    }
}

impl<S, B> Future for Routed<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error = Error>,
{
    type Output = Result<Response<AnswerBody<B>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Poll::Ready(Ok(match self.project() {
            RoutedProj::Sent { sent, exchange } => match std::task::ready!(sent.poll(cx)) {
                Ok(response) => relay(response),
                Err(error) => {
                    let dialect = exchange.facts().dialect;
                    own(respond(&error, dialect, time::now()))
                }
            },
            RoutedProj::Refused { refusal, exchange } => {
                refuse(refusal, exchange.facts().dialect, exchange.id())
            }
        }))
    }
}
