//! What has to come of each fault: the table that the tests run and `docs/fault-matrix.md` shows.

use qcc_core::facts::Dialect;
use qcc_core::failure::Kind;
use qcc_core::time::Duration;

/// What has to come of one request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Outcome {
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
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Wait {
    /// UPS-07: 60 s up to the first byte of a stream.
    FirstByte,
    /// STR-09: 60 s for Anthropic, 300 s for the others.
    Idle,
}

use Kind::{
    Auth, InvalidRequest, NotFound, Overloaded, Quota, RateLimit, Server, Transport, Unknown,
};
use Outcome::{Elsewhere, Fine, Interrupted, Late, Silent, Stalled, Told};

/// A fault: what becomes of an answer in one piece, and of a stream in each of the dialects, in
/// the order of [`DIALECTS`].
pub(crate) struct Row {
    pub(crate) fault: &'static str,
    pub(crate) whole: Outcome,
    pub(crate) streamed: [Outcome; 4],
    /// How long the fault says that it lasts.
    pub(crate) asks: Option<Duration>,
    /// How long a good answer takes, in one piece and streamed, in milliseconds.
    pub(crate) takes: (u64, [u64; 4]),
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
pub(crate) const FAULTS: &[Row] = &[
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
pub(crate) const SEQUENCES: &[(&str, &[Outcome])] = &[
    ("quota:1", &[Fine, Elsewhere(RateLimit)]),
    (
        "first:2:status:500",
        &[Elsewhere(Server), Elsewhere(Server), Fine, Fine],
    ),
];

/// How long a stream may be silent.
pub(crate) const fn idle(dialect: Dialect) -> Duration {
    match dialect {
        Dialect::Anthropic => Duration::from_secs(60),
        _ => Duration::from_secs(300),
    }
}
