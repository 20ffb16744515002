use std::collections::{HashSet, VecDeque};
use std::convert::Infallible;
use std::future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use tower::util::BoxCloneSyncService;
use tower::{Service, ServiceExt as _, service_fn};
use tower_test::mock;

use super::*;
use crate::available::{Availability, Available, Query, Reason};
use crate::endpoint::{Api, Endpoint, EndpointId};
use crate::error::{NoEndpoint, OwnerUnavailable};
use crate::exchange::{Exchange, RequestId};
use crate::facts::{Dialect, Facts};
use crate::failure::{Failed, Kind, Verdict};
use crate::record::{Event, Fate, LeftOut, NAMED_LEFT_OUT, VisitRecord};
use crate::testing::Logs;
use crate::time::{Duration, Instant};
use crate::visit::Preferred;

// ===== what the tests are made of =====

/// A gate that says what it is told to, and counts how often it was asked.
#[derive(Debug)]
struct Gate {
    state: Mutex<Availability>,
    looks: AtomicUsize,
    overruled: AtomicUsize,
}

impl Gate {
    fn new(state: Availability) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(state),
            looks: AtomicUsize::new(0),
            overruled: AtomicUsize::new(0),
        })
    }

    fn ready() -> Arc<Self> {
        Self::new(Availability::Ready)
    }

    fn out(reason: Reason) -> Arc<Self> {
        Self::new(Availability::out(reason, None))
    }

    /// Out for `reason`, after a failure at `failed`.
    fn failed(reason: Reason, failed: Instant) -> Arc<Self> {
        Self::new(Availability::Out {
            reason,
            until: None,
            failed: Some(failed),
        })
    }

    fn set(&self, state: Availability) {
        *self.state.lock().unwrap() = state;
    }
}

impl Available for Gate {
    fn availability(&self, _: &Query<'_>) -> Availability {
        self.looks.fetch_add(1, Ordering::Relaxed);
        *self.state.lock().unwrap()
    }

    fn overruled(&self, _: &Query<'_>) {
        self.overruled.fetch_add(1, Ordering::Relaxed);
    }
}

/// A body of some frames that says only at `None` that it has ended.
#[derive(Debug)]
struct Frames(VecDeque<&'static str>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let frame = self.0.pop_front();
        Poll::Ready(frame.map(|text| Ok(Frame::data(text.into()))))
    }
}

type Upstream = BoxCloneSyncService<Request<RequestBody>, Response<Full<Bytes>>, Failed>;

/// A service that answers with the name of its endpoint.
fn echo(name: &'static str) -> Upstream {
    BoxCloneSyncService::new(service_fn(move |_| {
        future::ready(Ok(Response::new(Full::from(name))))
    }))
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name, format!("http://{name}.example").parse().unwrap())
}

fn id(name: &str) -> EndpointId {
    endpoint(name).id()
}

fn member(endpoint: Endpoint, gate: &Arc<Gate>) -> Member {
    Member::new(Arc::new(endpoint), [gate.clone() as Arc<dyn Available>])
}

fn balance<S>(members: impl IntoIterator<Item = (Member, S)>) -> Balance<S> {
    Balance::new(members, Arc::new(RoundRobin::default()), Config::default())
}

/// A balancer over one endpoint for each gate: `a`, `b`, `c`, …
fn over(gates: &[&Arc<Gate>]) -> Balance<Upstream> {
    let names = ["a", "b", "c", "d", "e"];
    balance(
        names
            .into_iter()
            .zip(gates)
            .map(|(name, gate)| (member(endpoint(name), gate), echo(name))),
    )
}

fn visit() -> Visit {
    Visit::new(Exchange::new(RequestId::random()))
}

fn request(visit: &Visit) -> Request<RequestBody> {
    let mut request = Request::new(RequestBody::empty());
    request.extensions_mut().insert(visit.clone());
    request
}

async fn answer(balance: &Balance<Upstream>, visit: &Visit) -> Result<String, BoxError> {
    let response = balance.clone().oneshot(request(visit)).await?;
    let body = response.into_body().collect().await?.to_bytes();
    Ok(String::from_utf8(body.to_vec())?)
}

async fn chosen(balance: &Balance<Upstream>) -> String {
    answer(balance, &visit()).await.unwrap()
}

async fn refusal(balance: &Balance<Upstream>, visit: &Visit) -> NoEndpoint {
    let error = answer(balance, visit).await.unwrap_err();
    *error.downcast::<NoEndpoint>().unwrap()
}

fn in_flight<S>(balance: &Balance<S>) -> Vec<u32> {
    let members = balance.members();
    members.iter().map(|m| m.load().in_flight()).collect()
}

fn facts(change: impl FnOnce(&mut Facts)) -> Visit {
    let mut facts = Facts::default();
    change(&mut facts);
    let visit = visit();
    visit.exchange.set_facts(facts);
    visit
}

// ===== who is left out =====

// SEL-17, RTY-14
#[tokio::test(start_paused = true)]
async fn whoever_is_out_is_left_out_for_each_reason() {
    for reason in Reason::ALL {
        let balance = over(&[&Gate::out(reason), &Gate::ready()]);
        for _ in 0..3 {
            assert_eq!(chosen(&balance).await, "b", "{reason}");
        }
    }
}

