//! The ring of credentials: pure, without clock, lock, log or secret. It knows them by their
//! place alone.

use crate::available::{Availability, Reason};
use crate::failure::{Blame, Kind, Verdict};
use crate::time::{Duration, Instant};

/// How long a credential rests after a rate limit that does not say how long (Table 1).
const RATE_LIMIT_REST: Duration = Duration::from_secs(30);

/// How long a credential rests after a quota that does not say how long (Table 1).
const QUOTA_REST: Duration = Duration::from_secs(60 * 60);

/// What is known of the credentials of one endpoint.
#[derive(Debug)]
pub(super) struct Ring {
    slots: Box<[Slot]>,
    /// Where the search for a usable one begins.
    next: usize,
    /// Begins anew when refusals are taken back. A send carries the epoch in which it began,
    /// and what it finds out about a refusal is believed only if the epoch is still the same.
    epoch: u64,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    cooling: Option<Instant>,
    refused: Option<Instant>,
    failures: u32,
    last_use: Option<Instant>,
}

impl Slot {
    fn is_usable(&self, now: Instant) -> bool {
        self.refused.is_none() && self.cooling.is_none_or(|until| until <= now)
    }
}

/// Whether a credential can be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum TokenState {
    /// It can.
    Active,
    /// It is limited.
    Cooling {
        /// Until when.
        until: Instant,
    },
    /// It was refused and waits for somebody to look after it.
    Refused {
        /// Since when.
        since: Instant,
    },
}

/// One credential at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SlotStatus {
    pub(super) state: TokenState,
    pub(super) failures: u32,
    pub(super) last_use: Option<Instant>,
}

/// Which credential a send uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) index: usize,
    epoch: u64,
}

/// Something that changed, to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Cooling(Instant),
    Refused,
}

impl Ring {
    pub(super) fn new(len: usize) -> Self {
        Self {
            slots: vec![Slot::default(); len].into(),
            next: 0,
            epoch: 0,
        }
    }

    /// Whether something is known against any credential, perhaps only of the past.
    pub(super) fn is_notable(&self) -> bool {
        self.slots.is_empty()
            || self
                .slots
                .iter()
                .any(|slot| slot.cooling.is_some() || slot.refused.is_some() || slot.failures > 0)
    }

    pub(super) fn availability(&self, now: Instant) -> Availability {
        if self.slots.iter().any(|slot| slot.is_usable(now)) {
            Availability::Ready
        } else if self.all_refused() {
            Availability::out(Reason::AuthFailed, None)
        } else {
            Availability::out(Reason::Cooling, self.earliest())
        }
    }

    /// The next usable credential in turn for which `lease` gives something.
    pub(super) fn pick<T>(
        &mut self,
        now: Instant,
        lease: impl Fn(usize) -> Option<T>,
    ) -> Option<(Place, T)> {
        let len = self.slots.len();
        let turn = (self.next..len).chain(0..self.next.min(len));
        let (index, leased) = turn
            .filter(|index| self.slots[*index].is_usable(now))
            .find_map(|index| Some((index, lease(index)?)))?;
        self.next = (index + 1) % len;
        let slot = &mut self.slots[index];
        slot.cooling = None;
        slot.last_use = Some(now);
        let epoch = self.epoch;
        Some((Place { index, epoch }, leased))
    }

    /// A send with this credential ended well.
    pub(super) fn succeeded(&mut self, place: Place) {
        self.slots[place.index].failures = 0;
    }

    /// A send with this credential failed like this.
    pub(super) fn failed(
        &mut self,
        place: Place,
        verdict: Verdict,
        now: Instant,
    ) -> Option<Transition> {
        if verdict.blame != Blame::Credential {
            return None;
        }
        let slot = &mut self.slots[place.index];
        slot.failures = slot.failures.saturating_add(1);
        let rest = match verdict.kind {
            Kind::Auth if place.epoch != self.epoch || slot.refused.is_some() => return None,
            Kind::Auth => {
                slot.refused = Some(now);
                return Some(Transition::Refused);
            }
            Kind::Quota => QUOTA_REST,
            _ => RATE_LIMIT_REST,
        };
        let until = verdict.until.unwrap_or(now + rest);
        if until <= now || slot.cooling.is_some_and(|known| known >= until) {
            return None;
        }
        slot.cooling = Some(until);
        Some(Transition::Cooling(until))
    }

