//! Which failures mark an endpoint unavailable.

use std::fmt;
use std::str::FromStr;

use http::StatusCode;
use smallvec::SmallVec;

use crate::failure::Kind;
use crate::time::Duration;

/// Which failures mark an endpoint unavailable, and for how long. By default none does, and a
/// mark lasts 5 minutes.
///
/// For relays whose errors mean "not for a while" without a time that could be read. Nobody is
/// sent to a marked endpoint, not even as a last resort, until its time is over or the mark is
/// [taken back](crate::health::Health::unmark).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MarkOn {
    failures: SmallVec<[Marking; 4]>,
    ttl: Duration,
}

/// A failure that marks.
///
/// Written as in a configuration: `503` or `overloaded`. What the caller is to blame for marks
/// nobody, whatever it is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Marking {
    /// An answer with this status that was judged to be a failure, before its commit point.
    Status(StatusCode),
    /// A failure of this kind, also in the middle of an answer.
    Kind(Kind),
}

/// A text that names no failure that could mark an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "is no failure that marks an endpoint; write a status from 400 to 599 or one of: {}",
    Names
)]
#[non_exhaustive]
pub struct InvalidMarking;

struct Names;

impl fmt::Display for Names {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, kind) in Marking::kinds().enumerate() {
            f.write_str(if index == 0 { "" } else { ", " })?;
            f.write_str(kind.as_str())?;
        }
        Ok(())
    }
}

impl Marking {
    /// The kinds that can mark: all that are not the caller's fault.
    pub fn kinds() -> impl Iterator<Item = Kind> {
        let not_the_callers = |kind: &Kind| *kind != Kind::InvalidRequest;
        Kind::ALL.into_iter().filter(not_the_callers)
    }
}

impl FromStr for Marking {
    type Err = InvalidMarking;

    fn from_str(text: &str) -> Result<Self, InvalidMarking> {
        if let Some(kind) = Self::kinds().find(|kind| kind.as_str() == text) {
            return Ok(Self::Kind(kind));
        }
        match text.parse::<StatusCode>() {
            Ok(status) if (400..=599).contains(&status.as_u16()) => Ok(Self::Status(status)),
            _ => Err(InvalidMarking),
        }
    }
}

impl fmt::Display for Marking {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(status) => f.pad(status.as_str()),
            Self::Kind(kind) => f.pad(kind.as_str()),
        }
    }
}

impl Default for MarkOn {
    fn default() -> Self {
        Self::new([])
    }
}

impl MarkOn {
    /// Marks for 5 minutes on each of these failures.
    #[must_use]
    pub fn new<I: IntoIterator<Item = Marking>>(failures: I) -> Self {
        Self {
            failures: failures.into_iter().collect(),
            ttl: Duration::from_secs(5 * 60),
        }
    }

    /// How long a mark lasts, in place of 5 minutes.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The failures that mark.
    #[must_use]
    pub fn failures(&self) -> &[Marking] {
        &self.failures
    }

    /// How long a mark lasts.
    #[must_use]
    pub const fn ttl(&self) -> Duration {
        self.ttl
    }

    /// The first failure of the list that this one is.
    pub(crate) fn find(&self, kind: Kind, status: Option<StatusCode>) -> Option<Marking> {
        let is_it = |marking: &&Marking| match marking {
            Marking::Status(marked) => status == Some(*marked),
            Marking::Kind(marked) => kind == *marked,
        };
        self.failures.iter().find(is_it).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // ACC-07
    #[test]
    fn a_failure_that_marks_is_a_status_of_an_error_or_a_kind() {
        for text in ["400", "503", "599", "overloaded", "rate_limit", "transport"] {
            let marking: Marking = text.parse().unwrap();
            assert_eq!(marking.to_string(), text);
        }
        for text in [
            "",
            "200",
            "399",
            "600",
            "5xx",
            "Overloaded",
            "invalid_request",
        ] {
            assert_eq!(text.parse::<Marking>(), Err(InvalidMarking), "{text}");
        }
        let error = InvalidMarking.to_string();
        assert!(error.ends_with("one of: transport, timeout, overloaded, rate_limit, quota, auth, not_found, server, unknown"), "{error}");
    }

    // ACC-07
    #[test]
    fn nothing_marks_unless_it_is_named() {
        let bad_gateway = StatusCode::BAD_GATEWAY;
        let usual = MarkOn::default();
        assert_eq!(usual.ttl(), Duration::from_secs(300));
        assert_eq!(usual.find(Kind::Server, Some(bad_gateway)), None);
        let status = Marking::Status(bad_gateway);
        let named = MarkOn::new([status, Marking::Kind(Kind::Timeout)]);
        assert_eq!(named.find(Kind::Server, Some(bad_gateway)), Some(status));
        assert_eq!(named.find(Kind::Server, None), None);
        assert_eq!(
            named.find(Kind::Timeout, None),
            Some(Marking::Kind(Kind::Timeout))
        );
    }
}
