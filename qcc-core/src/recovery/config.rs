//! How often checks are made, and what they may cost.

use std::num::NonZeroUsize;

use crate::time::Duration;

/// How members of the queue are checked. Held by whoever runs the recovery and given to the state
/// with each step, so a change keeps the state.
///
/// | setting | default |
/// |---|---|
/// | [intervals](Self::with_intervals), first and longest | 60 s, 10 min |
/// | [interval of refused credentials](Self::with_auth_interval) | 30 min |
/// | [checks at a time](Self::with_concurrency) | 5 |
/// | [checks of an endpoint a day](Self::with_daily_budget) | 200 |
/// | [time for a check](Self::with_timeout) | 30 s |
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) first: Duration,
    pub(super) longest: Duration,
    pub(super) auth: Option<Duration>,
    pub(super) concurrency: NonZeroUsize,
    pub(super) daily: u32,
    pub(super) timeout: Duration,
}

/// The longest interval that can be set: 30 days. It keeps the arithmetic of instants far from its
/// limits.
const LONGEST_INTERVAL: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A setting that no recovery can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// An interval or a time-out is zero.
    #[error("an interval or a time-out of checks must be longer than 0 s")]
    Zero,
    /// The longest interval is shorter than the first one, or an interval is longer than 30 days.
    #[error("an interval between checks must lie between the first one and 30 days")]
    Longest,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(60),
            longest: Duration::from_secs(600),
            auth: Some(Duration::from_secs(1_800)),
            concurrency: NonZeroUsize::MIN.saturating_add(4),
            daily: 200,
            timeout: Duration::from_secs(30),
        }
    }
}

impl Config {
    /// How long after it entered a member is checked for the `first` time; each interval after that
    /// is twice as long, up to the `longest`.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] unless `0 < first <= longest <= 30 days`.
    pub const fn with_intervals(
        mut self,
        first: Duration,
        longest: Duration,
    ) -> Result<Self, InvalidConfig> {
        if first.is_zero() {
            return Err(InvalidConfig::Zero);
        }
        if longest.as_nanos() < first.as_nanos() || longest.as_nanos() > LONGEST_INTERVAL.as_nanos()
        {
            return Err(InvalidConfig::Longest);
        }
        self.first = first;
        self.longest = longest;
        Ok(self)
    }

    /// How often a member is checked whose credential was refused: few of these are mended, and a
    /// vendor may count what is sent with them. `None`: only when somebody asks for it.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig`] unless `0 < interval <= 30 days`.
    pub fn with_auth_interval(mut self, interval: Option<Duration>) -> Result<Self, InvalidConfig> {
        match interval {
            Some(Duration::ZERO) => return Err(InvalidConfig::Zero),
            Some(interval) if interval > LONGEST_INTERVAL => return Err(InvalidConfig::Longest),
            _ => {}
        }
        self.auth = interval;
        Ok(self)
    }

    /// How many checks of different endpoints may run at a time. Of one endpoint there is one at a
    /// time.
    #[must_use]
    pub const fn with_concurrency(mut self, checks: NonZeroUsize) -> Self {
        self.concurrency = checks;
        self
    }

    /// How many checks of one endpoint are made in a day of UTC, whoever asks for them.
    #[must_use]
    pub const fn with_daily_budget(mut self, checks: u32) -> Self {
        self.daily = checks;
        self
    }

    /// How long a check may take.
    ///
    /// # Errors
    ///
    /// [`InvalidConfig::Zero`] if `limit` is zero.
    pub const fn with_timeout(mut self, limit: Duration) -> Result<Self, InvalidConfig> {
        if limit.is_zero() {
            return Err(InvalidConfig::Zero);
        }
        self.timeout = limit;
        Ok(self)
    }

    /// How long a check may take.
    #[must_use]
    pub const fn timeout(&self) -> Duration {
        self.timeout
    }

    /// How many checks of different endpoints may run at a time.
    #[must_use]
    pub const fn concurrency(&self) -> NonZeroUsize {
        self.concurrency
    }
}
