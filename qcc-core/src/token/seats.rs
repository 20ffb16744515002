//! Who belongs to a pool, from the start and after a reload.

use std::sync::Arc;

use super::config::Config;
use super::handle::Tokens;
use super::pool::{Entry, Pool};
use super::slot::Slot;
use super::source::Tier;
use super::state::Ring;
use super::supply::Supply;
use crate::credential::Credential;
use crate::endpoint::Endpoint;

/// One credential with the name that it has here.
#[derive(Clone, Debug)]
pub(super) struct Seat {
    pub(super) tier: Tier,
    pub(super) name: Arc<str>,
    pub(super) supply: Arc<Supply>,
}

impl Seat {
    fn new(entry: Entry) -> Self {
        let Entry { tier, name, source } = entry;
        Self {
            tier,
            name,
            supply: Arc::new(Supply::new(source)),
        }
    }

    fn is(&self, entry: &Entry) -> bool {
        self.supply.source.id() == entry.source.id()
    }
}

impl Tokens {
    /// The one credential of `endpoint`, or none if it has none.
    #[must_use]
    pub fn fixed(endpoint: Arc<Endpoint>) -> Self {
        let credential = endpoint.credential().cloned();
        Self::new(endpoint, credential)
    }

    /// Credentials of one tier, which take turns. Without any, nothing is sent to an endpoint
    /// that [needs](Endpoint::needs_credential) one.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, credentials: impl IntoIterator<Item = Credential>) -> Self {
        let mut pool = Pool::default();
        for credential in credentials {
            let name = credential.name().clone();
            pool = pool.with(Tier::Personal, name, Arc::new(credential));
        }
        if pool.len() < 2 {
            pool.config = Config::SINGLE;
        }
        Self::pooled(endpoint, pool)
    }

    /// The credentials of `pool`.
    #[must_use]
    pub fn pooled(endpoint: Arc<Endpoint>, pool: Pool) -> Self {
        let seats: Vec<_> = pool.entries.into_iter().map(Seat::new).collect();
        Self::with_slots(endpoint, pool.config, seats, |_| Slot::default())
    }

    fn with_slots(
        endpoint: Arc<Endpoint>,
        config: Config,
        seats: Vec<Seat>,
        slot: impl Fn(&Seat) -> Slot,
    ) -> Self {
        let mut slots: Vec<_> = seats.iter().map(|seat| (seat.tier, slot(seat))).collect();
        if slots.is_empty() && !endpoint.needs_credential() {
            // One place without a credential: the limits of such an endpoint belong to the
            // address that we send from.
            slots.push((Tier::Personal, Slot::default()));
        }
        Self::around(endpoint, seats.into(), config, Ring::new(slots))
    }

    /// The same credentials for `endpoint` as it is configured now, if it takes them from
    /// nowhere else: the id of an endpoint covers its one credential. With a `pool`, each
    /// credential that was there before keeps what it holds and what is known of it. A send
    /// that began before tells the pool that it came from, and no other.
    #[must_use]
    pub fn continued(&self, endpoint: &Arc<Endpoint>, pool: Option<Pool>) -> Self {
        debug_assert_eq!(self.endpoint().id(), endpoint.id());
        let Some(pool) = pool else {
            return self.clone();
        };
        let before = &self.0.seats;
        let same = |(seat, entry): (&Seat, &Entry)| {
            seat.is(entry) && seat.tier == entry.tier && seat.name == entry.name
        };
        let unchanged = pool.config == self.0.config
            && pool.entries.len() == before.len()
            && before.iter().zip(&pool.entries).all(same);
        if unchanged {
            return self.clone();
        }
        let seats = pool.entries.into_iter().map(|entry| Seat {
            supply: match before.iter().find(|seat| seat.is(&entry)) {
                Some(seat) => seat.supply.clone(),
                None => Arc::new(Supply::new(entry.source)),
            },
            tier: entry.tier,
            name: entry.name,
        });
        let ring = self.lock();
        let known = |seat: &Seat| {
            let index = before
                .iter()
                .position(|before| Arc::ptr_eq(&before.supply, &seat.supply));
            index.and_then(|index| ring.slot(index)).cloned()
        };
        Self::with_slots(endpoint.clone(), pool.config, seats.collect(), |seat| {
            known(seat).unwrap_or_default()
        })
    }
}
