//! The source over scripted issuers, alone and in a pool.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Mutex;

use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use tower::service_fn;

use super::super::jwt::tests::jwt;
use super::*;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::time::{Duration, SystemTime};

/// A date that moves with the paused clock.
#[derive(Clone, Debug)]
pub(super) struct Calendar {
    start: Instant,
    date: SystemTime,
}

impl Calendar {
    pub(super) fn new() -> Self {
        Self {
            start: time::now(),
            date: SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000),
        }
    }
}

impl WallClock for Calendar {
    fn now(&self) -> SystemTime {
        self.date + time::now().duration_since(self.start)
    }
}

/// An issuer that takes a second, answers what it is told to, and remembers what it was sent.
#[derive(Clone, Default)]
pub(super) struct Scripted(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    answers: VecDeque<(u16, String)>,
    seen: Vec<String>,
}

impl Scripted {
    pub(super) fn new<T: Into<String>>(answers: impl IntoIterator<Item = (u16, T)>) -> Self {
        let this = Self::default();
        for (status, body) in answers {
            this.0
                .lock()
                .unwrap()
                .answers
                .push_back((status, body.into()));
        }
        this
    }

    /// The refresh tokens that it was sent.
    pub(super) fn seen(&self) -> Vec<String> {
        let script = self.0.lock().unwrap();
        let token = |body: &String| {
            let pairs = form_urlencoded::parse(body.as_bytes());
            let mut tokens = pairs.filter(|(name, _)| name == "refresh_token");
            tokens.next().unwrap().1.into_owned()
        };
        script.seen.iter().map(token).collect()
    }

    pub(super) fn upstream(&self) -> impl Upstream<Body = Full<Bytes>> + use<> {
        let this = self.clone();
        service_fn(move |request: Request<RequestBody>| {
            let body = request.body().as_bytes().unwrap().to_vec();
            let answer = {
                let mut script = this.0.lock().unwrap();
                script.seen.push(String::from_utf8(body).unwrap());
                script.answers.pop_front()
            };
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let Some((status, body)) = answer else {
                    return Err::<_, BoxError>("connection refused".into());
                };
                let mut response = Response::new(Full::from(body));
                *response.status_mut() = StatusCode::from_u16(status).unwrap();
                Ok(response)
            }
        })
    }
}

pub(super) fn issuer() -> Issuer {
    Issuer::new("https://auth.example/token".parse().unwrap())
}

pub(super) fn login() -> Credential {
    Credential::new("mine", "sk-test-r1")
}

pub(super) fn source(scripted: &Scripted) -> OAuth {
    OAuth::new(login(), issuer(), scripted.upstream()).with_clock(Arc::new(Calendar::new()))
}

