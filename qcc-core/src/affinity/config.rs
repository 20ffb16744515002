//! What affinity may be told.

use std::num::NonZeroUsize;

use crate::time::Duration;

/// The settings of [`Sessions`](super::Sessions).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// How long a binding lives after the last success; 18,000 s (5 h) by default.
    pub ttl: Duration,
    /// How many bindings there are at most; 100,000 by default, about 12 MB. The least recently
    /// used one goes first.
    pub capacity: NonZeroUsize,
    /// How long a session waits for its endpoint to cool down before it moves; 30 s by default.
    /// While it waits, its requests go elsewhere one by one.
    pub patience: Duration,
    /// How long it is known who has a resource, after the last answer that showed it; 30 d by
    /// default.
    pub resource_ttl: Duration,
    /// Of how many resources the owner is known at most; 100,000 by default, about 16 MB. The
    /// least recently used one is forgotten first.
    pub resource_capacity: NonZeroUsize,
}

impl Config {
    /// The same with another lifetime.
    #[must_use]
    pub const fn with_ttl(mut self, ttl: Duration) -> Self {
        self.ttl = ttl;
        self
    }

    /// The same with another number of bindings.
    #[must_use]
    pub const fn with_capacity(mut self, capacity: NonZeroUsize) -> Self {
        self.capacity = capacity;
        self
    }

    /// The same with another patience.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// The same with another time for which owners of resources are known.
    #[must_use]
    pub const fn with_resource_ttl(mut self, ttl: Duration) -> Self {
        self.resource_ttl = ttl;
        self
    }

    /// The same with another number of resources whose owner is known.
    #[must_use]
    pub const fn with_resource_capacity(mut self, capacity: NonZeroUsize) -> Self {
        self.resource_capacity = capacity;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(18_000),
            capacity: const { NonZeroUsize::new(100_000).unwrap() },
            patience: Duration::from_secs(30),
            resource_ttl: Duration::from_secs(30 * 86_400),
            resource_capacity: const { NonZeroUsize::new(100_000).unwrap() },
        }
    }
}
