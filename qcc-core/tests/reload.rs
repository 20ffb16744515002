//! One stack goes on where another one is: what a reload keeps and what it changes.

use std::borrow::Cow;
use std::convert::Infallible;
use std::num::NonZeroU32;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use qcc_core::affinity::AffinityKey;
use qcc_core::body::RequestBody;
use qcc_core::breaker::{self, Phase};
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::BoxError;
use qcc_core::facts::Facts;
use qcc_core::failover::{Builder, EndpointStatus, Failover, Handle};
use qcc_core::upstream::Upstream;
use tower::{ServiceExt as _, service_fn};

/// Says who answered; a host whose name begins with `bad` fails.
fn upstream() -> impl Upstream {
    service_fn(|request: Request<RequestBody>| async move {
        let host = request.uri().host().unwrap_or_default().to_owned();
        let status = match host.as_str() {
            "refuses" => 401,
            host if host.starts_with("bad") => 500,
            _ => 200,
        };
        let mut response = Response::new(Full::<Bytes>::from(host));
        *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
        Ok::<_, Infallible>(response)
    })
}

fn endpoint(host: &str) -> Endpoint {
    Endpoint::new(host, format!("http://{host}").parse().unwrap())
        .with_credential(Credential::new(host, format!("sk-test-{host}")))
}

fn builder(endpoints: impl IntoIterator<Item = Endpoint>) -> Builder {
    Failover::builder(Endpoints::try_from_iter(endpoints).unwrap()).affinity(BySession)
}

/// The header `session` names a session.
#[derive(Debug)]
struct BySession;

impl AffinityKey for BySession {
    fn key<'a>(&self, head: &'a Parts, _: &'a Facts) -> Option<Cow<'a, str>> {
        let session = head.headers.get("session")?.to_str().ok()?;
        (!session.is_empty()).then(|| session.into())
    }
}

async fn ask<S: Upstream>(failover: &Failover<S>, session: &str) -> Result<String, BoxError> {
    let request = Request::post("/")
        .header("session", session)
        .body(RequestBody::from("question"))?;
    let response = failover.clone().oneshot(request).await?;
    text(response.into_body()).await
}

async fn text<B: Body<Data = Bytes, Error = BoxError>>(body: B) -> Result<String, BoxError> {
    let bytes = body.collect().await?.to_bytes();
    Ok(String::from_utf8(bytes.to_vec())?)
}

fn status(handle: &Handle, name: &str) -> EndpointStatus {
    handle.find(name).unwrap().status()
}

// SEL-03, CFG-07, CFG-10
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_stays_keeps_its_state_and_others_come_and_go() {
    let old = builder([
        endpoint("bad-1"),
        endpoint("refuses").with_priority(2),
        endpoint("leaves").with_priority(3),
    ])
    .breaker(breaker::Config::default().with_max_failures(NonZeroU32::MIN))
    .build(|_| upstream());
    assert_eq!(ask(&old, "").await.unwrap(), "leaves");
    let before = old.handle();
    assert_eq!(status(&before, "bad-1").breaker.state, Phase::Open);
    assert!(status(&before, "refuses").auth_failed);

    let three = NonZeroU32::new(3).unwrap();
    let new = builder([
        endpoint("joins").with_priority(5),
        endpoint("bad-1").with_weight(7),
        endpoint("refuses").with_priority(9),
    ])
    .breaker(breaker::Config::default().with_max_failures(three))
    .continuing(&before)
    .build(|_| upstream());
    let after = new.handle();
    assert_eq!(status(&after, "bad-1").breaker.state, Phase::Open);
    assert_eq!(status(&after, "bad-1").breaker.threshold, 3);
    assert_eq!(status(&after, "bad-1").endpoint.weight(), 7);
    assert!(status(&after, "refuses").auth_failed);
    assert_eq!(
        status(&after, "refuses").total,
        status(&before, "refuses").total
    );
    assert_eq!(status(&after, "refuses").endpoint.priority(), 9);
    assert_eq!(status(&after, "joins").total, 0);
    assert!(after.find("leaves").is_none());
    assert_eq!(ask(&new, "").await.unwrap(), "joins");
}

// SEL-03
#[tokio::test(start_paused = true)]
async fn both_stacks_see_one_state_and_what_ends_late_changes_nothing_back() {
    let old = builder([endpoint("one")]).build(|_| upstream());
    let request = || Request::post("/").body(RequestBody::from("question"));
    let under_way = old.clone().oneshot(request().unwrap()).await.unwrap();
    let new = builder([endpoint("one"), endpoint("two")])
        .continuing(&old.handle())
        .build(|_| upstream());
    assert_eq!(status(&new.handle(), "one").in_flight, 1);

    new.handle().find("one").unwrap().disable();
    assert!(!status(&old.handle(), "one").enabled);
    assert_eq!(text(under_way.into_body()).await.unwrap(), "one");
    assert_eq!(status(&new.handle(), "one").in_flight, 0);
    assert!(
        !status(&new.handle(), "one").enabled,
        "a late 200 enables nobody"
    );
    assert_eq!(ask(&new, "").await.unwrap(), "two");
}

// SEL-11, CFG-07
#[tokio::test(start_paused = true)]
async fn what_an_operator_switched_stays_unless_the_configuration_changes_it() {
    let old = builder([endpoint("one"), endpoint("two")]).build(|_| upstream());
    old.handle().find("one").unwrap().disable();
    let same = builder([
        endpoint("one").with_weight(3),
        endpoint("two").with_enabled(false),
    ])
    .continuing(&old.handle())
    .build(|_| upstream());
    assert!(!status(&same.handle(), "one").enabled);
    assert!(!status(&same.handle(), "two").enabled);
    let back = builder([endpoint("one"), endpoint("two").with_enabled(true)])
        .continuing(&same.handle())
        .build(|_| upstream());
    assert!(!status(&back.handle(), "one").enabled, "switched by hand");
    assert!(status(&back.handle(), "two").enabled);
}

// AFF-09, CFG-10
#[tokio::test(start_paused = true)]
async fn sessions_stay_where_they_are_and_leave_an_endpoint_that_was_removed() {
    let old = builder([endpoint("one"), endpoint("two")]).build(|_| upstream());
    let mut homes = Vec::new();
    for number in 0..20 {
        homes.push(ask(&old, &format!("session-{number}")).await.unwrap());
    }
    let new = builder([endpoint("two"), endpoint("three").with_weight(1000)])
        .continuing(&old.handle())
        .build(|_| upstream());
    for (number, home) in homes.iter().enumerate() {
        let answered = ask(&new, &format!("session-{number}")).await.unwrap();
        match home.as_str() {
            "two" => assert_eq!(answered, "two"),
            _ => assert_ne!(answered, "one"),
        }
    }
}
