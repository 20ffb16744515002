//! The handle: the ring behind its lock, and what stands around it.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tracing::{error, info, warn};

use super::config::Config;
use super::lease::Lease;
use super::seats::Seat;
use super::slot::Slot;
use super::source::{Held, NotRefreshed};
use super::state::{PassedOver, Picked, Place, Ring, TokenState, Transition, Wanted};
use super::status::TokenStatus;
use super::supply::Flight;
use crate::available::{Availability, Available, Query, Reason};
use crate::credential::Credential;
use crate::endpoint::Endpoint;
use crate::failure::Verdict;
use crate::record;
use crate::time::{self, Instant};

/// The credentials of one endpoint: given to its [layer](super::TokenPoolLayer), registered as
/// a gate, recovered by the operator. Cheap to clone; all clones are one pool.
#[derive(Clone)]
pub struct Tokens(pub(super) Arc<Shared>);

pub(super) struct Shared {
    endpoint: Arc<Endpoint>,
    pub(super) seats: Box<[Seat]>,
    pub(super) config: Config,
    ring: Mutex<Ring>,
    /// Whether anything is known against a credential. Published under the lock; a look at a
    /// pool that is well needs no more than this.
    notable: AtomicBool,
    /// Told when a refresh begins.
    pub(super) began: Notify,
}

/// What a request gets of a pool.
pub(super) enum Leased {
    /// A credential to send with, or `None` in it where none is needed.
    Ready(Taken),
    /// One that has to be refreshed first.
    Stale { index: usize, flight: Flight },
    /// Nothing, for this reason and until then.
    Nobody(Reason, Option<Instant>),
}

pub(super) struct Taken {
    pub(super) lease: Lease,
    pub(super) credential: Option<Credential>,
    /// Whether another credential could be used in its place.
    pub(super) others: bool,
}

/// What a slot offers: a credential, or a refresh.
enum Offer {
    Credential(Option<Credential>),
    /// And whether it began just now.
    Refresh(Flight, bool),
}

impl Tokens {
    pub(super) fn around(
        endpoint: Arc<Endpoint>,
        seats: Box<[Seat]>,
        config: Config,
        ring: Ring,
    ) -> Self {
        let notable = AtomicBool::new(ring.is_notable());
        Self(Arc::new(Shared {
            endpoint,
            seats,
            config,
            ring: Mutex::new(ring),
            notable,
            began: Notify::new(),
        }))
    }

