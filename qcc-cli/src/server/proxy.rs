//! One request: who sends it, where it goes, and how its answer is signed.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{Either, Full};
use pin_project_lite::pin_project;
use qcc_core::body::RequestBody;
use qcc_core::endpoint::Endpoints;
use qcc_core::error::{BoxError, Error, ErrorKind};
use qcc_core::exchange::{Exchange, RequestId};
use qcc_core::facts::{Dialect, ReadFacts as _};
use qcc_core::guard::Guarded;
use qcc_core::inspect::InspectLayer;
use qcc_core::limit::{Caller, ConcurrencyLimitLayer, Place};
use qcc_core::llm::{LlmFacts, error_response, respond};
use qcc_core::time;
use tower::util::Oneshot;
use tower::{Layer as _, Service, ServiceExt as _};

use super::access;
use super::ambiguous;
use super::arriving::{Arriving, SILENCE, Stalled};
use super::route::{self, Candidate, Refusal};
use crate::config::ClientKey;

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

/// The body of an answer, which holds the place in flight of the client.
pub(crate) type AnswerBody<B> = Guarded<OwnOr<B>, Place>;

/// A body of ours, or the upstream's as it comes.
type OwnOr<B> = Either<Full<Bytes>, B>;

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
    callers: Box<[Caller]>,
    inspect: InspectLayer,
}

impl<S> Proxy<S> {
    /// A proxy for these clusters, of which there is at least one, open to clients with one of
    /// these keys, each with the caller that it stands for; without keys, to everybody.
    pub(crate) fn new(
        targets: Vec<Target<S>>,
        clients: impl IntoIterator<Item = (ClientKey, Caller)>,
        inspect: InspectLayer,
    ) -> Self {
        debug_assert!(!targets.is_empty());
        let (client_keys, callers): (Vec<_>, Vec<_>) = clients.into_iter().unzip();
        Self {
            targets: targets.into(),
            client_keys: client_keys.into(),
            callers: callers.into(),
            inspect,
        }
    }

    /// The cluster that the head of a request names, and who sends it, if the request may be
    /// served.
    fn admit(&self, head: &mut Parts) -> Result<(Option<usize>, Option<&Caller>), Refusal> {
        let named = route::named(head, &self.targets);
        let caller = if self.client_keys.is_empty() {
            None
        } else {
            let place = access::client(&self.client_keys, head);
            Some(&self.callers[place.ok_or_else(route::bad_key)?])
        };
        route::check_upgrade(&head.headers)?;
        Ok((named?, caller))
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
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
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
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        let (mut head, body) = request.into_parts();
        let given = RequestId::given(&head.headers);
        let exchange = Exchange::new(given.unwrap_or_else(RequestId::random));
        if let Err(refusal) = ambiguous::check(&head) {
            let mut response = placeless(refuse(&refusal, None, exchange.id()));
            ambiguous::close(&head, &mut response);
            sign(&mut response, &exchange);
            return response;
        }
        let mut response = match self.admit(&mut head) {
            Ok((named, caller)) => {
                head.extensions.insert(exchange.clone());
                // A refused caller is answered in its dialect, and nobody has read the facts.
                let mut limited = None;
                if let Some(caller) = caller {
                    exchange.set_client(caller.name().clone());
                    limited = caller
                        .limit()
                        .map(|_| (head.method.clone(), head.uri.clone()));
                    head.extensions.insert(caller.clone());
                }
                let inspect = self.inspect.clone();
                let service = inspect.layer(Router { proxy: self, named });
                let service = ConcurrencyLimitLayer.layer(service);
                let request = Request::from_parts(head, Arriving::new(body));
                match (service.oneshot(request).await, limited) {
                    (Ok(response), _) => response,
                    (Err(error), Some((method, uri))) if error.kind() == ErrorKind::CallerFull => {
                        let (mut head, ()) = Request::new(()).into_parts();
                        (head.method, head.uri) = (method, uri);
                        placeless(own(respond(&error, dialect(&head), time::now())))
                    }
                    (Err(error), _) => {
                        tracing::debug!(request_id = %exchange.id(), %error, "the body of the request could not be read");
                        let dialect = exchange.facts().dialect;
                        placeless(refuse(&unreadable(&error), dialect, exchange.id()))
                    }
                }
            }
            Err(refusal) => placeless(refuse(&refusal, dialect(&head), exchange.id())),
        };
        sign(&mut response, &exchange);
        response
    }
}

fn dialect(head: &Parts) -> Option<Dialect> {
    LlmFacts::default().facts(head, None).dialect
}

/// An answer that holds no place.
fn placeless<B>(response: Response<OwnOr<B>>) -> Response<AnswerBody<B>>
where
    B: Body<Data = Bytes, Error: Into<BoxError>>,
{
    response.map(|body| Guarded::new(body, Place::free()))
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

fn refuse<B>(refusal: &Refusal, dialect: Option<Dialect>, id: &RequestId) -> Response<OwnOr<B>> {
    let Refusal {
        status,
        code,
        message,
    } = refusal;
    own(error_response(dialect, *status, code, message, id))
}

fn own<B>(response: Response<Bytes>) -> Response<OwnOr<B>> {
    response.map(|body| Either::Left(Full::new(body)))
}

/// Passes on an upstream's answer. One that clients would repeat was repeated here, as often as
/// it makes sense: they are told not to, or their retries would multiply ours.
fn relay<B>(mut response: Response<B>) -> Response<OwnOr<B>> {
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
    headers.insert(REQUEST_ID, exchange.id().into());
    headers.insert(ATTEMPTS, HeaderValue::from(exchange.attempts()));
    let endpoint = exchange.choice().and_then(|choice| choice.endpoint);
    match endpoint {
        Some(endpoint) => headers.insert(ENDPOINT, endpoint.id().into()),
        // An answer that passed another proxy of this kind brings its own.
        None => headers.remove(ENDPOINT),
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
    type Response = Response<OwnOr<B>>;
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
    type Output = Result<Response<OwnOr<B>>, Error>;

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