// ACC-01, SEL-17
#[tokio::test(start_paused = true)]
async fn a_request_goes_only_where_its_dialect_is_spoken() {
    let apis = [
        ("a", Api::Anthropic),
        ("o", Api::OpenAi),
        ("g", Api::Gemini),
    ];
    let balance = balance(apis.map(|(name, api)| {
        let member = Member::new(Arc::new(endpoint(name).with_api(api)), []);
        (member, echo(name))
    }));
    for (dialect, name) in [
        (Dialect::Anthropic, "a"),
        (Dialect::Chat, "o"),
        (Dialect::Gemini, "g"),
    ] {
        let visit = facts(|facts| facts.dialect = Some(dialect));
        for _ in 0..3 {
            assert_eq!(answer(&balance, &visit).await.unwrap(), name);
        }
    }
}

// ACC-02
#[tokio::test(start_paused = true)]
async fn responses_are_served_by_both_kinds_of_openai_endpoint() {
    let of = |names: &'static [&'static str]| {
        balance(names.iter().map(|name| {
            let api = match *name {
                "openai" => Api::OpenAi,
                "responses" => Api::OpenAiResponses,
                _ => Api::Anthropic,
            };
            (
                Member::new(Arc::new(endpoint(name).with_api(api)), []),
                echo(name),
            )
        }))
    };
    let visit = facts(|facts| facts.dialect = Some(Dialect::Responses));
    let both = of(&["anthropic", "openai", "responses"]);
    let mut seen = HashSet::new();
    for _ in 0..4 {
        seen.insert(answer(&both, &visit).await.unwrap());
    }
    assert_eq!(
        seen,
        HashSet::from(["openai".to_owned(), "responses".to_owned()])
    );
    let alone = of(&["anthropic", "openai"]);
    assert_eq!(answer(&alone, &visit).await.unwrap(), "openai");
    let none = refusal(&of(&["anthropic"]), &visit).await;
    assert!(none.reasons().only(Reason::Dialect));
}

// ACC-04
#[tokio::test(start_paused = true)]
async fn every_route_is_balanced_alike() {
    let balance = over(&[&Gate::ready(), &Gate::out(Reason::Open)]);
    let routes = Dialect::ALL.into_iter().map(Some).chain([None]);
    for dialect in routes {
        let visit = facts(|facts| facts.dialect = dialect);
        assert_eq!(answer(&balance, &visit).await.unwrap(), "a", "{dialect:?}");
        let choice = visit.exchange.choice().unwrap();
        assert_eq!(choice.endpoint.unwrap().id(), id("a"));
    }
}

// SEL-17
#[tokio::test(start_paused = true)]
async fn a_model_that_is_not_served_leaves_the_endpoint_out() {
    let members = [
        ("a", endpoint("a").with_models(["claude-*"])),
        ("b", endpoint("b")),
    ];
    let balance =
        balance(members.map(|(name, endpoint)| (Member::new(Arc::new(endpoint), []), echo(name))));
    let visit = facts(|facts| facts.model = Some("gpt-5".into()));
    for _ in 0..3 {
        assert_eq!(answer(&balance, &visit).await.unwrap(), "b");
    }
}

// SEL-17
#[tokio::test(start_paused = true)]
async fn an_excluded_endpoint_is_not_used_again_even_if_preferred() {
    let balance = over(&[&Gate::ready(), &Gate::ready()]);
    let mut visit = visit();
    visit.excluded.insert(id("a"));
    visit.preferred = Some(Preferred::soft(id("a")));
    for _ in 0..3 {
        assert_eq!(answer(&balance, &visit).await.unwrap(), "b");
    }
    let passed_over = Fate::PassedOver {
        reason: Reason::Excluded,
        until: None,
    };
    assert_eq!(
        visit.exchange.choice().unwrap().preference,
        Some(passed_over)
    );
}

// SEL-17
#[tokio::test(start_paused = true)]
async fn the_first_gate_that_is_out_gives_the_reason() {
    let gates = [
        Gate::ready(),
        Gate::out(Reason::AuthFailed),
        Gate::out(Reason::Open),
    ];
    let gates = gates.map(|gate| gate as Arc<dyn Available>);
    let balance = balance([(Member::new(Arc::new(endpoint("a")), gates), echo("a"))]);
    let none = refusal(&balance, &visit()).await;
    assert!(none.reasons().only(Reason::AuthFailed));
}

// SEL-04
#[tokio::test(start_paused = true)]
async fn state_is_read_again_before_each_visit() {
    let (a, b) = (Gate::ready(), Gate::ready());
    let balance = over(&[&a, &b]);
    let mut visit = visit();
    assert_eq!(answer(&balance, &visit).await.unwrap(), "a");
    // `b` fails after the first choice of this request and before its second.
    b.set(Availability::out(Reason::AuthFailed, None));
    visit.excluded.insert(id("a"));
    visit.number = 2;
    let none = refusal(&balance, &visit).await;
    assert_eq!(none.reasons().get(Reason::Excluded), 1);
    assert_eq!(none.reasons().get(Reason::AuthFailed), 1);
}

