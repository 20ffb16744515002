//! Tokens that come whole, each time anew: of a command, a URL, a file.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT, HeaderMap, HeaderValue};
use http::{Request, StatusCode};

use super::answer::Answer;
use super::ask::{Asker, TIMEOUT};
use super::expiry::{self, MARGIN};
use super::held::{Holder, Token};
use super::url::TokenUrl;
use crate::body::RequestBody;
use crate::credential::Credential;
use crate::endpoint::Auth;
use crate::time::{self, Duration, Instant, SystemClock, WallClock};
use crate::token::{Held, Lifetime, NotRefreshed, Refresh, SourceId, TokenSource};
use crate::upstream::Upstream;

/// Tokens that come whole from somewhere, each time anew: from a URL, from a command, or
/// from whatever gives you bytes.
///
/// What comes is the token and nothing else, or a JSON object with `access_token` or `token` and
/// perhaps an end: `expires_in` in seconds; `expires_at` or `expiry`, in seconds or milliseconds
/// since 1970 or as a date of RFC 3339; else the `exp` of a token that is a JWT, which is read
/// and not verified. The token is got when the first request needs it, and anew before it ends;
/// whatever was just got is used for half a minute, and one whose end nobody tells until it is
/// refused.
///
/// The token is sent as `authorization: Bearer …`, unless the endpoint names another form.
///
/// Clones are one source.
///
/// # Errors
///
/// A refresh fails with the error of what was run, and [for now](NotRefreshed::for_now) if it
/// takes too long or if what comes is no token. The text shows nothing of it.
///
/// ```
/// # use bytes::Bytes;
/// # use qcc_core::source::Fetched;
/// # use qcc_core::token::{NotRefreshed, SourceId};
/// # async fn ask(_: &str) -> std::io::Result<Bytes> { Ok(Bytes::new()) }
/// let vault = "secret/llm";
/// let source = Fetched::new("mine", SourceId::of(["vault", vault]), move || async move {
///     let failed = |error| NotRefreshed::for_now(format!("no token from {vault}: {error}"));
///     ask(vault).await.map_err(failed)
/// });
/// ```
#[derive(Clone)]
pub struct Fetched {
    name: Arc<str>,
    id: SourceId,
    fetch: Arc<Fetch>,
    timeout: Duration,
    margin: Duration,
    clock: Arc<dyn WallClock>,
    holder: Arc<Holder>,
}

type Fetch = dyn Fn() -> Fetching + Send + Sync;
type Fetching = Pin<Box<dyn Future<Output = Result<Bytes, NotRefreshed>> + Send>>;

impl Fetched {
    /// Tokens of this name that come from `fetch`. The [id](TokenSource::id) has to cover
    /// whatever it depends on.
    ///
    /// `fetch` bounds what it reads; dropping its future has to give up everything that it began.
    pub fn new<F, O>(name: impl Into<Arc<str>>, id: SourceId, fetch: F) -> Self
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = Result<Bytes, NotRefreshed>> + Send + 'static,
    {
        Self {
            name: name.into(),
            id,
            fetch: Arc::new(move || Box::pin(fetch())),
            timeout: TIMEOUT,
            margin: MARGIN,
            clock: Arc::new(SystemClock),
            holder: Arc::new(Holder::new()),
        }
    }

    /// Tokens of this name that a `GET` of `url` over `upstream` gives, with these headers, of
    /// which each may be a secret. `upstream` must not follow redirects.
    pub fn from_url<S: Upstream>(
        name: impl Into<Arc<str>>,
        url: TokenUrl,
        headers: HeaderMap,
        upstream: S,
    ) -> Self {
        let uri = url.uri().to_string();
        let mut parts = vec![&b"url"[..], uri.as_bytes()];
        for (name, value) in &headers {
            parts.extend([name.as_str().as_bytes(), value.as_bytes()]);
        }
        let id = SourceId::of(parts);
        let asker = Asker::new(upstream);
        Self::new(name, id, move || {
            let (asker, url, request) = (asker.clone(), url.clone(), get(&url, &headers));
            async move {
                let host = url.host();
                // The limit of the source ends it earlier.
                match asker.ask(request, host, Duration::MAX).await {
                    Ok((status, body)) if status.is_success() => Ok(body),
                    Ok((status, _)) => Err(NotRefreshed::for_now(not_given(host, status))),
                    Err(text) => Err(NotRefreshed::for_now(text)),
                }
            }
        })
    }

