//! Errors: the box between layers, and the one opaque error at the face.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use crate::available::{Reason, ReasonCounts};
use crate::endpoint::EndpointId;
use crate::exchange::RequestId;
use crate::failure::{Class, Kind};
use crate::time::{Duration, Instant};

/// The error between layers.
pub type BoxError = Box<dyn StdError + Send + Sync>;

/// No endpoint may be used: what `Balance` answers, with the reasons counted.
#[derive(Debug)]
pub struct NoEndpoint {
    reasons: ReasonCounts,
    until: Option<Instant>,
}

impl NoEndpoint {
    pub(crate) fn new(reasons: ReasonCounts, until: Option<Instant>) -> Self {
        Self { reasons, until }
    }

    /// Why each endpoint was left out.
    #[must_use]
    pub fn reasons(&self) -> &ReasonCounts {
        &self.reasons
    }

    /// When the first of them may be used again, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl fmt::Display for NoEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no endpoint may be used")?;
        for (index, (reason, count)) in self.reasons.iter().enumerate() {
            let separator = if index == 0 { ": " } else { ", " };
            write!(f, "{separator}{count} {reason}")?;
        }
        Ok(())
    }
}

impl StdError for NoEndpoint {}

/// The one endpoint that a request belongs to may not be used: the answer to a
/// [hard](crate::visit::Strength::Hard) preference that cannot be honoured.
#[derive(Clone, Debug)]
pub struct OwnerUnavailable {
    endpoint: EndpointId,
    name: Option<Arc<str>>,
    reason: Option<Reason>,
    until: Option<Instant>,
}

impl OwnerUnavailable {
    pub(crate) fn new(
        endpoint: EndpointId,
        name: Option<Arc<str>>,
        reason: Option<Reason>,
        until: Option<Instant>,
    ) -> Self {
        Self {
            endpoint,
            name,
            reason,
            until,
        }
    }

    /// Who the owner is.
    #[must_use]
    pub fn endpoint(&self) -> EndpointId {
        self.endpoint
    }

    /// Its name; `None` if it exists no more.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// Why it may not be used; `None` if it exists no more, [`Reason::Excluded`] if it was asked
    /// and failed.
    #[must_use]
    pub fn reason(&self) -> Option<Reason> {
        self.reason
    }

    /// When it may be used again, where that is known.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until
    }
}

impl fmt::Display for OwnerUnavailable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.reason.map_or("gone", Reason::as_str);
        f.write_str("the only endpoint that can answer, ")?;
        match &self.name {
            Some(name) => write!(f, "{name} ({})", self.endpoint)?,
            None => write!(f, "{}", self.endpoint)?,
        }
        write!(f, ", may not be used: {reason}")
    }
}

impl StdError for OwnerUnavailable {}

/// One send that failed, as the final error lists it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Attempt {
    /// Where it went; `None` without a balancer.
    pub endpoint: Option<EndpointId>,
    /// The name of that endpoint.
    pub name: Option<Arc<str>>,
    /// What went wrong.
    pub kind: Kind,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// How long it took.
    pub duration: Duration,
}

/// Why a request got no answer that could be relayed.
///
/// Opaque: ask it. The chain of sources is for logs and no stable API.
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    request_id: RequestId,
    attempts: Vec<Attempt>,
    reasons: ReasonCounts,
    retry_at: Option<Instant>,
    owner: Option<OwnerUnavailable>,
    source: Option<BoxError>,
}

/// The ways in which a request ends without an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// No endpoint could be tried.
    NoEndpoint,
    /// The one endpoint that can answer could not be used, or failed.
    OwnerUnavailable,
    /// Every endpoint that could be tried failed.
    AllFailed,
    /// The last failures were rate limits or quotas.
    RateLimited,
    /// Every credential was refused.
    AuthFailed,
    /// The deadline passed.
    Deadline,
    /// The client's own body could not be read.
    RequestBody,
    /// The caller has as many requests in flight as it may have.
    CallerFull,
}

