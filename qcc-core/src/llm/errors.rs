//! Verdicts on errors.

use http::{HeaderMap, StatusCode};

use crate::facts::Facts;
use crate::failure::{Kind, Verdict};
use crate::time::{Instant, SystemTime};

/// What is known of a failure.
pub(crate) struct Evidence<'a> {
    pub(crate) facts: &'a Facts,
    /// `None` for an error event, and for an error body under 200.
    pub(crate) status: Option<StatusCode>,
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The JSON of the error.
    pub(crate) body: &'a [u8],
    pub(crate) now: Instant,
    pub(crate) date: SystemTime,
}

/// The verdict on a failure.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let _ = (
        evidence.facts,
        evidence.headers,
        evidence.now,
        evidence.date,
    );
    let says = |word: &str| memchr::memmem::find(evidence.body, word.as_bytes()).is_some();
    Verdict::new(match evidence.status.map(|status| status.as_u16()) {
        None if says("overloaded_error") || says("UNAVAILABLE") => Kind::Overloaded,
        None if says("authentication_error") || says("API_KEY_INVALID") => Kind::Auth,
        None if says("rate_limit") || says("RESOURCE_EXHAUSTED") => Kind::RateLimit,
        None if says("invalid_request_error") || says("invalid_prompt") => Kind::InvalidRequest,
        None if says("server_error") || says("api_error") => Kind::Server,
        Some(401 | 403) => Kind::Auth,
        Some(402) => Kind::Quota,
        Some(404) => Kind::NotFound,
        Some(429) => Kind::RateLimit,
        Some(408 | 409 | 500) => Kind::Server,
        Some(502..=504 | 529) => Kind::Overloaded,
        Some(400..=499) => Kind::InvalidRequest,
        Some(500..) => Kind::Server,
        _ => Kind::Unknown,
    })
}
