//! Credentials that are refreshed, inside the whole stack.

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Api, Endpoint, Endpoints};
use qcc_core::error::Error;
use qcc_core::facts::Dialect;
use qcc_core::failover::Failover;
use qcc_core::source::{Fetched, Issuer, OAuth};
use qcc_core::time::{self, Duration};
use qcc_core::token::{Pool, SourceId, Tier, TokenState};
use qcc_core::upstream::Upstream;
use qcc_tests::harness::Ask;
use tokio::task::JoinSet;
use tower::{ServiceExt as _, service_fn};

/// What the API answers.
const ANSWER: &str = r#"{"type":"message","content":[{"type":"text","text":"hello"}]}"#;

/// An issuer that takes a second, and an API that takes the newest of its tokens alone.
#[derive(Clone, Default)]
struct Vendor {
    refreshes: Arc<AtomicUsize>,
    /// The tokens that requests brought.
    seen: Arc<Mutex<Vec<String>>>,
    /// Tokens up to this number are refused.
    revoked: Arc<AtomicUsize>,
    logged_out: Arc<AtomicUsize>,
}

impl Vendor {
    fn issuer(&self) -> impl Upstream + use<> {
        let this = self.clone();
        service_fn(move |_: Request<RequestBody>| {
            let number = this.refreshes.fetch_add(1, Ordering::Relaxed) + 1;
            let logged_out = this.logged_out.load(Ordering::Relaxed) > 0;
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let (status, body) = if logged_out {
                    (
                        StatusCode::BAD_REQUEST,
                        r#"{"error":"invalid_grant"}"#.to_owned(),
                    )
                } else {
                    let token =
                        format!(r#"{{"access_token":"sk-test-a{number}","expires_in":3600}}"#);
                    (StatusCode::OK, token)
                };
                let mut response = Response::new(Full::<Bytes>::from(body));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        })
    }

    fn api(&self) -> impl Upstream + use<> {
        let this = self.clone();
        service_fn(move |request: Request<RequestBody>| {
            assert!(!request.headers().contains_key("x-api-key"));
            let bearer = request.headers()["authorization"].to_str().unwrap();
            let token = bearer.strip_prefix("Bearer sk-test-").unwrap().to_owned();
            let number = token.trim_start_matches('a').parse::<usize>();
            let is_revoked = number.is_ok_and(|it| it <= this.revoked.load(Ordering::Relaxed));
            this.seen.lock().unwrap().push(token);
            async move {
                let (status, body) = if is_revoked {
                    let body = r#"{"type":"error","error":{"type":"authentication_error","message":"OAuth token has expired"}}"#;
                    (StatusCode::UNAUTHORIZED, Bytes::from(body))
                } else {
                    (StatusCode::OK, Bytes::from(ANSWER))
                };
                let mut response = Response::new(Full::from(body));
                *response.status_mut() = status;
                let json = http::HeaderValue::from_static("application/json");
                response.headers_mut().insert("content-type", json);
                Ok::<_, Infallible>(response)
            }
        })
    }

    fn source(&self) -> OAuth {
        let issuer = Issuer::new("https://auth.example/token".parse().unwrap());
        let login = Credential::new("Personal-1", "sk-test-r1");
        OAuth::new(login, issuer, self.issuer())
    }

    fn failover(&self, pool: Pool) -> Failover<impl Upstream + use<>> {
        let base = "https://api.anthropic.com".parse().unwrap();
        let endpoint = Endpoint::new("pooled", base)
            .with_api(Api::Anthropic)
            .with_token_pool();
        let id = endpoint.id();
        let endpoints = Endpoints::try_from_iter([endpoint]).unwrap();
        let api = self.api();
        Failover::builder(endpoints)
            .llm()
            .token_pool(id, pool)
            .build(|_| api.clone())
    }

    fn seen(&self) -> Vec<String> {
        std::mem::take(&mut self.seen.lock().unwrap())
    }

    fn refreshes(&self) -> usize {
        self.refreshes.load(Ordering::Relaxed)
    }
}

fn pool(source: OAuth) -> Pool {
    Pool::default().with(Tier::Personal, "Personal-1", Arc::new(source))
}

async fn send<S: Upstream>(failover: &Failover<S>) -> Result<StatusCode, Error> {
    let request = Ask::whole(Dialect::Anthropic).without_session().request();
    let response = failover.clone().oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await.unwrap();
    Ok(status)
}

// TOK-10, TOK-24, UPS-09
#[tokio::test(start_paused = true)]
async fn a_hundred_requests_with_an_expired_token_make_one_refresh() {
    let vendor = Vendor::default();
    let failover = vendor.failover(pool(vendor.source()));
    for round in 1..=2 {
        let mut requests = JoinSet::new();
        for _ in 0..100 {
            let failover = failover.clone();
            requests.spawn(async move { send(&failover).await.unwrap() });
        }
        let statuses = requests.join_all().await;
        assert!(statuses.iter().all(|status| *status == 200));
        assert_eq!(vendor.refreshes(), round);
        let seen = vendor.seen();
        assert_eq!(seen.len(), 100);
        assert!(seen.iter().all(|token| *token == format!("a{round}")));
        tokio::time::advance(Duration::from_secs(3600)).await;
    }
}

// TOK-09, TOK-25
#[tokio::test(start_paused = true)]
async fn a_refusal_of_a_token_that_looks_fresh_costs_one_refresh_and_nobody_sees_it() {
    let vendor = Vendor::default();
    let failover = vendor.failover(pool(vendor.source()));
    assert_eq!(send(&failover).await.unwrap(), 200);
    vendor.revoked.store(1, Ordering::Relaxed);
    assert_eq!(send(&failover).await.unwrap(), 200);
    assert_eq!(send(&failover).await.unwrap(), 200);
    assert_eq!(vendor.seen(), ["a1", "a1", "a2", "a2"]);
    assert_eq!(vendor.refreshes(), 2);
    // A token that is refused although it was just got is out.
    vendor.revoked.store(9, Ordering::Relaxed);
    assert!(send(&failover).await.is_err());
    assert_eq!(vendor.seen(), ["a2", "a3"]);
    assert_eq!(vendor.refreshes(), 3);
    let handle = failover.handle().find("pooled").unwrap();
    let token = &handle.tokens().snapshot(time::now())[0];
    assert!(
        matches!(token.state, TokenState::Refused { .. }),
        "{token:?}"
    );
}

// TOK-11, TOK-13, TOK-02
#[tokio::test(start_paused = true)]
async fn a_login_that_is_over_leads_to_the_last_resort_and_says_what_to_do() {
    let vendor = Vendor::default();
    vendor.logged_out.store(1, Ordering::Relaxed);
    let asked = Arc::new(AtomicUsize::new(0));
    let last = Fetched::new("last", SourceId::of(["last"]), {
        let asked = asked.clone();
        move || {
            asked.fetch_add(1, Ordering::Relaxed);
            async { Ok("sk-test-last".into()) }
        }
    });
    let pool = pool(vendor.source()).with(Tier::Anonymous, "last", Arc::new(last));
    let failover = vendor.failover(pool);
    for _ in 0..2 {
        assert_eq!(send(&failover).await.unwrap(), 200);
    }
    assert_eq!(vendor.seen(), ["last", "last"]);
    assert_eq!((vendor.refreshes(), asked.load(Ordering::Relaxed)), (1, 1));
    let handle = failover.handle().find("pooled").unwrap();
    let snapshot = handle.tokens().snapshot(time::now());
    assert!(matches!(snapshot[0].state, TokenState::Refused { .. }));
    assert_eq!(
        snapshot[0].trouble.as_deref(),
        Some(
            "auth.example refused the refresh token (400 invalid_grant): log in again and put the \
             new refresh token in its place"
        )
    );
}

// TOK-22
#[tokio::test(start_paused = true)]
async fn while_maintenance_runs_nobody_waits_for_a_refresh() {
    let vendor = Vendor::default();
    let failover = vendor.failover(pool(vendor.source()));
    let maintenance = tokio::spawn(failover.handle().maintenance());
    send(&failover).await.unwrap();
    let mut waits = Vec::new();
    for _ in 0..300 {
        tokio::time::sleep(Duration::from_secs(60)).await;
        let start = time::now();
        send(&failover).await.unwrap();
        waits.push(time::now() - start);
    }
    assert_eq!(waits.iter().max(), Some(&Duration::ZERO));
    // Five hours, and a token is used for an hour less three minutes.
    assert_eq!(vendor.refreshes(), 6);
    maintenance.abort();
}
