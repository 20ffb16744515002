//! What keeps credentials fresh and their records clean: what the caller runs from time to time.

use std::convert::Infallible;
use std::future::{Future, pending};
use std::pin::pin;

use futures_util::future::{join_all, select};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use tracing::info;

use super::handle::Tokens;
use super::source::{Lifetime, Tier};
use super::supply::Flight;
use crate::time::{self, Duration, Instant};

/// A credential in use is refreshed so long before it becomes stale, so that no request waits
/// for it; one with a short life at half of it.
const LEAD: Duration = Duration::from_secs(60);

/// How often a credential is looked at again that is due and not in use.
const LOOK_AGAIN: Duration = Duration::from_secs(15);

/// A pool that nothing ever happens in is looked at this often.
const IDLE: Duration = Duration::from_secs(60 * 60);

impl Tokens {
    /// What has to be done beside the requests, for ever: credentials that are in use are
    /// refreshed before they become stale, and refreshes that requests began are driven to their
    /// end. Run it beside your service.
    ///
    /// A credential that was not used since it was got is left to the next request, and so is
    /// every one of [`Tier::Anonymous`].
    ///
    /// # Cancel safety
    ///
    /// Dropping it ends no refresh: the next request that needs the credential, this future begun
    /// anew, or [`settled`](Self::settled) goes on with it. Whoever drops the pool as well gives
    /// up on the answer, and with it perhaps on a refresh token that was rotated: await
    /// [`settled`](Self::settled) first.
    pub fn maintenance(&self) -> impl Future<Output = Infallible> + Send + use<> {
        let tokens = self.clone();
        async move {
            loop {
                let next = tokens.keep_fresh(time::now());
                let mut flights: FuturesUnordered<_> = tokens.under_way().collect();
                let landed = pin!(async {
                    if flights.next().await.is_none() {
                        pending::<()>().await;
                    }
                });
                // One that began since it was looked for has left a permit.
                let began = pin!(tokens.0.began.notified());
                let due = pin!(tokio::time::sleep_until(next.into()));
                select(select(began, landed), due).await;
            }
        }
    }

    /// Ready when no refresh is under way any more. Drives those that are.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and begun again.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let flights: Vec<_> = self.under_way().collect();
        async move {
            join_all(flights).await;
        }
    }

    /// Forgets limits and inactivity that are over. No credential waits for that, because
    /// whoever asks compares with the clock. Returns how many had any.
    pub fn sweep(&self, now: Instant) -> usize {
        if !self.is_notable() {
            return 0;
        }
        let over = self.change(|ring| ring.sweep(now));
        let (endpoint, name) = (self.endpoint().id(), &**self.endpoint().name());
        for &index in &over {
            let credential = self.name(index).map_or("none", |name| &**name);
            info!(%endpoint, name, credential, "credential: limited => active (its time is over)");
        }
        over.len()
    }

    fn under_way(&self) -> impl Iterator<Item = Flight> {
        let seats = self.0.seats.iter();
        seats.filter_map(|seat| seat.supply.under_way())
    }

    /// Begins the refreshes that are due, and tells when to look again.
    fn keep_fresh(&self, now: Instant) -> Instant {
        let mut next = now + IDLE;
        for (index, seat) in self.0.seats.iter().enumerate() {
            let source = &seat.supply.source;
            if seat.tier == Tier::Anonymous || !source.is_refreshable() {
                continue;
            }
            let Some(lifetime) = source.lifetime() else {
                continue;
            };
            let due = due(&lifetime);
            if now < due {
                next = next.min(due);
                continue;
            }
            let (last_use, usable) = self.use_of(index, now);
            if usable && last_use.is_some_and(|used| lifetime.since <= used) {
                self.refresh(index);
            }
            next = next.min(now + LOOK_AGAIN);
        }
        next
    }
}

/// When a credential with this life is to be refreshed ahead of time.
fn due(lifetime: &Lifetime) -> Instant {
    let life = lifetime.stale.saturating_duration_since(lifetime.since);
    lifetime.since + life.saturating_sub(LEAD).max(life / 2)
}