    /// How long getting a token may take; 30 s by default. What takes longer is dropped.
    #[must_use]
    pub const fn with_timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How long before its end a token is got anew; 120 s by default. One whose whole life is
    /// less than twice that is got anew when half of it is over.
    #[must_use]
    pub const fn with_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Takes the date, which the end of a token is reckoned with, from `clock`; from the system
    /// by default.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    async fn renew(&self, before: Option<Arc<Token>>) -> Result<(), NotRefreshed> {
        let Some(_turn) = self.holder.turn(before.as_ref()).await else {
            return Ok(());
        };
        let limit = self.timeout;
        let given = tokio::time::timeout(limit, (self.fetch)()).await;
        let given = given.unwrap_or_else(|_| {
            let text = format!("no token in {limit:?}: it was given up");
            Err(NotRefreshed::for_now(text))
        })?;
        let answer = Answer::of_any(&given)
            .map_err(|why| NotRefreshed::for_now(format!("what came is no token: {why}")))?;
        let (today, now) = (self.clock.now(), time::now());
        let expires = answer.expiry.date(today);
        let life = |expires| expiry::lifetime(today, expires, self.margin, today, now);
        self.holder.set(Token {
            credential: Credential::new(self.name.clone(), answer.access).sent_as(Auth::Bearer),
            lifetime: expires.map(life),
        });
        Ok(())
    }
}

fn get(url: &TokenUrl, headers: &HeaderMap) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::empty());
    *request.uri_mut() = url.uri().clone();
    let json = HeaderValue::from_static("application/json, text/plain");
    request.headers_mut().insert(ACCEPT, json);
    for (name, value) in headers {
        let mut value = value.clone();
        value.set_sensitive(true);
        request.headers_mut().insert(name, value);
    }
    request
}