pub(super) fn token(name: &str, more: &str) -> (u16, String) {
    (200, format!(r#"{{"access_token":"sk-test-{name}"{more}}}"#))
}

pub(super) async fn refreshed(source: &OAuth) -> Result<(), NotRefreshed> {
    source.refresh().unwrap().await
}

/// What is held: fresh, stale or nothing.
pub(super) fn held(source: &OAuth) -> String {
    match source.held(time::now()) {
        Held::Fresh(held) => held.expose().to_owned(),
        Held::Stale(Some(held)) => format!("stale {}", held.expose()),
        Held::Stale(None) => "nothing".to_owned(),
    }
}

pub(super) async fn wait(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

// TOK-10
#[tokio::test(start_paused = true)]
async fn an_access_token_is_got_and_sent_as_bearer() {
    let scripted = Scripted::new([token("a1", r#","expires_in":3600"#)]);
    let source = source(&scripted);
    assert_eq!(held(&source), "nothing");
    refreshed(&source).await.unwrap();
    assert_eq!(held(&source), "sk-test-a1");
    let Held::Fresh(held) = source.held(time::now()) else {
        panic!("it is fresh");
    };
    assert_eq!((&**held.name(), held.auth()), ("mine", Some(Auth::Bearer)));
    assert_eq!(scripted.seen(), ["sk-test-r1"]);
}

// TOK-22
#[tokio::test(start_paused = true)]
async fn a_jwt_is_used_until_121_seconds_before_its_exp_and_refreshed_at_119() {
    let exp = 1_790_000_000 + 1 + 3600;
    let jwt = jwt(&format!(r#"{{"exp":{exp}}}"#));
    let scripted = Scripted::new([(200, format!(r#"{{"access_token":"{jwt}"}}"#))]);
    let source = source(&scripted);
    refreshed(&source).await.unwrap();
    wait(3600 - 121).await;
    assert_eq!(held(&source), jwt);
    wait(2).await;
    assert_eq!(held(&source), format!("stale {jwt}"));
    wait(119).await;
    assert_eq!(held(&source), "nothing");
}

// TOK-23
#[tokio::test(start_paused = true)]
async fn a_jwt_without_exp_counts_as_expired_but_is_not_asked_for_every_time() {
    let jwt = jwt("{}");
    let scripted = Scripted::new([(200, format!(r#"{{"access_token":"{jwt}"}}"#))]);
    let source = source(&scripted);
    refreshed(&source).await.unwrap();
    assert_eq!(held(&source), jwt);
    wait(30).await;
    assert_eq!(held(&source), format!("stale {jwt}"));
    wait(30).await;
    assert_eq!(held(&source), "nothing");
}

#[tokio::test(start_paused = true)]
async fn a_token_whose_end_nobody_tells_is_used_until_it_is_refused() {
    let scripted = Scripted::new([token("a1", "")]);
    let source = source(&scripted);
    refreshed(&source).await.unwrap();
    wait(400 * 24 * 3600).await;
    assert_eq!(held(&source), "sk-test-a1");
    assert_eq!(source.lifetime(), None);
}

// TOK-26
#[tokio::test(start_paused = true)]
async fn the_refresh_token_of_the_last_answer_is_used_next() {
    let scripted = Scripted::new([
        token("a1", r#","refresh_token":"sk-test-r2""#),
        token("a2", ""),
        token("a3", r#","refresh_token":"sk-test-r3""#),
    ]);
    let source = source(&scripted);
    for name in ["a1", "a2", "a3"] {
        refreshed(&source).await.unwrap();
        assert_eq!(held(&source), format!("sk-test-{name}"));
    }
    let used = ["sk-test-r1", "sk-test-r2", "sk-test-r2"];
    assert_eq!(scripted.seen(), used);
}

// TOK-11
#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_says_whether_it_can_work_later_and_keeps_what_is_held() {
    let scripted = Scripted::new([
        token("a1", ""),
        (503, String::new()),
        (400, r#"{"error":"invalid_grant"}"#.to_owned()),
    ]);
    let source = source(&scripted);
    refreshed(&source).await.unwrap();
    let error = refreshed(&source).await.unwrap_err();
    assert_eq!(
        (&**error.text(), error.is_permanent()),
        ("auth.example answered 503", false)
    );
    assert!(refreshed(&source).await.unwrap_err().is_permanent());
    let error = refreshed(&source).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no answer from auth.example: connection refused"
    );
    assert_eq!(held(&source), "sk-test-a1");
}

#[tokio::test(start_paused = true)]
async fn an_issuer_that_does_not_answer_is_waited_for_thirty_seconds() {
    let silent = service_fn(|_: Request<RequestBody>| {
        std::future::pending::<Result<Response<Full<Bytes>>, Infallible>>()
    });
    let source = OAuth::new(login(), issuer(), silent);
    let start = time::now();
    let error = refreshed(&source).await.unwrap_err();
    assert_eq!(error.to_string(), "no answer from auth.example in 30s");
    assert_eq!(time::now() - start, Duration::from_secs(30));
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_end_is_given_up() {
    let scripted = Scripted::new([(200, " ".repeat(64 << 10) + "{}")]);
    let error = refreshed(&source(&scripted)).await.unwrap_err();
    let text = "the answer of auth.example has more than 65536 bytes";
    assert_eq!(error.to_string(), text);
}

// TOK-24
#[tokio::test(start_paused = true)]
async fn whoever_asks_together_shares_one_refresh() {
    let scripted = Scripted::new([token("a1", "")]);
    let source = source(&scripted);
    let clones: Vec<_> = (0..20).map(|_| source.clone()).collect();
    for result in join_all(clones.iter().map(refreshed)).await {
        result.unwrap();
    }
    assert_eq!(scripted.seen().len(), 1);
}

// SEC-01, SEC-02
#[tokio::test(start_paused = true)]
async fn debug_shows_no_token() {
    let scripted = Scripted::new([token("a1", r#","refresh_token":"sk-test-r2""#)]);
    let source = source(&scripted);
    refreshed(&source).await.unwrap();
    let shown = format!("{source:?}");
    assert!(
        shown.contains("mine") && !shown.contains("sk-test"),
        "{shown}"
    );
}
