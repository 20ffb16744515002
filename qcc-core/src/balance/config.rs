//! What a balancer may be told.

use crate::time::Duration;

/// The settings of a [`Balance`](super::Balance).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What happens when no endpoint is ready or degraded.
    pub last_resort: LastResort,
    /// Whether the weight of an endpoint follows how it passes its checks: from a tenth of its
    /// own weight to twice that. Off by default. See [`Load::checked`](super::Load::checked).
    pub dynamic_weights: bool,
    /// How long it takes until an endpoint that has recovered has its full weight again: it
    /// begins with a tenth. 60 s by default; zero for at once. See
    /// [`Load::recovered`](super::Load::recovered).
    pub slow_start: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            last_resort: LastResort::default(),
            dynamic_weights: false,
            slow_start: Duration::from_secs(60),
        }
    }
}

impl Config {
    /// The same with another last resort.
    #[must_use]
    pub const fn with_last_resort(mut self, last_resort: LastResort) -> Self {
        self.last_resort = last_resort;
        self
    }

    /// The same with dynamic weights, or without.
    #[must_use]
    pub const fn with_dynamic_weights(mut self, enabled: bool) -> Self {
        self.dynamic_weights = enabled;
        self
    }

    /// The same with another slow start.
    #[must_use]
    pub const fn with_slow_start(mut self, slow_start: Duration) -> Self {
        self.slow_start = slow_start;
        self
    }
}

/// What happens when no endpoint is ready or degraded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum LastResort {
    /// One request at a time tries the endpoint that failed least recently, among those that are
    /// merely behind a breaker or in the recovery queue. It holds the place until its answer has
    /// ended. Endpoints that are disabled, refused the credential or are cooling down are never
    /// tried.
    #[default]
    Probe,
    /// Nobody tries.
    Refuse,
}
