//! `docs/fault-matrix.md`, written from the tables that the tests run.

use std::fmt::Write as _;
use std::fs;

use qcc_core::failure::{Blame, Kind};
use qcc_core::time::Duration;
use qcc_tests::harness::{Cooling, DIALECTS, consequence};
use qcc_tests::source::root;

use crate::table::{FAULTS, Outcome, Row, SEQUENCES, Wait, idle};

const PATH: &str = "docs/fault-matrix.md";

const INTRODUCTION: &str = "\
# Fault matrix

What becomes of a request when its upstream misbehaves: every fault of the simulator, in every
dialect, streamed and not. `tests/tests/fault_matrix` runs each line, in virtual time, against the
recommended stack with its defaults, and writes this page from the same table:
`QCC_WRITE_DOCS=1 cargo test -p qcc-tests --test fault_matrix`.

Endpoint `a` is the best one and has the fault; `b` is fine. \"Breaker\" is what the breaker of `a`
counts, \"blame\" whose fault the [kind](failures.md#kinds) is. The faults are written as
`qcc simulate` takes them, which lists them all with `--list`: a number behind `cut`, `stall` or
`error` says after how many events it comes. Silence is borne for 60 s of Anthropic, which pings, and
for 300 s of the others.
";

/// The page as the tables have it.
fn page() -> String {
    let mut page = INTRODUCTION.to_owned();
    let not_streamed = "\n## Not streamed\n\n\
        An answer that is not streamed is held until it is whole, so every failure of it is unseen.\n\
        All dialects alike.\n\n";
    page.push_str(not_streamed);
    page.push_str(
        "| fault | the client gets | elsewhere | kind | blame | breaker | afterwards |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|\n");
    for row in FAULTS {
        let cells = cells(row, row.whole, "", &silence(&DIALECTS.map(idle)));
        let _ = writeln!(page, "| `{}` | {cells} |", row.fault);
    }
    let streamed = "\n## Streamed\n\n\
        A stream is committed with its first output. What breaks before it is unseen; what breaks\n\
        after it is told in the dialect, behind the whole events that came.\n\n";
    page.push_str(streamed);
    page.push_str(
        "| fault | dialect | the client gets | elsewhere | kind | blame | breaker | afterwards |\n",
    );
    page.push_str("|---|---|---|---|---|---|---|---|\n");
    for row in FAULTS {
        let mut groups: Vec<(Outcome, Vec<usize>)> = Vec::new();
        for (place, outcome) in row.streamed.into_iter().enumerate() {
            match groups.iter_mut().find(|(other, _)| *other == outcome) {
                Some((_, places)) => places.push(place),
                None => groups.push((outcome, vec![place])),
            }
        }
        for (outcome, places) in groups {
            let names: Vec<_> = places
                .iter()
                .map(|&place| DIALECTS[place].as_str())
                .collect();
            let names = match names.len() {
                4 => "all".to_owned(),
                _ => names.join(", "),
            };
            let idles: Vec<_> = places.iter().map(|&place| idle(DIALECTS[place])).collect();
            let cells = cells(row, outcome, " event", &silence(&idles));
            let _ = writeln!(page, "| `{}` | {names} | {cells} |", row.fault);
        }
    }
    let sequences = "\n## Faults that pass or come with time\n\n\
        Requests of no session, one after another; all dialects, streamed and not.\n\n\
        | fault | answered by, in turn |\n|---|---|\n";
    page.push_str(sequences);
    for (fault, outcomes) in SEQUENCES {
        let answered: Vec<_> = outcomes
            .iter()
            .map(|outcome| match outcome {
                Outcome::Elsewhere(kind) => format!("`b`, after `{kind}`"),
                _ => "`a`".to_owned(),
            })
            .collect();
        let _ = writeln!(page, "| `{fault}` | {} |", answered.join("; "));
    }
    page
}

/// The idle time-outs, each once.
fn silence(idles: &[Duration]) -> String {
    let mut seconds: Vec<_> = idles
        .iter()
        .map(|idle| idle.as_secs().to_string())
        .collect();
    seconds.dedup();
    format!("{} s", seconds.join(" or "))
}

/// What the client gets, whether it comes from elsewhere, the kind, the blame, the breaker, and
/// what is left of it.
fn cells(row: &Row, outcome: Outcome, unit: &str, silence: &str) -> String {
    let events = |count: usize| format!("{count}{unit}{}", if count == 1 { "" } else { "s" });
    let (client, elsewhere, kind) = match outcome {
        Outcome::Fine => ("the answer of `a`".to_owned(), false, None),
        Outcome::Elsewhere(kind) => ("the answer of `b`".to_owned(), true, Some(kind)),
        Outcome::Silent(wait) => {
            let wait = match wait {
                Wait::FirstByte => "60 s",
                Wait::Idle => silence,
            };
            (
                format!("the answer of `b` after {wait}"),
                true,
                Some(Kind::Timeout),
            )
        }
        Outcome::Interrupted(count, kind) => {
            let client = format!("{}, then the closing event", events(count));
            (client, false, Some(kind))
        }
        Outcome::Stalled(count) => {
            let client = format!("{}, {silence} of silence, the closing event", events(count));
            (client, false, Some(Kind::Timeout))
        }
        Outcome::Told(count, kind) => {
            let client = format!("{}, then the error of `a`", events(count));
            (client, false, Some(kind))
        }
        Outcome::Late => {
            let client = "504 `deadline_exceeded` after 600 s".to_owned();
            (client, false, Some(Kind::Timeout))
        }
    };
    let elsewhere = if elsewhere { "yes" } else { "no" };
    let Some(kind) = kind else {
        return format!("{client} | {elsewhere} | - | - | - | -");
    };
    let of = consequence(kind);
    let breaker = if of.counted { "1" } else { "-" };
    let (blame, afterwards) = (of.blame.as_str(), afterwards(row, kind));
    format!("{client} | {elsewhere} | `{kind}` | {blame} | {breaker} | {afterwards}")
}

/// What keeps `a` from the next requests.
fn afterwards(row: &Row, kind: Kind) -> String {
    let of = consequence(kind);
    let asks = row.asks.map(|asks| asks.as_secs());
    match of.cooling {
        Cooling::Credential(seconds) => format!("the key rests {} s", asks.unwrap_or(seconds)),
        Cooling::Endpoint if asks.is_some() => {
            format!("the endpoint rests {} s", asks.unwrap_or_default())
        }
        _ if of.refused => "the key is refused".to_owned(),
        _ if of.skips_model => "skipped for the model for 600 s".to_owned(),
        _ if of.blame == Blame::Caller => "nobody is penalised".to_owned(),
        _ => "-".to_owned(),
    }
}

// SIM-01
#[test]
fn the_page_shows_what_the_tests_run() {
    let path = root().join(PATH);
    let page = page();
    if std::env::var_os("QCC_WRITE_DOCS").is_some() {
        fs::write(&path, &page).unwrap();
    }
    let written = fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page,
        "{PATH} is stale: run QCC_WRITE_DOCS=1 cargo test -p qcc-tests --test fault_matrix"
    );
}
