//! One client request, from its arrival to the end of its answer.

mod id;

use std::fmt;
use std::mem;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use http::Extensions;

pub use self::id::{InvalidRequestId, RequestId};
use crate::endpoint::Endpoint;
use crate::facts::Facts;
use crate::record::{Event, Fate, Record, Tier};
use crate::resource::{Learnt, ResourceKind, Resources};
use crate::time::{self, Instant, SystemClock, SystemTime, WallClock as _};
use crate::visit::Visit;

/// What all layers know of one client request. Cheap to clone; made by the first of our layers
/// that finds none, and passed down in the extensions of the request.
#[derive(Clone)]
pub struct Exchange(Arc<Inner>);

struct Inner {
    id: RequestId,
    started: Instant,
    date: SystemTime,
    facts: OnceLock<Facts>,
    deadline: OnceLock<Instant>,
    deadline_is_watched: AtomicBool,
    attempt_limit: AtomicU32,
    attempts: AtomicU32,
    // Whether `Ledger::learnt` says anything. Published under the lock.
    has_learnt: AtomicBool,
    ledger: Mutex<Ledger>,
}

struct Ledger {
    /// Nobody else has it while it is open.
    record: Arc<Record>,
    sealed: bool,
    choice: Option<Choice>,
    credential: Option<Arc<str>>,
    learnt: Learnt,
}

impl Ledger {
    fn open(&mut self) -> Option<&mut Record> {
        if self.sealed {
            return None;
        }
        Arc::get_mut(&mut self.record)
    }
}

/// What Balance chose for the visit that is under way, and what became of a preference.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Choice {
    /// The endpoint of the visit; `None` if none could be had.
    pub endpoint: Option<Arc<Endpoint>>,
    /// The fate of the preferred endpoint; `None` without a preference.
    pub preference: Option<Fate>,
}

impl Exchange {
    /// A request that came in now.
    #[must_use]
    pub fn new(id: RequestId) -> Self {
        Self::starting_at(id, SystemClock.now())
    }

    /// A request that came in now, on this date.
    #[must_use]
    pub fn starting_at(id: RequestId, date: SystemTime) -> Self {
        Self(Arc::new(Inner {
            started: time::now(),
            date,
            facts: OnceLock::new(),
            deadline: OnceLock::new(),
            deadline_is_watched: AtomicBool::new(false),
            attempt_limit: AtomicU32::new(u32::MAX),
            attempts: AtomicU32::new(0),
            has_learnt: AtomicBool::new(false),
            ledger: Mutex::new(Ledger {
                record: Arc::new(Record::new(id.clone(), date)),
                sealed: false,
                choice: None,
                credential: None,
                learnt: Learnt::default(),
            }),
            id,
        }))
    }

    /// The exchange that a request belongs to; a new one is inserted if there is none.
    pub fn of(extensions: &mut Extensions) -> Self {
        if let Some(known) = Self::get(extensions) {
            return known.clone();
        }
        let exchange = Self::new(RequestId::random());
        extensions.insert(exchange.clone());
        exchange
    }

    /// The exchange that a request belongs to, for layers of the user.
    #[must_use]
    pub fn get(extensions: &Extensions) -> Option<&Self> {
        extensions
            .get::<Visit>()
            .map(|visit| &visit.exchange)
            .or_else(|| extensions.get())
    }

    /// The id of the request.
    #[must_use]
    pub fn id(&self) -> &RequestId {
        &self.0.id
    }

    /// When it came in.
    #[must_use]
    pub fn started(&self) -> Instant {
        self.0.started
    }

    /// Its facts; those of an unknown request until somebody has read them.
    #[must_use]
    pub fn facts(&self) -> &Facts {
        static UNKNOWN: OnceLock<Facts> = OnceLock::new();
        self.0
            .facts
            .get()
            .unwrap_or_else(|| UNKNOWN.get_or_init(Facts::default))
    }

    /// Whether somebody has read the facts.
    #[must_use]
    pub fn has_facts(&self) -> bool {
        self.0.facts.get().is_some()
    }

    /// Sets the facts, once; later calls change nothing.
    pub fn set_facts(&self, facts: Facts) {
        let facts = self.0.facts.get_or_init(|| facts);
        self.with_record(|record| record.set_facts(facts));
    }

    /// Names the cluster that serves the request, for the record.
    pub fn set_cluster(&self, cluster: Arc<str>) {
        self.with_record(|record| record.cluster = Some(cluster));
    }

    /// Names the client that sent the request, for the record.
    pub fn set_client(&self, client: Arc<str>) {
        self.with_record(|record| record.client = Some(client));
    }

    /// The date on which it came in.
    #[must_use]
    pub fn date(&self) -> SystemTime {
        self.0.date
    }

    /// When the request has to be committed.
    #[must_use]
    pub fn deadline(&self) -> Option<Instant> {
        self.0.deadline.get().copied()
    }

    /// Whether somebody below Retry waits with the deadline in mind, so that nobody above has to
    /// have a timer of its own for it.
    pub(crate) fn deadline_is_watched(&self) -> bool {
        self.0.deadline_is_watched.load(Ordering::Acquire)
    }

