//! When a credential is left alone for failing again and again.

use std::num::NonZeroU32;

use crate::time::Duration;

/// The bounds of a pool. By default 3 failures in a row make a credential inactive for 10 min.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    pub(super) max_failures: Option<NonZeroU32>,
    pub(super) inactive_for: Duration,
}

const MAX_FAILURES: NonZeroU32 = NonZeroU32::new(3).unwrap();
const INACTIVE_FOR: Duration = Duration::from_secs(10 * 60);

impl Config {
    /// The bounds of an endpoint with one credential: it rests exactly as long as its limits say,
    /// because there is nobody to take its place.
    pub(super) const SINGLE: Self = Self {
        max_failures: None,
        inactive_for: INACTIVE_FOR,
    };

    /// So many failures in a row make a credential inactive; 3 by default.
    #[must_use]
    pub const fn with_max_failures(mut self, failures: NonZeroU32) -> Self {
        self.max_failures = Some(failures);
        self
    }

    /// An inactive credential is tried again after so long; 10 min by default.
    #[must_use]
    pub const fn with_inactive_for(mut self, time: Duration) -> Self {
        self.inactive_for = time;
        self
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_failures: Some(MAX_FAILURES),
            inactive_for: INACTIVE_FOR,
        }
    }
}
