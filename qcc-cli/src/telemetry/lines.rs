//! Log lines on their way to standard error or to a file.
//!
//! A proxy writes a few lines for each request, and a system call for each of them would cost as
//! much as the rest of it. Lines are written together, [`PAUSE`] after the first at the latest.
//! A warning takes everything before it along at once, and nothing is left behind at the end.
//! A reader that is too slow stops whoever logs, as it would without the buffer: no line is lost.

use std::io::{self, Write};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::{mem, thread};

use qcc_core::time::Duration;
use tracing::{Level, Metadata};
use tracing_subscriber::fmt::MakeWriter;

/// So long lines may wait for others.
const PAUSE: Duration = Duration::from_millis(50);

/// So many bytes are written without waiting for more.
const FULL: usize = 64 << 10;

/// Collects lines for `W`. Clones share what they collected.
pub(super) struct Lines<W> {
    shared: Arc<Shared<W>>,
}

struct Shared<W> {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    /// Locked before `waiting`, so that lines leave in their order.
    output: Mutex<Output<W>>,
}

struct Output<W> {
    to: W,
    /// Empty; changes places with the lines that wait, so that their room is used again.
    spare: Vec<u8>,
}

impl<W> Clone for Lines<W> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    ended: bool,
}

impl<W: Write + Send + 'static> Lines<W> {
    /// Collects lines for `output`, until the end is dropped.
    ///
    /// # Errors
    ///
    /// No thread can be started.
    pub(super) fn new(output: W) -> io::Result<(Self, End<W>)> {
        let shared = Arc::new(Shared {
            waiting: Mutex::default(),
            changed: Condvar::new(),
            output: Mutex::new(Output {
                to: output,
                spare: Vec::new(),
            }),
        });
        let writer = shared.clone();
        thread::Builder::new()
            .name("log".into())
            .spawn(move || writer.write_now_and_then())?;
        let end = End(shared.clone());
        Ok((Self { shared }, end))
    }
}

impl<W: Write> Lines<W> {
    /// Adds one line, which leaves `at_once` with those before it, or soon.
    pub(super) fn append(&self, line: &[u8], at_once: bool) {
        self.shared.append(line, at_once);
    }
}

impl<W: Write> Shared<W> {
    fn waiting(&self) -> MutexGuard<'_, Waiting> {
        // Bytes are appended or taken as a whole.
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write_now_and_then(&self) {
        loop {
            let waiting = self.waiting();
            let waiting = self
                .changed
                .wait_while(waiting, |waiting| {
                    waiting.bytes.is_empty() && !waiting.ended
                })
                .unwrap_or_else(PoisonError::into_inner);
            let ended = waiting.ended;
            drop(waiting);
            if ended {
                return;
            }
            thread::sleep(PAUSE);
            self.flush();
        }
    }

    fn append(&self, line: &[u8], at_once: bool) {
        let mut waiting = self.waiting();
        let is_first = waiting.bytes.is_empty();
        waiting.bytes.extend_from_slice(line);
        // After the end nobody else writes.
        let at_once = at_once || waiting.ended || waiting.bytes.len() >= FULL;
        drop(waiting);
        if at_once {
            self.flush();
        } else if is_first {
            self.changed.notify_one();
        }
    }

    fn flush(&self) {
        let mut output = self.output.lock().unwrap_or_else(PoisonError::into_inner);
        let Output { to, spare } = &mut *output;
        mem::swap(&mut self.waiting().bytes, spare);
        if !spare.is_empty() {
            // There is no other place to say that standard error is gone.
            let _ = to.write_all(spare).and_then(|()| to.flush());
            spare.clear();
            spare.shrink_to(FULL);
        }
    }
}

/// Writes what is left when it is dropped. Later lines are written one by one.
#[must_use = "lines wait in memory until it is dropped"]
pub(super) struct End<W: Write>(Arc<Shared<W>>);

impl<W: Write> Drop for End<W> {
    fn drop(&mut self) {
        self.0.waiting().ended = true;
        self.0.changed.notify_one();
        self.0.flush();
    }
}

/// One line, of which the level is known.
pub(super) struct Line<'l, W> {
    shared: &'l Shared<W>,
    at_once: bool,
}

impl<W: Write> Write for Line<'_, W> {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.shared.append(line, self.at_once);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.shared.flush();
        Ok(())
    }
}

impl<'l, W: Write + 'l> MakeWriter<'l> for Lines<W> {
    type Writer = Line<'l, W>;

    fn make_writer(&'l self) -> Line<'l, W> {
        Line {
            shared: &self.shared,
            at_once: true,
        }
    }

    fn make_writer_for(&'l self, about: &Metadata<'_>) -> Line<'l, W> {
        Line {
            shared: &self.shared,
            at_once: *about.level() <= Level::WARN,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Receiver, Sender, channel};

    use super::*;

    /// Passes on what is written at a time.
    struct Writes(Sender<String>);

    impl Write for Writes {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            self.0.send(text).map_err(io::Error::other)?;
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn lines() -> (Lines<Writes>, End<Writes>, Receiver<String>) {
        let (sender, writes) = channel();
        let (lines, end) = Lines::new(Writes(sender)).unwrap();
        (lines, end, writes)
    }

    #[test]
    fn lines_leave_together_and_soon_without_anybody_asking() {
        let (lines, _end, writes) = lines();
        for line in ["a\n", "b\n"] {
            lines.shared.append(line.as_bytes(), false);
        }
        let mut written = writes.recv().unwrap();
        if written != "a\nb\n" {
            written += &writes.recv().unwrap();
        }
        assert_eq!(written, "a\nb\n");
        lines.shared.append(b"c\n", false);
        assert_eq!(writes.recv().unwrap(), "c\n");
    }

    #[test]
    fn a_warning_takes_the_lines_before_it_along() {
        let (lines, end, writes) = lines();
        lines.shared.append(b"a\n", false);
        lines.shared.append(b"warning\n", true);
        drop(end);
        let written: String = writes.try_iter().collect();
        assert_eq!(written, "a\nwarning\n");
    }

    #[test]
    fn at_the_end_nothing_is_left_and_later_lines_leave_at_once() {
        let (lines, end, writes) = lines();
        lines.shared.append(b"last\n", false);
        drop(end);
        assert_eq!(writes.try_iter().collect::<String>(), "last\n");
        lines.shared.append(b"late\n", false);
        assert_eq!(writes.try_iter().collect::<String>(), "late\n");
    }

    #[test]
    fn more_than_enough_is_not_kept_waiting() {
        let (lines, end, writes) = lines();
        let line = [b'x'; 1 << 10];
        for _ in 0..100 {
            lines.shared.append(&line, false);
        }
        assert!(lines.shared.waiting().bytes.len() < FULL);
        drop(end);
        assert_eq!(writes.try_iter().collect::<String>().len(), 100 << 10);
    }
}
