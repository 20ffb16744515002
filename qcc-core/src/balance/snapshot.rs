//! The members of one moment, and the choice among them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::request::Parts;

use super::config::{Config, LastResort};
use super::load::InFlight;
use super::member::Member;
use super::policy::{BalancePolicy, Candidates, Scene};
use crate::available::{Availability, Query, Reason, ReasonCounts};
use crate::endpoint::{Endpoint, EndpointId};
use crate::error::{BoxError, NoEndpoint, OwnerUnavailable};
use crate::guard::{Guard, Settled};
use crate::record::{Event, Fate, LeftOuts, Tier};
use crate::time::Instant;
use crate::visit::{Preferred, Strength, Visit};

/// How often the policy is asked again when another request took the last place of its pick.
const ASKED_AGAIN: usize = 3;

/// Members and their services, side by side, in the order of priority.
pub(super) struct Snapshot<S> {
    pub(super) members: Box<[Member]>,
    pub(super) services: Box<[S]>,
    // Sorted, so that a preference costs the same for 3 and for 10,000.
    ids: Box<[(EndpointId, usize)]>,
}

impl<S> Snapshot<S> {
    pub(super) fn new(members: impl IntoIterator<Item = (Member, S)>, config: &Config) -> Self {
        let mut pairs: Vec<_> = members.into_iter().collect();
        pairs
            .iter()
            .for_each(|(member, _)| member.load().configure(config));
        pairs.sort_by_key(|(member, _)| member.endpoint().priority());
        let (members, services): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
        let mut ids: Vec<_> = members
            .iter()
            .enumerate()
            .map(|(slot, member)| (member.endpoint().id(), slot))
            .collect();
        ids.sort_unstable();
        Self {
            members: members.into(),
            services: services.into(),
            ids: ids.into(),
        }
    }

    pub(super) fn slot(&self, id: EndpointId) -> Option<usize> {
        let at = self
            .ids
            .binary_search_by_key(&id, |(known, _)| *known)
            .ok()?;
        Some(self.ids[at].1)
    }
}

impl<S> fmt::Debug for Snapshot<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&*self.members).finish()
    }
}

/// How a choice is made, the members aside.
#[derive(Debug)]
pub(super) struct Chooser {
    pub(super) policy: Arc<dyn BalancePolicy>,
    pub(super) config: Config,
    pub(super) place: LastResortPlace,
}

/// The member that was chosen.
#[derive(Debug)]
pub(super) struct Chosen {
    pub(super) slot: usize,
    pub(super) tier: Tier,
    pub(super) held: Held,
}

impl Chooser {
    /// Chooses a member for `visit`, takes a place there, and notes all of that in the exchange.
    pub(super) fn choose<S>(
        &self,
        snapshot: &Snapshot<S>,
        head: &Parts,
        visit: &Visit,
        now: Instant,
    ) -> Result<Chosen, BoxError> {
        let exchange = &visit.exchange;
        let preferred = visit.preferred.as_ref();
        let owner = preferred.filter(|preferred| preferred.strength == Strength::Hard);
        let query =
            Query::new(head, exchange.facts(), now).with_credential(visit.owned_credential());
        let scene = Scene::new(&snapshot.members, query, &visit.excluded);
        if tracing::enabled!(tracing::Level::DEBUG) {
            scene.log(visit);
        }

        let preferred = preferred.map(|preferred| preferred.endpoint);
        let slot = preferred.map(|id| snapshot.slot(id));
        let (chosen, mut fate) = match slot {
            None => (None, None),
            Some(None) => (None, Some(Fate::Gone)),
            Some(Some(slot)) => {
                let (chosen, fate) = scene.honour(slot);
                (chosen, Some(fate))
            }
        };
        let chosen = match (chosen, owner) {
            (Some(chosen), _) => Ok(chosen),
            (None, Some(owner)) => Err(scene.unavailable(owner, slot.flatten(), fate).into()),
            (None, None) => self
                .ask(&scene, head)
                .or_else(|nobody| self.resort(&scene, nobody))
                .map_err(BoxError::from),
        };

        let endpoint = chosen.as_ref().ok().map(|chosen| {
            let endpoint = snapshot.members[chosen.slot].endpoint();
            if Some(endpoint.id()) == preferred {
                fate = Some(owner.map_or(Fate::Honoured, |_| Fate::Owned));
            }
            endpoint.clone()
        });
        let tier = chosen.as_ref().map_or(Tier::Ready, |chosen| chosen.tier);
        log_choice(visit, endpoint.as_deref(), tier);
        let left_out = scene.left_out.into_inner();
        if !left_out.named.is_empty() {
            exchange.note(Event::LeftOut(left_out), now);
        }
        exchange.choose(endpoint, tier, fate, now);
        chosen
    }

