use std::num::NonZeroU32;

use crate::time::Duration;

/// The bounds of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    pub(super) attempts: NonZeroU32,
    pub(super) deadline: Duration,
    pub(super) body_limit: usize,
    pub(super) exchange_in_response: bool,
}

/// A deadline that nothing can meet, or that lies beyond what a clock can tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a deadline must be longer than zero and at most a year")]
pub struct InvalidDeadline(());

impl Config {
    const LONGEST_DEADLINE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

    /// At most so many attempts; 5 by default. Quick retries and sends after a refresh count,
    /// a change of credential does not.
    #[must_use]
    pub const fn with_attempts(mut self, attempts: NonZeroU32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The time from the arrival of a request to its commit point, over all attempts; 600 s by
    /// default, as the official clients wait.
    ///
    /// # Errors
    ///
    /// [`InvalidDeadline`] if `deadline` is zero or longer than a year.
    pub fn with_deadline(mut self, deadline: Duration) -> Result<Self, InvalidDeadline> {
        if deadline.is_zero() || deadline > Self::LONGEST_DEADLINE {
            return Err(InvalidDeadline(()));
        }
        self.deadline = deadline;
        Ok(self)
    }

    /// Bodies of up to so many bytes are kept, so that they can be sent again; 32 MiB by
    /// default, the limit of Anthropic's API. A larger one is sent once.
    #[must_use]
    pub const fn with_body_limit(mut self, bytes: usize) -> Self {
        self.body_limit = bytes;
        self
    }

    /// Puts the [`Exchange`](crate::exchange::Exchange) into the extensions of each response,
    /// which gives the record once the answer has ended. Off by default: it costs an allocation.
    #[must_use]
    pub const fn with_exchange_in_response(mut self, enabled: bool) -> Self {
        self.exchange_in_response = enabled;
        self
    }

    /// The limit up to which bodies are kept, in bytes.
    #[must_use]
    pub const fn body_limit(&self) -> usize {
        self.body_limit
    }

    /// The most attempts of a request.
    #[must_use]
    pub const fn attempts(&self) -> NonZeroU32 {
        self.attempts
    }

    /// The time up to the commit point.
    #[must_use]
    pub const fn deadline(&self) -> Duration {
        self.deadline
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            attempts: const { NonZeroU32::new(5).unwrap() },
            deadline: Duration::from_secs(600),
            body_limit: 32 * 1024 * 1024,
            exchange_in_response: false,
        }
    }
}
