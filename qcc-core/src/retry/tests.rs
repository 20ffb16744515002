//! Retry over a balancer of a toy kind: it takes the first endpoint that is not excluded and
//! gives the answers that the test scripted for it.

use std::collections::VecDeque;
use std::future::{Future, pending};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};

use http::StatusCode;
use http_body_util::BodyExt as _;
use tokio_test::{assert_pending, assert_ready, task};
use tower::{Layer as _, ServiceExt as _};

use super::*;
use crate::available::{Reason, ReasonCounts};
use crate::endpoint::Endpoint;
use crate::error::NoEndpoint;
use crate::exchange::{Exchange, RequestId};
use crate::failure::{Failed, Interrupted, Kind, Refused, Verdict, Wait};
use crate::record::{Answer, Fate, Record, RecordSink, SendResult, Tier};
use crate::testing::{
    Logs, ReadinessProbe, Script, answer, assert_keeps_readiness, endpoint, request,
};
use crate::time::{self, Duration};
use crate::visit::Visit;

/// What an endpoint does with a visit.
enum Does {
    Answer(Vec<Result<&'static str, BoxError>>),
    Fail(Verdict, Option<u16>),
    Refuse,
    Hang,
}

use Does::{Fail, Hang, Refuse};

fn ok() -> Does {
    Does::Answer(vec![Ok("hello")])
}

fn status(status: u16) -> Does {
    let kind = match status {
        400 => Kind::InvalidRequest,
        401 => Kind::Auth,
        429 => Kind::RateLimit,
        503 => Kind::Overloaded,
        _ => Kind::Server,
    };
    Fail(Verdict::new(kind), Some(status))
}

#[derive(Clone)]
struct Pool(Arc<Mutex<Vec<Member>>>);

struct Member {
    endpoint: Arc<Endpoint>,
    script: VecDeque<Does>,
    bodies: Vec<Bytes>,
    contested: Vec<bool>,
    fate: Option<Fate>,
}

impl Pool {
    fn new<const N: usize>(scripts: [Vec<Does>; N]) -> Self {
        let members = scripts.into_iter().zip(["a", "b", "c", "d", "e", "f", "g"]);
        Self(Arc::new(Mutex::new(
            members
                .map(|(script, name)| Member {
                    endpoint: Arc::new(endpoint(name)),
                    script: script.into(),
                    bodies: Vec::new(),
                    contested: Vec::new(),
                    fate: None,
                })
                .collect(),
        )))
    }

    /// The same where the first one alone can answer.
    fn owned(self) -> Self {
        if let Some(first) = self.0.lock().unwrap().first_mut() {
            first.fate = Some(Fate::Owned);
        }
        self
    }

    fn calls(&self) -> Vec<usize> {
        let members = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        members.iter().map(|member| member.bodies.len()).collect()
    }
}

impl Service<Request<RequestBody>> for Pool {
    type Response = Response<Script>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Script>, BoxError>>>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let visit = Visit::of(request.extensions_mut()).clone();
        let mut members = self.0.lock().unwrap();
        let mut free = members
            .iter_mut()
            .filter(|member| !visit.excluded.contains(member.endpoint.id()));
        let Some(member) = free.next() else {
            let mut reasons = ReasonCounts::default();
            reasons.add(Reason::Excluded);
            visit.exchange.choose(None, Tier::Ready, None, time::now());
            return Box::pin(async move { Err(NoEndpoint::new(reasons, None).into()) });
        };
        let endpoint = Some(member.endpoint.clone());
        visit
            .exchange
            .choose(endpoint, Tier::Ready, member.fate, time::now());
        let does = member.script.pop_front().unwrap_or_else(ok);
        if matches!(does, Refuse) {
            let refused = Refused::new(Reason::Probing, None, request);
            return Box::pin(async move { Err(refused.into()) });
        }
        member.contested.push(visit.contested.is_some());
        let body = request.body().as_bytes().cloned().unwrap_or_default();
        member.bodies.push(body);
        Box::pin(async move {
            match does {
                Does::Answer(pieces) => Ok(Response::new(Script::new(pieces))),
                Fail(verdict, None) => Err(Failed::new(verdict).into()),
                Fail(verdict, Some(status)) => {
                    let response = Response::builder()
                        .status(status)
                        .body(Bytes::from(format!("answer {status}")))?;
                    Err(Failed::new(verdict).with_response(response).into())
                }
                Refuse | Hang => pending().await,
            }
        })
    }
}

