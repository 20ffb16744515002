//! The token pool inside the whole stack: what one credential may not, the next one does, and
//! the client sees nothing of it.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use qcc_core::credential::Credential;
use qcc_core::endpoint::Endpoint;
use qcc_core::facts::Dialect;
use qcc_core::record::{Record, SendResult};
use qcc_core::simulate::Behaviour;
use qcc_core::time::{Duration, Instant};
use qcc_core::token::{
    Config, Held, NotRefreshed, Pool, Refresh, SourceId, Tier, TokenSource, TokenState,
};
use qcc_tests::harness::{Ask, DIALECTS, World, visits};
use qcc_tests::source::{Source, files};

/// Fixed tokens, in the order in which they are to be used.
const FIXED: [(Tier, &str); 4] = [
    (Tier::Personal, "Personal-1"),
    (Tier::Personal, "Personal-2"),
    (Tier::Personal, "Personal-3"),
    (Tier::Shared, "Shared-1"),
];

/// The secret of a token in these tests.
fn secret(name: &str) -> String {
    format!("sk-test-{name}")
}

/// A last resort that has to be asked first, like a command.
#[derive(Debug, Default)]
struct Asked {
    held: Arc<Mutex<Option<Credential>>>,
    asked: Arc<AtomicU64>,
    /// What becomes of those who ask.
    fault: Fault,
}

#[derive(Clone, Copy, Debug, Default)]
enum Fault {
    #[default]
    None,
    Fails,
    Panics,
}

impl TokenSource for Asked {
    fn id(&self) -> SourceId {
        SourceId::of(["asked"])
    }

    fn held(&self, _: Instant) -> Held {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.clone().map_or(Held::Stale(None), Held::Fresh)
    }

    fn is_refreshable(&self) -> bool {
        true
    }

    fn refresh(&self) -> Option<Refresh> {
        let (held, asked, fault) = (self.held.clone(), self.asked.clone(), self.fault);
        Some(Box::pin(async move {
            asked.fetch_add(1, Ordering::Relaxed);
            match fault {
                Fault::None => {}
                Fault::Fails => return Err(NotRefreshed::for_now("the command failed")),
                Fault::Panics => panic!("the source is broken"),
            }
            let credential = Credential::new("Anonymous-1", secret("Anonymous-1"));
            *held.lock().unwrap_or_else(PoisonError::into_inner) = Some(credential);
            Ok(())
        }))
    }
}

/// The endpoint `a` with these tokens.
fn pooled(pool: Pool) -> (Endpoint, Pool) {
    let base = "http://a.sim".parse().unwrap();
    (Endpoint::new("a", base).with_token_pool(), pool)
}

fn fixed() -> Pool {
    FIXED
        .into_iter()
        .fold(Pool::new(Config::default()), |pool, (tier, name)| {
            let credential = Credential::new(name, secret(name));
            pool.with(tier, name, Arc::new(credential))
        })
}

fn world(pool: Pool) -> World {
    let (endpoint, pool) = pooled(pool);
    let id = endpoint.id();
    World::of([endpoint], |builder| builder.token_pool(id, pool))
}

/// The same with another endpoint behind it.
fn world_with_another(pool: Pool) -> World {
    let (endpoint, pool) = pooled(pool);
    let id = endpoint.id();
    let other = Endpoint::new("b", "http://b.sim".parse().unwrap())
        .with_credential(Credential::new("b", secret("b")))
        .with_priority(2);
    World::of([endpoint, other], |builder| builder.token_pool(id, pool))
}

/// The credentials of the sends of a record, in their order.
fn used(record: &Record) -> Vec<String> {
    let sends = record.sends();
    sends
        .map(|(_, send)| send.credential.as_deref().unwrap_or("none").to_owned())
        .collect()
}

fn state_of(world: &World, name: &str) -> TokenState {
    let tokens = world.endpoint("a").tokens().snapshot(qcc_core::time::now());
    let token = tokens.into_iter().find(|token| &*token.name == name);
    token.unwrap().state
}

