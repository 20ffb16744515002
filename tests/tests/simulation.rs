//! Many clients at once over endpoints whose faults come and go by a seed, in virtual time.
//! Whatever happens, as long as one endpoint is fine every request has its answer, in at most
//! five attempts, and every count is that of the upstreams.

use std::collections::BTreeMap;
use std::sync::Arc;

use http_body_util::BodyExt as _;
use qcc_core::endpoint::Endpoint;
use qcc_core::facts::Dialect;
use qcc_core::record::{Answer, Record, SendResult, Tier};
use qcc_core::retry::Budget;
use qcc_core::time::{self, Duration};
use qcc_tests::harness::{Ask, DIALECTS, ENDPOINTS, End, Seen, World, endpoints};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

const CLIENTS: u32 = 40;
const REQUESTS: u32 = 25;

/// Faults before the commit point; not those that are the caller's, because a bad request has
/// only one second opinion.
const BEFORE: [&str; 19] = [
    "ok",
    "ok",
    "slow:300ms,20ms",
    "refuse",
    "reset",
    "hang",
    "status:401",
    "status:402",
    "status:429;retry-after=2",
    "status:500",
    "status:503",
    "status:503;retry-after=3",
    "status:529",
    "status:200",
    "html",
    "empty",
    "garbage",
    "cut:0",
    "stall:0",
];

/// Faults of streams, before and after it.
const STREAMS: [&str; 5] = ["cut:5", "error:5", "no-end", "truncated", "error:1"];

/// What one request came to.
enum Came {
    To(Seen),
    /// The client gave it up.
    Nothing,
}

fn seed() -> u64 {
    let given = std::env::var("SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("SEED={seed}");
    seed
}

/// No answer is awaited for longer than 5 s, so that a silent endpoint is passed over in time.
fn impatient() -> impl Iterator<Item = Endpoint> {
    endpoints().map(|endpoint| endpoint.with_first_byte(Duration::from_secs(5)))
}

/// `a` and `b` do something else every few seconds, and the operator enables them now and then.
async fn weather(world: Arc<World>, mut random: StdRng) {
    loop {
        for name in ["a", "b"] {
            let fault = if random.random_bool(0.25) {
                STREAMS[random.random_range(0..STREAMS.len())]
            } else {
                BEFORE[random.random_range(0..BEFORE.len())]
            };
            world.set(name, fault);
            if random.random_bool(0.5) {
                let endpoint = world.endpoint(name);
                endpoint.enable();
                endpoint.tokens().clear_limits();
            }
        }
        sleep(Duration::from_millis(random.random_range(200..4_000))).await;
    }
}

async fn client(world: Arc<World>, number: u32, mut random: StdRng) -> Vec<Came> {
    let mut all = Vec::new();
    for _ in 0..REQUESTS {
        sleep(Duration::from_millis(random.random_range(0..20_000))).await;
        let dialect = DIALECTS[random.random_range(0..4)];
        let ask = Ask::new(dialect, random.random_bool(0.5));
        let ask = match random.random_range(0..3) {
            0 => ask.without_session(),
            other => ask.with_session(format!("session-{}-{other}", number % 10)),
        };
        all.push(if random.random_bool(0.1) {
            let patience = Duration::from_millis(random.random_range(0..2_000));
            let read = async {
                let mut body = world.call(&ask).await?.into_body();
                while body.frame().await.is_some() {}
                Ok::<_, qcc_core::error::Error>(())
            };
            let result = timeout(patience, read).await;
            assert!(!matches!(result, Ok(Err(_))), "{result:?}");
            Came::Nothing
        } else {
            Came::To(world.send(&ask).await)
        });
    }
    all
}

/// A request that was not given up: an answer, whole or closed after an interruption.
fn check(seen: &Seen) {
    let record = seen.record.as_ref().expect("a record");
    assert_eq!(seen.status, 200, "{} {record:?}", seen.text());
    assert_eq!(seen.end, End::Clean);
    assert!(seen.error.is_none());
    assert!(record.attempts() <= 5, "{record:?}");
    match record.answer {
        Answer::Relayed { .. } => assert!(!seen.text().contains("interrupted")),
        // Nobody takes an answer back of which the client has seen something.
        Answer::Interrupted { .. } => {
            assert!(record.stream && record.committed.is_some(), "{record:?}");
            let last = record.visits.last().expect("a visit");
            let by = last.endpoint.as_ref().expect("an endpoint").name();
            assert_ne!(&**by, "c", "{record:?}");
        }
        _ => panic!("{record:?}"),
    }
}

/// What the records say of an endpoint: sends, and visits that came to an end, and those of them
/// that are its own or its credential's fault.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sums {
    sends: u64,
    visits: u64,
    failed: u64,
}

