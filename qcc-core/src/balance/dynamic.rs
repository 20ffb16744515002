//! A weight that follows how an endpoint passes its checks. Pure.
//!
//! Over the last 20 results, with times in milliseconds:
//!
//! ```text
//! response  = clamp(100 - (mean - 200) / 10, 0, 100)                  0 without times
//! stability = min(100, success% / 2 + max(0, 1 - CV) * 30 + max(0, 20 - 5 * failures))
//!                                                                     0 without times
//! score     = (0.3 * response + 0.4 * success% + 0.2 * stability) * max(0.2, 1 - 0.2 * failures)
//! new       = 10 + score / 100 * 190
//! weight    = clamp(0.3 * old + 0.7 * new, 10, 200)                   to 2 decimals
//! ```
//!
//! `failures` are failures in a row, CV is the standard deviation of the times over their mean.

use std::collections::VecDeque;

use crate::time::Duration;

/// The weight of an endpoint of which nothing is known yet.
pub(super) const BASE: f64 = 100.0;
/// The smallest and the largest weight.
const RANGE: (f64, f64) = (10.0, 200.0);
/// So many results are kept …
const KEPT: usize = 100;
/// … and so many of them count.
const RECENT: usize = 20;
/// Before so many results the weight stays as it is.
const LEAST: usize = 3;

/// What a verification check showed of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Checked {
    /// It works, and its answer took so long.
    Passed(Duration),
    /// It is there, but its credential is limited. This is no success and ends no series of
    /// failures, nor is it one of them.
    RateLimited,
    /// It does not work.
    Failed,
}

/// The results of one endpoint and the weight that follows from them.
#[derive(Debug)]
pub(super) struct Dynamic {
    results: VecDeque<Checked>,
    failures: u32,
    weight: f64,
}

impl Dynamic {
    pub(super) const fn new() -> Self {
        Self {
            results: VecDeque::new(),
            failures: 0,
            weight: BASE,
        }
    }

    /// 10 to 200; 100 while too little is known.
    pub(super) const fn weight(&self) -> f64 {
        self.weight
    }

    /// Adds a result. Returns whether the weight is another one now: by no more than 1 it does
    /// not change.
    pub(super) fn add(&mut self, checked: Checked) -> bool {
        if self.results.len() == KEPT {
            self.results.pop_front();
        }
        self.results.push_back(checked);
        match checked {
            Checked::Passed(_) => self.failures = 0,
            Checked::RateLimited => {}
            Checked::Failed => self.failures = self.failures.saturating_add(1),
        }
        if self.results.len() < LEAST {
            return false;
        }
        let weight = self.next();
        let changed = (weight - self.weight).abs() > 1.0;
        if changed {
            self.weight = weight;
        }
        changed
    }

    fn next(&self) -> f64 {
        let recent = self.results.iter().rev().take(RECENT);
        let count = recent.len() as f64;
        let times: Vec<f64> = recent
            .filter_map(|checked| match checked {
                Checked::Passed(time) => Some(time.as_secs_f64() * 1e3),
                _ => None,
            })
            .collect();
        let success = 100.0 * times.len() as f64 / count;
        let failures = f64::from(self.failures);
        let mean = times.iter().sum::<f64>() / times.len() as f64;
        let (response, stability) = if times.is_empty() {
            (0.0, 0.0)
        } else {
            let even = 30.0 * (1.0 - variation(&times, mean)).max(0.0);
            let lasting = (20.0 - 5.0 * failures).max(0.0);
            let response = 100.0 - (mean - 200.0) / 100.0 * 10.0;
            (
                response.clamp(0.0, 100.0),
                (success * 0.5 + even + lasting).min(100.0),
            )
        };
        let score =
            (0.3 * response + 0.4 * success + 0.2 * stability) * (1.0 - 0.2 * failures).max(0.2);
        let new = 10.0 + score / 100.0 * 190.0;
        let weight = (self.weight * 0.3 + new * 0.7).clamp(RANGE.0, RANGE.1);
        (weight * 100.0).round() / 100.0
    }
}

