//! Text that fits a terminal of 100 columns.

use std::fmt::Write as _;

use anstyle::Style;
use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// No line is wider, unless a single word is.
pub(crate) const WIDTH: usize = 100;

/// A line that continues another one stands this much further in.
const HANG: usize = 4;

/// Adds `text` to `page`, broken between words, `indent` columns in. A control character would
/// move the cursor, and some texts are a client's: `\u{fffd}` takes its place.
pub(crate) fn push(page: &mut String, style: Style, indent: usize, text: &str) {
    let mut width = 0;
    let _ = write!(page, "{style}");
    for word in text.split(' ') {
        let length = word.width();
        if width == 0 {
            width = indent;
            let _ = write!(page, "{:indent$}", "");
        } else if width + 1 + length > WIDTH {
            width = indent + HANG;
            let _ = write!(page, "\n{:width$}", "");
        } else {
            width += 1;
            page.push(' ');
        }
        page.extend(word.chars().map(plain));
        width += length;
    }
    let _ = writeln!(page, "{style:#}");
}

/// `text`, or as much of it as fits into `width` columns with `…` in the place of the rest.
pub(crate) fn fit(text: &str, width: usize) -> String {
    if text.width() <= width {
        return text.chars().map(plain).collect();
    }
    let mut used = 1;
    let mut kept: String = text
        .chars()
        .map(plain)
        .take_while(|c| {
            used += c.width().unwrap_or(0);
            used <= width
        })
        .collect();
    kept.push('…');
    kept
}

fn plain(c: char) -> char {
    if c.is_control() { '\u{fffd}' } else { c }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_paragraph_is_broken_between_words_and_hangs() {
        let mut page = String::new();
        let text = ["word"; 30].join(" ");
        push(&mut page, Style::new(), 2, &text);
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines.len(), 2);
        assert_eq!(lines[0].width(), 2 + 19 * 5 - 1);
        assert!(lines[1].starts_with("      word"), "{page}");
    }

    #[test]
    fn no_text_moves_the_cursor() {
        let mut page = String::new();
        push(&mut page, Style::new(), 0, "a\u{1b}[2J\r\nb");
        assert_eq!(page, "a\u{fffd}[2J\u{fffd}\u{fffd}b\n");
        assert_eq!(fit("a\tb", 9), "a\u{fffd}b");
    }

    #[test]
    fn what_does_not_fit_ends_in_an_ellipsis() {
        assert_eq!(fit("official", 8), "official");
        assert_eq!(fit("official-2", 8), "officia…");
        assert_eq!(fit("日本語", 5), "日本…");
    }
}