impl Error {
    pub(crate) fn new(kind: ErrorKind, request_id: RequestId) -> Self {
        Self(Box::new(Inner {
            kind,
            request_id,
            attempts: Vec::new(),
            reasons: ReasonCounts::default(),
            retry_at: None,
            owner: None,
            source: None,
        }))
    }

    pub(crate) fn with_attempts(mut self, attempts: Vec<Attempt>) -> Self {
        self.0.attempts = attempts;
        self
    }

    pub(crate) fn with_reasons(mut self, reasons: ReasonCounts) -> Self {
        self.0.reasons = reasons;
        self
    }

    pub(crate) fn with_retry_at(mut self, retry_at: Option<Instant>) -> Self {
        self.0.retry_at = retry_at;
        self
    }

    pub(crate) fn with_owner(mut self, owner: Option<OwnerUnavailable>) -> Self {
        self.0.owner = owner;
        self
    }

    pub(crate) fn with_source(mut self, source: BoxError) -> Self {
        self.0.source = Some(source);
        self
    }

    /// What became of the request.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The id of the request.
    #[must_use]
    pub fn request_id(&self) -> &RequestId {
        &self.0.request_id
    }

    /// The sends that failed, oldest first. Empty if none could be made.
    #[must_use]
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// Why endpoints were left out of the last choice.
    #[must_use]
    pub fn reasons(&self) -> &ReasonCounts {
        &self.0.reasons
    }

    /// The earliest instant at which another try makes sense, where that is known.
    #[must_use]
    pub fn retry_at(&self) -> Option<Instant> {
        self.0.retry_at
    }

    /// The endpoint that the request is bound to, if that is why nobody else was asked.
    #[must_use]
    pub fn owner(&self) -> Option<&OwnerUnavailable> {
        self.0.owner.as_ref()
    }

    /// Whether nothing could be tried.
    #[must_use]
    pub fn is_no_endpoint(&self) -> bool {
        self.0.kind == ErrorKind::NoEndpoint
    }

    /// Whether a limit is all that stands in the way: the same request works later.
    #[must_use]
    pub fn is_rate_limited(&self) -> bool {
        match self.0.kind {
            ErrorKind::RateLimited | ErrorKind::CallerFull => true,
            ErrorKind::NoEndpoint => self.0.reasons.only(Reason::Cooling),
            ErrorKind::OwnerUnavailable => match self.0.attempts.last() {
                Some(last) => last.kind.class() == Class::RateLimit,
                None => self.0.reasons.only(Reason::Cooling),
            },
            _ => false,
        }
    }

    /// Whether every credential was refused.
    #[must_use]
    pub fn is_auth_failed(&self) -> bool {
        self.0.kind == ErrorKind::AuthFailed
    }

    /// Whether the deadline passed.
    #[must_use]
    pub fn is_deadline(&self) -> bool {
        self.0.kind == ErrorKind::Deadline
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("request_id", &self.0.request_id)
            .field("attempts", &self.0.attempts)
            .field("reasons", &self.0.reasons)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let tried = self.0.attempts.len();
        match self.0.kind {
            ErrorKind::NoEndpoint => f.write_str("no endpoint may be used now"),
            ErrorKind::OwnerUnavailable => match &self.0.owner {
                Some(owner) => owner.fmt(f),
                None => f.write_str("the only endpoint that can answer may not be used"),
            },
            ErrorKind::AllFailed => write!(f, "all {tried} attempts failed"),
            ErrorKind::RateLimited => write!(f, "all {tried} attempts met a rate limit"),
            ErrorKind::AuthFailed => write!(f, "every credential was refused ({tried} tried)"),
            ErrorKind::Deadline => write!(f, "the deadline passed after {tried} failed attempts"),
            ErrorKind::RequestBody => f.write_str("the body of the request could not be read"),
            ErrorKind::CallerFull => f.write_str("the caller has no place in flight left"),
        }
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_ref().map(|source| &**source as _)
    }
}