    /// Says that the caller begins to watch the deadline, or that it ends.
    pub(crate) fn watch_deadline(&self, watched: bool) {
        self.0.deadline_is_watched.store(watched, Ordering::Release);
    }

    /// Sets the deadline and the limit on attempts, once. Without them there is no limit.
    pub(crate) fn limit(&self, deadline: Instant, attempts: u32) {
        let deadline = *self.0.deadline.get_or_init(|| deadline);
        self.0.attempt_limit.store(attempts, Ordering::Relaxed);
        let allowed = deadline.saturating_duration_since(self.0.started);
        self.with_record(|record| record.deadline = Some(allowed));
    }

    /// Asks for one more send. A layer asks before every request that it causes.
    ///
    /// # Errors
    ///
    /// [`Exhausted`] past the deadline, or if the send is an attempt and all are used up.
    pub(crate) fn begin_send(&self, kind: SendKind, now: Instant) -> Result<(), Exhausted> {
        self.reserve(kind, now)?;
        self.note(Event::SendBegan(kind), now);
        Ok(())
    }

    /// Asks for a new visit with its first send.
    ///
    /// # Errors
    ///
    /// As those of [`begin_send`](Self::begin_send); then there was no visit.
    pub(crate) fn begin_visit(&self, kind: SendKind, now: Instant) -> Result<(), Exhausted> {
        self.reserve(kind, now)?;
        self.note(Event::VisitBegan, now);
        self.note(Event::SendBegan(kind), now);
        Ok(())
    }

    fn reserve(&self, kind: SendKind, now: Instant) -> Result<(), Exhausted> {
        if self.deadline().is_some_and(|deadline| now >= deadline) {
            return Err(Exhausted::Deadline);
        }
        if kind.is_attempt() {
            let limit = self.0.attempt_limit.load(Ordering::Relaxed);
            self.0
                .attempts
                .try_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
                    (used < limit).then_some(used + 1)
                })
                .map_err(|_| Exhausted::Attempts)?;
        }
        Ok(())
    }

    /// Takes back an attempt that was refused before it was sent.
    pub(crate) fn withdraw(&self, kind: SendKind) {
        if kind.is_attempt() {
            self.0.attempts.fetch_sub(1, Ordering::Relaxed);
        }
    }

    /// How many attempts were made so far.
    #[must_use]
    pub fn attempts(&self) -> u32 {
        self.0.attempts.load(Ordering::Relaxed)
    }

    /// What Balance chose for the visit that is under way or was the last.
    #[must_use]
    pub fn choice(&self) -> Option<Choice> {
        self.ledger().choice.clone()
    }

    /// Notes what Balance chose, for the layers above and for the record.
    pub(crate) fn choose(
        &self,
        endpoint: Option<Arc<Endpoint>>,
        tier: Tier,
        preference: Option<Fate>,
        now: Instant,
    ) {
        let at = now.saturating_duration_since(self.0.started);
        let mut ledger = self.ledger();
        if let (Some(record), Some(endpoint)) = (ledger.open(), &endpoint) {
            let endpoint = endpoint.clone();
            record.apply(
                Event::Chosen {
                    endpoint,
                    tier,
                    preference,
                },
                at,
            );
        }
        ledger.choice = Some(Choice {
            endpoint,
            preference,
        });
    }

    /// The name of the credential that the committed answer was got with, if the request has to
    /// do with resources.
    pub(crate) fn credential(&self) -> Option<Arc<str>> {
        self.ledger().credential.clone()
    }

    /// Notes the credential that an answer is committed with, before that answer goes up.
    pub(crate) fn set_credential(&self, name: Option<Arc<str>>) {
        self.ledger().credential = name;
    }

    /// Notes what was made, before the bytes that tell it go up.
    pub(crate) fn made(&self, made: Resources) {
        if !made.is_empty() {
            self.learn(|learnt| learnt.made.extend(made));
        }
    }

    /// Notes that the endpoint of the visit does not have what the request names.
    pub(crate) fn missing(&self, kind: ResourceKind) {
        self.learn(|learnt| learnt.missing = Some(kind));
    }

    fn learn(&self, change: impl FnOnce(&mut Learnt)) {
        let mut ledger = self.ledger();
        change(&mut ledger.learnt);
        self.0.has_learnt.store(true, Ordering::Release);
    }

    /// What was learnt of resources since this was last asked. One atomic load if that is nothing.
    pub(crate) fn take_learnt(&self) -> Option<Learnt> {
        if !self.0.has_learnt.load(Ordering::Acquire) {
            return None;
        }
        let mut ledger = self.ledger();
        self.0.has_learnt.store(false, Ordering::Release);
        Some(mem::take(&mut ledger.learnt))
    }

    /// Notes `event` in the record.
    pub(crate) fn note(&self, event: Event, now: Instant) {
        let at = now.saturating_duration_since(self.0.started);
        self.with_record(|record| record.apply(event, at));
    }

    /// Closes the record. `None` if that was done before.
    pub(crate) fn seal(&self, now: Instant) -> Option<Arc<Record>> {
        let mut ledger = self.ledger();
        let at = now.saturating_duration_since(self.0.started);
        ledger.open()?.close(at);
        ledger.sealed = true;
        Some(ledger.record.clone())
    }

    /// The record of the request, once its answer has ended. Retry closes it.
    #[must_use]
    pub fn record(&self) -> Option<Arc<Record>> {
        let ledger = self.ledger();
        ledger.sealed.then(|| ledger.record.clone())
    }

    fn with_record(&self, change: impl FnOnce(&mut Record)) {
        if let Some(record) = self.ledger().open() {
            change(record);
        }
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        // Nothing in the critical sections can leave the ledger half changed.
        self.0.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exchange")
            .field("id", &self.0.id)
            .finish_non_exhaustive()
    }
}

