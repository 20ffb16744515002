use std::num::NonZeroUsize;

use crate::time::Duration;

/// How much is kept, and how often it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    retention: Duration,
    max_size: u64,
    flush_every: Duration,
    batch: NonZeroUsize,
    queue: NonZeroUsize,
    patience: Duration,
}

/// A setting that a store cannot work with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidConfig {
    /// The history would be removed as it is written.
    #[error("history is kept for at least a minute")]
    Retention,
    /// The database would be full before it holds anything.
    #[error("the database needs room for at least 1 MiB")]
    Size,
    /// Nothing would ever be gathered.
    #[error("the time between two writes is above 0")]
    Flush,
}

impl Config {
    /// How long history is kept by default.
    pub const RETENTION: Duration = Duration::from_secs(30 * 24 * 60 * 60);
    /// How large the database grows by default, in bytes.
    pub const MAX_SIZE: u64 = 1 << 30;
    /// The smallest bound of the size, in bytes.
    pub const LEAST_SIZE: u64 = 1 << 20;
    /// How often the log is written by default.
    pub const FLUSH_EVERY: Duration = Duration::from_secs(1);
    /// How many requests are written at once by default.
    pub const BATCH: NonZeroUsize = NonZeroUsize::new(1_024).unwrap();
    /// How many finished requests wait to be written by default.
    pub const QUEUE: NonZeroUsize = NonZeroUsize::new(4_096).unwrap();
    /// How long a lock of another program is waited for by default.
    pub const PATIENCE: Duration = Duration::from_secs(5);

    /// Keeps history for `retention`: 30 days by default, at least a minute.
    ///
    /// # Errors
    ///
    /// It is shorter.
    pub fn with_retention(mut self, retention: Duration) -> Result<Self, InvalidConfig> {
        if retention < Duration::from_secs(60) {
            return Err(InvalidConfig::Retention);
        }
        self.retention = retention;
        Ok(self)
    }

    /// Removes the oldest requests when what is in use exceeds so many bytes: 1 GiB by default, at
    /// least 1 MiB. The file may be larger for a moment, by what was written since it was last
    /// looked at.
    ///
    /// # Errors
    ///
    /// It is less.
    pub const fn with_max_size(mut self, max_size: u64) -> Result<Self, InvalidConfig> {
        if max_size < Self::LEAST_SIZE {
            return Err(InvalidConfig::Size);
        }
        self.max_size = max_size;
        Ok(self)
    }

    /// Writes the log so often, 1 s by default, or as soon as so many requests wait, 1,024 by
    /// default. What waits is what a crash loses.
    ///
    /// # Errors
    ///
    /// The time is zero.
    pub const fn with_flush(
        mut self,
        every: Duration,
        batch: NonZeroUsize,
    ) -> Result<Self, InvalidConfig> {
        if every.is_zero() {
            return Err(InvalidConfig::Flush);
        }
        self.flush_every = every;
        self.batch = batch;
        Ok(self)
    }

    /// Lets at most so many finished requests wait to be written: 4,096 by default. What comes
    /// when so many wait is dropped from the history, and counted.
    #[must_use]
    pub const fn with_queue(mut self, queue: NonZeroUsize) -> Self {
        self.queue = queue;
        self
    }

    /// Waits so long for a lock of another program before an attempt to write fails: 5 s by
    /// default. Nobody but the store waits; the attempt is repeated.
    #[must_use]
    pub const fn with_patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    pub(super) const fn retention(&self) -> Duration {
        self.retention
    }

    pub(super) const fn max_size(&self) -> u64 {
        self.max_size
    }

    pub(super) const fn flush_every(&self) -> Duration {
        self.flush_every
    }

    pub(super) const fn batch(&self) -> usize {
        self.batch.get()
    }

    /// So many waiting requests wake the writer before the next write is due.
    pub(super) fn crowd(&self) -> usize {
        self.batch().min(self.queue().div_ceil(2))
    }

    pub(super) const fn queue(&self) -> usize {
        self.queue.get()
    }

    pub(super) const fn patience(&self) -> Duration {
        self.patience
    }
}

impl Default for Config {
    fn default() -> Self {
        Self {
            retention: Self::RETENTION,
            max_size: Self::MAX_SIZE,
            flush_every: Self::FLUSH_EVERY,
            batch: Self::BATCH,
            queue: Self::QUEUE,
            patience: Self::PATIENCE,
        }
    }
}
