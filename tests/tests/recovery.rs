//! Endpoints that failed, and how they come back: checks and queue through the whole stack.

use std::convert::Infallible;
use std::io;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Full};
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Api, Endpoint, Endpoints};
use qcc_core::facts::Dialect;
use qcc_core::failover::{Builder, Failover, NotChecked};
use qcc_core::llm::LlmProbe;
use qcc_core::recovery::{self, Check, Outcome, Validity};
use qcc_core::simulate::{Behaviour, Script, Simulator};
use qcc_core::store::Memory;
use qcc_core::time::{self, Duration, Instant, SystemTime, WallClock};
use qcc_core::token::{Pool, Tier, TokenState};
use qcc_tests::harness::{Ask, World, endpoints};
use tokio::task::JoinSet;
use tower::{ServiceExt as _, service_fn};

const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

/// The three endpoints, all of one API.
fn world(api: Api, set: impl FnOnce(Builder) -> Builder) -> World {
    World::of(endpoints().map(|endpoint| endpoint.with_api(api)), set)
}

fn anthropic() -> World {
    world(Api::Anthropic, |builder| builder)
}

/// Runs the recovery of `world`, and lets it look around.
async fn recovery(world: &World) -> JoinSet<Infallible> {
    let task = beside(world.failover.recovery(LlmProbe::default()));
    tick().await;
    task
}

/// Runs `task` until the test drops it.
fn beside(task: impl Future<Output = Infallible> + Send + 'static) -> JoinSet<Infallible> {
    let mut tasks = JoinSet::new();
    tasks.spawn(task);
    tasks
}

/// Lets the others run.
async fn tick() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn ask() -> Ask {
    Ask::whole(Dialect::Anthropic).without_session()
}

async fn check(world: &World, name: &str) -> Result<Arc<Check>, NotChecked> {
    let id = world.endpoint(name).endpoint().id();
    let checks = world.failover.checks(LlmProbe::default());
    checks.check(id).await
}

/// Why an endpoint is in the queue.
fn cause(world: &World, name: &str) -> Option<String> {
    let member = world.endpoint(name).status().recovery.member?;
    Some(member.cause.to_string())
}

/// What was logged.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Log {
    fn listen(&self) -> tracing::subscriber::DefaultGuard {
        // While there is one dispatcher only, the thread that comes to a callsite first decides
        // whether it is ever of interest: another test, which does not listen.
        static SECOND: LazyLock<tracing::Dispatch> = LazyLock::new(|| {
            let nowhere = tracing_subscriber::fmt().with_writer(io::sink).finish();
            tracing::Dispatch::new(nowhere)
        });
        LazyLock::force(&SECOND);
        let log = self.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .without_time()
            .with_max_level(tracing::Level::INFO)
            .with_writer(move || log.clone())
            .finish();
        tracing::subscriber::set_default(subscriber)
    }

    fn with(&self, text: &str) -> Vec<String> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let all = String::from_utf8_lossy(&bytes).into_owned();
        let lines = all.lines().filter(|line| line.contains(text));
        lines.map(str::to_owned).collect()
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

// ===== what a request finds out, and what only a check does =====

// PRB-08, CLS-13
#[tokio::test(start_paused = true)]
async fn a_200_with_an_error_or_without_a_body_is_found_out_by_the_first_request() {
    // A failure that calls the request bad is held against nobody.
    for (fault, refused, failed) in [
        ("status:200;code=authentication_error", true, 1),
        ("status:200;shape=bare;message=API key is disabled", true, 1),
        ("status:200;shape=bare;message=What: {prompt}", false, 0),
        ("status:200;message=What: {prompt}", false, 1),
        ("empty", false, 1),
        ("html", false, 1),
    ] {
        let world = anthropic();
        let _recovery = recovery(&world).await;
        world.set("a", fault);
        let seen = world.send(&ask()).await;
        assert!(seen.is_answer(), "{fault}: {}", seen.text());
        assert_eq!(world.calls(), [1, 1, 0], "{fault}");
        tick().await;
        assert_eq!(cause(&world, "a").is_some(), refused, "{fault}");

        // And by a check.
        let found = check(&world, "a").await.unwrap();
        assert!(!found.is_valid(), "{fault}");
        assert_eq!(found.status.unwrap(), 200, "{fault}");
        assert!(found.is_invalid_answer(), "{fault}");
        let status = world.endpoint("a").status();
        assert!(status.queued && !status.is_healthy, "{fault}");
        let counts = (status.total, status.failed);
        assert_eq!(counts, (1, failed), "{fault}: a check is no request");
        assert!(world.send(&ask()).await.is_answer());
        assert_eq!(world.calls(), [2, 2, 0], "{fault}");
    }
}