#[derive(Debug, Default)]
struct Records(Mutex<Vec<Arc<Record>>>);

impl RecordSink for Records {
    fn finished(&self, record: Arc<Record>) {
        self.0.lock().unwrap().push(record);
    }
}

type Outcome = Result<Response<ReplyBody<Script>>, Error>;

async fn ask(pool: &Pool, layer: &RetryWithExclusionLayer) -> Outcome {
    let request = Request::new(RequestBody::from("question"));
    layer.layer(pool.clone()).oneshot(request).await
}

fn layer() -> RetryWithExclusionLayer {
    RetryWithExclusionLayer::new(Config::default())
}

async fn text(outcome: Outcome) -> (u16, String) {
    let response = outcome.unwrap();
    let status = response.status().as_u16();
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(bytes.into()).unwrap())
}

#[tokio::test(start_paused = true)]
async fn it_calls_the_service_that_it_readied() {
    let upstream = ReadinessProbe::new(|_: Request<RequestBody>| answer("hello"));
    assert_keeps_readiness(layer().layer(upstream)).await;
}

#[tokio::test(start_paused = true)]
async fn a_quick_retry_waits_until_the_service_is_ready_again() {
    let mut failures = 1;
    let upstream = ReadinessProbe::new(move |_: Request<RequestBody>| {
        if failures > 0 {
            failures -= 1;
            return crate::testing::failed_with(Kind::Transport);
        }
        answer("hello")
    });
    let quick = QuickRetryLayer::default().layer(upstream);
    assert_keeps_readiness(quick).await;
}

// RTY-01, RTY-04, UPS-12
#[tokio::test(start_paused = true)]
async fn each_endpoint_is_visited_once_with_the_same_body() {
    let pool = Pool::new([
        vec![status(503)],
        vec![Fail(Verdict::new(Kind::Unknown), Some(200))],
        vec![],
    ]);
    assert_eq!(
        text(ask(&pool, &layer()).await).await,
        (200, "hello".into())
    );
    assert_eq!(pool.calls(), [1, 1, 1]);
    for member in &*pool.0.lock().unwrap() {
        assert_eq!(member.bodies, ["question"]);
    }
}

// RTY-16
#[tokio::test(start_paused = true)]
async fn the_next_visit_starts_without_delay() {
    let pool = Pool::new([vec![status(500)], vec![]]);
    let before = time::now();
    assert!(ask(&pool, &layer()).await.is_ok());
    assert_eq!(time::now() - before, Duration::ZERO);
}

// RTY-09
#[tokio::test(start_paused = true)]
async fn five_attempts_are_made_and_no_more() {
    let pool = Pool::new([(); 7].map(|()| vec![status(500)]));
    assert_eq!(
        text(ask(&pool, &layer()).await).await,
        (500, "answer 500".into())
    );
    assert_eq!(pool.calls(), [1, 1, 1, 1, 1, 0, 0]);
}

// RTY-09, RTY-11
#[tokio::test(start_paused = true)]
async fn a_change_of_credential_costs_neither_an_attempt_nor_budget() {
    let mut scripts = [(); 7].map(|()| vec![status(429)]);
    scripts[6] = vec![ok()];
    let pool = Pool::new(scripts);
    let layer = layer().with_budget(Budget::new(0.0, 0).unwrap());
    assert_eq!(text(ask(&pool, &layer).await).await.0, 200);
    assert_eq!(pool.calls(), [1; 7]);
}

// RTY-11
#[tokio::test(start_paused = true)]
async fn with_the_budget_spent_the_request_ends_with_what_it_has() {
    let pool = Pool::new([vec![status(503)], vec![]]);
    let layer = layer().with_budget(Budget::new(0.0, 0).unwrap());
    assert_eq!(
        text(ask(&pool, &layer).await).await,
        (503, "answer 503".into())
    );
    assert_eq!(pool.calls(), [1, 0]);
}