// SEL-05
#[tokio::test(start_paused = true)]
async fn no_new_call_goes_to_an_endpoint_after_its_first_401() {
    let gate = Gate::ready();
    let calls = Arc::new(AtomicUsize::new(0));
    let late = Arc::new(AtomicUsize::new(0));
    let refuses = {
        let (gate, calls, late) = (gate.clone(), calls.clone(), late.clone());
        service_fn(move |_: Request<RequestBody>| {
            let (gate, calls, late) = (gate.clone(), calls.clone(), late.clone());
            // The part before the first await runs in the call itself.
            calls.fetch_add(1, Ordering::Relaxed);
            if *gate.state.lock().unwrap() != Availability::Ready {
                late.fetch_add(1, Ordering::Relaxed);
            }
            async move {
                tokio::task::yield_now().await;
                gate.set(Availability::out(Reason::AuthFailed, None));
                Err::<Response<Full<Bytes>>, _>(Failed::new(Verdict::new(Kind::Auth)))
            }
        })
    };
    let answers = Arc::new(AtomicUsize::new(0));
    let answering = {
        let answers = answers.clone();
        service_fn(move |_: Request<RequestBody>| {
            answers.fetch_add(1, Ordering::Relaxed);
            future::ready(Ok(Response::new(Full::from("b"))))
        })
    };
    let balance = balance([
        (
            member(endpoint("a"), &gate),
            BoxCloneSyncService::new(refuses),
        ),
        (
            member(endpoint("b"), &Gate::ready()),
            BoxCloneSyncService::new(answering),
        ),
    ]);
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let balance = balance.clone();
        tasks.spawn(async move {
            let refused = answer(&balance, &visit()).await.is_err();
            if refused {
                let mut second = visit();
                second.excluded.insert(id("a"));
                answer(&balance, &second).await.unwrap();
            }
            refused
        });
    }
    let refused = tasks.join_all().await.into_iter().filter(|r| *r).count();
    assert_eq!(refused, calls.load(Ordering::Relaxed));
    assert_eq!(answers.load(Ordering::Relaxed), 100);
    // All are under way before the first 401; a second wave meets none.
    for _ in 0..100 {
        assert_eq!(chosen(&balance).await, "b");
    }
    assert_eq!(refused, calls.load(Ordering::Relaxed));
    assert_eq!(late.load(Ordering::Relaxed), 0);
    assert_eq!(in_flight(&balance), [0, 0]);
}

// SEL-19
#[tokio::test(start_paused = true)]
async fn each_selection_is_logged_with_all_it_depends_on() {
    let logs = Logs::capture();
    let balance = over(&[&Gate::ready(), &Gate::out(Reason::Open)]);
    assert_eq!(chosen(&balance).await, "a");
    let selection = logs.with("selecting an endpoint");
    assert_eq!(selection.len(), 1);
    assert!(selection[0].starts_with("DEBUG"), "{selection:?}");
    assert!(selection[0].contains("candidates=1"), "{selection:?}");
    let members = logs.with("DEBUG member");
    assert_eq!(members.len(), 2);
    for (line, name) in members.iter().zip(["a", "b"]) {
        let endpoint = format!("endpoint={}", id(name));
        assert!(line.contains(&endpoint), "{line}");
        assert!(line.contains("gates=[Gate"), "{line}");
        let healthy = format!("is_healthy={}", name == "a");
        assert!(line.contains(&healthy), "{line}");
    }
    let choice = &logs.with("selected an endpoint")[0];
    assert!(choice.contains(&id("a").to_string()), "{choice}");

    let nobody = over(&[&Gate::out(Reason::Disabled)]);
    refusal(&nobody, &visit()).await;
    assert_eq!(logs.with("selected none").len(), 1);
}

// ===== tiers and preferences =====

// BAL-01
#[tokio::test(start_paused = true)]
async fn tiers_come_before_the_policy() {
    let degraded = Gate::new(Availability::Degraded);
    let ready = Gate::ready();
    let open = Gate::out(Reason::Open);
    let balance = Balance::new(
        [
            (member(endpoint("a").with_priority(1), &degraded), echo("a")),
            (member(endpoint("b").with_priority(2), &ready), echo("b")),
            (member(endpoint("c").with_priority(0), &open), echo("c")),
        ],
        Arc::new(Priority::default()),
        Config::default(),
    );
    assert_eq!(chosen(&balance).await, "b");
    ready.set(Availability::out(Reason::Cooling, None));
    assert_eq!(chosen(&balance).await, "a");
    degraded.set(Availability::out(Reason::Cooling, None));
    assert_eq!(chosen(&balance).await, "c");
}