// PRB-08, PRB-11, REC-01, REC-04, REC-05, REC-07, REC-09
#[tokio::test(start_paused = true)]
async fn a_plausible_answer_is_found_out_by_the_first_check_and_traffic_returns_once_it_is_mended()
{
    for api in [
        Api::Anthropic,
        Api::OpenAi,
        Api::OpenAiResponses,
        Api::Gemini,
    ] {
        let dialect = match api {
            Api::Anthropic => Dialect::Anthropic,
            Api::OpenAi => Dialect::Chat,
            Api::OpenAiResponses => Dialect::Responses,
            _ => Dialect::Gemini,
        };
        let ask = Ask::whole(dialect).without_session();
        let world = world(api, |builder| builder);
        let _recovery = recovery(&world).await;
        world.script(
            "a",
            Script::new(Behaviour::Ok).with_text("你好！有什么可以帮您？"),
        );
        assert!(world.send(&ask).await.is_answer());
        assert_eq!(world.calls(), [1, 0, 0], "{api}: no request finds out");

        let found = check(&world, "a").await.unwrap();
        assert_eq!(
            (found.outcome, found.validity),
            (Outcome::Answered, Validity::Invalid)
        );
        assert_eq!(found.content, "你好！有什么可以帮您？", "{api}");
        assert_eq!(cause(&world, "a").unwrap(), "invalid response (no code)");
        let status = world.endpoint("a").status();
        assert!(status.queued && !status.is_healthy);
        assert_eq!(status.status.as_str(), "unhealthy");
        assert_eq!(
            status.breaker.state.as_str(),
            "closed",
            "a check opens none"
        );

        // The story of a request.
        let seen = world.send(&ask).await;
        assert!(seen.is_answer());
        assert_eq!(world.calls(), [2, 1, 0], "{api}");
        let left_out = &seen.record.unwrap().visits[0].left_out;
        assert_eq!(&**left_out[0].endpoint.name(), "a");
        assert_eq!(left_out[0].reason.as_str(), "queued");

        // It stays for as long as it answers like that.
        tokio::time::sleep(MINUTE + SECOND).await;
        assert_eq!(world.calls(), [3, 1, 0], "{api}: checked after a minute");
        assert_eq!(cause(&world, "a").unwrap(), "invalid response (no code)");
        let member = world.endpoint("a").status().recovery.member.unwrap();
        assert_eq!(member.checks, 1);
        assert!(world.send(&ask).await.is_answer());
        assert_eq!(world.calls(), [3, 2, 0], "{api}");

        world.set("a", "echo");
        tokio::time::sleep(MINUTE * 2).await;
        assert_eq!(cause(&world, "a"), None, "{api}");
        assert!(world.send(&ask).await.is_answer());
        assert_eq!(world.calls(), [5, 2, 0], "{api}: the next request uses it");
        let status = world.endpoint("a").status();
        assert!(status.is_healthy);
        assert_eq!(
            (status.status.as_str(), status.consecutive_failures),
            ("healthy", 0)
        );
        let counts = status.recovery.counts;
        assert_eq!((counts.failed, counts.verified), (1, 3));
        assert_eq!((counts.recovered, counts.still_failed), (1, 1));
    }
}

/// One endpoint, `a`, whose answers are the caller's.
fn answering<F>(answer: F) -> (Failover<impl qcc_core::upstream::Upstream>, Endpoint)
where
    F: Fn(Request<Bytes>) -> String + Clone + Send + Sync + 'static,
{
    let endpoint = endpoints().next().unwrap().with_api(Api::Anthropic);
    let upstream = service_fn(move |request: Request<RequestBody>| {
        let answer = answer.clone();
        async move {
            let (head, body) = request.into_parts();
            let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
            let text = answer(Request::from_parts(head, body));
            let block = serde_json::json!({ "content": [{ "type": "text", "text": text }] });
            Ok::<_, io::Error>(Response::new(Full::<Bytes>::from(block.to_string())))
        }
    });
    let all = Endpoints::try_from_iter([endpoint.clone()]).unwrap();
    let failover = Failover::builder(all).llm().build(|_| upstream.clone());
    (failover, endpoint)
}

