//! The ring of credentials: pure, without clock, lock, log or secret. It knows them by their
//! place alone.

use std::ops::Range;
use std::sync::Arc;

use smallvec::SmallVec;

use super::config::Config;
use super::slot::Slot;
use super::source::{NotRefreshed, Tier};
use crate::available::{Availability, Reason};
use crate::failure::{Blame, Kind, Verdict};
use crate::time::Instant;

/// What is known of the credentials of one endpoint.
#[derive(Clone, Debug)]
pub(super) struct Ring {
    slots: Box<[Slot]>,
    /// The tiers that have any, best first.
    turns: Box<[Turn]>,
    /// Begins anew when refusals are taken back. A send carries the epoch in which it began,
    /// and what it finds out about a refusal is believed only if the epoch is still the same.
    epoch: u64,
    /// Whether the last resort was what was left when a credential was last chosen.
    resorting: bool,
}

/// The credentials of one tier, which take turns.
#[derive(Clone, Debug)]
struct Turn {
    tier: Tier,
    slots: Range<usize>,
    /// Where the search for a usable one begins.
    next: usize,
}

/// Whether a credential can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenState {
    /// It can.
    Active,
    /// It is limited, perhaps for some models only.
    Cooling {
        /// Until when.
        until: Instant,
    },
    /// It failed several times in a row.
    Inactive {
        /// When it is tried again.
        until: Instant,
    },
    /// It was refused and waits for somebody to look after it.
    Refused {
        /// Since when.
        since: Instant,
    },
}

impl TokenState {
    /// The name used in listings and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Cooling { .. } => "cooling",
            Self::Inactive { .. } => "inactive",
            Self::Refused { .. } => "refused",
        }
    }

    /// Until when it cannot be used, if that ends by itself.
    #[must_use]
    pub const fn until(self) -> Option<Instant> {
        match self {
            Self::Cooling { until } | Self::Inactive { until } => Some(until),
            Self::Active | Self::Refused { .. } => None,
        }
    }
}

/// Which credential a send uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    epoch: u64,
    began: Instant,
}

/// What a request wants of the ring.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted<'a> {
    /// The model that it names.
    pub(super) model: Option<&'a str>,
    /// The one credential that will do.
    pub(super) only: Option<usize>,
    /// Those that failed in this request.
    pub(super) tried: &'a [usize],
}

impl Wanted<'_> {
    fn allows(&self, index: usize) -> bool {
        self.only.is_none_or(|only| only == index) && !self.tried.contains(&index)
    }
}

/// A choice.
#[derive(Debug)]
pub(super) struct Picked<T> {
    pub(super) place: Place,
    pub(super) leased: T,
    pub(super) tier: Tier,
    /// Whether another one could be used if this one fails.
    pub(super) others: bool,
    /// Whether nothing but the last resort is left, and something was the last time.
    pub(super) resorted: bool,
}

/// Those that were looked at and cannot be used.
pub(super) type PassedOver = SmallVec<[(usize, TokenState); 2]>;

/// At most so many are told.
const NAMED: usize = 16;

/// Something that changed, to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Cooling(Instant),
    Inactive(Instant),
    Refused,
}

impl Ring {
    /// A ring of slots in these tiers, which stand together and best first.
    pub(super) fn new(slots: impl IntoIterator<Item = (Tier, Slot)>) -> Self {
        let (tiers, slots): (Vec<_>, Vec<_>) = slots.into_iter().unzip();
        let mut turns: Vec<Turn> = Vec::new();
        for (index, tier) in tiers.into_iter().enumerate() {
            match turns.last_mut() {
                Some(turn) if turn.tier == tier => turn.slots.end = index + 1,
                _ => turns.push(Turn {
                    tier,
                    slots: index..index + 1,
                    next: index,
                }),
            }
        }
        Self {
            slots: slots.into(),
            turns: turns.into(),
            epoch: 0,
            resorting: false,
        }
    }

    /// Whether something is known against any credential, perhaps only of the past.
    pub(super) fn is_notable(&self) -> bool {
        self.slots.is_empty() || self.slots.iter().any(Slot::is_notable)
    }