// TOK-05, TOK-06, TOK-08, TOK-12, TOK-13, TOK-14, TOK-16, RTY-05, RTY-09, RTY-13, XPL-01
#[tokio::test(start_paused = true)]
async fn the_quotas_of_all_tokens_are_used_up_tier_by_tier_and_nobody_notices() {
    for dialect in DIALECTS {
        for stream in [false, true] {
            let anonymous = Asked::default();
            let asked = anonymous.asked.clone();
            let world = world(fixed().with(Tier::Anonymous, "Anonymous-1", Arc::new(anonymous)));
            world.set("a", "quota:5");
            let ask = Ask::new(dialect, stream).without_session();
            let mut served = BTreeMap::<String, u32>::new();
            let mut order = Vec::new();
            for number in 1..=25 {
                let seen = world.send(&ask).await;
                assert!(seen.is_answer(), "{dialect} {number}: {}", seen.text());
                let record = seen.record.unwrap();
                assert_eq!(record.attempts(), 1, "a change of credential is none");
                let by = used(&record).pop().unwrap();
                *served.entry(by.clone()).or_default() += 1;
                order.push(by);
                let count = asked.load(Ordering::Relaxed);
                assert_eq!(count, u64::from(number > 20), "{number}");
            }
            assert!(served.values().all(|count| *count == 5), "{served:?}");
            assert_eq!(
                order[..4],
                ["Personal-1", "Personal-2", "Personal-3", "Personal-1"]
            );
            assert!(order[15..20].iter().all(|name| name == "Shared-1"));
            assert!(order[20..].iter().all(|name| name == "Anonymous-1"));
            // The first request after the quotas of a tier went through all that was left of it.
            let changed = used(&world.records()[15]);
            assert_eq!(changed.len(), 4, "{changed:?}");
            assert_eq!(changed[3], "Shared-1");

            let seen = world.send(&ask).await;
            assert_eq!(
                (
                    seen.status.as_u16(),
                    seen.headers["retry-after"].to_str().unwrap()
                ),
                (429, "30")
            );
            for part in ["the 1 credential tried", "The earliest reset is in 30 s"] {
                assert!(seen.text().contains(part), "{part}: {}", seen.text());
            }
            assert_eq!(used(&seen.record.unwrap()), ["Anonymous-1"]);
            let seen = world.send(&ask).await;
            assert_eq!(seen.status, 429);
            assert_eq!(
                seen.json()["error"]["reasons"]["cooling"],
                1,
                "{}",
                seen.text()
            );
        }
    }
}

// TOK-12, TOK-14, TOK-15, RTY-09
#[tokio::test(start_paused = true)]
async fn a_request_tries_every_token_once_and_then_tells_how_many_there_were() {
    let anonymous = Arc::new(Asked::default());
    let world = world(fixed().with(Tier::Anonymous, "Anonymous-1", anonymous));
    world.set("a", "quota:0");
    let seen = world.send(&Ask::streamed(Dialect::Anthropic)).await;
    assert_eq!(seen.status, 429);
    assert!(
        seen.text().contains("all 5 credentials tried"),
        "{}",
        seen.text()
    );
    assert!(seen.text().contains("in 30 s"), "{}", seen.text());
    let record = seen.record.unwrap();
    assert_eq!(
        used(&record),
        [
            "Personal-1",
            "Personal-2",
            "Personal-3",
            "Shared-1",
            "Anonymous-1"
        ]
    );
    assert_eq!(record.attempts(), 1);
    let keys = world.simulator.counts("a").keys;
    assert!(keys.values().all(|count| *count == 1), "{keys:?}");
}

// TOK-08, TOK-17
#[tokio::test(start_paused = true)]
async fn a_normal_call_goes_on_with_the_next_token() {
    for dialect in DIALECTS {
        let world = world(fixed());
        world.set("a", "first:1:status:429");
        let seen = world.send(&Ask::whole(dialect)).await;
        assert!(seen.is_answer(), "{}", seen.text());
        assert_eq!(used(&seen.record.unwrap()), ["Personal-1", "Personal-2"]);
    }
}

// TOK-17, TOK-21
#[tokio::test(start_paused = true)]
async fn a_streamed_call_goes_on_with_the_next_token_before_its_commit_point_and_never_after() {
    for dialect in DIALECTS {
        // A limit under status 200 is one, too.
        for limit in ["status:429", "status:200;code=rate_limit_exceeded"] {
            let world = world(fixed());
            world.set("a", &format!("first:1:{limit}"));
            let ask = Ask::streamed(dialect);
            let seen = world.send(&ask).await;
            assert!(seen.is_answer(), "{dialect} {limit}: {}", seen.text());
            let record = seen.record.unwrap();
            assert_eq!(
                used(&record),
                ["Personal-1", "Personal-2"],
                "{dialect} {limit}"
            );
        }
        let world = world(fixed());
        world.set("a", "cut:10");
        let seen = world.send(&Ask::streamed(dialect)).await;
        assert_eq!(used(&seen.record.unwrap()), ["Personal-1"], "{dialect}");
        let records = world.records();
        let (_, send) = records[0].sends().next().unwrap();
        assert!(matches!(send.result, SendResult::Broken(_)), "{dialect}");
    }
}

