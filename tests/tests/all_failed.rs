//! No endpoint answers: what the client gets, who was asked, and what the next request meets.

use http::header::RETRY_AFTER;
use http::{Request, StatusCode};
use http_body_util::Full;
use qcc_core::balance::LastResort;
use qcc_core::facts::Dialect;
use qcc_core::failure::Kind;
use qcc_core::retry;
use qcc_core::retry::Budget;
use qcc_core::simulate::Behaviour;
use qcc_core::time::{self, Duration};
use qcc_tests::harness::{
    Ask, DIALECTS, ENDPOINTS, SESSION, Seen, State, World, answer, differences, endpoints, visits,
};
use tower::ServiceExt as _;

/// The last answer of a request that nobody answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Last {
    /// What this endpoint said, with this status, unchanged.
    Said(&'static str, u16),
    /// An error of ours with this status and code.
    Ours(u16, &'static str),
    /// An answer that was committed; the matrix has what becomes of it.
    Committed,
}

use Last::{Committed, Ours, Said};

/// A fault of all three: what it is, and the last answer of a request for an answer in one piece
/// and for a stream in each of the dialects.
struct Row {
    fault: &'static str,
    kind: Kind,
    whole: Last,
    streamed: [Last; 4],
}

const fn all(fault: &'static str, kind: Kind, last: Last) -> Row {
    each(fault, kind, last, [last; 4])
}

const fn each(fault: &'static str, kind: Kind, whole: Last, streamed: [Last; 4]) -> Row {
    Row {
        fault,
        kind,
        whole,
        streamed,
    }
}

const FAILED: Last = Ours(502, "upstream_failed");
const REFUSED: Last = Ours(502, "upstream_auth_failed");
const LIMITED: Last = Ours(429, "upstream_rate_limited");
const TIMED_OUT: Last = Ours(504, "upstream_timeout");
const LATE: Last = Ours(504, "deadline_exceeded");

/// A 200 is never relayed, and neither is the refusal of a credential of ours.
const FAULTS: &[Row] = &[
    all("refuse", Kind::Transport, FAILED),
    all("reset", Kind::Transport, FAILED),
    each("hang", Kind::Timeout, LATE, [TIMED_OUT; 4]),
    all("status:400", Kind::InvalidRequest, Said("a", 400)),
    all("status:422", Kind::InvalidRequest, Said("a", 422)),
    all("status:401", Kind::Auth, REFUSED),
    all("status:403", Kind::Auth, REFUSED),
    all("status:402", Kind::Quota, LIMITED),
    all("status:429", Kind::RateLimit, LIMITED),
    all("status:404", Kind::NotFound, Said("c", 404)),
    all("status:500", Kind::Server, Said("c", 500)),
    all("status:502", Kind::Overloaded, Said("c", 502)),
    all("status:503", Kind::Overloaded, Said("c", 503)),
    all("status:529", Kind::Overloaded, Said("c", 529)),
    all("status:200", Kind::Server, FAILED),
    all("status:200;shape=bare", Kind::InvalidRequest, FAILED),
    all("html", Kind::Unknown, FAILED),
    all("empty", Kind::Unknown, FAILED),
    each("truncated", Kind::Unknown, FAILED, [Committed; 4]),
    all("garbage", Kind::Unknown, FAILED),
    all("cut:0", Kind::Unknown, FAILED),
    each("stall:0", Kind::Timeout, LATE, [TIMED_OUT; 4]),
    each("no-end", Kind::Unknown, FAILED, [Committed; 4]),
    each("cut:5", Kind::Unknown, FAILED, [Committed; 4]),
    all("keys:sk-test-valid", Kind::Auth, REFUSED),
    all("echo-prompt", Kind::InvalidRequest, Said("a", 400)),
    all("echo-credential", Kind::Server, Said("c", 500)),
];

fn last(row: &Row, dialect: Dialect, stream: bool) -> Last {
    let place = DIALECTS.iter().position(|one| *one == dialect);
    match (stream, place) {
        (true, Some(place)) => row.streamed[place],
        _ => row.whole,
    }
}

/// How often each endpoint is asked: at most five attempts, of which the quick retry is one; a
/// bad request gets one second opinion; a deadline ends everything.
fn calls(kind: Kind, last: Last) -> [u64; 3] {
    match kind {
        Kind::Transport => [2, 2, 1],
        Kind::InvalidRequest => [1, 1, 0],
        Kind::Timeout if matches!(last, Ours(_, "deadline_exceeded")) => [1, 0, 0],
        _ => [1, 1, 1],
    }
}

/// What is wrong with an error answer of ours.
fn shape(seen: &Seen, dialect: Dialect, status: u16, code: &str) -> Vec<String> {
    let mut problems = Vec::new();
    let json = seen.json();
    let error = &json["error"];
    let mut want = |what: &str, holds: bool| {
        if !holds {
            problems.push(format!("{what}: {}", seen.text()));
        }
    };
    // What the SDK of the dialect makes an exception of.
    let kind = match (dialect, status) {
        (Dialect::Anthropic, 429) => "rate_limit_error",
        (Dialect::Anthropic, 503) => "overloaded_error",
        (Dialect::Anthropic, 504) => "timeout_error",
        (Dialect::Anthropic, _) => "api_error",
        (Dialect::Gemini, 429) => "RESOURCE_EXHAUSTED",
        (Dialect::Gemini, 503) => "UNAVAILABLE",
        (Dialect::Gemini, 504) => "DEADLINE_EXCEEDED",
        (Dialect::Gemini, _) => "INTERNAL",
        (_, 429) => "rate_limit_error",
        (_, 503) => "service_unavailable_error",
        _ => "server_error",
    };
    let nobody = code == "no_available_account";
    match dialect {
        Dialect::Anthropic => {
            want("type", json["type"] == "error");
            want("code", error["code"] == code);
            want(
                "error.type",
                error["type"] == if nobody { code } else { kind },
            );
        }
        Dialect::Gemini => {
            want("code", error["code"] == status);
            want("status", error["status"] == kind);
            want("reason", error["reason"] == code);
        }
        _ => {
            want("code", error["code"] == code);
            want("type", error["type"] == if nobody { code } else { kind });
            want("param", error["param"].is_null());
        }
    }
    let sentence = error["message"].as_str().unwrap_or_default();
    want("message", sentence.ends_with('.'));
    want(
        "request_id",
        error["request_id"]
            .as_str()
            .is_some_and(|id| !id.is_empty()),
    );
    let attempts = error["attempts"].as_array().cloned().unwrap_or_default();
    want("attempts", attempts.is_empty() == nobody);
    for attempt in &attempts {
        let whole = attempt["endpoint"].is_string()
            && attempt["kind"].is_string()
            && attempt["duration_ms"].is_number();
        want("attempt", whole);
    }
    let header = |name: &str| seen.headers.get(name).and_then(|value| value.to_str().ok());
    want(
        "content-type",
        header("content-type") == Some("application/json"),
    );
    let limited = code == "upstream_rate_limited" || (nobody && status == 429);
    let again = if limited { None } else { Some("false") };
    want("x-should-retry", header("x-should-retry") == again);
    problems
}

fn retry_after(seen: &Seen) -> Option<u64> {
    seen.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()
}

/// What is wrong with the answer `seen`.
async fn problems(
    seen: &Seen,
    last: Last,
    ask: &Ask,
    dialect: Dialect,
    fault: &str,
) -> Vec<String> {
    let mut problems = Vec::new();
    let status = match last {
        Said(_, status) | Ours(status, _) => status,
        Committed => 200,
    };
    if seen.status.as_u16() != status {
        problems.push(format!("status {status}, but it is {}", seen.status));
    }
    match last {
        Said(name, _) => {
            let fault: Behaviour = fault.parse().expect("a behaviour");
            let said = ask.answer_of(name, fault, 1).await.concat();
            let said = String::from_utf8_lossy(&said);
            // The simulator was asked with the client's key, and `name` with its own.
            let said = said.replace("sk-test-client", "[redacted]");
            if seen.text() != said {
                problems.push(format!("not what {name} said ({said}): {}", seen.text()));
            }
            if seen.text().contains("sk-test-") {
                problems.push(format!("a key: {}", seen.text()));
            }
        }
        Ours(status, code) => problems.extend(shape(seen, dialect, status, code)),
        Committed => {}
    }
    problems
}

// RTY-09, RTY-12, RTY-13, SEC-07
#[tokio::test(start_paused = true)]
async fn when_all_have_the_same_fault_there_is_one_last_answer() {
    let mut failures = Vec::new();
    for row in FAULTS {
        for dialect in DIALECTS {
            for stream in [false, true] {
                let last = last(row, dialect, stream);
                if matches!(last, Committed) {
                    continue;
                }
                let world = World::new();
                world.set_all(row.fault);
                let ask = Ask::new(dialect, stream);
                let seen = world.send(&ask).await;

                let mut problems = problems(&seen, last, &ask, dialect, row.fault).await;
                let calls = calls(row.kind, last);
                if world.calls() != calls {
                    problems.push(format!("calls {calls:?}, but {:?}", world.calls()));
                }
                for (name, calls) in ENDPOINTS.into_iter().zip(calls) {
                    let untouched = State::untouched();
                    let mut state = match calls {
                        0 => untouched,
                        _ => untouched.failed(row.kind, None),
                    };
                    // The last of five attempts leaves none for the quick retry.
                    state.calls = calls;
                    problems.extend(differences(name, &state, &world.state(name)));
                }
                let bound = world.bound(SESSION);
                if bound.is_some() {
                    problems.push(format!("bound to {bound:?}"));
                }
                let time = match last {
                    TIMED_OUT => Duration::from_secs(180),
                    LATE => Duration::from_secs(600),
                    _ => Duration::ZERO,
                };
                if seen.time != time {
                    problems.push(format!("time {time:?}, but {:?}", seen.time));
                }
                if !problems.is_empty() {
                    let problems = problems.join("\n    ");
                    let fault = row.fault;
                    failures.push(format!(
                        "{dialect} × stream {stream} × {fault}\n    {problems}"
                    ));
                }
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

// RTY-08, RTY-13
#[tokio::test(start_paused = true)]
async fn of_different_failures_the_most_useful_is_told() {
    for (faults, last, calls) in [
        // The last answer of an upstream that is not the refusal of a credential.
        (
            ["status:500", "status:401", "refuse"],
            Said("a", 500),
            [1, 1, 2],
        ),
        (
            ["status:401", "status:429", "status:503"],
            Said("c", 503),
            [1, 1, 1],
        ),
        (
            ["status:404", "status:404", "status:401"],
            Said("b", 404),
            [1, 1, 1],
        ),
        // None of the answers may be relayed.
        (["refuse", "status:401", "status:401"], FAILED, [2, 1, 1]),
        (["html", "status:401", "empty"], FAILED, [1, 1, 1]),
        // A limit at the end.
        (
            ["status:503", "status:401", "status:429"],
            LIMITED,
            [1, 1, 1],
        ),
        (
            ["status:401", "status:402", "status:429"],
            LIMITED,
            [1, 1, 1],
        ),
        // A bad request, whatever the second opinion is.
        (
            ["status:400", "status:500", "ok"],
            Said("a", 400),
            [1, 1, 0],
        ),
        (
            ["status:500", "status:400", "status:422"],
            Said("b", 400),
            [1, 1, 1],
        ),
    ] {
        let world = World::new();
        for (name, fault) in ENDPOINTS.into_iter().zip(faults) {
            world.set(name, fault);
        }
        let ask = Ask::whole(Dialect::Anthropic);
        let seen = world.send(&ask).await;
        let fault = match last {
            Said(name, _) => faults[ENDPOINTS.iter().position(|one| *one == name).unwrap()],
            _ => "ok",
        };
        let problems = problems(&seen, last, &ask, Dialect::Anthropic, fault).await;
        assert_eq!(problems, Vec::<String>::new(), "{faults:?}");
        assert_eq!(world.calls(), calls, "{faults:?}");
    }
}

// RTY-08
#[tokio::test(start_paused = true)]
async fn a_bad_request_leaves_everyone_as_before() {
    let world = World::new();
    world.set_all("status:400");
    for number in 1..=20 {
        let seen = world.send(&Ask::whole(Dialect::Chat)).await;
        assert_eq!(seen.status, 400);
        for (name, calls) in ENDPOINTS.into_iter().zip([number, number, 0]) {
            let expected = State {
                calls,
                total: calls,
                ..State::untouched()
            };
            assert_eq!(world.state(name), expected, "{name}");
        }
        let record = seen.record.unwrap();
        assert_eq!(
            visits(&record),
            "a: first failed invalid_request; b: first failed invalid_request"
        );
        assert_eq!(answer(&record), "relayed 400");
    }
}

// RTY-08
#[tokio::test(start_paused = true)]
async fn an_endpoint_that_is_overruled_three_times_is_skipped_for_the_model() {
    let world = World::new();
    world.set("a", "status:400");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    for _ in 0..3 {
        assert!(world.send(&ask).await.is_answer());
    }
    assert_eq!(world.calls(), [3, 3, 0]);
    assert_eq!(world.state("a").failures, 0);
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [3, 4, 0]);
    tokio::time::advance(Duration::from_secs(601)).await;
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [4, 5, 0]);
}

// ACC-03, RTY-14, SEL-12, SEL-17
#[tokio::test(start_paused = true)]
async fn responses_need_an_endpoint_that_is_enabled_and_valid_and_not_limited() {
    let world = World::new();
    assert!(world.endpoint("a").disable());
    world.set("b", "status:401");
    world.set("c", "status:429;retry-after=20");
    let ask = Ask::whole(Dialect::Responses).without_session();
    assert!(!world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [0, 1, 1]);

    let seen = world.send(&ask).await;
    let wrong = shape(&seen, Dialect::Responses, 503, "no_available_account");
    assert_eq!(wrong, [""; 0]);
    let error = &seen.json()["error"];
    for reason in ["disabled", "auth_failed", "cooling"] {
        assert_eq!(error["reasons"][reason], 1, "{error}");
    }
    assert_eq!(world.calls(), [0, 1, 1], "nobody is asked");

    world.set("c", "ok");
    tokio::time::advance(Duration::from_secs(20)).await;
    assert!(world.send(&ask).await.is_answer(), "the limit is over");
    assert_eq!(world.calls(), [0, 1, 2]);
}

// RTY-12, RTY-14, SEL-12, SEL-20
#[tokio::test(start_paused = true)]
async fn once_all_credentials_are_refused_nobody_is_asked_again() {
    for dialect in DIALECTS {
        let world = World::new();
        world.set_all("status:401");
        let ask = Ask::whole(dialect);
        let seen = world.send(&ask).await;
        assert_eq!(shape(&seen, dialect, 502, "upstream_auth_failed"), [""; 0]);
        assert_eq!(world.calls(), [1, 1, 1]);

        // A last resort is only for those that are merely open.
        tokio::time::advance(Duration::from_secs(24 * 60 * 60)).await;
        let seen = world.send(&ask).await;
        assert_eq!(seen.status, 503);
        assert_eq!(shape(&seen, dialect, 503, "no_available_account"), [""; 0]);
        assert_eq!(seen.json()["error"]["reasons"]["auth_failed"], 3);
        assert_eq!(retry_after(&seen), None);
        assert_eq!(world.calls(), [1, 1, 1]);
        let record = seen.record.unwrap();
        assert_eq!(answer(&record), "failed NoEndpoint");
        assert_eq!(record.attempts(), 0);
        assert_eq!(record.visits[0].left_out.len(), 3);
    }
}

// RTY-13, RTY-14, TOK-14, TOK-16
#[tokio::test(start_paused = true)]
async fn limits_everywhere_are_one_429_with_the_earliest_reset() {
    let world = World::new();
    for (name, seconds) in ENDPOINTS.into_iter().zip([20, 7, 90]) {
        world.set(name, &format!("status:429;retry-after={seconds}"));
    }
    let ask = Ask::streamed(Dialect::Anthropic);
    let seen = world.send(&ask).await;
    assert_eq!(
        shape(&seen, Dialect::Anthropic, 429, "upstream_rate_limited"),
        [""; 0]
    );
    assert_eq!(retry_after(&seen), Some(7));
    assert!(seen.text().contains("all 3 credentials"), "{}", seen.text());

    // Nobody is asked before.
    tokio::time::advance(Duration::from_secs(2)).await;
    let seen = world.send(&ask).await;
    assert_eq!(
        shape(&seen, Dialect::Anthropic, 429, "no_available_account"),
        [""; 0]
    );
    assert_eq!(retry_after(&seen), Some(5));
    assert_eq!(seen.json()["error"]["reasons"]["cooling"], 3);
    assert_eq!(world.calls(), [1, 1, 1]);

    world.set_all("ok");
    tokio::time::advance(Duration::from_secs(5)).await;
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [1, 2, 1]);
}

// RTY-14
#[tokio::test(start_paused = true)]
async fn a_wait_of_ours_is_at_most_a_minute_and_the_body_has_the_exact_one() {
    let world = World::new();
    world.set_all("status:402");
    let ask = Ask::whole(Dialect::Chat);
    for code in ["upstream_rate_limited", "no_available_account"] {
        let seen = world.send(&ask).await;
        assert_eq!(shape(&seen, Dialect::Chat, 429, code), [""; 0]);
        assert_eq!(retry_after(&seen), Some(60));
        assert_eq!(seen.json()["error"]["retry_after"], 3600.0);
    }
}

/// Opens every breaker, the one of `a` first.
async fn open_all(world: &World) {
    world.set_all("status:500");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    for _ in 0..3 {
        assert_eq!(world.send(&ask).await.status, 500);
        tokio::time::advance(Duration::from_secs(1)).await;
    }
    for name in ENDPOINTS {
        assert_eq!(world.state(name).breaker, "open", "{name}");
    }
}

// SEL-18, RTY-14
#[tokio::test(start_paused = true)]
async fn without_a_last_resort_nobody_tries_an_open_endpoint() {
    let world = World::with(|builder| builder.last_resort(LastResort::Refuse));
    open_all(&world).await;
    let ask = Ask::whole(Dialect::Anthropic);
    let seen = world.send(&ask).await;
    assert_eq!(
        shape(&seen, Dialect::Anthropic, 503, "no_available_account"),
        [""; 0]
    );
    assert_eq!(seen.json()["error"]["reasons"]["open"], 3);
    // One second has passed of the minute.
    assert_eq!(retry_after(&seen), Some(59));
    assert_eq!(world.calls(), [3, 3, 3]);
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn as_a_last_resort_one_request_at_a_time_tries_an_open_endpoint() {
    let world = World::new();
    open_all(&world).await;
    world.set("b", "status:401");
    world.set("c", "status:429");
    let ask = Ask::whole(Dialect::Anthropic).without_session();
    // `b` and `c` are out for more than their breakers from now on.
    for name in ["b", "c"] {
        world.endpoint(name).disable();
    }
    world.set("a", "slow:1s");
    let (one, other) = tokio::join!(world.send(&ask), world.send(&ask));
    let mut seen = [one, other];
    seen.sort_by_key(|seen| seen.status);
    assert!(seen[0].is_answer(), "{}", seen[0].text());
    assert_eq!(seen[1].status, StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(world.calls(), [4, 3, 3]);
    let record = seen[0].record.as_ref().unwrap();
    assert_eq!(record.visits[0].tier.unwrap().as_str(), "last_resort");
    // A success closes the breaker as a probe does.
    assert_eq!(world.state("a").breaker, "closed");
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.left_over(), []);
}

// SEL-18
#[tokio::test(start_paused = true)]
async fn a_last_resort_that_fails_changes_nothing() {
    let world = World::new();
    open_all(&world).await;
    let before = world.endpoint("a").breaker().snapshot(time::now());
    let seen = world.send(&Ask::whole(Dialect::Anthropic)).await;
    assert_eq!(seen.status, 500);
    // The least recently failed one is the first.
    assert_eq!(
        &**seen.record.unwrap().visits[0]
            .endpoint
            .as_ref()
            .unwrap()
            .name(),
        "a"
    );
    let after = world.endpoint("a").breaker().snapshot(time::now());
    assert_eq!(
        (after.state, after.failures),
        (before.state, before.failures)
    );
    assert_eq!(after.remaining, before.remaining);
}

// RTY-10, UPS-07
#[tokio::test(start_paused = true)]
async fn a_longer_deadline_lets_a_slow_answer_succeed() {
    let ask = Ask::whole(Dialect::Anthropic);
    let world = World::new();
    world.set_all("slow:700s");
    let seen = world.send(&ask).await;
    assert_eq!(
        shape(&seen, Dialect::Anthropic, 504, "deadline_exceeded"),
        [""; 0]
    );
    assert_eq!((seen.time.as_secs(), world.calls()), (600, [1, 0, 0]));

    let longer = retry::Config::default()
        .with_deadline(Duration::from_secs(800))
        .unwrap();
    let world = World::with(|builder| builder.retry(longer));
    world.set_all("slow:700s");
    let seen = world.send(&ask).await;
    assert!(seen.is_answer());
    assert_eq!((seen.time.as_secs(), world.calls()), (700, [1, 0, 0]));
}

// UPS-07
#[tokio::test(start_paused = true)]
async fn with_a_limit_of_its_own_a_silent_endpoint_fails_over_whatever_is_asked_for() {
    for stream in [false, true] {
        let limited = endpoints().map(|one| one.with_first_byte(Duration::from_secs(30)));
        let world = World::of(limited, |builder| builder);
        world.set("a", "hang");
        let seen = world.send(&Ask::new(Dialect::Chat, stream)).await;
        assert!(seen.is_answer());
        assert_eq!(seen.time.as_secs(), 30);
        assert_eq!(world.calls(), [1, 1, 0]);
        assert_eq!(world.state("a").failures, 1);
    }
}

// RTY-11
#[tokio::test(start_paused = true)]
async fn without_a_budget_the_request_ends_with_the_answer_it_has() {
    let spent = || Budget::new(0.0, 0).unwrap();
    let ask = Ask::whole(Dialect::Anthropic);
    let world = World::with(|builder| builder.budget(spent()));
    world.set("a", "status:500");
    let seen = world.send(&ask).await;
    assert_eq!(seen.status, 500);
    assert_eq!(world.calls(), [1, 0, 0]);
    // A change of the credential is not paid for.
    let world = World::with(|builder| builder.budget(spent()));
    world.set("a", "status:429");
    assert!(world.send(&ask).await.is_answer());
    assert_eq!(world.calls(), [1, 1, 0]);
}

// RTY-15
#[tokio::test(start_paused = true)]
async fn a_body_over_the_limit_is_sent_once() {
    let small = retry::Config::default().with_body_limit(16);
    let world = World::with(|builder| builder.retry(small));
    let ask = Ask::whole(Dialect::Anthropic);
    // As it comes from a connection: not in memory already.
    let (head, body) = ask.request().into_parts();
    let bytes = body.as_bytes().unwrap().clone();
    let status = async || {
        let request = Request::from_parts(head.clone(), Full::new(bytes.clone()));
        let answer = world.failover.clone().oneshot(request).await.unwrap();
        answer.status()
    };

    world.set("a", "status:500");
    assert_eq!(status().await, 500);
    assert_eq!(world.calls(), [1, 0, 0]);
    world.set("a", "ok");
    assert_eq!(status().await, 200);
    assert_eq!(*world.simulator.last_request("a").unwrap().body(), bytes);
    // Nothing is sent to an endpoint that is out, so the body goes elsewhere.
    world.endpoint("a").disable();
    assert_eq!(status().await, 200);
    assert_eq!(world.calls(), [2, 1, 0]);
    assert_eq!(*world.simulator.last_request("b").unwrap().body(), bytes);
}
