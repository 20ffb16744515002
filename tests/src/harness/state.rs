//! What an endpoint looks like from outside, and how failures change that.

use std::fmt;

use qcc_core::time::{self, Duration, Instant};
use qcc_core::token::TokenState;

use super::World;

/// Everything that can be seen of an endpoint. Times are what is left of them.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// Requests that the upstream got.
    pub calls: u64,
    /// Those that it still works on.
    pub unfinished: u64,
    /// The keys that it was shown beside its own.
    pub strange_keys: Vec<String>,
    /// The state of its breaker.
    pub breaker: &'static str,
    /// The failures that its breaker counts.
    pub failures: u32,
    /// What its requests say of it.
    pub status: &'static str,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it is healthy.
    pub is_healthy: bool,
    /// Whether its credential was refused.
    pub auth_failed: bool,
    /// The failures in a row, that of the credential included.
    pub consecutive_failures: u32,
    /// Visits that came to an end.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
    /// Its places taken.
    pub in_flight: u32,
    /// Why it is left out.
    pub out: Option<(&'static str, Option<Duration>)>,
    /// The state of its credential.
    pub token: Token,
    /// The failures of its credential in a row.
    pub token_failures: u32,
    /// The models that it is not asked for.
    pub models: Vec<(String, Duration)>,
}

/// The state of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// It can be used.
    Active,
    /// It is limited for so long.
    Cooling(Duration),
    /// It was refused.
    Refused,
    /// There is none.
    Missing,
}

impl State {
    /// An endpoint that nothing was asked of yet.
    #[must_use]
    pub const fn untouched() -> Self {
        Self {
            calls: 0,
            unfinished: 0,
            strange_keys: Vec::new(),
            breaker: "closed",
            failures: 0,
            status: "unknown",
            enabled: true,
            is_healthy: true,
            auth_failed: false,
            consecutive_failures: 0,
            total: 0,
            failed: 0,
            in_flight: 0,
            out: None,
            token: Token::Active,
            token_failures: 0,
            models: Vec::new(),
        }
    }

    pub(super) fn of(world: &World, name: &str) -> Self {
        let now = time::now();
        let handle = world.endpoint(name);
        let status = handle.status();
        let counts = world.simulator.counts(name);
        let token = handle.tokens().snapshot(now).into_iter().next();
        let left = |until: Instant| until.saturating_duration_since(now);
        Self {
            calls: counts.requests,
            unfinished: counts.in_flight,
            strange_keys: counts
                .keys
                .into_keys()
                .map(String::from)
                .filter(|key| *key != format!("sk-test-{name}"))
                .collect(),
            breaker: status.breaker.state.as_str(),
            failures: status.breaker.failures,
            status: status.status.as_str(),
            enabled: status.enabled,
            is_healthy: status.is_healthy,
            auth_failed: status.auth_failed,
            consecutive_failures: status.consecutive_failures,
            total: status.total,
            failed: status.failed,
            in_flight: status.in_flight,
            out: status.out.map(|(reason, left)| (reason.as_str(), left)),
            token_failures: token.as_ref().map_or(0, |token| token.failures),
            token: match token.map(|token| token.state) {
                Some(TokenState::Active) => Token::Active,
                Some(TokenState::Cooling { until }) => Token::Cooling(left(until)),
                Some(TokenState::Refused { .. }) => Token::Refused,
                _ => Token::Missing,
            },
            models: handle
                .health()
                .snapshot(now)
                .models
                .into_iter()
                .map(|(model, until)| (model.to_string(), left(until)))
                .collect(),
        }
    }
}

/// One line for each field, so that two states can be compared line by line.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            unfinished,
            strange_keys,
            breaker,
            failures,
            status,
            enabled,
            is_healthy,
            auth_failed,
            consecutive_failures,
            total,
            failed,
            in_flight,
            out,
            token,
            token_failures,
            models,
        } = self;
        writeln!(
            f,
            "calls {calls}, unfinished {unfinished}, strange keys {strange_keys:?}"
        )?;
        writeln!(f, "breaker {breaker}, failures {failures}")?;
        writeln!(
            f,
            "status {status}, enabled {enabled}, is_healthy {is_healthy}"
        )?;
        writeln!(
            f,
            "auth_failed {auth_failed}, consecutive_failures {consecutive_failures}"
        )?;
        writeln!(f, "total {total}, failed {failed}, in_flight {in_flight}")?;
        writeln!(f, "out {out:?}")?;
        writeln!(f, "token {token:?}, token_failures {token_failures}")?;
        writeln!(f, "models {models:?}")
    }
}

/// What differs, as lines of `-` what should be and `+` what is.
#[must_use]
pub fn differences(what: &str, expected: &impl fmt::Debug, got: &impl fmt::Debug) -> Vec<String> {
    let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
    let (mut expected, mut got) = (expected.lines(), got.lines());
    let mut found = Vec::new();
    loop {
        match (expected.next(), got.next()) {
            (None, None) => return found,
            (one, other) if one == other => {}
            (one, other) => {
                let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
                found.push(format!("{what}\n      - {one}\n      + {other}"));
            }
        }
    }
}
