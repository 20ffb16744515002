//! The shell under a classifier of a toy language, so that only holding, time and settling are
//! tested here: `go` commits, `end` is the end marker, `bad` breaks, everything else is held.

use std::collections::VecDeque;
use std::future::{pending, ready};
use std::pin::pin;

use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_test::{assert_pending, assert_ready, task};

use super::*;
use crate::credential::Credential;
use crate::exchange::{Exchange, RequestId};
use crate::facts::{Dialect, Facts};
use crate::failure::{Blame, Failed, Interrupted, Kind, Verdict, Wait};
use crate::record::SendResult;
use crate::testing::{Answer, Feed, ReadinessProbe, answer, assert_keeps_readiness, request, send};
use crate::time::{Duration, Instant};

#[derive(Debug)]
struct Toy;

impl Classify for Toy {
    fn head(&self, _: Sent<'_>, head: &http::response::Parts) -> Plan {
        match head.status {
            StatusCode::OK => Plan::Watch(Box::new(ToyWatch::default())),
            StatusCode::ACCEPTED => Plan::Pass,
            _ => Plan::Fail,
        }
    }

    fn failure(&self, _: Sent<'_>, _: &http::response::Parts, _: &[u8], _: Instant) -> Verdict {
        Verdict::new(Kind::Server)
    }
}

#[derive(Default)]
struct ToyWatch {
    pieces: VecDeque<Bytes>,
    committed: bool,
    complete: bool,
}

impl Watch for ToyWatch {
    fn data(&mut self, data: Bytes, _: Instant) -> Progress {
        let progress = match &data[..] {
            b"go" => Progress::Commit,
            b"end" => Progress::Complete,
            b"bad" => return Progress::Broken(Verdict::new(Kind::Overloaded)),
            _ => Progress::More,
        };
        self.pieces.push_back(data);
        self.committed |= progress != Progress::More;
        self.complete |= progress == Progress::Complete;
        progress
    }

    fn end(&mut self, _: Instant) -> Result<(), Verdict> {
        self.committed |= self.complete;
        if self.complete {
            Ok(())
        } else {
            Err(Verdict::new(Kind::Unknown))
        }
    }

    fn commit(&mut self) {
        self.committed = true;
    }

    fn release(&mut self) -> Option<Bytes> {
        if self.committed {
            self.pieces.pop_front()
        } else {
            None
        }
    }

    fn closing(&mut self) -> Option<Bytes> {
        Some(Bytes::from_static(b"closing"))
    }

    fn hold(&self) -> Hold {
        Hold {
            bytes: 64 * 1024,
            time: Some(Duration::from_secs(15)),
        }
    }
}

type Feeder = UnboundedSender<Result<Bytes, BoxError>>;

fn feed(feeder: &Feeder, piece: &'static str) {
    feeder
        .send(Ok(Bytes::from_static(piece.as_bytes())))
        .unwrap();
}

fn reset() -> BoxError {
    std::io::Error::from(std::io::ErrorKind::ConnectionReset).into()
}

/// A request of a streamed Anthropic answer under a deadline of 600 s.
fn streamed() -> (Request<RequestBody>, Exchange) {
    asked(true)
}

fn asked(stream: bool) -> (Request<RequestBody>, Exchange) {
    let exchange = Exchange::new(RequestId::random());
    exchange.set_facts(Facts {
        dialect: Some(Dialect::Anthropic),
        stream,
        ..Facts::default()
    });
    exchange.limit(exchange.started() + Duration::from_secs(600), 5);
    let mut request = request();
    request
        .extensions_mut()
        .insert(Visit::new(exchange.clone()));
    exchange
        .begin_send(crate::exchange::SendKind::First, time::now())
        .unwrap();
    (request, exchange)
}

/// The service around an upstream that answers 200 with the body that the feeder feeds.
fn fed() -> (
    Feeder,
    ErrorClassify<impl Service<Request<RequestBody>, Response = Response<Feed>, Error = BoxError>>,
) {
    let (feeder, body) = unbounded_channel();
    let mut body = Some(Feed(body));
    let upstream = tower::service_fn(move |_| {
        ready(Ok::<_, BoxError>(Response::new(
            body.take().expect("one request"),
        )))
    });
    (
        feeder,
        ErrorClassify::new(upstream, Arc::new(Toy), Timeouts::default()),
    )
}

fn failed(result: &Result<impl Sized, BoxError>) -> &Failed {
    match result {
        Ok(_) => panic!("the answer was committed"),
        Err(error) => Failed::find(&**error).expect("a classified failure"),
    }
}

