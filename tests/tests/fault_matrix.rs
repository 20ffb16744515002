//! Every fault of the simulator in every dialect, streamed and not: what the client sees, who is
//! asked how often, and what everything that keeps state says of it afterwards.
//!
//! The setting: the endpoint `a` is the best and faulty, `b` and `c` are fine. The session of the
//! request is new, or bound to `a` by an answer that it gave before. The expectations are the
//! table of failure kinds ([`consequence`]) and the two tables of faults.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use qcc_core::facts::Dialect;
use qcc_core::failure::Kind;
use qcc_core::record::Transition;
use qcc_core::simulate::Behaviour;
use qcc_core::time::Duration;
use qcc_tests::harness::{
    Ask, DIALECTS, End, MODEL, SESSION, Seen, State, World, answer, consequence, differences,
    visits,
};

/// What has to come of one request.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// `a` answers.
    Fine,
    /// `a` fails before the commit point, and `b` answers unseen.
    Elsewhere(Kind),
    /// `a` is silent for so long before the commit point, and `b` answers.
    Silent(Wait),
    /// The client gets so many events of `a`, then the closing events of its dialect.
    Interrupted(usize, Kind),
    /// So many events of `a`, then silence, then the closing events.
    Stalled(usize),
    /// So many events of `a`, then those with which `a` says that it failed.
    Told(usize, Kind),
    /// The deadline passes while `a` is awaited.
    Late,
}

/// How long silence is borne.
#[derive(Clone, Copy, Debug)]
enum Wait {
    /// UPS-07: 60 s up to the first byte of a stream.
    FirstByte,
    /// STR-09: 60 s for Anthropic, 300 s for the others.
    Idle,
}

use Kind::{
    Auth, InvalidRequest, NotFound, Overloaded, Quota, RateLimit, Server, Timeout, Transport,
    Unknown,
};
use Outcome::{Elsewhere, Fine, Interrupted, Late, Silent, Stalled, Told};

/// A fault: what becomes of an answer in one piece, and of a stream in each of the dialects, in
/// the order of [`DIALECTS`].
struct Row {
    fault: &'static str,
    whole: Outcome,
    streamed: [Outcome; 4],
    /// How long the fault says that it lasts.
    asks: Option<Duration>,
    /// How long a good answer takes, in one piece and streamed, in milliseconds.
    takes: (u64, [u64; 4]),
}

const fn each(fault: &'static str, whole: Outcome, streamed: [Outcome; 4]) -> Row {
    Row {
        fault,
        whole,
        streamed,
        asks: None,
        takes: (0, [0; 4]),
    }
}

const fn all(fault: &'static str, outcome: Outcome) -> Row {
    each(fault, outcome, [outcome; 4])
}

const fn asks(fault: &'static str, outcome: Outcome, seconds: u64) -> Row {
    Row {
        asks: Some(Duration::from_secs(seconds)),
        ..all(fault, outcome)
    }
}

const fn takes(fault: &'static str, whole: u64, streamed: [u64; 4]) -> Row {
    Row {
        takes: (whole, streamed),
        ..all(fault, Fine)
    }
}