    pub(super) fn slot(&self, index: usize) -> Option<&Slot> {
        self.slots.get(index)
    }

    pub(super) fn availability(&self, wanted: &Wanted<'_>, now: Instant) -> Availability {
        let mut out = None;
        for (index, slot) in self.slots.iter().enumerate() {
            if !wanted.allows(index) {
                continue;
            }
            match slot.state(wanted.model, now) {
                TokenState::Active => return Availability::Ready,
                TokenState::Refused { .. } => {}
                state => out = out.into_iter().chain(state.until()).min(),
            }
        }
        match out {
            Some(until) => Availability::out(Reason::Cooling, Some(until)),
            None => Availability::out(Reason::AuthFailed, None),
        }
    }

    /// The next usable credential for which `lease` gives something: of the best tier that has
    /// one, and there in turn.
    pub(super) fn pick<T>(
        &mut self,
        wanted: &Wanted<'_>,
        now: Instant,
        passed_over: &mut PassedOver,
        mut lease: impl FnMut(usize, &Slot) -> Option<T>,
    ) -> Option<Picked<T>> {
        let Self {
            slots,
            turns,
            epoch,
            resorting,
        } = self;
        let usable = |slots: &[Slot], index: usize| {
            !wanted.tried.contains(&index) && slots[index].is_usable(wanted.model, now)
        };
        let several = turns.len() > 1;
        for turn in turns.iter_mut() {
            for index in (turn.next..turn.slots.end).chain(turn.slots.start..turn.next) {
                if !wanted.allows(index) {
                    continue;
                }
                let slot = &mut slots[index];
                match slot.state(wanted.model, now) {
                    TokenState::Active => {}
                    state => {
                        if passed_over.len() < NAMED {
                            passed_over.push((index, state));
                        }
                        continue;
                    }
                }
                let Some(leased) = lease(index, slot) else {
                    continue;
                };
                slot.used(now);
                turn.next = if index + 1 < turn.slots.end {
                    index + 1
                } else {
                    turn.slots.start
                };
                let last = turn.tier == Tier::Anonymous && several;
                let resorted = last && !std::mem::replace(resorting, last);
                *resorting = last;
                return Some(Picked {
                    place: Place {
                        index,
                        epoch: *epoch,
                        began: now,
                    },
                    leased,
                    tier: turn.tier,
                    others: (0..slots.len()).any(|other| other != index && usable(slots, other)),
                    resorted,
                });
            }
        }
        None
    }

    /// A send with this credential ended well.
    pub(super) fn succeeded(&mut self, place: Place) {
        self.slots[place.index].succeeded();
    }

    /// A send with this credential failed like this.
    pub(super) fn failed(
        &mut self,
        place: Place,
        verdict: Verdict,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        if verdict.blame != Blame::Credential {
            return None;
        }
        let slot = &mut self.slots[place.index];
        if verdict.kind != Kind::Auth {
            return slot.limited(&verdict, place.began, config, now);
        }
        // A send that began before somebody took the refusal back says nothing new.
        (place.epoch == self.epoch)
            .then(|| slot.refused(None, now))
            .flatten()
    }

    /// A refresh of this credential failed. `held` says that there is one that is still good.
    pub(super) fn not_refreshed(
        &mut self,
        index: usize,
        error: &NotRefreshed,
        held: bool,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        let slot = &mut self.slots[index];
        slot.refresh_failed();
        if error.is_permanent() {
            slot.refused(Some(error.text().clone()), now)
        } else {
            slot.not_refreshed(error.text().clone(), held, config, now)
        }
    }

    pub(super) fn refreshed(&mut self, index: usize) {
        self.slots[index].refreshed();
    }

