//! An upstream that panics: the request is lost, and nothing that was counted for it.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use qcc_core::body::RequestBody;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::failover::Failover;
use tower::{ServiceExt as _, service_fn};

/// A body that panics when it is read.
struct Panics;

impl Body for Panics {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        panic!("the body of the upstream panics")
    }
}

// ACC-09, ACC-10
#[tokio::test]
async fn after_a_panic_of_the_upstream_nothing_is_in_flight() {
    for in_body in [false, true] {
        let upstream = service_fn(move |_: Request<RequestBody>| async move {
            assert!(in_body, "the future of the upstream panics");
            Ok::<_, Infallible>(Response::new(Panics))
        });
        let endpoint = Endpoint::new("one", "http://one.example".parse().unwrap());
        let endpoints = Endpoints::try_from_iter([endpoint.with_max_in_flight(1)]).unwrap();
        let failover = Failover::builder(endpoints).build(|_| upstream);
        let handle = failover.handle();
        // As many times as there are places: one that leaked would refuse the next request.
        for _ in 0..3 {
            let request = Request::post("/").body(RequestBody::from("{}")).unwrap();
            let sent = failover.clone().oneshot(request);
            let lost = tokio::spawn(async move {
                let body = sent.await.expect("an answer").into_body();
                body.collect().await.map(drop).expect("a body");
            });
            let error = lost.await.unwrap_err();
            let panic = *error.into_panic().downcast::<&str>().unwrap();
            assert!(panic.contains("of the upstream panics"), "{panic}");
            let status = handle.find("one").unwrap().status();
            assert_eq!(status.in_flight, 0, "in the body: {in_body}");
            assert_eq!(status.breaker.failures, 0, "a panic of ours blames nobody");
        }
    }
}