    /// What the failure of one credential, with this verdict, means for the endpoint: a refusal
    /// only if every credential is refused, else a limit that ends when the first credential
    /// can be used again.
    pub(super) fn verdict(&self, place: Place, verdict: Verdict, now: Instant) -> Verdict {
        match (verdict.blame, verdict.kind) {
            (Blame::Credential, Kind::Auth) if self.all_refused() => verdict,
            (Blame::Credential, Kind::Auth) => {
                let usable = self.slots.iter().any(|slot| slot.is_usable(now));
                let until = if usable { None } else { self.earliest() };
                Verdict::new(Kind::RateLimit).until(until)
            }
            (Blame::Credential, _) => {
                verdict.until(verdict.until.or(self.slots[place.index].cooling))
            }
            _ => verdict,
        }
    }

    /// Takes every refusal back. Returns whether there was one.
    pub(super) fn recover(&mut self) -> bool {
        let refused = self.slots.iter().any(|slot| slot.refused.is_some());
        if refused {
            self.epoch += 1;
            for slot in &mut self.slots {
                if slot.refused.take().is_some() {
                    slot.failures = 0;
                }
            }
        }
        refused
    }

    /// Ends every cool-down. Returns whether one was running.
    pub(super) fn clear_limits(&mut self, now: Instant) -> bool {
        let mut running = false;
        for slot in &mut self.slots {
            running |= slot.cooling.take().is_some_and(|until| now < until);
        }
        running
    }

    pub(super) fn iter(&self, now: Instant) -> impl Iterator<Item = SlotStatus> {
        self.slots.iter().map(move |slot| SlotStatus {
            state: match (slot.refused, slot.cooling) {
                (Some(since), _) => TokenState::Refused { since },
                (None, Some(until)) if now < until => TokenState::Cooling { until },
                _ => TokenState::Active,
            },
            failures: slot.failures,
            last_use: slot.last_use,
        })
    }

    fn all_refused(&self) -> bool {
        self.slots.iter().all(|slot| slot.refused.is_some())
    }

