//! `Origin`: turns the client's request into the endpoint's.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::uri::Scheme;
use http::{Request, Response, Version};
use pin_project_lite::pin_project;
use tower::{Layer, Service};

use super::{coding, head, target};
use crate::body::RequestBody;
use crate::credential::Credential;
use crate::endpoint::{Api, Auth, BaseUrl, Endpoint};
use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::facts::Dialect;
use crate::failure::{Failed, Kind, Verdict};
use crate::visit::Visit;

const X_API_KEY: HeaderName = HeaderName::from_static("x-api-key");
const X_GOOG_API_KEY: HeaderName = HeaderName::from_static("x-goog-api-key");
const X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The version of the Messages API that clients without an opinion get.
const DEFAULT_VERSION: HeaderValue = HeaderValue::from_static("2023-06-01");

/// Addresses requests to one endpoint: see [`Origin`].
#[derive(Clone, Debug)]
pub struct OriginLayer {
    endpoint: Arc<Endpoint>,
}

impl OriginLayer {
    /// Addresses requests to `endpoint`.
    #[must_use]
    pub const fn new(endpoint: Arc<Endpoint>) -> Self {
        Self { endpoint }
    }
}

impl<S> Layer<S> for OriginLayer {
    type Service = Origin<S>;

    fn layer(&self, inner: S) -> Origin<S> {
        Origin::new(inner, self.endpoint.clone())
    }
}

/// The last of our layers: addresses each request to one endpoint and authenticates it there.
///
/// Of the request, the path is appended to the base address, and of the query a `key` is
/// dropped. Headers of the connection, all credentials of the client and the client's address
/// are taken out; `x-request-id` is set to the id of the exchange. The credential of the
/// [`Visit`] is put in as the endpoint wants it. Everything else passes as it came, bodies byte
/// for byte.
///
/// Of the answer, headers of the connection and of the account are taken out; the limits of the
/// account stay in answers that failed, because whoever judges them needs them.
///
/// # Errors
///
/// [`Failed`] without anything being sent: of kind `auth` around a [`MissingCredential`] if the
/// endpoint needs a credential and the visit has none, or an [`UnfitCredential`]; of kind
/// `invalid_request` around an [`InvalidTarget`](super::InvalidTarget). Else what the inner
/// service gives.
///
/// # Cancel safety
///
/// Dropping the future drops the inner one.
#[derive(Clone, Debug)]
pub struct Origin<S> {
    inner: S,
    endpoint: Arc<Endpoint>,
}

impl<S> Origin<S> {
    /// Addresses requests of `inner` to `endpoint`.
    pub const fn new(inner: S, endpoint: Arc<Endpoint>) -> Self {
        Self { inner, endpoint }
    }

    /// The inner service.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the inner service back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for Origin<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = OriginFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        match address(&self.endpoint, &mut request) {
            Ok(()) => OriginFuture::new(State::Sending {
                sending: self.inner.call(request),
            }),
            Err(failed) => OriginFuture::new(State::Unsent {
                failed: Some(failed),
            }),
        }
    }
}

/// Rewrites the head of `request` for `endpoint`.
fn address(endpoint: &Endpoint, request: &mut Request<RequestBody>) -> Result<(), Failed> {
    let visit = Visit::of(request.extensions_mut());
    let exchange = visit.exchange.clone();
    let credential = visit.credential.clone();

    *request.uri_mut() = target::join(endpoint.base_url(), request.uri())
        .map_err(|error| failed(Kind::InvalidRequest, error))?;
    // The version of the client's connection says nothing about the upstream's.
    *request.version_mut() = Version::HTTP_11;
    let is_in_memory = request.body().as_bytes().is_some();
    let headers = request.headers_mut();
    head::clean_request(headers);
    if is_in_memory {
        // The client library counts the bytes itself, so the two can never disagree.
        headers.remove(header::CONTENT_LENGTH);
    }
    set_host(headers, endpoint.base_url());
    set_defaults(headers, endpoint, &exchange);
    match credential {
        Some(credential) => authenticate(headers, endpoint.auth_of(&credential), &credential),
        None if endpoint.needs_credential() => Err(failed(
            Kind::Auth,
            MissingCredential {
                endpoint: endpoint.name().clone(),
            },
        )),
        None => Ok(()),
    }
}

/// Names the host, as every HTTP client would, but without putting its name together again for
/// each request. Where TLS may agree on HTTP/2, the client has a better way to name it.
fn set_host(headers: &mut HeaderMap, base: &BaseUrl) {
    if base.uri().scheme() == Some(&Scheme::HTTP) {
        headers.insert(header::HOST, base.host_header().clone());
    }
}