/// The last message of a request.
fn prompt(request: &Request<Bytes>) -> String {
    let body: serde_json::Value = serde_json::from_slice(request.body()).unwrap();
    body["messages"][0]["content"].as_str().unwrap().to_owned()
}

// PRB-06, PRB-09
#[tokio::test(start_paused = true)]
async fn an_upstream_that_repeats_what_it_is_sent_does_not_pass() {
    let (failover, endpoint) = answering(|request| prompt(&request));
    let checks = failover.checks(LlmProbe::default());
    let found = checks.check(endpoint.id()).await.unwrap();
    assert!(found.is_invalid_answer());
    assert_eq!(found.error.as_deref(), Some("repeats the question"));
}

// PRB-15
#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_out_of_a_cache_passes_once_at_most() {
    let cache = Arc::new(Mutex::new(None::<String>));
    let asked = Arc::new(AtomicU64::new(0));
    let (failover, endpoint) = answering({
        let asked = asked.clone();
        move |request| {
            asked.fetch_add(1, Ordering::Relaxed);
            let right = prompt(&request).rsplit('：').next().unwrap().to_owned();
            cache.lock().unwrap().get_or_insert(right).clone()
        }
    });
    let checks = failover.checks(LlmProbe::default());
    assert!(checks.check(endpoint.id()).await.unwrap().is_valid());
    for _ in 0..3 {
        assert!(
            checks
                .check(endpoint.id())
                .await
                .unwrap()
                .is_invalid_answer()
        );
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
}

// PRB-14, PRB-16, EMB-01
#[tokio::test(start_paused = true)]
async fn a_check_is_one_request_with_the_credential_and_is_recorded_with_all_there_is_to_know() {
    let world = anthropic();
    world.set("a", "slow:686ms");
    world.set("a", "echo");
    let found = check(&world, "a").await.unwrap();
    assert!(found.is_valid());
    assert_eq!(world.calls(), [1, 0, 0]);
    let sent = world.simulator.last_request("a").unwrap();
    assert_eq!(sent.uri().path(), "/v1/messages");
    assert_eq!(sent.headers()["x-api-key"], "sk-test-a");
    assert_eq!(sent.headers()["authorization"], "Bearer sk-test-a");
    assert_eq!(sent.headers()["x-request-id"], found.id.to_string());
    assert_eq!(prompt(&sent), found.message);
    assert!(found.message.ends_with(found.code.as_str()));
    assert_eq!(found.content, found.code.as_str());
    assert_eq!((found.status.unwrap().as_u16(), found.score), (200, 100));
    assert_eq!(found.error, None);
    let last = world.endpoint("a").status().recovery.last.unwrap();
    assert_eq!(last.id, found.id);
    assert_eq!(world.records().len(), 0, "it is no request of a client");
}

// PRB-10, PRB-22, BRK-04
#[tokio::test(start_paused = true)]
async fn whatever_a_check_meets_has_an_outcome_and_opens_no_breaker() {
    for (fault, outcome) in [
        ("status:401", Outcome::AuthFailed),
        ("status:403", Outcome::AuthFailed),
        ("status:403;shape=bare", Outcome::AuthFailed),
        ("status:429", Outcome::RateLimited),
        ("status:500", Outcome::Failed),
        ("status:529", Outcome::Failed),
        ("status:404", Outcome::Failed),
        ("refuse", Outcome::Failed),
        ("reset", Outcome::Failed),
        ("hang", Outcome::Timeout),
        ("truncated", Outcome::Failed),
    ] {
        let world = anthropic();
        world.set("a", fault);
        let start = time::now();
        for _ in 0..4 {
            match check(&world, "a").await {
                Ok(found) => {
                    assert_eq!(found.outcome, outcome, "{fault}");
                    assert!(!found.is_valid() && found.error.is_some(), "{fault}");
                }
                Err(error) => panic!("{fault}: {error}"),
            }
        }
        let took = time::now() - start;
        let expected = if fault == "hang" {
            MINUTE * 2
        } else {
            Duration::ZERO
        };
        assert_eq!(took, expected, "{fault}");
        let status = world.endpoint("a").status();
        assert_eq!(status.breaker.state.as_str(), "closed", "{fault}");
        assert_eq!(status.breaker.failures, 0, "{fault}");
        assert_eq!(status.total, 0, "{fault}");
        let refused = outcome == Outcome::AuthFailed;
        assert_eq!(status.auth_failed, refused, "{fault}");
    }
}

