//! The decision record: what was considered, tried and answered for one request.
//!
//! Layers note what happens through their [`Exchange`](crate::exchange::Exchange); nobody reads
//! them back to decide. Retry's outermost body seals the record exactly once and hands it to
//! the [`RecordSink`]. A record holds no secret, no prompt and no answer.

mod event;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::StatusCode;
use sha2::{Digest as _, Sha256};
use smallvec::SmallVec;

pub(crate) use self::event::{Event, LeftOuts};
use crate::available::{Reason, ReasonCounts};
use crate::endpoint::Endpoint;
use crate::error::ErrorKind;
use crate::exchange::{RequestId, SendKind};
use crate::facts::{Dialect, Facts};
use crate::failure::{Kind, Verdict, Wait};
use crate::hex;
use crate::time::{Duration, Instant, SystemTime};

/// At most this many endpoints that were left out are named for each visit; the others are
/// counted.
pub const NAMED_LEFT_OUT: usize = 16;

/// Everything that was decided for one request. Times are durations since its start.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Record {
    /// The id of the request.
    pub id: RequestId,
    /// When it came in.
    pub started_at: SystemTime,
    /// The cluster that served it.
    pub cluster: Option<Arc<str>>,
    /// The name of the client that sent it, where somebody knows it.
    pub client: Option<Arc<str>>,
    /// Its dialect.
    pub dialect: Option<Dialect>,
    /// The model that it named.
    pub model: Option<Arc<str>>,
    /// Whether it asked for a stream.
    pub stream: bool,
    /// Its session, hashed.
    pub session: Option<SessionHash>,
    /// How long it had, up to its commit point.
    pub deadline: Option<Duration>,
    /// Its visits, in order.
    pub visits: SmallVec<[VisitRecord; 1]>,
    /// When its answer was committed.
    pub committed: Option<Duration>,
    /// What the answer said about tokens.
    pub usage: Option<Usage>,
    /// What happened to the binding of its session.
    pub binding: Option<Transition>,
    /// What the client got.
    pub answer: Answer,
    /// How long everything took, the body included.
    pub duration: Duration,
}

impl Record {
    /// An empty record of a request that came in on this date. Layers make their own; whoever
    /// tests a [`RecordSink`] makes one here and sets its fields.
    #[must_use]
    pub fn new(id: RequestId, started_at: SystemTime) -> Self {
        Self {
            id,
            started_at,
            cluster: None,
            client: None,
            dialect: None,
            model: None,
            stream: false,
            session: None,
            deadline: None,
            visits: SmallVec::new(),
            committed: None,
            usage: None,
            binding: None,
            answer: Answer::Pending,
            duration: Duration::ZERO,
        }
    }

    pub(crate) fn set_facts(&mut self, facts: &Facts) {
        self.dialect = facts.dialect;
        self.model.clone_from(&facts.model);
        self.stream = facts.stream;
    }

    /// Every send of every visit, in order, with the endpoint that it went to.
    pub fn sends(&self) -> impl Iterator<Item = (Option<&Arc<Endpoint>>, &SendRecord)> {
        self.visits.iter().flat_map(|visit| {
            visit
                .sends
                .iter()
                .map(|send| (visit.endpoint.as_ref(), send))
        })
    }

    /// How many sends were attempts: those that count against the limit of a request.
    #[must_use]
    pub fn attempts(&self) -> usize {
        self.sends()
            .filter(|(_, send)| {
                send.kind.is_attempt() && !matches!(send.result, SendResult::Refused(_))
            })
            .count()
    }

    /// The endpoint that answered or, if none did, the last one that was tried.
    #[must_use]
    pub fn endpoint(&self) -> Option<&Arc<Endpoint>> {
        self.visits
            .iter()
            .rev()
            .find_map(|visit| visit.endpoint.as_ref())
    }
}

/// One stay at one endpoint.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct VisitRecord {
    /// When it began.
    pub started: Duration,
    /// The endpoints that were looked at and left out, by name.
    pub left_out: SmallVec<[LeftOut; 1]>,
    /// Those beyond [`NAMED_LEFT_OUT`], by reason.
    pub others: ReasonCounts,
    /// The endpoint that was chosen.
    pub endpoint: Option<Arc<Endpoint>>,
    /// From which tier it was chosen.
    pub tier: Option<Tier>,
    /// What became of a preference for an endpoint.
    pub preference: Option<Fate>,
    /// What was sent there.
    pub sends: SmallVec<[SendRecord; 1]>,
}

impl VisitRecord {
    /// A visit that began so long after the request and did nothing yet.
    #[must_use]
    pub fn new(started: Duration) -> Self {
        Self {
            started,
            left_out: SmallVec::new(),
            others: ReasonCounts::default(),
            endpoint: None,
            tier: None,
            preference: None,
            sends: SmallVec::new(),
        }
    }
}

/// An endpoint that was left out of a choice.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct LeftOut {
    /// Which.
    pub endpoint: Arc<Endpoint>,
    /// Why.
    pub reason: Reason,
    /// Until when, on the monotonic clock.
    pub until: Option<Instant>,
}

impl LeftOut {
    /// `endpoint`, left out for `reason` until `until`.
    #[must_use]
    pub const fn new(endpoint: Arc<Endpoint>, reason: Reason, until: Option<Instant>) -> Self {
        Self {
            endpoint,
            reason,
            until,
        }
    }
}