fn set_defaults(headers: &mut HeaderMap, endpoint: &Endpoint, exchange: &Exchange) {
    let facts = exchange.facts();
    if facts.is_generation() {
        // The answer is read on its way, and one that needs no decoding is read soonest.
        coding::ask_for_plain(headers);
    } else {
        coding::ask_for_known(headers);
    }
    let is_anthropic = match facts.dialect {
        Some(dialect) => dialect == Dialect::Anthropic,
        None => endpoint.api() == Some(Api::Anthropic),
    };
    if is_anthropic {
        headers.entry(ANTHROPIC_VERSION).or_insert(DEFAULT_VERSION);
    }
    headers.insert(X_REQUEST_ID, exchange.id().into());
}

fn authenticate(
    headers: &mut HeaderMap,
    auth: Auth,
    credential: &Credential,
) -> Result<(), Failed> {
    let secret = credential.expose();
    let value = |text: &str| {
        HeaderValue::from_str(text).map_err(|_| {
            let credential = credential.name().clone();
            failed(Kind::Auth, UnfitCredential { credential })
        })
    };
    if matches!(auth, Auth::XApiKey | Auth::Both) {
        head::set_secret(headers, X_API_KEY, value(secret)?);
    }
    if matches!(auth, Auth::Bearer | Auth::Both) {
        let bearer = value(&["Bearer ", secret].concat())?;
        head::set_secret(headers, header::AUTHORIZATION, bearer);
    }
    if auth == Auth::XGoogApiKey {
        head::set_secret(headers, X_GOOG_API_KEY, value(secret)?);
    }
    Ok(())
}

fn failed(kind: Kind, source: impl Into<BoxError>) -> Failed {
    Failed::new(Verdict::new(kind)).with_source(source.into())
}

/// The endpoint needs a credential, the request carries none, and so it was not sent: a request
/// may never go out with another authentication than the one that was meant.
#[derive(Debug, thiserror::Error)]
#[error("not sent to `{endpoint}`: the request carries no credential for it")]
pub struct MissingCredential {
    endpoint: Arc<str>,
}

/// The credential has characters that no header may have, and so the request was not sent.
#[derive(Debug, thiserror::Error)]
#[error("not sent: the credential `{credential}` has characters that a header cannot have")]
pub struct UnfitCredential {
    credential: Arc<str>,
}

pin_project! {
    /// The future of [`Origin`].
    pub struct OriginFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State<F> {
        // With the upstream.
        Sending { #[pin] sending: F },
        // Refused before it was sent.
        Unsent { failed: Option<Failed> },
    }
}

impl<F> OriginFuture<F> {
    const fn new(state: State<F>) -> Self {
        Self { state }
    }
}

impl<F, B, E> Future for OriginFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProjection::Sending { sending } => {
                let mut response = ready!(sending.poll(cx)).map_err(Into::into)?;
                let is_success = response.status().is_success();
                head::clean_response(response.headers_mut(), is_success);
                Poll::Ready(Ok(response))
            }
            StateProjection::Unsent { failed } => match failed.take() {
                Some(failed) => Poll::Ready(Err(failed.into())),
                // Polled again after it was ready, which nobody may do.
                None => Poll::Pending,
            },
        }
    }
}

