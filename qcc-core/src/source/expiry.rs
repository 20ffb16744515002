//! When a token is stale and when it expires: pure.

use crate::time::{Duration, Instant, SystemTime};
use crate::token::Lifetime;

/// A token is refreshed so long before it expires, if its source is not told otherwise.
pub(super) const MARGIN: Duration = Duration::from_secs(120);

/// A token that was just got is good for at least so long, whatever is said of it: an issuer
/// whose clock differs from ours, or that says nothing that can be read, must not be asked for
/// every request.
const SHORTEST: Duration = Duration::from_secs(60);

/// What is further away is a misread unit.
const LONGEST: Duration = Duration::from_secs(366 * 24 * 60 * 60);

/// A number above this counts milliseconds since 1970; as seconds it lies in the year 5138.
const MILLISECONDS: f64 = 1e11;

/// What is said of the end of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expiry {
    /// Nothing: it is used until it is refused.
    Unknown,
    /// So long after it was got.
    After(Duration),
    /// At this date.
    At(SystemTime),
    /// Something that cannot be read: it counts as expired.
    Unreadable,
}

impl Expiry {
    /// The date of the end of a token that was just got, at `got`; `None` if nothing is known.
    pub(super) fn date(self, got: SystemTime) -> Option<SystemTime> {
        let life = match self {
            Self::Unknown => return None,
            Self::After(life) => life,
            Self::At(date) => date.duration_since(got).unwrap_or_default(),
            Self::Unreadable => Duration::ZERO,
        };
        got.checked_add(life.clamp(SHORTEST, LONGEST))
    }
}

/// The date that lies so many seconds after 1970.
pub(super) fn seconds_since_1970(seconds: f64) -> Option<SystemTime> {
    let since = Duration::try_from_secs_f64(seconds).ok()?;
    SystemTime::UNIX_EPOCH.checked_add(since)
}

/// The date that lies so many seconds or milliseconds after 1970.
pub(super) fn since_1970(number: f64) -> Option<SystemTime> {
    let is_seconds = number < MILLISECONDS;
    seconds_since_1970(if is_seconds { number } else { number / 1_000.0 })
}

/// The life of a token that was got at `got` and expires at `expires`, as seen at `now`, which
/// is the date `today`. It is stale `margin` before it expires, and not before half of its life
/// is over.
pub(super) fn lifetime(
    got: SystemTime,
    expires: SystemTime,
    margin: Duration,
    today: SystemTime,
    now: Instant,
) -> Lifetime {
    let life = expires.duration_since(got).unwrap_or_default();
    let left = expires.duration_since(today).unwrap_or_default();
    let fresh = left.saturating_sub(margin.min(life / 2));
    // What cannot be reckoned lies further away than anybody lives.
    let after = |time| now.checked_add(time).unwrap_or(now);
    Lifetime::new(now, after(fresh), after(left))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time;

    fn date(seconds: u64) -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    // TOK-22
    #[test]
    fn a_token_is_stale_two_minutes_before_it_expires() {
        let (got, expires, now) = (date(1_000), date(4_600), time::now());
        let life = lifetime(got, expires, MARGIN, got, now);
        assert_eq!(life.stale, now + seconds(3_480));
        assert_eq!(life.expires, now + seconds(3_600));
        let life = lifetime(got, expires, MARGIN, date(4_600 - 121), now);
        assert_eq!(life.stale, now + seconds(1));
        let life = lifetime(got, expires, MARGIN, date(4_600 - 119), now);
        assert_eq!((life.stale, life.expires), (now, now + seconds(119)));
        let life = lifetime(got, expires, seconds(600), got, now);
        assert_eq!(
            life.stale,
            now + seconds(3_000),
            "the margin is configurable"
        );
    }

    #[test]
    fn a_token_with_a_short_life_is_used_for_half_of_it() {
        let (got, now) = (date(1_000), time::now());
        let life = lifetime(got, date(1_090), MARGIN, got, now);
        assert_eq!(life.stale, now + seconds(45));
    }

    // TOK-23
    #[test]
    fn a_token_that_was_just_got_is_used_for_a_while_whatever_is_said_of_it() {
        let got = date(100_000);
        for expiry in [
            Expiry::Unreadable,
            Expiry::At(date(5)),
            Expiry::After(Duration::ZERO),
        ] {
            assert_eq!(expiry.date(got), Some(got + SHORTEST), "{expiry:?}");
        }
        assert_eq!(Expiry::After(Duration::MAX).date(got), Some(got + LONGEST));
        assert_eq!(Expiry::Unknown.date(got), None);
    }

    #[test]
    fn dates_are_seconds_or_milliseconds_since_1970() {
        assert_eq!(since_1970(1_700_000_000.0), Some(date(1_700_000_000)));
        assert_eq!(since_1970(1_700_000_000_000.0), Some(date(1_700_000_000)));
        for number in [-1.0, f64::NAN, f64::INFINITY, 1e300] {
            assert_eq!(since_1970(number), None, "{number}");
        }
    }

    proptest! {
        #[test]
        fn no_date_is_too_odd(got in 0_u64..1 << 40, expires in 0_u64..1 << 40,
                              margin: u64, today in 0_u64..1 << 40) {
            let now = time::now();
            let (got, expires, today) = (date(got), date(expires), date(today));
            let life = lifetime(got, expires, seconds(margin), today, now);
            prop_assert!(life.since <= life.stale && life.stale <= life.expires);
            let kept = Expiry::At(expires).date(got).unwrap();
            prop_assert!(got + SHORTEST <= kept && kept <= got + LONGEST);
        }
    }
}
