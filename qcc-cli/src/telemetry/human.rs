//! A log line for people where nothing is coloured.
//!
//! Fields look as those of `tracing-subscriber` without colours, and control characters are
//! escaped as there. It looks at each character to find out; this looks at the text of all fields
//! at once, as nearly none has any. Unlike there, a field breaks no line either: what an upstream
//! says may stand in it, and has to look like that. A message may have several lines.

use std::fmt::{self, Debug, Write};

use tracing::field::{Field, Visit};
use tracing::{Event, Level};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::FormatFields;
use tracing_subscriber::fmt::format::Writer;

use super::stamp::Stamp;

/// Appends the line of `event`.
pub(super) fn write(line: &mut String, stamp: &mut Stamp, event: &Event<'_>) {
    let about = event.metadata();
    stamp.write(line);
    line.push_str(match *about.level() {
        Level::ERROR => " ERROR ",
        Level::WARN => "  WARN ",
        Level::INFO => "  INFO ",
        Level::DEBUG => " DEBUG ",
        Level::TRACE => " TRACE ",
    });
    line.push_str(about.target());
    line.push(':');
    let start = line.len();
    event.record(&mut Fields(line));
    escape(line, start);
    line.push('\n');
}

/// How fields look in a line that the library writes.
pub(super) struct Human;

impl<'w> FormatFields<'w> for Human {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'w>, fields: R) -> fmt::Result {
        let mut text = String::new();
        fields.record(&mut Fields(&mut text));
        escape(&mut text, 0);
        // A space stands before each of them.
        writer.write_str(text.get(1..).unwrap_or_default())
    }
}

/// Appends fields; the message stands without its name.
struct Fields<'l>(&'l mut String);

impl Fields<'_> {
    fn name(&mut self, field: &Field) {
        self.0.push(' ');
        if !is_message(field) {
            self.0.push_str(field.name());
            self.0.push('=');
        }
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        let start = self.0.len();
        let _ = write!(self.0, "{value:?}");
        if !is_message(field) && self.0[start..].contains('\n') {
            let broken = self.0.split_off(start);
            self.0.push_str(&broken.replace('\n', "\\n"));
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        let plain = |byte: u8| is_printable(byte) && !matches!(byte, b'"' | b'\\');
        if is_message(field) {
            self.0.push_str(value);
        } else if all(value, plain) {
            self.0.push('"');
            self.0.push_str(value);
            self.0.push('"');
        } else {
            let _ = write!(self.0, "{value:?}");
        }
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.0.push_str(itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        self.0.push_str(itoa::Buffer::new().format(value));
    }
}

fn is_message(field: &Field) -> bool {
    field.name() == "message"
}

/// Whether a terminal shows `byte` as it is.
const fn is_printable(byte: u8) -> bool {
    matches!(byte, b' '..=b'~')
}

/// Whether all bytes of `text` are so. Looks at every one, so that it can look at many at once.
fn all(text: &str, so: impl Fn(u8) -> bool) -> bool {
    text.bytes().fold(true, |all, byte| all & so(byte))
}

/// Escapes from `start` what could control a terminal that shows the line.
fn escape(line: &mut String, start: usize) {
    if all(&line[start..], is_printable) {
        return;
    }
    let raw = line.split_off(start);
    for char in raw.chars() {
        match char {
            '\n' | '\t' => line.push(char),
            char if char.is_control() => line.extend(char.escape_default()),
            char => line.push(char),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_control_a_terminal_is_escaped() {
        let mut line = "a\u{1b}[31m \u{7f}\u{9b}é\r\n".to_owned();
        escape(&mut line, 0);
        assert_eq!(line, "a\\u{1b}[31m \\u{7f}\\u{9b}é\\r\n");
    }
}
