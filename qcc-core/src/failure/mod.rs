//! How a request fails: kind, class, blame, and the errors that carry them between layers.
//!
//! A failed send is an error value, found by walking [`source`](std::error::Error::source), so
//! that layers of the user may stand between ours. [`Failed`] is a failure before the commit
//! point, [`Refused`] one before anything was sent, [`Interrupted`] one after the commit point.

mod outcome;

use std::error::Error as StdError;
use std::fmt;

pub use self::outcome::{Failed, Interrupted, Refused};
use crate::time::Instant;

/// What went wrong. The kind decides what happens next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Kind {
    /// Refused, reset, closed before an answer, DNS, TLS.
    Transport,
    /// No connection, no first byte or no progress in time.
    Timeout,
    /// The endpoint says that it has too much to do.
    Overloaded,
    /// The credential is used too fast.
    RateLimit,
    /// The credential has used up what it may.
    Quota,
    /// The credential is refused.
    Auth,
    /// The endpoint does not have the model.
    NotFound,
    /// The request itself is at fault.
    InvalidRequest,
    /// The endpoint failed.
    Server,
    /// Anything else that is no answer: HTML, an empty body, garbage.
    Unknown,
}

/// The coarse class of a [`Kind`], as logs and counters name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Class {
    /// Soon over.
    Transient,
    /// Over when a limit is reset.
    RateLimit,
    /// Over when somebody changes a credential.
    Auth,
    /// The same request fails again.
    Permanent,
    /// Nobody knows.
    Unknown,
}

/// Whose fault a failure is. Breakers count only the endpoint's, token pools only the
/// credential's; the caller's penalises nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Blame {
    /// The request, or the client that went away.
    Caller,
    /// The credential that was used.
    Credential,
    /// The endpoint.
    Endpoint,
}

impl Kind {
    /// Every kind, in the order of the variants.
    pub const ALL: [Self; 10] = [
        Self::Transport,
        Self::Timeout,
        Self::Overloaded,
        Self::RateLimit,
        Self::Quota,
        Self::Auth,
        Self::NotFound,
        Self::InvalidRequest,
        Self::Server,
        Self::Unknown,
    ];

    /// The name used in logs, metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transport => "transport",
            Self::Timeout => "timeout",
            Self::Overloaded => "overloaded",
            Self::RateLimit => "rate_limit",
            Self::Quota => "quota",
            Self::Auth => "auth",
            Self::NotFound => "not_found",
            Self::InvalidRequest => "invalid_request",
            Self::Server => "server",
            Self::Unknown => "unknown",
        }
    }

    /// The class that the kind belongs to.
    #[must_use]
    pub const fn class(self) -> Class {
        match self {
            Self::Transport | Self::Timeout | Self::Overloaded => Class::Transient,
            Self::RateLimit | Self::Quota => Class::RateLimit,
            Self::Auth => Class::Auth,
            Self::NotFound | Self::InvalidRequest => Class::Permanent,
            Self::Server | Self::Unknown => Class::Unknown,
        }
    }

    /// Whose fault a failure of this kind is.
    #[must_use]
    pub const fn blame(self) -> Blame {
        match self {
            Self::InvalidRequest => Blame::Caller,
            Self::RateLimit | Self::Quota | Self::Auth => Blame::Credential,
            Self::Transport
            | Self::Timeout
            | Self::Overloaded
            | Self::NotFound
            | Self::Server
            | Self::Unknown => Blame::Endpoint,
        }
    }

    /// Whether a breaker counts a failure of this kind. A missing model is the endpoint's fault
    /// for that model alone and is not counted.
    #[must_use]
    pub const fn counts(self) -> bool {
        matches!(self.blame(), Blame::Endpoint) && !matches!(self, Self::NotFound)
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Class {
    /// The name used in logs and counters.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::RateLimit => "rate_limit",
            Self::Auth => "auth",
            Self::Permanent => "permanent",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl Blame {
    /// The name used in logs and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Credential => "credential",
            Self::Endpoint => "endpoint",
        }
    }
}

impl fmt::Display for Blame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Which wait ran out, so that logs can tell time-outs apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wait {
    /// For a connection.
    Connect,
    /// For the first byte of the answer.
    FirstByte,
    /// For the next byte of an answer that had begun.
    Idle,
    /// For the whole request, up to its commit point.
    Deadline,
}

impl fmt::Display for Wait {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Connect => "connect",
            Self::FirstByte => "first byte",
            Self::Idle => "idle",
            Self::Deadline => "deadline",
        })
    }
}

/// One judgement of an outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verdict {
    /// What went wrong.
    pub kind: Kind,
    /// Whose fault it is; usually [`Kind::blame`].
    pub blame: Blame,
    /// Until when the blamed one is not to be used, where the answer said so.
    pub until: Option<Instant>,
    /// The family of models that a limit is for, if it is for one only: a word of their names,
    /// like `opus`.
    pub family: Option<&'static str>,
}

impl Verdict {
    /// The verdict with the usual blame of `kind` and no cool-down.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            blame: kind.blame(),
            until: None,
            family: None,
        }
    }

    /// The same with a cool-down that ends at `until`.
    #[must_use]
    pub const fn until(mut self, until: Option<Instant>) -> Self {
        self.until = until;
        self
    }

    /// The same for one family of models only.
    #[must_use]
    pub const fn for_family(mut self, family: Option<&'static str>) -> Self {
        self.family = family;
        self
    }

    /// The same with another blame.
    #[must_use]
    pub const fn blamed_on(mut self, blame: Blame) -> Self {
        self.blame = blame;
        self
    }
}

/// The first `E` in the chain of `error`, itself included.
pub(crate) fn find<'a, E: StdError + 'static>(
    error: &'a (dyn StdError + 'static),
) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = error.source();
    }
    None
}