async fn advance(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

fn result(exchange: &Exchange) -> SendResult {
    let record = exchange.seal(time::now()).unwrap();
    let (_, send) = record.sends().last().unwrap();
    send.result
}

#[tokio::test(start_paused = true)]
async fn it_calls_the_service_that_it_readied() {
    let upstream = ReadinessProbe::new(|_| -> Answer { answer("end") });
    let service = ErrorClassify::new(upstream, Arc::new(Toy), Timeouts::default());
    assert_keeps_readiness(service).await;
}

// STR-01, STR-10
#[tokio::test(start_paused = true)]
async fn an_answer_is_held_until_its_first_output_and_passes_event_by_event_afterwards() {
    let (feeder, mut service) = fed();
    let (request, _) = streamed();
    let mut future = task::spawn(send(&mut service, request));
    feed(&feeder, "held");
    assert_pending!(future.poll());
    feed(&feeder, "go");
    let mut body = assert_ready!(future.poll()).unwrap().into_body();
    for expected in ["held", "go"] {
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), expected);
    }
    let mut next = task::spawn(body.frame());
    assert_pending!(next.poll());
    feed(&feeder, "more");
    assert!(next.is_woken());
    let frame = assert_ready!(next.poll()).unwrap().unwrap();
    assert_eq!(frame.into_data().unwrap(), "more");
}

// STR-01
#[tokio::test(start_paused = true)]
async fn a_held_answer_is_committed_after_15_seconds_from_its_first_byte() {
    let (feeder, mut service) = fed();
    let (request, _) = streamed();
    let mut future = task::spawn(send(&mut service, request));
    assert_pending!(future.poll());
    advance(50).await;
    feed(&feeder, "held");
    assert_pending!(future.poll());
    advance(14).await;
    assert_pending!(future.poll());
    advance(1).await;
    assert!(assert_ready!(future.poll()).is_ok());
}

// STR-01
#[tokio::test(start_paused = true)]
async fn a_held_answer_is_committed_after_64_kib() {
    let (feeder, mut service) = fed();
    let (request, _) = streamed();
    let mut future = task::spawn(send(&mut service, request));
    feeder.send(Ok(vec![b' '; 64 * 1024].into())).unwrap();
    assert_pending!(future.poll());
    feed(&feeder, " ");
    assert!(assert_ready!(future.poll()).is_ok());
}

// STR-03
#[tokio::test(start_paused = true)]
async fn a_break_while_it_is_held_is_a_failure() {
    for (ending, kind) in [
        (Some(Ok(Bytes::from_static(b"bad"))), Kind::Overloaded),
        (Some(Err(reset())), Kind::Unknown),
        (None, Kind::Unknown),
    ] {
        let (feeder, mut service) = fed();
        let (request, _) = streamed();
        feed(&feeder, "held");
        ending.map(|piece| feeder.send(piece));
        drop(feeder);
        let result = send(&mut service, request).await;
        assert_eq!(failed(&result).kind(), kind);
    }
}

// UPS-07, UPS-06, STR-01
#[tokio::test(start_paused = true)]
async fn a_head_alone_is_no_first_byte() {
    let (_feeder, mut service) = fed();
    let (request, _) = streamed();
    let mut future = task::spawn(send(&mut service, request));
    assert_pending!(future.poll());
    advance(59).await;
    assert_pending!(future.poll());
    advance(1).await;
    let result = assert_ready!(future.poll());
    assert_eq!(failed(&result).wait(), Some(Wait::FirstByte));
    assert_eq!(failed(&result).blame(), Blame::Endpoint);
}

// UPS-07
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_streamed_has_the_rest_of_the_deadline() {
    let (_feeder, mut service) = fed();
    let (request, _) = asked(false);
    let mut future = task::spawn(send(&mut service, request));
    assert_pending!(future.poll());
    advance(599).await;
    assert_pending!(future.poll());
    advance(1).await;
    let result = assert_ready!(future.poll());
    assert_eq!(failed(&result).wait(), Some(Wait::Deadline));
    assert_eq!(failed(&result).blame(), Blame::Endpoint);
}

// RTY-10
#[tokio::test(start_paused = true)]
async fn the_deadline_is_watched_for_as_long_as_an_answer_is_waited_for() {
    let (_feeder, mut service) = fed();
    let (request, exchange) = streamed();
    assert!(!exchange.deadline_is_watched());
    let mut future = task::spawn(service.call(request));
    assert!(!exchange.deadline_is_watched());
    assert_pending!(future.poll());
    assert!(exchange.deadline_is_watched());
    drop(future);
    assert!(!exchange.deadline_is_watched());
}

// UPS-07
#[tokio::test(start_paused = true)]
async fn the_limit_of_the_endpoint_holds_for_every_answer() {
    let timeouts = Timeouts::default()
        .with_endpoint(Duration::from_secs(180))
        .unwrap();
    for stream in [true, false] {
        let upstream = tower::service_fn(|_| pending::<Result<Response<Feed>, BoxError>>());
        let mut service = ErrorClassify::new(upstream, Arc::new(Toy), timeouts);
        let mut future = task::spawn(send(&mut service, asked(stream).0));
        assert_pending!(future.poll());
        advance(179).await;
        assert_pending!(future.poll());
        advance(1).await;
        assert_eq!(
            failed(&assert_ready!(future.poll())).wait(),
            Some(Wait::FirstByte)
        );
    }
}

