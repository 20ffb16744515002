use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use tower::{ServiceExt as _, service_fn};

use super::*;
use crate::body::RequestBody;
use crate::endpoint::Endpoint;
use crate::exchange::{Exchange, RequestId};
use crate::testing::Logs;
use crate::time::Duration;

/// One request, to `a`, which answers 503 after 1234 ms, and then to `b`, which answers well.
/// Returns the ids of both.
async fn fail_over(id: &RequestId) -> [String; 2] {
    let upstream = service_fn(|request: Request<RequestBody>| async move {
        let status = match request.uri().host() {
            Some(host) if host.starts_with('a') => {
                tokio::time::sleep(Duration::from_millis(1234)).await;
                503
            }
            _ => 200,
        };
        let response = Response::builder().status(status);
        Ok::<_, Infallible>(response.body(Full::<Bytes>::from("hello")).unwrap())
    });
    let members =
        ["a", "b"].map(|name| Endpoint::new(name, format!("http://{name}.sim").parse().unwrap()));
    let ids = members.each_ref().map(|member| member.id().to_string());
    let [a, b] = members;
    let endpoints = Endpoints::try_from_iter([a, b.with_priority(2)]).unwrap();
    let failover = Failover::builder(endpoints).build(|_| upstream);
    let mut request = Request::post("/")
        .body(RequestBody::from("question"))
        .unwrap();
    request.extensions_mut().insert(Exchange::new(id.clone()));
    let response = failover.oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    response.into_body().collect().await.unwrap();
    ids
}

fn only(lines: &[String]) -> &str {
    assert_eq!(lines.len(), 1, "{lines:#?}");
    &lines[0]
}

// OPS-09
#[tokio::test(start_paused = true)]
async fn each_choice_each_failure_and_each_retry_of_a_request_is_logged_with_its_id() {
    let logs = Logs::capture();
    let [a, b] = fail_over(&"req-17".parse().unwrap()).await;
    let chosen = logs.with("selected an endpoint");
    assert_eq!(chosen.len(), 2, "{chosen:#?}");
    let failed = logs.with("error type: ");
    let retried = logs.with("retry 2/5");
    for (line, parts) in [
        (&*chosen[0], [&*a, "url=http://a.sim"]),
        (&*chosen[1], [&*b, "url=http://b.sim"]),
        (only(&failed), ["status=503 ", "duration_ms=1234.00 "]),
        (only(&retried), [&*b, "INFO"]),
    ] {
        assert!(line.contains("request_id=req-17 "), "{line}");
        for part in parts {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}

// SEL-19
#[tokio::test(start_paused = true)]
async fn a_selection_tells_status_and_failures_of_every_candidate() {
    let logs = Logs::capture();
    let [a, _] = fail_over(&RequestId::random()).await;
    let members = logs.with("DEBUG member");
    assert_eq!(members.len(), 4, "two for each of two selections");
    let of_a: Vec<_> = members.iter().filter(|line| line.contains(&a)).collect();
    for (line, failures) in of_a.iter().zip(["failures: 0", "failures: 1"]) {
        for part in ["is_healthy=", "status: Unknown", failures] {
            assert!(line.contains(part), "{part} in {line}");
        }
    }
}
