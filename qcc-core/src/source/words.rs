//! What others say, made fit to be shown: pure.

use std::borrow::Cow;

/// More characters are cut off.
const LONGEST: usize = 160;

/// An unbroken word of so many characters, with a digit in it, may be a secret.
const SUSPECT: usize = 20;

/// What stands in its place.
const REDACTED: &str = "[redacted]";

/// The last line of `output` that says anything, for an error that people read: at most 160
/// characters, without control characters, and without anything that could be a secret, which
/// is every unbroken run of 20 letters and digits or more. `None` if nothing is said.
///
/// For what a [`Fetched`](super::Fetched) token comes from: the errors of a command, say.
#[must_use]
pub fn last_words(output: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(output);
    let line = text
        .split(['\n', '\r'])
        .map(words)
        .rfind(|line| !line.is_empty());
    line.map(|line| shortened(&line))
}

/// All of `text` in one line, made fit to be shown.
pub(super) fn in_one_line(text: &str) -> String {
    shortened(&words(text))
}

fn words(text: &str) -> String {
    let mut line = String::new();
    let breaks = |c: char| c.is_whitespace() || c.is_control() || is_invisible(c);
    for word in text.split(breaks).filter(|word| !word.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(&without_secret(word));
        if line.len() > 8 * LONGEST {
            break;
        }
    }
    line
}

/// Characters that change how others are shown.
const fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// `word` with each run that could be a secret replaced.
fn without_secret(word: &str) -> Cow<'_, str> {
    if word.len() < SUSPECT {
        return word.into();
    }
    let is_of_token = |c: char| c.is_ascii_alphanumeric() || "-_.~+=%".contains(c);
    let is_secret = |run: &str| run.len() >= SUSPECT && run.contains(|c: char| c.is_ascii_digit());
    let mut clean = String::with_capacity(word.len());
    let mut rest = word;
    while !rest.is_empty() {
        let end = rest.find(|c| !is_of_token(c)).unwrap_or(rest.len());
        let (run, behind) = rest.split_at(end);
        clean.push_str(if is_secret(run) { REDACTED } else { run });
        let next = behind.find(is_of_token).unwrap_or(behind.len());
        let (between, after) = behind.split_at(next);
        clean.push_str(between);
        rest = after;
    }
    clean.into()
}

fn shortened(line: &str) -> String {
    match line.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_last_line_that_says_something_is_shown() {
        for (output, expected) in [
            ("", None),
            (" \n\r\n", None),
            (
                "warning: old\nerror: not logged in\n\n",
                Some("error: not logged in"),
            ),
            (
                "\u{1b}[31merror\u{1b}[0m:\tno\u{7}pe",
                Some("[31merror [0m: no pe"),
            ),
            ("progress 1%\rfailed", Some("failed")),
        ] {
            let shown = last_words(output.as_bytes());
            assert_eq!(shown.as_deref(), expected, "{output:?}");
        }
        assert_eq!(in_one_line("a\nb"), "a b");
        let shown = last_words("x ".repeat(999).as_bytes()).unwrap();
        assert_eq!(shown.chars().count(), LONGEST + 1);
    }

    // SEC-01, SEC-02
    #[test]
    fn what_could_be_a_secret_is_not_shown() {
        for (text, expected) in [
            (
                "bad token sk-test-00001111222233334444",
                "bad token [redacted]",
            ),
            ("?refresh_token=00001111222233334444&x=1", "?[redacted]&x=1"),
            ("\"00001111-2222-3333-4444\",", "\"[redacted]\","),
            (
                "no such file: /usr/local/bin/get-token",
                "no such file: /usr/local/bin/get-token",
            ),
            (
                "internationalization-of-words",
                "internationalization-of-words",
            ),
        ] {
            assert_eq!(in_one_line(text), expected);
        }
    }

    proptest! {
        #[test]
        fn no_long_word_with_a_digit_is_ever_shown(front in "\\PC{0,300}", secret in "[a-z0-9]{10}[0-9][A-Za-z0-9]{10,40}",
                                                    behind in "\\PC{0,30}") {
            let shown = in_one_line(&format!("{front}{secret}{behind}"));
            prop_assert!(!shown.contains(&secret), "{shown}");
            prop_assert!(shown.chars().count() <= LONGEST + 1);
        }

        #[test]
        fn any_bytes_are_shown_in_one_line(output: Vec<u8>) {
            if let Some(shown) = last_words(&output) {
                prop_assert!(!shown.is_empty() && !shown.contains(char::is_control));
            }
        }
    }
}