/// One request to an upstream with one credential.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct SendRecord {
    /// Why it was sent.
    pub kind: SendKind,
    /// The name of the credential.
    pub credential: Option<Arc<str>>,
    /// The credentials that would have been used before it, if they could be.
    pub passed_over: Vec<PassedOver>,
    /// When it began.
    pub started: Duration,
    /// When the first byte of its body came, since its own start.
    pub first_byte: Option<Duration>,
    /// The status of its answer.
    pub status: Option<StatusCode>,
    /// How long it took, the body included.
    pub duration: Duration,
    /// How many bytes of its body went to the client.
    pub bytes: u64,
    /// What came of it.
    pub result: SendResult,
}

impl SendRecord {
    /// A send of this kind that began so long after the request.
    #[must_use]
    pub const fn new(kind: SendKind, started: Duration) -> Self {
        Self {
            kind,
            credential: None,
            passed_over: Vec::new(),
            started,
            first_byte: None,
            status: None,
            duration: Duration::ZERO,
            bytes: 0,
            result: SendResult::Pending,
        }
    }
}

/// A credential of a pool that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct PassedOver {
    /// Its name.
    pub name: Arc<str>,
    /// Its state: `cooling`, `inactive` or `refused`.
    pub state: &'static str,
    /// Until when, if that ends by itself.
    pub until: Option<Instant>,
}

impl PassedOver {
    /// The credential of this name, in this state until `until`.
    #[must_use]
    pub const fn new(name: Arc<str>, state: &'static str, until: Option<Instant>) -> Self {
        Self { name, state, until }
    }
}

/// What came of a send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum SendResult {
    /// Nothing yet.
    Pending,
    /// It was refused before it was sent.
    Refused(Reason),
    /// It failed before its commit point.
    Failed {
        /// The verdict.
        verdict: Verdict,
        /// Which wait ran out.
        wait: Option<Wait>,
    },
    /// Its answer was committed and has not ended.
    Committed,
    /// Its answer ended properly.
    Clean,
    /// Its answer broke after its commit point.
    Broken(Verdict),
    /// Nobody wanted the rest of it.
    Canceled,
}

/// From which tier an endpoint was chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tier {
    /// Ready.
    Ready,
    /// Degraded, because none was ready.
    Degraded,
    /// Merely open or unhealthy, because nothing else was left.
    LastResort,
}

impl Tier {
    /// The name used in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Degraded => "degraded",
            Self::LastResort => "last_resort",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What became of a preference for an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It was chosen.
    Honoured,
    /// It was chosen, and no other may be in this request.
    Owned,
    /// It could not be used now.
    PassedOver {
        /// Why.
        reason: Reason,
        /// Until when.
        until: Option<Instant>,
    },
    /// It is no member any more.
    Gone,
}

/// What happened to the binding of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Transition {
    /// A new binding was made.
    Bound,
    /// The bound endpoint answered; the lifetime starts again.
    Refreshed,
    /// Another endpoint answered this once; the binding stays.
    Escaped,
    /// The binding moved to the endpoint that answered.
    Rebound,
    /// The binding was removed.
    Invalidated,
}

impl Transition {
    /// The name used in records and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Bound => "bound",
            Self::Refreshed => "refreshed",
            Self::Escaped => "escaped",
            Self::Rebound => "rebound",
            Self::Invalidated => "invalidated",
        }
    }
}

impl fmt::Display for Transition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What the client got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Answer {
    /// Nothing yet.
    Pending,
    /// An upstream's answer, to its end.
    Relayed {
        /// Its status.
        status: StatusCode,
    },
    /// An upstream's answer that broke and was closed in the client's dialect, or aborted.
    Interrupted {
        /// Its status.
        status: StatusCode,
        /// What broke it.
        kind: Kind,
    },
    /// An error of ours.
    Failed(ErrorKind),
    /// The client went away.
    Canceled,
}

/// Tokens, as the answer told them; what it did not tell is `None`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Usage {
    /// All input tokens, cached ones included.
    pub input: Option<u64>,
    /// Input tokens read from a cache.
    pub cached: Option<u64>,
    /// All output tokens, reasoning included.
    pub output: Option<u64>,
}

/// A session id, hashed: the first 128 bits of SHA-256, shown as 32 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SessionHash(pub [u8; 16]);

impl SessionHash {
    /// The hash of a session id.
    #[must_use]
    pub fn of(id: &str) -> Self {
        let mut hash = [0; 16];
        hash.copy_from_slice(&Sha256::digest(id)[..16]);
        Self(hash)
    }
}

/// A text that is no [`SessionHash`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the hash of a session has 32 hexadecimal digits")]
pub struct InvalidSessionHash(());

/// As it is displayed.
impl FromStr for SessionHash {
    type Err = InvalidSessionHash;

    fn from_str(text: &str) -> Result<Self, InvalidSessionHash> {
        if text.len() != 32 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(InvalidSessionHash(()));
        }
        let number = u128::from_str_radix(text, 16).map_err(|_| InvalidSessionHash(()))?;
        Ok(Self(number.to_be_bytes()))
    }
}

impl fmt::Display for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, self.0)
    }
}

impl fmt::Debug for SessionHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SessionHash({self})")
    }
}

/// Takes the record of each finished request. Called on the request's own task: hand it on,
/// do not wait.
pub trait RecordSink: fmt::Debug + Send + Sync + 'static {
    /// A request came to its end.
    fn finished(&self, record: Arc<Record>);
}
