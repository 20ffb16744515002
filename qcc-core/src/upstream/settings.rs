//! How connections to upstreams are made and kept.
//!
//! Whoever fails over must be the only one who does: a client that follows redirects sends a
//! credential to an address that nobody configured, one that retries by itself multiplies the
//! attempts that are counted here, one that decodes changes bytes that must not change. The
//! one repetition that stays on is the pool's own: a request that met a connection which the
//! server had closed while it was idle was never read by anybody, and goes out again on a new
//! one.

use std::fmt;

use crate::time::Duration;

/// How connections to upstreams are made and kept.
///
/// `Display` gives the line that a program logs at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    connect_timeout: Duration,
    max_idle_per_host: usize,
    idle_timeout: Duration,
    tcp_keepalive: Duration,
}

/// Time-outs below this would fail every connection.
const SHORTEST: Duration = Duration::from_millis(1);

impl Settings {
    /// How long a connection may take to be made, name resolution and TLS included; 5 s by
    /// default, at least 1 ms.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit.max(SHORTEST);
        self
    }

    /// How many idle connections are kept for each host; 20 by default, 0 keeps none.
    #[must_use]
    pub const fn with_max_idle_per_host(mut self, limit: usize) -> Self {
        self.max_idle_per_host = limit;
        self
    }

    /// How long an idle connection is kept; 60 s by default, at least 1 ms.
    #[must_use]
    pub fn with_idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit.max(SHORTEST);
        self
    }

    /// How long a connection is silent before TCP asks whether the other side is still there;
    /// 30 s by default, at least 1 s, which is the finest that operating systems know, and at
    /// most 9 h: one that Linux does not take would quietly be its own default.
    #[must_use]
    pub fn with_tcp_keepalive(mut self, interval: Duration) -> Self {
        self.tcp_keepalive = interval.clamp(Duration::from_secs(1), Duration::from_secs(9 * 3_600));
        self
    }

    /// How long a connection may take to be made.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How many idle connections are kept for each host.
    #[must_use]
    pub const fn max_idle_per_host(&self) -> usize {
        self.max_idle_per_host
    }

    /// How long an idle connection is kept.
    #[must_use]
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// How long a connection is silent before TCP asks.
    #[must_use]
    pub const fn tcp_keepalive(&self) -> Duration {
        self.tcp_keepalive
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            max_idle_per_host: 20,
            idle_timeout: Duration::from_secs(60),
            tcp_keepalive: Duration::from_secs(30),
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connection reuse enabled: up to {} idle connections per host for {:?}, \
             connect time-out {:?}, TCP keep-alive {:?}",
            self.max_idle_per_host, self.idle_timeout, self.connect_timeout, self.tcp_keepalive
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // UPS-02, UPS-03, UPS-05
    #[test]
    fn the_settings_have_the_promised_defaults_and_say_so() {
        let settings = Settings::default();
        assert_eq!(settings.max_idle_per_host(), 20);
        assert_eq!(settings.idle_timeout(), Duration::from_secs(60));
        assert_eq!(settings.connect_timeout(), Duration::from_secs(5));
        assert_eq!(
            settings.to_string(),
            "connection reuse enabled: up to 20 idle connections per host for 60s, \
             connect time-out 5s, TCP keep-alive 30s"
        );
    }

    #[test]
    fn a_keep_alive_is_one_that_operating_systems_know() {
        for (asked, kept) in [(0, 1), (1, 1), (32_400, 32_400), (32_401, 32_400)] {
            let settings = Settings::default().with_tcp_keepalive(Duration::from_secs(asked));
            assert_eq!(settings.tcp_keepalive(), Duration::from_secs(kept));
        }
    }
}
