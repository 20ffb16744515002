//! What the stack has to show as a whole: refused credentials, broken streams, half-open
//! breakers, sessions.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use qcc_core::balance::RoundRobin;
use qcc_core::body::RequestBody;
use qcc_core::endpoint::Endpoints;
use qcc_core::facts::Dialect;
use qcc_core::failover::Failover;
use qcc_core::simulate::{Behaviour, Script, Simulator};
use qcc_core::time::Duration;
use qcc_tests::harness::{
    Ask, DIALECTS, ENDPOINTS, SESSION, State, Token, World, answer, endpoints, visits,
};
use rand::seq::SliceRandom as _;
use tokio::task::JoinSet;
use tower::{ServiceExt as _, service_fn};

const MILLIS: Duration = Duration::from_millis(1);

// ===== a credential that is refused =====

// SEL-10, SEL-11, SEL-12, SEL-13, SEL-20, RTY-06, XPL-01
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_answers_401_is_asked_once_and_comes_back_when_it_is_enabled() {
    let world = World::new();
    world.set("a", "status:401");
    for number in 0..200 {
        let dialect = DIALECTS[number % 4];
        let ask = Ask::new(dialect, number % 8 < 4).with_session(format!("s-{}", number % 10));
        let seen = world.send(&ask).await;
        assert!(seen.is_answer(), "request {number}: {}", seen.text());
    }
    assert_eq!(world.calls(), [1, 200, 0]);
    let refused = State::untouched().failed(qcc_core::failure::Kind::Auth, None);
    assert_eq!(world.state("a"), refused);
    let status = world.endpoint("a").status();
    assert!(status.operator_enabled && !status.enabled);
    assert_eq!(status.last_failure.unwrap().status.unwrap(), 401);
    assert!(status.average_response.is_some());
    let left_out = &world.records()[1].visits[0].left_out;
    assert!(left_out.iter().any(|one| &**one.endpoint.name() == "a"
        && one.reason.as_str() == "auth_failed"
        && one.until.is_none()));

    // Time alone never brings it back.
    tokio::time::advance(Duration::from_secs(30 * 24 * 60 * 60)).await;
    let free = Ask::whole(Dialect::Anthropic).without_session();
    assert!(world.send(&free).await.is_answer());
    assert_eq!(world.calls(), [1, 201, 0]);

    world.set("a", "ok");
    assert!(world.endpoint("a").enable());
    assert!(!world.endpoint("a").enable());
    assert!(world.send(&free).await.is_answer());
    assert_eq!(world.calls(), [2, 201, 0]);
    let state = world.state("a");
    assert_eq!(
        (state.status, state.is_healthy, state.out),
        ("healthy", true, None)
    );
    assert_eq!(state.token, Token::Active);
}

// SEL-14
#[tokio::test(start_paused = true)]
async fn a_success_that_began_before_the_refusal_does_not_take_it_back() {
    let world = World::new();
    world.set("a", "slow:10s");
    let ask = Ask::whole(Dialect::Chat).without_session();
    let old = async {
        let seen = world.send(&ask).await;
        assert!(seen.is_answer());
        assert_eq!(seen.time.as_secs(), 10);
        assert_eq!(visits(&seen.record.unwrap()), "a: first clean");
    };
    let new = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        world.set("a", "status:401");
        assert!(world.send(&ask).await.is_answer());
    };
    tokio::join!(old, new);
    let state = world.state("a");
    assert!(state.auth_failed && !state.enabled);
    assert_eq!((state.calls, state.total, state.failed), (2, 2, 1));
    assert_eq!(world.calls(), [2, 1, 0]);
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [2, 2, 0]);
}

