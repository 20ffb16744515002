//! The policies that come with the crate.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use http::request::Parts;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};

use super::policy::{BalancePolicy, Candidate, Candidates};
use crate::time::Duration;

/// Slots that are sampled at random before all are gone through. With a share of `e` of the
/// endpoints eligible, 16 samples miss with probability (1 − e)^16: one in 65,000 for a half.
const SAMPLES: usize = 16;

macro_rules! seedable {
    ($policy:ident) => {
        impl $policy {
            /// The policy with random numbers of its own that repeat with the seed, for tests
            /// and simulations. Without a seed they come from the thread's generator.
            #[must_use]
            pub fn with_seed(seed: u64) -> Self {
                Self {
                    dice: Dice::seeded(seed),
                }
            }
        }
    };
}

/// The endpoints with the lowest priority number that may be used; among equals at random by
/// weight. The default.
#[derive(Debug, Default)]
pub struct Priority {
    dice: Dice,
}

seedable!(Priority);

impl BalancePolicy for Priority {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        self.dice.weighted(candidates.foremost())
    }
}

/// At random by weight, whatever the priority. If all weights are 0, they count as equal.
#[derive(Debug, Default)]
pub struct Weighted {
    dice: Dice,
}

seedable!(Weighted);

impl BalancePolicy for Weighted {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        self.dice.weighted(candidates.iter())
    }
}

/// One after the other, in order; those that may not be used are skipped.
#[derive(Debug, Default)]
pub struct RoundRobin {
    next: AtomicUsize,
}

impl BalancePolicy for RoundRobin {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        let slots = candidates.slots();
        let mut turn = self.next.load(Ordering::Relaxed);
        loop {
            let start = turn.checked_rem(slots)?;
            let candidate = (start..slots)
                .chain(0..start)
                .find_map(|slot| candidates.get(slot))?;
            // The turn goes to the one after the pick, not after the start: else the endpoint
            // behind one that is skipped would have two turns in each round.
            let after = candidate.slot() + 1;
            match self
                .next
                .compare_exchange_weak(turn, after, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Some(candidate),
                Err(current) => turn = current,
            }
        }
    }
}

/// At random, each as likely as the other.
#[derive(Debug, Default)]
pub struct Random {
    dice: Dice,
}

seedable!(Random);

impl BalancePolicy for Random {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        // A sample that is thrown away when it is no candidate leaves the others equally likely.
        self.dice
            .samples(candidates)
            .next()
            .or_else(|| self.dice.uniform(candidates.iter()))
    }
}

/// The fewest requests in flight; ties at random.
#[derive(Debug, Default)]
pub struct LeastLoaded {
    dice: Dice,
}

seedable!(LeastLoaded);

impl BalancePolicy for LeastLoaded {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        let mut best: Option<(Candidate<'a>, u32)> = None;
        let mut ties = 0;
        for candidate in candidates.iter() {
            let load = candidate.in_flight();
            match best {
                Some((_, least)) if load > least => {}
                Some((_, least)) if load == least => {
                    ties += 1;
                    if self.dice.below(ties) == 0 {
                        best = Some((candidate, load));
                    }
                }
                _ => {
                    best = Some((candidate, load));
                    ties = 1;
                }
            }
        }
        best.map(|(candidate, _)| candidate)
    }
}

/// The better of two that are picked at random, by latency × (requests in flight + 1); by
/// requests in flight alone while a latency is unknown. One that starts slowly stands back for
/// the other as often as it lacks of its share.
///
/// Nearly as even as going through all, at the same cost for 10,000 endpoints as for 3
/// (Mitzenmacher, *The Power of Two Choices in Randomized Load Balancing*).
#[derive(Debug, Default)]
pub struct PowerOfTwo {
    dice: Dice,
}

seedable!(PowerOfTwo);

