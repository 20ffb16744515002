//! Bytes as hexadecimal digits. Ids are shown several times for each request, and the formatter
//! of `core` for numbers, which knows widths and fills, takes ten times as long.

use std::fmt;

/// Writes `bytes`, at most 16 of them, as two lower-case digits each.
pub(crate) fn write(f: &mut fmt::Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let mut text = [0; 32];
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 15)];
    }
    let length = text.len().min(2 * bytes.len());
    f.write_str(std::str::from_utf8(&text[..length]).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Shown(&'static [u8]);

    impl fmt::Display for Shown {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write(f, self.0)
        }
    }

    #[test]
    fn each_byte_is_two_digits_with_the_upper_half_first() {
        assert_eq!(Shown(&[0, 0x0f, 0xf0, 0xab]).to_string(), "000ff0ab");
        assert_eq!(Shown(&[0xff; 16]).to_string(), "f".repeat(32));
        assert_eq!(Shown(&[]).to_string(), "");
    }
}
