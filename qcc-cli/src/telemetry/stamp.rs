//! When a log line was written.

use qcc_core::time::{Duration, SystemClock, SystemTime, WallClock as _};

use crate::moment::Date;

/// Writes the date of now, as `2026-01-31T23:59:59.123456Z`. Its second is the same for many lines,
/// and is worked out once.
#[derive(Debug, Default)]
pub(super) struct Stamp {
    second: u64,
    text: String,
}

impl Stamp {
    pub(super) const fn new() -> Self {
        Self {
            second: 0,
            text: String::new(),
        }
    }

    /// Appends the date of now.
    pub(super) fn write(&mut self, line: &mut String) {
        self.write_at(line, SystemClock.now());
    }

    fn write_at(&mut self, line: &mut String, now: SystemTime) {
        // A clock before 1970 is not set.
        let since = now.duration_since(SystemTime::UNIX_EPOCH);
        let since = since.unwrap_or(Duration::ZERO);
        if self.text.is_empty() || self.second != since.as_secs() {
            let date = Date::from(now);
            self.text = format!("{}T{}.", date.day(), date.second());
            self.second = since.as_secs();
        }
        line.push_str(&self.text);
        // Seven digits, of which the first keeps the zeros of the others.
        let micros = 1_000_000 + since.subsec_micros();
        line.push_str(&itoa::Buffer::new().format(micros)[1..]);
        line.push('Z');
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_date_has_six_decimals_and_the_second_of_its_own() {
        let mut stamp = Stamp::default();
        let mut shown = |micros| {
            let mut line = String::new();
            stamp.write_at(
                &mut line,
                SystemTime::UNIX_EPOCH + Duration::from_micros(micros),
            );
            line
        };
        assert_eq!(shown(7), "1970-01-01T00:00:00.000007Z");
        assert_eq!(shown(951_868_799_999_999), "2000-02-29T23:59:59.999999Z");
        assert_eq!(shown(951_868_800_000_000), "2000-03-01T00:00:00.000000Z");
        assert_eq!(shown(951_868_800_120_000), "2000-03-01T00:00:00.120000Z");
    }
}