/// The coefficient of variation; 0 of one time.
fn variation(times: &[f64], mean: f64) -> f64 {
    if times.len() < 2 || mean <= 0.0 {
        return 0.0;
    }
    let squares = times.iter().map(|time| (time - mean).powi(2)).sum::<f64>();
    (squares / times.len() as f64).sqrt() / mean
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: fn(u64) -> Checked = |ms| Checked::Passed(Duration::from_millis(ms));

    /// One that has had these results; the weight follows with the last of them.
    fn after(results: &[Checked]) -> Dynamic {
        let (last, before) = results.split_last().unwrap();
        let mut dynamic = Dynamic::new();
        for checked in before {
            dynamic.add(*checked);
        }
        dynamic.weight = BASE;
        dynamic.add(*last);
        dynamic
    }

    // BAL-06
    #[test]
    fn the_vectors_hold() {
        assert_eq!(after(&[MS(200); 3]).weight(), 156.7);
        assert_eq!(after(&[MS(200); 40]).weight(), 156.7);
        assert_eq!(after(&[Checked::Failed; 4]).weight(), 37.0);
    }

    // BAL-06
    #[test]
    fn each_part_of_the_score_counts() {
        // response 80, success 100, stability 100: score 84, new 169.6.
        assert_eq!(after(&[MS(400); 3]).weight(), 148.72);
        // response 0 from 1200 ms on: score 60, new 124.
        assert_eq!(after(&[MS(1200); 3]).weight(), 116.8);
        assert_eq!(after(&[MS(9000); 3]).weight(), 116.8);
        // Times of 100 and 300 ms: CV 0.5, stability 85, score 87, new 175.3.
        let uneven = [MS(100), MS(300), MS(100), MS(300)];
        assert_eq!(after(&uneven).weight(), 152.71);
        // One success of two in four and two failures in a row: response 100, success 50,
        // stability 25 + 30 + 10, score 63 * 0.6, new 81.82.
        let failing = [MS(200), MS(200), Checked::Failed, Checked::Failed];
        assert_eq!(after(&failing).weight(), 87.27);
    }

    // BAL-06
    #[test]
    fn a_weight_changes_after_three_checks_and_by_more_than_one() {
        let mut dynamic = Dynamic::new();
        assert!(!dynamic.add(MS(200)));
        assert!(!dynamic.add(MS(200)));
        assert_eq!(dynamic.weight(), BASE);
        assert!(dynamic.add(MS(200)));
        let mut changes = 0;
        for _ in 0..50 {
            changes += u32::from(dynamic.add(MS(200)));
        }
        // It draws near to 181 and stays where the last step would be small.
        assert!(changes < 5, "{changes}");
        assert!((dynamic.weight() - 181.0).abs() < 2.0, "{dynamic:?}");
    }

    // BAL-06
    #[test]
    fn a_limit_neither_ends_a_series_of_failures_nor_adds_to_it() {
        let mut dynamic = Dynamic::new();
        for checked in [Checked::Failed, Checked::RateLimited, Checked::Failed] {
            dynamic.add(checked);
        }
        assert_eq!(dynamic.failures, 2);
        dynamic.add(Checked::RateLimited);
        assert_eq!(dynamic.failures, 2);
        dynamic.add(MS(200));
        assert_eq!(dynamic.failures, 0);
    }

    // BAL-06
    #[test]
    fn the_last_twenty_of_at_most_a_hundred_results_count() {
        let mut dynamic = after(&[Checked::Failed; 30]);
        for _ in 0..20 {
            dynamic.add(MS(200));
        }
        let recovered = after(&[&[Checked::Failed; 30][..], &[MS(200); 20]].concat());
        assert_eq!(recovered.weight(), after(&[MS(200); 20]).weight());
        for _ in 0..200 {
            dynamic.add(MS(200));
        }
        assert_eq!(dynamic.results.len(), KEPT);
    }

    proptest! {
        // BAL-06
        #[test]
        fn a_weight_stays_between_10_and_200(
            results in proptest::collection::vec(
                prop_oneof![
                    Just(Checked::Failed),
                    Just(Checked::RateLimited),
                    (0_u64..100_000).prop_map(MS),
                ],
                0..150,
            ),
        ) {
            let mut dynamic = Dynamic::new();
            for checked in results {
                dynamic.add(checked);
                prop_assert!((10.0..=200.0).contains(&dynamic.weight()));
            }
        }
    }
}
