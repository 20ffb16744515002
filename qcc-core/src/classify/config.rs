use crate::facts::{Dialect, Facts};
use crate::time::{Duration, Instant};

/// How long an upstream may be silent, and when its client is told that it lives.
///
/// The connect time-out belongs to the HTTP client, the deadline to Retry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    first_byte: Duration,
    endpoint: Option<Duration>,
    idle: Option<Duration>,
    keep_alive: Option<Duration>,
}

/// A time-out of zero, which nothing can meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a time-out must be longer than zero")]
pub struct InvalidTimeout(());

impl Timeouts {
    /// Anthropic sends pings every few seconds, so a minute of silence is a broken stream.
    const IDLE_WITH_PINGS: Duration = Duration::from_secs(60);
    /// The reasoning models of the others are silent for minutes.
    const IDLE_WITHOUT_PINGS: Duration = Duration::from_secs(300);

    /// The wait for the first byte of a streamed answer; 60 s by default. An answer that is not
    /// streamed has the rest of the deadline, because its first byte is its last.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] if `limit` is zero.
    pub fn with_first_byte(mut self, limit: Duration) -> Result<Self, InvalidTimeout> {
        self.first_byte = positive(limit)?;
        Ok(self)
    }

    /// The wait for the first byte of any answer of this endpoint, streamed or not; takes
    /// precedence over [`with_first_byte`](Self::with_first_byte). None by default.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] if `limit` is zero.
    pub fn with_endpoint(mut self, limit: Duration) -> Result<Self, InvalidTimeout> {
        self.endpoint = Some(positive(limit)?);
        Ok(self)
    }

    /// The wait for the next byte of an answer that has begun. By default 60 s for Anthropic,
    /// which pings, and 300 s for the other dialects.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] if `limit` is zero.
    pub fn with_idle(mut self, limit: Duration) -> Result<Self, InvalidTimeout> {
        self.idle = Some(positive(limit)?);
        Ok(self)
    }

    /// After so long without output of a stream the client gets what its dialect has for that: a
    /// ping, a comment, a blank line; and again after as long. 15 s by default, because some
    /// clients give up after 20 s without a byte; `None` for never. It changes nothing about
    /// when the upstream counts as silent.
    ///
    /// # Errors
    ///
    /// [`InvalidTimeout`] if `interval` is zero.
    pub fn with_keep_alive(mut self, interval: Option<Duration>) -> Result<Self, InvalidTimeout> {
        self.keep_alive = interval.map(positive).transpose()?;
        Ok(self)
    }

    /// When a send that starts at `now` must have brought its first byte.
    pub(super) fn first_byte(&self, facts: &Facts, now: Instant) -> Option<Instant> {
        let limit = match self.endpoint {
            Some(limit) => limit,
            None if facts.stream => self.first_byte,
            None => return None,
        };
        now.checked_add(limit)
    }

    /// The time that a send must have had for its silence to be the endpoint's fault.
    pub(super) fn patience(&self) -> Duration {
        self.endpoint.unwrap_or(self.first_byte)
    }

    pub(super) fn silence(&self, facts: &Facts) -> Silence {
        let idle = self.idle.unwrap_or(match facts.dialect {
            Some(Dialect::Anthropic) => Self::IDLE_WITH_PINGS,
            _ => Self::IDLE_WITHOUT_PINGS,
        });
        Silence {
            idle,
            keep_alive: self.keep_alive,
        }
    }
}

/// What an answer that has begun may keep silent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Silence {
    /// So long the upstream may.
    pub(super) idle: Duration,
    /// After so long the client is told that the answer still comes.
    pub(super) keep_alive: Option<Duration>,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            first_byte: Duration::from_secs(60),
            endpoint: None,
            idle: None,
            keep_alive: Some(Duration::from_secs(15)),
        }
    }
}

fn positive(limit: Duration) -> Result<Duration, InvalidTimeout> {
    if limit.is_zero() {
        Err(InvalidTimeout(()))
    } else {
        Ok(limit)
    }
}
