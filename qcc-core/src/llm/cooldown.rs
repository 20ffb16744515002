//! How long the blamed one is not to be used: `Retry-After` and its many relatives.
//!
//! Read in this order: `retry-after-ms`, `Retry-After` (seconds or a date), what the body says
//! (Codex `resets_at`, Gemini `RetryInfo`, "try again in 1m30s"), the reset header of a limit
//! that is exhausted. What is negative, no number or otherwise unreadable is as good as absent.

use http::HeaderMap;
use serde_json::Value;

use super::errors::ErrorBody;
use crate::failure::Kind;
use crate::time::{Duration, SystemTime};

/// The cool-down after a rate limit that did not say how long.
pub const RATE_LIMIT_COOL_DOWN: Duration = Duration::from_secs(30);

/// The cool-down after a used-up quota that did not say when it comes back.
pub const QUOTA_COOL_DOWN: Duration = Duration::from_secs(60 * 60);

/// No cool-down is shorter.
pub const SHORTEST_COOL_DOWN: Duration = Duration::from_secs(1);

/// No cool-down is longer, unless the answer names the window of the limit (five hours, a week):
/// then that window's reset is the bound.
pub const LONGEST_COOL_DOWN: Duration = Duration::from_secs(60 * 60);

/// A reset further away than the longest window of any vendor, a month, is a misread unit.
const LONGEST_WINDOW: Duration = Duration::from_secs(31 * 24 * 60 * 60);

/// The cool-down for a failure of `kind`; `None` for kinds that have none. `date` is that of the
/// answer.
pub(super) fn cool_down(
    kind: Kind,
    headers: Option<&HeaderMap>,
    body: &ErrorBody<'_>,
    date: SystemTime,
) -> Option<Duration> {
    let (limits, default) = match kind {
        Kind::RateLimit => (true, Some(RATE_LIMIT_COOL_DOWN)),
        Kind::Quota => (true, Some(QUOTA_COOL_DOWN)),
        Kind::Overloaded => (false, None),
        _ => return None,
    };
    let mut resets = Resets::default();
    if limits {
        resets.named(plan_reset(body, date));
        if let Some(headers) = headers {
            resets.read(headers, date);
        }
    }
    headers
        .and_then(|headers| retry_after(headers, date))
        // The hint that comes with a used-up quota is that of the limit of a minute beside it.
        .or_else(|| (kind != Kind::Quota).then(|| hint(body)).flatten())
        .or_else(|| resets.longest())
        .map(|wait| {
            let bound = resets.named.unwrap_or_default().max(LONGEST_COOL_DOWN);
            wait.clamp(SHORTEST_COOL_DOWN, bound)
        })
        .or(default)
}

/// Whether the headers say that a limit is exhausted.
pub(super) fn is_exhausted(headers: Option<&HeaderMap>, date: SystemTime) -> bool {
    let mut resets = Resets::default();
    if let Some(headers) = headers {
        resets.read(headers, date);
    }
    resets.longest().is_some()
}

/// The date of the answer by the clock of the one who gave it, so that clocks that differ do
/// not change a cool-down; else `date`.
pub(super) fn date(headers: Option<&HeaderMap>, date: SystemTime) -> SystemTime {
    headers
        .and_then(|headers| httpdate::parse_http_date(text(headers, "date")?).ok())
        .unwrap_or(date)
}

fn retry_after(headers: &HeaderMap, date: SystemTime) -> Option<Duration> {
    let exact = || {
        let milliseconds: f64 = text(headers, "retry-after-ms")?.parse().ok()?;
        Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
    };
    exact().or_else(|| {
        let value = text(headers, "retry-after")?;
        seconds(value).or_else(|| {
            let at = httpdate::parse_http_date(value).ok()?;
            Some(at.duration_since(date).unwrap_or_default())
        })
    })
}

/// What the body says without naming a window.
fn hint(body: &ErrorBody<'_>) -> Option<Duration> {
    let info = || {
        let mut delays = body
            .details()
            .filter_map(|one| one.get("retryDelay")?.as_str());
        delays.find_map(go_duration)
    };
    info().or_else(|| spoken(body.message()))
}

/// When the limit of a subscription is reset. Codex says it in the body.
fn plan_reset(body: &ErrorBody<'_>, date: SystemTime) -> Option<Duration> {
    let number = |name| body.field(name).and_then(Value::as_f64);
    number("resets_at")
        .and_then(|at| until_unix(at, date))
        .or_else(|| Duration::try_from_secs_f64(number("resets_in_seconds")?).ok())
}