// TOK-20
#[tokio::test(start_paused = true)]
async fn a_500_is_the_fault_of_no_token_and_another_endpoint_is_asked() {
    let world = world_with_another(fixed());
    world.set("a", "status:500");
    let seen = world.send(&Ask::whole(Dialect::Chat)).await;
    assert!(seen.is_answer());
    assert_eq!(
        visits(&seen.record.unwrap()),
        "a: first failed server; b: first clean"
    );
    assert_eq!(world.simulator.counts("a").requests, 1);
    for token in world.endpoint("a").tokens().snapshot(qcc_core::time::now()) {
        assert_eq!((token.state, token.failures), (TokenState::Active, 0));
    }
}

// TOK-27, TOK-28
#[tokio::test(start_paused = true)]
async fn three_failures_in_a_row_make_a_token_inactive_for_ten_minutes() {
    let world = world(fixed());
    world.set("a", "status:429;retry-after=1");
    let ask = Ask::whole(Dialect::Responses).without_session();
    for _ in 0..3 {
        assert_eq!(world.send(&ask).await.status, 429);
        tokio::time::advance(Duration::from_secs(2)).await;
    }
    for (_, name) in FIXED {
        assert!(
            matches!(state_of(&world, name), TokenState::Inactive { .. }),
            "{name}"
        );
    }
    world.set("a", "ok");
    assert_eq!(world.send(&ask).await.status, 429, "nobody is asked");
    // By hand, or by time.
    assert_eq!(world.endpoint("a").recover_tokens(Some("Personal-2")), 1);
    let seen = world.send(&ask).await;
    assert_eq!(used(&seen.record.unwrap()), ["Personal-2"]);
    tokio::time::advance(Duration::from_secs(600)).await;
    for expected in ["Personal-3", "Personal-1", "Personal-2"] {
        let seen = world.send(&ask).await;
        assert_eq!(used(&seen.record.unwrap()), [expected]);
    }
}

// TOK-28, SEL-10, SEL-13, RTY-06
#[tokio::test(start_paused = true)]
async fn a_refused_token_waits_for_somebody_and_the_endpoint_for_its_last_one() {
    let world = world_with_another(fixed());
    let good: Vec<_> = ["Personal-3", "b"].map(|name| secret(name).into()).into();
    world.simulator.set("a", Behaviour::Keys(good));
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    let seen = world.send(&ask).await;
    assert_eq!(
        used(&seen.record.unwrap()),
        ["Personal-1", "Personal-2", "Personal-3"]
    );
    let status = world.endpoint("a").status();
    assert!(status.enabled && !status.auth_failed, "one token is left");
    // Time takes nothing back, and nobody asks with them again.
    tokio::time::advance(Duration::from_secs(30 * 24 * 60 * 60)).await;
    let seen = world.send(&ask).await;
    assert_eq!(used(&seen.record.unwrap()), ["Personal-3"]);

    world.set("a", "status:401");
    let seen = world.send(&ask).await;
    assert!(seen.is_answer());
    assert_eq!(used(&seen.record.unwrap()), ["Personal-3", "Shared-1", "b"]);
    let status = world.endpoint("a").status();
    assert!(!status.enabled && status.auth_failed);
    assert_eq!(
        (status.total, status.failed, status.consecutive_failures),
        (3, 1, 1)
    );
    assert_eq!(world.endpoint("a").recover_tokens(None), 4);
    assert!(!world.endpoint("a").status().auth_failed);
}

// SEL-16
#[tokio::test(start_paused = true)]
async fn while_every_token_cools_the_endpoint_is_degraded_until_the_first_is_back() {
    let world = world_with_another(fixed());
    world.set("a", "status:429;retry-after=20");
    let ask = Ask::whole(Dialect::Gemini).without_session();
    let seen = world.send(&ask).await;
    assert_eq!(used(&seen.record.unwrap()).len(), 5);
    let status = world.endpoint("a").status();
    assert_eq!(status.status.as_str(), "degraded");
    assert!(status.enabled && !status.is_healthy);
    let (reason, left) = status.out.unwrap();
    assert_eq!(
        (reason.as_str(), left),
        ("cooling", Some(Duration::from_secs(20)))
    );
    world.set("a", "ok");
    assert_eq!(used(&world.send(&ask).await.record.unwrap()), ["b"]);
    tokio::time::advance(Duration::from_secs(20)).await;
    assert_eq!(
        used(&world.send(&ask).await.record.unwrap()),
        ["Personal-1"]
    );
    assert!(world.endpoint("a").status().is_healthy);
}

