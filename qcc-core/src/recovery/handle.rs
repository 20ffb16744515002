//! The handle: the place of an endpoint in the queue behind its lock.

use std::fmt;
use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{debug, info, warn};

use super::check::{Check, Outcome};
use super::config::Config;
use super::state::{Snapshot, State, Symptoms, Today, Transition};
use crate::available::{Availability, Available, Query};
use crate::endpoint::Endpoint;
use crate::time::{self, Instant, WallClock};

/// The place of one endpoint in the queue: registered as a gate, read by whoever shows it. Cheap to
/// clone; all clones are one place.
#[derive(Clone)]
pub struct Recovery(Arc<View>);

/// The place, and the endpoint as this handle knows it: after a reload the same place goes on under
/// another name.
#[derive(Clone)]
struct View {
    endpoint: Arc<Endpoint>,
    clock: Arc<dyn WallClock>,
    shared: Arc<Shared>,
}

struct Shared {
    core: Mutex<Core>,
    /// Whether the gate is shut. Published under the lock; a look at an endpoint that is well needs
    /// no more than this.
    shut: AtomicBool,
    /// One place for whoever checks the endpoint.
    turn: Arc<Semaphore>,
}

/// The right to check an endpoint, until it is dropped.
pub(crate) struct Turn {
    _place: Option<OwnedSemaphorePermit>,
}

struct Core {
    state: State,
    config: Config,
}

