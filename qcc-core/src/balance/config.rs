//! What a balancer may be told.

/// The settings of a [`Balance`](super::Balance).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// What happens when no endpoint is ready or degraded.
    pub last_resort: LastResort,
}

impl Config {
    /// The same with another last resort.
    #[must_use]
    pub const fn with_last_resort(mut self, last_resort: LastResort) -> Self {
        self.last_resort = last_resort;
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
