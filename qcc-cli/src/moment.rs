//! How dates and durations are written: RFC 3339 for programs, short words for people.
//!
//! Dates are in UTC, as in the log, so that a time that `explain` tells is found there again.

use std::fmt;
use std::str::FromStr;

use qcc_core::time::{Duration, Instant, SystemTime};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

const DAY: i64 = 86_400_000;

/// A date, in milliseconds since 1970 in UTC. Written and read as RFC 3339.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(into = "String", try_from = "String")]
#[schemars(extend("format" = "date-time"))]
pub(crate) struct Date(i64);

/// A text that is no date.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a date is written like 2026-01-31T23:59:59.000Z")]
pub(crate) struct InvalidDate(());

impl Date {
    /// The date that is so many milliseconds after 1970.
    pub(crate) const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Milliseconds since 1970.
    pub(crate) const fn as_millis(self) -> i64 {
        self.0
    }

    /// How long ago it was at `now`; zero if it is to come.
    pub(crate) fn ago(self, now: Self) -> Duration {
        Duration::from_millis(u64::try_from(now.0.saturating_sub(self.0)).unwrap_or(0))
    }

    /// The date that comes so much later.
    pub(crate) fn after(self, duration: Duration) -> Self {
        let millis = i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(self.0.saturating_add(millis))
    }

    /// `2026-01-31 23:59:59.000 UTC`.
    pub(crate) fn in_full(self) -> String {
        format!("{} {} UTC", self.day(), self.clock())
    }

    /// `23:59:59 UTC` if it lies on the same day as `other`, with the day in front if not.
    pub(crate) fn beside(self, other: Self) -> String {
        let clock = self.second();
        if self.0.div_euclid(DAY) == other.0.div_euclid(DAY) {
            format!("{clock} UTC")
        } else {
            format!("{} {clock} UTC", self.day())
        }
    }

    /// `2026-01-31`.
    pub(crate) fn day(self) -> String {
        // Days since 1 March of the year 0, in eras of 400 years (Howard Hinnant,
        // "chrono-Compatible Low-Level Date Algorithms").
        let days = self.0.div_euclid(DAY) + 719_468;
        let era = days.div_euclid(146_097);
        let of_era = days.rem_euclid(146_097);
        let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
        let of_year = of_era - (365 * year + year / 4 - year / 100);
        let month = (5 * of_year + 2) / 153;
        let day = of_year - (153 * month + 2) / 5 + 1;
        let month = if month < 10 { month + 3 } else { month - 9 };
        let year = year + era * 400 + i64::from(month <= 2);
        format!("{year:04}-{month:02}-{day:02}")
    }

    /// `23:59:59`. The milliseconds of an end that lies minutes ahead say nothing.
    pub(crate) fn second(self) -> String {
        let mut clock = self.clock();
        clock.truncate("23:59:59".len());
        clock
    }

    fn clock(self) -> String {
        let millis = self.0.rem_euclid(DAY);
        let (seconds, millis) = (millis / 1_000, millis % 1_000);
        let (minutes, seconds) = (seconds / 60, seconds % 60);
        let (hours, minutes) = (minutes / 60, minutes % 60);
        format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
    }
}

impl From<SystemTime> for Date {
    fn from(time: SystemTime) -> Self {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        Self(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(after) => millis(after),
            Err(before) => -millis(before.duration()),
        })
    }
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}T{}Z", self.day(), self.clock())
    }
}

impl From<Date> for String {
    fn from(date: Date) -> Self {
        date.to_string()
    }
}

impl FromStr for Date {
    type Err = InvalidDate;