impl<F> fmt::Debug for OriginFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OriginFuture").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use bytes::Bytes;
    use http_body_util::{BodyExt as _, Empty, Full};
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::exchange::RequestId;
    use crate::facts::{Facts, Operation};

    const KEY: &str = "sk-test-ours";

    fn endpoint() -> Endpoint {
        Endpoint::new("relay", "https://relay.example/api".parse().unwrap())
            .with_credential(Credential::new("relay", KEY))
    }

    fn visit(facts: Facts) -> Visit {
        let exchange = Exchange::new("req_client-1".parse::<RequestId>().unwrap());
        exchange.set_facts(facts);
        let mut visit = Visit::new(exchange);
        visit.credential = Some(Credential::new("relay", KEY));
        visit
    }

    fn facts(dialect: Dialect) -> Facts {
        Facts {
            dialect: Some(dialect),
            operation: Operation::Generate,
            ..Facts::default()
        }
    }

    fn request(visit: Visit) -> http::request::Builder {
        Request::post("/v1/messages?beta=true")
            .header("host", "localhost:7860")
            .header("accept-encoding", "gzip, br")
            .extension(visit)
    }

    /// What leaves for `endpoint`, or the error if nothing does.
    async fn send(
        endpoint: Endpoint,
        request: Request<RequestBody>,
    ) -> Result<Request<RequestBody>, BoxError> {
        let sent = Mutex::new(None);
        let upstream = service_fn(|request| {
            *sent.lock().unwrap() = Some(request);
            async { Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new())) }
        });
        let result = Origin::new(upstream, Arc::new(endpoint))
            .oneshot(request)
            .await;
        let sent = sent.into_inner().unwrap();
        assert_eq!(result.is_ok(), sent.is_some());
        result.map(|_| sent.unwrap())
    }

    async fn sent_with(endpoint: Endpoint, facts: Facts) -> Request<RequestBody> {
        let request = request(visit(facts)).body(RequestBody::from("{}")).unwrap();
        send(endpoint, request).await.unwrap()
    }

    // UPS-13
    #[tokio::test]
    async fn a_request_goes_to_the_endpoints_address_without_the_clients_host() {
        let sent = sent_with(endpoint(), facts(Dialect::Anthropic)).await;
        assert_eq!(
            sent.uri(),
            "https://relay.example/api/v1/messages?beta=true"
        );
        assert!(!sent.headers().contains_key("host"));
        assert_eq!(sent.headers()["x-request-id"], "req_client-1");
    }

    // UPS-13
    #[tokio::test]
    async fn an_endpoint_without_tls_is_named_with_its_port() {
        let plain = Endpoint::new("plain", "http://relay.example:8080/api".parse().unwrap());
        let sent = sent_with(plain, facts(Dialect::Anthropic)).await;
        assert_eq!(sent.headers()["host"], "relay.example:8080");
        assert_eq!(sent.headers().get_all("host").iter().count(), 1);
    }

    // UPS-09
    #[tokio::test]
    async fn the_credential_is_sent_in_the_form_that_the_endpoint_names() {
        for (auth, expected) in [
            (Auth::XApiKey, &[("x-api-key", KEY)][..]),
            (Auth::Bearer, &[("authorization", "Bearer sk-test-ours")]),
            (
                Auth::Both,
                &[("authorization", "Bearer sk-test-ours"), ("x-api-key", KEY)],
            ),
            (Auth::XGoogApiKey, &[("x-goog-api-key", KEY)]),
        ] {
            let sent = sent_with(endpoint().with_auth(auth), facts(Dialect::Anthropic)).await;
            let mut found: Vec<_> = sent
                .headers()
                .iter()
                .filter(|(_, value)| value.is_sensitive())
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect();
            found.sort_unstable();
            assert_eq!(found, expected, "{auth:?}");
        }
    }

    // UPS-09
    #[tokio::test]
    async fn an_access_token_is_sent_as_bearer_unless_the_endpoint_names_a_form() {
        for (api, auth, expected) in [
            (Api::Anthropic, None, &["authorization"][..]),
            (Api::Gemini, None, &["authorization"]),
            (Api::Anthropic, Some(Auth::XApiKey), &["x-api-key"]),
        ] {
            let mut endpoint = endpoint().with_api(api);
            if let Some(auth) = auth {
                endpoint = endpoint.with_auth(auth);
            }
            let mut visit = visit(facts(Dialect::Anthropic));
            visit.credential = Some(Credential::new("login", KEY).sent_as(Auth::Bearer));
            let request = request(visit).body(RequestBody::empty()).unwrap();
            let sent = send(endpoint, request).await.unwrap();
            let found = sent
                .headers()
                .iter()
                .filter(|(_, value)| value.is_sensitive());
            let found: Vec<_> = found.map(|(name, _)| name.as_str()).collect();
            assert_eq!(found, expected, "{api} {auth:?}");
        }
    }

    // UPS-08, UPS-09
    #[tokio::test]
    async fn the_clients_own_credential_is_replaced_and_never_joined() {
        let request = request(visit(facts(Dialect::Anthropic)))
            .header("Authorization", "Bearer sk-test-client")
            .header("X-Api-Key", "sk-test-client")
            .header("X-Api-Key", "sk-test-client-2")
            .body(RequestBody::empty())
            .unwrap();
        let sent = send(endpoint().with_auth(Auth::XApiKey), request)
            .await
            .unwrap();
        assert!(!sent.headers().contains_key("authorization"));
        let keys: Vec<_> = sent.headers().get_all("x-api-key").iter().collect();
        assert_eq!(keys, [KEY]);
    }

    // TOK-18
    #[tokio::test]
    async fn nothing_is_sent_without_the_credential_that_the_endpoint_needs() {
        let pooled = Endpoint::new("relay", "https://relay.example".parse().unwrap());
        for endpoint in [endpoint(), pooled.with_token_pool()] {
            let bare = Visit::new(Exchange::new(RequestId::random()));
            let request = request(bare)
                .header("authorization", "Bearer sk-test-client")
                .body(RequestBody::empty())
                .unwrap();
            let error = send(endpoint, request).await.unwrap_err();
            let failed = Failed::find(&*error).unwrap();
            assert_eq!(failed.kind(), Kind::Auth);
            let missing = crate::failure::find::<MissingCredential>(&*error).unwrap();
            assert_eq!(
                missing.to_string(),
                "not sent to `relay`: the request carries no credential for it"
            );
        }
    }

    // UPS-08
    #[tokio::test]
    async fn an_open_endpoint_gets_no_credential_at_all() {
        let open = Endpoint::new("open", "http://localhost:1234".parse().unwrap());
        let request = request(Visit::new(Exchange::new(RequestId::random())))
            .header("authorization", "Bearer sk-test-client")
            .body(RequestBody::empty())
            .unwrap();
        let sent = send(open, request).await.unwrap();
        assert!(!sent.headers().contains_key("authorization"));
    }

    // SEC-02
    #[tokio::test]
    async fn a_credential_that_fits_no_header_is_named_and_never_shown() {
        let mut visit = visit(facts(Dialect::Anthropic));
        visit.credential = Some(Credential::new("odd", "sk-test-\n"));
        let request = request(visit).body(RequestBody::empty()).unwrap();
        let error = send(endpoint(), request).await.unwrap_err();
        let shown = format!("{error:?} {error}");
        assert!(
            shown.contains("odd") && !shown.contains("sk-test"),
            "{shown}"
        );
    }

    // UPS-10
    #[tokio::test]
    async fn a_version_is_added_for_anthropic_only_if_the_client_named_none() {
        let sent = sent_with(endpoint(), facts(Dialect::Anthropic)).await;
        assert_eq!(sent.headers()["anthropic-version"], "2023-06-01");

        let sent = sent_with(endpoint(), facts(Dialect::Chat)).await;
        assert!(!sent.headers().contains_key("anthropic-version"));

        let sent = sent_with(endpoint().with_api(Api::Anthropic), Facts::default()).await;
        assert_eq!(sent.headers()["anthropic-version"], "2023-06-01");

        let request = request(visit(facts(Dialect::Anthropic)))
            .header("anthropic-version", "2026-10-21")
            .body(RequestBody::empty())
            .unwrap();
        let sent = send(endpoint(), request).await.unwrap();
        assert_eq!(sent.headers()["anthropic-version"], "2026-10-21");
    }

    #[tokio::test]
    async fn an_answer_that_is_inspected_is_asked_for_plain_and_others_are_left_alone() {
        let sent = sent_with(endpoint(), facts(Dialect::Gemini)).await;
        assert_eq!(sent.headers()["accept-encoding"], "identity");
        let sent = sent_with(endpoint(), Facts::default()).await;
        assert_eq!(sent.headers()["accept-encoding"], "gzip, br");
    }

    // UPS-12
    #[tokio::test]
    async fn the_body_passes_byte_for_byte_and_without_a_copy() {
        let body = Bytes::from_static(b"{ \"model\" : \"m\", \"n\": 1.0e0 }\n");
        let request = request(visit(facts(Dialect::Chat)))
            .body(RequestBody::from(body.clone()))
            .unwrap();
        let sent = send(endpoint(), request).await.unwrap();
        assert_eq!(sent.body().as_bytes().unwrap().as_ptr(), body.as_ptr());
        assert_eq!(sent.into_body().collect().await.unwrap().to_bytes(), body);
    }

    // UPS-11, UPS-12
    #[tokio::test]
    async fn an_answer_loses_connection_headers_and_keeps_its_bytes() {
        let upstream = service_fn(|_| async {
            let response = Response::builder()
                .header("connection", "x-private")
                .header("x-private", "1")
                .header("x-ratelimit-remaining-requests", "3")
                .header("request-id", "req_up")
                .body(Full::new(Bytes::from_static(b"{ }")));
            Ok::<_, Infallible>(response.unwrap())
        });
        let request = request(visit(facts(Dialect::Chat)))
            .body(RequestBody::empty())
            .unwrap();
        let response = OriginLayer::new(Arc::new(endpoint()))
            .layer(upstream)
            .oneshot(request)
            .await
            .unwrap();
        let names: Vec<_> = response.headers().keys().collect();
        assert_eq!(names, ["request-id"]);
        let body = response.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "{ }");
    }

    // UPS-13
    #[tokio::test]
    async fn a_path_that_leaves_the_base_path_blames_the_caller() {
        let request = Request::get("/../admin")
            .extension(visit(Facts::default()))
            .body(RequestBody::empty())
            .unwrap();
        let error = send(endpoint(), request).await.unwrap_err();
        let failed = Failed::find(&*error).unwrap();
        assert_eq!(failed.kind(), Kind::InvalidRequest);
    }
}