/// What the faults are. An answer that is not streamed has its commit point at its end, so
/// nothing of it can be interrupted. A stream has it at its first output: event 3 of Anthropic,
/// 1 of Chat, 4 of Responses, 0 of Gemini.
const FAULTS: &[Row] = &[
    all("ok", Fine),
    takes("slow:200ms", 200, [200; 4]),
    takes("slow:200ms,50ms", 250, [650, 500, 750, 350]),
    // The quick retry fails, too.
    all("refuse", Elsewhere(Transport)),
    all("reset", Elsewhere(Transport)),
    all("not-http", Elsewhere(Transport)),
    // An answer that is not streamed has the rest of the deadline for its first byte.
    each("hang", Late, [Silent(Wait::FirstByte); 4]),
    all("status:400", Elsewhere(InvalidRequest)),
    all("status:401", Elsewhere(Auth)),
    all("status:402", Elsewhere(Quota)),
    all("status:403", Elsewhere(Auth)),
    all("status:404", Elsewhere(NotFound)),
    all("status:408", Elsewhere(Server)),
    all("status:409", Elsewhere(Server)),
    all("status:413", Elsewhere(InvalidRequest)),
    all("status:422", Elsewhere(InvalidRequest)),
    all("status:429", Elsewhere(RateLimit)),
    asks("status:429;retry-after=7", Elsewhere(RateLimit), 7),
    asks("status:429;retry-after-ms=8000", Elsewhere(RateLimit), 8),
    all("status:500", Elsewhere(Server)),
    all("status:502", Elsewhere(Overloaded)),
    all("status:503", Elsewhere(Overloaded)),
    asks("status:503;retry-after=9", Elsewhere(Overloaded), 9),
    all("status:504", Elsewhere(Overloaded)),
    all("status:529", Elsewhere(Overloaded)),
    // A 200 with an error in its body is what the body says.
    all("status:200", Elsewhere(Server)),
    // "bad request" is a phrase of `invalid_request`.
    all("status:200;shape=bare", Elsewhere(InvalidRequest)),
    all("html", Elsewhere(Unknown)),
    all("empty", Elsewhere(Unknown)),
    each(
        "truncated",
        Elsewhere(Unknown),
        [
            Interrupted(4, Transport),
            Interrupted(3, Transport),
            Interrupted(5, Transport),
            Interrupted(1, Transport),
        ],
    ),
    all("garbage", Elsewhere(Unknown)),
    all("cut:0", Elsewhere(Unknown)),
    each(
        "cut:1",
        Elsewhere(Unknown),
        [
            Elsewhere(Unknown),
            Elsewhere(Unknown),
            Elsewhere(Unknown),
            Interrupted(1, Transport),
        ],
    ),
    each(
        "cut:5",
        Elsewhere(Unknown),
        [
            Interrupted(5, Transport),
            Interrupted(4, Transport),
            Interrupted(5, Transport),
            Interrupted(2, Transport),
        ],
    ),
    each("stall:0", Late, [Silent(Wait::FirstByte); 4]),
    // After 15 s what is held goes out, although it says nothing.
    each(
        "stall:1",
        Silent(Wait::Idle),
        [Stalled(1), Stalled(1), Stalled(1), Stalled(1)],
    ),
    each(
        "stall:5",
        Silent(Wait::Idle),
        [Stalled(5), Stalled(4), Stalled(5), Stalled(2)],
    ),
    each(
        "error:0",
        Elsewhere(Server),
        [
            Elsewhere(Overloaded),
            Elsewhere(Server),
            Elsewhere(Server),
            Elsewhere(Overloaded),
        ],
    ),
    each(
        "error:1",
        Elsewhere(Server),
        [
            Elsewhere(Overloaded),
            Elsewhere(Server),
            Elsewhere(Server),
            Told(1, Overloaded),
        ],
    ),
    each(
        "error:5",
        Elsewhere(Server),
        [
            Told(5, Overloaded),
            Told(4, Server),
            Told(5, Server),
            Told(2, Overloaded),
        ],
    ),
    each(
        "no-end",
        Elsewhere(Unknown),
        [
            Interrupted(7, Transport),
            Interrupted(4, Transport),
            Interrupted(10, Transport),
            Interrupted(2, Transport),
        ],
    ),
    all("gzip", Fine),
    all("gzip:unannounced", Fine),
    all("close-idle", Fine),
    all("keys:sk-test-valid", Elsewhere(Auth)),
    all("keys:sk-test-a", Fine),
    all("quota:0", Elsewhere(RateLimit)),
    all("echo", Fine),
    all("echo-prompt", Elsewhere(InvalidRequest)),
    all("echo-credential", Elsewhere(Server)),
];

