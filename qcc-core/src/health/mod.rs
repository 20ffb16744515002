//! The health of an endpoint: what its answers and its operator say of it.
//!
//! The layer never refuses a request: it writes down what became of it. The [`Health`] handle
//! is the gate that keeps requests away, for one of five reasons, in this order:
//!
//! 1. the operator switched the endpoint *off*;
//! 2. its credential was *refused*. An answer of kind `auth` that comes up to this layer means
//!    that no usable credential is left, because a token pool below would have said otherwise.
//!    Neither time nor a success takes that back, only the operator, another key or a
//!    verification probe;
//! 3. it is *marked* unavailable for a time, by the operator or because it failed in a way that its
//!    configuration [names](crate::endpoint::MarkOn);
//! 4. it asked to be left alone for a while and is *cooling*;
//! 5. it does not have the *model*, or has several times called requests for it invalid that
//!    another endpoint answered.
//!
//! What the operator wants is kept apart from what happened, so that taking back a refusal
//! never switches on what the operator switched off. Failures in a row are counted by the
//! breaker alone; two counts would drift apart.
//!
//! A call is entered when its answer ends, with the whole of its outcome. A call that the
//! client gave up says nothing and is not entered.

mod call;
mod handle;
mod layer;
mod marks;
mod snapshot;
mod state;

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::call::Call;
pub use self::handle::{Epoch, Health};
pub use self::layer::TrackHealthLayer;
pub use self::snapshot::{AuthFailure, LastFailure, Snapshot, Status, Unavailable, is_healthy};
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::guard::{Guarded, GuardedFuture};

/// One endpoint's service, whose calls are entered in its record.
#[derive(Clone, Debug)]
pub struct TrackHealth<S> {
    inner: S,
    health: Health,
}

impl<S> TrackHealth<S> {
    /// `inner`, recorded by `health`.
    #[must_use]
    pub const fn new(inner: S, health: Health) -> Self {
        Self { inner, health }
    }