    /// What the failure of one credential, with this verdict, means for the endpoint: a refusal
    /// only if every credential is refused, else a limit that ends when the first credential
    /// can be used again.
    pub(super) fn verdict(
        &self,
        place: Place,
        verdict: Verdict,
        model: Option<&str>,
        now: Instant,
    ) -> Verdict {
        if verdict.blame != Blame::Credential || verdict.kind == Kind::Auth && self.all_refused() {
            return verdict;
        }
        let everybody = Wanted {
            model,
            only: None,
            tried: &[],
        };
        let until = match self.availability(&everybody, now) {
            Availability::Out { until, .. } => until,
            _ if verdict.kind == Kind::Auth => None,
            _ => verdict
                .until
                .or_else(|| self.slots[place.index].state(model, now).until()),
        };
        match verdict.kind {
            Kind::Auth => Verdict::new(Kind::RateLimit).until(until),
            _ => verdict.until(until),
        }
    }

    /// The credentials that a check can use, the one to use first: those that a request would use,
    /// then the refused ones, the least recently used first. None while all of them cool down.
    pub(super) fn for_check(&self, now: Instant) -> SmallVec<[Place; 4]> {
        let places = || self.slots.iter().enumerate();
        let usable = places().filter(|(_, slot)| slot.is_usable(None, now));
        let mut refused: SmallVec<[_; 4]> =
            places().filter(|(_, slot)| slot.is_refused()).collect();
        refused.sort_by_key(|(_, slot)| slot.last_use());
        let place = |(index, _): (usize, &Slot)| Place {
            index,
            epoch: self.epoch,
            began: now,
        };
        usable.chain(refused).map(place).collect()
    }

    /// A check that began with this credential was answered well: a refusal from before is taken
    /// back. Returns whether there was one.
    pub(super) fn verified(&mut self, place: Place) -> bool {
        let slot = &mut self.slots[place.index];
        let newer = slot
            .refused_since()
            .is_some_and(|since| place.began < since);
        if place.epoch != self.epoch || newer || !slot.is_idle() {
            return false;
        }
        slot.recover();
        self.epoch += 1;
        true
    }

    /// Takes refusals and inactivity back, of one credential or of all. Returns how many.
    pub(super) fn recover(&mut self, only: Option<usize>) -> usize {
        let wanted = |index: usize| only.is_none_or(|only| only == index);
        let slots = self.slots.iter_mut().enumerate();
        let recovered = slots
            .filter(|(index, _)| wanted(*index))
            .filter(|(_, slot)| slot.is_idle())
            .map(|(_, slot)| slot.recover())
            .count();
        if recovered > 0 {
            self.epoch += 1;
        }
        recovered
    }

    /// Ends every cool-down. Returns whether one was running.
    pub(super) fn clear_limits(&mut self, now: Instant) -> bool {
        let mut running = false;
        for slot in &mut self.slots {
            running |= slot.clear_limits(now);
        }
        running
    }

    /// Forgets limits and inactivity that are over. Returns whose.
    pub(super) fn sweep(&mut self, now: Instant) -> SmallVec<[usize; 2]> {
        let slots = self.slots.iter_mut().enumerate();
        slots
            .filter_map(|(index, slot)| slot.sweep(now).then_some(index))
            .collect()
    }

    /// Each slot with its tier.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Tier, &Slot)> {
        self.turns.iter().flat_map(|turn| {
            let slots = &self.slots[turn.slots.clone()];
            slots.iter().map(|slot| (turn.tier, slot))
        })
    }

    fn all_refused(&self) -> bool {
        self.slots.iter().all(Slot::is_refused)
    }
}