    /// What the policy picks, tier by tier.
    fn ask(&self, scene: &Scene<'_>, head: &Parts) -> Result<Chosen, Nobody> {
        let mut nobody = Nobody::Picked;
        for tier in [Tier::Ready, Tier::Degraded] {
            // Whoever is left out of both tiers is counted once.
            scene.left_out.borrow_mut().others = ReasonCounts::default();
            for _ in 0..=ASKED_AGAIN {
                let candidates = Candidates::new(scene, tier);
                let Some(slot) = self
                    .policy
                    .pick(head, candidates)
                    .and_then(|candidate| candidate.slot_in(scene))
                else {
                    break;
                };
                if let Some(in_flight) = scene.members[slot].enter() {
                    let held = Held::new(in_flight);
                    return Ok(Chosen { slot, tier, held });
                }
                nobody = Nobody::HadRoom;
            }
        }
        Err(nobody)
    }

    /// The last resort or, without one, why nobody could be used.
    fn resort(&self, scene: &Scene<'_>, nobody: Nobody) -> Result<Chosen, NoEndpoint> {
        let census = scene.census(nobody);
        scene.left_out.replace(census.left_out);
        let slot = census
            .resort
            .filter(|_| self.config.last_resort == LastResort::Probe);
        if let Some(slot) = slot
            && let Some(place) = self.place.take()
            && let Some(in_flight) = scene.members[slot].enter()
        {
            return Ok(Chosen {
                slot,
                tier: Tier::LastResort,
                held: Held {
                    _last_resort: Some(place),
                    ..Held::new(in_flight)
                },
            });
        }
        Err(NoEndpoint::new(census.reasons, census.until))
    }
}

/// Why the policy led to nobody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Nobody {
    /// It picked nobody.
    Picked,
    /// Other requests took the last place of each pick.
    HadRoom,
}

/// Every member, counted.
struct Census {
    reasons: ReasonCounts,
    left_out: LeftOuts,
    until: Option<Instant>,
    resort: Option<usize>,
}