impl BalancePolicy for PowerOfTwo {
    fn pick<'a>(&self, _: &Parts, candidates: Candidates<'a>) -> Option<Candidate<'a>> {
        let [first, second] = self.two(candidates);
        let (Some(first), Some(second)) = (first, second) else {
            return first;
        };
        match (self.dice.takes_part(first), self.dice.takes_part(second)) {
            (true, false) => return Some(first),
            (false, true) => return Some(second),
            _ => {}
        }
        let (left, right) = (first.in_flight(), second.in_flight());
        let order = match (first.latency(), second.latency()) {
            (Some(one), Some(other)) => {
                let cost = |latency: Duration, in_flight: u32| {
                    latency.as_micros() * (u128::from(in_flight) + 1)
                };
                cost(one, left).cmp(&cost(other, right))
            }
            _ => left.cmp(&right),
        };
        let tie = || self.dice.below(2) == 0;
        Some(if order.is_lt() || (order.is_eq() && tie()) {
            first
        } else {
            second
        })
    }
}

impl PowerOfTwo {
    /// Two different candidates; only the first, if there is only one.
    fn two<'a>(&self, candidates: Candidates<'a>) -> [Option<Candidate<'a>>; 2] {
        let mut samples = self.dice.samples(candidates);
        if let Some(first) = samples.next()
            && let Some(second) = samples.find(|second| second.slot() != first.slot())
        {
            return [Some(first), Some(second)];
        }
        let mut two = [None, None];
        for (seen, candidate) in candidates.iter().enumerate() {
            let place = if seen < 2 {
                seen
            } else {
                self.dice.below(seen as u64 + 1) as usize
            };
            if let Some(place) = two.get_mut(place) {
                *place = Some(candidate);
            }
        }
        two
    }
}

/// Where random numbers come from: the generator of the thread, unless there is a seed.
#[derive(Debug, Default)]
struct Dice(Option<Mutex<StdRng>>);

impl Dice {
    fn seeded(seed: u64) -> Self {
        Self(Some(Mutex::new(StdRng::seed_from_u64(seed))))
    }

    /// A number below `end`, which is not 0.
    fn below(&self, end: u64) -> u64 {
        match &self.0 {
            None => rand::rng().random_range(0..end),
            Some(seeded) => seeded
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .random_range(0..end),
        }
    }

    /// Whether a candidate has its turn, for all that it lacks of its share.
    fn takes_part(&self, candidate: Candidate<'_>) -> bool {
        let share = candidate.share();
        share >= 1.0 || (self.below(1000) as f64) < share * 1000.0
    }