/// Faults that change with the requests, which are of no session: in each dialect, streamed or
/// not, the outcomes in turn.
const SEQUENCES: &[(&str, &[Outcome])] = &[
    ("quota:1", &[Fine, Elsewhere(RateLimit)]),
    (
        "first:2:status:500",
        &[Elsewhere(Server), Elsewhere(Server), Fine, Fine],
    ),
];

const fn idle(dialect: Dialect) -> Duration {
    match dialect {
        Dialect::Anthropic => Duration::from_secs(60),
        _ => Duration::from_secs(300),
    }
}

/// The events that say in a dialect that an answer was interrupted after so many events.
fn closing(dialect: Dialect, events: usize, id: &str) -> String {
    match dialect {
        Dialect::Anthropic => concat!(
            "event: error\n",
            r#"data: {"type":"error","error":{"type":"overloaded_error","message":"Stream interrupted"}}"#,
            "\n\n",
        )
        .to_owned(),
        Dialect::Chat => concat!(
            r#"data: {"error":{"type":"server_error","code":"upstream_stream_interrupted","message":"Stream interrupted"}}"#,
            "\n\n",
        )
        .to_owned(),
        Dialect::Responses => format!(
            concat!(
                "event: response.failed\n",
                r#"data: {{"type":"response.failed","sequence_number":{number},"response":{{"id":"{id}","object":"response","created_at":1,"status":"failed","error":{{"code":"server_error","message":"Stream interrupted"}},"incomplete_details":null,"model":"{model}","output":[],"usage":null}}}}"#,
                "\n\n{error}",
            ),
            number = events,
            id = id,
            model = MODEL,
            error = responses_error(events + 1, "Stream interrupted"),
        ),
        _ => concat!(
            r#"data: {"error":{"code":503,"status":"UNAVAILABLE","message":"Stream interrupted"}}"#,
            "\r\n\r\n",
        )
        .to_owned(),
    }
}

/// The event that the SDKs of Responses notice.
fn responses_error(number: usize, message: &str) -> String {
    format!(
        concat!(
            "event: error\n",
            r#"data: {{"type":"error","sequence_number":{number},"code":"server_error","message":"{message}","param":null,"error":{{"type":"server_error","code":"server_error","message":"{message}","param":null}}}}"#,
            "\n\n",
        ),
        number = number,
        message = message,
    )
}

/// One cell: a fault, a dialect, a form, and whether the session is bound to `a` before.
struct Cell<'a> {
    row: &'a Row,
    dialect: Dialect,
    stream: bool,
    bound: bool,
}