// SEL-16
#[tokio::test(start_paused = true)]
async fn a_check_that_meets_a_limit_makes_the_endpoint_second_choice_for_a_minute() {
    let world = anthropic();
    world.set("a", "status:429");
    check(&world, "a").await.unwrap();
    world.set("a", "ok");
    let status = world.endpoint("a").status();
    assert_eq!(status.status.as_str(), "degraded");
    assert!(status.enabled && status.out.is_none());
    assert!(world.send(&ask()).await.is_answer());
    assert_eq!(world.calls(), [1, 1, 0]);
    tokio::time::sleep(MINUTE).await;
    assert!(world.send(&ask()).await.is_answer());
    assert_eq!(world.calls(), [2, 1, 0]);
}

// ===== the queue =====

// REC-01, REC-06, REC-07, SEL-13, SEL-15
#[tokio::test(start_paused = true)]
async fn a_refusal_that_was_kept_is_in_the_queue_from_the_start_and_a_check_ends_it_for_good() {
    let store = Arc::new(Memory::new());
    let start = || world(Api::Anthropic, |builder| builder.keep_in(store.clone()));
    let before = start();
    before.set("a", "status:401");
    assert!(before.send(&ask()).await.is_answer());
    drop(before);

    let after = start();
    after.set("a", "echo");
    let looking_after = recovery(&after).await;
    assert_eq!(cause(&after, "a").as_deref(), Some("HTTP 401"));
    let due = after.endpoint("a").status().recovery.member.unwrap().next;
    assert_eq!(
        due,
        Some(time::now() + MINUTE * 30 - Duration::from_millis(1))
    );
    assert!(after.send(&ask()).await.is_answer());
    assert_eq!(after.calls(), [0, 1, 0], "no request goes there");

    tokio::time::sleep(MINUTE * 30).await;
    assert_eq!(cause(&after, "a"), None);
    assert!(after.send(&ask()).await.is_answer());
    assert_eq!(after.calls(), [2, 1, 0], "the check and a request");
    drop((looking_after, after));

    let third = start();
    let _looking_after = recovery(&third).await;
    assert_eq!(cause(&third, "a"), None);
    assert!(!third.endpoint("a").status().auth_failed);
}

// REC-02, REC-03, REC-06, SEL-13, PRB-19, PRB-20, OPS-11
#[tokio::test(start_paused = true)]
async fn a_refused_endpoint_enters_once_and_comes_back_with_a_check_half_an_hour_later() {
    let log = Log::default();
    let _listening = log.listen();
    let world = anthropic();
    let _recovery = recovery(&world).await;
    world.set("a", "status:401");
    for _ in 0..5 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tick().await;
    let id = world.endpoint("a").endpoint().id();
    let line = format!("Endpoint {id} added to failure queue, reason: HTTP 401");
    assert_eq!(log.with(&line).len(), 1);
    assert_eq!(log.with("failure queue").len(), 1);
    assert_eq!(cause(&world, "a").unwrap(), "HTTP 401");

    // Still refused.
    tokio::time::sleep(MINUTE * 30 + SECOND).await;
    assert_eq!(world.calls(), [2, 5, 0]);
    assert!(world.endpoint("a").status().auth_failed);
    let refused = log.with("endpoint not verified");
    assert_eq!(refused.len(), 1);
    assert!(refused[0].contains("WARN") && refused[0].contains("valid=false"));

    // Without the code.
    world.set("a", "ok");
    tokio::time::sleep(MINUTE * 30).await;
    assert!(
        world.endpoint("a").status().auth_failed,
        "a 200 is not enough"
    );
    let invalid = log.with("recognised as invalid endpoint");
    assert_eq!(invalid.len(), 1);
    for part in [
        &*id.to_string(),
        "WARN",
        "valid=false",
        "content=",
        "health_check=true",
    ] {
        assert!(invalid[0].contains(part), "{part}: {}", invalid[0]);
    }
    assert!(!invalid[0].contains("success"), "{}", invalid[0]);

    // Mended.
    world.set("a", "echo");
    tokio::time::sleep(MINUTE * 30).await;
    assert!(world.send(&ask()).await.is_answer());
    assert_eq!(world.calls(), [5, 5, 0]);
    let status = world.endpoint("a").status();
    assert!(status.enabled && status.is_healthy && !status.queued);
    let token = world.endpoint("a").tokens().snapshot(time::now())[0].clone();
    assert_eq!(token.state, TokenState::Active);
    let verified = log.with("endpoint verified");
    assert_eq!(verified.len(), 1);
    let last = status.recovery.last.unwrap();
    for part in [
        &*id.to_string(),
        "ms=0",
        "score=100",
        &*format!("question={:?}", last.message),
        &*format!("content={:?}", last.content),
        "valid=true",
        "health_check=true",
    ] {
        assert!(verified[0].contains(part), "{part}: {}", verified[0]);
    }
    for line in log.with("failure queue") {
        assert!(line.contains("health_check=true"), "{line}");
    }
}