    /// Reads what `Display` writes, and nothing else of RFC 3339.
    fn from_str(text: &str) -> Result<Self, InvalidDate> {
        let invalid = InvalidDate(());
        let part = |from: usize, to: usize| -> Result<i64, InvalidDate> {
            text.get(from..to)
                .filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
                .and_then(|part| part.parse().ok())
                .ok_or(invalid)
        };
        let marks = [
            (4, b'-'),
            (7, b'-'),
            (10, b'T'),
            (13, b':'),
            (16, b':'),
            (19, b'.'),
            (23, b'Z'),
        ];
        let marked = marks
            .into_iter()
            .all(|(at, mark)| text.as_bytes().get(at) == Some(&mark));
        if text.len() != 24 || !marked {
            return Err(invalid);
        }
        let (year, month, day) = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
        let (hour, minute, second) = (part(11, 13)?, part(14, 16)?, part(17, 19)?);
        let sane = (1..=12).contains(&month)
            && (1..=31).contains(&day)
            && hour < 24
            && minute < 60
            && second < 60;
        if !sane {
            return Err(invalid);
        }
        let year = year - i64::from(month <= 2);
        let month = if month > 2 { month - 3 } else { month + 9 };
        let of_year = (153 * month + 2) / 5 + day - 1;
        let of_era = year.rem_euclid(400);
        let of_era = of_era * 365 + of_era / 4 - of_era / 100 + of_year;
        let days = year.div_euclid(400) * 146_097 + of_era - 719_468;
        let seconds = (hour * 60 + minute) * 60 + second;
        Ok(Self(days * DAY + seconds * 1_000 + part(20, 23)?))
    }
}

impl TryFrom<String> for Date {
    type Error = InvalidDate;

    fn try_from(text: String) -> Result<Self, InvalidDate> {
        text.parse()
    }
}

/// The two clocks, read together: turns an instant of the monotonic one into a date.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Anchor {
    /// The instant.
    pub(crate) instant: Instant,
    /// The date that it had.
    pub(crate) date: Date,
}

impl Anchor {
    /// The date of `instant`.
    pub(crate) fn date_of(&self, instant: Instant) -> Date {
        let millis = |duration: Duration| i64::try_from(duration.as_millis()).unwrap_or(i64::MAX);
        let Date(date) = self.date;
        Date(match instant.checked_duration_since(self.instant) {
            Some(later) => date.saturating_add(millis(later)),
            None => date.saturating_sub(millis(self.instant.duration_since(instant))),
        })
    }
}

/// `duration` in milliseconds, to a hundredth.
pub(crate) fn millis(duration: Duration) -> f64 {
    hundredths(duration) as f64 / 100.0
}

/// `duration` in hundredths of a millisecond.
pub(crate) fn hundredths(duration: Duration) -> u64 {
    let rest = (u64::from(duration.subsec_nanos()) + 5_000) / 10_000;
    duration
        .as_secs()
        .saturating_mul(100_000)
        .saturating_add(rest)
}

/// `millis` for people: `842 ms`, `4.31 s`, `3 min 20 s`, `5 h 12 min`, `2 d 3 h`.
pub(crate) fn brief(millis: f64) -> String {
    // Figures of a record are durations: never negative, and far below 2^53.
    let whole = millis.max(0.0).round() as u64;
    if millis < 10.0 && millis.fract() != 0.0 {
        return format!("{millis:.1} ms");
    }
    if whole < 1_000 {
        return format!("{whole} ms");
    }
    if whole < 10_000 {
        return format!("{:.2} s", millis / 1_000.0);
    }
    if whole < 59_950 {
        let tenths = (whole + 50) / 100;
        return match tenths % 10 {
            0 => format!("{} s", tenths / 10),
            tenth => format!("{}.{tenth} s", tenths / 10),
        };
    }
    let seconds = (whole + 500) / 1_000;
    let two = |high: u64, low: u64, units: [&str; 2]| match low {
        0 => format!("{high} {}", units[0]),
        _ => format!("{high} {} {low} {}", units[0], units[1]),
    };
    match seconds {
        0..3_600 => two(seconds / 60, seconds % 60, ["min", "s"]),
        3_600..86_400 => two(seconds / 3_600, seconds % 3_600 / 60, ["h", "min"]),
        _ => two(seconds / 86_400, seconds % 86_400 / 3_600, ["d", "h"]),
    }
}

/// `number` with a thin gap between its thousands: `12 034`.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

