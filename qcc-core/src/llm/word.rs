//! The words of JSON: numbers, `true`, `false` and `null`.

use serde_json::Number;

use super::reader::{Result, check_by_serde, other};

/// The number that `word` is, if it is a natural one without more ado.
fn natural(word: &[u8]) -> Option<u64> {
    // 19 digits always fit.
    let natural = (1..20).contains(&word.len())
        && word.iter().all(u8::is_ascii_digit)
        && (word[0] != b'0' || word.len() == 1);
    natural.then(|| {
        word.iter()
            .fold(0, |number, digit| number * 10 + u64::from(digit - b'0'))
    })
}

/// The number that `word` is; `None` if it is no natural one.
pub(super) fn number(word: &[u8]) -> Result<Option<u64>> {
    if let Some(number) = natural(word) {
        return Ok(Some(number));
    }
    let number: Number = serde_json::from_slice(word).map_err(other)?;
    // Counts are far below 2^53, up to which floats are exact.
    let is_natural = |float: &f64| *float >= 0.0 && float.fract() == 0.0 && *float < 9e15;
    let float = || number.as_f64().filter(is_natural).map(|float| float as u64);
    Ok(number.as_u64().or_else(float))
}

/// Whether `word` is one of JSON.
pub(super) fn check_word(word: &[u8]) -> Result<()> {
    match word {
        b"null" | b"true" | b"false" => Ok(()),
        _ if natural(word).is_some() => Ok(()),
        _ => check_by_serde(word),
    }
}
