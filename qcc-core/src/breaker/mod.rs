//! The circuit breaker: stops calls to an endpoint that keeps failing, and tries it again
//! carefully.
//!
//! Three failures in a row open it for a minute. After that one request at a time may try the
//! endpoint: a good one closes the breaker, a bad one opens it again for twice as long, up to
//! ten minutes. Only failures blamed on the endpoint count: a bad request of the client or an
//! exhausted key says nothing about the endpoint, so it neither adds to the count nor resets it.
//!
//! A breaker around a response alone would be blind to a stream that breaks after its head, and
//! one that releases its probe slot with the head would admit a second probe while the first is
//! under way. So the [`Permit`] travels in the response body, and each of the two moments has
//! its own meaning:
//!
//! - *commit* (`Ok(response)`) closes a half-open breaker, and leaves the count of a closed one;
//! - the proper *end* of the body sets the count to 0, a break adds 1, a drop does nothing.
//!
//! The [`Breaker`] handle is a gate: `Balance` passes over an endpoint whose breaker is open.
//! Between that look and the call another request may take the last probe slot. Then the call
//! ends with a [`Refused`], which costs nothing and gives the request back. Nothing is taken in
//! `poll_ready`: a service that was readied and not called would hold a slot for ever.

mod config;
mod handle;
mod layer;
mod state;

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::config::{Config, InvalidConfig};
pub use self::handle::{Breaker, Mark, Permit};
pub use self::layer::CircuitBreakerLayer;
pub use self::state::{LastFailure, Phase, Snapshot};
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::failure::Refused;
use crate::guard::{Guarded, GuardedFuture};
use crate::visit::{Admission, Visit};

/// One endpoint's service behind its breaker.
#[derive(Clone, Debug)]
pub struct CircuitBreaker<S> {
    inner: S,
    breaker: Breaker,
}

impl<S> CircuitBreaker<S> {
    /// `inner` behind `breaker`.
    #[must_use]
    pub const fn new(inner: S, breaker: Breaker) -> Self {
        Self { inner, breaker }
    }

