//! A log line as one JSON object, with the fields of the event beside those of every line.

use std::fmt::{Debug, Write as _};

use serde_json::Value;
use tracing::Event;
use tracing::field::{Field, Visit};

use super::stamp::Stamp;

/// Appends the line of `event`.
pub(super) fn write(line: &mut String, stamp: &mut Stamp, event: &Event<'_>) {
    let about = event.metadata();
    line.push_str(r#"{"timestamp":""#);
    stamp.write(line);
    line.push_str(r#"","level":""#);
    line.push_str(about.level().as_str());
    line.push('"');
    event.record(&mut Fields(line));
    line.push_str(r#","target":"#);
    quoted(line, |line| line.push_str(about.target()));
    line.push_str("}\n");
}

/// Appends fields as members of an object that has others already.
struct Fields<'l>(&'l mut String);

impl Fields<'_> {
    /// The member before its value. Names are in the program, where none needs an escape.
    fn name(&mut self, field: &Field) {
        self.0.push_str(",\"");
        self.0.push_str(field.name());
        self.0.push_str("\":");
    }
}

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.name(field);
        quoted(self.0, |line| {
            let _ = write!(line, "{value:?}");
        });
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.name(field);
        quoted(self.0, |line| line.push_str(value));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.name(field);
        self.0.push_str(itoa::Buffer::new().format(value));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.name(field);
        self.0.push_str(itoa::Buffer::new().format(value));
    }

    fn record_f64(&mut self, field: &Field, value: f64) {
        self.name(field);
        // What is no number in JSON is null.
        let _ = write!(self.0, "{}", Value::from(value));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.name(field);
        self.0.push_str(if value { "true" } else { "false" });
    }
}

/// Appends as a JSON string what `text` appends. Nearly none needs an escape, so that is found
/// out at the end.
fn quoted(line: &mut String, text: impl FnOnce(&mut String)) {
    let start = line.len();
    line.push('"');
    text(line);
    let odd = |found, byte: &u8| found | matches!(byte, ..b' ' | b'"' | b'\\');
    if line.as_bytes()[start + 1..].iter().fold(false, odd) {
        let raw = line.split_off(start + 1);
        line.truncate(start);
        let _ = write!(line, "{}", Value::from(raw));
    } else {
        line.push('"');
    }
}