    /// The endpoint whose credentials these are.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    /// Whether `other` is the same pool.
    pub(crate) fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }

    /// Whether any of the credentials is got and renewed by a refresh.
    #[must_use]
    pub fn has_refreshable(&self) -> bool {
        (0..self.0.seats.len()).any(|index| self.is_refreshable(index))
    }

    /// The credentials as they are at `now`, without their secrets. Changes nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<TokenStatus> {
        let ring = self.lock();
        let named = self.0.seats.iter().zip(ring.iter());
        named
            .map(|(seat, (_, slot))| TokenStatus::of(seat, slot, now))
            .collect()
    }

    /// Uses credentials again that were refused or are inactive: the one of this name, or all.
    /// Sends that began before can refuse them no more. Returns how many there were.
    pub fn recover(&self, name: Option<&str>) -> usize {
        let only = match name {
            Some(name) => match self.index(name) {
                Some(index) => Some(index),
                None => return 0,
            },
            None => None,
        };
        let recovered = self.change(|ring| ring.recover(only));
        if recovered > 0 {
            self.log_change("refused => active (operator)");
        }
        recovered
    }

    /// Ends the cool-downs of all credentials. Returns whether one was running.
    pub fn clear_limits(&self) -> bool {
        let now = time::now();
        let changed = self.change(|ring| ring.clear_limits(now));
        if changed {
            self.log_change("cooling => active (operator)");
        }
        changed
    }

    /// The place of the credential of this name.
    pub(super) fn index(&self, name: &str) -> Option<usize> {
        self.0.seats.iter().position(|seat| &*seat.name == name)
    }

    /// The name of the credential at `place`.
    pub(super) fn name(&self, index: usize) -> Option<&Arc<str>> {
        self.0.seats.get(index).map(|seat| &seat.name)
    }

    /// Leases a credential. `refresh` says whether one that is stale may be refreshed first;
    /// else it is used as long as it is accepted. What was passed over is told in `passed_over`.
    pub(super) fn lease(
        &self,
        wanted: &Wanted<'_>,
        refresh: bool,
        now: Instant,
        passed_over: &mut Vec<record::PassedOver>,
    ) -> Leased {
        let shared = &*self.0;
        let mut passed = PassedOver::new();
        let mut ring = self.lock();
        let offer = |index: usize, slot: &Slot| {
            let Some(seat) = shared.seats.get(index) else {
                return Some(Offer::Credential(None));
            };
            match seat.supply.source.held(now) {
                Held::Fresh(credential) => Some(Offer::Credential(Some(credential))),
                Held::Stale(old) => (refresh && slot.may_refresh(now))
                    .then(|| self.begin_refresh(index))
                    .flatten()
                    .map(|(flight, began)| Offer::Refresh(flight, began))
                    .or_else(|| old.map(|old| Offer::Credential(Some(old)))),
            }
        };
        let picked = ring.pick(wanted, now, &mut passed, offer);
        let leased = match picked {
            Some(picked) => {
                drop(ring);
                self.leased(picked)
            }
            None => {
                drop(ring);
                let (reason, until) = self.out(wanted.model, wanted.only, now);
                Leased::Nobody(reason, until)
            }
        };
        passed_over.extend(passed.into_iter().filter_map(|(index, state)| {
            let name = self.name(index)?.clone();
            Some(record::PassedOver::new(name, state.as_str(), state.until()))
        }));
        leased
    }

    fn leased(&self, picked: Picked<Offer>) -> Leased {
        if picked.resorted {
            let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
            warn!(%endpoint, name, tier = %picked.tier, "no token left, last resort");
        }
        match picked.leased {
            Offer::Refresh(flight, began) => {
                let index = picked.place.index;
                if began {
                    self.log_refresh(index);
                }
                Leased::Stale { index, flight }
            }
            Offer::Credential(credential) => Leased::Ready(Taken {
                lease: Lease::new(self.clone(), picked.place),
                credential,
                others: picked.others,
            }),
        }
    }

    /// Whether the credential at `index` can be got anew.
    pub(super) fn is_refreshable(&self, index: usize) -> bool {
        let seat = self.0.seats.get(index);
        seat.is_some_and(|seat| seat.supply.source.is_refreshable())
    }

    /// Whether the credential at `index` is another one by now than `old`.
    pub(super) fn has_replaced(&self, index: usize, old: &Credential, now: Instant) -> bool {
        let seat = self.0.seats.get(index);
        seat.is_some_and(|seat| seat.supply.has_replaced(old, now))
    }

    /// Refreshes the credential at `index`, together with whoever else wants that.
    pub(super) fn refresh(&self, index: usize) -> Option<Flight> {
        let (flight, began) = self.begin_refresh(index)?;
        if began {
            self.log_refresh(index);
        }
        Some(flight)
    }

    /// The refresh of the credential at `index`, and whether it begins with this. Logs nothing,
    /// because the pool may be locked.
    fn begin_refresh(&self, index: usize) -> Option<(Flight, bool)> {
        let seat = self.0.seats.get(index)?;
        // A refresh that nobody drives to its end must not keep the pool alive.
        let shared = Arc::downgrade(&self.0);
        let landed = move |result: Result<(), NotRefreshed>| {
            if let Some(shared) = shared.upgrade() {
                Self(shared).landed(index, result);
            }
        };
        let (flight, began) = seat.supply.refresh(landed)?;
        if began {
            self.0.began.notify_one();
        }
        Some((flight, began))
    }

    fn landed(&self, index: usize, result: Result<(), NotRefreshed>) {
        let now = time::now();
        let shared = &*self.0;
        let Some(seat) = shared.seats.get(index) else {
            return;
        };
        let (endpoint, name, token) = (shared.endpoint.id(), shared.endpoint.name(), &*seat.name);
        match result {
            Ok(()) => {
                self.change(|ring| ring.refreshed(index));
                info!(%endpoint, %name, token, "refresh ok");
            }
            Err(cause) => {
                let held = seat.supply.source.held(now);
                let held = !matches!(held, Held::Stale(None));
                let transition = self
                    .change(|ring| ring.not_refreshed(index, &cause, held, &shared.config, now));
                error!(%endpoint, %name, token, "refresh failed: {cause}");
                self.log_transition(index, transition, "refresh", now);
            }
        }
    }

    pub(super) fn succeeded(&self, place: Place) {
        if self.is_notable() {
            self.change(|ring| ring.succeeded(place));
        }
    }

    pub(super) fn failed(&self, place: Place, verdict: Verdict, now: Instant) {
        let config = &self.0.config;
        let transition = self.change(|ring| ring.failed(place, verdict, config, now));
        self.log_transition(place.index, transition, verdict.kind.as_str(), now);
    }

    /// What a failure means for the endpoint.
    pub(super) fn verdict(
        &self,
        place: Place,
        verdict: Verdict,
        model: Option<&str>,
        now: Instant,
    ) -> Verdict {
        self.lock().verdict(place, verdict, model, now)
    }

    /// Why nobody can be used.
    pub(super) fn out(
        &self,
        model: Option<&str>,
        only: Option<usize>,
        now: Instant,
    ) -> (Reason, Option<Instant>) {
        let tried = &[];
        let wanted = Wanted { model, only, tried };
        match self.lock().availability(&wanted, now) {
            Availability::Out { reason, until, .. } => (reason, until),
            // One could be used, but its source has nothing to send.
            _ => (Reason::Cooling, None),
        }
    }

    /// When the credential at `index` was last used, and whether it can be now.
    pub(super) fn use_of(&self, index: usize, now: Instant) -> (Option<Instant>, bool) {
        let ring = self.lock();
        let slot = ring.slot(index);
        let usable =
            |slot: &Slot| slot.state(None, now) == TokenState::Active && slot.may_refresh(now);
        (slot.and_then(Slot::last_use), slot.is_some_and(usable))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Ring> {
        // Each place stands for itself, and every field of it is written whole.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn change<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = self.lock();
        let result = change(&mut ring);
        self.0.notable.store(ring.is_notable(), Ordering::Release);
        result
    }

    pub(super) fn is_notable(&self) -> bool {
        self.0.notable.load(Ordering::Acquire)
    }

    fn log_transition(
        &self,
        index: usize,
        transition: Option<Transition>,
        cause: &str,
        now: Instant,
    ) {
        let credential = self.name(index).map_or("none", |name| &**name);
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        match transition {
            Some(Transition::Refused) => warn!(
                %endpoint, name, credential, kind = cause,
                "credential: active => refused"
            ),
            Some(Transition::Inactive(until)) => {
                let wait = until.saturating_duration_since(now);
                warn!(
                    %endpoint, name, credential, kind = cause, ?wait,
                    "credential: active => inactive"
                );
            }
            Some(Transition::Cooling(until)) => {
                let wait = until.saturating_duration_since(now);
                info!(
                    %endpoint, name, credential, kind = cause, ?wait,
                    "credential: active => cooling"
                );
            }
            None => {}
        }
    }

    fn log_refresh(&self, index: usize) {
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        let token = self.name(index).map_or("none", |name| &**name);
        info!(%endpoint, name, "refreshing {token}");
    }

    pub(super) fn log_change(&self, change: &'static str) {
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        info!(%endpoint, name, "credentials: {change}");
    }
}

impl Available for Tokens {
    fn availability(&self, query: &Query<'_>) -> Availability {
        if !self.is_notable() && query.credential.is_none() {
            return Availability::Ready;
        }
        let only = match query.credential {
            Some(name) => match self.index(name) {
                Some(index) => Some(index),
                // The credential is not there any more.
                None => return Availability::out(Reason::AuthFailed, None),
            },
            None => None,
        };
        let wanted = Wanted {
            model: query.facts.model.as_deref(),
            only,
            tried: &[],
        };
        self.lock().availability(&wanted, query.now)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("endpoint", self.0.endpoint.name())
            .field("credentials", &self.0.seats.len())
            .finish_non_exhaustive()
    }
}
