//! The handle: the state behind its lock, and the permit that settles itself.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tracing::{info, warn};

use super::config::Config;
use super::state::{LastFailure, Pass, Refusal, Snapshot, State, Ticket, Transition};
use crate::available::{Availability, Available, Bell, Query};
use crate::endpoint::Endpoint;
use crate::error::BoxError;
use crate::failure::{Blame, Failed, Kind};
use crate::guard::{Guard, Settled};
use crate::time::{self, Instant};
use crate::visit::Admission;

/// The breaker of one endpoint: given to its [layer](super::CircuitBreakerLayer), registered as
/// a gate, read and reset by whoever shows it. Cheap to clone; all clones are one breaker.
#[derive(Clone)]
pub struct Breaker(Arc<View>);

/// The state, and the endpoint as this handle knows it: after a reload the same state goes on
/// under another name or with another limit.
#[derive(Clone)]
struct View {
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    bell: Bell,
}

/// What a breaker was told up to a moment: see [`Breaker::verified`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark(u64);

struct Shared {
    core: Mutex<Core>,
    /// A [`Glance`] at the state, published under the lock. A request to an endpoint that is
    /// well needs no more than this.
    glance: AtomicU64,
}

struct Core {
    state: State,
    config: Config,
}

/// What a request has to know of a breaker that is closed, in one word: bit 0 is set unless it
/// is closed, bit 1 if failures are counted, above them stands the generation.
#[derive(Clone, Copy)]
struct Glance(u64);

impl Glance {
    const NOT_CLOSED: u64 = 1;
    const COUNTING: u64 = 2;

    const fn at(state: &State) -> Self {
        let mut word = state.generation() << 2;
        if !state.is_closed() {
            word |= Self::NOT_CLOSED;
        }
        if state.failures() > 0 {
            word |= Self::COUNTING;
        }
        Self(word)
    }

    const fn is_closed(self) -> bool {
        self.0 & Self::NOT_CLOSED == 0
    }

    /// Whether the proper end of an answer leaves everything as it is.
    const fn is_spotless(self) -> bool {
        self.0 & (Self::NOT_CLOSED | Self::COUNTING) == 0
    }

    const fn generation(self) -> u64 {
        self.0 >> 2
    }
}

impl Breaker {
    /// A closed breaker for `endpoint`, with the default configuration.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        Self::with_config(endpoint, Config::default())
    }

    /// A closed breaker for `endpoint`.
    #[must_use]
    pub fn with_config(endpoint: Arc<Endpoint>, config: Config) -> Self {
        let state = State::new();
        let glance = AtomicU64::new(Glance::at(&state).0);
        let config = effective(config, &endpoint);
        let shared = Arc::new(Shared {
            core: Mutex::new(Core { state, config }),
            glance,
        });
        let bell = Bell::default();
        Self(Arc::new(View {
            endpoint,
            shared,
            bell,
        }))
    }

    /// The same breaker; `bell` rings when its state changes.
    #[must_use]
    pub(crate) fn with_bell(self, bell: Bell) -> Self {
        Self(Arc::new(View {
            bell,
            ..View::clone(&self.0)
        }))
    }

    /// The same breaker for `endpoint` as it is configured now: the state is shared, the new
    /// configuration holds for both handles at once.
    #[must_use]
    pub fn continued(&self, endpoint: Arc<Endpoint>, config: Config) -> Self {
        let continued = Self(Arc::new(View {
            endpoint,
            ..View::clone(&self.0)
        }));
        continued.configure(config);
        continued
    }

    /// Changes the configuration and keeps the state: open times that run go on as they began.
    /// The endpoint's own `max_failures` stays in force.
    pub fn configure(&self, config: Config) {
        self.lock().config = effective(config, &self.0.endpoint);
    }

    /// The endpoint that it protects.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    /// The breaker as it is at `now`. Changes nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let core = self.lock();
        core.state.snapshot(now, &core.config)
    }

    /// The last failure that counted, in whatever state it arrived.
    #[must_use]
    pub fn last_failure(&self) -> Option<LastFailure> {
        self.lock().state.last_failure()
    }

    /// Closes the breaker and sets its count to 0; what is under way counts no more. Returns
    /// whether anything was different.
    pub fn reset(&self) -> bool {
        self.step(|core| core.state.reset())
    }

    /// What it was told up to now.
    #[must_use]
    pub fn mark(&self) -> Mark {
        Mark(self.lock().state.told())
    }

    /// A check that began when it had this `mark` showed that the endpoint works: the same as
    /// [`reset`](Self::reset), unless it was told of a failure since then. Returns whether anything
    /// was different.
    pub fn verified(&self, mark: Mark) -> bool {
        self.step(|core| core.state.verified(mark.0))
    }

    /// The kind of its last failure, unless it is closed.
    pub(crate) fn broken(&self) -> Option<Option<Kind>> {
        if self.glance().is_closed() {
            return None;
        }
        let last = self.last_failure();
        Some(last.map(|failure| failure.kind))
    }

    /// Lets a request through, or says why not.
    pub(super) fn admit(&self, admission: Admission) -> Result<Permit, Refusal> {
        let glance = self.glance();
        let ticket = if glance.is_closed() {
            Ticket {
                generation: glance.generation(),
                pass: Pass::Ordinary,
            }
        } else {
            let now = time::now();
            let last_resort = admission == Admission::LastResort;
            self.step(|Core { state, config }| state.admit(last_resort, now, config))?
        };
        Ok(Permit {
            breaker: self.clone(),
            ticket: Some(ticket),
        })
    }

    fn glance(&self) -> Glance {
        Glance(self.0.shared.glance.load(Ordering::Acquire))
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // A step that panicked would have left the state whole: it changes it last.
        self.0
            .shared
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes one step and logs the change of state that it caused.
    fn step<T>(&self, step: impl FnOnce(&mut Core) -> (T, Option<Transition>)) -> T {
        let (result, transition) = {
            let mut core = self.lock();
            let done = step(&mut core);
            let glance = Glance::at(&core.state).0;
            self.0.shared.glance.store(glance, Ordering::Release);
            done
        };
        if let Some(transition) = transition {
            self.log(transition);
            self.0.bell.ring();
        }
        result
    }

    fn log(&self, transition: Transition) {
        let endpoint = self.0.endpoint.id();
        let name = &**self.0.endpoint.name();
        match transition {
            Transition::Opened {
                kind,
                failures,
                open_for,
            } => warn!(
                %endpoint, name, %kind, failures, ?open_for,
                "breaker: closed => open"
            ),
            Transition::Reopened { kind, open_for } => warn!(
                %endpoint, name, %kind, ?open_for,
                "breaker: half_open => open"
            ),
            Transition::HalfOpened => info!(%endpoint, name, "breaker: open => half_open"),
            Transition::Closed { from } => {
                info!(%endpoint, name, "breaker: {} => closed", from.as_str());
            }
        }
    }
}

