//! Hexadecimal digits, as ids and digests are shown.

use std::fmt;

/// Two digits for each of `bytes`. Every line of a log has several ids, and to format one as a
/// number takes far longer.
pub(crate) fn digits<const N: usize>(bytes: [u8; N]) -> [[u8; 2]; N] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digit = |half: u8| DIGITS[usize::from(half)];
    bytes.map(|byte| [digit(byte >> 4), digit(byte & 15)])
}

/// Writes the [`digits`] of `bytes`.
pub(crate) fn write<const N: usize>(to: &mut impl fmt::Write, bytes: [u8; N]) -> fmt::Result {
    let pairs = digits(bytes);
    let text = str::from_utf8(pairs.as_flattened());
    to.write_str(text.map_err(|_| fmt::Error)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_byte_has_two_digits() {
        let mut shown = String::new();
        write(&mut shown, [0, 1, 0x9a, 0xff]).unwrap();
        assert_eq!(shown, "00019aff");
    }
}