    /// When the first cool-down of a credential that is not refused ends.
    fn earliest(&self) -> Option<Instant> {
        self.slots
            .iter()
            .filter(|slot| slot.refused.is_none())
            .filter_map(|slot| slot.cooling)
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn pick(ring: &mut Ring, now: Instant) -> Option<Place> {
        ring.pick(now, Some).map(|(place, _)| place)
    }

    /// Fails the credential whose turn it is.
    fn fail(ring: &mut Ring, kind: Kind, now: Instant) -> (Place, Option<Transition>) {
        let place = pick(ring, now).unwrap();
        (place, ring.failed(place, Verdict::new(kind), now))
    }

    // TOK-06
    #[test]
    fn usable_credentials_take_turns() {
        let (mut ring, now) = (Ring::new(3), time::now());
        let turns = [(); 4].map(|()| pick(&mut ring, now).unwrap().index);
        assert_eq!(turns, [0, 1, 2, 0]);
        ring.failed(
            Place { index: 1, epoch: 0 },
            Verdict::new(Kind::RateLimit),
            now,
        );
        let turns = [(); 3].map(|()| pick(&mut ring, now).unwrap().index);
        assert_eq!(turns, [2, 0, 2]);
    }

    #[test]
    fn a_source_that_has_nothing_is_passed_over() {
        let (mut ring, now) = (Ring::new(3), time::now());
        let leased = ring.pick(now, |index| (index == 1).then_some("one"));
        assert_eq!(
            leased.map(|(place, leased)| (place.index, leased)),
            Some((1, "one"))
        );
        assert!(ring.pick(now, |_| None::<()>).is_none());
    }

    // RTY-05
    #[test]
    fn a_limit_rests_as_long_as_it_says_or_else_by_its_kind() {
        for (kind, rest) in [(Kind::RateLimit, 30), (Kind::Quota, 3600)] {
            let (mut ring, now) = (Ring::new(1), time::now());
            let until = now + seconds(rest);
            let (place, transition) = fail(&mut ring, kind, now);
            assert_eq!(transition, Some(Transition::Cooling(until)));
            assert_eq!(pick(&mut ring, until - seconds(1)), None);
            assert_eq!(pick(&mut ring, until), Some(place));
            let said = Verdict::new(kind).until(Some(until + seconds(7)));
            let transition = ring.failed(place, said, until);
            assert_eq!(transition, Some(Transition::Cooling(until + seconds(7))));
        }
    }

    // RTY-05
    #[test]
    fn a_shorter_limit_that_comes_late_does_not_shorten_a_longer_one() {
        let (mut ring, now) = (Ring::new(1), time::now());
        let (place, _) = fail(&mut ring, Kind::Quota, now);
        assert_eq!(ring.failed(place, Verdict::new(Kind::RateLimit), now), None);
        assert_eq!(pick(&mut ring, now + seconds(31)), None);
    }

    // CLS-12
    #[test]
    fn only_failures_blamed_on_the_credential_are_counted() {
        let (mut ring, now) = (Ring::new(1), time::now());
        for kind in Kind::ALL {
            let place = pick(&mut ring, now).unwrap();
            for blame in [Blame::Caller, Blame::Endpoint] {
                let verdict = Verdict::new(kind).blamed_on(blame);
                assert_eq!(ring.failed(place, verdict, now), None, "{kind} {blame}");
                assert_eq!(ring.verdict(place, verdict, now), verdict);
            }
        }
        assert!(!ring.is_notable());
    }

    // SEL-16
    #[test]
    fn the_ring_cools_until_the_first_credential_is_back_and_is_refused_with_the_last() {
        let (mut ring, now) = (Ring::new(3), time::now());
        fail(&mut ring, Kind::Quota, now);
        fail(&mut ring, Kind::RateLimit, now);
        assert_eq!(ring.availability(now), Availability::Ready);
        fail(&mut ring, Kind::Auth, now);
        let cooling = |rest| Availability::out(Reason::Cooling, Some(now + seconds(rest)));
        assert_eq!(ring.availability(now), cooling(30));
        let later = now + seconds(30);
        assert_eq!(ring.availability(later), Availability::Ready);
        fail(&mut ring, Kind::Auth, later);
        assert_eq!(ring.availability(later), cooling(3600));
        let last = now + seconds(3600);
        fail(&mut ring, Kind::Auth, last);
        let out = Availability::out(Reason::AuthFailed, None);
        assert_eq!(ring.availability(last), out);
    }

    // RTY-06
    #[test]
    fn a_refusal_goes_up_as_one_only_with_the_last_credential() {
        let (mut ring, now) = (Ring::new(2), time::now());
        let auth = Verdict::new(Kind::Auth);
        let limited = |until| Verdict::new(Kind::RateLimit).until(until);
        let (first, _) = fail(&mut ring, Kind::Auth, now);
        assert_eq!(ring.verdict(first, auth, now), limited(None), "one is left");
        let (second, _) = fail(&mut ring, Kind::RateLimit, now);
        let until = Some(now + seconds(30));
        assert_eq!(ring.verdict(first, auth, now), limited(until), "one rests");
        ring.failed(second, auth, now);
        assert_eq!(ring.verdict(first, auth, now), auth);
    }

    #[test]
    fn a_limit_goes_up_with_the_end_of_the_rest_that_it_caused() {
        let (mut ring, now) = (Ring::new(1), time::now());
        let (place, _) = fail(&mut ring, Kind::RateLimit, now);
        let verdict = ring.verdict(place, Verdict::new(Kind::RateLimit), now);
        assert_eq!(verdict.until, Some(now + seconds(30)));
    }

    // SEL-14
    #[test]
    fn a_refusal_that_began_before_the_recovery_is_not_believed() {
        let (mut ring, now) = (Ring::new(1), time::now());
        let late = pick(&mut ring, now).unwrap();
        fail(&mut ring, Kind::Auth, now);
        assert!(ring.recover());
        assert!(!ring.recover());
        assert_eq!(ring.failed(late, Verdict::new(Kind::Auth), now), None);
        assert_eq!(ring.availability(now), Availability::Ready);
    }
}
