//! How a breaker behaves.

use std::num::NonZeroU32;

use crate::time::Duration;

/// The longest open time that can be set: 30 days. It keeps the arithmetic of instants far from
/// its limits; an endpoint that should rest for longer is better switched off.
const LONGEST_OPEN_TIME: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How a breaker behaves. Held by its handle and given to the state with each step, so a change
/// keeps the state.
///
/// | setting | default |
/// |---|---|
/// | [`max_failures`](Self::with_max_failures) | 3 |
/// | [open time](Self::with_open_times), first and longest | 60 s, 600 s |
/// | [`jitter`](Self::with_jitter) | 0.1 |
/// | [`probes`](Self::with_probes) | 1 |
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Config {
    max_failures: NonZeroU32,
    open_for: Duration,
    longest: Duration,
    jitter: f64,
    probes: NonZeroU32,
}

/// A setting that no breaker can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// The first open time is zero.
    #[error("the open time of a breaker must be longer than 0 s")]
    ZeroOpenTime,
    /// The longest open time is shorter than the first one or longer than 30 days.
    #[error("the longest open time of a breaker must lie between its first one and 30 days")]
    LongestOpenTime,
    /// The jitter is not in `0.0..=0.5`.
    #[error("the jitter of a breaker must lie between 0 and 0.5")]
    Jitter,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_failures: NonZeroU32::MIN.saturating_add(2),
            open_for: Duration::from_secs(60),
            longest: Duration::from_secs(600),
            jitter: 0.1,
            probes: NonZeroU32::MIN,
        }
    }
}

impl Config {
    /// How many failures in a row open the breaker. An endpoint's own
    /// [`max_failures`](crate::endpoint::Endpoint::max_failures) goes before it.
    #[must_use]
    pub const fn with_max_failures(mut self, failures: NonZeroU32) -> Self {
        self.max_failures = failures;
        self
    }

    /// How long the breaker stays open the first time (`first`), and at most (`longest`). Each
    /// opening that follows a failed probe doubles the time.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] unless `0 < first <= longest <= 30 days`.
    pub const fn with_open_times(
        mut self,
        first: Duration,
        longest: Duration,
    ) -> Result<Self, InvalidConfig> {
        if first.is_zero() {
            return Err(InvalidConfig::ZeroOpenTime);
        }
        if longest.as_nanos() < first.as_nanos()
            || longest.as_nanos() > LONGEST_OPEN_TIME.as_nanos()
        {
            return Err(InvalidConfig::LongestOpenTime);
        }
        self.open_for = first;
        self.longest = longest;
        Ok(self)
    }

    /// By which part of it an open time is shortened or lengthened at random, from the second
    /// opening on. The longest open time stays the limit.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig::Jitter`] unless `0.0 <= jitter <= 0.5`.
    pub fn with_jitter(mut self, jitter: f64) -> Result<Self, InvalidConfig> {
        if !(0.0..=0.5).contains(&jitter) {
            return Err(InvalidConfig::Jitter);
        }
        self.jitter = jitter;
        Ok(self)
    }

    /// How many requests at a time may try the endpoint while the breaker is half-open.
    #[must_use]
    pub const fn with_probes(mut self, probes: NonZeroU32) -> Self {
        self.probes = probes;
        self
    }

    /// How many failures in a row open the breaker.
    #[must_use]
    pub const fn max_failures(&self) -> NonZeroU32 {
        self.max_failures
    }

    /// How many requests at a time may try the endpoint while the breaker is half-open.
    #[must_use]
    pub const fn probes(&self) -> NonZeroU32 {
        self.probes
    }

    /// How long opening number `opening`, counted from 1 since the breaker was last closed,
    /// lasts. `sample` in `0.0..1.0` decides the jitter; it is asked only if there is any.
    pub(super) fn open_time(&self, opening: u32, sample: impl FnOnce() -> f64) -> Duration {
        let doublings = opening.saturating_sub(1).min(31);
        let time = self.open_for.saturating_mul(1 << doublings);
        let time = time.min(self.longest);
        if doublings == 0 || self.jitter == 0.0 {
            return time;
        }
        let factor = (2.0 * sample()).mul_add(self.jitter, 1.0 - self.jitter);
        time.mul_f64(factor).min(self.longest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    // BRK-01
    #[test]
    fn the_defaults_are_three_failures_a_minute_ten_minutes_and_one_probe() {
        let config = Config::default();
        assert_eq!(config.max_failures().get(), 3);
        assert_eq!(config.probes().get(), 1);
        assert_eq!(config.open_time(1, || 0.0), seconds(60));
        assert_eq!(config.open_time(9, || 0.5), seconds(600));
    }

    // BRK-08
    #[test]
    fn the_open_time_doubles_up_to_the_longest() {
        let config = Config::default();
        let times = [1, 2, 3, 4, 5, 40, u32::MAX].map(|n| config.open_time(n, || 0.5));
        assert_eq!(times, [60, 120, 240, 480, 600, 600, 600].map(seconds));
    }

    // BRK-06, BRK-08
    #[test]
    fn jitter_starts_with_the_second_opening_and_respects_the_longest_time() {
        let config = Config::default();
        assert_eq!(config.open_time(1, || 0.9), seconds(60));
        assert_eq!(config.open_time(2, || 0.0), seconds(108));
        assert_eq!(config.open_time(2, || 1.0), seconds(132));
        assert_eq!(config.open_time(5, || 1.0), seconds(600));
        assert_eq!(config.open_time(5, || 0.0), seconds(540));
    }

    // BRK-16
    #[test]
    fn settings_that_no_breaker_can_have_are_refused() {
        let config = Config::default();
        let open = |first, longest| config.with_open_times(seconds(first), seconds(longest));
        assert_eq!(open(0, 10), Err(InvalidConfig::ZeroOpenTime));
        assert_eq!(open(10, 9), Err(InvalidConfig::LongestOpenTime));
        assert_eq!(open(10, u64::MAX), Err(InvalidConfig::LongestOpenTime));
        assert!(open(10, 10).is_ok());
        for jitter in [-0.1, 0.6, f64::NAN] {
            assert_eq!(config.with_jitter(jitter), Err(InvalidConfig::Jitter));
        }
    }
}