    /// The service behind it.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service behind it.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service behind it.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for CircuitBreaker<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Guarded<B, Permit>>;
    type Error = BoxError;
    type Future = GuardedFuture<S::Future, Permit>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let visit = request.extensions().get::<Visit>();
        let admission = visit.map_or(Admission::Normal, |visit| visit.admission);
        match self.breaker.admit(admission) {
            Ok(permit) => GuardedFuture::new(self.inner.call(request), permit),
            Err(refusal) => {
                GuardedFuture::refused(Refused::new(refusal.reason, refusal.until, request))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, poll_fn};
    use std::num::NonZeroU32;
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::sync::Arc;

    use tokio_test::{assert_pending, task};
    use tower::{Layer as _, ServiceExt as _};

    use super::*;
    use crate::available::{Availability, Available as _, Query, Reason};
    use crate::exchange::{Exchange, Exhausted, RequestId};
    use crate::facts::Facts;
    use crate::failure::{Blame, Interrupted, Kind, Verdict};
    use crate::testing::{
        Answer, Logs, ReadinessProbe, answer, assert_keeps_readiness, broken, drain, endpoint,
        failed, failed_with, request, send,
    };
    use crate::time::{self, Duration};

    fn breaker() -> Breaker {
        Breaker::new(Arc::new(endpoint("one")))
    }

    /// An upstream behind `breaker`.
    fn behind<F>(breaker: &Breaker, upstream: F) -> CircuitBreaker<ReadinessProbe<F>>
    where
        F: FnMut(Request<RequestBody>) -> Answer,
    {
        CircuitBreakerLayer::new(breaker.clone()).layer(ReadinessProbe::new(upstream))
    }

    /// Sends one request through `breaker` and reads its answer to the end.
    async fn visit(breaker: &Breaker, answer: Answer) -> Result<(), BoxError> {
        let mut answer = Some(answer);
        let mut service = behind(breaker, |_| answer.take().unwrap());
        let response = send(&mut service, request()).await?;
        drain(response.into_body()).await.map(drop)
    }

    async fn open(breaker: &Breaker) {
        for _ in 0..3 {
            let _ = visit(breaker, failed_with(Kind::Server)).await;
        }
        assert_eq!(state(breaker), Phase::Open);
    }

    fn state(breaker: &Breaker) -> Phase {
        breaker.snapshot(time::now()).state
    }

    fn failures(breaker: &Breaker) -> u32 {
        breaker.snapshot(time::now()).failures
    }

    fn availability(breaker: &Breaker) -> Availability {
        let (head, _) = request().into_parts();
        breaker.availability(&Query::new(&head, &Facts::default(), time::now()))
    }

    async fn after(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test]
    async fn the_layer_keeps_the_readiness_of_its_inner_service() {
        assert_keeps_readiness(behind(&breaker(), |_| answer("ok"))).await;
    }

    // BRK-01, BRK-02, BRK-06
    #[tokio::test(start_paused = true)]
    async fn without_configuration_it_opens_half_opens_and_closes_and_says_so() {
        let logs = Logs::capture();
        let breaker = breaker();
        open(&breaker).await;
        after(61).await;
        visit(&breaker, answer("ok")).await.unwrap();
        assert_eq!(state(&breaker), Phase::Closed);
        let lines = logs.lines();
        assert_eq!(lines.len(), 3, "{lines:#?}");
        let id = breaker.endpoint().id();
        for (line, start) in lines.iter().zip([
            "WARN breaker: closed => open",
            "INFO breaker: open => half_open",
            "INFO breaker: half_open => closed",
        ]) {
            assert!(line.starts_with(start), "{line}");
            assert!(
                line.contains(&format!("endpoint={id} name=\"one\"")),
                "{line}"
            );
        }
    }

    // BRK-02, BRK-16
    #[tokio::test(start_paused = true)]
    async fn the_endpoint_has_the_last_word_on_its_threshold() {
        let endpoint = endpoint("one").with_max_failures(1);
        let config = Config::default().with_max_failures(NonZeroU32::new(5).unwrap());
        let breaker = Breaker::with_config(Arc::new(endpoint), config);
        breaker.configure(config);
        assert_eq!(breaker.snapshot(time::now()).threshold, 1);
        let _ = visit(&breaker, failed_with(Kind::Timeout)).await;
        assert_eq!(state(&breaker), Phase::Open);
    }

    // BRK-16
    #[tokio::test(start_paused = true)]
    async fn a_new_configuration_keeps_the_state() {
        let breaker = breaker();
        for _ in 0..2 {
            let _ = visit(&breaker, failed_with(Kind::Server)).await;
        }
        let times = (Duration::from_secs(5), Duration::from_secs(5));
        breaker.configure(Config::default().with_open_times(times.0, times.1).unwrap());
        assert_eq!(failures(&breaker), 2);
        let _ = visit(&breaker, failed_with(Kind::Server)).await;
        let snapshot = breaker.snapshot(time::now());
        assert_eq!(snapshot.remaining, Some(Duration::from_secs(5)));
    }

    // BRK-04, CLS-12
    #[tokio::test(start_paused = true)]
    async fn only_kinds_that_count_add_to_the_count_and_the_others_leave_it() {
        for kind in Kind::ALL {
            let breaker = breaker();
            let _ = visit(&breaker, failed_with(Kind::Server)).await;
            let _ = visit(&breaker, failed_with(kind)).await;
            let expected = match kind {
                Kind::RateLimit
                | Kind::Quota
                | Kind::Auth
                | Kind::NotFound
                | Kind::InvalidRequest => 1,
                _ => 2,
            };
            assert_eq!(failures(&breaker), expected, "{kind}");
        }
    }

    // CLS-12, CLS-14
    #[tokio::test(start_paused = true)]
    async fn a_failure_that_is_not_the_endpoints_is_not_counted_whatever_its_kind() {
        for blame in [Blame::Caller, Blame::Credential] {
            let breaker = breaker();
            let verdict = Verdict::new(Kind::Server).blamed_on(blame);
            let _ = visit(&breaker, failed(verdict, 500)).await;
            assert_eq!(failures(&breaker), 0, "{blame}");
        }
    }

    // BRK-05
    #[tokio::test(start_paused = true)]
    async fn a_failed_visit_is_one_failure_with_or_without_a_classifier() {
        let breaker = breaker();
        let _ = visit(&breaker, failed(Verdict::new(Kind::Server), 500)).await;
        assert_eq!(failures(&breaker), 1);
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let _ = visit(&breaker, std::future::ready(Err(refused.into()))).await;
        assert_eq!(failures(&breaker), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_sent_is_nobodys_failure() {
        let breaker = breaker();
        let refused = Refused::new(Reason::Cooling, None, request());
        let _ = visit(&breaker, std::future::ready(Err(refused.into()))).await;
        let exhausted = Exhausted::Attempts;
        let _ = visit(&breaker, std::future::ready(Err(exhausted.into()))).await;
        assert_eq!(failures(&breaker), 0);
    }

    // BRK-06
    #[tokio::test(start_paused = true)]
    async fn an_open_one_refuses_and_gives_the_request_back() {
        let breaker = breaker();
        open(&breaker).await;
        let failed = Some(time::now());
        after(1).await;
        let until = Some(time::now() + Duration::from_secs(59));
        let reason = Reason::Open;
        assert_eq!(
            availability(&breaker),
            Availability::Out {
                reason,
                until,
                failed
            }
        );

        let mut service = behind(&breaker, |_| {
            unreachable!("an open breaker lets nothing through")
        });
        let unsent = Request::new(RequestBody::from("body"));
        let error = send(&mut service, unsent).await.unwrap_err();
        let refused = Refused::find(&*error).unwrap();
        assert_eq!((refused.reason(), refused.until()), (reason, until));
        let body = refused.take_request().unwrap().into_body();
        assert_eq!(body.as_bytes().unwrap(), "body");
    }

    // BRK-07
    #[tokio::test(start_paused = true)]
    async fn of_fifty_concurrent_requests_a_half_open_one_admits_one() {
        let breaker = breaker();
        open(&breaker).await;
        after(61).await;
        assert_eq!(availability(&breaker), Availability::Ready);
        let upstream = ReadinessProbe::new(|_| pending::<<Answer as Future>::Output>());
        let service = CircuitBreakerLayer::new(breaker.clone()).layer(upstream);
        let mut visits: Vec<_> = (0..50)
            .map(|_| task::spawn(service.clone().oneshot(request())))
            .collect();
        let mut refused = 0;
        for visit in &mut visits {
            assert_pending!(visit.poll(), "not ready yet");
            if let Poll::Ready(answer) = visit.poll() {
                let error = answer.unwrap_err();
                assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::Probing);
                refused += 1;
            }
        }
        assert_eq!(refused, 49);
        assert_eq!(
            availability(&breaker),
            Availability::Out {
                reason: Reason::Probing,
                until: None,
                failed: breaker.last_failure().map(|failure| failure.at),
            }
        );
    }

    // BRK-08
    #[tokio::test(start_paused = true)]
    async fn a_failed_probe_opens_it_again_for_about_twice_as_long() {
        let breaker = breaker();
        open(&breaker).await;
        after(60).await;
        let _ = visit(&breaker, failed_with(Kind::Timeout)).await;
        let remaining = breaker.snapshot(time::now()).remaining.unwrap();
        assert!((108..=132).contains(&remaining.as_secs()), "{remaining:?}");
        assert_eq!(
            breaker.last_failure().map(|failure| failure.kind),
            Some(Kind::Timeout)
        );
    }

    // BRK-09
    #[tokio::test(start_paused = true)]
    async fn a_probe_that_fails_for_another_reason_returns_its_slot() {
        for kind in [
            Kind::InvalidRequest,
            Kind::RateLimit,
            Kind::Quota,
            Kind::Auth,
            Kind::NotFound,
        ] {
            let breaker = breaker();
            open(&breaker).await;
            after(60).await;
            let before = failures(&breaker);
            let _ = visit(&breaker, failed_with(kind)).await;
            assert_eq!(state(&breaker), Phase::HalfOpen, "{kind}");
            assert_eq!(failures(&breaker), before, "{kind}");
            assert_eq!(availability(&breaker), Availability::Ready, "{kind}");
        }
    }

    // BRK-11
    #[tokio::test(start_paused = true)]
    async fn a_cancelled_probe_returns_its_slot_and_records_nothing() {
        let breaker = breaker();
        open(&breaker).await;
        after(60).await;
        let before = breaker.snapshot(time::now());
        let upstream = ReadinessProbe::new(|_| pending::<<Answer as Future>::Output>());
        let service = CircuitBreakerLayer::new(breaker.clone()).layer(upstream);
        let mut probe = task::spawn(service.oneshot(request()));
        assert_pending!(probe.poll());
        assert_pending!(probe.poll());
        assert_ne!(availability(&breaker), Availability::Ready);
        drop(probe);
        assert_eq!(availability(&breaker), Availability::Ready);
        assert_eq!(breaker.snapshot(time::now()), before);
    }

    // BRK-11
    #[tokio::test(start_paused = true)]
    async fn a_probe_whose_upstream_panics_returns_its_slot() {
        let breaker = breaker();
        open(&breaker).await;
        after(60).await;
        let upstream = ReadinessProbe::new(|_| {
            poll_fn(|_| -> Poll<<Answer as Future>::Output> { panic!("an upstream that panics") })
        });
        let service = CircuitBreakerLayer::new(breaker.clone()).layer(upstream);
        let mut probe = task::spawn(service.oneshot(request()));
        assert_pending!(probe.poll());
        assert!(catch_unwind(AssertUnwindSafe(|| probe.poll().is_ready())).is_err());
        drop(probe);
        assert_eq!(availability(&breaker), Availability::Ready);
    }

    // BRK-12
    #[tokio::test(start_paused = true)]
    async fn the_commit_of_a_probe_closes_it_before_the_stream_ends() {
        let breaker = breaker();
        open(&breaker).await;
        after(60).await;
        let mut service = behind(&breaker, |_| answer("a stream"));
        let response = send(&mut service, request()).await.unwrap();
        assert_eq!(state(&breaker), Phase::Closed);
        assert_eq!(failures(&breaker), 0);
        drop(response);
        assert_eq!(state(&breaker), Phase::Closed);
    }

    // BRK-12
    #[tokio::test(start_paused = true)]
    async fn three_streams_in_a_row_that_are_cut_open_it() {
        let breaker = breaker();
        for count in 1..=3 {
            assert_eq!(state(&breaker), Phase::Closed);
            let cut = Interrupted::new(Verdict::new(Kind::Transport), None);
            assert!(visit(&breaker, broken("half an", cut)).await.is_err());
            assert_eq!(failures(&breaker), count);
        }
        assert_eq!(state(&breaker), Phase::Open);
    }

    // BRK-12, BRK-03
    #[tokio::test(start_paused = true)]
    async fn a_clean_end_clears_the_count_and_a_client_that_leaves_does_not() {
        let breaker = breaker();
        let _ = visit(&breaker, failed_with(Kind::Server)).await;
        let mut service = behind(&breaker, |_| answer("a stream"));
        drop(send(&mut service, request()).await.unwrap());
        assert_eq!(failures(&breaker), 1);
        let cut = Interrupted::new(Verdict::new(Kind::RateLimit), None);
        let _ = visit(&breaker, broken("half an", cut)).await;
        assert_eq!(failures(&breaker), 1, "not the endpoint's fault");
        visit(&breaker, answer("whole")).await.unwrap();
        assert_eq!(failures(&breaker), 0);
    }

    // BRK-15
    #[tokio::test(start_paused = true)]
    async fn a_reset_lets_requests_through_at_once() {
        let breaker = breaker();
        open(&breaker).await;
        assert!(breaker.reset());
        assert!(!breaker.reset(), "nothing was left to reset");
        assert_eq!(availability(&breaker), Availability::Ready);
        assert_eq!(failures(&breaker), 0);
    }

    // SEL-18
    #[tokio::test(start_paused = true)]
    async fn a_last_resort_passes_an_open_one_and_closes_it_with_its_success() {
        let breaker = breaker();
        open(&breaker).await;
        let mut last_resort = request();
        let mut visit = Visit::new(Exchange::new(RequestId::random()));
        visit.admission = Admission::LastResort;
        last_resort.extensions_mut().insert(visit);
        let mut service = behind(&breaker, |_| answer("ok"));
        send(&mut service, last_resort).await.unwrap();
        assert_eq!(state(&breaker), Phase::Closed);
    }

    // SEC-02
    #[tokio::test]
    async fn debug_shows_no_secret() {
        let service = behind(&breaker(), |_| answer("ok"));
        let layer = CircuitBreakerLayer::new(service.breaker.clone());
        let text = format!("{layer:?} {:?}", service.breaker);
        assert!(text.contains("one") && !text.contains("sk-test"), "{text}");
    }
}