/// Why a request is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SendKind {
    /// The first send of a visit.
    First,
    /// The first send with another credential, after the last one was limited or refused.
    Rotation,
    /// Once more to the same endpoint after a transport failure.
    Quick,
    /// Once more with the same credential after it was refreshed.
    Refresh,
}

impl SendKind {
    /// Whether the send is an attempt, of which a request has a limited number. A change of
    /// credential is none: it is bounded by the number of credentials.
    #[must_use]
    pub const fn is_attempt(self) -> bool {
        !matches!(self, Self::Rotation)
    }

    /// The name used in records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::First => "first",
            Self::Rotation => "rotation",
            Self::Quick => "quick",
            Self::Refresh => "refresh",
        }
    }
}

impl fmt::Display for SendKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why a request may not be sent once more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Exhausted {
    /// The deadline has passed.
    #[error("the deadline has passed")]
    Deadline,
    /// All attempts are used up.
    #[error("all attempts are used up")]
    Attempts,
}

#[cfg(test)]
mod tests {
    use allocation_counter::measure;
    use http::StatusCode;

    use super::*;
    use crate::record::{Answer, SendResult, SessionHash, Usage};
    use crate::time::Duration;

    // RTY-09
    #[test]
    fn a_change_of_credential_is_no_attempt() {
        let exchange = Exchange::new(RequestId::random());
        let now = time::now();
        exchange.limit(now + Duration::from_secs(600), 2);
        for kind in [
            SendKind::First,
            SendKind::Rotation,
            SendKind::Rotation,
            SendKind::Quick,
        ] {
            assert!(exchange.begin_send(kind, now).is_ok(), "{kind}");
        }
        assert_eq!(
            exchange.begin_send(SendKind::Refresh, now),
            Err(Exhausted::Attempts)
        );
        assert!(exchange.begin_send(SendKind::Rotation, now).is_ok());
    }

    // RTY-10
    #[test]
    fn nothing_is_sent_after_the_deadline() {
        let exchange = Exchange::new(RequestId::random());
        let now = time::now();
        exchange.limit(now, 5);
        assert_eq!(
            exchange.begin_send(SendKind::Rotation, now),
            Err(Exhausted::Deadline)
        );
    }

    // XPL-03
    #[test]
    fn recording_a_first_attempt_that_succeeds_allocates_the_record_alone() {
        let (mut exchange, id) = (None, RequestId::random());
        let made = measure(|| exchange = Some(Exchange::new(id)));
        assert_eq!(made.count_total, 2, "the exchange and its record");
        let exchange = exchange.unwrap();
        let endpoint = Endpoint::new("one", "https://h.example".parse().unwrap());
        let (endpoint, cluster) = (Arc::new(endpoint), Arc::from("cluster"));
        let credential = Some(Arc::from("key"));
        let facts = Facts {
            model: Some("m".into()),
            ..Facts::default()
        };
        let now = time::now();
        let noted = measure(|| {
            exchange.set_facts(facts);
            exchange.set_cluster(cluster);
            exchange.limit(now + Duration::from_secs(600), 5);
            exchange.note(Event::Session(SessionHash::of("s")), now);
            exchange.begin_visit(SendKind::First, now).unwrap();
            exchange.choose(Some(endpoint), Tier::Ready, Some(Fate::Honoured), now);
            let leased = Event::Leased {
                credential,
                passed_over: Vec::new(),
            };
            exchange.note(leased, now);
            exchange.note(Event::Status(StatusCode::OK), now);
            exchange.note(Event::FirstByte, now);
            exchange.note(Event::Usage(Usage::default()), now);
            exchange.note(Event::Committed, now);
            let (result, bytes) = (SendResult::Clean, 600);
            exchange.note(Event::Ended { result, bytes }, now);
            let status = StatusCode::OK;
            exchange.note(Event::Answered(Answer::Relayed { status }), now);
        });
        assert_eq!(noted.count_total, 0);
        let mut record = None;
        let sealed = measure(|| record = exchange.seal(now));
        assert_eq!(sealed.count_total, 0);
        assert_eq!(record.unwrap().attempts(), 1);
    }
}