// RTY-12
#[tokio::test(start_paused = true)]
async fn credentials_refused_everywhere_are_an_auth_failure() {
    let pool = Pool::new([(); 3].map(|()| vec![status(401)]));
    let error = ask(&pool, &layer()).await.unwrap_err();
    assert!(error.is_auth_failed());
    assert_eq!(pool.calls(), [1, 1, 1]);
    assert_eq!(error.attempts().len(), 3);
}

// RTY-13
#[tokio::test(start_paused = true)]
async fn the_error_lists_every_attempt() {
    let transport = || vec![Fail(Verdict::new(Kind::Transport), None)];
    let pool = Pool::new([
        transport(),
        vec![Fail(Verdict::new(Kind::Unknown), Some(200))],
    ]);
    let error = ask(&pool, &layer()).await.unwrap_err();
    let tried: Vec<_> = error
        .attempts()
        .iter()
        .map(|attempt| (attempt.name.as_deref(), attempt.kind))
        .collect();
    assert_eq!(
        tried,
        [(Some("a"), Kind::Transport), (Some("b"), Kind::Unknown)]
    );
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn an_owner_that_failed_is_replaced_by_nobody() {
    for kind in [Kind::Transport, Kind::Timeout, Kind::Auth, Kind::RateLimit] {
        let pool = Pool::new([vec![Fail(Verdict::new(kind), None)], vec![]]).owned();
        let error = ask(&pool, &layer()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::OwnerUnavailable, "{kind}");
        let owner = error.owner().unwrap();
        assert_eq!(owner.name().map(|name| &**name), Some("a"));
        assert_eq!(owner.reason(), Some(Reason::Excluded));
        assert_eq!(error.attempts().len(), 1);
        assert_eq!(error.is_rate_limited(), kind == Kind::RateLimit);
        assert_eq!(pool.calls(), [1, 0]);
    }
    // Its own answer is told as it came, and there is no second opinion on it.
    for status in [400, 500] {
        let pool = Pool::new([vec![self::status(status)], vec![]]).owned();
        let told = text(ask(&pool, &layer()).await).await;
        assert_eq!(told, (status, format!("answer {status}")));
        assert_eq!(pool.calls(), [1, 0]);
    }

    let pool = Pool::new([vec![Refuse], vec![]]).owned();
    let error = ask(&pool, &layer()).await.unwrap_err();
    let owner = error.owner().unwrap();
    assert_eq!(owner.reason(), Some(Reason::Probing));
    assert!(error.attempts().is_empty());
    assert_eq!(pool.calls(), [0, 0]);
}

// RTY-08
#[tokio::test(start_paused = true)]
async fn an_invalid_request_gets_one_second_opinion() {
    let pool = Pool::new([vec![status(400)], vec![status(400)], vec![]]);
    assert_eq!(
        text(ask(&pool, &layer()).await).await,
        (400, "answer 400".into())
    );
    assert_eq!(pool.calls(), [1, 1, 0]);
    assert_eq!(pool.0.lock().unwrap()[1].contested, [true]);

    let pool = Pool::new([vec![status(400)], vec![]]);
    assert_eq!(text(ask(&pool, &layer()).await).await.0, 200);

    let pool = Pool::new([vec![status(400)], vec![]]);
    let off = layer().with_policy(Arc::new(Standard::default().with_second_opinion(false)));
    assert_eq!(text(ask(&pool, &off).await).await.0, 400);
    assert_eq!(pool.calls(), [1, 0]);
}

// RTY-08
#[tokio::test(start_paused = true)]
async fn without_a_balancer_there_is_one_second_opinion_too() {
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let upstream = tower::service_fn(move |_: Request<RequestBody>| {
        *counted.lock().unwrap() += 1;
        crate::testing::failed(Verdict::new(Kind::InvalidRequest), 400)
    });
    let request = Request::new(RequestBody::empty());
    let response = layer().layer(upstream).oneshot(request).await.unwrap();
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(*calls.lock().unwrap(), 2);
}

// RTY-09
#[tokio::test(start_paused = true)]
async fn without_a_balancer_a_limit_is_an_attempt_because_nothing_changes() {
    let calls = Arc::new(Mutex::new(0));
    let counted = calls.clone();
    let upstream = tower::service_fn(move |_: Request<RequestBody>| {
        *counted.lock().unwrap() += 1;
        crate::testing::failed(Verdict::new(Kind::RateLimit), 429)
    });
    let request = Request::new(RequestBody::empty());
    let error = layer().layer(upstream).oneshot(request).await.unwrap_err();
    assert!(error.is_rate_limited());
    assert_eq!(*calls.lock().unwrap(), 5);
}

// RTY-10
#[tokio::test(start_paused = true)]
async fn the_deadline_bounds_all_attempts_and_none_starts_after_it() {
    let config = Config::default()
        .with_deadline(Duration::from_secs(10))
        .unwrap();
    let pool = Pool::new([vec![Hang], vec![]]);
    let before = time::now();
    let error = ask(&pool, &RetryWithExclusionLayer::new(config))
        .await
        .unwrap_err();
    assert!(error.is_deadline());
    assert_eq!(time::now() - before, Duration::from_secs(10));
    assert_eq!(pool.calls(), [1, 0]);
    assert_eq!(error.attempts()[0].kind, Kind::Timeout);

    let timed_out = Fail(Verdict::new(Kind::Timeout), None);
    let pool = Pool::new([vec![timed_out], vec![]]);
    assert!(
        ask(&pool, &RetryWithExclusionLayer::new(config))
            .await
            .is_ok()
    );
}

// RTY-10
#[tokio::test(start_paused = true)]
async fn a_deadline_that_is_watched_below_is_left_to_who_watches_it() {
    let config = Config::default()
        .with_deadline(Duration::from_secs(10))
        .unwrap();
    let exchange = Exchange::new(RequestId::random());
    let inner = tower::service_fn(|mut request: Request<RequestBody>| {
        let visit = Visit::of(request.extensions_mut());
        visit.exchange.watch_deadline(true);
        pending::<Result<Response<Script>, BoxError>>()
    });
    let mut service = RetryWithExclusionLayer::new(config).layer(inner);
    let mut request = request();
    request.extensions_mut().insert(exchange.clone());
    let mut future = task::spawn(service.call(request));
    assert_pending!(future.poll());
    tokio::time::advance(Duration::from_secs(11)).await;
    assert_pending!(future.poll());
    exchange.watch_deadline(false);
    assert!(assert_ready!(future.poll()).unwrap_err().is_deadline());
}

// RTY-10
#[tokio::test(start_paused = true)]
async fn a_committed_answer_is_not_bounded_by_the_deadline() {
    let pool = Pool::new([vec![]]);
    let response = ask(&pool, &layer()).await.unwrap();
    tokio::time::advance(Duration::from_secs(3600)).await;
    assert!(response.into_body().collect().await.is_ok());
}

// RTY-15
#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_sent_once_and_whole() {
    let logs = Logs::capture();
    let pool = Pool::new([vec![status(503)], vec![]]);
    let layer = RetryWithExclusionLayer::new(Config::default().with_body_limit(4));
    assert_eq!(
        text(ask_stream(&pool, &layer).await).await,
        (503, "answer 503".into())
    );
    assert_eq!(pool.calls(), [1, 0]);
    assert!(
        logs.lines()
            .iter()
            .any(|line| line.contains("larger than the limit"))
    );
}