fn sums(records: &[impl AsRef<Record>]) -> BTreeMap<String, Sums> {
    let mut all = BTreeMap::<String, Sums>::new();
    for record in records {
        for visit in &record.as_ref().visits {
            let Some(endpoint) = &visit.endpoint else {
                continue;
            };
            let sums = all.entry(endpoint.name().to_string()).or_default();
            let sent = |result: SendResult| !matches!(result, SendResult::Refused(_));
            sums.sends += visit.sends.iter().filter(|send| sent(send.result)).count() as u64;
            match visit.sends.last().map(|send| send.result) {
                Some(SendResult::Clean) => sums.visits += 1,
                Some(SendResult::Failed { .. } | SendResult::Broken(_)) => {
                    sums.visits += 1;
                    sums.failed += 1;
                }
                _ => {}
            }
        }
    }
    all
}

// SEL-04, SEL-05, RTY-01, RTY-09, ACC-09, STR-11
#[tokio::test(start_paused = true)]
async fn while_one_endpoint_is_fine_every_request_has_its_answer_and_every_count_is_true() {
    let mut random = StdRng::seed_from_u64(seed());
    let world = World::of(impatient(), |builder| builder.budget(Budget::unlimited()));
    let world = Arc::new(world);

    let weather = tokio::spawn(weather(
        world.clone(),
        StdRng::seed_from_u64(random.random()),
    ));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS {
        clients.spawn(client(
            world.clone(),
            number,
            StdRng::seed_from_u64(random.random()),
        ));
    }
    let came: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    weather.abort();
    for came in &came {
        if let Came::To(seen) = came {
            check(seen);
        }
    }

    assert_eq!(world.left_over(), []);
    let records = world.records();
    assert_eq!(records.len(), (CLIENTS * REQUESTS) as usize);
    let sums = sums(&records);
    for name in ENDPOINTS {
        let status = world.endpoint(name).status();
        let counts = world.simulator.counts(name);
        let sums = &sums[name];
        assert_eq!(sums.sends, counts.requests, "{name}");
        assert_eq!(sums.visits, status.total, "{name}");
        assert_eq!(sums.failed, status.failed, "{name}");
        assert_eq!(counts.in_flight, 0, "{name}");
    }
    let c = world.state("c");
    assert_eq!((c.failures, c.failed, c.out), (0, 0, None));
    for record in &records {
        let mut visited = Vec::new();
        for visit in &record.visits {
            // RTY-01: nobody is visited twice, and nobody had to be tried in spite of its breaker.
            let endpoint = visit.endpoint.as_ref().expect("c is always there");
            assert!(!visited.contains(&endpoint.id()), "{record:?}");
            visited.push(endpoint.id());
            assert_ne!(visit.tier, Some(Tier::LastResort), "{record:?}");
        }
    }
    let retried = records
        .iter()
        .filter(|record| record.visits.len() > 1)
        .count();
    println!("{retried} of {} went elsewhere", records.len());
    assert!(retried > 20, "{retried}");
}

// SEL-12, SEL-13
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_out_gets_nothing_however_many_ask() {
    let world = World::new();
    world.set("a", "status:401");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    assert!(world.send(&ask).await.is_answer());
    let started = time::now();
    let mut clients = JoinSet::new();
    for _ in 0..500 {
        clients.spawn(world.call(&ask));
    }
    assert!(
        clients
            .join_all()
            .await
            .into_iter()
            .all(|answer| answer.is_ok())
    );
    assert_eq!(world.calls(), [1, 501, 0]);
    assert_eq!(time::now(), started);
}