// BAL-05
#[tokio::test(start_paused = true)]
async fn the_next_request_returns_to_an_endpoint_that_recovered() {
    let main = Gate::ready();
    let backup = endpoint("b").with_priority(2);
    let balance = Balance::new(
        [
            (member(backup, &Gate::ready()), echo("b")),
            (member(endpoint("a"), &main), echo("a")),
        ],
        Arc::new(Priority::default()),
        Config::default(),
    );
    assert_eq!(chosen(&balance).await, "a");
    main.set(Availability::out(Reason::Open, None));
    assert_eq!(chosen(&balance).await, "b");
    main.set(Availability::Ready);
    assert_eq!(chosen(&balance).await, "a");
}

// AFF-01
#[tokio::test(start_paused = true)]
async fn a_preference_is_honoured_if_the_endpoint_may_be_used() {
    let gate = Gate::ready();
    let balance = over(&[&Gate::ready(), &gate]);
    let mut visit = visit();
    visit.preferred = Some(Preferred::soft(id("b")));
    let fate = |visit: &Visit| visit.exchange.choice().unwrap().preference;
    for state in [Availability::Ready, Availability::Degraded] {
        gate.set(state);
        for _ in 0..3 {
            assert_eq!(answer(&balance, &visit).await.unwrap(), "b");
            assert_eq!(fate(&visit), Some(Fate::Honoured));
        }
    }

    let until = Some(time::now() + Duration::from_secs(9));
    gate.set(Availability::out(Reason::Cooling, until));
    assert_eq!(answer(&balance, &visit).await.unwrap(), "a");
    let passed_over = Fate::PassedOver {
        reason: Reason::Cooling,
        until,
    };
    assert_eq!(fate(&visit), Some(passed_over));

    visit.preferred = Some(Preferred::soft(id("nobody")));
    answer(&balance, &visit).await.unwrap();
    assert_eq!(fate(&visit), Some(Fate::Gone));
    visit.preferred = None;
    answer(&balance, &visit).await.unwrap();
    assert_eq!(fate(&visit), None);
}

// AFF-20
#[tokio::test(start_paused = true)]
async fn a_preferred_endpoint_that_is_full_is_passed_over() {
    let full = endpoint("a").with_max_in_flight(1);
    let members = [("a", full), ("b", endpoint("b"))];
    let balance =
        balance(members.map(|(name, endpoint)| (Member::new(Arc::new(endpoint), []), echo(name))));
    let mut visit = visit();
    visit.preferred = Some(Preferred::soft(id("a")));
    let held = balance.clone().oneshot(request(&visit)).await.unwrap();
    assert_eq!(answer(&balance, &visit).await.unwrap(), "b");
    let full = Fate::PassedOver {
        reason: Reason::Full,
        until: None,
    };
    assert_eq!(visit.exchange.choice().unwrap().preference, Some(full));
    drop(held);
    assert_eq!(answer(&balance, &visit).await.unwrap(), "a");
}

// ===== the owner of what a request names =====

async fn lost(balance: &Balance<Upstream>, visit: &Visit) -> OwnerUnavailable {
    let error = answer(balance, visit).await.unwrap_err();
    *error.downcast::<OwnerUnavailable>().unwrap()
}

