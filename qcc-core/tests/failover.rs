//! The whole stack over upstreams that are scripted by status: no LLM in sight.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::future::ready;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use qcc_core::body::RequestBody;
use qcc_core::breaker::Phase;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::Error;
use qcc_core::failover::{EndpointHandle, Failover, Handle};
use qcc_core::health::Status;
use qcc_core::time::{self, Duration};
use qcc_core::upstream::Upstream;
use tower::{ServiceExt as _, service_fn};

/// What each host answers, in order; 200 when nothing is left. Counts calls.
#[derive(Clone, Default)]
struct Hosts(Arc<Mutex<HashMap<String, Host>>>);

#[derive(Default)]
struct Host {
    script: VecDeque<u16>,
    calls: usize,
}

impl Hosts {
    fn script(&self, host: &str, statuses: &[u16]) {
        let mut hosts = self.0.lock().unwrap();
        hosts.entry(host.to_owned()).or_default().script = statuses.iter().copied().collect();
    }

    fn calls(&self, host: &str) -> usize {
        self.0
            .lock()
            .unwrap()
            .get(host)
            .map_or(0, |host| host.calls)
    }

    fn answer(&self, host: &str) -> u16 {
        let mut hosts = self.0.lock().unwrap();
        let host = hosts.entry(host.to_owned()).or_default();
        host.calls += 1;
        host.script.pop_front().unwrap_or(200)
    }

    /// A stack over the hosts `a`, `b` and `c`, in this order of priority.
    fn failover(&self) -> Failover<impl Upstream> {
        let endpoints = ["a", "b", "c"]
            .into_iter()
            .zip(1..)
            .map(|(name, priority)| {
                Endpoint::new(name, format!("http://{name}").parse().unwrap())
                    .with_credential(Credential::new(name, format!("sk-test-{name}")))
                    .with_priority(priority)
            });
        let hosts = self.clone();
        let upstream = service_fn(move |request: Request<RequestBody>| {
            let status = hosts.answer(request.uri().host().unwrap_or_default());
            let response = Response::builder().status(status).body(Full::from("hello"));
            ready(Ok::<_, Infallible>(response.unwrap_or_default()))
        });
        let endpoints = Endpoints::try_from_iter(endpoints).unwrap();
        Failover::builder(endpoints).build(move |_| upstream.clone())
    }
}

async fn ask<S: Upstream>(failover: &Failover<S>) -> Result<(u16, Bytes), Error> {
    let request = Request::post("/")
        .body(RequestBody::from("question"))
        .unwrap();
    let response = failover.clone().oneshot(request).await?;
    let status = response.status().as_u16();
    Ok((
        status,
        response.into_body().collect().await.unwrap().to_bytes(),
    ))
}

fn endpoint(handle: &Handle, name: &str) -> EndpointHandle {
    handle.find(name).unwrap()
}

// SEL-20, SEL-10, SEL-11, SEL-12, SEL-13, RTY-12, RTY-14
#[tokio::test(start_paused = true)]
async fn endpoints_that_answer_401_are_called_once_and_are_out_until_they_are_enabled() {
    let hosts = Hosts::default();
    for host in ["a", "b", "c"] {
        hosts.script(host, &[401]);
    }
    let failover = hosts.failover();
    let handle = failover.handle();

    let error = ask(&failover).await.unwrap_err();
    assert!(error.is_auth_failed());
    assert_eq!(error.attempts().len(), 3);
    let error = ask(&failover).await.unwrap_err();
    assert!(error.is_no_endpoint(), "nobody is called again");
    for status in handle.status() {
        let name = status.endpoint.name().clone();
        assert_eq!(hosts.calls(&name), 1, "{name}");
        assert_eq!((status.enabled, status.operator_enabled), (false, true));
        assert_eq!(status.status, Status::Unhealthy);
        assert!(status.auth_failed && !status.is_healthy);
        assert_eq!(status.consecutive_failures, 1);
        assert_eq!((status.total, status.failed), (1, 1));
        assert!(status.average_response.is_some());
    }

    // Time alone brings nobody back.
    tokio::time::advance(Duration::from_secs(24 * 3600)).await;
    assert!(ask(&failover).await.unwrap_err().is_no_endpoint());
    let b = endpoint(&handle, "b");
    assert!(b.enable());
    assert!(!b.enable(), "enabling is idempotent");
    assert_eq!(ask(&failover).await.unwrap().0, 200);
    assert_eq!([hosts.calls("a"), hosts.calls("b")], [1, 2]);
}