// PRB-20
#[tokio::test(start_paused = true)]
async fn an_empty_answer_is_logged_as_one() {
    let log = Log::default();
    let _listening = log.listen();
    let world = anthropic();
    world.set("a", "empty");
    check(&world, "a").await.unwrap();
    let lines = log.with("recognised as invalid endpoint");
    assert_eq!(lines.len(), 1);
    assert!(lines[0].contains("content=\"(empty)\""), "{}", lines[0]);
}

// REC-04, REC-10, EMB-05
#[tokio::test(start_paused = true)]
async fn a_member_for_its_breaker_alone_leaves_with_the_half_open_request() {
    // Checks come later than the half-open breaker.
    let later = recovery::Config::default().with_intervals(MINUTE * 5, MINUTE * 10);
    let world = world(Api::Anthropic, |builder| builder.recovery(later.unwrap()));
    let _recovery = recovery(&world).await;
    world.set("a", "status:503");
    for _ in 0..3 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tick().await;
    assert_eq!(cause(&world, "a").unwrap(), "breaker opened (overloaded)");
    assert_eq!(world.endpoint("a").status().out.unwrap().0.as_str(), "open");
    world.set("a", "ok");
    tokio::time::sleep(MINUTE).await;
    assert!(world.send(&ask()).await.is_answer());
    assert_eq!(world.calls(), [4, 3, 0], "tried by a request");
    tick().await;
    assert_eq!(cause(&world, "a"), None);
    assert!(world.endpoint("a").status().is_healthy);

    // What an operator does to the breaker is seen, too.
    world.set("a", "status:503");
    for _ in 0..3 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tick().await;
    assert!(world.endpoint("a").status().queued);
    world.endpoint("a").breaker().reset();
    tick().await;
    assert!(!world.endpoint("a").status().queued);
}

// REC-05, REC-07, REC-08, REC-10
#[tokio::test(start_paused = true)]
async fn a_check_closes_the_breaker_once_it_passes_and_changes_nothing_before() {
    // The breaker stays open for longer than the queue waits.
    let open = qcc_core::breaker::Config::default().with_open_times(MINUTE * 20, MINUTE * 20);
    let world = world(Api::Anthropic, |builder| builder.breaker(open.unwrap()));
    let _recovery = recovery(&world).await;
    world.set("a", "status:503");
    for _ in 0..3 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tokio::time::sleep(MINUTE + SECOND).await;
    assert_eq!(world.calls(), [4, 3, 0]);
    let status = world.endpoint("a").status();
    assert_eq!(
        (status.breaker.state.as_str(), status.breaker.failures),
        ("open", 3)
    );
    assert_eq!(status.breaker.remaining, Some(MINUTE * 19 - SECOND));
    assert!(status.queued);
    world.set("a", "echo");
    tokio::time::sleep(MINUTE * 2).await;
    let status = world.endpoint("a").status();
    assert_eq!(
        (status.breaker.state.as_str(), status.breaker.failures),
        ("closed", 0)
    );
    assert!(!status.queued && status.is_healthy && status.out.is_none());
    assert!(world.send(&ask()).await.is_answer());
    assert_eq!(world.calls(), [6, 3, 0]);
}

