//! The handle of all sessions: what is bound where.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::config::Config;
use super::owners::{self, Owner, Owners};
use super::state::{Binding, Key, Table, Visited};
use crate::endpoint::EndpointId;
use crate::facts::ClientId;
use crate::record::{SessionHash, Transition};
use crate::time::{self, Duration, Instant};

/// How often [`Sessions::maintenance`] removes what is expired.
const SWEEP_EVERY: Duration = Duration::from_secs(300);

/// The sessions and the endpoints that they are bound to, and the resources and their owners. A
/// clone is the same sessions.
///
/// They live in memory only: after a restart every session is free, and is bound again at its
/// next success; the owner of a resource is known again when an answer has shown it.
#[derive(Clone)]
pub struct Sessions(Arc<Mutex<State>>);

struct State {
    table: Table,
    owners: Owners,
    config: Config,
}

impl Sessions {
    /// No sessions yet.
    #[must_use]
    pub fn new(config: Config) -> Self {
        let (table, owners) = (Table::new(), Owners::new());
        Self(Arc::new(Mutex::new(State {
            table,
            owners,
            config,
        })))
    }

    /// Changes the settings. Bindings stay; a new lifetime counts for them, too, and a smaller
    /// capacity from the next new binding on.
    pub fn configure(&self, config: Config) {
        self.state().config = config;
    }

    /// The binding of one session: at most one for each client that uses this session id. A
    /// session id becomes a hash by [`SessionHash::of`].
    #[must_use]
    pub fn get(&self, session: SessionHash, now: Instant) -> Vec<Bound> {
        self.collect(now, |key| key.session == session)
    }

    /// Every binding, the most recently used first; expired ones until they are swept.
    #[must_use]
    pub fn list(&self, now: Instant) -> Vec<Bound> {
        self.collect(now, |_| true)
    }

    /// The numbers.
    #[must_use]
    pub fn stats(&self, now: Instant) -> Stats {
        let state = self.state();
        let mut stats = Stats {
            total: 0,
            active: 0,
            expired: 0,
            endpoints: BTreeMap::new(),
            ttl: state.config.ttl,
            resources: state.owners.len(),
        };
        for (_, binding) in state.table.iter() {
            stats.total += 1;
            if binding.is_expired(&state.config, now) {
                stats.expired += 1;
            } else {
                stats.active += 1;
                *stats.endpoints.entry(binding.endpoint).or_default() += 1;
            }
        }
        stats
    }

    /// Removes the binding of a session. Returns whether there was one.
    pub fn unbind(&self, session: SessionHash) -> bool {
        self.state()
            .table
            .remove_if(|key, _| key.session == session)
            > 0
    }

    /// Removes all bindings to an endpoint. Returns how many there were.
    pub fn unbind_endpoint(&self, id: EndpointId) -> usize {
        self.state()
            .table
            .remove_if(|_, binding| binding.endpoint == id)
    }

    /// Removes all bindings of one client. Returns how many there were.
    pub fn unbind_client(&self, client: ClientId) -> usize {
        self.state().table.remove_if(|key, _| key.client == client)
    }

    /// Removes every binding. Returns how many there were.
    pub fn unbind_all(&self) -> usize {
        self.state().table.remove_if(|_, _| true)
    }

    /// Removes what is expired. Returns how many bindings that were.
    pub fn sweep(&self, now: Instant) -> usize {
        let State {
            table,
            owners,
            config,
        } = &mut *self.state();
        owners.sweep(config, now);
        table.remove_if(|_, binding| binding.is_expired(config, now))
    }

    /// Sweeps every 300 s, for ever. Run it beside the service: without it, expired bindings are
    /// still never used, but take room until they are the least recently used.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and begun again at any time.
    pub fn maintenance(&self) -> impl Future<Output = Infallible> + Send + use<> {
        let sessions = self.clone();
        async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                let removed = sessions.sweep(time::now());
                tracing::debug!(removed, "expired session bindings removed");
            }
        }
    }

    /// The endpoint that `key` is bound to.
    pub(super) fn bound(&self, key: Key, now: Instant) -> Option<EndpointId> {
        let State { table, config, .. } = &mut *self.state();
        table.get(key, config, now)
    }

    /// The owner of the first of these that has a known one.
    pub(super) fn owner(
        &self,
        mut keys: impl Iterator<Item = owners::Key>,
        now: Instant,
    ) -> Option<Owner> {
        let State { owners, config, .. } = &mut *self.state();
        keys.find_map(|key| owners.get(key, config, now).cloned())
    }

    /// Changes what is known of owners.
    pub(super) fn change_owners<T>(&self, change: impl FnOnce(&mut Owners, &Config) -> T) -> T {
        let State { owners, config, .. } = &mut *self.state();
        change(owners, config)
    }

    pub(super) fn conclude(&self, key: Key, visited: Visited, now: Instant) -> Option<Transition> {
        let State { table, config, .. } = &mut *self.state();
        table.conclude(key, visited, config, now)
    }

    fn collect(&self, now: Instant, wanted: impl Fn(&Key) -> bool) -> Vec<Bound> {
        let state = self.state();
        state
            .table
            .iter()
            .filter(|(key, _)| wanted(key))
            .map(|(key, binding)| Bound::new(*key, binding, &state.config, now))
            .collect()
    }

    #[cfg(test)]
    pub(super) fn while_locked(&self, act: impl FnOnce()) {
        let _state = self.state();
        act();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // A panic inside leaves at worst a binding that is not there.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Sessions {
    fn default() -> Self {
        Self::new(Config::default())
    }
}

impl fmt::Debug for Sessions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let config = self.state().config;
        f.debug_struct("Sessions")
            .field("config", &config)
            .finish_non_exhaustive()
    }
}

/// A session that is bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bound {
    /// The client that it belongs to.
    pub client: ClientId,
    /// The session.
    pub session: SessionHash,
    /// The endpoint that it is bound to.
    pub endpoint: EndpointId,
    /// When it expires without another success; `None` if that is beyond the range of the clock.
    pub expires: Option<Instant>,
    /// How long that is from now; zero once it is expired.
    pub remaining: Duration,
}

impl Bound {
    fn new(key: Key, binding: &Binding, config: &Config, now: Instant) -> Self {
        let expires = binding.expires(config);
        Self {
            client: key.client,
            session: key.session,
            endpoint: binding.endpoint,
            expires,
            remaining: expires.map_or(Duration::MAX, |end| end.saturating_duration_since(now)),
        }
    }
}

/// The numbers of all sessions.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// All bindings.
    pub total: usize,
    /// Those that count.
    pub active: usize,
    /// Those that are expired and not yet swept.
    pub expired: usize,
    /// The active ones of each endpoint that has any.
    pub endpoints: BTreeMap<EndpointId, usize>,
    /// How long a binding lives after the last success.
    pub ttl: Duration,
    /// How many resources have a known owner.
    pub resources: usize,
}