fn owned_by(name: &str) -> Visit {
    let mut visit = visit();
    visit.preferred = Some(Preferred::hard(id(name), None));
    visit
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn what_one_endpoint_owns_is_asked_of_nobody_else() {
    let gate = Gate::ready();
    let balance = over(&[&Gate::ready(), &gate]);
    let visit = owned_by("b");
    for state in [Availability::Ready, Availability::Degraded] {
        gate.set(state);
        for _ in 0..3 {
            assert_eq!(answer(&balance, &visit).await.unwrap(), "b");
            let choice = visit.exchange.choice().unwrap();
            assert_eq!(choice.preference, Some(Fate::Owned));
        }
    }

    let until = Some(time::now() + Duration::from_secs(9));
    for reason in [
        Reason::Open,
        Reason::Disabled,
        Reason::Cooling,
        Reason::Queued,
    ] {
        gate.set(Availability::out(reason, until));
        let lost = lost(&balance, &visit).await;
        assert_eq!(lost.endpoint(), id("b"));
        assert_eq!(lost.name().map(|name| &**name), Some("b"));
        assert_eq!((lost.reason(), lost.until()), (Some(reason), until));
        assert_eq!(in_flight(&balance), [0, 0]);
    }

    let gone = lost(&balance, &owned_by("nobody")).await;
    assert_eq!(gone.endpoint(), id("nobody"));
    assert_eq!((gone.name(), gone.reason()), (None, None));
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn an_owner_that_is_full_or_excluded_is_replaced_by_nobody() {
    let full = endpoint("a").with_max_in_flight(1);
    let members = [("a", full), ("b", endpoint("b"))];
    let balance =
        balance(members.map(|(name, endpoint)| (Member::new(Arc::new(endpoint), []), echo(name))));
    let mut visit = owned_by("a");
    let held = balance.clone().oneshot(request(&visit)).await.unwrap();
    assert_eq!(lost(&balance, &visit).await.reason(), Some(Reason::Full));
    drop(held);
    assert_eq!(answer(&balance, &visit).await.unwrap(), "a");
    visit.excluded.insert(id("a"));
    assert_eq!(
        lost(&balance, &visit).await.reason(),
        Some(Reason::Excluded)
    );
}

/// A gate that lets only requests for one credential through.
#[derive(Debug)]
struct Only(&'static str);

impl Available for Only {
    fn availability(&self, query: &Query<'_>) -> Availability {
        match query.credential {
            Some(name) if name == self.0 => Availability::Ready,
            _ => Availability::out(Reason::Cooling, None),
        }
    }
}

// AFF-19
#[tokio::test(start_paused = true)]
async fn gates_are_asked_about_the_credential_of_the_owner() {
    let member = Member::new(Arc::new(endpoint("a")), [Arc::new(Only("first")) as _]);
    let balance = balance([(member, echo("a"))]);
    let mut visit = visit();
    visit.preferred = Some(Preferred::hard(id("a"), Some("first".into())));
    assert_eq!(answer(&balance, &visit).await.unwrap(), "a");
    visit.preferred = Some(Preferred::hard(id("a"), Some("second".into())));
    assert_eq!(lost(&balance, &visit).await.reason(), Some(Reason::Cooling));
}

// ===== last resort =====

fn ago(seconds: u64) -> Instant {
    time::now() - Duration::from_secs(seconds)
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn the_last_resort_is_the_one_that_failed_least_recently() {
    let balance = over(&[
        &Gate::failed(Reason::Open, ago(10)),
        &Gate::failed(Reason::Queued, ago(30)),
        &Gate::failed(Reason::Probing, ago(20)),
        &Gate::failed(Reason::Cooling, ago(40)),
        &Gate::failed(Reason::AuthFailed, ago(50)),
    ]);
    assert_eq!(chosen(&balance).await, "b");
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn limited_disabled_and_refused_endpoints_are_no_last_resort() {
    for reason in Reason::ALL {
        let balance = over(&[&Gate::out(reason)]);
        let tried = answer(&balance, &visit()).await.is_ok();
        let merely_failing = matches!(reason, Reason::Open | Reason::Probing | Reason::Queued);
        assert_eq!(tried, merely_failing, "{reason}");
    }
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn the_breaker_is_told_to_admit_the_last_resort_and_nobody_else() {
    let gate = Gate::out(Reason::Open);
    let service = service_fn(|request: Request<RequestBody>| {
        let admission = request.extensions().get::<Visit>().unwrap().admission;
        let text = format!("{admission:?}");
        future::ready(Ok(Response::new(Full::from(text))))
    });
    let balance = balance([(
        member(endpoint("a"), &gate),
        BoxCloneSyncService::new(service),
    )]);
    assert_eq!(chosen(&balance).await, "LastResort");
    gate.set(Availability::Ready);
    let mut again = visit();
    again.admission = Admission::LastResort;
    assert_eq!(answer(&balance, &again).await.unwrap(), "Normal");
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn one_request_at_a_time_is_a_last_resort_until_its_body_ends() {
    let balance = over(&[&Gate::out(Reason::Open), &Gate::out(Reason::Open)]);
    let response = balance.clone().oneshot(request(&visit())).await.unwrap();
    let none = refusal(&balance, &visit()).await;
    assert_eq!(none.reasons().get(Reason::Open), 2);
    // The answer ends: the place is free, though the body is still there.
    let mut body = response.into_body();
    body.frame().await.unwrap().unwrap();
    chosen(&balance).await;
    drop(body);
    chosen(&balance).await;
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn a_cancelled_last_resort_gives_its_place_back() {
    let stalls = BoxCloneSyncService::new(service_fn(|_: Request<RequestBody>| future::pending()));
    let balance = balance([(member(endpoint("a"), &Gate::out(Reason::Open)), stalls)]);
    for _ in 0..3 {
        let mut waiting = spawn(balance.clone().oneshot(request(&visit())));
        assert_pending!(waiting.poll());
        assert!(answer(&balance, &visit()).await.is_err());
        drop(waiting);
        assert_eq!(in_flight(&balance), [0]);
    }
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn with_refuse_nobody_tries() {
    let members = [(member(endpoint("a"), &Gate::out(Reason::Open)), echo("a"))];
    let config = Config::default().with_last_resort(LastResort::Refuse);
    let balance = Balance::new(members, Arc::new(Priority::default()), config);
    let none = refusal(&balance, &visit()).await;
    assert!(none.reasons().only(Reason::Open));
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn what_a_policy_declines_is_no_reason_for_a_last_resort() {
    #[derive(Debug)]
    struct Never;
    impl BalancePolicy for Never {
        fn pick<'a>(&self, _: &Parts, _: Candidates<'a>) -> Option<Candidate<'a>> {
            None
        }
    }
    let members = [
        (member(endpoint("a"), &Gate::ready()), echo("a")),
        (member(endpoint("b"), &Gate::out(Reason::Open)), echo("b")),
    ];
    let balance = Balance::new(members, Arc::new(Never), Config::default());
    let none = refusal(&balance, &visit()).await;
    assert!(none.reasons().only(Reason::Open));
}

// ===== nobody =====

// RTY-14
#[tokio::test(start_paused = true)]
async fn nobody_is_answered_with_every_reason_counted_and_the_earliest_end() {
    let until = |seconds| Some(time::now() + Duration::from_secs(seconds));
    let out = |reason, until| Gate::new(Availability::out(reason, until));
    let balance = over(&[
        &out(Reason::Cooling, until(90)),
        &out(Reason::Cooling, until(20)),
        &out(Reason::Disabled, None),
        &out(Reason::Marked, until(40)),
    ]);
    let none = refusal(&balance, &visit()).await;
    assert_eq!(none.reasons().get(Reason::Cooling), 2);
    assert_eq!(none.reasons().get(Reason::Disabled), 1);
    assert_eq!(none.reasons().get(Reason::Marked), 1);
    assert_eq!(none.reasons().total(), 4);
    assert_eq!(none.until(), until(20));
}

// RTY-14
#[tokio::test(start_paused = true)]
async fn a_balancer_of_nobody_answers_so() {
    let visit = visit();
    let none = refusal(&over(&[]), &visit).await;
    assert_eq!((none.reasons().total(), none.until()), (0, None));
    assert!(visit.exchange.choice().unwrap().endpoint.is_none());
}

// XPL-01
#[tokio::test(start_paused = true)]
async fn the_record_names_who_was_left_out_and_counts_the_others_exactly() {
    let members = (0..40).map(|number| {
        let endpoint = endpoint(&format!("e{number}"));
        (member(endpoint, &Gate::out(Reason::Disabled)), echo("e"))
    });
    let record = |visit: &Visit| -> VisitRecord {
        let record = visit.exchange.seal(time::now()).unwrap();
        record.visits[0].clone()
    };
    let nobody = balance(members);
    let first = visit();
    first.exchange.note(Event::VisitBegan, time::now());
    let none = refusal(&nobody, &first).await;
    assert_eq!(none.reasons().get(Reason::Disabled), 40);
    let seen = record(&first);
    assert_eq!(seen.left_out.len(), NAMED_LEFT_OUT);
    assert_eq!(
        seen.others.get(Reason::Disabled),
        40 - NAMED_LEFT_OUT as u32
    );
    assert!(seen.endpoint.is_none());

    let second = visit();
    second.exchange.note(Event::VisitBegan, time::now());
    let balance = over(&[
        &Gate::out(Reason::Marked),
        &Gate::new(Availability::Degraded),
    ]);
    answer(&balance, &second).await.unwrap();
    let seen = record(&second);
    let name = |left: &LeftOut| (left.endpoint.id(), left.reason);
    assert_eq!(
        seen.left_out.iter().map(name).collect::<Vec<_>>(),
        [(id("a"), Reason::Marked)]
    );
    assert_eq!(seen.others.total(), 0);
    assert_eq!(seen.endpoint.unwrap().id(), id("b"));
    assert_eq!(seen.tier, Some(Tier::Degraded));
}

// ===== places =====

// BAL-04
#[tokio::test(start_paused = true)]
async fn a_full_endpoint_is_left_out_until_an_answer_has_ended() {
    let full = endpoint("a").with_max_in_flight(2);
    let balance = balance([(Member::new(Arc::new(full), []), echo("a"))]);
    let one = balance.clone().oneshot(request(&visit())).await.unwrap();
    let two = balance.clone().oneshot(request(&visit())).await.unwrap();
    assert_eq!(in_flight(&balance), [2]);
    let none = refusal(&balance, &visit()).await;
    assert!(none.reasons().only(Reason::Full));
    drop(one);
    assert_eq!(chosen(&balance).await, "a");
    drop(two);
    assert_eq!(in_flight(&balance), [0]);
}

/// A policy that loses the last place of its pick to another request, `races` times.
#[derive(Debug)]
struct Loses {
    balance: Mutex<Option<Balance<Upstream>>>,
    races: AtomicUsize,
    asked: AtomicUsize,
    taken: Mutex<Vec<load::InFlight>>,
}

impl BalancePolicy for Loses {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        let candidate = candidates.iter().next()?;
        self.asked.fetch_add(1, Ordering::Relaxed);
        let lose = |left: usize| left.checked_sub(1);
        let races = self
            .races
            .try_update(Ordering::Relaxed, Ordering::Relaxed, lose);
        if races.is_ok() {
            let balance = self.balance.lock().unwrap().clone().unwrap();
            let rival = balance.members()[candidate.slot()].enter();
            self.taken.lock().unwrap().extend(rival);
        }
        Some(candidate)
    }
}

fn losing(races: usize) -> (Balance<Upstream>, Arc<Loses>) {
    let policy = Arc::new(Loses {
        balance: Mutex::default(),
        races: AtomicUsize::new(races),
        asked: AtomicUsize::new(0),
        taken: Mutex::default(),
    });
    let members = ["a", "b", "c", "d", "e"].map(|name| {
        let endpoint = endpoint(name).with_max_in_flight(1);
        (Member::new(Arc::new(endpoint), []), echo(name))
    });
    let balance = Balance::new(members, policy.clone(), Config::default());
    *policy.balance.lock().unwrap() = Some(balance.clone());
    (balance, policy)
}

// BAL-04
#[tokio::test(start_paused = true)]
async fn a_policy_that_lost_the_last_place_is_asked_again_three_times() {
    let (balance, policy) = losing(3);
    assert_eq!(chosen(&balance).await, "d");
    assert_eq!(policy.asked.load(Ordering::Relaxed), 4);

    let (balance, policy) = losing(4);
    let none = refusal(&balance, &visit()).await;
    assert_eq!(policy.asked.load(Ordering::Relaxed), 4);
    // The fifth had room, but the policy was not to be asked for ever.
    assert_eq!(none.reasons().get(Reason::Full), 5);
    policy.balance.lock().unwrap().take();
}

type Mock = mock::Mock<Request<RequestBody>, Response<Frames>>;
type Handle = mock::Handle<Request<RequestBody>, Response<Frames>>;

fn mocked() -> (Balance<Mock>, Handle) {
    let (service, handle) = mock::pair();
    let member = Member::new(Arc::new(endpoint("a").with_max_in_flight(1)), []);
    (balance([(member, service)]), handle)
}

// ACC-09
#[tokio::test(start_paused = true)]
async fn a_visit_that_is_dropped_gives_its_place_back_at_every_point() {
    let (mut balance, mut handle) = mocked();
    handle.allow(0);

    // Before it was polled.
    let visiting = balance.call(request(&visit()));
    assert_eq!(in_flight(&balance), [1]);
    drop(visiting);
    assert_eq!(in_flight(&balance), [0]);

    // While the service is not ready.
    let mut visiting = spawn(balance.call(request(&visit())));
    assert_pending!(visiting.poll());
    assert_eq!(in_flight(&balance), [1]);
    drop(visiting);
    assert_eq!(in_flight(&balance), [0]);

    // While the answer is awaited.
    handle.allow(9);
    let mut visiting = spawn(balance.call(request(&visit())));
    assert_pending!(visiting.poll());
    assert_ready!(spawn(handle.next_request()).poll()).unwrap();
    assert_eq!(in_flight(&balance), [1]);
    drop(visiting);
    assert_eq!(in_flight(&balance), [0]);

    // With the answer there, before, in the middle and at the end of its body.
    for frames in 0..=2 {
        let mut visiting = spawn(balance.call(request(&visit())));
        assert_pending!(visiting.poll());
        let (_, send) = assert_ready!(spawn(handle.next_request()).poll()).unwrap();
        send.send_response(Response::new(Frames(VecDeque::from(["one", "two"]))));
        let mut body = assert_ready!(visiting.poll()).unwrap().into_body();
        drop(visiting);
        for _ in 0..frames {
            body.frame().await.unwrap().unwrap();
        }
        assert_eq!(in_flight(&balance), [1]);
        if frames == 2 {
            assert!(body.frame().await.is_none());
            assert_eq!(in_flight(&balance), [0]);
        }
        drop(body);
        assert_eq!(in_flight(&balance), [0]);
    }
}

// ACC-09
#[tokio::test(start_paused = true)]
async fn a_failed_visit_gives_its_place_back_before_its_future_is_dropped() {
    let (mut balance, mut handle) = mocked();
    let mut visiting = spawn(balance.call(request(&visit())));
    assert_pending!(visiting.poll());
    let (_, send) = assert_ready!(spawn(handle.next_request()).poll()).unwrap();
    send.send_error("down");
    assert!(assert_ready!(visiting.poll()).is_err());
    assert_eq!(in_flight(&balance), [0]);
    assert_eq!(balance.members()[0].load().latency(time::now()), None);
}

// BAL-02
#[tokio::test(start_paused = true)]
async fn the_latency_is_the_time_to_the_answer() {
    let slow = service_fn(|_: Request<RequestBody>| async {
        tokio::time::sleep(Duration::from_millis(700)).await;
        Ok(Response::new(Full::from("slow")))
    });
    let balance = balance([(
        member(endpoint("a"), &Gate::ready()),
        BoxCloneSyncService::new(slow),
    )]);
    assert_eq!(chosen(&balance).await, "slow");
    let latency = balance.members()[0].load().latency(time::now()).unwrap();
    assert_eq!(latency.as_millis(), 700);
}

// ===== membership, size, contract =====

// SEL-03
#[tokio::test(start_paused = true)]
async fn a_replaced_membership_keeps_the_load_and_lets_open_answers_end() {
    let before = endpoint("a").with_max_in_flight(1);
    let load = Load::new();
    let with_load = |endpoint| Member::new(Arc::new(endpoint), []).with_load(load.clone());
    let balance = balance([(with_load(before.clone()), echo("before"))]);
    let open = balance.clone().oneshot(request(&visit())).await.unwrap();
    balance.replace([(with_load(before), echo("after"))]);
    assert_eq!(in_flight(&balance), [1]);
    assert!(
        refusal(&balance, &visit())
            .await
            .reasons()
            .only(Reason::Full)
    );
    assert_eq!(
        open.into_body().collect().await.unwrap().to_bytes(),
        "before"
    );
    assert_eq!(chosen(&balance).await, "after");
}

// BAL-02
#[tokio::test(start_paused = true)]
async fn p2c_looks_at_a_few_of_ten_thousand_and_finds_the_only_one() {
    let usual = Gate::ready();
    let single = Gate::ready();
    let members = (0..10_000).map(|number| {
        let gate = if number == 7_777 { &single } else { &usual };
        (member(endpoint(&format!("e{number}")), gate), echo("e"))
    });
    let policy = Arc::new(PowerOfTwo::with_seed(13));
    let balance = Balance::new(members, policy, Config::default());
    let mut seen = HashSet::new();
    for _ in 0..1_000 {
        let visit = visit();
        answer(&balance, &visit).await.unwrap();
        seen.insert(visit.exchange.choice().unwrap().endpoint.unwrap().id());
    }
    assert!(seen.len() > 900, "{} different ones", seen.len());
    let looks = usual.looks.load(Ordering::Relaxed) + single.looks.load(Ordering::Relaxed);
    assert!(looks <= 2_010, "{looks} looks for 1,000 choices");

    usual.set(Availability::out(Reason::Open, None));
    let visit = visit();
    answer(&balance, &visit).await.unwrap();
    let choice = visit.exchange.choice().unwrap();
    assert_eq!(choice.endpoint.unwrap().id(), id("e7777"));
}

// XPL-03
#[tokio::test(start_paused = true)]
async fn a_ready_first_choice_looks_at_nobody_else() {
    let (first, second) = (Gate::ready(), Gate::out(Reason::Open));
    let backup = endpoint("b").with_priority(2);
    let members = [
        (member(endpoint("a"), &first), echo("a")),
        (member(backup, &second), echo("b")),
    ];
    let balance = Balance::new(members, Arc::new(Priority::default()), Config::default());
    assert_eq!(chosen(&balance).await, "a");
    assert_eq!(first.looks.load(Ordering::Relaxed), 1);
    assert_eq!(second.looks.load(Ordering::Relaxed), 0);
}

// RTY-08
#[tokio::test(start_paused = true)]
async fn a_second_opinion_that_ends_well_overrules_the_first_endpoint() {
    let (a, b) = (Gate::ready(), Gate::ready());
    let overruled = || [&a, &b].map(|gate| gate.overruled.load(Ordering::Relaxed));
    let status = Arc::new(Mutex::new(Ok(StatusCode::BAD_REQUEST)));
    let service = {
        let status = status.clone();
        service_fn(move |_: Request<RequestBody>| {
            let answer = status.lock().unwrap().map(|status| {
                let mut response = Response::new(Full::<Bytes>::from("b"));
                *response.status_mut() = status;
                response
            });
            future::ready(answer.map_err(|kind| Failed::new(Verdict::new(kind))))
        })
    };
    let members = [
        (member(endpoint("a"), &a), service.clone()),
        (member(endpoint("b"), &b), service),
    ];
    let balance = balance(members);
    let mut visit = visit();
    visit.excluded.insert(id("a"));
    visit.contested = Some(id("a"));
    let _ = balance.clone().oneshot(request(&visit)).await;
    *status.lock().unwrap() = Err(Kind::InvalidRequest);
    let _ = balance.clone().oneshot(request(&visit)).await;
    assert_eq!(overruled(), [0, 0]);
    *status.lock().unwrap() = Ok(StatusCode::OK);
    let _ = balance.clone().oneshot(request(&visit)).await;
    assert_eq!(overruled(), [1, 0]);
    visit.contested = None;
    let _ = balance.clone().oneshot(request(&visit)).await;
    assert_eq!(overruled(), [1, 0]);
}

// EMB-01
#[tokio::test(start_paused = true)]
async fn it_works_alone_over_a_plain_service() {
    let service = service_fn(|request: Request<RequestBody>| async move {
        Ok::<_, Infallible>(Response::new(request.into_body()))
    });
    let balance = balance([(Member::new(Arc::new(endpoint("a")), []), service)]);
    let request = Request::new(RequestBody::from("hello"));
    let response = balance.oneshot(request).await.unwrap();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    assert_eq!(body, "hello");
}

// EMB-02
#[tokio::test(start_paused = true)]
async fn an_endpoint_is_ready_before_it_is_called_and_balance_always_is() {
    let (mock, mut handle) = mock::pair();
    handle.allow(0);
    let member = Member::new(Arc::new(endpoint("a")), []);
    let mut balance = balance([(member, mock)]);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(balance.poll_ready(&mut cx).is_ready());
    let mut visiting = spawn(balance.clone().call(request(&visit())));
    assert_pending!(visiting.poll());
    handle.allow(1);
    assert!(visiting.is_woken());
    assert_pending!(visiting.poll());
    let (_, send) = assert_ready!(spawn(handle.next_request()).poll()).unwrap();
    send.send_response(Response::new(Full::<Bytes>::from("a")));
    assert!(assert_ready!(visiting.poll()).is_ok());
}

// EMB-03
#[test]
fn a_policy_is_an_object() {
    fn object(_: &dyn BalancePolicy) {}
    object(&Priority::default());
    fn shared<T: Clone + Send + Sync + 'static>() {}
    shared::<Balance<Upstream>>();
}
