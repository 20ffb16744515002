//! The layer over scripted upstreams.

use std::fmt;
use std::future::ready;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt as _;
use futures_util::future::join_all;
use http::StatusCode;
use tower::Layer as _;

use super::handle::Leased;
use super::state::Wanted;
use super::*;
use crate::available::{Availability, Available as _, Query, Reason};
use crate::credential::Credential;
use crate::endpoint::{Endpoint, EndpointId};
use crate::exchange::{Exchange, RequestId, SendKind};
use crate::facts::Facts;
use crate::failure::{Blame, Failed, Interrupted, Kind, Refused, Verdict};
use crate::record::SendResult;
use crate::testing::{
    Answer, Logs, ReadinessProbe, answer, assert_keeps_readiness, broken, drain, endpoint, failed,
    failed_with, request, send,
};
use crate::time::{self, Duration, Instant};
use crate::visit::{Preferred, Visit};

fn pooled_endpoint() -> Arc<Endpoint> {
    let base = "https://pooled.example".parse().unwrap();
    Arc::new(Endpoint::new("pooled", base).with_token_pool())
}

fn key(name: &str) -> Credential {
    Credential::new(name, format!("sk-test-{name}"))
}

fn pooled(names: &[&'static str]) -> Tokens {
    Tokens::new(pooled_endpoint(), names.iter().map(|name| key(name)))
}

fn without_credential() -> Tokens {
    let base = "http://127.0.0.1:8080".parse().unwrap();
    Tokens::fixed(Arc::new(Endpoint::new("local", base)))
}

/// What arrived at the upstream, by secret.
#[derive(Clone, Default)]
struct Seen(Arc<Mutex<Vec<String>>>);

impl Seen {
    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

/// The pool over an upstream that answers by the secret that it gets.
fn answering<'a, A>(
    tokens: &Tokens,
    seen: &Seen,
    answers: A,
) -> TokenPool<ReadinessProbe<impl FnMut(Request<RequestBody>) -> Answer + Clone + use<'a, A>>>
where
    A: Fn(&str) -> Answer + Clone + 'a,
{
    let seen = seen.clone();
    let upstream = move |request: Request<RequestBody>| {
        assert_eq!(request.body().as_bytes().unwrap(), "body");
        let visit = request.extensions().get::<Visit>().unwrap();
        let secret = visit.credential.as_ref().map_or("none", Credential::expose);
        seen.0.lock().unwrap().push(secret.to_owned());
        answers(secret)
    };
    TokenPoolLayer::new(tokens.clone()).layer(ReadinessProbe::new(upstream))
}

fn body() -> Request<RequestBody> {
    Request::new(RequestBody::from("body"))
}

/// Sends one request and reads its answer to the end.
async fn through<A>(tokens: &Tokens, seen: &Seen, answers: A) -> Result<(), BoxError>
where
    A: Fn(&str) -> Answer + Clone,
{
    let response = send(&mut answering(tokens, seen, answers), body()).await?;
    drain(response.into_body()).await.map(drop)
}

async fn fail<A>(tokens: &Tokens, answers: A) -> BoxError
where
    A: Fn(&str) -> Answer + Clone,
{
    through(tokens, &Seen::default(), answers)
        .await
        .unwrap_err()
}

/// The secrets that one request went out with.
async fn sent(tokens: &Tokens) -> Vec<String> {
    let seen = Seen::default();
    through(tokens, &seen, |_| answer("ok")).await.unwrap();
    seen.take()
}

fn verdict(error: &BoxError) -> Verdict {
    Failed::find(&**error).unwrap().verdict()
}

fn unauthorized() -> Answer {
    failed(Verdict::new(Kind::Auth), 401)
}

fn limited() -> Answer {
    failed(Verdict::new(Kind::RateLimit), 429)
}

fn availability(tokens: &Tokens) -> Availability {
    let (head, _) = request().into_parts();
    tokens.availability(&Query::new(&head, &Facts::default(), time::now()))
}

fn after(seconds: u64) -> Option<Instant> {
    Some(time::now() + Duration::from_secs(seconds))
}

async fn wait(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

#[tokio::test]
async fn the_layer_keeps_the_readiness_of_its_inner_service() {
    let layer = TokenPoolLayer::new(pooled(&["a"]));
    assert_keeps_readiness(layer.layer(ReadinessProbe::new(|_| answer("ok")))).await;
    let layer = TokenPoolLayer::new(pooled(&["a", "b"]));
    assert_keeps_readiness(layer.layer(ReadinessProbe::new(|_| answer("ok")))).await;
}

// TOK-04, TOK-06
#[tokio::test(start_paused = true)]
async fn credentials_take_turns_and_one_is_enough() {
    let tokens = pooled(&["a", "b"]);
    assert_eq!(sent(&tokens).await, ["sk-test-a"]);
    assert_eq!(sent(&tokens).await, ["sk-test-b"]);
    assert_eq!(sent(&tokens).await, ["sk-test-a"]);
    let tokens = Tokens::fixed(Arc::new(endpoint("one")));
    assert_eq!(sent(&tokens).await, ["sk-test-one"]);
}

// TOK-08, RTY-05
#[tokio::test(start_paused = true)]
async fn a_limited_credential_is_left_and_the_client_does_not_see_it() {
    for stream in [false, true] {
        let tokens = pooled(&["a", "b"]);
        let seen = Seen::default();
        let answers = |secret: &str| match secret {
            "sk-test-a" if stream => failed_with(Kind::RateLimit),
            "sk-test-a" => limited(),
            _ => answer("ok"),
        };
        through(&tokens, &seen, answers).await.unwrap();
        assert_eq!(seen.take(), ["sk-test-a", "sk-test-b"]);
        assert_eq!(sent(&tokens).await, ["sk-test-b"]);
        wait(30).await;
        let turns = [sent(&tokens).await, sent(&tokens).await].concat();
        assert!(turns.contains(&"sk-test-a".to_owned()), "{turns:?}");
    }
}

// TOK-12, TOK-13, TOK-15, RTY-09
#[tokio::test(start_paused = true)]
async fn all_tiers_are_gone_through_and_nobody_is_asked_twice() {
    let pool = [
        (Tier::Anonymous, "last"),
        (Tier::Personal, "p1"),
        (Tier::Personal, "p2"),
        (Tier::Shared, "s1"),
    ];
    let mut built = Pool::default();
    for tier in Tier::ALL {
        for (_, name) in pool.iter().filter(|(of, _)| *of == tier) {
            built = built.with(tier, *name, Arc::new(key(name)));
        }
    }
    let tokens = Tokens::pooled(pooled_endpoint(), built);
    let exchange = Exchange::new(RequestId::random());
    let now = time::now();
    exchange.limit(now + Duration::from_secs(600), 1);
    exchange.begin_send(SendKind::First, now).unwrap();
    let mut request = body();
    request.extensions_mut().insert(exchange.clone());
    let seen = Seen::default();
    let answers = |secret: &str| match secret {
        "sk-test-p1" => limited(),
        "sk-test-p2" => unauthorized(),
        "sk-test-s1" => failed_with(Kind::Quota),
        _ => answer("ok"),
    };
    let response = send(&mut answering(&tokens, &seen, answers), request).await;
    drain(response.unwrap().into_body()).await.unwrap();
    assert_eq!(
        seen.take(),
        ["sk-test-p1", "sk-test-p2", "sk-test-s1", "sk-test-last"]
    );
    assert_eq!(
        exchange.attempts(),
        1,
        "a change of credential is no attempt"
    );
    let record = exchange.seal(now).unwrap();
    let sends: Vec<_> = record
        .sends()
        .map(|(_, send)| (send.kind.as_str(), send.credential.as_deref().unwrap()))
        .collect();
    assert_eq!(
        sends,
        [
            ("first", "p1"),
            ("rotation", "p2"),
            ("rotation", "s1"),
            ("rotation", "last")
        ]
    );
}

// TOK-14
#[tokio::test(start_paused = true)]
async fn when_all_failed_the_last_failure_goes_up_with_the_earliest_reset() {
    let tokens = pooled(&["a", "b", "c"]);
    let seen = Seen::default();
    let answers = |secret: &str| {
        let rest = match secret {
            "sk-test-a" => 40,
            "sk-test-b" => 10,
            _ => 90,
        };
        failed(Verdict::new(Kind::RateLimit).until(after(rest)), 429)
    };
    let error = through(&tokens, &seen, answers).await.unwrap_err();
    assert_eq!(seen.take().len(), 3);
    assert_eq!(verdict(&error).until, after(10));
    let out = Availability::out(Reason::Cooling, after(10));
    assert_eq!(availability(&tokens), out);
}

// TOK-20
#[tokio::test(start_paused = true)]
async fn a_failure_of_the_endpoint_changes_no_credential() {
    for kind in [
        Kind::Server,
        Kind::Overloaded,
        Kind::Timeout,
        Kind::NotFound,
    ] {
        let tokens = pooled(&["a", "b"]);
        let seen = Seen::default();
        let answers = |_: &str| failed(Verdict::new(kind), 500);
        let error = through(&tokens, &seen, answers).await.unwrap_err();
        assert_eq!(verdict(&error).kind, kind);
        assert_eq!(seen.take(), ["sk-test-a"]);
        assert!(
            tokens
                .snapshot(time::now())
                .iter()
                .all(|token| token.failures == 0)
        );
    }
}

// TOK-21
#[tokio::test(start_paused = true)]
async fn a_stream_that_was_committed_keeps_its_credential() {
    let tokens = pooled(&["a", "b"]);
    let seen = Seen::default();
    let limit = || Interrupted::new(Verdict::new(Kind::RateLimit), None);
    let answers = |_: &str| broken("half an", limit());
    assert!(through(&tokens, &seen, answers).await.is_err());
    assert_eq!(seen.take(), ["sk-test-a"]);
    assert_eq!(
        sent(&tokens).await,
        ["sk-test-b"],
        "later ones leave it alone"
    );
    assert_eq!(sent(&tokens).await, ["sk-test-b"]);
}

#[tokio::test(start_paused = true)]
async fn a_body_that_cannot_be_sent_twice_is_sent_once() {
    let tokens = pooled(&["a", "b"]);
    let stream = RequestBody::new(crate::testing::Script::new([Ok("bo"), Ok("dy")]));
    let layer = TokenPoolLayer::new(tokens.clone());
    let mut service = layer.layer(ReadinessProbe::new(|_| limited()));
    let error = send(&mut service, Request::new(stream)).await.unwrap_err();
    assert_eq!(verdict(&error).until, after(30));
    assert_eq!(sent(&tokens).await, ["sk-test-b"]);
}

// RTY-10
#[tokio::test(start_paused = true)]
async fn no_credential_is_tried_after_the_deadline() {
    let tokens = pooled(&["a", "b"]);
    let exchange = Exchange::new(RequestId::random());
    exchange.limit(time::now(), 5);
    let mut request = body();
    request.extensions_mut().insert(exchange);
    let seen = Seen::default();
    let result = send(&mut answering(&tokens, &seen, |_: &str| limited()), request).await;
    assert!(result.is_err());
    assert_eq!(seen.take(), ["sk-test-a"]);
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn a_request_that_is_bound_to_a_credential_never_changes_it() {
    let tokens = pooled(&["a", "b"]);
    let bound = |name: &str| {
        let mut request = body();
        let id: EndpointId = tokens.endpoint().id();
        Visit::of(request.extensions_mut()).preferred =
            Some(Preferred::hard(id, Some(name.into())));
        request
    };
    let seen = Seen::default();
    let mut service = answering(&tokens, &seen, |_: &str| limited());
    let error = send(&mut service, bound("b")).await.unwrap_err();
    assert_eq!(verdict(&error).kind, Kind::RateLimit);
    assert_eq!(seen.take(), ["sk-test-b"]);
    for name in ["b", "gone"] {
        let error = send(&mut service, bound(name)).await.unwrap_err();
        let refused = Refused::find(&*error).unwrap();
        let expected = match name {
            "b" => (Reason::Cooling, after(30)),
            _ => (Reason::AuthFailed, None),
        };
        assert_eq!((refused.reason(), refused.until()), expected);
        let (head, _) = request().into_parts();
        let facts = Facts::default();
        let query = Query::new(&head, &facts, time::now()).with_credential(Some(name));
        let out = Availability::out(expected.0, expected.1);
        assert_eq!(tokens.availability(&query), out);
    }
    assert_eq!(seen.take(), [""; 0]);
}

// XPL-01
#[tokio::test(start_paused = true)]
async fn the_record_names_the_credential_and_those_that_were_passed_over() {
    let tokens = pooled(&["a", "b"]);
    fail(&tokens, |_| limited()).await;
    wait(1).await;
    tokens.clear_limits();
    fail(&tokens, |secret: &str| match secret {
        "sk-test-a" => limited(),
        _ => failed_with(Kind::Server),
    })
    .await;
    let exchange = Exchange::new(RequestId::random());
    let now = time::now();
    exchange.begin_send(SendKind::First, now).unwrap();
    let mut request = body();
    request.extensions_mut().insert(exchange.clone());
    let seen = Seen::default();
    send(
        &mut answering(&tokens, &seen, |_: &str| answer("ok")),
        request,
    )
    .await
    .unwrap();
    let record = exchange.seal(now).unwrap();
    let (_, send) = record.sends().next().unwrap();
    assert_eq!(send.credential.as_deref(), Some("b"));
    let passed: Vec<_> = send
        .passed_over
        .iter()
        .map(|one| (&*one.name, one.state, one.until))
        .collect();
    assert_eq!(passed, [("a", "cooling", after(30))]);
}

#[tokio::test(start_paused = true)]
async fn a_request_without_need_for_a_credential_carries_none_of_another_endpoint() {
    let mut request = body();
    Visit::of(request.extensions_mut()).credential = Some(key("other"));
    let seen = Seen::default();
    let mut service = answering(&without_credential(), &seen, |_: &str| answer("ok"));
    send(&mut service, request).await.unwrap();
    assert_eq!(seen.take(), ["none"]);
}

// RTY-05
#[tokio::test(start_paused = true)]
async fn an_endpoint_without_credential_rests_after_a_limit_too() {
    let tokens = without_credential();
    let error = fail(&tokens, |_| failed_with(Kind::RateLimit)).await;
    assert_eq!(verdict(&error).until, after(30));
    let out = Availability::out(Reason::Cooling, after(30));
    assert_eq!(availability(&tokens), out);
    assert!(tokens.snapshot(time::now()).is_empty());
}

// SEL-16, ACC-03, ACC-05
#[tokio::test(start_paused = true)]
async fn while_all_credentials_cool_the_endpoint_is_out_until_the_first_is_back() {
    let tokens = pooled(&["a", "b"]);
    fail(&tokens, |secret: &str| match secret {
        "sk-test-a" => failed_with(Kind::Quota),
        _ => failed_with(Kind::RateLimit),
    })
    .await;
    let out = Availability::out(Reason::Cooling, after(30));
    assert_eq!(availability(&tokens), out);
    wait(30).await;
    assert_eq!(availability(&tokens), Availability::Ready);
    assert_eq!(sent(&tokens).await, ["sk-test-b"]);
}

// SEL-16
#[tokio::test(start_paused = true)]
async fn a_request_that_no_credential_can_serve_is_given_back_unsent() {
    let tokens = pooled(&["a"]);
    fail(&tokens, |_| limited()).await;
    let error = fail(&tokens, |_| unreachable!("no credential")).await;
    let refused = Refused::find(&*error).unwrap();
    assert_eq!(
        (refused.reason(), refused.until()),
        (Reason::Cooling, after(30))
    );
    let unsent = refused.take_request().unwrap().into_body();
    assert_eq!(unsent.as_bytes().unwrap(), "body");
}

// TOK-30
#[tokio::test(start_paused = true)]
async fn nothing_is_sent_without_a_credential_where_one_is_needed() {
    let tokens = pooled(&[]);
    let out = Availability::out(Reason::AuthFailed, None);
    assert_eq!(availability(&tokens), out);
    let error = fail(&tokens, |_| answer("never sent")).await;
    assert_eq!(Refused::find(&*error).unwrap().reason(), Reason::AuthFailed);
}

// RTY-06, SEL-10, TOK-28
#[tokio::test(start_paused = true)]
async fn a_refused_credential_is_not_used_again_until_it_is_recovered() {
    let tokens = pooled(&["a", "b"]);
    let seen = Seen::default();
    let answers = |secret: &str| match secret {
        "sk-test-a" => unauthorized(),
        _ => answer("ok"),
    };
    through(&tokens, &seen, answers).await.unwrap();
    assert_eq!(seen.take(), ["sk-test-a", "sk-test-b"]);
    wait(30 * 24 * 3600).await;
    for _ in 0..2 {
        assert_eq!(sent(&tokens).await, ["sk-test-b"]);
    }
    let error = fail(&tokens, |_| unauthorized()).await;
    assert_eq!(verdict(&error), Verdict::new(Kind::Auth));
    let out = Availability::out(Reason::AuthFailed, None);
    assert_eq!(availability(&tokens), out);
    assert_eq!(tokens.recover(Some("b")), 1);
    assert_eq!(tokens.recover(Some("nobody")), 0);
    assert_eq!(availability(&tokens), Availability::Ready);
    assert_eq!((tokens.recover(None), tokens.recover(None)), (1, 0));
}

// SEL-10
#[tokio::test(start_paused = true)]
async fn a_refusal_goes_up_as_a_limit_while_another_credential_is_left() {
    let tokens = pooled(&["a", "b"]);
    let error = fail(&tokens, |secret: &str| match secret {
        "sk-test-a" => limited(),
        _ => unauthorized(),
    })
    .await;
    let limited = Verdict::new(Kind::RateLimit).until(after(30));
    let outer = error.downcast_ref::<Failed>().unwrap();
    assert_eq!(outer.verdict(), limited);
    assert!(outer.response().is_none(), "a 401 is no answer to a limit");
    let source = std::error::Error::source(outer).unwrap();
    let inner = Failed::find(source).unwrap();
    assert_eq!(inner.kind(), Kind::Auth);
    assert_eq!(inner.status(), Some(StatusCode::UNAUTHORIZED));
}

/// What a layer of the user may put around an error.
#[derive(Debug, thiserror::Error)]
#[error("wrapped")]
struct Wrapped(#[source] BoxError);

// RTY-05
#[tokio::test(start_paused = true)]
async fn a_limit_goes_up_with_its_end_and_its_answer_also_when_it_is_wrapped() {
    for wrap in [false, true] {
        let tokens = pooled(&["a"]);
        let error = fail(&tokens, |_| {
            let failed = failed(Verdict::new(Kind::Quota), 402).now_or_never();
            let error = failed.unwrap().unwrap_err();
            ready(Err(if wrap { Wrapped(error).into() } else { error }))
        })
        .await;
        let failed = Failed::find(&*error).unwrap();
        assert_eq!(failed.until(), after(3600));
        assert_eq!(failed.status(), Some(StatusCode::PAYMENT_REQUIRED));
    }
}

// CLS-12
#[tokio::test(start_paused = true)]
async fn failures_of_endpoint_and_caller_leave_the_credential_alone() {
    let tokens = pooled(&["a"]);
    let untouched = |tokens: &Tokens| {
        let status = &tokens.snapshot(time::now())[0];
        status.failures == 0 && status.state == TokenState::Active
    };
    for kind in Kind::ALL {
        for blame in [Blame::Endpoint, Blame::Caller] {
            let verdict = Verdict::new(kind).blamed_on(blame);
            fail(&tokens, |_| failed(verdict, 500)).await;
            assert!(untouched(&tokens), "{kind} {blame}");
        }
    }
    fail(&tokens, |_| {
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        ready(Err(reset.into()))
    })
    .await;
    assert!(untouched(&tokens));
}

// RTY-05, CLS-12
#[tokio::test(start_paused = true)]
async fn a_limit_inside_a_committed_answer_rests_the_credential() {
    let tokens = pooled(&["a"]);
    let cut = |kind| broken("half an", Interrupted::new(Verdict::new(kind), None));
    fail(&tokens, |_| cut(Kind::Server)).await;
    assert_eq!(availability(&tokens), Availability::Ready);
    fail(&tokens, |_| cut(Kind::RateLimit)).await;
    let out = Availability::out(Reason::Cooling, after(30));
    assert_eq!(availability(&tokens), out);
    assert!(tokens.clear_limits());
    assert!(!tokens.clear_limits());
    assert_eq!(availability(&tokens), Availability::Ready);
}

// TOK-27
#[tokio::test(start_paused = true)]
async fn a_snapshot_shows_names_and_states_and_a_success_clears_the_failures() {
    let tokens = pooled(&["a", "b"]);
    fail(&tokens, |secret: &str| match secret {
        "sk-test-a" => limited(),
        _ => unauthorized(),
    })
    .await;
    let (until, since) = (after(30).unwrap(), time::now());
    let states = |tokens: &Tokens| {
        let statuses = tokens.snapshot(time::now());
        statuses
            .into_iter()
            .map(|status| (status.state, status.failures))
    };
    assert!(states(&tokens).eq([
        (TokenState::Cooling { until }, 1),
        (TokenState::Refused { since }, 1),
    ]));
    wait(30).await;
    sent(&tokens).await;
    assert!(states(&tokens).eq([(TokenState::Active, 0), (TokenState::Refused { since }, 1)]));
    let first = &tokens.snapshot(time::now())[0];
    assert_eq!((&*first.name, first.last_use), ("a", Some(time::now())));
}

// TOK-16, TOK-33
#[tokio::test(start_paused = true)]
async fn a_reload_takes_new_credentials_and_keeps_what_is_known_of_the_others() {
    let pool = |names: &[&'static str]| {
        let named = |pool: Pool, name: &&'static str| {
            let number = pool.len() + 1;
            pool.with(
                Tier::Personal,
                format!("Personal-{number}"),
                Arc::new(key(name)),
            )
        };
        names.iter().fold(Pool::default(), named)
    };
    let tokens = Tokens::pooled(pooled_endpoint(), pool(&["a", "b"]));
    fail(&tokens, |_| limited()).await;
    let same = tokens.continued(tokens.endpoint(), Some(pool(&["a", "b"])));
    assert!(Arc::ptr_eq(&same.0, &tokens.0));
    let changed = tokens.continued(tokens.endpoint(), Some(pool(&["c", "a"])));
    assert_eq!(sent(&changed).await, ["sk-test-c"]);
    let snapshot = changed.snapshot(time::now());
    let states: Vec<_> = snapshot
        .iter()
        .map(|token| (&*token.name, token.state.as_str()))
        .collect();
    assert_eq!(
        states,
        [("Personal-1", "active"), ("Personal-2", "cooling")]
    );
}

/// A source whose credential is stale until it is refreshed, which takes a second.
#[derive(Clone, Debug)]
struct Renewed(Arc<RenewedState>);

#[derive(Debug)]
struct RenewedState {
    name: &'static str,
    fresh: AtomicUsize,
    refreshes: AtomicUsize,
    result: Result<(), NotRefreshed>,
    /// Accepted although it is stale.
    old: Option<Credential>,
    lifetime: Mutex<Option<Lifetime>>,
}

impl Renewed {
    fn new(name: &'static str, result: Result<(), NotRefreshed>) -> Self {
        Self(Arc::new(RenewedState {
            name,
            fresh: AtomicUsize::new(0),
            refreshes: AtomicUsize::new(0),
            result,
            old: None,
            lifetime: Mutex::new(None),
        }))
    }

    fn with_old(mut self) -> Self {
        Arc::get_mut(&mut self.0).unwrap().old = Some(key("old"));
        self
    }

    /// It holds a credential already.
    fn held(self) -> Self {
        self.0.fresh.store(1, Ordering::Relaxed);
        self
    }

    fn refreshes(&self) -> usize {
        self.0.refreshes.load(Ordering::Relaxed)
    }
}

impl TokenSource for Renewed {
    fn id(&self) -> SourceId {
        SourceId::of([self.0.name])
    }

    fn held(&self, now: Instant) -> Held {
        let stale = self
            .0
            .lifetime
            .lock()
            .unwrap()
            .is_some_and(|life| life.stale <= now);
        match self.0.fresh.load(Ordering::Relaxed) {
            number if number > 0 && !stale => {
                Held::Fresh(key(&format!("{}-{number}", self.0.name)))
            }
            _ => Held::Stale(self.0.old.clone()),
        }
    }

    fn lifetime(&self) -> Option<Lifetime> {
        *self.0.lifetime.lock().unwrap()
    }

    fn is_refreshable(&self) -> bool {
        true
    }

    fn refresh(&self) -> Option<Refresh> {
        let state = self.0.clone();
        Some(Box::pin(async move {
            state.refreshes.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_secs(1)).await;
            if state.result.is_ok() {
                state.fresh.fetch_add(1, Ordering::Relaxed);
                let now = time::now();
                let life = Duration::from_secs(3600);
                *state.lifetime.lock().unwrap() =
                    Some(Lifetime::new(now, now + life, now + 2 * life));
            }
            state.result.clone()
        }))
    }
}

fn with_sources(sources: &[&Renewed]) -> Tokens {
    let mut pool = Pool::default();
    for source in sources {
        pool = pool.with(Tier::Personal, source.0.name, Arc::new((*source).clone()));
    }
    let last: Arc<dyn TokenSource> = Arc::new(key("last"));
    Tokens::pooled(pooled_endpoint(), pool.with(Tier::Anonymous, "last", last))
}

// TOK-10
#[tokio::test(start_paused = true)]
async fn a_credential_that_is_not_there_yet_is_got_first() {
    let source = Renewed::new("r", Ok(()));
    let tokens = with_sources(&[&source]);
    assert_eq!(sent(&tokens).await, ["sk-test-r-1"]);
    assert_eq!(sent(&tokens).await, ["sk-test-r-1"]);
    assert_eq!(source.refreshes(), 1);
}

// TOK-09
#[tokio::test(start_paused = true)]
async fn the_next_credential_is_used_without_a_refresh_if_it_is_fresh() {
    let (first, second) = (
        Renewed::new("r", Ok(())).held(),
        Renewed::new("s", Ok(())).held(),
    );
    let tokens = with_sources(&[&first, &second]);
    let seen = Seen::default();
    let answers = |secret: &str| match secret {
        "sk-test-r-1" => limited(),
        _ => answer("ok"),
    };
    through(&tokens, &seen, answers).await.unwrap();
    assert_eq!(seen.take(), ["sk-test-r-1", "sk-test-s-1"]);
    assert_eq!((first.refreshes(), second.refreshes()), (0, 0));
}

// TOK-11, TOK-13, TOK-19, TOK-31
#[tokio::test(start_paused = true)]
async fn a_refresh_that_fails_counts_and_leads_on_to_the_last_resort() {
    let logs = Logs::capture();
    let down = || {
        Err(NotRefreshed::for_now(
            "the token endpoint cannot be reached",
        ))
    };
    let (first, second) = (Renewed::new("r", down()), Renewed::new("s", down()));
    let tokens = with_sources(&[&first, &second]);
    assert_eq!(sent(&tokens).await, ["sk-test-last"]);
    let failures = |tokens: &Tokens| {
        let statuses = tokens.snapshot(time::now()).into_iter();
        statuses.map(|status| status.failures).collect::<Vec<_>>()
    };
    assert_eq!(failures(&tokens), [1, 1, 0]);
    assert_eq!(sent(&tokens).await, ["sk-test-last"], "they rest");
    assert_eq!((first.refreshes(), second.refreshes()), (1, 1));
    for _ in 0..2 {
        wait(5).await;
        sent(&tokens).await;
    }
    assert_eq!(failures(&tokens), [3, 3, 0]);
    let states: Vec<_> = tokens
        .snapshot(time::now())
        .iter()
        .map(|status| status.state.as_str())
        .collect();
    assert_eq!(states, ["inactive", "inactive", "active"]);
    let text = logs.lines().join("\n");
    for expected in [
        "refreshing r",
        "refresh failed: the token endpoint cannot be reached",
        "no token left, last resort",
        "using next token: last",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
}

// TOK-24
#[tokio::test(start_paused = true)]
async fn a_hundred_requests_that_wait_share_one_refresh() {
    let source = Renewed::new("r", Ok(()));
    let tokens = with_sources(&[&source]);
    let requests = (0..100).map(|_| sent(&tokens));
    let all = join_all(requests).await;
    assert!(all.iter().all(|secrets| secrets == &["sk-test-r-1"]));
    assert_eq!(source.refreshes(), 1);
}

/// A request whose client goes away while it waits.
async fn hang_up(tokens: &Tokens) {
    let patience = Duration::from_millis(500);
    assert!(tokio::time::timeout(patience, sent(tokens)).await.is_err());
}

// TOK-24, TOK-26
#[tokio::test(start_paused = true)]
async fn a_refresh_outlives_the_request_that_began_it() {
    let source = Renewed::new("r", Ok(()));
    let tokens = with_sources(&[&source]);
    hang_up(&tokens).await;
    assert_eq!(source.refreshes(), 1, "it began, and its request is gone");
    // Nobody waits: settling drives it to its end.
    tokens.settled().await;
    assert_eq!(source.0.fresh.load(Ordering::Relaxed), 1);
    assert_eq!(sent(&tokens).await, ["sk-test-r-1"]);
    assert_eq!(source.refreshes(), 1);

    let source = Renewed::new("s", Ok(()));
    let tokens = with_sources(&[&source]);
    let upkeep = tokio::spawn(tokens.maintenance());
    hang_up(&tokens).await;
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(
        source.0.fresh.load(Ordering::Relaxed),
        1,
        "maintenance did it"
    );
    upkeep.abort();
}

// TOK-22
#[tokio::test(start_paused = true)]
async fn what_is_in_use_is_renewed_before_anybody_has_to_wait() {
    let (used, idle) = (Renewed::new("r", Ok(())), Renewed::new("s", Ok(())));
    let tokens = with_sources(&[&used, &idle]);
    sent(&tokens).await;
    sent(&tokens).await;
    // Both were got, and the second one is not used on.
    let bound = Wanted {
        model: None,
        only: Some(1),
        tried: &[],
    };
    let now = time::now();
    let Leased::Ready(taken) = tokens.lease(&bound, false, now, &mut Vec::new()) else {
        panic!("it was got just now");
    };
    tokens.failed(taken.lease.place(), Verdict::new(Kind::Auth), now);
    let upkeep = tokio::spawn(tokens.maintenance());
    tokio::time::sleep(Duration::from_secs(3530)).await;
    assert_eq!((used.refreshes(), idle.refreshes()), (1, 1));
    tokio::time::sleep(Duration::from_secs(15)).await;
    assert_eq!((used.refreshes(), idle.refreshes()), (2, 1));
    let before = time::now();
    assert_eq!(sent(&tokens).await, ["sk-test-r-2"]);
    assert_eq!(time::now(), before, "nobody waits");
    upkeep.abort();
}

#[tokio::test(start_paused = true)]
async fn an_old_credential_serves_on_while_no_refresh_can_be_had() {
    let source = Renewed::new("r", Err(NotRefreshed::for_now("down"))).with_old();
    let tokens = with_sources(&[&source]);
    for _ in 0..3 {
        assert_eq!(sent(&tokens).await, ["sk-test-old"]);
    }
    assert_eq!(source.refreshes(), 1, "tried again after 5 s only");
    let status = &tokens.snapshot(time::now())[0];
    assert_eq!((status.failures, status.state), (0, TokenState::Active));
    wait(5).await;
    sent(&tokens).await;
    assert_eq!(source.refreshes(), 2);
}

// TOK-25, RTY-06
#[tokio::test(start_paused = true)]
async fn a_refusal_forces_one_refresh_and_one_retry() {
    let source = Renewed::new("r", Ok(())).held();
    let tokens = with_sources(&[&source]);
    let seen = Seen::default();
    let answers = |secret: &str| match secret {
        "sk-test-r-1" => unauthorized(),
        _ => answer("ok"),
    };
    through(&tokens, &seen, answers).await.unwrap();
    assert_eq!(seen.take(), ["sk-test-r-1", "sk-test-r-2"]);
    let answers = |secret: &str| match secret {
        "sk-test-last" => answer("ok"),
        _ => unauthorized(),
    };
    through(&tokens, &seen, answers).await.unwrap();
    assert_eq!(seen.take(), ["sk-test-r-2", "sk-test-r-3", "sk-test-last"]);
    let status = &tokens.snapshot(time::now())[0];
    assert!(matches!(status.state, TokenState::Refused { .. }));
}

// TOK-25
#[tokio::test(start_paused = true)]
async fn refusals_that_come_together_force_one_refresh() {
    let source = Renewed::new("r", Ok(())).held();
    let tokens = with_sources(&[&source]);
    let seen = Seen::default();
    let answers = |secret: &str| match secret {
        "sk-test-r-1" => unauthorized(),
        _ => answer("ok"),
    };
    let requests = (0..20).map(|_| through(&tokens, &seen, answers));
    assert!(
        join_all(requests)
            .await
            .into_iter()
            .all(|result| result.is_ok())
    );
    assert_eq!(source.refreshes(), 1);
}

// TOK-25
#[tokio::test(start_paused = true)]
async fn a_refused_credential_whose_refresh_fails_is_left() {
    for (result, state) in [
        (NotRefreshed::for_now("down"), "cooling"),
        (NotRefreshed::for_good("invalid_grant"), "refused"),
    ] {
        let source = Renewed::new("r", Err(result.clone())).held();
        let tokens = with_sources(&[&source]);
        let seen = Seen::default();
        let answers = |secret: &str| match secret {
            "sk-test-r-1" => unauthorized(),
            _ => answer("ok"),
        };
        through(&tokens, &seen, answers).await.unwrap();
        assert_eq!(seen.take(), ["sk-test-r-1", "sk-test-last"]);
        let status = &tokens.snapshot(time::now())[0];
        assert_eq!((status.state.as_str(), status.failures), (state, 1));
        assert_eq!(status.trouble.as_deref(), Some(&**result.text()));
    }
}

// RTY-09
#[tokio::test(start_paused = true)]
async fn the_call_after_a_refresh_is_an_attempt() {
    let source = Renewed::new("r", Ok(())).held();
    let tokens = with_sources(&[&source]);
    let exchange = Exchange::new(RequestId::random());
    let now = time::now();
    exchange.limit(now + Duration::from_secs(600), 1);
    exchange.begin_send(SendKind::First, now).unwrap();
    let mut request = body();
    request.extensions_mut().insert(exchange.clone());
    let seen = Seen::default();
    let result = send(
        &mut answering(&tokens, &seen, |_: &str| unauthorized()),
        request,
    )
    .await;
    assert!(result.is_err());
    assert_eq!(seen.take(), ["sk-test-r-1"]);
    let record = exchange.seal(time::now()).unwrap();
    let (_, send) = record.sends().next().unwrap();
    assert!(matches!(send.result, SendResult::Failed { .. }));
}

#[derive(Debug)]
struct Empty;

impl TokenSource for Empty {
    fn id(&self) -> SourceId {
        SourceId::of(["empty"])
    }

    fn held(&self, _: Instant) -> Held {
        Held::Stale(None)
    }
}

#[tokio::test(start_paused = true)]
async fn a_pool_whose_sources_have_nothing_refuses() {
    let pool = Pool::default().with(Tier::Personal, "empty", Arc::new(Empty));
    let tokens = Tokens::pooled(pooled_endpoint(), pool);
    let error = fail(&tokens, |_| answer("never sent")).await;
    let refused = Refused::find(&*error).unwrap();
    assert_eq!((refused.reason(), refused.until()), (Reason::Cooling, None));
}

// SEC-01, SEC-02, TOK-31
#[tokio::test(start_paused = true)]
async fn debug_listings_and_logs_show_names_and_no_secret() {
    let logs = Logs::capture();
    let tokens = pooled(&["a", "b", "c"]);
    let failed = fail(&tokens, |secret: &str| match secret {
        "sk-test-a" => limited(),
        "sk-test-b" => unauthorized(),
        _ => failed(Verdict::new(Kind::Quota), 402),
    })
    .await;
    let pool = Pool::default().with(Tier::Shared, "d", Arc::new(key("d")));
    let shown: [&dyn fmt::Debug; 6] = [
        &tokens,
        &TokenPoolLayer::new(tokens.clone()),
        &tokens.snapshot(time::now()),
        &pool,
        &failed,
        &logs.lines(),
    ];
    let text = format!("{shown:?}");
    assert!(!text.contains("sk-test"), "{text}");
    let text = logs.lines().join("\n");
    for expected in [
        "429 (quota), trying next token",
        "401 (auth), trying next token",
        "using next token: b",
        "using next token: c",
    ] {
        assert!(text.contains(expected), "{expected}:\n{text}");
    }
    assert!(!text.contains("402 (quota), trying next token"), "{text}");
}

// ACC-06
#[tokio::test(start_paused = true)]
async fn a_sweep_logs_each_limit_that_is_over_once() {
    let logs = Logs::capture();
    let (tokens, seen) = (pooled(&["first", "second"]), Seen::default());
    let mut pool = answering(&tokens, &seen, |secret| match secret {
        "sk-test-first" => failed_with(Kind::RateLimit),
        _ => answer("ok"),
    });
    drain(send(&mut pool, body()).await.unwrap().into_body())
        .await
        .unwrap();
    tokio::time::advance(Duration::from_secs(29)).await;
    assert_eq!(tokens.sweep(time::now()), 0);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(tokens.sweep(time::now()), 1);
    assert_eq!(tokens.sweep(time::now()), 0);
    let lines = logs.with("its time is over");
    assert_eq!(lines.len(), 1, "{lines:#?}");
    assert!(lines[0].contains("credential=\"first\""), "{lines:#?}");
}