// REC-07
#[tokio::test(start_paused = true)]
async fn a_failure_that_comes_while_a_check_is_under_way_is_not_wiped_out() {
    let endpoint = endpoints().next().unwrap().with_api(Api::Anthropic);
    let id = endpoint.id();
    // Requests fail at once; a check gets its code, ten seconds later.
    let upstream = service_fn(|request: Request<RequestBody>| async move {
        let (head, body) = request.into_parts();
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        let asked = prompt(&Request::from_parts(head, body));
        let Some((_, code)) = asked.rsplit_once('：') else {
            let mut answer = Response::new(Full::<Bytes>::from("{}"));
            *answer.status_mut() = StatusCode::SERVICE_UNAVAILABLE;
            return Ok::<_, io::Error>(answer);
        };
        tokio::time::sleep(SECOND * 10).await;
        let block = serde_json::json!({ "content": [{ "type": "text", "text": code }] });
        Ok(Response::new(block.to_string().into()))
    });
    let all = Endpoints::try_from_iter([endpoint]).unwrap();
    let failover = Failover::builder(all).llm().build(|_| upstream);
    let breaker = || failover.handle().endpoint(id).unwrap().status().breaker;
    let fail = async || drop(failover.clone().oneshot(ask().request()).await);
    for _ in 0..3 {
        fail().await;
    }
    tokio::time::sleep(MINUTE).await;
    assert_eq!(breaker().state.as_str(), "half_open");
    let checks = failover.checks(LlmProbe::default());
    let (found, ()) = tokio::join!(checks.check(id), async {
        tick().await;
        fail().await;
        assert_eq!(breaker().state.as_str(), "open");
    });
    assert!(found.unwrap().is_valid());
    assert_eq!(
        breaker().state.as_str(),
        "open",
        "it failed after the check began"
    );
    // Without such a failure the next one closes it.
    assert!(checks.check(id).await.unwrap().is_valid());
    assert_eq!(breaker().state.as_str(), "closed");
}

// REC-11
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_was_added_is_looked_after_and_one_that_was_removed_is_not() {
    let world = anthropic();
    let before = recovery(&world).await;
    world.set_all("status:503");
    for _ in 0..3 {
        world.send(&ask()).await;
    }
    tick().await;
    assert!(world.endpoint("a").status().queued);

    // Without `a`, and with `d`.
    let d = Endpoint::new("d", "http://d.sim".parse().unwrap()).with_api(Api::Anthropic);
    world
        .simulator
        .set("d", "status:503".parse::<Behaviour>().unwrap());
    let rest = endpoints().skip(1).map(|one| one.with_api(Api::Anthropic));
    let all = Endpoints::try_from_iter(rest.chain([d])).unwrap();
    let after = Failover::builder(all)
        .llm()
        .continuing(&world.handle)
        .build(|_| world.simulator.clone());
    drop(before);
    let _after = beside(after.recovery(LlmProbe::default()));
    tick().await;
    let queued = |name: &str| after.handle().find(name).map(|one| one.status().queued);
    assert_eq!(queued("a"), None);
    assert_eq!((queued("b"), queued("d")), (Some(true), Some(false)));
    for _ in 0..3 {
        let _ = after.clone().oneshot(ask().request()).await;
    }
    tick().await;
    assert_eq!(queued("d"), Some(true));
    let calls = world.simulator.counts("a").requests;
    world.simulator.set("d", Behaviour::Echo);
    tokio::time::sleep(MINUTE + SECOND).await;
    assert_eq!(queued("d"), Some(false));
    assert_eq!(world.simulator.counts("a").requests, calls);
}

// ===== what checks cost =====

/// The date, as far as the paused clock has come since the start of a day.
#[derive(Debug)]
struct Clock(Instant);

impl WallClock for Clock {
    fn now(&self) -> SystemTime {
        let day = Duration::from_secs(20_000 * 24 * 60 * 60);
        SystemTime::UNIX_EPOCH + day + (time::now() - self.0)
    }
}