impl Cell<'_> {
    fn name(&self) -> String {
        let form = if self.stream { "streamed" } else { "whole" };
        let session = if self.bound { "bound" } else { "new" };
        let (dialect, fault) = (self.dialect, self.row.fault);
        format!("{dialect} × {form} × {fault} × {session} session")
    }

    fn place(&self) -> usize {
        let place = DIALECTS.iter().position(|one| *one == self.dialect);
        place.expect("one of them")
    }

    fn outcome(&self) -> Outcome {
        if self.stream {
            self.row.streamed[self.place()]
        } else {
            self.row.whole
        }
    }

    async fn run(&self) -> Vec<String> {
        let world = World::new();
        let ask = Ask::new(self.dialect, self.stream);
        let mut before = State::untouched();
        if self.bound {
            let seen = world.send(&ask).await;
            assert!(seen.is_answer(), "{}: {}", self.name(), seen.text());
            before = before.answered();
        }
        world.set("a", self.row.fault);
        let seen = world.send(&ask).await;

        let number = u64::from(self.bound) + 1;
        let events = ask.answer_of("a", self.fault_as_answer(), number).await;
        let mut problems = self.client(&seen, &events, &ask).await;
        problems.extend(self.endpoints(&world, &before));
        problems.extend(self.session(&world, &seen));
        problems.extend(self.record(&seen));
        problems
    }

    /// What `a` would say if it had no fault but that it says something else.
    fn fault_as_answer(&self) -> Behaviour {
        let text = if self.row.fault == "echo" {
            "echo"
        } else {
            "ok"
        };
        text.parse().expect("a behaviour")
    }

    /// What the client has to have seen.
    async fn client(&self, seen: &Seen, events: &[Bytes], ask: &Ask) -> Vec<String> {
        let (whole, streamed) = self.row.takes;
        let takes = if self.stream {
            streamed[self.place()]
        } else {
            whole
        };
        let first = |count: usize| events[..count].concat();
        let a = || first(events.len());
        let b = async || {
            let answer = ask.answer_of("b", Behaviour::Ok, 1).await;
            answer.concat()
        };
        // The next visit begins at once: what takes time is the wait for `a` alone.
        let (status, body, time) = match self.outcome() {
            Fine => (200, a(), Duration::from_millis(takes)),
            Elsewhere(_) => (200, b().await, Duration::ZERO),
            Silent(Wait::FirstByte) => (200, b().await, Duration::from_secs(60)),
            Silent(Wait::Idle) => (200, b().await, idle(self.dialect)),
            Interrupted(count, _) => {
                let body = [first(count), self.closing(count)].concat();
                (200, body, Duration::ZERO)
            }
            Stalled(count) => {
                let body = [first(count), self.closing(count)].concat();
                (200, body, idle(self.dialect))
            }
            Told(count, _) => {
                let body = [first(count), self.told(ask, count).await].concat();
                (200, body, Duration::ZERO)
            }
            Late => (504, seen.body(), Duration::from_secs(600)),
        };
        let mut problems = Vec::new();
        if seen.status.as_u16() != status {
            problems.push(format!("status: {status}, but it is {}", seen.status));
        }
        if seen.end != End::Clean {
            problems.push("the body is aborted".to_owned());
        }
        if seen.body() != body {
            let body = String::from_utf8_lossy(&body).into_owned();
            problems.extend(differences("body", &Lines(&body), &Lines(&seen.text())));
        }
        if seen.time != time {
            problems.push(format!("time: {time:?}, but it is {:?}", seen.time));
        }
        let length = seen.headers.get(CONTENT_LENGTH);
        let length = length.map(|length| length.to_str().unwrap_or_default().to_owned());
        if length.is_some_and(|length| length != seen.body().len().to_string()) {
            problems.push("content-length is not that of the body".to_owned());
        }
        if self.stream && status == 200 {
            for (_, piece) in &seen.pieces {
                if !piece.ends_with(b"\n\n") && !piece.ends_with(b"\r\n\r\n") {
                    problems.push(format!("not whole events: {piece:?}"));
                }
            }
        }
        if status == 504 && !seen.text().contains("deadline_exceeded") {
            problems.push(format!("not the answer of a deadline: {}", seen.text()));
        }
        problems
    }

    fn closing(&self, events: usize) -> Vec<u8> {
        let id = format!("resp_sim_{}", u64::from(self.bound) + 1);
        closing(self.dialect, events, &id).into_bytes()
    }

    /// What `a` says of its failure itself, and what has to be added so that SDKs notice it.
    async fn told(&self, ask: &Ask, events: usize) -> Vec<u8> {
        let number = u64::from(self.bound) + 1;
        let fault: Behaviour = self.row.fault.parse().expect("a behaviour");
        let said = ask.answer_of("a", fault, number).await;
        let mut told = said[events..].concat();
        if self.dialect == Dialect::Responses {
            told.extend(responses_error(events + 1, "simulated fault").into_bytes());
        }
        told
    }

    /// The state of every endpoint afterwards.
    fn endpoints(&self, world: &World, before: &State) -> Vec<String> {
        let asks = self.row.asks;
        let a = match self.outcome() {
            Fine => before.answered(),
            Elsewhere(kind) => before.failed(kind, asks),
            Silent(_) | Late => before.failed(Timeout, asks),
            Interrupted(..) | Stalled(_) | Told(..) => before.interrupted(),
        };
        let b = match self.outcome() {
            Elsewhere(_) | Silent(_) => State::untouched().answered(),
            _ => State::untouched(),
        };
        let c = State::untouched();
        let all = [("a", a), ("b", b), ("c", c)];
        let differing = |(name, expected)| differences(name, &expected, &world.state(name));
        all.into_iter().flat_map(differing).collect()
    }

    /// The binding of the session afterwards, and what the record says of it.
    fn session(&self, world: &World, seen: &Seen) -> Vec<String> {
        let moved = if self.bound {
            // A session that lost its endpoint is bound anew by the one that answered.
            &[Transition::Rebound, Transition::Bound][..]
        } else {
            &[Transition::Bound]
        };
        let kept = match self.bound {
            true => &[Transition::Refreshed][..],
            false => &[Transition::Bound],
        };
        let (bound, transitions) = match self.outcome() {
            Fine => (Some("a"), kept),
            Elsewhere(kind) if self.bound && consequence(kind).keeps_session => {
                (Some("a"), &[Transition::Escaped][..])
            }
            Elsewhere(_) | Silent(_) => (Some("b"), moved),
            Interrupted(..) | Stalled(_) | Told(..) => (None, &[Transition::Invalidated][..]),
            Late if self.bound => (None, &[Transition::Invalidated][..]),
            Late => (None, &[][..]),
        };
        let mut problems = Vec::new();
        let got = world.bound(SESSION);
        if got.as_deref() != bound {
            problems.push(format!("binding: {bound:?}, but it is {got:?}"));
        }
        let noted = seen.record.as_ref().and_then(|record| record.binding);
        let fits = match noted {
            Some(noted) => transitions.contains(&noted),
            None => transitions.is_empty(),
        };
        if !fits {
            problems.push(format!("transition: {transitions:?}, but it is {noted:?}"));
        }
        problems
    }

    /// What the record says.
    fn record(&self, seen: &Seen) -> Vec<String> {
        let Some(record) = &seen.record else {
            return vec!["there is no record".to_owned()];
        };
        let elsewhere = |kind| {
            let row = consequence(kind);
            format!("a: {}; b: {} clean", row.sends("first"), row.next())
        };
        let (sends, answered) = match self.outcome() {
            Fine => ("a: first clean".to_owned(), "relayed 200".to_owned()),
            Elsewhere(kind) => (elsewhere(kind), "relayed 200".to_owned()),
            Silent(_) => (elsewhere(Timeout), "relayed 200".to_owned()),
            Interrupted(_, kind) | Told(_, kind) => (
                format!("a: first broken {kind}"),
                format!("interrupted 200 {kind}"),
            ),
            Stalled(_) => (
                "a: first broken timeout".to_owned(),
                "interrupted 200 timeout".to_owned(),
            ),
            Late => (
                "a: first failed timeout".to_owned(),
                "failed Deadline".to_owned(),
            ),
        };
        let mut problems = differences("visits", &Lines(&sends), &Lines(&visits(record)));
        problems.extend(differences(
            "answer",
            &Lines(&answered),
            &Lines(&answer(record)),
        ));
        let committed = !matches!(self.outcome(), Late);
        if record.committed.is_some() != committed {
            problems.push(format!("committed: {:?}", record.committed));
        }
        problems
    }
}

