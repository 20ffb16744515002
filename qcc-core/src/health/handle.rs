//! The handle: the record behind its lock.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::StatusCode;
use tracing::{error, info, warn};

use super::snapshot::{AuthFailure, Snapshot};
use super::state::{Over, State, Transition, end_of_mark};
use crate::available::{Availability, Available, Bell, Query};
use crate::endpoint::Endpoint;
use crate::exchange::RequestId;
use crate::standing::StateStore;
use crate::time::{self, Duration, Instant, SystemClock, WallClock as _};

/// The health of one endpoint: given to its [layer](super::TrackHealthLayer), registered as a gate,
/// changed by the operator. Cheap to clone; all clones are one record.
#[derive(Clone)]
pub struct Health(Arc<View>);

/// The record, and the endpoint as this handle knows it: after a reload the same record goes on
/// under another name.
#[derive(Clone)]
struct View {
    endpoint: Arc<Endpoint>,
    shared: Arc<Shared>,
    bell: Bell,
}

/// A time in which nobody refused the credential or took a refusal back: see
/// [`Health::verified`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

struct Shared {
    state: Mutex<State>,
    /// Bit 0 is set if anything could keep a request away, above it stands the epoch. Published
    /// under the lock; a look at an endpoint that is well needs no more than this.
    glance: AtomicU64,
    /// Keeps what has to survive a restart.
    store: Option<Arc<dyn StateStore>>,
}

pub(super) const NOTABLE: u64 = 1;

fn glance_at(state: &State) -> u64 {
    state.epoch() << 1 | u64::from(state.is_notable())
}

