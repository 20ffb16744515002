//! Log lines without colours, on their way into the batch that is written next.
//!
//! They are those of `tracing-subscriber`, letter for letter but for line breaks in fields. It builds a line out of dozens of
//! formatted pieces, which costs a request more than choosing where it goes. Here a line is put
//! into a text that the thread keeps. A line that stands in a span is rare, as nobody asks the
//! libraries below for theirs; it is left to the layer of old, which knows the fields of spans.

use std::cell::Cell;
use std::io::Write;

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

use super::lines::Lines;
use super::stamp::Stamp;

/// Appends the line of an event.
pub(super) type Look = fn(&mut String, &mut Stamp, &Event<'_>);

/// Writes lines that look like this into `lines`, and those in spans as `in_spans` does.
pub(super) struct Plain<L, W> {
    look: Look,
    lines: Lines<W>,
    in_spans: L,
}

impl<L, W> Plain<L, W> {
    pub(super) const fn new(look: Look, lines: Lines<W>, in_spans: L) -> Self {
        Self {
            look,
            lines,
            in_spans,
        }
    }
}

/// A thread keeps the room of its last line, unless that was a very long one.
const KEPT: usize = 4 << 10;

thread_local! {
    // Taken while a line is written: one that is logged on the way has another one.
    static LINE: Cell<String> = const { Cell::new(String::new()) };
    static STAMP: Cell<Stamp> = const { Cell::new(Stamp::new()) };
}

impl<S, L, W> Layer<S> for Plain<L, W>
where
    S: Subscriber + for<'s> LookupSpan<'s>,
    L: Layer<S>,
    W: Write + Send + 'static,
{
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.in_spans.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.in_spans.on_record(id, values, context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        if event.parent().is_some() || context.lookup_current().is_some() {
            return self.in_spans.on_event(event, context);
        }
        let (mut line, mut stamp) = (LINE.take(), STAMP.take());
        (self.look)(&mut line, &mut stamp, event);
        STAMP.set(stamp);
        let at_once = *event.metadata().level() <= Level::WARN;
        self.lines.append(line.as_bytes(), at_once);
        if line.capacity() <= KEPT {
            line.clear();
            LINE.set(line);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::{Arc, Mutex, PoisonError};

    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Registry, fmt as log_lines};

    use super::super::{human, json};
    use super::*;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let mut written = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            written.extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Written {
        /// What was written, with every digit of a date as 0.
        fn shown(&self) -> String {
            let bytes = self.0.lock().unwrap().clone();
            let text = String::from_utf8(bytes).unwrap();
            let dateless = text.lines().map(|line| {
                let start = line.find("20").unwrap();
                let (front, rest) = line.split_at(start);
                let (date, rest) = rest.split_at("2026-01-31T23:59:59.123456Z".len());
                let date = date.replace(|char: char| char.is_ascii_digit(), "0");
                format!("{front}{date}{rest}\n")
            });
            dateless.collect()
        }
    }

    /// Says one thing of each sort to `place`, in spans and outside.
    fn speak_to(place: impl Layer<Registry> + Send + Sync) {
        let registry = tracing_subscriber::registry().with(place);
        with_default(registry, || {
            without_span();
            in_spans();
        });
    }

    fn without_span() {
        let name = "bench".to_owned();
        tracing::info!(text = name.as_str(), shown = %name, debug = ?Some(1), "one {}", "message");
        tracing::warn!(target: "qcc::request", count = 7_usize, below = -7, flag = true, "literal");
        tracing::error!(
            message = "as a text",
            none = None::<&str>,
            some = Some("a \"quoted\" \\ é")
        );
        tracing::debug!(
            half = 0.5,
            odd = f64::NAN,
            wide = u128::MAX,
            "line\nbreak \u{e9}"
        );
        let error = io::Error::other("broken");
        tracing::trace!(error = &error as &dyn std::error::Error, path = "a\tb");
    }

    fn in_spans() {
        tracing::info_span!("outer", who = %"me").in_scope(|| {
            tracing::info!(message = "inside", of = "a span");
            tracing::info!(parent: None, "without a parent");
        });
        let span = tracing::info_span!("other", later = tracing::field::Empty);
        span.record("later", 5);
        tracing::info!(parent: &span, "with a parent");
    }

    #[test]
    fn lines_for_people_look_as_those_of_the_library() {
        let (stock, ours) = (Written::default(), Written::default());
        let writer = stock.clone();
        let layer = || log_lines::layer().with_ansi(false);
        speak_to(layer().with_writer(move || writer.clone()));
        let (lines, end) = Lines::new(ours.clone()).unwrap();
        let of_spans = layer().with_writer(lines.clone()).fmt_fields(human::Human);
        speak_to(Plain::new(human::write, lines, of_spans));
        drop(end);
        assert_eq!(ours.shown(), stock.shown());
    }

    #[test]
    fn a_field_breaks_no_line_for_people() {
        let ours = Written::default();
        let (lines, end) = Lines::new(ours.clone()).unwrap();
        let of_spans = log_lines::layer()
            .with_writer(lines.clone())
            .fmt_fields(human::Human);
        let place = Plain::new(human::write, lines, of_spans);
        with_default(tracing_subscriber::registry().with(place), || {
            let forged = "refused\n2026-01-31T23:59:59.123456Z ERROR all is lost";
            tracing::info!(error = %forged, "two\nlines");
        });
        drop(end);
        let bytes = ours.0.lock().unwrap().clone();
        let text = String::from_utf8(bytes).unwrap();
        let (_, first) = text.split_once("tests: ").unwrap();
        assert_eq!(
            first,
            "two\nlines error=refused\\n2026-01-31T23:59:59.123456Z ERROR all is lost\n"
        );
    }

    #[test]
    fn lines_of_json_look_as_those_of_the_library() {
        let (stock, ours) = (Written::default(), Written::default());
        let writer = stock.clone();
        let layer = || log_lines::layer().json().flatten_event(true);
        speak_to(layer().with_writer(move || writer.clone()));
        let (lines, end) = Lines::new(ours.clone()).unwrap();
        let of_spans = layer().with_writer(lines.clone());
        speak_to(Plain::new(json::write, lines, of_spans));
        drop(end);
        assert_eq!(ours.shown(), stock.shown());
    }
}