/// The waits for the limits that are exhausted, the longest of each sort: all of them have to
/// be over.
#[derive(Clone, Copy, Debug, Default)]
struct Resets {
    /// Of limits whose window is named.
    named: Option<Duration>,
    /// Of the others, which are those of a minute.
    other: Option<Duration>,
}

impl Resets {
    fn named(&mut self, wait: Option<Duration>) {
        self.named = self.named.max(wait.filter(|wait| *wait <= LONGEST_WINDOW));
    }

    fn longest(&self) -> Option<Duration> {
        self.named.max(self.other)
    }

    fn read(&mut self, headers: &HeaderMap, date: SystemTime) {
        self.named(unified(headers, date));
        for (name, value) in headers {
            let Some(value) = value
                .to_str()
                .ok()
                .and_then(|text| text.trim().parse().ok())
            else {
                continue;
            };
            self.read_limit(headers, name.as_str(), value, date);
        }
    }

    /// Looks at one header with a number, which may be what is left or used of a limit.
    fn read_limit(&mut self, headers: &HeaderMap, name: &str, value: f64, date: SystemTime) {
        let exhausted = value <= 0.0;
        if let Some(limit) = name.strip_prefix("anthropic-ratelimit-") {
            if let Some(limit) = limit.strip_suffix("-remaining").filter(|_| exhausted) {
                let reset = text(headers, &format!("anthropic-ratelimit-{limit}-reset"));
                let wait = reset.and_then(|at| rfc3339(at)?.duration_since(date).ok());
                self.other = self.other.max(wait);
            }
        } else if let Some(limit) = name.strip_prefix("x-ratelimit-remaining-") {
            if exhausted {
                let reset = text(headers, &format!("x-ratelimit-reset-{limit}"));
                self.other = self.other.max(reset.and_then(go_duration));
            }
        } else if let Some(window) = name.strip_suffix("-used-percent")
            && (window.ends_with("-primary") || window.ends_with("-secondary"))
            && value >= 100.0
        {
            let number = |what| number(headers, &format!("{window}-{what}"));
            let wait = number("reset-at")
                .and_then(|at| until_unix(at, date))
                .or_else(|| Duration::try_from_secs_f64(number("reset-after-seconds")?).ok());
            self.named(wait);
        }
    }
}

/// The window of an Anthropic subscription, if it is used up and nothing is paid beyond it.
fn unified(headers: &HeaderMap, date: SystemTime) -> Option<Duration> {
    let header = |what: &str| text(headers, &format!("anthropic-ratelimit-unified-{what}"));
    let paid = header("overage-status").is_some_and(|status| status.starts_with("allowed"));
    if header("status")? != "rejected" || paid {
        return None;
    }
    let reset = header("reset").or_else(|| match header("representative-claim")? {
        "five_hour" => header("5h-reset"),
        "overage" => header("overage-reset"),
        _ => header("7d-reset"),
    });
    until_unix(reset?.parse().ok()?, date)
}

/// The family of models that the used-up window of a subscription is for, if it is for one.
pub(super) fn family(headers: Option<&HeaderMap>, date: SystemTime) -> Option<&'static str> {
    let headers = headers?;
    unified(headers, date)?;
    match text(headers, "anthropic-ratelimit-unified-representative-claim")? {
        "seven_day_opus" => Some("opus"),
        "seven_day_sonnet" => Some("sonnet"),
        _ => None,
    }
}

fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok().map(str::trim)
}

fn number(headers: &HeaderMap, name: &str) -> Option<f64> {
    text(headers, name)?.parse().ok()
}

fn seconds(text: &str) -> Option<Duration> {
    Duration::try_from_secs_f64(text.parse().ok()?).ok()
}

/// The time from `date` to `at`, seconds since 1970; `None` if it is past.
fn until_unix(at: f64, date: SystemTime) -> Option<Duration> {
    let at = SystemTime::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(at).ok()?)?;
    at.duration_since(date).ok()
}

/// A duration as Go writes it: `1h2m3.5s`, `120ms`. A bare number is seconds.
fn go_duration(text: &str) -> Option<Duration> {
    let text = text.trim();
    seconds(text).or_else(|| {
        let (duration, rest) = durations(text)?;
        rest.is_empty().then_some(duration)
    })
}

/// The wait that a sentence names: "Please try again in 1m30s.", "Please retry in 38.1s".
fn spoken(message: &str) -> Option<Duration> {
    let message = message.to_ascii_lowercase();
    ["try again in ", "retry in "]
        .into_iter()
        .find_map(|words| {
            let (_, rest) = message.split_once(words)?;
            durations(rest.trim_start()).map(|(duration, _)| duration)
        })
}

