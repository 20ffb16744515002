use std::num::NonZeroU32;

use http_body_util::Empty;
use tokio::sync::mpsc::unbounded_channel;
use tokio_test::{assert_pending, task};
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::*;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::testing::{
    Feed, Logs, ReadinessProbe, answer, assert_keeps_readiness, broken, drain, request, send,
};

fn limited(most: u32) -> Caller {
    Caller::new("laptop", NonZeroU32::new(most))
}

fn of(caller: &Caller) -> Request<RequestBody> {
    let mut request = request();
    request.extensions_mut().insert(caller.clone());
    request
}

#[tokio::test]
async fn the_layer_keeps_the_readiness_of_its_inner_service() {
    assert_keeps_readiness(ConcurrencyLimitLayer.layer(ReadinessProbe::new(|_| answer("ok"))))
        .await;
}

// ACC-08, ACC-10, EMB-01
#[tokio::test]
async fn a_caller_has_as_many_requests_in_flight_as_it_may_have_bodies_included() {
    let (caller, other) = (limited(1), limited(1));
    let mut service = ConcurrencyLimitLayer.layer(ReadinessProbe::new(|_| answer("hello")));
    let first = send(&mut service, of(&caller)).await.unwrap();
    assert_eq!(caller.in_flight(), 1);

    let logs = Logs::capture();
    let mut second = of(&caller);
    let id = "req-17".parse().unwrap();
    second.headers_mut().insert("x-request-id", id);
    let refused = send(&mut service, second).await.unwrap_err();
    let error = refused.downcast::<Error>().unwrap();
    assert_eq!(error.kind(), ErrorKind::CallerFull);
    assert_eq!(error.request_id().to_string(), "req-17");
    assert!(error.is_rate_limited(), "the same request works later");
    assert_eq!(logs.with("req-17").len(), 1, "{:#?}", logs.lines());
    assert_eq!(caller.in_flight(), 1);

    let theirs = send(&mut service, of(&other)).await.unwrap();
    let nobodys = send(&mut service, request()).await.unwrap();
    assert_eq!((caller.in_flight(), other.in_flight()), (1, 1));
    drop((theirs, nobodys));
    drain(first.into_body()).await.unwrap();
    assert_eq!((caller.in_flight(), other.in_flight()), (0, 0));
    assert!(send(&mut service, of(&caller)).await.is_ok());
}

// ACC-09, ACC-10
#[tokio::test]
async fn a_place_returns_once_however_its_request_ends() {
    let caller = limited(1);
    let (feed, pieces) = unbounded_channel();
    let mut pieces = Some(pieces);
    let mut streamed = ConcurrencyLimitLayer.layer(service_fn(move |_: Request<RequestBody>| {
        let body = Feed(pieces.take().unwrap());
        async { Ok::<_, BoxError>(Response::new(body)) }
    }));
    let response = send(&mut streamed, of(&caller)).await.unwrap();
    feed.send(Ok("half".into())).unwrap();
    assert_eq!(caller.in_flight(), 1);
    drop(response);
    assert_eq!(caller.in_flight(), 0, "the client went away");

    let breaks = ReadinessProbe::new(|_| broken("half", "cut"));
    let mut breaks = ConcurrencyLimitLayer.layer(breaks);
    let response = send(&mut breaks, of(&caller)).await.unwrap();
    drain(response.into_body()).await.unwrap_err();
    assert_eq!(caller.in_flight(), 0, "the answer broke");

    let never = service_fn(|_: Request<RequestBody>| {
        std::future::pending::<Result<Response<Empty<&[u8]>>, BoxError>>()
    });
    let mut given_up = task::spawn(ConcurrencyLimitLayer.layer(never).oneshot(of(&caller)));
    assert_pending!(given_up.poll());
    assert_eq!(caller.in_flight(), 1);
    drop(given_up);
    assert_eq!(caller.in_flight(), 0, "the request was dropped");

    let fails = service_fn(|_: Request<RequestBody>| async {
        Err::<Response<Empty<&[u8]>>, BoxError>("refused".into())
    });
    let fails = ConcurrencyLimitLayer.layer(fails);
    fails.oneshot(of(&caller)).await.unwrap_err();
    assert_eq!(caller.in_flight(), 0, "it failed");
}

// ACC-08
#[tokio::test]
async fn another_limit_holds_for_the_same_count() {
    let before = limited(2);
    let mut service = ConcurrencyLimitLayer.layer(ReadinessProbe::new(|_| answer("hello")));
    let first = send(&mut service, of(&before)).await.unwrap();
    let after = before.continued(NonZeroU32::new(1));
    assert_eq!(after.in_flight(), 1);
    assert!(send(&mut service, of(&after)).await.is_err());
    drain(first.into_body()).await.unwrap();
    assert_eq!((before.in_flight(), after.in_flight()), (0, 0));
    let free = before.continued(None);
    let many = [
        send(&mut service, of(&free)).await,
        send(&mut service, of(&free)).await,
    ];
    assert!(many.iter().all(Result::is_ok));
    assert_eq!(free.in_flight(), 2, "counted without a limit, too");
}

// ACC-08
#[test]
fn threads_that_race_for_the_last_place_never_exceed_the_limit() {
    let caller = limited(3);
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..1000 {
                    let place = caller.enter();
                    assert!(caller.in_flight() <= 3);
                    drop(place);
                }
            });
        }
    });
    assert_eq!(caller.in_flight(), 0);
}