// RTY-10
#[tokio::test(start_paused = true)]
async fn a_send_that_the_deadline_cut_short_blames_nobody() {
    let (_feeder, mut service) = fed();
    let (request, _) = streamed();
    advance(580).await;
    let mut future = task::spawn(send(&mut service, request));
    assert_pending!(future.poll());
    advance(20).await;
    let result = assert_ready!(future.poll());
    assert_eq!(failed(&result).wait(), Some(Wait::Deadline));
    assert_eq!(failed(&result).blame(), Blame::Caller);
}

// STR-09
#[tokio::test(start_paused = true)]
async fn silence_after_the_commit_point_is_an_interruption() {
    let (feeder, mut service) = fed();
    let (request, exchange) = streamed();
    feed(&feeder, "go");
    let mut body = send(&mut service, request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    advance(59).await;
    feed(&feeder, "more");
    body.frame().await.unwrap().unwrap();
    {
        let mut next = task::spawn(body.frame());
        assert_pending!(next.poll());
        advance(59).await;
        assert_pending!(next.poll());
        advance(1).await;
        let error = assert_ready!(next.poll()).unwrap().unwrap_err();
        let interrupted = Interrupted::find(&*error).unwrap();
        assert_eq!(interrupted.kind(), Kind::Timeout);
        assert_eq!(interrupted.closing().unwrap(), "closing");
    }
    assert_eq!(
        result(&exchange),
        SendResult::Broken(Verdict::new(Kind::Timeout))
    );
}

// STR-04, STR-08
#[tokio::test(start_paused = true)]
async fn a_break_after_the_commit_point_ends_the_body_with_what_closes_it() {
    let (feeder, mut service) = fed();
    let (request, exchange) = streamed();
    feed(&feeder, "go");
    feeder.send(Err(reset())).unwrap();
    let mut body = send(&mut service, request).await.unwrap().into_body();
    body.frame().await.unwrap().unwrap();
    let error = body.frame().await.unwrap().unwrap_err();
    assert_eq!(Interrupted::find(&*error).unwrap().kind(), Kind::Transport);
    assert!(body.frame().await.is_none());
    let record = exchange.seal(time::now()).unwrap();
    let (_, send) = record.sends().last().unwrap();
    assert_eq!(
        send.result,
        SendResult::Broken(Verdict::new(Kind::Transport))
    );
    assert_eq!(send.bytes, 2);
}

// STR-07
#[tokio::test(start_paused = true)]
async fn what_happens_after_the_end_marker_breaks_nothing() {
    for ending in [Some(Err(reset())), None] {
        let (feeder, mut service) = fed();
        let (request, exchange) = streamed();
        feed(&feeder, "end");
        let hangs = ending.is_none();
        ending.map(|piece| feeder.send(piece));
        let mut body = send(&mut service, request).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        // A silent upstream is waited for, but not for long.
        let started = time::now();
        assert!(body.frame().await.is_none());
        let waited = time::now() - started;
        assert_eq!(waited, Duration::from_millis(if hangs { 50 } else { 0 }));
        assert_eq!(result(&exchange), SendResult::Clean);
    }
}

// STR-11
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_cancels_the_upstream() {
    let (feeder, mut service) = fed();
    let (request, exchange) = streamed();
    feed(&feeder, "go");
    let response = send(&mut service, request).await.unwrap();
    assert!(!feeder.is_closed());
    drop(response);
    assert!(feeder.is_closed());
    assert_eq!(result(&exchange), SendResult::Canceled);
}

// RTY-13, SEC-07
#[tokio::test(start_paused = true)]
async fn a_failed_answer_is_kept_up_to_a_limit_and_without_our_credential() {
    let (feeder, body) = unbounded_channel();
    let mut body = Some(Feed(body));
    let upstream = tower::service_fn(move |_| {
        let response = Response::builder()
            .status(500)
            .header("x-echo", "key sk-test-0001")
            .body(body.take().unwrap());
        ready(response.map_err(BoxError::from))
    });
    let mut service = ErrorClassify::new(upstream, Arc::new(Toy), Timeouts::default());
    let (mut request, _) = streamed();
    Visit::of(request.extensions_mut()).credential = Some(Credential::new("one", "sk-test-0001"));
    feed(&feeder, "bad key sk-test-0001 ");
    feeder.send(Ok(vec![b'x'; 100 * 1024].into())).unwrap();
    let result = send(&mut service, request).await;
    let response = failed(&result).response().unwrap();
    assert!(response.body().starts_with(b"bad key [redacted] xxx"));
    assert!(response.body().len() <= 64 * 1024);
    assert_eq!(response.headers()["x-echo"], "key [redacted]");
    assert!(feeder.is_closed(), "the connection is let go");
}

// OPS-12
#[tokio::test(start_paused = true)]
async fn a_failed_answer_is_cut_between_two_characters() {
    for offset in 0..4 {
        let (feeder, body) = unbounded_channel();
        let mut body = Some(Feed(body));
        let upstream = tower::service_fn(move |_| {
            let response = Response::builder().status(500).body(body.take().unwrap());
            ready(response.map_err(BoxError::from))
        });
        let mut service = ErrorClassify::new(upstream, Arc::new(Toy), Timeouts::default());
        let text = "x".repeat(offset) + &"🦀".repeat(20_000);
        feeder.send(Ok(text.clone().into())).unwrap();
        let result = send(&mut service, streamed().0).await;
        let kept = failed(&result).response().unwrap().body();
        let kept = std::str::from_utf8(kept).expect("whole characters");
        assert!(
            text.starts_with(kept) && kept.len() > 64 * 1024 - 4,
            "{offset}"
        );
    }
}

// RTY-13
#[tokio::test(start_paused = true)]
async fn a_failed_answer_that_does_not_end_is_read_for_5_seconds() {
    let (feeder, body) = unbounded_channel();
    let mut body = Some(Feed(body));
    let upstream = tower::service_fn(move |_| {
        ready(
            Response::builder()
                .status(500)
                .body(body.take().unwrap())
                .map_err(BoxError::from),
        )
    });
    let mut service = ErrorClassify::new(upstream, Arc::new(Toy), Timeouts::default());
    feed(&feeder, "half");
    let started = time::now();
    let result = send(&mut service, streamed().0).await;
    assert_eq!(time::now() - started, Duration::from_secs(5));
    assert_eq!(failed(&result).response().unwrap().body(), "half");
}

// STR-06
#[tokio::test(start_paused = true)]
async fn an_answer_that_is_passed_on_breaks_without_a_closing_event() {
    let (feeder, body) = unbounded_channel();
    let mut body = Some(Feed(body));
    let upstream = tower::service_fn(move |_| {
        ready(
            Response::builder()
                .status(202)
                .body(body.take().unwrap())
                .map_err(BoxError::from),
        )
    });
    let mut service = ErrorClassify::new(upstream, Arc::new(Toy), Timeouts::default());
    let response = send(&mut service, streamed().0).await.unwrap();
    feed(&feeder, "half");
    feeder.send(Err(reset())).unwrap();
    let mut body = pin!(response.into_body());
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "half"
    );
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(Interrupted::find(&*error).unwrap().closing().is_none());
}

