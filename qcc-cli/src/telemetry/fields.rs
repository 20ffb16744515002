//! The fields of a log line where nothing is coloured.
//!
//! They look as those of `tracing-subscriber` without colours, and control characters are escaped
//! as there. It looks at each character to find out; this looks at a piece of text as a whole, as
//! nearly none has any.

use std::fmt::{self, Debug, Write};

use tracing::field::Field;
use tracing_subscriber::fmt::format::Writer;

/// Writes one field; the message stands without its name.
pub(super) fn write(writer: &mut Writer<'_>, field: &Field, value: &dyn Debug) -> fmt::Result {
    let name = field.name();
    if name != "message" {
        writer.write_str(name)?;
        writer.write_char('=')?;
    }
    write!(Escaped(writer), "{value:?}")
}

/// Escapes what could control a terminal that shows the line.
struct Escaped<W>(W);

impl<W: Write> Write for Escaped<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        if text.bytes().all(|byte| matches!(byte, b' '..=b'~')) {
            return self.0.write_str(text);
        }
        for char in text.chars() {
            match char {
                '\n' | '\t' => self.0.write_char(char)?,
                char if char.is_control() => write!(self.0, "{}", char.escape_default())?,
                char => self.0.write_char(char)?,
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_control_a_terminal_is_escaped() {
        let mut shown = String::new();
        let text = "a\u{1b}[31m \u{7f}\u{9b}é\r\n";
        Escaped(&mut shown).write_str(text).unwrap();
        assert_eq!(shown, "a\\u{1b}[31m \\u{7f}\\u{9b}é\\r\n");
    }
}