/// Text as it is.
struct Lines<'a>(&'a str);

impl std::fmt::Debug for Lines<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.0)
    }
}

async fn check(dialect: Dialect, stream: bool) {
    let mut failures = Vec::new();
    for row in FAULTS {
        for bound in [false, true] {
            let cell = Cell {
                row,
                dialect,
                stream,
                bound,
            };
            let problems = cell.run().await;
            if !problems.is_empty() {
                let problems = problems.join("\n    ");
                failures.push(format!("{}\n    {problems}", cell.name()));
            }
        }
    }
    let count = failures.len();
    assert!(
        failures.is_empty(),
        "{count} cells:\n{}",
        failures.join("\n")
    );
}

// RTY-01, RTY-04, RTY-16, CLS-03, BRK-04, BRK-05, STR-12, AFF-10
#[tokio::test(start_paused = true)]
async fn every_fault_of_an_anthropic_answer_has_its_outcome() {
    check(Dialect::Anthropic, false).await;
}

// STR-01, STR-02, STR-03, STR-04, STR-05, STR-07, STR-09
#[tokio::test(start_paused = true)]
async fn every_fault_of_an_anthropic_stream_has_its_outcome() {
    check(Dialect::Anthropic, true).await;
}

// RTY-01, RTY-04, RTY-16, CLS-03, BRK-04, BRK-05, STR-12, AFF-10
#[tokio::test(start_paused = true)]
async fn every_fault_of_a_chat_answer_has_its_outcome() {
    check(Dialect::Chat, false).await;
}

