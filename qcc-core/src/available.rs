//! Looking at an endpoint without reserving anything.
//!
//! [`Available`] is implemented by the state handles of layers (breaker, health, token pool),
//! not by services: `Balance` holds them beside an endpoint's service as its *gates*, so layers
//! of the user may stand anywhere in between.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use tokio::sync::Notify;

use crate::facts::Facts;
use crate::time::Instant;

/// A state handle that can say whether its endpoint may be used now.
pub trait Available: fmt::Debug + Send + Sync + 'static {
    /// Whether the endpoint may be used for the request of `query`. Reserves and changes
    /// nothing; the answer may be outdated at once.
    fn availability(&self, query: &Query<'_>) -> Availability;

    /// Told when another endpoint answered a request that this one had called invalid.
    fn overruled(&self, query: &Query<'_>) {
        let _ = query;
    }
}

/// Rung by a state handle when its endpoint failed or came back, for whoever looks after endpoints.
/// A ring that nobody waits for is not lost; several of those are one.
#[derive(Clone, Debug, Default)]
pub(crate) struct Bell(Arc<Notify>);

impl Bell {
    /// Something changed: have a look.
    pub(crate) fn ring(&self) {
        self.0.notify_one();
    }

    /// Ready when it rang since this was last ready.
    pub(crate) fn rang(&self) -> impl Future<Output = ()> + Send + '_ {
        self.0.notified()
    }
}

/// The question: this request, now.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Query<'a> {
    /// The head of the request.
    pub head: &'a Parts,
    /// Its facts.
    pub facts: &'a Facts,
    /// The name of the one credential that will do, if the request is bound to one.
    pub credential: Option<&'a str>,
    /// The current instant.
    pub now: Instant,
}

impl<'a> Query<'a> {
    /// A question about a request with this head and these facts at `now`.
    #[must_use]
    pub const fn new(head: &'a Parts, facts: &'a Facts, now: Instant) -> Self {
        Self {
            head,
            facts,
            credential: None,
            now,
        }
    }

    /// The same for a request that may use the credential of this name alone.
    #[must_use]
    pub const fn with_credential(mut self, name: Option<&'a str>) -> Self {
        self.credential = name;
        self
    }
}

/// The answer of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Availability {
    /// Use it.
    Ready,
    /// Use it if nothing is ready.
    Degraded,
    /// Do not use it.
    Out {
        /// Why.
        reason: Reason,
        /// Until when, if it ends by itself.
        until: Option<Instant>,
        /// When the endpoint last failed, if that is why it is out; last resort takes the one
        /// that failed least recently.
        failed: Option<Instant>,
    },
}

impl Availability {
    /// Out for `reason` until `until`.
    #[must_use]
    pub const fn out(reason: Reason, until: Option<Instant>) -> Self {
        Self::Out {
            reason,
            until,
            failed: None,
        }
    }
}

/// Why an endpoint is left out. The names are those that answers, `explain` and metrics use.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Reason {
    /// Switched off by the operator.
    Disabled,
    /// Its credential was refused.
    AuthFailed,
    /// Its breaker is open.
    Open,
    /// Its breaker is half-open and every probe slot is taken.
    Probing,
    /// A cool-down runs: a rate limit, a quota, or a `Retry-After` of the endpoint itself.
    Cooling,
    /// In the recovery queue.
    Queued,
    /// Marked unavailable.
    Marked,
    /// Does not have the model.
    Model,
    /// Does not speak the dialect.
    Dialect,
    /// Has as many requests in flight as it may.
    Full,
    /// Failed in this request before.
    Excluded,
}

impl Reason {
    /// Every reason, in the order of the variants.
    pub const ALL: [Self; 11] = [
        Self::Disabled,
        Self::AuthFailed,
        Self::Open,
        Self::Probing,
        Self::Cooling,
        Self::Queued,
        Self::Marked,
        Self::Model,
        Self::Dialect,
        Self::Full,
        Self::Excluded,
    ];

    /// The name used in answers, logs, metrics and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Disabled => "disabled",
            Self::AuthFailed => "auth_failed",
            Self::Open => "open",
            Self::Probing => "probing",
            Self::Cooling => "cooling",
            Self::Queued => "queued",
            Self::Marked => "marked",
            Self::Model => "model",
            Self::Dialect => "dialect",
            Self::Full => "full",
            Self::Excluded => "excluded",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How many endpoints were left out for each reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReasonCounts([u32; Reason::ALL.len()]);

impl ReasonCounts {
    /// Counts one more.
    pub fn add(&mut self, reason: Reason) {
        self.0[reason as usize] += 1;
    }

    /// How many were left out for `reason`.
    #[must_use]
    pub fn get(&self, reason: Reason) -> u32 {
        self.0[reason as usize]
    }

    /// The reasons that occurred, with their counts.
    pub fn iter(&self) -> impl Iterator<Item = (Reason, u32)> + '_ {
        Reason::ALL
            .into_iter()
            .map(|reason| (reason, self.get(reason)))
            .filter(|(_, count)| *count > 0)
    }

    /// How many were left out in all.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Whether somebody was left out and all of them for `reason`.
    #[must_use]
    pub fn only(&self, reason: Reason) -> bool {
        self.get(reason) > 0 && self.get(reason) == self.total()
    }
}