/// The numbers with units at the beginning of `text`, added up, and what follows them.
fn durations(text: &str) -> Option<(Duration, &str)> {
    let mut total = None;
    let mut rest = text;
    while let Some((one, after)) = duration(rest) {
        total = Some(total.unwrap_or(Duration::ZERO).checked_add(one)?);
        rest = after;
    }
    total.map(|total| (total, rest))
}

fn duration(text: &str) -> Option<(Duration, &str)> {
    let text = text.trim_start();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(digits);
    let rest = rest.trim_start();
    let letters = rest
        .find(|c: char| !c.is_alphabetic())
        .unwrap_or(rest.len());
    let (unit, rest) = rest.split_at(letters);
    let scale = match unit {
        "ns" => 1e-9,
        // Both signs for micro that Unicode has.
        "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
        "ms" | "milliseconds" => 1e-3,
        "s" | "second" | "seconds" => 1.0,
        "m" | "minute" | "minutes" => 60.0,
        "h" | "hour" | "hours" => 3600.0,
        "d" | "day" | "days" => 86_400.0,
        _ => return None,
    };
    let number: f64 = number.parse().ok()?;
    let duration = Duration::try_from_secs_f64(number * scale).ok()?;
    Some((duration, rest))
}

/// A date as in RFC 3339: `2025-08-21T12:40:59Z`, with a fraction or an offset if it has them.
fn rfc3339(text: &str) -> Option<SystemTime> {
    let number = |range: std::ops::Range<usize>| {
        let digits = text.get(range)?;
        let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
        plain.then(|| digits.parse::<i64>().ok()).flatten()
    };
    let bytes = text.as_bytes();
    let marks = [(4, b'-'), (7, b'-'), (13, b':'), (16, b':')];
    let marked = marks
        .into_iter()
        .all(|(at, mark)| bytes.get(at) == Some(&mark));
    if !marked || !matches!(bytes.get(10), Some(b'T' | b't' | b' ')) {
        return None;
    }
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    let (hour, minute, second) = (number(11..13)?, number(14..16)?, number(17..19)?);
    // 60 is a leap second.
    if !(1..=12).contains(&month)
        || !(1..=31).contains(&day)
        || hour > 23
        || minute > 59
        || second > 60
    {
        return None;
    }
    let zone = text.get(19..)?;
    let zone = match zone.strip_prefix('.') {
        Some(fraction) => fraction.trim_start_matches(|c: char| c.is_ascii_digit()),
        None => zone,
    };
    let start = text.len() - zone.len();
    let offset = match zone.as_bytes() {
        [b'Z' | b'z'] => 0,
        [sign @ (b'+' | b'-'), _, _, b':', _, _] => {
            let minutes = number(start + 1..start + 3)? * 60 + number(start + 4..start + 6)?;
            if *sign == b'+' {
                minutes * 60
            } else {
                -minutes * 60
            }
        }
        _ => return None,
    };
    let time = hour * 3600 + minute * 60 + second - offset;
    let since = days_from_civil(year, month, day) * 86_400 + time;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(u64::try_from(since).ok()?))
}