/// `bytes` for people: `512 B`, `18.2 KiB`, `3.4 MiB`.
pub(crate) fn size(bytes: u64) -> String {
    let bytes_f = bytes as f64;
    match bytes {
        0..1_024 => format!("{bytes} B"),
        1_024..1_048_576 => format!("{:.1} KiB", bytes_f / 1_024.0),
        _ => format!("{:.1} MiB", bytes_f / 1_048_576.0),
    }
}

/// At most `limit` bytes of `text`, cut between two characters.
pub(crate) fn cut(text: &str, limit: usize) -> &str {
    &text[..text.floor_char_boundary(limit)]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn date(text: &str) -> Date {
        text.parse().unwrap()
    }

    #[test]
    fn a_date_reads_back_as_itself() {
        for (text, millis) in [
            ("1970-01-01T00:00:00.000Z", 0),
            ("2000-02-29T12:00:00.001Z", 951_825_600_001),
            ("2025-12-31T23:59:59.999Z", 1_767_225_599_999),
            ("2100-03-01T00:00:00.000Z", 4_107_542_400_000),
            ("1969-12-31T23:59:59.999Z", -1),
        ] {
            assert_eq!(date(text), Date(millis), "{text}");
            assert_eq!(Date(millis).to_string(), text);
        }
        for bad in [
            "",
            "2026-01-31",
            "2026-13-31T00:00:00.000Z",
            "2026-01-31T24:00:00.000Z",
            "2026-01-31 00:00:00.000Z",
            "2026-01-31T00:00:00.0é0Z",
            "+026-01-31T00:00:00.000Z",
        ] {
            assert!(bad.parse::<Date>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_date_on_another_day_names_the_day() {
        let morning = date("2026-01-31T08:00:00.250Z");
        assert_eq!(
            date("2026-01-31T23:59:59.900Z").beside(morning),
            "23:59:59 UTC"
        );
        assert_eq!(
            date("2026-02-01T00:00:00.000Z").beside(morning),
            "2026-02-01 00:00:00 UTC"
        );
        assert_eq!(morning.in_full(), "2026-01-31 08:00:00.250 UTC");
    }

    #[test]
    fn an_instant_has_a_date_before_and_after_the_anchor() {
        let now = qcc_core::time::now() + Duration::from_secs(100);
        let anchor = Anchor {
            instant: now,
            date: date("2026-01-31T08:00:00.000Z"),
        };
        assert_eq!(
            anchor.date_of(now + Duration::from_secs(61)),
            date("2026-01-31T08:01:01.000Z")
        );
        assert_eq!(
            anchor.date_of(now - Duration::from_secs(1)),
            date("2026-01-31T07:59:59.000Z")
        );
    }

    #[test]
    fn durations_are_as_fine_as_their_size_allows() {
        for (millis, text) in [
            (0.0, "0 ms"),
            (0.42, "0.4 ms"),
            (842.0, "842 ms"),
            (4_310.0, "4.31 s"),
            (33_940.0, "33.9 s"),
            (34_000.0, "34 s"),
            (59_990.0, "1 min"),
            (60_000.0, "1 min"),
            (200_000.0, "3 min 20 s"),
            (3_599_900.0, "1 h"),
            (18_720_000.0, "5 h 12 min"),
            (183_600_000.0, "2 d 3 h"),
        ] {
            assert_eq!(brief(millis), text);
        }
        assert_eq!(millis(Duration::from_micros(1_234_567)), 1_234.57);
        assert_eq!(grouped(1_234_567), "1 234 567");
        assert_eq!(grouped(999), "999");
        assert_eq!(size(18_637), "18.2 KiB");
    }

    // OPS-12
    #[test]
    fn a_text_is_cut_between_two_characters() {
        assert_eq!(cut("fehlt: Schlüssel", 12), "fehlt: Schl");
        assert_eq!(cut("fehlt: Schlüssel", 13), "fehlt: Schlü");
        assert_eq!(cut("日本語", 4), "日");
        assert_eq!(cut("short", 100), "short");
    }
}