async fn ask_stream(pool: &Pool, layer: &RetryWithExclusionLayer) -> Outcome {
    let request = Request::new(Script::new([Ok("que"), Ok("stion")]));
    layer.layer(pool.clone()).oneshot(request).await
}

// RTY-15
#[tokio::test(start_paused = true)]
async fn a_refusal_gives_a_body_back_that_cannot_be_sent_twice() {
    let pool = Pool::new([vec![Refuse], vec![]]);
    let layer = RetryWithExclusionLayer::new(Config::default().with_body_limit(4));
    assert_eq!(text(ask_stream(&pool, &layer).await).await.0, 200);
    assert_eq!(pool.calls(), [0, 1]);
}

// RTY-09
#[tokio::test(start_paused = true)]
async fn a_refusal_costs_nothing() {
    let pool = Pool::new([vec![Refuse], vec![Refuse], vec![]]);
    let one = Config::default().with_attempts(NonZeroU32::MIN);
    let layer = RetryWithExclusionLayer::new(one).with_budget(Budget::new(0.0, 0).unwrap());
    assert_eq!(text(ask(&pool, &layer).await).await.0, 200);
}

// STR-04, XPL-04
#[tokio::test(start_paused = true)]
async fn an_interruption_becomes_the_closing_event_and_a_clean_end() {
    let closing = Some(Bytes::from_static(b"bye"));
    let interrupted = Interrupted::new(Verdict::new(Kind::Transport), closing);
    let pieces = vec![Ok("hel"), Err(interrupted.into())];
    let pool = Pool::new([vec![Does::Answer(pieces)], vec![]]);
    let records = Arc::new(Records::default());
    let layer = layer().with_sink(records.clone());
    assert_eq!(text(ask(&pool, &layer).await).await, (200, "helbye".into()));
    assert_eq!(pool.calls(), [1, 0]);
    let records = records.0.lock().unwrap();
    let kind = Kind::Transport;
    let expected = Answer::Interrupted {
        status: StatusCode::OK,
        kind,
    };
    assert_eq!((records.len(), records[0].answer), (1, expected));
}