// REC-05
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_stays_broken_is_checked_as_often_a_day_as_the_budget_allows() {
    let config = recovery::Config::default().with_daily_budget(20);
    let world = world(Api::Anthropic, |builder| {
        builder.recovery(config).wall_clock(Clock(time::now()))
    });
    let _recovery = recovery(&world).await;
    check(&world, "a").await.unwrap();
    assert!(
        world.endpoint("a").status().queued,
        "it answers without the code"
    );
    tokio::time::sleep(MINUTE * 60 * 23).await;
    assert_eq!(world.calls(), [20, 0, 0]);
    let error = check(&world, "a").await.unwrap_err();
    assert!(matches!(error, NotChecked::BudgetSpent { .. }), "{error}");
    // The next day begins.
    tokio::time::sleep(MINUTE * 61).await;
    assert_eq!(world.calls(), [21, 0, 0]);
    assert_eq!(world.endpoint("a").status().recovery.today, 1);
}

// PRB-21, PRB-22
#[tokio::test(start_paused = true)]
async fn several_endpoints_are_checked_at_a_time_and_each_once_at_a_time() {
    let config = recovery::Config::default().with_concurrency(NonZeroUsize::new(2).unwrap());
    let world = world(Api::Anthropic, |builder| builder.recovery(config));
    world.set_all("hang");
    assert!(world.endpoint("c").disable());
    let ids = ["a", "b", "c"].map(|name| world.endpoint(name).endpoint().id());
    let checks = world.failover.checks(LlmProbe::default());
    let start = time::now();
    let found = checks.check_each(ids).await;
    assert_eq!(time::now() - start, SECOND * 30, "at the same time");
    assert_eq!(found[0].1.as_ref().unwrap().outcome, Outcome::Timeout);
    assert_eq!(found[2].1.as_ref().unwrap_err(), &NotChecked::Disabled);
    assert_eq!(world.calls(), [1, 1, 0]);

    world.set("a", "slow:1s");
    let two = [checks.check(ids[0]), checks.check(ids[0])];
    let start = time::now();
    let [one, other] = two.map(tokio::spawn);
    one.await.unwrap().unwrap();
    assert_eq!((time::now() - start).as_secs(), 1);
    other.await.unwrap().unwrap();
    assert_eq!((time::now() - start).as_secs(), 2, "one after the other");
}

// PRB-21, OPS-07
#[tokio::test(start_paused = true)]
async fn a_check_that_is_given_up_leaves_the_turn_to_the_next() {
    let world = anthropic();
    world.set("a", "hang");
    let checks = world.failover.checks(LlmProbe::default());
    let id = world.endpoint("a").endpoint().id();
    let given_up = tokio::time::timeout(SECOND, checks.check(id)).await;
    assert!(given_up.is_err());
    assert_eq!(world.simulator.counts("a").in_flight, 0);
    world.set("a", "echo");
    assert!(checks.check(id).await.unwrap().is_valid());
    assert_eq!(world.endpoint("a").status().recovery.counts.verified, 1);
    assert_eq!(world.endpoint("a").status().recovery.today, 2);
}

// ===== who is checked with what =====

// PRB-23
#[tokio::test(start_paused = true)]
async fn a_service_that_does_not_chat_recovers_through_the_half_open_breaker_only() {
    let world = anthropic();
    let id = world.endpoint("a").endpoint().id();
    let probe = LlmProbe::default().without([id]);
    let _recovery = beside(world.failover.recovery(probe.clone()));
    world.set("a", "status:503");
    for _ in 0..3 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tick().await;
    assert!(world.endpoint("a").status().queued);
    world.set("a", "ok");
    tokio::time::sleep(MINUTE * 30).await;
    assert_eq!(world.calls(), [3, 3, 0], "nobody checks it");
    assert!(world.send(&ask()).await.is_answer());
    assert_eq!(world.calls(), [4, 3, 0]);
    tick().await;
    assert!(!world.endpoint("a").status().queued);
    let checks = world.failover.checks(probe);
    assert_eq!(checks.check(id).await.unwrap_err(), NotChecked::NotAsked);
}

