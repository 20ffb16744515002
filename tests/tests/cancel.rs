//! Requests that the client gives up, at every point: everything that was taken comes back, and
//! nothing is counted against anybody.

use std::collections::BTreeMap;

use http_body_util::BodyExt as _;
use qcc_core::balance::Random;
use qcc_core::facts::Dialect;
use qcc_core::record::{Answer, Record};
use qcc_core::time::Duration;
use qcc_tests::harness::{Ask, DIALECTS, ENDPOINTS, Token, World, endpoints};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// How many requests are given up.
const REQUESTS: u32 = 1000;

/// The seed of a run: `SEED` repeats one.
fn seed() -> u64 {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    // Shown with the output of a test that failed.
    println!("SEED={seed}");
    seed
}

/// Where a request was when it was given up.
fn point(record: &Record) -> &'static str {
    let head = record.sends().any(|(_, send)| send.status.is_some());
    match (record.answer, record.committed, head) {
        (Answer::Relayed { .. }, _, _) => "at its end",
        (_, Some(_), _) => "in the middle of the stream",
        (_, None, true) => "while the answer was held",
        (_, None, false) => "before the head",
    }
}

// BRK-11, STR-11, ACC-09
#[tokio::test(start_paused = true)]
async fn of_1000_requests_given_up_at_random_points_nothing_is_left() {
    let mut random = StdRng::seed_from_u64(seed());
    let equal = endpoints().map(|endpoint| endpoint.with_priority(1).with_max_in_flight(900));
    let world = World::of(equal, |builder| builder.policy(Random::default()));
    // Nothing that is a failure before a minute has passed.
    world.set("a", "slow:300ms,50ms");
    world.set("b", "stall:1");
    world.set("c", "stall:5");

    let mut clients = JoinSet::new();
    for number in 0..REQUESTS {
        let dialect = DIALECTS[random.random_range(0..4)];
        let ask = Ask::new(dialect, random.random_bool(0.7))
            .with_session(format!("session-{}", number % 500));
        let call = world.call(&ask);
        let start = Duration::from_millis(random.random_range(0..5_000));
        let short = random.random_bool(0.7);
        let patience = random.random_range(0..if short { 900 } else { 20_000 });
        clients.spawn(async move {
            sleep(start).await;
            let read = async {
                let mut body = call.await.expect("nobody fails").into_body();
                while body.frame().await.is_some() {}
            };
            timeout(Duration::from_millis(patience), read).await.is_ok()
        });
    }
    let ended = clients.join_all().await;
    let finished = ended.into_iter().filter(|finished| *finished).count();

    assert_eq!(world.left_over(), []);
    let records = world.records();
    let mut points = BTreeMap::<_, usize>::new();
    for record in &records {
        *points.entry(point(record)).or_default() += 1;
        assert!(
            matches!(record.answer, Answer::Canceled | Answer::Relayed { .. }),
            "{record:?}"
        );
    }
    // A request that was given up before it began has no record.
    let never = REQUESTS as usize - records.len();
    println!("{points:?}, never begun: {never}");
    assert!(never < 50, "{never}");
    for (point, count) in &points {
        assert!(*count >= 20, "{count} {point}");
    }
    assert_eq!(points.len(), 4, "{points:?}");
    assert_eq!(points["at its end"], finished);

    let mut total = 0;
    let mut calls = 0;
    for name in ENDPOINTS {
        let state = world.state(name);
        assert_eq!((state.breaker, state.failures), ("closed", 0), "{name}");
        assert_eq!((state.failed, state.in_flight), (0, 0), "{name}");
        assert_eq!((state.token, state.token_failures), (Token::Active, 0));
        assert_eq!((state.enabled, state.out), (true, None), "{name}");
        assert!(world.endpoint(name).breaker().last_failure().is_none());
        let counts = world.simulator.counts(name);
        assert_eq!(
            counts.completed + counts.canceled,
            counts.requests,
            "{name}"
        );
        total += state.total;
        calls += counts.requests;
    }
    assert_eq!(total, finished as u64);
    assert_eq!(calls, records.len() as u64);

    // And all of them still answer.
    world.set_all("ok");
    for name in ENDPOINTS {
        for other in ENDPOINTS {
            let handle = world.endpoint(other);
            if other == name {
                handle.enable()
            } else {
                handle.disable()
            };
        }
        assert!(world.send(&Ask::whole(Dialect::Chat)).await.is_answer());
    }
}