// BRK-12
#[tokio::test(start_paused = true)]
async fn an_answer_of_known_length_ends_with_its_last_byte() {
    let upstream = tower::service_fn(|_| {
        let body = crate::testing::Script::new([Ok("held"), Ok("go"), Ok("end")]);
        ready(Ok::<_, BoxError>(Response::new(body)))
    });
    let mut service = ErrorClassify::new(upstream, Arc::new(Whole), Timeouts::default());
    let (request, exchange) = asked(false);
    let mut body = send(&mut service, request).await.unwrap().into_body();
    for expected in ["held", "go", "end"] {
        assert!(!body.is_end_stream());
        let frame = body.frame().await.unwrap().unwrap();
        assert_eq!(frame.into_data().unwrap(), expected);
    }
    // A server does not ask for more.
    assert!(body.is_end_stream());
    drop(body);
    assert_eq!(result(&exchange), SendResult::Clean);
}

/// Holds everything to its end.
#[derive(Debug)]
struct Whole;

impl Classify for Whole {
    fn head(&self, _: Sent<'_>, _: &http::response::Parts) -> Plan {
        Plan::Watch(Box::new(WholeWatch(ToyWatch::default())))
    }

    fn failure(&self, _: Sent<'_>, _: &http::response::Parts, _: &[u8], _: Instant) -> Verdict {
        Verdict::new(Kind::Server)
    }
}

struct WholeWatch(ToyWatch);

impl Watch for WholeWatch {
    fn data(&mut self, data: Bytes, _: Instant) -> Progress {
        self.0.pieces.push_back(data);
        Progress::More
    }

    fn end(&mut self, _: Instant) -> Result<(), Verdict> {
        self.0.committed = true;
        Ok(())
    }

    fn commit(&mut self) {
        self.0.committed = true;
    }

    fn release(&mut self) -> Option<Bytes> {
        self.0.release()
    }

    fn closing(&mut self) -> Option<Bytes> {
        None
    }

    fn hold(&self) -> Hold {
        self.0.hold()
    }
}