    /// The service that is recorded.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service that is recorded.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service that is recorded.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for TrackHealth<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Guarded<B, Call>>;
    type Error = BoxError;
    type Future = GuardedFuture<S::Future, Call>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let call = self.health.begin(Exchange::of(request.extensions_mut()));
        GuardedFuture::new(self.inner.call(request), call)
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};
    use std::pin::Pin;
    use std::sync::Arc;

    use http::StatusCode;
    use tokio_test::{assert_pending, task};
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::available::{Availability, Available as _, Query, Reason};
    use crate::endpoint::{MarkOn, Marking};
    use crate::exchange::RequestId;
    use crate::facts::Facts;
    use crate::failure::{Blame, Failed, Interrupted, Kind, Refused, Verdict};
    use crate::testing::{
        Answer, Logs, ReadinessProbe, answer, assert_keeps_readiness, broken, drain, endpoint,
        failed, failed_with, request, send,
    };
    use crate::time::{self, Duration};

    fn health() -> Health {
        Health::new(Arc::new(endpoint("one")))
    }

    fn behind<F>(health: &Health, upstream: F) -> TrackHealth<ReadinessProbe<F>> {
        TrackHealthLayer::new(health.clone()).layer(ReadinessProbe::new(upstream))
    }

    /// Sends one request for `model` and reads its answer to the end.
    async fn ask(health: &Health, model: &str, answer: Answer) -> Result<(), BoxError> {
        let mut answer = Some(answer);
        let mut service = behind(health, |_| answer.take().unwrap());
        let mut request = request();
        Exchange::of(request.extensions_mut()).set_facts(facts(model));
        let response = send(&mut service, request).await?;
        drain(response.into_body()).await.map(drop)
    }

    async fn visit(health: &Health, answer: Answer) -> Result<(), BoxError> {
        ask(health, "a-model", answer).await
    }

    type Visiting = Pin<Box<dyn Future<Output = Result<(), BoxError>>>>;

    /// A request that is on its way: the answer is given later.
    struct Pending {
        answer: tokio::sync::oneshot::Sender<Answer>,
        visit: task::Spawn<Visiting>,
    }

    impl Pending {
        fn begin(health: &Health) -> Self {
            let (answer, receiver) = tokio::sync::oneshot::channel::<Answer>();
            let mut receiver = Some(receiver);
            let mut service = behind(health, move |_| {
                let receiver = receiver.take().unwrap();
                async { receiver.await.unwrap().await }
            });
            let mut visit = task::spawn(Box::pin(async move {
                let response = send(&mut service, request()).await?;
                drain(response.into_body()).await.map(drop)
            }) as Visiting);
            assert_pending!(visit.poll());
            assert_pending!(visit.poll());
            Self { answer, visit }
        }

        async fn end(self, answer: Answer) -> Result<(), BoxError> {
            assert!(self.answer.send(answer).is_ok());
            self.visit.into_inner().await
        }
    }

    fn unauthorized() -> Answer {
        failed(Verdict::new(Kind::Auth), 401)
    }

    fn facts(model: &str) -> Facts {
        Facts {
            model: Some(model.into()),
            ..Facts::default()
        }
    }

    fn availability(health: &Health, model: &str) -> Availability {
        let (head, _) = request().into_parts();
        health.availability(&Query::new(&head, &facts(model), time::now()))
    }

    fn snapshot(health: &Health) -> Snapshot {
        health.snapshot(time::now())
    }

    #[tokio::test]
    async fn the_layer_keeps_the_readiness_of_its_inner_service() {
        assert_keeps_readiness(behind(&health(), |_| answer("ok"))).await;
    }

    // SEL-09
    #[tokio::test(start_paused = true)]
    async fn only_a_good_answer_that_ended_cleanly_makes_it_healthy() {
        let health = health();
        assert_eq!(snapshot(&health).status, Status::Unknown);
        let mut service = behind(&health, |_| answer("ok"));
        let response = send(&mut service, request()).await.unwrap();
        assert_eq!(snapshot(&health).status, Status::Unknown, "not at its end");
        drain(response.into_body()).await.unwrap();
        assert_eq!(snapshot(&health).status, Status::Healthy);
        assert_eq!(snapshot(&health).total, 1);
    }

    // SEL-09
    #[tokio::test(start_paused = true)]
    async fn failures_are_counted_and_change_nothing_else_unless_the_table_says_so() {
        let health = health();
        visit(&health, answer("ok")).await.unwrap();
        for kind in [
            Kind::Transport,
            Kind::Timeout,
            Kind::Overloaded,
            Kind::RateLimit,
            Kind::Quota,
            Kind::Server,
            Kind::Unknown,
        ] {
            let before = snapshot(&health);
            let _ = visit(&health, failed_with(kind)).await;
            let after = snapshot(&health);
            assert_eq!(after.failed, before.failed + 1, "{kind}");
            assert_eq!(after.total, before.total + 1, "{kind}");
            assert_eq!(after.status, Status::Healthy, "{kind}");
            assert_eq!(after.last_failure.unwrap().kind, kind);
            assert_eq!(availability(&health, "a-model"), Availability::Ready);
        }
        let success_rate = snapshot(&health).success_rate().unwrap();
        assert!((success_rate - 12.5).abs() < 1e-9, "{success_rate}");
    }

    // SEL-09, CLS-12, CLS-14
    #[tokio::test(start_paused = true)]
    async fn what_the_caller_is_to_blame_for_is_a_call_and_no_failure() {
        let health = health();
        let kinds = [Kind::InvalidRequest, Kind::NotFound, Kind::Auth];
        for kind in kinds {
            let verdict = Verdict::new(kind).blamed_on(Blame::Caller);
            let _ = visit(&health, failed(verdict, 404)).await;
        }
        let snapshot = snapshot(&health);
        assert_eq!((snapshot.total, snapshot.failed), (3, 0));
        assert_eq!(snapshot.status, Status::Unknown);
        assert_eq!(snapshot.last_failure, None);
        assert_eq!(availability(&health, "a-model"), Availability::Ready);
    }

    // SEL-09
    #[tokio::test(start_paused = true)]
    async fn what_was_not_sent_or_not_wanted_to_the_end_is_no_call() {
        let health = health();
        let refused = Refused::new(Reason::Cooling, None, request());
        let _ = visit(&health, ready(Err(refused.into()))).await;
        let mut service = behind(&health, |_| answer("ok"));
        drop(send(&mut service, request()).await.unwrap());
        let upstream = ReadinessProbe::new(|_| pending::<<Answer as Future>::Output>());
        let service = TrackHealthLayer::new(health.clone()).layer(upstream);
        let mut visit = task::spawn(service.oneshot(request()));
        assert_pending!(visit.poll());
        assert_pending!(visit.poll());
        drop(visit);
        assert_eq!(snapshot(&health), snapshot(&self::health()));
    }

    // SEL-10
    #[tokio::test(start_paused = true)]
    async fn a_refusal_counts_with_its_response_time_and_disables() {
        let health = health();
        let waiting = Pending::begin(&health);
        tokio::time::advance(Duration::from_millis(200)).await;
        waiting.end(unauthorized()).await.unwrap_err();
        let _ = visit(&health, failed_with(Kind::Timeout)).await;
        let snapshot = snapshot(&health);
        assert_eq!((snapshot.total, snapshot.failed), (2, 2));
        assert_eq!(
            snapshot.response_time,
            Some(Duration::from_millis(200)),
            "a time-out has no response time"
        );
        assert_eq!(snapshot.status, Status::Unhealthy);
        assert_eq!(snapshot.consecutive_failures(0), 1);
        assert!(!snapshot.is_healthy(0, 3));
    }

    // SEL-07
    #[tokio::test(start_paused = true)]
    async fn the_breakers_count_decides_with_one_more_while_the_credential_is_refused() {
        let health = health();
        visit(&health, answer("ok")).await.unwrap();
        assert!(snapshot(&health).is_healthy(2, 3));
        assert!(!snapshot(&health).is_healthy(3, 3));
        assert_eq!(snapshot(&health).consecutive_failures(2), 2);
        let _ = visit(&health, unauthorized()).await;
        assert_eq!(snapshot(&health).consecutive_failures(2), 3);
    }

    // SEL-11
    #[tokio::test(start_paused = true)]
    async fn one_error_line_says_who_was_disabled_by_which_request() {
        let logs = Logs::capture();
        let health = health();
        let id: RequestId = "req-17".parse().unwrap();
        for _ in 0..2 {
            let mut request = request();
            request.extensions_mut().insert(Exchange::new(id.clone()));
            let mut service = behind(&health, |_| unauthorized());
            let _ = send(&mut service, request).await;
        }
        let lines = logs.lines();
        assert_eq!(lines.len(), 1, "{lines:#?}");
        assert_eq!(
            lines[0],
            format!(
                "ERROR health: enabled => disabled (auth_failed) request_id=req-17 \
                 endpoint={} name=one status=401",
                health.endpoint().id()
            )
        );
        let snapshot = snapshot(&health);
        assert!(!snapshot.enabled, "shown as disabled");
        assert!(snapshot.wanted, "the operator's own setting is kept");
        assert_eq!(snapshot.reason(), Some(Reason::AuthFailed));
        assert_eq!(snapshot.auth_failure.unwrap().request, id);
    }

    // SEL-12, SEL-13
    #[tokio::test(start_paused = true)]
    async fn neither_time_nor_success_takes_a_refusal_back_but_the_operator_does() {
        let health = health();
        let _ = visit(&health, unauthorized()).await;
        let out = Availability::out(Reason::AuthFailed, None);
        assert_eq!(availability(&health, "a-model"), out);
        tokio::time::advance(Duration::from_secs(30 * 24 * 3600)).await;
        visit(&health, answer("ok")).await.unwrap();
        assert_eq!(availability(&health, "a-model"), out);
        assert!(health.enable());
        assert!(!health.enable(), "nothing was left to change");
        assert_eq!(availability(&health, "a-model"), Availability::Ready);
        assert_eq!(snapshot(&health).status, Status::Unknown);
    }

    // SEL-12, SEL-13
    #[tokio::test(start_paused = true)]
    async fn a_good_probe_takes_a_refusal_back_and_not_what_the_operator_wants() {
        let health = health();
        let _ = visit(&health, unauthorized()).await;
        assert!(health.disable());
        assert!(!health.disable());
        let now = health.epoch();
        assert!(health.verified(now));
        assert!(!health.verified(now), "it was taken back since then");
        assert_eq!(snapshot(&health).status, Status::Healthy);
        let out = Availability::out(Reason::Disabled, None);
        assert_eq!(availability(&health, "a-model"), out);
        assert_eq!(snapshot(&health).reason(), Some(Reason::Disabled));
        let off = Health::new(Arc::new(endpoint("off").with_enabled(false)));
        assert_eq!(availability(&off, "a-model"), out);
    }

    // SEL-14
    #[tokio::test(start_paused = true)]
    async fn a_success_that_began_before_the_refusal_changes_nothing_of_it() {
        let health = health();
        let slow = Pending::begin(&health);
        let _ = visit(&health, unauthorized()).await;
        let before = snapshot(&health);
        slow.end(answer("ok")).await.unwrap();
        let after = snapshot(&health);
        assert_eq!(after.auth_failure, before.auth_failure);
        assert_eq!(after.status, Status::Unhealthy);
        assert_eq!(after.total, 2);
    }

    // SEL-14
    #[tokio::test(start_paused = true)]
    async fn a_refusal_that_began_before_the_operators_word_does_not_disable_again() {
        let health = health();
        let before_refusal = Pending::begin(&health);
        let _ = visit(&health, unauthorized()).await;
        let before_word = Pending::begin(&health);
        health.enable();
        let _ = before_refusal.end(unauthorized()).await;
        let _ = before_word.end(unauthorized()).await;
        assert!(snapshot(&health).enabled);
        assert_eq!(snapshot(&health).failed, 3);
        let _ = visit(&health, unauthorized()).await;
        assert!(!snapshot(&health).enabled, "one that began after it does");
    }

    // SEL-10
    #[tokio::test(start_paused = true)]
    async fn a_refusal_inside_a_committed_answer_is_a_failure_and_disables_nothing() {
        let health = health();
        let cut = Interrupted::new(Verdict::new(Kind::Auth), None);
        assert!(visit(&health, broken("half an", cut)).await.is_err());
        assert!(snapshot(&health).enabled);
        assert_eq!(snapshot(&health).failed, 1);
    }

    // RTY-07
    #[tokio::test(start_paused = true)]
    async fn a_missing_model_is_skipped_for_ten_minutes_and_others_are_not() {
        let health = health();
        let missing = || failed(Verdict::new(Kind::NotFound), 404);
        let _ = ask(&health, "gone", missing()).await;
        let until = Some(time::now() + Duration::from_secs(600));
        let out = Availability::out(Reason::Model, until);
        assert_eq!(availability(&health, "gone"), out);
        assert_eq!(availability(&health, "there"), Availability::Ready);
        assert_eq!(snapshot(&health).models.len(), 1);
        tokio::time::advance(Duration::from_secs(600)).await;
        assert_eq!(availability(&health, "gone"), Availability::Ready);
    }

    // RTY-08
    #[tokio::test(start_paused = true)]
    async fn an_endpoint_overruled_three_times_is_skipped_for_that_model() {
        let health = health();
        let (head, _) = request().into_parts();
        let (picky, other) = (facts("picky"), facts("other"));
        for time in 0..3 {
            assert_eq!(
                availability(&health, "picky"),
                Availability::Ready,
                "{time}"
            );
            health.overruled(&Query::new(&head, &picky, time::now()));
            tokio::time::advance(Duration::from_secs(60)).await;
        }
        health.overruled(&Query::new(&head, &other, time::now()));
        health.overruled(&Query::new(&head, &Facts::default(), time::now()));
        assert!(matches!(
            availability(&health, "picky"),
            Availability::Out {
                reason: Reason::Model,
                ..
            }
        ));
        assert_eq!(availability(&health, "other"), Availability::Ready);
        assert_eq!(snapshot(&health).failed, 0);
        tokio::time::advance(Duration::from_secs(540)).await;
        assert_eq!(availability(&health, "picky"), Availability::Ready);
    }

    // ACC-05
    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_asks_for_time_cools_down_and_is_back_by_itself() {
        let health = health();
        let until = Some(time::now() + Duration::from_secs(20));
        let verdict = Verdict::new(Kind::Overloaded).until(until);
        let _ = visit(&health, failed(verdict, 529)).await;
        let out = Availability::out(Reason::Cooling, until);
        assert_eq!(availability(&health, "a-model"), out);
        let shorter = verdict.until(Some(time::now() + Duration::from_secs(1)));
        let _ = visit(&health, failed(shorter, 529)).await;
        assert_eq!(availability(&health, "a-model"), out);
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(availability(&health, "a-model"), Availability::Ready);
        assert_eq!(health.glance() & handle::NOTABLE, handle::NOTABLE);
        visit(&health, answer("ok")).await.unwrap();
        assert_eq!(
            health.glance() & handle::NOTABLE,
            0,
            "the past is forgotten"
        );
    }

    /// A record whose endpoint is marked by 503 and by `timeout`.
    fn marking() -> Health {
        let service_unavailable = Marking::Status(StatusCode::SERVICE_UNAVAILABLE);
        let rule = MarkOn::new([service_unavailable, Marking::Kind(Kind::Timeout)]);
        Health::new(Arc::new(endpoint("one").with_mark_on(rule)))
    }

    // ACC-07
    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_named_marks_until_its_time_is_over_and_others_do_not() {
        let logs = Logs::capture();
        let health = marking();
        let server = |status| failed(Verdict::new(Kind::Server), status);
        let _ = visit(&health, server(500)).await;
        let _ = visit(&health, failed_with(Kind::Transport)).await;
        assert_eq!(availability(&health, "a-model"), Availability::Ready);
        for (failure, reason) in [
            (server(503), "answered 503"),
            (failed_with(Kind::Timeout), "timeout"),
            (
                broken("half", Interrupted::new(Verdict::new(Kind::Timeout), None)),
                "timeout",
            ),
        ] {
            let until = time::now() + Duration::from_secs(300);
            let _ = visit(&health, failure).await;
            let out = Availability::out(Reason::Marked, Some(until));
            assert_eq!(availability(&health, "a-model"), out);
            assert_eq!(&*snapshot(&health).unavailable.unwrap().reason, reason);
            visit(&health, answer("ok")).await.unwrap();
            assert_eq!(availability(&health, "a-model"), out, "no success ends it");
            tokio::time::advance(Duration::from_secs(300)).await;
            assert_eq!(availability(&health, "a-model"), Availability::Ready);
            assert!(health.sweep(time::now()));
        }
        let mut marks = logs.lines();
        marks.retain(|line| line.contains("=> marked"));
        assert_eq!(marks.len(), 3, "{marks:#?}");
        assert!(marks[0].contains("name=one kind=server status=503 wait=300s"));
    }

    // ACC-07
    #[tokio::test(start_paused = true)]
    async fn a_longer_mark_stays_and_a_shorter_one_is_replaced_without_a_second_line() {
        let logs = Logs::capture();
        let health = marking();
        let down = || failed(Verdict::new(Kind::Overloaded), 503);
        let mark = |health: &Health| snapshot(health).unavailable.unwrap();
        let now = time::now();
        health.mark("maintenance", Duration::from_secs(3600));
        let _ = visit(&health, down()).await;
        assert_eq!(&*mark(&health).reason, "maintenance");
        assert_eq!(mark(&health).until, now + Duration::from_secs(3600));
        health.mark("a moment", Duration::from_secs(60));
        let _ = visit(&health, down()).await;
        assert_eq!(&*mark(&health).reason, "answered 503");
        assert_eq!(mark(&health).until, now + Duration::from_secs(300));
        let marked = |line: &&String| line.contains("=> marked");
        assert_eq!(
            logs.lines().iter().filter(marked).count(),
            1,
            "the operator's"
        );
        assert!(health.unmark());
        assert_eq!(availability(&health, "a-model"), Availability::Ready);
    }

    // ACC-07, CLS-12
    #[tokio::test(start_paused = true)]
    async fn neither_the_caller_nor_one_of_several_credentials_marks() {
        let all = Marking::kinds().map(Marking::Kind);
        let statuses = [400, 401, 404].map(|code| StatusCode::from_u16(code).unwrap());
        let rule = MarkOn::new(all.chain(statuses.map(Marking::Status)));
        let health = Health::new(Arc::new(endpoint("one").with_mark_on(rule)));
        for (kind, status) in [
            (Kind::InvalidRequest, 400),
            (Kind::NotFound, 404),
            (Kind::Auth, 401),
            (Kind::Transport, 400),
        ] {
            let verdict = Verdict::new(kind).blamed_on(Blame::Caller);
            let _ = visit(&health, failed(verdict, status)).await;
        }
        let cut = Interrupted::new(Verdict::new(Kind::RateLimit), None);
        let _ = visit(&health, broken("half an", cut)).await;
        assert_eq!(snapshot(&health).unavailable, None);
        let _ = visit(&health, failed_with(Kind::RateLimit)).await;
        assert_eq!(
            &*snapshot(&health).unavailable.unwrap().reason,
            "rate_limit"
        );
    }

    // SEC-01, SEC-02
    #[tokio::test(start_paused = true)]
    async fn debug_and_logs_show_no_secret() {
        let logs = Logs::capture();
        let health = health();
        let error = Failed::new(Verdict::new(Kind::Auth));
        let _ = visit(&health, ready(Err(error.into()))).await;
        let text = format!("{health:?} {:?} {:?}", snapshot(&health), logs.lines());
        assert!(text.contains("one") && !text.contains("sk-test"), "{text}");
    }
}