/// Opens the breaker of `a` and waits until it is half-open.
async fn half_open(world: &World) {
    world.set("a", "status:500");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    for _ in 0..3 {
        assert!(world.send(&ask).await.is_answer());
    }
    assert_eq!(world.state("a").breaker, "open");
    tokio::time::advance(Duration::from_secs(70)).await;
    assert_eq!(world.state("a").breaker, "half_open");
}

// BRK-11
#[tokio::test(start_paused = true)]
async fn a_probe_that_is_given_up_returns_its_slot_and_records_nothing() {
    let world = World::new();
    half_open(&world).await;
    world.set("a", "hang");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    for number in 1..=100 {
        assert!(
            timeout(Duration::from_millis(number), world.call(&ask))
                .await
                .is_err()
        );
        let state = world.state("a");
        assert_eq!((state.breaker, state.failures), ("half_open", 3));
        assert_eq!((state.calls, state.total), (3 + number, 3));
    }
    world.set("a", "ok");
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.state("a").breaker, "closed");
}

// BRK-11
#[tokio::test(start_paused = true)]
async fn a_late_drop_frees_no_slot_of_a_later_half_open_period() {
    let world = World::new();
    half_open(&world).await;
    world.set("a", "hang");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    let early = tokio::spawn(world.call(&ask));
    sleep(Duration::from_millis(1)).await;
    world.endpoint("a").enable();
    half_open(&world).await;
    world.set("a", "hang");
    let late = tokio::spawn(world.call(&ask));
    sleep(Duration::from_millis(1)).await;
    let calls = world.state("a").calls;

    early.abort();
    assert!(early.await.unwrap_err().is_cancelled());
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.state("a").calls, calls, "the slot is taken");
    late.abort();
    assert!(late.await.unwrap_err().is_cancelled());
    world.set("a", "ok");
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.state("a").calls, calls + 1);
    assert_eq!(world.state("a").breaker, "closed");
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn a_last_resort_that_is_given_up_leaves_its_place() {
    let world = World::new();
    world.set_all("status:500");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    for _ in 0..3 {
        assert_eq!(world.send(&ask).await.status, 500);
    }
    world.set_all("slow:1s");
    for _ in 0..20 {
        assert!(
            timeout(Duration::from_millis(500), world.call(&ask))
                .await
                .is_err()
        );
    }
    assert_eq!(world.left_over(), []);
    for name in ENDPOINTS {
        assert_eq!(world.state(name).breaker, "open", "{name}");
    }
    assert!(world.send(&ask).await.is_answer());
}

// STR-11
#[tokio::test(start_paused = true)]
async fn a_client_that_leaves_in_the_middle_of_a_stream_stops_the_upstream_at_once() {
    for dialect in DIALECTS {
        let world = World::new();
        world.set("a", "stall:5");
        let answer = world.call(&Ask::streamed(dialect)).await.unwrap();
        let mut body = answer.into_body();
        assert!(body.frame().await.unwrap().is_ok());
        assert_eq!(world.state("a").in_flight, 1);
        drop(body);
        assert_eq!(world.left_over(), []);
        let counts = world.simulator.counts("a");
        assert_eq!((counts.canceled, counts.broken), (1, 0));
        assert_eq!(world.state("a").failures, 0);
        assert!(matches!(world.records()[0].answer, Answer::Canceled));
    }
}