// RTY-02, SEL-04, BRK-02
#[tokio::test(start_paused = true)]
async fn a_failure_is_recorded_before_the_next_selection() {
    let hosts = Hosts::default();
    hosts.script("a", &[500, 500, 500]);
    let failover = hosts.failover();
    let a = endpoint(&failover.handle(), "a");
    for failures in 1..=3 {
        assert_eq!(ask(&failover).await.unwrap().0, 200);
        assert_eq!(a.status().breaker.failures, failures);
    }
    // Open now: the next request starts elsewhere.
    assert_eq!(a.status().breaker.state, Phase::Open);
    assert_eq!(ask(&failover).await.unwrap().0, 200);
    assert_eq!([hosts.calls("a"), hosts.calls("b")], [3, 4]);
}

// EMB-05, SEL-03, BRK-14
#[tokio::test(start_paused = true)]
async fn one_breaker_is_shared_by_selection_and_status_and_reading_changes_nothing() {
    let hosts = Hosts::default();
    hosts.script("a", &[500, 500, 500]);
    let failover = hosts.failover();
    let a = endpoint(&failover.handle(), "a");
    for _ in 0..3 {
        ask(&failover).await.unwrap();
    }
    tokio::time::advance(Duration::from_secs(61)).await;
    for _ in 0..3 {
        // Half-open to whoever looks; that the slot is free is not changed by looking.
        assert_eq!(a.status().breaker.state, Phase::HalfOpen);
    }
    assert_eq!(ask(&failover).await.unwrap().0, 200);
    assert_eq!(hosts.calls("a"), 4, "the probe went there");
    assert_eq!(a.status().breaker.state, Phase::Closed);

    // What is changed through the handle is seen by the next choice.
    assert!(a.disable());
    ask(&failover).await.unwrap();
    assert_eq!(hosts.calls("a"), 4);
    assert!(a.enable());
    ask(&failover).await.unwrap();
    assert_eq!(hosts.calls("a"), 5);
}

// CLI-20
#[tokio::test(start_paused = true)]
async fn an_endpoint_is_found_by_its_name_or_the_start_of_its_id() {
    let handle = Hosts::default().failover().handle();
    let id = endpoint(&handle, "a").endpoint().id().to_string();
    assert_eq!(&**handle.find(&id[..4]).unwrap().endpoint().name(), "a");
    assert!(handle.find(&id[..3]).is_none(), "too short to be meant");
    assert!(handle.find("nobody").is_none());
}

// ACC-06, ACC-05
#[tokio::test(start_paused = true)]
async fn a_limit_that_is_over_is_forgotten_by_the_maintenance_and_waits_for_nobody() {
    for maintained in [false, true] {
        let hosts = Hosts::default();
        hosts.script("a", &[429]);
        let failover = hosts.failover();
        let handle = failover.handle();
        let maintenance = maintained.then(|| tokio::spawn(handle.maintenance()));
        tokio::task::yield_now().await;
        ask(&failover).await.unwrap();
        let limited = endpoint(&handle, "a").status();
        assert_eq!(limited.rate_limit_reset_in, Some(Duration::from_secs(30)));
        assert_eq!(handle.sweep(time::now()), 0, "it is not over");

        tokio::time::advance(Duration::from_secs(61)).await;
        tokio::task::yield_now().await;
        let free = endpoint(&handle, "a").status();
        assert_eq!((free.rate_limit_reset_in, free.out), (None, None));
        assert_eq!(handle.sweep(time::now()), usize::from(!maintained));
        assert_eq!(handle.sweep(time::now()), 0, "once");
        ask(&failover).await.unwrap();
        assert_eq!(hosts.calls("a"), 2, "used again");
        maintenance.inspect(|task| task.abort());
    }
}
