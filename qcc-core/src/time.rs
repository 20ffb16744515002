//! Clocks: one monotonic, one for dates.
//!
//! Every duration runs on tokio's monotonic clock, so a test that pauses tokio's time pauses
//! this crate's. Dates are needed in two places only (an HTTP date in `Retry-After`, the start
//! of a record), and come from a [`WallClock`] that a test replaces.

use std::fmt;
use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::time::{Sleep, sleep_until};

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

/// A timer that is armed when something waits for the first time and re-armed only when it
/// fires too early, so that moving an instant into the future costs nothing.
#[derive(Debug, Default)]
pub(crate) struct Timer(Option<Pin<Box<Sleep>>>);

impl Timer {
    /// Ready when `at` has come.
    pub(crate) fn poll_until(&mut self, cx: &mut Context<'_>, at: Instant) -> Poll<()> {
        let at = tokio::time::Instant::from_std(at);
        let sleep = self.0.get_or_insert_with(|| Box::pin(sleep_until(at)));
        if at < sleep.deadline() {
            sleep.as_mut().reset(at);
        }
        loop {
            ready!(sleep.as_mut().poll(cx));
            if sleep.deadline() >= at {
                return Poll::Ready(());
            }
            sleep.as_mut().reset(at);
        }
    }
}
