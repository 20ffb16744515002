//! What embedders do with the stack compiles.

#![cfg(feature = "reqwest")]

use bytes::Bytes;
use http::Request;
use http_body_util::BodyExt as _;
use qcc_core::body::RequestBody;
use qcc_core::error::BoxError;
use qcc_core::failover::Failover;
use qcc_core::upstream::{Reqwest, Upstream};
use tower::ServiceExt as _;

fn spawnable<F: Future + Send + 'static>(future: F) -> F {
    future
}

fn over_reqwest(failover: Failover<Reqwest>) -> impl Future<Output = Result<Bytes, BoxError>> {
    spawnable(async move {
        let request = Request::new(RequestBody::empty());
        let response = failover.oneshot(request).await?;
        Ok(response.into_body().collect().await?.to_bytes())
    })
}

fn over_any<S: Upstream>(failover: Failover<S>) -> impl Future<Output = Result<(), BoxError>> {
    spawnable(async move {
        let request = Request::new(RequestBody::empty());
        failover.oneshot(request).await?;
        Ok(())
    })
}

// EMB-04
#[test]
fn a_request_can_be_spawned() {
    let _ = (over_reqwest, over_any::<Reqwest>);
}