// SEL-04, SEL-05
#[tokio::test(start_paused = true)]
async fn of_100_concurrent_requests_none_calls_an_endpoint_after_its_first_401() {
    // The network takes its time, so many are under way when the first 401 is known.
    let simulator = Simulator::new()
        .endpoint("a", "status:401".parse::<Behaviour>().unwrap())
        .endpoint("b", Behaviour::Ok);
    let upstream = service_fn({
        let simulator = simulator.clone();
        move |request: Request<RequestBody>| {
            let simulator = simulator.clone();
            async move {
                let answer = simulator.oneshot(request).await;
                tokio::time::sleep(MILLIS * 105).await;
                answer.map_err(io::Error::other)
            }
        }
    });
    let endpoints = Endpoints::try_from_iter(endpoints()).unwrap();
    let failover = Failover::builder(endpoints)
        .llm()
        .build(|_| upstream.clone());
    let mut requests = JoinSet::new();
    for number in 0..100_u32 {
        let failover = failover.clone();
        requests.spawn(async move {
            tokio::time::sleep(MILLIS * 10 * number).await;
            let request = Ask::whole(Dialect::Anthropic).without_session().request();
            failover
                .oneshot(request)
                .await
                .map(|answer| answer.status())
        });
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.unwrap(), 200);
    }
    let status = &failover.handle().status()[0];
    let calls = simulator.counts("a").requests;
    assert_eq!(calls, 11, "those that began before the first 401 was known");
    assert_eq!((status.total, status.failed), (calls, calls));
    assert!(status.auth_failed);
    assert_eq!(simulator.counts("b").requests, 100);
}

// CLI-15
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_disabled_ends_what_it_began() {
    let world = World::new();
    world.set("a", "slow:1s,1s");
    let ask = Ask::streamed(Dialect::Anthropic);
    let disable = async {
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert!(world.endpoint("a").disable());
        assert!(world.send(&ask).await.is_answer());
    };
    let (seen, ()) = tokio::join!(world.send(&ask), disable);
    assert!(seen.is_answer());
    assert_eq!(visits(&seen.record.unwrap()), "a: first clean");
    assert_eq!(world.calls(), [1, 1, 0]);
}

// ===== streams =====

// STR-04, STR-05, STR-08, BRK-02, BRK-12
#[tokio::test(start_paused = true)]
async fn the_third_stream_that_is_cut_opens_the_breaker() {
    for dialect in DIALECTS {
        let world = World::new();
        let ask = Ask::streamed(dialect);
        let script = |behaviour| Script::new(behaviour).with_deltas(20);
        world.script("a", script(Behaviour::Cut(10)));
        for number in 1..=3 {
            let seen = world.send(&ask).await;
            assert_eq!(seen.status, 200);
            let whole = ask.answer_of("a", script(Behaviour::Ok), number).await;
            let body = seen.body();
            let prefix = whole[..10].concat();
            assert_eq!(&body[..prefix.len()], prefix, "{dialect}");
            let closing = String::from_utf8_lossy(&body[prefix.len()..]);
            let events = if dialect == Dialect::Responses { 2 } else { 1 };
            assert_eq!(closing.matches("data: ").count(), events, "{closing}");
            assert!(closing.contains("Stream interrupted"), "{closing}");

            let state = world.state("a");
            assert_eq!(u64::from(state.failures), number, "{dialect}");
            assert_eq!((state.total, state.failed), (number, number));
            assert_eq!(world.left_over(), []);
            let breaker = if number < 3 { "closed" } else { "open" };
            assert_eq!(state.breaker, breaker, "{dialect}");
            let record = seen.record.unwrap();
            assert_eq!(visits(&record), "a: first broken transport");
            assert_eq!(answer(&record), "interrupted 200 transport");
            let (_, send) = record.sends().next().unwrap();
            assert_eq!(send.bytes, prefix.len() as u64);
        }
        assert!(world.send(&ask).await.is_answer());
        assert_eq!(world.calls(), [3, 1, 0]);
    }
}

// STR-08
#[tokio::test(start_paused = true)]
async fn an_interruption_is_logged_once_with_the_bytes_sent() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_writer(move || writer.clone())
        .with_ansi(false)
        .finish();
    let guard = tracing::subscriber::set_default(subscriber);
    let world = World::new();
    world.set("a", "cut:5");
    let ask = Ask::streamed(Dialect::Anthropic);
    let seen = world.send(&ask).await;
    drop(guard);
    let whole = ask.answer_of("a", Behaviour::Ok, 1).await;
    let bytes = format!("bytes={}", whole[..5].concat().len());
    let text = log.text();
    let lines: Vec<_> = text
        .lines()
        .filter(|line| line.contains("interrupted"))
        .collect();
    assert_eq!(lines.len(), 1, "{text}");
    let id = seen.record.unwrap().id.to_string();
    let endpoint = world.endpoint("a").endpoint().id().to_string();
    for part in [&bytes, &id, &endpoint, "WARN", "transient/transport"] {
        assert!(lines[0].contains(part), "{part} in {}", lines[0]);
    }
}

