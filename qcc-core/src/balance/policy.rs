//! The trait that chooses, and what it may choose from.

use std::cell::RefCell;
use std::fmt;
use std::iter;

use http::request::Parts;

use super::member::Member;
use crate::available::{Availability, Query, Reason};
use crate::endpoint::Endpoint;
use crate::record::{LeftOuts, Tier};
use crate::time::Duration;
use crate::visit::Excluded;

/// Chooses which endpoint serves one visit. Sync, object-safe.
///
/// A policy is asked only when the choice is free, once for each tier from the best down, and
/// only about endpoints that may be used now. If another request takes the last place of the
/// chosen endpoint at the same moment, it is asked again. [`Lineup`](super::Lineup) tests one
/// without a runtime.
pub trait BalancePolicy: fmt::Debug + Send + Sync + 'static {
    /// One of `candidates` for the request with this head; `None` to use none of them.
    fn pick<'a>(&self, request: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>>;
}

/// Endpoints that may serve a request, in the order of their priority numbers, those of equal
/// number in the order of configuration.
///
/// Lazy: whether an endpoint may be used is looked up when it is asked for. That costs a few
/// atomic loads, so among thousands sample slots instead of going through all.
#[derive(Clone, Copy)]
pub struct Candidates<'a> {
    scene: &'a Scene<'a>,
    tier: Tier,
}

impl<'a> Candidates<'a> {
    pub(super) const fn new(scene: &'a Scene<'a>, tier: Tier) -> Self {
        Self { scene, tier }
    }

    /// All of them, in order.
    pub fn iter(self) -> impl Iterator<Item = Candidate<'a>> {
        (0..self.slots()).filter_map(move |slot| self.get(slot))
    }

    /// Those with the lowest priority number of all, in order. Looks at no endpoint of a higher
    /// number.
    pub fn foremost(self) -> impl Iterator<Item = Candidate<'a>> {
        let mut slot = 0;
        let mut rank = None;
        iter::from_fn(move || {
            loop {
                let priority = self.scene.members.get(slot)?.endpoint().priority();
                if rank.is_some_and(|rank| rank != priority) {
                    return None;
                }
                let candidate = self.get(slot);
                slot += 1;
                if candidate.is_some() {
                    rank = Some(priority);
                    return candidate;
                }
            }
        })
    }

    /// How many slots there are, candidates or not.
    #[must_use]
    pub const fn slots(self) -> usize {
        self.scene.members.len()
    }

    /// The candidate in `slot`, if the endpoint there is one. Slots count from 0.
    #[must_use]
    pub fn get(self, slot: usize) -> Option<Candidate<'a>> {
        let scene = self.scene;
        let member = scene.members.get(slot)?;
        let tier = match scene.look(member) {
            Availability::Ready => Tier::Ready,
            Availability::Degraded => Tier::Degraded,
            Availability::Out { reason, until, .. } => {
                let mut left_out = scene.left_out.borrow_mut();
                left_out.push(member.endpoint(), reason, until);
                return None;
            }
        };
        (tier == self.tier).then_some(Candidate {
            scene,
            member,
            slot,
        })
    }
}

impl fmt::Debug for Candidates<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidates")
            .field("slots", &self.slots())
            .field("tier", &self.tier)
            .finish_non_exhaustive()
    }
}

/// An endpoint that may be used now. Only a [`Candidates`] gives one out.
#[derive(Clone, Copy)]
pub struct Candidate<'a> {
    scene: &'a Scene<'a>,
    member: &'a Member,
    slot: usize,
}

impl<'a> Candidate<'a> {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(self) -> &'a Endpoint {
        self.member.endpoint()
    }

    /// The slot it stands in.
    #[must_use]
    pub const fn slot(self) -> usize {
        self.slot
    }

    /// How many requests it has in flight.
    #[must_use]
    pub fn in_flight(self) -> u32 {
        self.member.load().in_flight()
    }

    /// Its latency, as [`Load::latency`](super::Load::latency) describes it.
    #[must_use]
    pub fn latency(self) -> Option<Duration> {
        self.member.load().latency(self.scene.query.now)
    }

    /// Its share among equals: the weight of the endpoint as it is now, which
    /// [`Load::weight`](super::Load::weight) describes, rounded. 0 only if it is configured so.
    #[must_use]
    pub fn weight(self) -> u32 {
        let weight = self.weight_now();
        if weight > 0.0 {
            weight.round().max(1.0) as u32
        } else {
            0
        }
    }

    /// The share of its weight that it has for a slow start, from 0.1 to 1; 1 if it does not
    /// start. For policies that do not go by weight.
    #[must_use]
    pub fn share(self) -> f64 {
        self.member.load().share(self.scene.query.now)
    }

    /// The same weight in thousandths, so that a small one has a part, too.
    pub(super) fn fine_weight(self) -> u64 {
        (self.weight_now() * 1000.0).round() as u64
    }

    fn weight_now(self) -> f64 {
        let (load, now) = (self.member.load(), self.scene.query.now);
        load.weight(self.member.endpoint().weight(), now)
    }

    /// The slot, if the candidate was given out for `scene`.
    pub(super) fn slot_in(self, scene: &Scene<'_>) -> Option<usize> {
        let member = scene.members.get(self.slot)?;
        std::ptr::eq(member, self.member).then_some(self.slot)
    }
}

impl fmt::Debug for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Candidate")
            .field("endpoint", self.member.endpoint().name())
            .finish_non_exhaustive()
    }
}

/// Everything that one choice looks at, and whom it left out.
pub(super) struct Scene<'a> {
    pub(super) members: &'a [Member],
    pub(super) query: Query<'a>,
    pub(super) excluded: &'a Excluded,
    pub(super) left_out: RefCell<LeftOuts>,
}

impl<'a> Scene<'a> {
    pub(super) fn new(members: &'a [Member], query: Query<'a>, excluded: &'a Excluded) -> Self {
        Self {
            members,
            query,
            excluded,
            left_out: RefCell::default(),
        }
    }

    /// Whether `member` may be used in this visit.
    pub(super) fn look(&self, member: &Member) -> Availability {
        if self.excluded.contains(member.endpoint().id()) {
            return Availability::out(Reason::Excluded, None);
        }
        member.availability(&self.query)
    }
}