// STR-06
#[tokio::test(start_paused = true)]
async fn an_interruption_that_nothing_closes_aborts_the_body() {
    let interrupted = Interrupted::new(Verdict::new(Kind::Transport), None);
    let pieces = vec![Ok("hel"), Err(interrupted.into())];
    let pool = Pool::new([vec![Does::Answer(pieces)]]);
    let response = ask(&pool, &layer()).await.unwrap();
    assert!(response.into_body().collect().await.is_err());
}

// XPL-04
#[tokio::test(start_paused = true)]
async fn the_record_is_handed_over_once_whatever_the_end() {
    let records = Arc::new(Records::default());
    let layer = layer().with_sink(records.clone());
    let answers = || {
        records
            .0
            .lock()
            .unwrap()
            .iter()
            .map(|record| record.answer)
            .collect::<Vec<_>>()
    };

    // Read to its end, dropped half read, dropped before the answer, failed.
    text(ask(&Pool::new([vec![]]), &layer).await).await;
    drop(ask(&Pool::new([vec![]]), &layer).await);
    {
        let pool = Pool::new([vec![Hang]]);
        let mut hanging = task::spawn(ask(&pool, &layer));
        assert_pending!(hanging.poll());
    }
    ask(&Pool::new([]), &layer).await.unwrap_err();
    let status = StatusCode::OK;
    assert_eq!(
        answers(),
        [
            Answer::Relayed { status },
            Answer::Canceled,
            Answer::Canceled,
            Answer::Failed(ErrorKind::NoEndpoint),
        ]
    );
    let records = records.0.lock().unwrap();
    let results: Vec<_> = records
        .iter()
        .flat_map(|record| {
            record
                .sends()
                .map(|(_, send)| send.result)
                .collect::<Vec<_>>()
        })
        .collect();
    assert_eq!(
        results[..3],
        [
            SendResult::Clean,
            SendResult::Canceled,
            SendResult::Canceled
        ]
    );
}

// XPL-04
#[tokio::test(start_paused = true)]
async fn on_request_the_response_leads_to_the_record() {
    let pool = Pool::new([vec![]]);
    let config = Config::default().with_exchange_in_response(true);
    let response = ask(&pool, &RetryWithExclusionLayer::new(config))
        .await
        .unwrap();
    let exchange = response.extensions().get::<Exchange>().unwrap().clone();
    assert!(exchange.record().is_none());
    response.into_body().collect().await.unwrap();
    assert_eq!(exchange.record().unwrap().attempts(), 1);
}