impl Health {
    /// The record of `endpoint`, of which nothing is known yet. It is enabled if the endpoint's
    /// configuration says so.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>) -> Self {
        let state = State::new(endpoint.enabled());
        Self::with_state(endpoint, state, None)
    }

    /// The record of `endpoint`, which goes on with what `store` kept of it: a refused credential
    /// and the operator's own switch. Each change of these is given to `store` at once.
    ///
    /// What the operator switched counts only as long as the endpoint's configuration says the
    /// same as it did then. The date is that of the operating system.
    #[must_use]
    pub fn kept(endpoint: Arc<Endpoint>, store: Arc<dyn StateStore>) -> Self {
        let configured = endpoint.enabled();
        let state = match store.load(endpoint.id()) {
            Some(standing) => {
                State::restored(&standing, configured, time::now(), SystemClock.now())
            }
            None => State::new(configured),
        };
        let health = Self::with_state(endpoint, state, Some(store));
        health.log_restored();
        health
    }

    fn with_state(
        endpoint: Arc<Endpoint>,
        state: State,
        store: Option<Arc<dyn StateStore>>,
    ) -> Self {
        let glance = AtomicU64::new(glance_at(&state));
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            glance,
            store,
        });
        let bell = Bell::default();
        Self(Arc::new(View {
            endpoint,
            shared,
            bell,
        }))
    }

    /// The same record; `bell` rings when a credential is refused or a switch is turned.
    #[must_use]
    pub(crate) fn with_bell(self, bell: Bell) -> Self {
        Self(Arc::new(View {
            bell,
            ..View::clone(&self.0)
        }))
    }

    /// The same record for `endpoint` as it is configured now. Whether it is enabled changes
    /// only if its configuration says something else than before: what an operator switched by
    /// hand stays.
    #[must_use]
    pub fn continued(&self, endpoint: Arc<Endpoint>) -> Self {
        let configured = endpoint.enabled();
        let continued = Self(Arc::new(View {
            endpoint,
            ..View::clone(&self.0)
        }));
        let is_new = continued.change(|state| state.configure(configured));
        match (is_new, configured) {
            (true, true) => continued.enable(),
            (true, false) => continued.disable(),
            (false, _) => false,
        };
        continued
    }

    /// The endpoint that it is the record of.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    /// The record as it is at `now`. Changes nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        self.lock().snapshot(now)
    }

    /// The operator wants the endpoint used, and takes its credential for good again. Visits
    /// that began before can refuse it no more. Returns whether anything changed.
    pub fn enable(&self) -> bool {
        let changed = self.change(State::enable);
        if changed {
            self.log_switch("disabled => enabled (operator)");
        }
        changed
    }

    /// The operator does not want the endpoint used. Returns whether anything changed.
    pub fn disable(&self) -> bool {
        let changed = self.change(State::disable);
        if changed {
            self.log_switch("enabled => disabled (operator)");
        }
        changed
    }

    /// The epoch of this moment.
    #[must_use]
    pub fn epoch(&self) -> Epoch {
        Epoch(self.glance() >> 1)
    }

    /// A check that began in `since` showed that the endpoint works: it is healthy, and a refusal of
    /// its credential is taken back, unless that happened after the check began. What the operator
    /// wants stays. Returns whether a refusal was taken back.
    pub fn verified(&self, since: Epoch) -> bool {
        let changed = self.change(|state| state.checked_good(since.0));
        if changed {
            self.log_switch("auth_failed => enabled (verified)");
        }
        changed
    }

    /// Keeps new requests away for `time`, for `reason`, which people see. The mark lives in
    /// memory only. Returns whether there was none before; one that there was is replaced.
    pub fn mark(&self, reason: impl Into<Arc<str>>, time: Duration) -> bool {
        let (reason, now) = (reason.into(), time::now());
        let until = end_of_mark(now, time);
        let changed = self.change(|state| state.mark(reason, until, now));
        if changed {
            self.log_switch("available => marked (operator)");
        }
        changed
    }

    /// Takes the mark back. Returns whether there was one.
    pub fn unmark(&self) -> bool {
        let now = time::now();
        let changed = self.change(|state| state.unmark(now));
        if changed {
            self.log_switch("marked => available (operator)");
        }
        changed
    }

    /// Ends the time that the endpoint asked not to be used. Returns whether one was running.
    pub fn clear_limits(&self) -> bool {
        let now = time::now();
        let changed = self.change(|state| state.clear_limits(now));
        if changed {
            self.log_switch("cooling => available (operator)");
        }
        changed
    }

    /// Forgets what ended by itself: a cool-down, the second tier, a mark. Nothing waits for
    /// that, because whoever asks compares with the clock; it keeps a record that is well free of
    /// its past. Returns whether there was any.
    pub fn sweep(&self, now: Instant) -> bool {
        if self.glance() & NOTABLE == 0 {
            return false;
        }
        let over = self.change(|state| state.purge(now));
        self.log_over(over);
        over.any()
    }

    /// Its credentials are others now, or were taken for good again: an earlier refusal is taken
    /// back, what the operator wants stays. Returns whether anything changed.
    pub fn renewed(&self) -> bool {
        let changed = self.change(State::verified);
        if changed {
            self.log_switch("auth_failed => enabled (other credentials)");
        }
        changed
    }

    /// A check that began in `since` met a refusal of the last usable credential.
    pub(crate) fn refused(&self, since: Epoch, status: Option<StatusCode>, check: &RequestId) {
        let refusal = AuthFailure {
            since: time::now(),
            status,
            request: check.clone(),
        };
        if self.change(|state| state.checked_refused(since.0, refusal)) {
            self.log_refusal(check, status);
        }
    }

    /// Whether the operator wants the endpoint used.
    pub(crate) fn is_wanted(&self) -> bool {
        self.glance() & NOTABLE == 0 || self.lock().is_wanted()
    }

    /// The status with which its credential was refused, if it is.
    pub(crate) fn refusal(&self) -> Option<Option<StatusCode>> {
        if self.glance() & NOTABLE == 0 {
            return None;
        }
        self.lock().refusal().map(|refusal| refusal.status)
    }

    /// Puts the endpoint into the second tier until `until` or its next success.
    pub fn degrade(&self, until: Instant) {
        self.change(|state| state.degrade(until));
    }

    pub(super) fn glance(&self) -> u64 {
        self.0.shared.glance.load(Ordering::Acquire)
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Counters and flags: a step that panicked leaves nothing that a later one relies on.
        self.0
            .shared
            .state
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.lock();
        let before = state.switches();
        let result = change(&mut state);
        self.0
            .shared
            .glance
            .store(glance_at(&state), Ordering::Release);
        if state.switches() != before
            && let Some(store) = &self.0.shared.store
        {
            // Under the lock: the last change is the last one that is kept.
            let standing = state.standing(time::now(), SystemClock.now());
            store.save(self.0.endpoint.id(), &standing);
        }
        result
    }

    fn log_switch(&self, change: &'static str) {
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        info!(%endpoint, name, "health: {change}");
        self.0.bell.ring();
    }

    pub(super) fn log_refusal(&self, request_id: &RequestId, status: Option<StatusCode>) {
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        error!(
            %request_id,
            %endpoint,
            %name,
            status = status.map(|status| status.as_u16()),
            "health: enabled => disabled (auth_failed)"
        );
        self.0.bell.ring();
    }

    pub(super) fn log_over(&self, over: Over) {
        if over.cooling {
            self.log_switch("cooling => available (its time is over)");
        }
        if over.degraded {
            self.log_switch("degraded => available (its time is over)");
        }
        if over.mark {
            self.log_switch("marked => available (its time is over)");
        }
    }

    fn log_restored(&self) {
        let snapshot = self.snapshot(time::now());
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        if let Some(failure) = &snapshot.auth_failure {
            warn!(
                request_id = %failure.request,
                %endpoint,
                name,
                status = failure.status.map(|status| status.as_u16()),
                "health: disabled (auth_failed), as before the restart"
            );
        }
        if snapshot.wanted != self.0.endpoint.enabled() {
            let switch = if snapshot.wanted {
                "enabled"
            } else {
                "disabled"
            };
            info!(%endpoint, name, "health: {switch} (operator), as before the restart");
        }
    }

    pub(super) fn log_skipped(&self, model: &str, until: Instant, now: Instant) {
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        let wait = until.saturating_duration_since(now);
        info!(%endpoint, name, model, ?wait, "health: model served => skipped");
    }
}

impl Available for Health {
    fn availability(&self, query: &Query<'_>) -> Availability {
        if self.glance() & NOTABLE == 0 {
            return Availability::Ready;
        }
        let model = query.facts.model.as_deref();
        self.lock().availability(model, query.now)
    }

    fn overruled(&self, query: &Query<'_>) {
        let Some(model) = &query.facts.model else {
            return;
        };
        let transition = self.change(|state| state.overruled(model, query.now));
        if let Some(Transition::ModelSkipped(until)) = transition {
            self.log_skipped(model, until, query.now);
        }
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let snapshot = self.snapshot(time::now());
        f.debug_struct("Health")
            .field("endpoint", self.0.endpoint.name())
            .field("status", &snapshot.status)
            .field("enabled", &snapshot.enabled)
            .finish_non_exhaustive()
    }
}