    /// Candidates in random slots, as far as a few samples give. None if there are so few slots
    /// that going through all is as cheap.
    fn samples<'a>(&self, candidates: Candidates<'a>) -> impl Iterator<Item = Candidate<'a>> {
        let slots = candidates.slots();
        let samples = if slots > SAMPLES { SAMPLES } else { 0 };
        (0..samples).filter_map(move |_| candidates.get(self.below(slots as u64) as usize))
    }

    /// One of `candidates`, each as likely as the other, in one pass.
    fn uniform<'a>(
        &self,
        candidates: impl Iterator<Item = Candidate<'a>>,
    ) -> Option<Candidate<'a>> {
        let mut chosen = None;
        for (seen, candidate) in candidates.enumerate() {
            if seen == 0 || self.below(seen as u64 + 1) == 0 {
                chosen = Some(candidate);
            }
        }
        chosen
    }

    /// One of `candidates`, as likely as its weight, in one pass: each takes the place of the
    /// one before with the probability of its share in the weight so far.
    fn weighted<'a>(
        &self,
        candidates: impl Iterator<Item = Candidate<'a>>,
    ) -> Option<Candidate<'a>> {
        let mut chosen = None;
        let mut total = 0;
        let mut weightless = 0;
        for candidate in candidates {
            let weight = candidate.fine_weight();
            total += weight;
            let taken = if total == 0 {
                weightless += 1;
                weightless == 1 || self.below(weightless) == 0
            } else {
                weight == total || self.below(total) < weight
            };
            if taken {
                chosen = Some(candidate);
            }
        }
        chosen
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::Lineup;
    use super::*;
    use crate::endpoint::Endpoint;

    const PICKS: usize = 10_000;

    fn endpoint(name: &str) -> Endpoint {
        let base = format!("http://{name}.example").parse().unwrap();
        Endpoint::new(name, base)
    }

    fn three() -> Lineup {
        Lineup::new(["a", "b", "c"].map(endpoint))
    }

    fn weights(weights: [u32; 3]) -> Lineup {
        Lineup::new([0, 1, 2].map(|at| endpoint(["a", "b", "c"][at]).with_weight(weights[at])))
    }

    /// The share of each endpoint in percent of 10,000 picks.
    fn shares(lineup: &Lineup, policy: &dyn BalancePolicy) -> BTreeMap<String, f64> {
        let mut counts = BTreeMap::new();
        for _ in 0..PICKS {
            let name = lineup.pick(policy).unwrap();
            *counts.entry(name.to_owned()).or_insert(0.0) += 100.0 / PICKS as f64;
        }
        counts
    }

    #[track_caller]
    fn assert_shares(lineup: &Lineup, policy: &dyn BalancePolicy, expected: &[(&str, f64)]) {
        let shares = shares(lineup, policy);
        assert_eq!(shares.len(), expected.len(), "{shares:?}");
        for (name, share) in expected {
            assert!((shares[*name] - share).abs() < 3.0, "{shares:?}");
        }
    }

    const EVEN: [(&str, f64); 3] = [("a", 33.3), ("b", 33.3), ("c", 33.3)];

    // BAL-02, BAL-03
    #[test]
    fn weighted_matches_the_weights() {
        let expected = [("a", 16.7), ("b", 33.3), ("c", 50.0)];
        assert_shares(&weights([1, 2, 3]), &Weighted::with_seed(1), &expected);
    }

    // BAL-05
    #[test]
    fn one_that_starts_slowly_gets_a_tenth_of_its_share_at_first() {
        let recovered = |weight: u32| {
            let endpoints = ["a", "b"].map(|name| endpoint(name).with_weight(weight));
            Lineup::new(endpoints).with_recovered("a")
        };
        let expected = [("a", 9.1), ("b", 90.9)];
        assert_shares(&recovered(100), &Weighted::with_seed(7), &expected);
        assert_shares(&recovered(1), &Weighted::with_seed(8), &expected);
        assert_shares(&recovered(100), &Priority::with_seed(9), &expected);
        // Of two it would have had the half.
        let expected = [("a", 5.0), ("b", 95.0)];
        assert_shares(&recovered(100), &PowerOfTwo::with_seed(10), &expected);
    }

    // BAL-03
    #[test]
    fn weighted_is_uniform_if_all_weights_are_zero() {
        assert_shares(&weights([0, 0, 0]), &Weighted::with_seed(2), &EVEN);
    }

    // BAL-03
    #[test]
    fn weighted_never_takes_one_without_weight_while_another_has_some() {
        for weights in [[0, 0, 1], [0, 1, 0], [1, 0, 0]].map(weights) {
            assert_eq!(shares(&weights, &Weighted::with_seed(3)).len(), 1);
        }
    }

    // BAL-02, BAL-04
    #[test]
    fn round_robin_cycles_in_order() {
        let (lineup, policy) = (three(), RoundRobin::default());
        let picks: Vec<_> = (0..7).filter_map(|_| lineup.pick(&policy)).collect();
        assert_eq!(picks, ["a", "b", "c", "a", "b", "c", "a"]);
    }

    // BAL-04
    #[test]
    fn round_robin_skips_the_ineligible_and_stays_even() {
        let (lineup, policy) = (three().without("b"), RoundRobin::default());
        let picks: Vec<_> = (0..5).filter_map(|_| lineup.pick(&policy)).collect();
        assert_eq!(picks, ["a", "c", "a", "c", "a"]);
    }

    #[test]
    fn round_robin_goes_on_when_there_are_fewer_endpoints_than_before() {
        let policy = RoundRobin::default();
        for _ in 0..3 {
            three().pick(&policy);
        }
        assert_eq!(Lineup::new([endpoint("a")]).pick(&policy), Some("a"));
        assert_eq!(Lineup::new([]).pick(&policy), None);
    }

    // BAL-02, BAL-04
    #[test]
    fn random_is_uniform_among_the_eligible() {
        assert_shares(&three(), &Random::with_seed(4), &EVEN);
        let without = three().without("b");
        assert_shares(&without, &Random::with_seed(5), &[("a", 50.0), ("c", 50.0)]);
    }

    // BAL-04
    #[test]
    fn random_is_uniform_among_a_few_eligible_of_many() {
        let names: Vec<_> = (0..40).map(|number| format!("e{number}")).collect();
        let mut lineup = Lineup::new(names.iter().map(|name| endpoint(name)));
        for name in &names[2..] {
            lineup = lineup.without(name);
        }
        let expected = [("e0", 50.0), ("e1", 50.0)];
        assert_shares(&lineup, &Random::with_seed(6), &expected);
    }

    // BAL-02, BAL-04
    #[test]
    fn least_loaded_takes_the_fewest_in_flight_and_ties_at_random() {
        let lineup = three().with_in_flight("a", 2).with_in_flight("b", 1);
        assert_eq!(lineup.pick(&LeastLoaded::default()), Some("c"));
        assert_shares(&three(), &LeastLoaded::with_seed(7), &EVEN);
        let tied = three().with_in_flight("a", 1);
        let expected = [("b", 50.0), ("c", 50.0)];
        assert_shares(&tied, &LeastLoaded::with_seed(8), &expected);
    }

    // BAL-02, BAL-05
    #[test]
    fn priority_takes_the_lowest_number_and_returns_to_it() {
        let ranked = || {
            let backup = endpoint("backup").with_priority(2);
            Lineup::new([backup, endpoint("main").with_priority(1)])
        };
        let policy = Priority::default();
        assert_eq!(ranked().pick(&policy), Some("main"));
        assert_eq!(ranked().without("main").pick(&policy), Some("backup"));
        assert_eq!(ranked().pick(&policy), Some("main"));
    }

    // BAL-05
    #[test]
    fn priority_is_weighted_among_equals() {
        let lineup = Lineup::new([
            endpoint("backup").with_priority(2).with_weight(1000),
            endpoint("a").with_weight(25),
            endpoint("b").with_weight(75),
        ]);
        let expected = [("a", 25.0), ("b", 75.0)];
        assert_shares(&lineup, &Priority::with_seed(9), &expected);
    }

    // BAL-02
    #[test]
    fn p2c_never_takes_the_most_costly_and_knows_latency_and_load() {
        let ms = Duration::from_millis;
        let lineup = three()
            .with_latency("a", ms(100))
            .with_latency("b", ms(200))
            .with_latency("c", ms(300));
        // Two of three: the best wins in both of its pairs, the second in one.
        let expected = [("a", 66.7), ("b", 33.3)];
        assert_shares(&lineup, &PowerOfTwo::with_seed(10), &expected);
        // 100 ms × 4 is the most costly now.
        let busy = lineup.with_in_flight("a", 3);
        let expected = [("b", 66.7), ("c", 33.3)];
        assert_shares(&busy, &PowerOfTwo::with_seed(11), &expected);
    }

    #[test]
    fn p2c_compares_load_alone_while_a_latency_is_unknown() {
        let lineup = Lineup::new(["new", "slow"].map(endpoint))
            .with_latency("slow", Duration::from_secs(9))
            .with_in_flight("new", 1);
        assert_eq!(lineup.pick(&PowerOfTwo::default()), Some("slow"));
        let idle = Lineup::new(["a", "b"].map(endpoint));
        let expected = [("a", 50.0), ("b", 50.0)];
        assert_shares(&idle, &PowerOfTwo::with_seed(12), &expected);
    }

    #[test]
    fn nobody_is_picked_where_nobody_may_be_used() {
        let lineup = three().without("a").without("b").without("c");
        let policies: [&dyn BalancePolicy; 6] = [
            &Priority::default(),
            &Weighted::default(),
            &RoundRobin::default(),
            &Random::default(),
            &LeastLoaded::default(),
            &PowerOfTwo::default(),
        ];
        for policy in policies {
            assert_eq!(lineup.pick(policy), None, "{policy:?}");
        }
    }
}