// TOK-11, TOK-19
#[tokio::test(start_paused = true)]
async fn an_error_inside_the_pool_leads_to_the_last_resort_and_never_to_a_crash() {
    for fault in [Fault::Fails, Fault::Panics] {
        let broken = Asked {
            fault,
            ..Asked::default()
        };
        let pool = Pool::new(Config::default())
            .with(Tier::Personal, "Personal-1", Arc::new(broken))
            .with(Tier::Anonymous, "Anonymous-1", Arc::new(Asked::default()));
        let world = world(pool);
        let seen = world.send(&Ask::streamed(Dialect::Chat)).await;
        assert!(seen.is_answer(), "{fault:?}: {}", seen.text());
        assert_eq!(used(&seen.record.unwrap()), ["Anonymous-1"], "{fault:?}");
        let tokens = world.endpoint("a").tokens().snapshot(qcc_core::time::now());
        assert_eq!(tokens[0].failures, 1, "{fault:?}");
        assert!(tokens[0].trouble.is_some());
    }
}

// TOK-18, XPL-01
#[tokio::test(start_paused = true)]
async fn every_send_names_the_token_that_it_used_and_no_other_key_arrives() {
    let world = world(fixed());
    let faults = [
        "ok",
        "status:429;retry-after=1",
        "cut:5",
        "reset",
        "status:500",
        "status:400",
        "html",
    ];
    for (number, fault) in faults.into_iter().cycle().take(70).enumerate() {
        world.set("a", fault);
        let ask = Ask::new(DIALECTS[number % 4], number % 3 == 0).without_session();
        world.send(&ask).await;
        tokio::time::advance(Duration::from_secs(61)).await;
    }
    let records = world.records();
    let sends = records.iter().flat_map(|record| record.sends());
    let sent = sends.filter(|(_, send)| !matches!(send.result, SendResult::Refused(_)));
    let mut count = 0;
    for (_, send) in sent {
        let name = send.credential.as_deref().unwrap();
        assert!(FIXED.iter().any(|(_, known)| *known == name), "{name}");
        count += 1;
    }
    assert!(count > 70, "{count}");
    let keys = world.simulator.counts("a").keys;
    let known: Vec<_> = FIXED.iter().map(|(_, name)| secret(name)).collect();
    let is_known = |key: &str| known.iter().any(|known| *known == *key);
    assert!(keys.keys().all(|key| is_known(key)), "{keys:?}");
}

/// Where a secret may be read: to make an id of it, to compare it, to take it out of a text, and
/// to put it into a header.
const READERS: [&str; 5] = [
    "qcc-core/src/credential.rs",
    "qcc-core/src/endpoint/mod.rs",
    "qcc-core/src/token/source.rs",
    "qcc-core/src/token/supply.rs",
    "qcc-core/src/upstream/origin.rs",
];

// TOK-18, SEC-01
#[test]
fn only_the_pool_hands_a_credential_down_and_only_the_way_out_puts_it_into_a_request() {
    let (mut given, mut read, mut ways) = (Vec::new(), Vec::new(), Vec::new());
    for (path, text) in files("qcc-core/src", &["rs"]) {
        let source = Source::new(&path, &text);
        if path.ends_with("/tests.rs") {
            continue;
        }
        let code = source.code();
        let has = |text: &str| code.contains(text);
        if has("visit.credential = ") || has(".extensions_mut()).credential = ") {
            given.push(path.clone());
        }
        if has(".expose()") {
            read.push(path.clone());
        }
        if has("OriginLayer::new(") {
            ways.push(path.clone());
            let [pool, origin] =
                ["TokenPoolLayer::new(", "OriginLayer::new("].map(|layer| code.find(layer));
            assert!(
                pool.is_some() && pool < origin,
                "{path}: the pool stands above the way out"
            );
        }
    }
    assert_eq!(
        given,
        ["qcc-core/src/token/loan.rs", "qcc-core/src/token/round.rs"]
    );
    // A source keeps what it has to send, and nothing above it does.
    read.retain(|path| !READERS.contains(&&**path) && !path.starts_with("qcc-core/src/source/"));
    assert_eq!(read, [""; 0], "these read secrets");
    assert_eq!(ways, ["qcc-core/src/failover/builder.rs"]);
}