// CLS-15, OPS-09
#[tokio::test(start_paused = true)]
async fn failures_and_retries_are_logged_with_what_was_done() {
    let logs = Logs::capture();
    let pool = Pool::new([vec![status(503)], vec![]]);
    ask(&pool, &layer()).await.unwrap();
    let lines = logs.lines();
    let failure = lines
        .iter()
        .find(|line| line.contains("error type: transient/overloaded"))
        .unwrap();
    for part in [
        "WARN",
        "request_id=",
        "status=503",
        "duration_ms=0.00",
        "next endpoint",
    ] {
        assert!(failure.contains(part), "{part} in {failure}");
    }
    let b = endpoint("b").id();
    assert!(
        lines
            .iter()
            .any(|line| line.contains("retry 2/5") && line.contains(&b.to_string())),
        "{lines:?}"
    );
}

// UPS-06
#[tokio::test(start_paused = true)]
async fn the_log_tells_which_wait_ran_out() {
    for wait in [Wait::Connect, Wait::FirstByte, Wait::Idle, Wait::Deadline] {
        let logs = Logs::capture();
        let upstream = tower::service_fn(move |_: Request<RequestBody>| {
            let failed: Result<Response<Script>, BoxError> = Err(Failed::timed_out(wait).into());
            std::future::ready(failed)
        });
        let request = Request::new(RequestBody::empty());
        let _ = layer().layer(upstream).oneshot(request).await;
        let wait = format!("wait={wait}");
        assert!(
            logs.lines().iter().any(|line| line.contains(&wait)),
            "{wait}"
        );
    }
}

// RTY-03, BRK-05
#[tokio::test(start_paused = true)]
async fn a_transport_failure_is_repeated_once_at_the_same_endpoint() {
    for (failures, expected) in [(1, true), (2, false)] {
        let left = Arc::new(Mutex::new(failures));
        let calls = Arc::new(Mutex::new(Vec::new()));
        let calls_too = calls.clone();
        let upstream = tower::service_fn(move |request: Request<RequestBody>| {
            let visit = request.extensions().get::<Visit>();
            let fresh = visit.is_some_and(|visit| visit.fresh_connection);
            calls_too.lock().unwrap().push(fresh);
            let mut left = left.lock().unwrap();
            if *left == 0 {
                return answer("hello");
            }
            *left -= 1;
            crate::testing::failed_with(Kind::Transport)
        });
        let quick = QuickRetryLayer::default().layer(upstream);
        let result = quick
            .oneshot(Request::new(RequestBody::from("question")))
            .await;
        assert_eq!(result.is_ok(), expected);
        assert_eq!(*calls.lock().unwrap(), [false, true], "a new connection");
    }
}

// RTY-03, RTY-04
#[tokio::test(start_paused = true)]
async fn nothing_else_is_repeated_at_the_same_endpoint() {
    for kind in Kind::ALL {
        let calls = Arc::new(Mutex::new(0));
        let calls_too = calls.clone();
        let upstream = tower::service_fn(move |_: Request<RequestBody>| {
            *calls_too.lock().unwrap() += 1;
            crate::testing::failed_with(kind)
        });
        let quick = QuickRetryLayer::default().layer(upstream);
        let _ = quick.oneshot(Request::new(RequestBody::empty())).await;
        let expected = if kind == Kind::Transport { 2 } else { 1 };
        assert_eq!(*calls.lock().unwrap(), expected, "{kind}");
    }
}

// RTY-03
#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_cloned_is_not_repeated() {
    let upstream =
        tower::service_fn(|_: Request<RequestBody>| crate::testing::failed_with(Kind::Transport));
    let quick = QuickRetryLayer::default().layer(upstream);
    let body = RequestBody::new(Script::new([Ok("question")]));
    let mut sending = task::spawn(quick.oneshot(Request::new(body)));
    assert!(assert_ready!(sending.poll()).is_err());
}

// EMB-01
#[tokio::test(start_paused = true)]
async fn without_classifier_and_balancer_it_repeats_any_service() {
    let left = Arc::new(Mutex::new(2));
    let upstream = tower::service_fn(move |_: Request<RequestBody>| {
        let mut left = left.lock().unwrap();
        let fails = *left > 0;
        *left -= i32::from(fails);
        async move {
            if fails {
                Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused))
            } else {
                Ok(Response::new(Script::new([Ok("hello")])))
            }
        }
    });
    let request = Request::new(RequestBody::from("question"));
    assert!(layer().layer(upstream).oneshot(request).await.is_ok());
}