/// Something that is known against a credential, in words.
pub(super) type Trouble = Option<Arc<str>>;

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use super::*;
    use crate::time::{self, Duration};

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn ring(tiers: &[Tier]) -> Ring {
        Ring::new(tiers.iter().map(|tier| (*tier, Slot::default())))
    }

    fn flat(slots: usize) -> Ring {
        ring(&vec![Tier::Personal; slots])
    }

    fn any(tried: &[usize]) -> Wanted<'_> {
        Wanted {
            model: None,
            only: None,
            tried,
        }
    }

    fn pick_for(ring: &mut Ring, wanted: &Wanted<'_>, now: Instant) -> Option<Picked<()>> {
        ring.pick(wanted, now, &mut PassedOver::new(), |_, _| Some(()))
    }

    fn pick(ring: &mut Ring, now: Instant) -> Option<Place> {
        pick_for(ring, &any(&[]), now).map(|picked| picked.place)
    }

    fn failed(ring: &mut Ring, place: Place, verdict: Verdict, now: Instant) -> Option<Transition> {
        ring.failed(place, verdict, &Config::default(), now)
    }

    /// Fails the credential whose turn it is.
    fn fail(ring: &mut Ring, kind: Kind, now: Instant) -> (Place, Option<Transition>) {
        let place = pick(ring, now).unwrap();
        let transition = failed(ring, place, Verdict::new(kind), now);
        (place, transition)
    }

    fn availability(ring: &Ring, now: Instant) -> Availability {
        ring.availability(&any(&[]), now)
    }

    // TOK-06
    #[test]
    fn usable_credentials_take_turns() {
        let (mut ring, now) = (flat(3), time::now());
        let turns = [(); 4].map(|()| pick(&mut ring, now).unwrap().index);
        assert_eq!(turns, [0, 1, 2, 0]);
        fail(&mut ring, Kind::RateLimit, now);
        let turns = [(); 3].map(|()| pick(&mut ring, now).unwrap().index);
        assert_eq!(turns, [2, 0, 2]);
    }

    // TOK-05, TOK-12
    #[test]
    fn a_lower_tier_is_used_only_while_no_credential_of_a_higher_one_can_be() {
        use Tier::{Anonymous, Personal, Shared};
        let (mut ring, now) = (ring(&[Personal, Personal, Shared, Anonymous]), time::now());
        let turns = [(); 3].map(|()| pick(&mut ring, now).unwrap().index);
        assert_eq!(turns, [0, 1, 0]);
        fail(&mut ring, Kind::Quota, now);
        assert_eq!(pick(&mut ring, now).unwrap().index, 0);
        fail(&mut ring, Kind::RateLimit, now);
        let lower = pick_for(&mut ring, &any(&[]), now).unwrap();
        assert_eq!((lower.place.index, lower.tier), (2, Shared));
        let last = pick_for(&mut ring, &any(&[2]), now).unwrap();
        assert_eq!((last.place.index, last.resorted), (3, true));
        assert!(
            !pick_for(&mut ring, &any(&[2]), now).unwrap().resorted,
            "told once"
        );
        assert!(pick_for(&mut ring, &any(&[2, 3]), now).is_none());
        assert_eq!(pick(&mut ring, now + seconds(30)).unwrap().index, 0);
    }

    // TOK-15
    #[test]
    fn what_was_tried_is_not_chosen_again() {
        let (mut ring, now) = (flat(3), time::now());
        let picked = pick_for(&mut ring, &any(&[0, 2]), now).unwrap();
        assert_eq!((picked.place.index, picked.others), (1, false));
        assert!(pick_for(&mut ring, &any(&[0]), now).unwrap().others);
    }

    // AFF-19
    #[test]
    fn a_request_that_is_bound_gets_its_credential_or_none() {
        let (mut ring, now) = (flat(2), time::now());
        let bound = Wanted {
            only: Some(1),
            ..any(&[])
        };
        for _ in 0..2 {
            assert_eq!(pick_for(&mut ring, &bound, now).unwrap().place.index, 1);
        }
        let place = pick_for(&mut ring, &bound, now).unwrap().place;
        failed(&mut ring, place, Verdict::new(Kind::RateLimit), now);
        assert!(pick_for(&mut ring, &bound, now).is_none());
        let until = Some(now + seconds(30));
        let out = Availability::out(Reason::Cooling, until);
        assert_eq!(ring.availability(&bound, now), out);
        assert_eq!(availability(&ring, now), Availability::Ready);
    }

    #[test]
    fn a_source_that_has_nothing_is_passed_over() {
        let (mut ring, now) = (flat(3), time::now());
        let mut passed = PassedOver::new();
        let picked = ring.pick(&any(&[]), now, &mut passed, |index, _| {
            (index == 1).then_some("one")
        });
        let picked = picked.unwrap();
        assert_eq!((picked.place.index, picked.leased), (1, "one"));
        let nothing = |_, _: &Slot| None::<()>;
        assert!(ring.pick(&any(&[]), now, &mut passed, nothing).is_none());
        assert!(passed.is_empty(), "nothing is known against them");
    }

    // XPL-01
    #[test]
    fn those_that_cannot_be_used_are_told_with_the_reason() {
        let (mut ring, now) = (flat(3), time::now());
        fail(&mut ring, Kind::Auth, now);
        fail(&mut ring, Kind::RateLimit, now);
        pick(&mut ring, now);
        let mut passed = PassedOver::new();
        ring.pick(&any(&[]), now, &mut passed, |_, _| Some(()));
        let until = now + seconds(30);
        assert_eq!(
            passed.as_slice(),
            [
                (0, TokenState::Refused { since: now }),
                (1, TokenState::Cooling { until })
            ]
        );
    }

    // RTY-05, TOK-16
    #[test]
    fn a_limit_rests_as_long_as_it_says_or_else_by_its_kind() {
        for (kind, rest) in [(Kind::RateLimit, 30), (Kind::Quota, 3600)] {
            let (mut ring, now) = (flat(1), time::now());
            let until = now + seconds(rest);
            let (_, transition) = fail(&mut ring, kind, now);
            assert_eq!(transition, Some(Transition::Cooling(until)));
            assert_eq!(pick(&mut ring, until - seconds(1)), None);
            let place = pick(&mut ring, until).unwrap();
            let said = Verdict::new(kind).until(Some(until + seconds(7)));
            let transition = failed(&mut ring, place, said, until);
            assert_eq!(transition, Some(Transition::Cooling(until + seconds(7))));
        }
    }

    // RTY-05
    #[test]
    fn a_shorter_limit_that_comes_late_does_not_shorten_a_longer_one() {
        let (mut ring, now) = (flat(1), time::now());
        let (place, _) = fail(&mut ring, Kind::Quota, now);
        let late = failed(&mut ring, place, Verdict::new(Kind::RateLimit), now);
        assert_eq!(late, None);
        assert_eq!(pick(&mut ring, now + seconds(31)), None);
    }

    // TOK-16
    #[test]
    fn a_limit_of_one_family_of_models_leaves_the_others_alone() {
        let (mut ring, now) = (flat(1), time::now());
        let of = |model| Wanted {
            model: Some(model),
            ..any(&[])
        };
        let (opus, sonnet) = (of("claude-opus-9-1"), of("claude-Sonnet-9"));
        let until = now + seconds(86_400);
        let place = pick_for(&mut ring, &opus, now).unwrap().place;
        let verdict = Verdict::new(Kind::Quota).until(Some(until));
        failed(&mut ring, place, verdict.for_family(Some("opus")), now);
        assert!(pick_for(&mut ring, &opus, now).is_none());
        assert!(pick_for(&mut ring, &sonnet, now).is_some());
        assert!(pick_for(&mut ring, &of("octopus-1"), now).is_some());
        let out = Availability::out(Reason::Cooling, Some(until));
        assert_eq!(ring.availability(&opus, now), out);
        assert_eq!(ring.availability(&sonnet, now), Availability::Ready);
        assert!(ring.clear_limits(now));
        assert!(pick_for(&mut ring, &opus, now).is_some());
    }

    #[test]
    fn limits_of_families_are_bounded() {
        let (mut ring, now) = (flat(1), time::now());
        let names = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"];
        for (index, family) in names.into_iter().enumerate() {
            let place = pick(&mut ring, now).unwrap();
            let until = now + seconds(60 + index as u64);
            let verdict = Verdict::new(Kind::Quota).until(Some(until));
            failed(&mut ring, place, verdict.for_family(Some(family)), now);
        }
        let kept: Vec<_> = ring.slots[0].families(now).map(|(name, _)| name).collect();
        assert_eq!(kept.len(), 8);
        assert!(!kept.contains(&"a") && kept.contains(&"j"), "{kept:?}");
    }

    // TOK-27, TOK-28
    #[test]
    fn three_failures_make_a_credential_inactive_for_ten_minutes() {
        let (mut ring, mut now) = (flat(1), time::now());
        for _ in 0..2 {
            fail(&mut ring, Kind::RateLimit, now);
            now += seconds(30);
            assert!(pick(&mut ring, now).is_some());
        }
        let until = now + seconds(600);
        let (_, third) = fail(&mut ring, Kind::RateLimit, now);
        assert_eq!(third, Some(Transition::Inactive(until)));
        assert_eq!(pick(&mut ring, until - seconds(1)), None);
        let place = pick(&mut ring, until).unwrap();
        ring.succeeded(place);
        let (_, next) = fail(&mut ring, Kind::RateLimit, until);
        assert_eq!(next, Some(Transition::Cooling(until + seconds(30))));
    }

    // TOK-27
    #[test]
    fn a_success_sets_the_failures_to_zero() {
        let (mut ring, mut now) = (flat(1), time::now());
        for _ in 0..5 {
            let (place, transition) = fail(&mut ring, Kind::RateLimit, now);
            assert_eq!(transition, Some(Transition::Cooling(now + seconds(30))));
            now += seconds(30);
            ring.succeeded(place);
        }
    }

    // TOK-27
    #[test]
    fn requests_that_met_one_limit_together_count_as_one_failure() {
        let (mut ring, now) = (flat(1), time::now());
        let places = [(); 10].map(|()| pick(&mut ring, now).unwrap());
        for (after, place) in places.into_iter().enumerate() {
            let at = now + Duration::from_millis(1 + after as u64);
            failed(&mut ring, place, Verdict::new(Kind::RateLimit), at);
        }
        assert_eq!(ring.slots[0].failures(), 1);
    }

    // TOK-11, TOK-27
    #[test]
    fn a_refresh_that_fails_counts_and_rests_and_three_make_inactive() {
        let (mut ring, mut now) = (flat(1), time::now());
        let config = Config::default();
        let error = NotRefreshed::for_now("no connection");
        let refused = |ring: &mut Ring, now| ring.not_refreshed(0, &error, false, &config, now);
        for _ in 0..2 {
            let rests = Transition::Cooling(now + seconds(5));
            assert_eq!(refused(&mut ring, now), Some(rests));
            now += seconds(5);
        }
        let until = now + seconds(600);
        assert_eq!(refused(&mut ring, now), Some(Transition::Inactive(until)));
        assert_eq!(ring.slots[0].trouble().unwrap().as_ref(), "no connection");
        assert_eq!(ring.recover(None), 1);
        assert_eq!(ring.slots[0].failures(), 0);
    }

    #[test]
    fn a_refresh_that_fails_while_the_old_credential_is_good_only_waits() {
        let (mut ring, now) = (flat(1), time::now());
        let error = NotRefreshed::for_now("no connection");
        let quiet = ring.not_refreshed(0, &error, true, &Config::default(), now);
        assert_eq!((quiet, ring.slots[0].failures()), (None, 0));
        assert!(pick(&mut ring, now).is_some());
        assert!(!ring.slots[0].may_refresh(now + seconds(4)));
        assert!(ring.slots[0].may_refresh(now + seconds(5)));
    }

    #[test]
    fn a_refresh_token_that_is_refused_is_out_until_somebody_looks_after_it() {
        let (mut ring, now) = (flat(1), time::now());
        let error = NotRefreshed::for_good("invalid_grant");
        let refused = ring.not_refreshed(0, &error, true, &Config::default(), now);
        assert_eq!(refused, Some(Transition::Refused));
        assert_eq!(pick(&mut ring, now + seconds(30 * 86_400)), None);
        assert_eq!((ring.recover(Some(7)), ring.recover(Some(0))), (0, 1));
        assert!(pick(&mut ring, now).is_some());
    }

    #[test]
    fn a_single_credential_rests_exactly_as_long_as_its_limits() {
        let (mut ring, mut now) = (flat(1), time::now());
        for _ in 0..5 {
            let place = pick(&mut ring, now).unwrap();
            ring.failed(place, Verdict::new(Kind::RateLimit), &Config::SINGLE, now);
            now += seconds(30);
        }
        assert!(pick(&mut ring, now).is_some());
        let config = Config::default().with_max_failures(NonZeroU32::MIN);
        let place = pick(&mut ring, now).unwrap();
        let verdict = Verdict::new(Kind::RateLimit);
        let config = config.with_inactive_for(seconds(60));
        let transition = ring.failed(place, verdict, &config, now);
        assert_eq!(transition, Some(Transition::Inactive(now + seconds(60))));
    }

    // CLS-12, TOK-20
    #[test]
    fn only_failures_blamed_on_the_credential_are_counted() {
        let (mut ring, now) = (flat(1), time::now());
        for kind in Kind::ALL {
            let place = pick(&mut ring, now).unwrap();
            for blame in [Blame::Caller, Blame::Endpoint] {
                let verdict = Verdict::new(kind).blamed_on(blame);
                assert_eq!(failed(&mut ring, place, verdict, now), None, "{kind}");
                assert_eq!(ring.verdict(place, verdict, None, now), verdict);
            }
        }
        assert!(!ring.is_notable());
    }

    // SEL-16
    #[test]
    fn the_ring_cools_until_the_first_credential_is_back_and_is_refused_with_the_last() {
        let (mut ring, now) = (flat(3), time::now());
        fail(&mut ring, Kind::Quota, now);
        fail(&mut ring, Kind::RateLimit, now);
        assert_eq!(availability(&ring, now), Availability::Ready);
        fail(&mut ring, Kind::Auth, now);
        let cooling = |rest| Availability::out(Reason::Cooling, Some(now + seconds(rest)));
        assert_eq!(availability(&ring, now), cooling(30));
        let later = now + seconds(30);
        assert_eq!(availability(&ring, later), Availability::Ready);
        fail(&mut ring, Kind::Auth, later);
        assert_eq!(availability(&ring, later), cooling(3600));
        let last = now + seconds(3600);
        fail(&mut ring, Kind::Auth, last);
        let out = Availability::out(Reason::AuthFailed, None);
        assert_eq!(availability(&ring, last), out);
    }

    // RTY-06, SEL-10
    #[test]
    fn a_refusal_goes_up_as_one_only_with_the_last_credential() {
        let (mut ring, now) = (flat(2), time::now());
        let auth = Verdict::new(Kind::Auth);
        let limited = |until| Verdict::new(Kind::RateLimit).until(until);
        let (first, _) = fail(&mut ring, Kind::Auth, now);
        assert_eq!(
            ring.verdict(first, auth, None, now),
            limited(None),
            "one is left"
        );
        let (second, _) = fail(&mut ring, Kind::RateLimit, now);
        let until = Some(now + seconds(30));
        assert_eq!(
            ring.verdict(first, auth, None, now),
            limited(until),
            "one rests"
        );
        failed(&mut ring, second, auth, now);
        assert_eq!(ring.verdict(first, auth, None, now), auth);
    }

    // TOK-14
    #[test]
    fn the_last_limit_goes_up_with_the_earliest_reset_of_all() {
        let (mut ring, now) = (flat(3), time::now());
        fail(&mut ring, Kind::Quota, now);
        fail(&mut ring, Kind::RateLimit, now);
        let (place, _) = fail(&mut ring, Kind::Quota, now);
        let verdict = ring.verdict(place, Verdict::new(Kind::Quota), None, now);
        assert_eq!(
            verdict,
            Verdict::new(Kind::Quota).until(Some(now + seconds(30)))
        );
    }

    // SEL-14
    #[test]
    fn a_refusal_that_began_before_the_recovery_is_not_believed() {
        let (mut ring, now) = (flat(1), time::now());
        let late = pick(&mut ring, now).unwrap();
        fail(&mut ring, Kind::Auth, now);
        assert_eq!((ring.recover(None), ring.recover(None)), (1, 0));
        assert_eq!(failed(&mut ring, late, Verdict::new(Kind::Auth), now), None);
        assert_eq!(availability(&ring, now), Availability::Ready);
    }
}