impl Scene<'_> {
    /// Takes a place at the member that is preferred, if that is possible.
    fn honour(&self, slot: usize) -> (Option<Chosen>, Fate) {
        let member = &self.members[slot];
        let (reason, until) = match self.look(member) {
            Availability::Out { reason, until, .. } => (reason, until),
            available => match member.enter() {
                None => (Reason::Full, None),
                Some(in_flight) => {
                    let tier = match available {
                        Availability::Degraded => Tier::Degraded,
                        _ => Tier::Ready,
                    };
                    let held = Held::new(in_flight);
                    return (Some(Chosen { slot, tier, held }), Fate::Honoured);
                }
            },
        };
        self.left_out
            .borrow_mut()
            .push(member.endpoint(), reason, until);
        (None, Fate::PassedOver { reason, until })
    }

    /// Why the owner of what the request names cannot be had.
    fn unavailable(
        &self,
        owner: &Preferred,
        slot: Option<usize>,
        fate: Option<Fate>,
    ) -> OwnerUnavailable {
        let name = slot.map(|slot| self.members[slot].endpoint().name().clone());
        let (reason, until) = match fate {
            Some(Fate::PassedOver { reason, until }) => (Some(reason), until),
            _ => (None, None),
        };
        OwnerUnavailable::new(owner.endpoint, name, reason, until)
    }

    /// Looks at every member, because none could be chosen.
    fn census(&self, nobody: Nobody) -> Census {
        let mut census = Census {
            reasons: ReasonCounts::default(),
            left_out: LeftOuts::default(),
            until: None,
            resort: None,
        };
        let mut longest_ago = None;
        let mut available = false;
        for (slot, member) in self.members.iter().enumerate() {
            let (reason, until, failed) = match self.look(member) {
                Availability::Out {
                    reason,
                    until,
                    failed,
                } => (reason, until, failed),
                Availability::Ready | Availability::Degraded => {
                    available = true;
                    // One that the policy does not want is left out for no reason of ours.
                    if nobody == Nobody::Picked {
                        continue;
                    }
                    (Reason::Full, None, None)
                }
            };
            census.reasons.add(reason);
            census.left_out.push(member.endpoint(), reason, until);
            census.until = [census.until, until].into_iter().flatten().min();
            let merely_failing = matches!(reason, Reason::Open | Reason::Probing | Reason::Queued);
            if merely_failing && longest_ago.is_none_or(|known| failed < known) {
                longest_ago = Some(failed);
                census.resort = Some(slot);
            }
        }
        if available {
            census.resort = None;
        }
        census
    }

    /// Everything that the choice depends on. Status and failures in a row are in the `Debug` of
    /// the gates.
    fn log(&self, visit: &Visit) {
        let id = visit.exchange.id();
        let looked: Vec<_> = self.members.iter().map(|m| (m, self.look(m))).collect();
        let out = |(_, seen): &&(_, Availability)| matches!(seen, Availability::Out { .. });
        let candidates = looked.len() - looked.iter().filter(out).count();
        tracing::debug!(
            request_id = %id,
            visit = visit.number,
            candidates,
            members = looked.len(),
            "selecting an endpoint"
        );
        for (member, availability) in looked {
            let endpoint = member.endpoint();
            tracing::debug!(
                request_id = %id,
                endpoint = %endpoint.id(),
                name = %endpoint.name(),
                ?availability,
                is_healthy = is_healthy(availability),
                in_flight = member.load().in_flight(),
                gates = ?member.gates(),
                "member"
            );
        }
    }
}

/// Whether nothing that a gate says speaks against the endpoint itself.
fn is_healthy(availability: Availability) -> bool {
    match availability {
        Availability::Ready => true,
        Availability::Degraded => false,
        Availability::Out { reason, .. } => {
            matches!(
                reason,
                Reason::Model | Reason::Dialect | Reason::Full | Reason::Excluded
            )
        }
    }
}

fn log_choice(visit: &Visit, endpoint: Option<&Endpoint>, tier: Tier) {
    let id = visit.exchange.id();
    match endpoint {
        Some(endpoint) => tracing::debug!(
            request_id = %id,
            endpoint = %endpoint.id(),
            name = %endpoint.name(),
            url = %endpoint.base_url(),
            %tier,
            "selected an endpoint"
        ),
        None => tracing::debug!(request_id = %id, "selected none"),
    }
}

/// What a visit holds until its answer has ended: its place among the requests in flight and,
/// if it is one, that of the last resort.
#[derive(Debug)]
pub struct Held {
    pub(super) in_flight: InFlight,
    _last_resort: Option<PlaceTaken>,
}

impl Held {
    const fn new(in_flight: InFlight) -> Self {
        Self {
            in_flight,
            _last_resort: None,
        }
    }
}

impl Guard for Held {
    fn settle(self, _: Settled) {}
}

/// The one place for a last resort.
#[derive(Debug, Default)]
pub(super) struct LastResortPlace(Arc<AtomicBool>);

impl LastResortPlace {
    fn take(&self) -> Option<PlaceTaken> {
        let taken = self.0.swap(true, Ordering::Relaxed);
        (!taken).then(|| PlaceTaken(self.0.clone()))
    }
}

/// Frees the place when it is dropped.
#[derive(Debug)]
struct PlaceTaken(Arc<AtomicBool>);

impl Drop for PlaceTaken {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}