/// `config` with what the endpoint says for itself.
fn effective(config: Config, endpoint: &Endpoint) -> Config {
    match endpoint.max_failures().and_then(NonZeroU32::new) {
        Some(failures) => config.with_max_failures(failures),
        None => config,
    }
}

impl Available for Breaker {
    fn availability(&self, query: &Query<'_>) -> Availability {
        if self.glance().is_closed() {
            return Availability::Ready;
        }
        let core = self.lock();
        core.state.availability(query.now, &core.config)
    }
}

impl fmt::Debug for Breaker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot(time::now());
        f.debug_struct("Breaker")
            .field("endpoint", self.0.endpoint.name())
            .field("state", &snapshot.state)
            .field("failures", &snapshot.failures)
            .finish_non_exhaustive()
    }
}

/// Leave to send one request. It settles with the answer; dropped before, it returns its probe
/// slot and records nothing.
pub struct Permit {
    breaker: Breaker,
    /// `None` once it is settled.
    ticket: Option<Ticket>,
}

impl Permit {
    fn count(mut self, kind: Kind) {
        if !kind.counts() {
            return;
        }
        if let Some(ticket) = self.ticket.take() {
            let now = time::now();
            self.breaker.step(|Core { state, config }| {
                ((), state.failed(ticket, kind, now, config, rand::random))
            });
        }
    }

    fn end(mut self) {
        if let Some(ticket) = self.ticket.take()
            && !self.breaker.glance().is_spotless()
        {
            self.breaker.step(|core| {
                core.state.ended(ticket);
                ((), None)
            });
        }
    }
}

impl Guard for Permit {
    fn commit(&mut self, _: StatusCode) {
        if let Some(ticket) = &mut self.ticket
            && ticket.pass != Pass::Ordinary
        {
            *ticket = self.breaker.step(|core| core.state.committed(*ticket));
        }
    }

    fn fail(self, error: BoxError) -> BoxError {
        match Failed::verdict_if_sent(&*error) {
            Some(verdict) if verdict.blame == Blame::Endpoint => self.count(verdict.kind),
            // Dropped: what is not blamed on the endpoint says nothing of it.
            _ => {}
        }
        error
    }

    fn settle(self, settled: Settled) {
        match settled {
            Settled::Clean => self.end(),
            Settled::Broken(kind) => self.count(kind),
            Settled::Canceled => drop(self),
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket.take()
            && ticket.pass == Pass::Probe
        {
            self.breaker.step(|core| {
                core.state.released(ticket);
                ((), None)
            });
        }
    }
}

impl fmt::Debug for Permit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Permit")
            .field("ticket", &self.ticket)
            .finish_non_exhaustive()
    }
}
