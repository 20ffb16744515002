//! Every fault of the simulator in every dialect, streamed and not: what the client sees, who is
//! asked how often, and what everything that keeps state says of it afterwards.
//!
//! The setting: the endpoint `a` is the best and faulty, `b` and `c` are fine. The session of the
//! request is new, or bound to `a` by an answer that it gave before. The expectations are the
//! table of failure kinds ([`consequence`]) and the two [tables](table) of faults.

mod page;
mod table;

use std::collections::BTreeSet;

use bytes::Bytes;
use http::header::CONTENT_LENGTH;
use qcc_core::classify::Timeouts;
use qcc_core::facts::Dialect;
use qcc_core::failure::Kind;
use qcc_core::record::Transition;
use qcc_core::simulate::Behaviour;
use qcc_core::time::Duration;
use qcc_tests::harness::{
    Ask, DIALECTS, End, MODEL, SESSION, Seen, State, World, answer, consequence, differences,
    visits,
};

use Outcome::{Elsewhere, Fine, Interrupted, Late, Silent, Stalled, Told};
use table::{FAULTS, Outcome, Row, SEQUENCES, Wait, idle};

/// Bytes are compared, so nothing of ours may stand between those of the upstream.
fn world() -> World {
    let timeouts = Timeouts::default().with_keep_alive(None);
    World::with(|builder| builder.timeouts(timeouts.expect("no time-out of zero")))
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
        let world = world();
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
        let id = format!("resp_a_sim_{}", u64::from(self.bound) + 1);
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
            Silent(_) | Late => before.failed(Kind::Timeout, asks),
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
            Silent(_) => (elsewhere(Kind::Timeout), "relayed 200".to_owned()),
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
                let world = world();
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
