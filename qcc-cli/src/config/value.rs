//! How the texts of a configuration are read: durations, shares, sizes, placeholders.

use std::fmt::Write as _;

use qcc_core::time::Duration;

use super::env::Environment;

/// Units of time, the largest first.
const UNITS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// A duration like `500ms`, `60s`, `1.5h` or `30d`.
pub(crate) fn duration(text: &str) -> Option<Duration> {
    let (number, unit) = number_and_unit(text)?;
    let (_, millis) = UNITS.into_iter().find(|(name, _)| *name == unit)?;
    // Below a hundred years the product is exact enough to be rounded to a millisecond.
    let millis = number * millis as f64;
    (millis <= 100.0 * 365.0 * 86_400_000.0).then(|| Duration::from_millis(millis.round() as u64))
}

/// `duration` as it is written in a configuration.
pub(crate) fn show_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let (unit, size) = UNITS
        .into_iter()
        // A day is rarely what people think in: 36 hours are 36h, 30 days are 30d.
        .find(|(_, size)| millis > 0 && millis.is_multiple_of(*size))
        .unwrap_or(("s", 1_000));
    format!("{}{unit}", millis / size)
}

/// A share like `20%`, as a fraction between 0 and 1.
pub(super) fn percent(text: &str) -> Option<f64> {
    let number = decimal(text.strip_suffix('%')?.trim_end())?;
    (number <= 100.0).then_some(number / 100.0)
}

/// A number of bytes like `32MiB`, `64KiB`, `1MB` or `512B`.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = number_and_unit(text)?;
    let unit: u64 = match unit {
        "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" => 1_000_000,
        "GB" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return None,
    };
    let bytes = number * unit as f64;
    (bytes <= 1e15).then_some(bytes.round() as u64)
}

/// `bytes` as it is written in a configuration.
pub(super) fn show_size(bytes: u64) -> String {
    [("GiB", 30), ("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, shift)| bytes > 0 && bytes.is_multiple_of(1 << shift))
        .map_or_else(
            || format!("{bytes}B"),
            |(unit, shift)| format!("{}{unit}", bytes >> shift),
        )
}

fn number_and_unit(text: &str) -> Option<(f64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(end);
    Some((decimal(number)?, unit.trim_start()))
}

/// A plain decimal number, without sign or exponent.
fn decimal(text: &str) -> Option<f64> {
    let plain = text
        .bytes()
        .all(|byte| byte.is_ascii_digit() || byte == b'.');
    (plain && text.starts_with(|c: char| c.is_ascii_digit()))
        .then(|| text.parse().ok())
        .flatten()
}

/// Why a placeholder cannot be replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum BadPlaceholder<'t> {
    /// The environment does not have the name.
    Undefined(&'t str),
    /// The name is no name.
    Name,
    /// The brace is not closed.
    Open,
}

/// `text` with each `${NAME}` replaced from `environment`. `$${` stands for `${` itself. What was
/// put in is not looked at again.
pub(super) fn substitute<'t>(
    text: &'t str,
    environment: &Environment,
) -> Result<String, BadPlaceholder<'t>> {
    let mut result = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let before = &rest[..at];
        if let Some(before) = before.strip_suffix('$') {
            let _ = write!(result, "{before}${{");
            rest = &rest[at + 2..];
            continue;
        }
        result.push_str(before);
        let (name, after) = rest[at + 2..].split_once('}').ok_or(BadPlaceholder::Open)?;
        let sane = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || !name.chars().all(sane) {
            return Err(BadPlaceholder::Name);
        }
        result.push_str(
            environment
                .get(name)
                .ok_or(BadPlaceholder::Undefined(name))?,
        );
        rest = after;
    }
    result.push_str(rest);
    Ok(result)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_need_a_number_and_a_unit() {
        for (text, millis) in [
            ("500ms", Some(500)),
            ("60s", Some(60_000)),
            ("1.5h", Some(5_400_000)),
            ("5 m", Some(300_000)),
            ("30d", Some(2_592_000_000)),
            ("0s", Some(0)),
            ("60", None),
            ("s", None),
            ("-1s", None),
            ("1e3s", None),
            ("1.2.3s", None),
            ("60sec", None),
            ("99999999999999999999d", None),
        ] {
            assert_eq!(duration(text), millis.map(Duration::from_millis), "{text}");
        }
    }

    #[test]
    fn a_shown_duration_reads_back_as_itself() {
        for text in ["500ms", "60s", "90m", "5h", "36h", "30d", "0s", "61s"] {
            let value = duration(text).unwrap();
            assert_eq!(duration(&show_duration(value)), Some(value), "{text}");
        }
        assert_eq!(show_duration(Duration::from_secs(60)), "1m");
        assert_eq!(show_duration(Duration::from_secs(600)), "10m");
        assert_eq!(show_duration(Duration::from_secs(90)), "90s");
    }

    #[test]
    fn shares_are_percentages_up_to_a_hundred() {
        assert_eq!(percent("20%"), Some(0.2));
        assert_eq!(percent("0 %"), Some(0.0));
        for bad in ["20", "101%", "-1%", "%", "x%"] {
            assert_eq!(percent(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_have_binary_and_decimal_units() {
        assert_eq!(size("32MiB"), Some(32 << 20));
        assert_eq!(size("1 MB"), Some(1_000_000));
        assert_eq!(size("32"), None);
        assert_eq!(show_size(32 << 20), "32MiB");
        assert_eq!(show_size(1_000_001), "1000001B");
    }

    // CFG-02
    #[test]
    fn placeholders_are_replaced_from_the_environment_once() {
        let environment = Environment::from_iter([("A", "1"), ("B", "${A}")]);
        for (text, expected) in [
            ("${A}", Ok("1")),
            ("x${A}y${A}", Ok("x1y1")),
            ("${B}", Ok("${A}")),
            ("$${A}", Ok("${A}")),
            ("$A {A} $", Ok("$A {A} $")),
            ("${C}", Err(BadPlaceholder::Undefined("C"))),
            ("${A", Err(BadPlaceholder::Open)),
            ("${}", Err(BadPlaceholder::Name)),
            ("${A:-x}", Err(BadPlaceholder::Name)),
        ] {
            assert_eq!(
                substitute(text, &environment).as_deref(),
                expected.as_ref().map(|text| *text),
                "{text}"
            );
        }
    }
}
