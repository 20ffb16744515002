//! No LLM, no network: the same layers around a plain `tower::service_fn`, judged by status.
use std::convert::Infallible;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use qcc_core::body::RequestBody;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::BoxError;
use qcc_core::failover::Failover;
use tower::{ServiceExt as _, service_fn};

/// A price list on two hosts, one of which is down for maintenance.
async fn price(request: Request<RequestBody>) -> Result<Response<Full<Bytes>>, Infallible> {
    if request.uri().host() == Some("mirror.example") {
        return Ok(Response::new(Full::from("4.20")));
    }
    let mut down = Response::new(Full::from("down for maintenance"));
    *down.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
    Ok(down)
}

async fn run() -> Result<String, BoxError> {
    let endpoints = Endpoints::try_from_iter([
        Endpoint::new("main", "http://prices.example".parse()?),
        Endpoint::new("mirror", "http://mirror.example".parse()?).with_priority(2),
    ])?;
    let failover = Failover::builder(endpoints).build(|_endpoint| service_fn(price));
    let request = Request::get("/price/apples").body(RequestBody::empty())?;
    let response = failover.clone().oneshot(request).await?;
    let price = response.into_body().collect().await?.to_bytes();
    let mut story = format!("apples cost {}", String::from_utf8_lossy(&price));
    for status in failover.handle().status() {
        let name = status.endpoint.name();
        let failed = status.failed;
        story.push_str(&format!("\n{name}: {failed} of {} failed", status.total));
    }
    Ok(story)
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    println!("{}", run().await?);
    Ok(())
}

// EMB-01, EMB-04
#[tokio::test]
async fn a_service_without_an_llm_in_sight_fails_over() {
    let story = run().await.expect("the mirror answers");
    assert_eq!(
        story,
        "apples cost 4.20\nmain: 1 of 1 failed\nmirror: 0 of 1 failed"
    );
}