// STR-01, STR-02, STR-03, STR-04, STR-05, STR-07, STR-09
#[tokio::test(start_paused = true)]
async fn every_fault_of_a_chat_stream_has_its_outcome() {
    check(Dialect::Chat, true).await;
}

// RTY-01, RTY-04, RTY-16, CLS-03, BRK-04, BRK-05, STR-12, AFF-10
#[tokio::test(start_paused = true)]
async fn every_fault_of_a_responses_answer_has_its_outcome() {
    check(Dialect::Responses, false).await;
}

// STR-01, STR-02, STR-03, STR-04, STR-05, STR-07, STR-09
#[tokio::test(start_paused = true)]
async fn every_fault_of_a_responses_stream_has_its_outcome() {
    check(Dialect::Responses, true).await;
}

// RTY-01, RTY-04, RTY-16, CLS-03, BRK-04, BRK-05, STR-12, AFF-10
#[tokio::test(start_paused = true)]
async fn every_fault_of_a_gemini_answer_has_its_outcome() {
    check(Dialect::Gemini, false).await;
}

// STR-01, STR-02, STR-03, STR-04, STR-05, STR-07, STR-09
#[tokio::test(start_paused = true)]
async fn every_fault_of_a_gemini_stream_has_its_outcome() {
    check(Dialect::Gemini, true).await;
}

// RTY-05, BRK-03, SEL-09
#[tokio::test(start_paused = true)]
async fn faults_that_pass_or_come_with_time_have_their_outcomes_in_turn() {
    for dialect in DIALECTS {
        for stream in [false, true] {
            for (fault, outcomes) in SEQUENCES {
                let world = World::new();
                world.set("a", fault);
                let ask = Ask::new(dialect, stream).without_session();
                let (mut a, mut b) = (State::untouched(), State::untouched());
                for (number, outcome) in outcomes.iter().enumerate() {
                    let seen = world.send(&ask).await;
                    let cell = format!("{dialect} × stream {stream} × {fault}, request {number}");
                    assert!(seen.is_answer(), "{cell}: {}", seen.text());
                    match *outcome {
                        Elsewhere(kind) => {
                            a = a.failed(kind, None);
                            b = b.answered();
                        }
                        _ => a = a.answered(),
                    }
                    let problems = [("a", &a), ("b", &b), ("c", &State::untouched())]
                        .map(|(name, state)| differences(name, state, &world.state(name)))
                        .concat();
                    assert!(
                        problems.is_empty(),
                        "{cell}\n    {}",
                        problems.join("\n    ")
                    );
                }
            }
        }
    }
}

// SIM-01
#[test]
fn no_behaviour_of_the_simulator_is_left_out() {
    let listed: BTreeSet<_> = FAULTS
        .iter()
        .map(|row| row.fault)
        .chain(SEQUENCES.iter().map(|(fault, _)| *fault))
        .map(str::to_owned)
        .collect();
    let left_out: Vec<_> = Behaviour::samples()
        .map(|behaviour| behaviour.to_string())
        .filter(|sample| !listed.contains(sample))
        .collect();
    assert_eq!(left_out, Vec::<String>::new());
}
