//! One check and what came of it.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use super::probe::{Code, Validity};
use crate::endpoint::Endpoint;
use crate::exchange::RequestId;
use crate::failure::Kind;
use crate::time::{Duration, SystemTime};

/// How a check went, before its answer was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Outcome {
    /// It was answered with a status of success, which alone means nothing.
    Answered,
    /// The credential was refused.
    AuthFailed,
    /// The credential is limited.
    RateLimited,
    /// There was no answer in time.
    Timeout,
    /// Anything else.
    Failed,
}

impl Outcome {
    /// The name used in listings, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::AuthFailed => "auth_failed",
            Self::RateLimited => "rate_limited",
            Self::Timeout => "timeout",
            Self::Failed => "failed",
        }
    }

    /// What an answer with this status means.
    #[must_use]
    pub fn of_status(status: StatusCode) -> Self {
        match status.as_u16() {
            200..=299 => Self::Answered,
            401 | 403 => Self::AuthFailed,
            429 => Self::RateLimited,
            _ => Self::Failed,
        }
    }

    /// What a failure of this kind without an answer means.
    #[must_use]
    pub const fn of_kind(kind: Kind) -> Self {
        match kind {
            Kind::Auth => Self::AuthFailed,
            Kind::RateLimit | Kind::Quota => Self::RateLimited,
            Kind::Timeout => Self::Timeout,
            _ => Self::Failed,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// One check of an endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Check {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// The id of the check, sent as `x-request-id`.
    pub id: RequestId,
    /// When it began.
    pub time: SystemTime,
    /// The question.
    pub message: String,
    /// What had to come back.
    pub code: Code,
    /// How it went.
    pub outcome: Outcome,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// How long it took.
    pub latency: Duration,
    /// The text of the answer, at most a few hundred characters.
    pub content: String,
    /// What the answer shows.
    pub validity: Validity,
    /// 0 to 100: see [`score`].
    pub score: u8,
    /// What went wrong, in a few words.
    pub error: Option<String>,
}

impl Check {
    /// Whether the endpoint works: it answered, and the answer was the right one.
    #[must_use]
    pub fn is_valid(&self) -> bool {
        self.outcome == Outcome::Answered && self.validity == Validity::Valid
    }

    /// Whether the endpoint answered what no working endpoint answers.
    #[must_use]
    pub fn is_invalid_answer(&self) -> bool {
        self.outcome == Outcome::Answered && self.validity == Validity::Invalid
    }
}

/// How good an answer is, from 0 to 100: 50 for a valid one; 30, 20 or 10 for one in less than
/// 500 ms, 1 s or 2 s; 20, 15 or 10 for a text of less than 50 characters, less than 100, or more.
#[must_use]
pub fn score(valid: bool, latency: Duration, content: &str) -> u8 {
    let validity = if valid { 50 } else { 0 };
    let speed = match latency.as_millis() {
        ..500 => 30,
        500..1000 => 20,
        1000..2000 => 10,
        _ => 0,
    };
    let length = match content.chars().take(100).count() {
        0 => 0,
        1..50 => 20,
        50..100 => 15,
        _ => 10,
    };
    validity + speed + length
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    // PRB-17
    #[test]
    fn the_score_adds_up_validity_speed_and_brevity() {
        for (valid, latency, content, expected) in [
            (true, 1824, "EHPLSP", 80),
            (false, 686, "", 20),
            (true, 499, "ABC123", 100),
            (true, 500, "ABC123", 90),
            (true, 1000, "ABC123", 80),
            (true, 2000, "ABC123", 70),
        ] {
            assert_eq!(score(valid, MS(latency), content), expected, "{latency} ms");
        }
        for (characters, expected) in [(1, 20), (49, 20), (50, 15), (99, 15), (100, 10), (900, 10)]
        {
            let content = "码".repeat(characters);
            assert_eq!(score(false, MS(5000), &content), expected, "{characters}");
        }
    }

    // PRB-10
    #[test]
    fn a_status_and_a_failure_without_an_answer_have_an_outcome() {
        for (status, outcome) in [
            (200, Outcome::Answered),
            (401, Outcome::AuthFailed),
            (403, Outcome::AuthFailed),
            (429, Outcome::RateLimited),
            (400, Outcome::Failed),
            (404, Outcome::Failed),
            (500, Outcome::Failed),
            (529, Outcome::Failed),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(Outcome::of_status(status), outcome, "{status}");
        }
        assert_eq!(Outcome::of_kind(Kind::Timeout), Outcome::Timeout);
        assert_eq!(Outcome::of_kind(Kind::Transport), Outcome::Failed);
    }
}