fn not_given(host: &str, status: StatusCode) -> String {
    let hint = match status {
        status if status.is_redirection() => {
            ": redirects are never followed; set the address that tokens are got from"
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => ": check the headers that it is sent",
        _ => "",
    };
    format!("{host} answered {}{hint}", status.as_u16())
}

impl TokenSource for Fetched {
    fn id(&self) -> SourceId {
        let times = [self.timeout, self.margin].map(|time| time.as_nanos().to_le_bytes());
        SourceId::of([&self.id.as_bytes()[..], &times[0], &times[1]])
    }

    fn held(&self, now: Instant) -> Held {
        self.holder.held(now)
    }

    fn lifetime(&self) -> Option<Lifetime> {
        self.holder.lifetime()
    }

    fn is_refreshable(&self) -> bool {
        true
    }

    fn refresh(&self) -> Option<Refresh> {
        let this = self.clone();
        let before = self.holder.get();
        Some(Box::pin(async move { this.renew(before).await }))
    }
}

impl fmt::Debug for Fetched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetched")
            .field("name", &self.name)
            .field("holder", &self.holder)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http::Response;
    use http_body_util::Full;
    use tower::service_fn;

    use super::*;
    use crate::error::BoxError;

    fn source<F, O>(fetch: F) -> Fetched
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = Result<Bytes, NotRefreshed>> + Send + 'static,
    {
        Fetched::new("last", SourceId::of(["test"]), fetch)
    }

    async fn refreshed(source: &Fetched) -> Result<(), NotRefreshed> {
        source.refresh().unwrap().await
    }

    fn held(source: &Fetched) -> Option<String> {
        match source.held(time::now()) {
            Held::Fresh(held) => Some(held.expose().to_owned()),
            Held::Stale(_) => None,
        }
    }

    // TOK-02
    #[tokio::test(start_paused = true)]
    async fn a_token_is_got_each_time_anew() {
        let runs = Arc::new(AtomicUsize::new(0));
        let source = source(move || {
            let run = runs.fetch_add(1, Ordering::Relaxed);
            let out = format!(r#"{{"token":"sk-test-{run}","expires_in":600}}"#);
            async move { Ok(out.into()) }
        });
        assert_eq!(held(&source), None);
        refreshed(&source).await.unwrap();
        assert_eq!(held(&source).as_deref(), Some("sk-test-0"));
        tokio::time::advance(Duration::from_secs(481)).await;
        assert_eq!(held(&source), None);
        refreshed(&source).await.unwrap();
        assert_eq!(held(&source).as_deref(), Some("sk-test-1"));
    }

    #[tokio::test(start_paused = true)]
    async fn what_takes_too_long_is_dropped() {
        let alive = Arc::new(());
        let guard = Arc::downgrade(&alive);
        let source = source(move || {
            let alive = alive.clone();
            async move {
                pending::<()>().await;
                drop(alive);
                Ok(Bytes::new())
            }
        });
        let error = refreshed(&source).await.unwrap_err();
        assert_eq!(error.to_string(), "no token in 30s: it was given up");
        assert_eq!(guard.strong_count(), 1, "only the source has it");
    }

    // SEC-02
    #[tokio::test(start_paused = true)]
    async fn what_is_no_token_is_not_shown() {
        let source = source(|| async { Ok("sk-test-1 sk-test-2".into()) });
        let error = refreshed(&source).await.unwrap_err();
        assert!(!error.is_permanent());
        assert_eq!(
            error.to_string(),
            "what came is no token: it is neither one token nor a JSON object"
        );
    }

    // TOK-02
    #[tokio::test(start_paused = true)]
    async fn a_url_gives_a_token_and_its_errors_say_what_to_do() {
        let status = Arc::new(Mutex::new(200));
        let answers = status.clone();
        let upstream = service_fn(move |request: Request<RequestBody>| {
            assert_eq!(request.uri(), "https://auth.example/token?key=k");
            assert!(request.headers()["x-secret"].is_sensitive());
            let mut response = Response::new(Full::<Bytes>::from("sk-test-1\n"));
            *response.status_mut() = StatusCode::from_u16(*answers.lock().unwrap()).unwrap();
            std::future::ready(Ok::<_, BoxError>(response))
        });
        let url: TokenUrl = "https://auth.example/token?key=k".parse().unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("x-secret", HeaderValue::from_static("sk-test-h"));
        let source = Fetched::from_url("last", url.clone(), headers, upstream.clone());
        refreshed(&source).await.unwrap();
        assert_eq!(held(&source).as_deref(), Some("sk-test-1"));
        for (answer, text) in [
            (500, "auth.example answered 500"),
            (
                401,
                "auth.example answered 401: check the headers that it is sent",
            ),
            (
                302,
                "auth.example answered 302: redirects are never followed; set the address that \
                 tokens are got from",
            ),
        ] {
            *status.lock().unwrap() = answer;
            assert_eq!(refreshed(&source).await.unwrap_err().to_string(), text);
        }
        let other = Fetched::from_url("last", url, HeaderMap::new(), upstream);
        assert!(other.id() != source.id(), "a header belongs to the source");
    }

    // SEC-01, SEC-02
    #[tokio::test(start_paused = true)]
    async fn debug_shows_no_token() {
        let source = source(|| async { Ok("sk-test-1".into()) });
        refreshed(&source).await.unwrap();
        assert!(!format!("{source:?}").contains("sk-test"));
    }
}
