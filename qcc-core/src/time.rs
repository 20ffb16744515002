//! Clocks: one monotonic, one for dates.
//!
//! Every duration runs on tokio's monotonic clock, so a test that pauses tokio's time pauses
//! this crate's. Dates are needed in two places only (an HTTP date in `Retry-After`, the start
//! of a record), and come from a [`WallClock`] that a test replaces.

use std::fmt;

pub use std::time::{Duration, Instant, SystemTime};

/// The current instant of the monotonic clock.
#[must_use]
pub fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// Tells the date. Only dates: what is measured or waited for uses [`now`].
pub trait WallClock: fmt::Debug + Send + Sync + 'static {
    /// The current date.
    fn now(&self) -> SystemTime;
}

/// The operating system's date.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl WallClock for SystemClock {
    fn now(&self) -> SystemTime {
        #[expect(
            clippy::disallowed_methods,
            reason = "the one place that asks the system for the date"
        )]
        SystemTime::now()
    }
}