/// What was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn text(&self) -> String {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut log = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        log.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

// STR-10
#[tokio::test(start_paused = true)]
async fn each_event_reaches_the_client_when_it_comes() {
    let world = World::new();
    world.set("a", "slow:200ms,50ms");
    let seen = world.send(&Ask::streamed(Dialect::Anthropic)).await;
    // The first four are held up to the first output; nine come in all.
    let times: Vec<_> = seen
        .pieces
        .iter()
        .map(|(time, _)| time.as_millis())
        .collect();
    assert_eq!(times.first(), Some(&400));
    assert_eq!(times.iter().collect::<BTreeSet<_>>().len(), 6, "{times:?}");
    assert_eq!(times.last(), Some(&650));
}

// BRK-12
#[tokio::test(start_paused = true)]
async fn a_stream_that_ends_well_forgets_those_that_broke() {
    let world = World::new();
    let ask = Ask::streamed(Dialect::Chat).without_session();
    for fault in ["cut:5", "no-end", "ok", "cut:5", "no-end"] {
        world.set("a", fault);
        world.send(&ask).await;
    }
    let state = world.state("a");
    assert_eq!((state.breaker, state.failures), ("closed", 2));
}

// ===== a breaker that is half-open =====

/// Opens the breaker of `a` and waits until it is half-open.
async fn half_open() -> World {
    let world = World::new();
    world.set("a", "status:500");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    for _ in 0..3 {
        assert!(world.send(&ask).await.is_answer());
    }
    assert_eq!(world.state("a").breaker, "open");
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [3, 4, 0]);
    tokio::time::advance(Duration::from_secs(61)).await;
    assert_eq!(world.state("a").breaker, "half_open");
    world
}

// BRK-06, BRK-07, BRK-08, BAL-01
#[tokio::test(start_paused = true)]
async fn of_50_concurrent_requests_exactly_one_probes_a_half_open_endpoint() {
    let world = half_open().await;
    world.set("a", "slow:1s");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    let mut requests = JoinSet::new();
    for _ in 0..50 {
        requests.spawn(world.call(&ask));
    }
    for answer in requests.join_all().await {
        assert_eq!(answer.unwrap().status(), 200);
    }
    assert_eq!(world.calls(), [4, 53, 0]);
    let state = world.state("a");
    assert_eq!((state.breaker, state.failures), ("closed", 0));
}

// BRK-09
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_not_the_endpoint_s_fault_returns_its_slot() {
    for fault in ["status:429;retry-after=1", "status:400"] {
        let world = half_open().await;
        world.set("a", fault);
        let ask = Ask::whole(Dialect::Anthropic).without_session();
        assert!(world.send(&ask).await.is_answer(), "{fault}");
        assert_eq!(world.state("a").breaker, "half_open", "{fault}");
        world.set("a", "ok");
        tokio::time::advance(Duration::from_secs(2)).await;
        assert!(world.send(&ask).await.is_answer());
        assert_eq!(world.state("a").breaker, "closed", "{fault}");
    }
}

// BRK-08
#[tokio::test(start_paused = true)]
async fn a_probe_that_fails_opens_the_breaker_for_twice_as_long() {
    let world = half_open().await;
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    assert!(world.send(&ask).await.is_answer());
    let snapshot = world.endpoint("a").status().breaker;
    assert_eq!(snapshot.state.as_str(), "open");
    let remaining = snapshot.remaining.unwrap().as_secs_f64();
    assert!((108.0..=132.0).contains(&remaining), "{remaining}");
}

// CLS-14
#[tokio::test(start_paused = true)]
async fn a_missing_route_for_counting_tokens_changes_nothing() {
    let world = World::new();
    world.set_all("status:404");
    for _ in 0..5 {
        let mut request = Ask::whole(Dialect::Anthropic).request();
        *request.uri_mut() = "/v1/messages/count_tokens".parse().unwrap();
        let answer = world.failover.clone().oneshot(request).await.unwrap();
        assert_eq!(answer.status(), 404);
    }
    for name in ENDPOINTS {
        let state = world.state(name);
        assert_eq!((state.failures, state.failed, state.out), (0, 0, None));
        assert_eq!(state.models, []);
    }
}