// SEL-02
#[tokio::test(start_paused = true)]
async fn two_entries_of_one_endpoint_are_checked_once() {
    let twice = endpoints().take(1).flat_map(|one| {
        let again = Endpoint::new("again", one.base_url().clone())
            .with_credential(Credential::new("again", "sk-test-a"));
        [one, again].map(|one| one.with_api(Api::Anthropic))
    });
    let world = World::of(twice, |builder| builder);
    assert_eq!(world.handle.endpoints().duplicates().len(), 1);
    let _recovery = recovery(&world).await;
    world.set("a", "status:503");
    for _ in 0..3 {
        world.send(&ask()).await;
    }
    let calls = world.simulator.counts("a").requests;
    tokio::time::sleep(MINUTE + SECOND).await;
    assert_eq!(world.simulator.counts("a").requests, calls + 1);
}

// SEL-13
#[tokio::test(start_paused = true)]
async fn of_several_refused_credentials_a_check_takes_back_the_one_that_it_used() {
    let base = "http://a.sim".parse().unwrap();
    let endpoint = Endpoint::new("a", base)
        .with_api(Api::Anthropic)
        .with_token_pool();
    let pool = ["one", "two"]
        .into_iter()
        .fold(Pool::default(), |pool, name| {
            let credential = Credential::new(name, format!("sk-test-{name}"));
            pool.with(Tier::Personal, name, Arc::new(credential))
        });
    let simulator = Simulator::new().endpoint("a", "status:401".parse::<Behaviour>().unwrap());
    let id = endpoint.id();
    let failover = Failover::builder(Endpoints::try_from_iter([endpoint]).unwrap())
        .llm()
        .token_pool(id, pool)
        .build(|_| simulator.clone());
    let handle = failover.handle().endpoint(id).unwrap();
    let _ = failover.clone().oneshot(ask().request()).await;
    assert!(handle.status().auth_failed);
    let states = || {
        let tokens = handle.tokens().snapshot(time::now());
        tokens
            .iter()
            .map(|token| token.state.as_str())
            .collect::<Vec<_>>()
    };
    assert_eq!(states(), ["refused", "refused"]);
    simulator.set("a", Behaviour::Echo);
    let checks = failover.checks(LlmProbe::default());
    assert!(checks.check(id).await.unwrap().is_valid());
    assert!(!handle.status().auth_failed);
    assert_eq!(states(), ["active", "refused"]);
}

// BAL-05, BAL-06
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_has_recovered_starts_slowly_whoever_found_it_out() {
    let hour = MINUTE * 60;
    let open = qcc_core::breaker::Config::default().with_open_times(hour, hour);
    let world = world(Api::Anthropic, |builder| builder.breaker(open.unwrap()));
    let _recovery = recovery(&world).await;
    let weight = |world: &World| world.endpoint("a").status().weight.round();
    assert_eq!(weight(&world), 100.0);
    world.set("a", "status:503");
    for _ in 0..3 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tick().await;
    world.set("a", "echo");
    assert!(check(&world, "a").await.unwrap().is_valid());
    assert_eq!(weight(&world), 10.0);
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(weight(&world), 55.0);
    tokio::time::sleep(MINUTE / 2).await;
    assert_eq!(weight(&world), 100.0);
    // A check of an endpoint that was not out changes nothing.
    assert!(check(&world, "a").await.unwrap().is_valid());
    assert_eq!(weight(&world), 100.0);

    world.set("a", "status:503");
    for _ in 0..3 {
        assert!(world.send(&ask()).await.is_answer());
    }
    tick().await;
    world.endpoint("a").breaker().reset();
    tick().await;
    assert_eq!(weight(&world), 10.0);
}

// BAL-06
#[tokio::test(start_paused = true)]
async fn a_weight_follows_the_checks_where_that_is_enabled() {
    for enabled in [false, true] {
        let world = world(Api::Anthropic, |builder| {
            let builder = builder.dynamic_weights(enabled);
            builder.slow_start(Duration::ZERO)
        });
        let weight = |world: &World| world.endpoint("a").status().weight;
        for _ in 0..3 {
            assert!(!check(&world, "a").await.unwrap().is_valid());
        }
        let failing = if enabled { 37.0 } else { 100.0 };
        assert_eq!(weight(&world), failing);
        world.set("a", "echo");
        for _ in 0..20 {
            assert!(check(&world, "a").await.unwrap().is_valid());
        }
        assert_eq!(weight(&world) > 100.0, enabled, "{}", weight(&world));
        assert_eq!(world.endpoint("b").status().weight, 100.0);
    }
}
