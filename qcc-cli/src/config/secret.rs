//! Text that nobody may read by accident.

/// A secret: it has neither `Debug` nor `Display` nor `Serialize`, so that a type which holds one
/// cannot show it either. Whoever needs the value asks for it by name.
#[derive(Clone)]
pub(crate) struct Secret(Box<str>);

/// A text shorter than this is masked as a whole: four characters would be too much of it.
const SHORTEST_SHOWN: usize = 12;

/// How many characters of a key may be shown.
const SHOWN: usize = 4;

impl Secret {
    /// Hides `text`.
    pub(crate) fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The value itself.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

/// `key` as it may be shown: at most its last 4 characters.
pub(crate) fn masked(key: &str) -> String {
    let count = key.chars().count();
    if count < SHORTEST_SHOWN {
        return "****".to_owned();
    }
    let tail: String = key.chars().skip(count - SHOWN).collect();
    format!("****{tail}")
}

#[cfg(test)]
mod tests {
    use super::*;

    // SEC-01, CLI-06
    #[test]
    fn a_key_shows_its_last_four_characters_at_most() {
        assert_eq!(masked("sk-test-0001-abcd"), "****abcd");
        assert_eq!(masked("sk-test-é001-äöüß"), "****äöüß");
        assert_eq!(masked("sk-test-001"), "****");
        assert_eq!(masked(""), "****");
    }
}