impl Recovery {
    /// The place of `endpoint`, which is not in the queue. `clock` tells when a day ends.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, config: Config, clock: Arc<dyn WallClock>) -> Self {
        let shared = Arc::new(Shared {
            core: Mutex::new(Core {
                state: State::default(),
                config,
            }),
            shut: AtomicBool::new(false),
            turn: Arc::new(Semaphore::new(1)),
        });
        Self(Arc::new(View {
            endpoint,
            clock,
            shared,
        }))
    }

    /// The same place for `endpoint` as it is configured now. What is due next keeps its time.
    #[must_use]
    pub fn continued(&self, endpoint: Arc<Endpoint>, config: Config) -> Self {
        self.lock().config = config;
        Self(Arc::new(View {
            endpoint,
            ..View::clone(&self.0)
        }))
    }

    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    /// How often checks are made, and what they may cost.
    #[must_use]
    pub fn config(&self) -> Config {
        self.lock().config
    }

    /// The place as it is at `now`. Changes nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Snapshot {
        let today = Today::at(self.0.clock.now(), now);
        let core = self.lock();
        core.state.snapshot(today, &core.config)
    }

    /// Somebody says that nothing is wrong with the endpoint: it leaves the queue, and enters again
    /// if that is not so. Returns whether it was a member.
    pub fn release(&self) -> bool {
        let released = self.change(|core| core.state.release());
        if released {
            let (id, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
            info!(endpoint = %id, name, health_check = true, "Endpoint {id} taken from failure queue (operator)");
        }
        released
    }

    /// Takes in what is seen of the endpoint. Returns whether it has left the queue, because
    /// nothing is wrong with it any more.
    pub(crate) fn observe(&self, symptoms: Symptoms, now: Instant) -> bool {
        if symptoms.is_well() && !self.is_member() {
            return false;
        }
        let transition = self.change(|core| core.state.observe(symptoms, now, &core.config));
        self.log(transition);
        matches!(transition, Some(Transition::Left(_)))
    }

    /// When it is to be checked next.
    pub(crate) fn due(&self) -> Option<Instant> {
        let core = self.lock();
        core.state.due(&core.config)
    }

    pub(crate) fn is_member(&self) -> bool {
        self.lock().state.is_member()
    }

    /// The right to check the endpoint, once nobody else does.
    pub(crate) fn turn(&self) -> impl Future<Output = Turn> + Send + use<> {
        let turn = self.0.shared.turn.clone().acquire_owned();
        // It is never closed.
        async {
            Turn {
                _place: turn.await.ok(),
            }
        }
    }

    /// Begins a check, if one more is allowed today; else tells when the next one is.
    pub(crate) fn begin(&self, now: Instant) -> Result<(), Instant> {
        let today = Today::at(self.0.clock.now(), now);
        let begun = self.change(|core| core.state.begin(today, &core.config));
        if begun { Ok(()) } else { Err(today.ends) }
    }

    /// The endpoint could not be checked: it waits for as long again.
    pub(crate) fn put_off(&self, now: Instant) {
        self.change(|core| core.state.put_off(now, &core.config));
    }

    /// A check showed that the endpoint works. Returns whether it was a member.
    pub(crate) fn recovered(&self, check: Arc<Check>) -> bool {
        log_check(&check);
        let transition = self.change(|core| core.state.recovered(check));
        self.log(transition);
        transition.is_some()
    }

    /// A check did not show that.
    pub(crate) fn not_recovered(&self, check: Arc<Check>, symptoms: Symptoms, now: Instant) {
        log_check(&check);
        let transition = self.change(|core| {
            let Core { state, config } = core;
            state.not_recovered(check, symptoms, now, config)
        });
        self.log(transition);
    }

    pub(crate) fn clock(&self) -> &dyn WallClock {
        &*self.0.clock
    }

    fn change<T>(&self, change: impl FnOnce(&mut Core) -> T) -> T {
        let mut core = self.lock();
        let result = change(&mut core);
        let shut = core.state.is_shut();
        self.0.shared.shut.store(shut, Ordering::Release);
        result
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        // Every field is written whole.
        self.0
            .shared
            .core
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self, transition: Option<Transition>) {
        let (id, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        match transition {
            Some(Transition::Entered(cause)) => info!(
                endpoint = %id, name, health_check = true,
                "Endpoint {id} added to failure queue, reason: {cause}"
            ),
            Some(Transition::Stays(cause)) => debug!(
                endpoint = %id, name, health_check = true,
                "Endpoint {id} stays in failure queue, reason: {cause}"
            ),
            Some(Transition::Recovered) => info!(
                endpoint = %id, name, health_check = true,
                "Endpoint {id} recovered, removed from failure queue"
            ),
            Some(Transition::Left(cause)) => info!(
                endpoint = %id, name, health_check = true,
                "Endpoint {id} removed from failure queue, no longer: {cause}"
            ),
            None => {}
        }
    }
}

fn log_check(check: &Check) {
    let (endpoint, name) = (check.endpoint.id(), &**check.endpoint.name());
    let (ms, score) = (check.latency.as_millis(), check.score);
    let (id, question) = (&check.id, &*check.message);
    let content = match &*check.content {
        "" => "(empty)",
        content => content,
    };
    if check.is_valid() {
        info!(
            %endpoint, name, health_check = true, check = %id, ms, score, question, content,
            valid = true, "endpoint verified"
        );
    } else if check.is_invalid_answer() {
        warn!(
            %endpoint, name, health_check = true, check = %id, ms, score, question, content,
            valid = false, error = check.error, "recognised as invalid endpoint"
        );
    } else {
        let outcome = match check.outcome {
            Outcome::Answered => check.validity.as_str(),
            outcome => outcome.as_str(),
        };
        warn!(
            %endpoint, name, health_check = true, check = %id, ms, score, question, content,
            valid = false, outcome, error = check.error, "endpoint not verified"
        );
    }
}

impl Available for Recovery {
    fn availability(&self, _: &Query<'_>) -> Availability {
        if !self.0.shared.shut.load(Ordering::Acquire) {
            return Availability::Ready;
        }
        self.lock().state.availability()
    }
}

impl fmt::Debug for Recovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let member = self.snapshot(time::now()).member;
        f.debug_struct("Recovery")
            .field("endpoint", self.0.endpoint.name())
            .field("queued", &member.map(|member| member.cause))
            .finish_non_exhaustive()
    }
}
