//! Codes that nobody can foresee.

use rand::{CryptoRng, RngExt as _};

use crate::recovery::Code;

const DIGITS: &[u8] = b"0123456789";
const ALPHANUMERIC: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
/// None of these has a meaning in JSON, in Markdown's code, or at the end of a sentence.
const SYMBOLS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789@#$%&*+=";

/// Which characters a code has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Complexity {
    /// `0` to `9`.
    Digits,
    /// `A` to `Z` and digits. The default.
    #[default]
    Alphanumeric,
    /// Those and `@#$%&*+=`.
    Symbols,
}

impl Complexity {
    const fn characters(self) -> &'static [u8] {
        match self {
            Self::Digits => DIGITS,
            Self::Alphanumeric => ALPHANUMERIC,
            Self::Symbols => SYMBOLS,
        }
    }
}

/// A code of `length` characters, all equally likely.
pub(super) fn draw(random: &mut impl CryptoRng, length: usize, complexity: Complexity) -> Code {
    let characters = complexity.characters();
    let draw = |_| char::from(characters[random.random_range(0..characters.len())]);
    Code::new((0..length).map(draw).collect::<String>())
}