/// The days from 1970-01-01 to a date of the Gregorian calendar. The year is counted from March,
/// so that the leap day is its last; the algorithm is Howard Hinnant's `days_from_civil`.
fn days_from_civil(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2025-08-21T12:40:00Z.
    const NOW: u64 = 1_755_780_000;

    fn now() -> SystemTime {
        SystemTime::UNIX_EPOCH + Duration::from_secs(NOW)
    }

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap()))
            .collect()
    }

    /// The cool-down in seconds.
    fn wait(kind: Kind, pairs: &[(&'static str, &str)], body: &str) -> Option<f64> {
        let headers = headers(pairs);
        let json = serde_json::from_str(body).unwrap_or_default();
        let date = date(Some(&headers), now());
        cool_down(kind, Some(&headers), &ErrorBody::of(&json), date).map(|wait| wait.as_secs_f64())
    }

    fn limited(pairs: &[(&'static str, &str)]) -> f64 {
        wait(Kind::RateLimit, pairs, "").unwrap()
    }

    // CLS-13
    #[test]
    fn the_sources_are_asked_in_order() {
        let all = [
            ("retry-after-ms", "2500"),
            ("retry-after", "9"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "17.5s"),
        ];
        let body = r#"{"error":{"message":"Please try again in 12s."}}"#;
        for (from, seconds) in [(0, 2.5), (1, 9.0), (2, 12.0)] {
            assert_eq!(wait(Kind::RateLimit, &all[from..], body), Some(seconds));
        }
        assert_eq!(limited(&all[2..]), 17.5);
        assert_eq!(limited(&[]), 30.0);
    }

    // CLS-13
    #[test]
    fn what_cannot_be_read_is_absent() {
        for bad in ["-1", "NaN", "inf", "soon", "", "1e400", "-inf"] {
            assert_eq!(limited(&[("retry-after", bad)]), 30.0, "{bad}");
            let both = [("retry-after-ms", bad), ("retry-after", "9")];
            assert_eq!(limited(&both), 9.0, "{bad}");
        }
    }

    // CLS-13
    #[test]
    fn a_cool_down_lasts_from_a_second_to_an_hour() {
        for (given, seconds) in [("0", 1.0), ("0.2", 1.0), ("61", 61.0), ("86400", 3600.0)] {
            assert_eq!(limited(&[("retry-after", given)]), seconds, "{given}");
        }
    }

    // CLS-13
    #[test]
    fn a_date_is_read_by_the_clock_of_the_one_who_wrote_it() {
        let until = "Thu, 21 Aug 2025 12:42:00 GMT";
        assert_eq!(limited(&[("retry-after", until)]), 120.0);
        let slow = ("date", "Thu, 21 Aug 2025 12:41:30 GMT");
        assert_eq!(limited(&[("retry-after", until), slow]), 30.0);
        let past = "Thu, 21 Aug 2025 12:00:00 GMT";
        assert_eq!(limited(&[("retry-after", past)]), 1.0);
    }

    // CLS-13
    #[test]
    fn only_an_exhausted_limit_cools_down() {
        let anthropic = |remaining| {
            limited(&[
                ("anthropic-ratelimit-requests-remaining", "3"),
                ("anthropic-ratelimit-requests-reset", "2025-08-21T13:10:00Z"),
                ("anthropic-ratelimit-input-tokens-remaining", remaining),
                (
                    "anthropic-ratelimit-input-tokens-reset",
                    "2025-08-21T12:40:59Z",
                ),
            ])
        };
        assert_eq!(anthropic("0"), 59.0);
        assert_eq!(anthropic("1"), 30.0);
        let openai = [
            ("x-ratelimit-remaining-requests", "0"),
            ("x-ratelimit-reset-requests", "1h2m3.5s"),
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "6m0s"),
        ];
        // Both have to be over, and neither names its window.
        assert_eq!(limited(&openai), 3600.0);
        assert_eq!(limited(&openai[2..]), 360.0);
    }

    // CLS-13
    #[test]
    fn a_named_window_lasts_as_long_as_it_lasts() {
        let reset = (NOW + 4 * 3600).to_string();
        let unified = [
            ("anthropic-ratelimit-unified-status", "rejected"),
            (
                "anthropic-ratelimit-unified-representative-claim",
                "five_hour",
            ),
            ("anthropic-ratelimit-unified-reset", &reset),
        ];
        assert_eq!(limited(&unified), 14_400.0);
        let with = |name, value| {
            let mut pairs = unified.to_vec();
            pairs.push((name, value));
            limited(&pairs)
        };
        assert_eq!(with("retry-after", "14399"), 14_399.0);
        assert_eq!(with("retry-after", "999999"), 14_400.0);
        let paid = "anthropic-ratelimit-unified-overage-status";
        assert_eq!(with(paid, "allowed_warning"), 30.0);
        assert_eq!(with(paid, "rejected"), 14_400.0);

        let codex = |percent| {
            limited(&[
                ("x-codex-primary-used-percent", "40"),
                ("x-codex-primary-reset-at", "1"),
                ("x-codex-secondary-used-percent", percent),
                ("x-codex-secondary-reset-at", &reset),
            ])
        };
        assert_eq!(codex("100"), 14_400.0);
        assert_eq!(codex("99.5"), 30.0);
    }

    // TOK-16
    #[test]
    fn a_window_of_one_family_of_models_is_known_by_its_claim() {
        let reset = (NOW + 4 * 3600).to_string();
        let family_of = |status, claim| {
            let pairs = [
                ("anthropic-ratelimit-unified-status", status),
                ("anthropic-ratelimit-unified-representative-claim", claim),
                ("anthropic-ratelimit-unified-reset", reset.as_str()),
            ];
            family(Some(&headers(&pairs)), now())
        };
        assert_eq!(family_of("rejected", "seven_day_opus"), Some("opus"));
        assert_eq!(family_of("rejected", "seven_day_sonnet"), Some("sonnet"));
        assert_eq!(family_of("rejected", "seven_day"), None);
        assert_eq!(family_of("allowed", "seven_day_opus"), None);
    }

    // CLS-13
    #[test]
    fn the_reset_of_a_plan_is_believed_up_to_a_month() {
        let body =
            |at: u64| format!(r#"{{"error":{{"type":"usage_limit_reached","resets_at":{at}}}}}"#);
        let week = 7 * 86_400;
        assert_eq!(wait(Kind::Quota, &[], &body(NOW + week)), Some(week as f64));
        // Milliseconds in the place of seconds.
        assert_eq!(wait(Kind::Quota, &[], &body(NOW * 1000)), Some(3600.0));
        assert_eq!(wait(Kind::Quota, &[], &body(NOW - 9)), Some(3600.0));
    }

    // CLS-13
    #[test]
    fn a_hint_in_the_body_is_read() {
        let gemini = r#"{"error":{"status":"RESOURCE_EXHAUSTED","message":"m","details":[
            {"@type":"type.googleapis.com/google.rpc.Help"},
            {"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"34.5s"}]}}"#;
        assert_eq!(wait(Kind::RateLimit, &[], gemini), Some(34.5));
        assert_eq!(wait(Kind::Overloaded, &[], gemini), Some(34.5));
        // The quota of a day does not come back with the limit of the minute.
        assert_eq!(wait(Kind::Quota, &[], gemini), Some(3600.0));
        for (text, seconds) in [
            ("Please try again in 1m30s.", 90.0),
            ("Please try again in 1.5s. Visit x", 1.5),
            ("Try again in 2500ms", 2.5),
            ("try again in 20 seconds", 20.0),
            ("try again in 1 hour", 3600.0),
            ("Please retry in 38.1s", 38.1),
            ("try again in 5", 30.0),
            ("try again in a moment", 30.0),
        ] {
            let body = format!(r#"{{"error":{{"message":"{text}"}}}}"#);
            assert_eq!(wait(Kind::RateLimit, &[], &body), Some(seconds), "{text}");
        }
    }

    // CLS-13
    #[test]
    fn only_limits_and_overload_have_a_cool_down() {
        for kind in Kind::ALL {
            let given = wait(kind, &[("retry-after", "9")], "");
            let cools = matches!(kind, Kind::RateLimit | Kind::Quota | Kind::Overloaded);
            assert_eq!(given, cools.then_some(9.0), "{kind}");
        }
        let exhausted = [
            ("x-ratelimit-remaining-tokens", "0"),
            ("x-ratelimit-reset-tokens", "17s"),
        ];
        assert_eq!(wait(Kind::Overloaded, &exhausted, ""), None);
    }

    #[test]
    fn durations_of_go_are_read_whole() {
        for (text, seconds) in [
            ("1s", Some(1.0)),
            ("6m0s", Some(360.0)),
            ("120ms", Some(0.12)),
            ("1h2m3.5s", Some(3723.5)),
            ("250us", Some(0.000_25)),
            ("250µs", Some(0.000_25)),
            ("12", Some(12.0)),
            ("12x", None),
            ("1s later", None),
            ("-1s", None),
            ("", None),
        ] {
            let read = go_duration(text).map(|duration| duration.as_secs_f64());
            assert_eq!(read, seconds, "{text}");
        }
    }

    #[test]
    fn dates_of_rfc_3339_are_read() {
        for (text, unix) in [
            ("1970-01-01T00:00:00Z", Some(0)),
            ("2000-02-29T23:59:59Z", Some(951_868_799)),
            ("2024-03-01T00:00:00Z", Some(1_709_251_200)),
            ("2025-08-21T12:40:00Z", Some(NOW)),
            ("2025-08-21t12:40:00.123z", Some(NOW)),
            ("2025-08-21 14:40:00+02:00", Some(NOW)),
            ("2025-08-21T07:10:00.5-05:30", Some(NOW)),
            ("2025-13-21T12:40:00Z", None),
            ("2025-08-21T12:40:00", None),
            ("2025-08-21T12:40:00+0200", None),
            ("2025-08-21T1٣:40:00Z", None),
            ("2025-08-21T+1:40:00Z", None),
            ("1969-12-31T23:59:59Z", None),
            ("é", None),
        ] {
            let read = rfc3339(text).map(|date| date.duration_since(SystemTime::UNIX_EPOCH));
            assert_eq!(read.map(|since| since.unwrap().as_secs()), unix, "{text}");
        }
    }
}
