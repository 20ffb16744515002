//! What of an endpoint survives a restart: a stack is dropped, and another one is built over the
//! same store.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use qcc_core::available::Reason;
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::failover::{EndpointStatus, Failover};
use qcc_core::failure::Kind;
use qcc_core::health;
use qcc_core::store::{Memory, StateStore};
use qcc_core::upstream::Upstream;
use tokio::sync::Notify;
use tower::{ServiceExt as _, service_fn};

/// Refuses every key until it is told to be good; the first request waits for its leave and is
/// answered well.
#[derive(Clone, Default)]
struct Host {
    calls: Arc<AtomicUsize>,
    good: Arc<AtomicUsize>,
    leave: Arc<Notify>,
}

impl Host {
    fn build(&self, store: &Memory, endpoint: Endpoint) -> Failover<impl Upstream + use<>> {
        let host = self.clone();
        let upstream = service_fn(move |request: Request<RequestBody>| {
            let host = host.clone();
            async move {
                host.calls.fetch_add(1, Ordering::Relaxed);
                let status = if request.uri().path() == "/slow" {
                    host.leave.notified().await;
                    StatusCode::OK
                } else if host.good.load(Ordering::Relaxed) > 0 {
                    StatusCode::OK
                } else {
                    StatusCode::UNAUTHORIZED
                };
                let mut response = Response::new(Full::<Bytes>::from("answer"));
                *response.status_mut() = status;
                Ok::<_, Infallible>(response)
            }
        });
        let store: Arc<dyn StateStore> = Arc::new(store.clone());
        Failover::builder(Endpoints::try_from_iter([endpoint]).unwrap())
            .keep_in(store)
            .build(move |_| upstream.clone())
    }
}

fn endpoint(key: &str) -> Endpoint {
    Endpoint::new("one", "http://one".parse().unwrap())
        .with_credential(Credential::new("one", key.to_owned()))
}

const KEY: &str = "sk-test-0001";

async fn ask<S: Upstream>(failover: &Failover<S>, path: &'static str) -> Option<StatusCode> {
    let request = Request::post(path).body(RequestBody::from("q")).unwrap();
    let response = failover.clone().oneshot(request).await.ok()?;
    let status = response.status();
    response.into_body().collect().await.ok()?;
    Some(status)
}

fn status<S>(failover: &Failover<S>) -> EndpointStatus {
    failover.handle().status().remove(0)
}

// SEL-15, SEL-13
#[tokio::test(start_paused = true)]
async fn a_refused_endpoint_is_still_out_after_a_restart_with_reason_and_time() {
    let (store, host) = (Memory::new(), Host::default());
    let before = host.build(&store, endpoint(KEY));
    assert_eq!(ask(&before, "/").await, None);
    let failed = status(&before).last_failure.unwrap();
    drop(before);

    let after = host.build(&store, endpoint(KEY));
    let now = status(&after);
    assert!(now.auth_failed && !now.enabled && now.operator_enabled);
    assert_eq!(now.status, health::Status::Unhealthy);
    assert_eq!(now.out, Some((Reason::AuthFailed, None)));
    let last = now.last_failure.unwrap();
    assert_eq!((last.kind, last.status), (Kind::Auth, failed.status));
    assert_eq!(last.request, failed.request);
    assert_eq!(now.total, 0, "other health starts as unknown");
    assert_eq!(ask(&after, "/").await, None);
    assert_eq!(
        host.calls.load(Ordering::Relaxed),
        1,
        "nobody is asked again"
    );
}

// SEL-15, SEL-13
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_enabled_is_used_by_the_next_request_and_after_the_next_restart() {
    let (store, host) = (Memory::new(), Host::default());
    assert_eq!(ask(&host.build(&store, endpoint(KEY)), "/").await, None);
    host.good.store(1, Ordering::Relaxed);
    let second = host.build(&store, endpoint(KEY));
    assert_eq!(ask(&second, "/").await, None);
    assert!(second.handle().find("one").unwrap().enable());
    assert_eq!(ask(&second, "/").await, Some(StatusCode::OK));
    drop(second);
    let third = host.build(&store, endpoint(KEY));
    assert!(status(&third).enabled);
    assert_eq!(ask(&third, "/").await, Some(StatusCode::OK));
}

// SEL-15, SEL-13
#[tokio::test(start_paused = true)]
async fn another_key_is_another_endpoint_of_which_nothing_was_kept() {
    let (store, host) = (Memory::new(), Host::default());
    assert_eq!(ask(&host.build(&store, endpoint(KEY)), "/").await, None);
    let other = host.build(&store, endpoint("sk-test-0002"));
    assert!(status(&other).enabled);
}

// SEL-15, SEL-14
#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_the_refusal_is_not_kept_as_its_end() {
    let (store, host) = (Memory::new(), Host::default());
    let before = host.build(&store, endpoint(KEY));
    let slow = tokio::spawn({
        let before = before.clone();
        async move { ask(&before, "/slow").await }
    });
    while host.calls.load(Ordering::Relaxed) == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!(ask(&before, "/").await, None);
    host.leave.notify_one();
    assert_eq!(slow.await.unwrap(), Some(StatusCode::OK));
    drop(before);
    assert!(status(&host.build(&store, endpoint(KEY))).auth_failed);
}

// SEL-15
#[tokio::test(start_paused = true)]
async fn what_an_operator_switched_survives_until_the_configuration_says_something_else() {
    let (store, host) = (Memory::new(), Host::default());
    let handle = |endpoint| host.build(&store, endpoint).handle();
    assert!(handle(endpoint(KEY)).find("one").unwrap().disable());
    let off = handle(endpoint(KEY)).status().remove(0);
    assert!(!off.enabled && !off.operator_enabled);
    assert_eq!(off.out, Some((Reason::Disabled, None)));
    // The configuration switches it off as well, and on again.
    let configured = endpoint(KEY).with_enabled(false);
    assert!(!handle(configured.clone()).status()[0].enabled);
    assert!(handle(configured.clone()).find("one").unwrap().enable());
    assert!(
        handle(configured).status()[0].enabled,
        "switched on by hand"
    );
    assert!(handle(endpoint(KEY)).status()[0].enabled);
}