// ===== sessions =====

/// Three endpoints of the same rank, each asked in turn.
fn in_turn() -> World {
    let equal = endpoints().map(|endpoint| endpoint.with_priority(1));
    World::of(equal, |builder| builder.policy(RoundRobin::default()))
}

/// The endpoint that answered.
fn server(record: &qcc_core::record::Record) -> String {
    record.endpoint().unwrap().name().to_string()
}

// AFF-01, AFF-15
#[tokio::test(start_paused = true)]
async fn of_1000_requests_in_100_conversations_every_follow_up_reaches_its_endpoint() {
    let world = in_turn();
    let mut order: Vec<_> = (0..1000).map(|number| number % 100).collect();
    order.shuffle(&mut rand::rng());
    let mut bound = BTreeMap::new();
    for conversation in order {
        let session = format!("conversation-{conversation}");
        let dialect = DIALECTS[conversation % 4];
        let seen = world
            .send(&Ask::whole(dialect).with_session(&session))
            .await;
        assert!(seen.is_answer());
        let server = server(&seen.record.unwrap());
        let known = bound.entry(conversation).or_insert_with(|| server.clone());
        assert_eq!(*known, server, "{session}");
        assert_eq!(world.bound(&session), Some(server));
    }
    let mut shares = BTreeMap::<_, u32>::new();
    for server in bound.values() {
        *shares.entry(server).or_default() += 1;
    }
    assert_eq!(shares.into_values().collect::<Vec<_>>(), [34, 33, 33]);
}

// AFF-16
#[tokio::test(start_paused = true)]
async fn requests_of_one_session_reach_one_endpoint_on_every_route() {
    for dialect in DIALECTS {
        let world = in_turn();
        let mut servers = BTreeSet::new();
        for number in 0..20 {
            let seen = world.send(&Ask::new(dialect, number % 2 == 0)).await;
            servers.insert(server(&seen.record.unwrap()));
        }
        assert_eq!(servers.len(), 1, "{dialect}");
        assert!(world.bound(SESSION).is_some());
    }
}

// AFF-03, AFF-16
#[tokio::test(start_paused = true)]
async fn a_session_in_the_body_of_a_responses_request_is_one_too() {
    for field in [
        r#""prompt_cache_key":"k-1""#,
        r#""conversation":{"id":"k-1"}"#,
        r#""conversation":"k-1""#,
    ] {
        let world = in_turn();
        for _ in 0..9 {
            let body = format!(r#"{{"model":"model-1","input":"hi",{field}}}"#);
            let request = Request::post("/v1/responses")
                .body(RequestBody::from(body))
                .unwrap();
            let answer = world.failover.clone().oneshot(request).await.unwrap();
            assert_eq!(answer.status(), 200);
        }
        let mut calls = world.calls();
        calls.sort_unstable();
        assert_eq!(calls, [0, 0, 9], "{field}");
        assert!(world.bound("k-1").is_some());
    }
}

// AFF-05
#[tokio::test(start_paused = true)]
async fn equal_sessions_of_two_clients_share_no_binding() {
    let world = in_turn();
    for client in ["one", "other"] {
        let mut request = Ask::whole(Dialect::Chat).request();
        let key = format!("Bearer sk-test-{client}").parse().unwrap();
        request.headers_mut().insert("authorization", key);
        assert!(world.failover.clone().oneshot(request).await.is_ok());
    }
    assert_eq!(world.calls(), [1, 1, 0]);
}

// AFF-21
#[tokio::test(start_paused = true)]
async fn a_binding_fails_no_request_that_somebody_else_can_answer() {
    for fault in ["refuse", "status:401", "status:429", "status:503", "html"] {
        let world = World::new();
        let ask = Ask::whole(Dialect::Gemini);
        assert!(world.send(&ask).await.is_answer());
        world.set("a", fault);
        for _ in 0..10 {
            assert!(world.send(&ask).await.is_answer(), "{fault}");
        }
    }
}
