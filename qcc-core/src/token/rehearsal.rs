//! What a pool would do, tried on a copy of what is known of it.

use std::sync::Arc;

use super::handle::Tokens;
use super::state::{PassedOver, Place, Ring, TokenState, Wanted};
use crate::failure::{Kind, Verdict};
use crate::time::{Duration, Instant};

/// A limit of this length is tried.
const LIMIT: Duration = Duration::from_secs(1);

/// No pool is tried for longer.
const MOST_FAILURES: u32 = 1_000;

/// What a pool would do at one moment, found out on a copy by the same code that serves requests.
/// Nothing is sent, and nothing changes.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Rehearsal {
    /// The credentials that a request would go through now if each were limited, in this order.
    pub order: Vec<Arc<str>>,
    /// Whom the next request would use once the first of them is limited; `None` if nobody.
    pub after_limit: Option<Arc<str>>,
    /// Whether the first one is used again when its limit is over.
    pub limit_ends: bool,
    /// After how many limits in a row the first one is inactive, and for how long; `None` if it
    /// never is.
    pub inactive: Option<(u32, Duration)>,
    /// Whether the first one is left alone after a refusal until somebody recovers it, and no
    /// longer.
    pub refusal_waits: bool,
}

impl Tokens {
    /// Tries on a copy what this pool would do at `now`.
    #[must_use]
    pub fn rehearse(&self, now: Instant) -> Rehearsal {
        let ring = self.lock().clone();
        let config = &self.0.config;
        let order = walk(&mut ring.clone(), now);
        let name = |place: &Place| self.name(place.index).cloned();
        let limit = |end: Instant| Verdict::new(Kind::RateLimit).until(Some(end));

        let mut limited = ring.clone();
        let first = pick(&mut limited, &[], now);
        let (mut after_limit, mut limit_ends, mut refusal_waits) = (None, false, false);
        let mut inactive = None;
        if let Some(first) = first {
            let state = |ring: &Ring, now| ring.slot(first.index).map(|slot| slot.state(None, now));
            let active = |ring: &Ring, now| state(ring, now) == Some(TokenState::Active);

            limited.failed(first, limit(now + LIMIT), config, now);
            let inactive_at_once =
                matches!(state(&limited, now), Some(TokenState::Inactive { .. }));
            limit_ends = inactive_at_once || active(&limited, now + LIMIT);
            after_limit = pick(&mut limited, &[], now).as_ref().and_then(name);

            // Each limit is over when the next one is met.
            let mut failing = ring.clone();
            let mut at = now;
            for count in 1..=MOST_FAILURES {
                let only = Wanted {
                    model: None,
                    only: Some(first.index),
                    tried: &[],
                };
                let Some(place) = pick_wanted(&mut failing, &only, at) else {
                    break;
                };
                failing.failed(place, limit(at + LIMIT), config, at);
                if let Some(TokenState::Inactive { until }) = state(&failing, at) {
                    inactive = Some((count, until.saturating_duration_since(at)));
                    break;
                }
                at += 2 * LIMIT;
            }

            let mut refused = ring;
            refused.failed(first, Verdict::new(Kind::Auth), config, now);
            let ever = now + 365 * Duration::from_secs(24 * 60 * 60);
            let waits = !active(&refused, ever);
            refused.recover(Some(first.index));
            refusal_waits = waits && active(&refused, now);
        }
        Rehearsal {
            order: order.iter().filter_map(name).collect(),
            after_limit,
            limit_ends,
            inactive,
            refusal_waits,
        }
    }
}

/// Those that a request would use one after the other.
fn walk(ring: &mut Ring, now: Instant) -> Vec<Place> {
    let (mut order, mut tried) = (Vec::new(), Vec::new());
    while let Some(place) = pick(ring, &tried, now) {
        tried.push(place.index);
        order.push(place);
    }
    order
}

fn pick(ring: &mut Ring, tried: &[usize], now: Instant) -> Option<Place> {
    let wanted = Wanted {
        model: None,
        only: None,
        tried,
    };
    pick_wanted(ring, &wanted, now)
}

fn pick_wanted(ring: &mut Ring, wanted: &Wanted<'_>, now: Instant) -> Option<Place> {
    let picked = ring.pick(wanted, now, &mut PassedOver::new(), |_, _| Some(()));
    picked.map(|picked| picked.place)
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::credential::Credential;
    use crate::endpoint::Endpoint;
    use crate::time;
    use crate::token::{Config, Pool, Tier};

    fn tokens(config: Config, names: &[(Tier, &str)]) -> Tokens {
        let endpoint = Endpoint::new("p", "http://p.sim".parse().unwrap()).with_token_pool();
        let pool = names.iter().fold(Pool::new(config), |pool, (tier, name)| {
            let credential = Credential::new(*name, format!("sk-test-{name}"));
            pool.with(*tier, *name, Arc::new(credential))
        });
        Tokens::pooled(Arc::new(endpoint), pool)
    }

    fn names(order: &[Arc<str>]) -> Vec<&str> {
        order.iter().map(|name| &**name).collect()
    }

    // CLI-14
    #[test]
    fn a_rehearsal_tells_order_and_failure_handling_and_changes_nothing() {
        let config = Config::default().with_max_failures(NonZeroU32::new(2).unwrap());
        let all = [
            (Tier::Personal, "Personal-1"),
            (Tier::Personal, "Personal-2"),
            (Tier::Shared, "Shared-1"),
        ];
        let tokens = tokens(config, &all);
        let now = time::now();
        let before = tokens.snapshot(now);
        let rehearsal = tokens.rehearse(now);
        assert_eq!(
            names(&rehearsal.order),
            ["Personal-1", "Personal-2", "Shared-1"]
        );
        assert_eq!(rehearsal.after_limit.as_deref(), Some("Personal-2"));
        assert!(rehearsal.limit_ends && rehearsal.refusal_waits);
        assert_eq!(rehearsal.inactive, Some((2, Duration::from_secs(600))));
        assert_eq!(tokens.snapshot(now), before);
        assert_eq!(tokens.rehearse(now), rehearsal);
    }

    // CLI-14
    #[test]
    fn a_rehearsal_begins_with_what_is_known_already() {
        let one = [(Tier::Personal, "Personal-1")];
        let alone = tokens(Config::default(), &one).rehearse(time::now());
        assert_eq!(names(&alone.order), ["Personal-1"]);
        assert_eq!(alone.after_limit, None);
        let empty = tokens(Config::default(), &[]).rehearse(time::now());
        assert_eq!((names(&empty.order).len(), empty.inactive), (0, None));

        let two = [(Tier::Personal, "Personal-1"), (Tier::Shared, "Shared-1")];
        let tokens = tokens(Config::default(), &two);
        let now = time::now();
        let place = pick(&mut tokens.lock(), &[], now).unwrap();
        tokens.failed(place, Verdict::new(Kind::Auth), now);
        assert_eq!(names(&tokens.rehearse(now).order), ["Shared-1"]);
    }
}
