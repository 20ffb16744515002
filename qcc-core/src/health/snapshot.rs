//! The record of an endpoint at one moment, and what it means: pure.

use std::sync::Arc;

use http::StatusCode;

use crate::available::Reason;
use crate::exchange::RequestId;
use crate::failure::Kind;
use crate::time::{Duration, Instant};

/// How an endpoint does, as far as its answers tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Status {
    /// Nothing is known yet.
    #[default]
    Unknown,
    /// Its last answer was good.
    Healthy,
    /// It answers, but is to be used only if nothing better is left.
    Degraded,
    /// Its credential was refused.
    Unhealthy,
}

impl Status {
    /// The name used in listings, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Unhealthy => "unhealthy",
        }
    }
}

/// The refusal of an endpoint's last usable credential.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AuthFailure {
    /// Since when it is known.
    pub since: Instant,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// The request that met it.
    pub request: RequestId,
}

/// The last failure of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// What went wrong.
    pub kind: Kind,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// When.
    pub at: Instant,
    /// The request that met it.
    pub request: RequestId,
}

/// A mark that keeps requests away from an endpoint for a time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Unavailable {
    /// Why, in the words of whoever set it.
    pub reason: Arc<str>,
    /// Until when.
    pub until: Instant,
}

/// The record of an endpoint at one moment. Reading it changes nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct Snapshot {
    /// Whether it may be used: the operator wants it, and its credential was not refused.
    pub enabled: bool,
    /// What the operator wants, kept apart from what happened.
    pub wanted: bool,
    /// The refusal of its credential, until it is taken back.
    pub auth_failure: Option<AuthFailure>,
    /// How it does.
    pub status: Status,
    /// Until when it asked not to be used.
    pub cooling: Option<Instant>,
    /// The mark that keeps requests away.
    pub unavailable: Option<Unavailable>,
    /// Calls that came to an end. One that the client gave up is none.
    pub total: u64,
    /// Those of them that failed through the fault of endpoint or credential.
    pub failed: u64,
    /// The mean time up to the commit point or the failed answer, of the calls that have one.
    pub response_time: Option<Duration>,
    /// The last failure that was not the caller's.
    pub last_failure: Option<LastFailure>,
    /// The models that it is not asked for, and until when.
    pub models: Vec<(Arc<str>, Instant)>,
}

impl Snapshot {
    /// Why it is switched off.
    #[must_use]
    pub const fn reason(&self) -> Option<Reason> {
        match (self.wanted, &self.auth_failure) {
            (false, _) => Some(Reason::Disabled),
            (true, Some(_)) => Some(Reason::AuthFailed),
            (true, None) => None,
        }
    }

    /// The share of calls that did not fail, in percent; `None` before the first call.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        let good = self.total.saturating_sub(self.failed);
        (self.total > 0).then(|| good as f64 / self.total as f64 * 100.0)
    }

    /// Failures in a row: those that the breaker counts, and one more while the credential is
    /// refused.
    #[must_use]
    pub const fn consecutive_failures(&self, breaker: u32) -> u32 {
        breaker.saturating_add(self.auth_failure.is_some() as u32)
    }

    /// [`is_healthy`] for this record and a breaker that counts `breaker` failures.
    #[must_use]
    pub const fn is_healthy(&self, breaker: u32, max_failures: u32) -> bool {
        is_healthy(
            self.wanted,
            self.auth_failure.is_some(),
            self.status,
            self.consecutive_failures(breaker),
            max_failures,
        )
    }
}

/// Whether an endpoint is healthy: it is enabled, its credential is not refused, it is neither
/// degraded nor unhealthy, and fewer than `max_failures` visits failed in a row. Each of these
/// alone decides against it.
#[must_use]
pub const fn is_healthy(
    enabled: bool,
    auth_failed: bool,
    status: Status,
    consecutive_failures: u32,
    max_failures: u32,
) -> bool {
    enabled
        && !auth_failed
        && matches!(status, Status::Unknown | Status::Healthy)
        && consecutive_failures < max_failures
}

#[cfg(test)]
mod tests {
    use super::*;

    // SEL-06
    #[test]
    fn disabled_auth_failed_or_unhealthy_is_each_enough_to_be_unhealthy() {
        assert!(is_healthy(true, false, Status::Healthy, 0, 3));
        for status in [Status::Unknown, Status::Healthy] {
            assert!(!is_healthy(false, false, status, 0, 3));
            assert!(!is_healthy(true, true, status, 0, 3));
        }
        assert!(!is_healthy(true, false, Status::Unhealthy, 0, 3));
    }

    // SEL-07
    #[test]
    fn as_many_failures_as_allowed_are_too_many_and_one_less_is_not() {
        assert!(!is_healthy(true, false, Status::Healthy, 3, 3));
        assert!(is_healthy(true, false, Status::Healthy, 2, 3));
    }

    // SEL-08
    #[test]
    fn unknown_and_healthy_are_healthy_and_degraded_is_not() {
        assert!(is_healthy(true, false, Status::Unknown, 0, 3));
        assert!(is_healthy(true, false, Status::Healthy, 0, 3));
        assert!(!is_healthy(true, false, Status::Degraded, 0, 3));
    }
}
