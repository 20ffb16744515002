//! Server-sent events in the frames of a body.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt;
use std::mem;
use std::ops::Range;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;
use smallvec::SmallVec;

use super::scan::Scan;

/// How many bytes an event may have that is cut by frames: 8 MiB. It has to be in memory as a
/// whole; one that never ends must not fill it.
const LONGEST_CUT: usize = 8 * 1024 * 1024;

/// Of so many lines of an event the places are kept, to read it without a second search. Few
/// events have more than two.
const LINES: usize = 4;

/// Cuts a stream of server-sent events into events, and gives out the bytes of those that may
/// pass, unchanged.
///
/// Nothing is copied but an event that is cut by frames; events that follow each other in a
/// frame go out as one slice of it. The work is proportional to the bytes, however they are cut.
pub struct Framer {
    /// A frame, or one event that was cut by frames.
    current: Bytes,
    /// The frame after the event in `current`, if that was cut.
    rest: Bytes,
    /// The bytes of `current` that may pass and were not given out.
    passed: Range<usize>,
    /// The event in `current` that was last returned.
    event: Range<usize>,
    /// Where its first lines are, if it is not one that was cut.
    lines: SmallVec<[Range<usize>; LINES]>,
    /// The beginning of the event that is cut.
    cut: BytesMut,
    scan: Scan,
    longest_cut: usize,
    begun: bool,
    out: VecDeque<Bytes>,
}

/// One event, or the lines between two blank lines that are none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Its bytes as they came, with comments and the blank line.
    pub raw: &'a [u8],
    /// Its name; empty if it has none.
    pub name: &'a [u8],
    /// Its data, several lines of it joined; `None` if it has no such line.
    pub data: Option<Cow<'a, [u8]>>,
}

/// An event that does not end: what came of it is larger than may be kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is longer than {LONGEST_CUT} bytes")]
pub struct TooLong(());

impl Framer {
    /// A framer at the beginning of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            current: Bytes::new(),
            rest: Bytes::new(),
            passed: 0..0,
            event: 0..0,
            lines: SmallVec::new(),
            cut: BytesMut::new(),
            scan: Scan::new(),
            longest_cut: LONGEST_CUT,
            begun: false,
            out: VecDeque::new(),
        }
    }

    /// Takes the next frame. To be called when [`next`](Self::next) has returned `None`.
    pub fn push(&mut self, frame: Bytes) {
        debug_assert!(self.current.is_empty() && self.rest.is_empty());
        self.current = frame;
    }

    /// The next whole event; `None` if there is none before the next frame.
    ///
    /// # Errors
    ///
    /// [`TooLong`] if 8 MiB of an event have come in several frames and it has not ended.
    #[expect(
        clippy::should_implement_trait,
        reason = "an iterator cannot lend its items"
    )]
    pub fn next(&mut self) -> Result<Option<Event<'_>>, TooLong> {
        loop {
            let from = self.event.end;
            self.lines.clear();
            let found = self.scan.find(&self.current[from..], |line| {
                if self.lines.len() < LINES {
                    self.lines.push(from + line.start..from + line.end);
                }
            });
            match found {
                Some(len) if self.cut.is_empty() => self.event = from..from + len,
                Some(len) => {
                    self.cut.extend_from_slice(&self.current[..len]);
                    self.rest = self.current.split_off(len);
                    self.current = self.cut.split().freeze();
                    self.event = 0..self.current.len();
                    self.lines.clear();
                }
                None => {
                    self.next_frame();
                    if self.cut.len() > self.longest_cut {
                        return Err(TooLong(()));
                    }
                    if self.current.is_empty() {
                        return Ok(None);
                    }
                    continue;
                }
            }
            return Ok(Some(self.view()));
        }
    }

    /// Goes on to what follows `current`, of which no further event is to be had.
    fn next_frame(&mut self) {
        if self.passed.len() < self.current.len() {
            self.flush();
            self.cut.extend_from_slice(&self.current[self.event.end..]);
            self.current.clear();
        }
        let current = mem::replace(&mut self.current, mem::take(&mut self.rest));
        if !current.is_empty() {
            self.out.push_back(current);
        }
        self.event = 0..0;
        self.passed = 0..0;
    }

    /// What is left at the end of the stream: the tail of an event that was cut, read as if it
    /// were whole. Clients drop it, and it cannot pass.
    #[must_use]
    pub fn tail(&self) -> Option<Event<'_>> {
        (!self.cut.is_empty()).then(|| Event::parse(&self.cut, !self.begun))
    }

    /// Lets the event pass that was last returned.
    pub fn pass(&mut self) {
        if self.passed.end != self.event.start {
            self.flush();
            self.passed.start = self.event.start;
        }
        self.passed.end = self.event.end;
    }

    /// Lets `other` pass in the place of the event that was last returned.
    pub fn replace(&mut self, other: Bytes) {
        self.flush();
        self.out.push_back(other);
    }

    /// The next bytes that may pass.
    pub fn take(&mut self) -> Option<Bytes> {
        self.flush();
        self.out.pop_front()
    }

    fn flush(&mut self) {
        if !self.passed.is_empty() {
            self.out.push_back(self.current.slice(self.passed.clone()));
            self.passed.start = self.passed.end;
        }
    }

    fn view(&mut self) -> Event<'_> {
        let raw = &self.current[self.event.clone()];
        let first = !mem::replace(&mut self.begun, true);
        if first || self.lines.is_empty() || self.lines.len() == LINES {
            return Event::parse(raw, first);
        }
        let mut event = Event::of(raw);
        for line in &self.lines {
            event.read(&self.current[line.clone()]);
        }
        event
    }
}

impl Default for Framer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Framer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Framer")
            .field("scan", &self.scan)
            .finish_non_exhaustive()
    }
}

impl<'a> Event<'a> {
    const fn of(raw: &'a [u8]) -> Self {
        Self {
            raw,
            name: b"",
            data: None,
        }
    }

    fn read(&mut self, line: &'a [u8]) {
        if let Some(value) = field(line, b"data") {
            self.add(value);
        } else if let Some(value) = field(line, b"event") {
            self.name = value;
        }
    }

    /// Reads the fields of one event. A byte order mark is skipped if the event is the `first`
    /// of its stream.
    fn parse(raw: &'a [u8], first: bool) -> Self {
        let mut event = Self::of(raw);
        let mut rest = raw;
        if first {
            rest = rest.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(rest);
        }
        while !rest.is_empty() {
            let end = memchr2(b'\n', b'\r', rest).unwrap_or(rest.len());
            event.read(&rest[..end]);
            // The LF of a CRLF reads as one more blank line, which means nothing here.
            rest = rest.get(end + 1..).unwrap_or_default();
        }
        event
    }

    fn add(&mut self, line: &'a [u8]) {
        self.data = Some(match self.data.take() {
            None => Cow::Borrowed(line),
            Some(data) => {
                let mut data = data.into_owned();
                data.push(b'\n');
                data.extend_from_slice(line);
                Cow::Owned(data)
            }
        });
    }

    /// The data; empty if there is none.
    #[must_use]
    pub fn data(&self) -> &[u8] {
        self.data.as_deref().unwrap_or_default()
    }
}

/// The value of the field `name`, if `line` is such a one.
fn field<'a>(line: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    match line.strip_prefix(name)? {
        [] => Some(b""),
        [b':', b' ', value @ ..] | [b':', value @ ..] => Some(value),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    type Owned = (Vec<u8>, Vec<u8>, Option<Vec<u8>>);

    /// The events of `chunks`, and what passes if all of them may.
    fn events(chunks: &[&[u8]]) -> (Vec<Owned>, Vec<Bytes>) {
        let mut framer = Framer::new();
        let mut events = Vec::new();
        let mut passed = Vec::new();
        let own = |event: Event<'_>| {
            let data = event.data.as_ref().map(|data| data.to_vec());
            (event.raw.to_vec(), event.name.to_vec(), data)
        };
        for chunk in chunks {
            framer.push(Bytes::copy_from_slice(chunk));
            while let Some(event) = framer.next().unwrap() {
                events.push(own(event));
                framer.pass();
            }
            passed.extend(std::iter::from_fn(|| framer.take()));
        }
        (events, passed)
    }

    fn parsed(input: &[u8]) -> Vec<(String, Option<String>)> {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        let (events, _) = events(&[input]);
        events
            .into_iter()
            .map(|(_, name, data)| (text(name), data.map(text)))
            .collect()
    }

    #[test]
    fn lines_end_with_lf_crlf_or_cr() {
        for end in ["\n", "\r\n", "\r"] {
            let input = "event: a\ndata: 1\n\ndata:2\ndata\ndata:  3\nid: 7\n\n".replace('\n', end);
            let expected = [
                ("a".to_owned(), Some("1".to_owned())),
                (String::new(), Some("2\n\n 3".to_owned())),
            ];
            assert_eq!(parsed(input.as_bytes()), expected, "{end:?}");
        }
    }

    #[test]
    fn comments_and_blank_lines_pass_and_are_no_events() {
        let input = b"\xEF\xBB\xBF: hello\n\n\r\ndata: x\n\n";
        let (found, passed) = events(&[input]);
        let data: Vec<_> = found.iter().map(|(_, _, data)| data.as_deref()).collect();
        assert_eq!(data, [None, None, Some(&b"x"[..])]);
        assert_eq!(passed.concat(), input);
    }

    #[test]
    fn a_byte_order_mark_is_skipped_at_the_start_alone() {
        let mark = "\u{feff}data: x\n\n";
        assert_eq!(parsed(mark.as_bytes())[0].1.as_deref(), Some("x"));
        assert_eq!(parsed(format!("\n{mark}").as_bytes())[1].1, None);
    }

    #[test]
    fn events_of_one_frame_go_out_as_one_slice_of_it() {
        let frame = Bytes::from("data: 1\n\ndata: 2\n\n: c\n\ndata: 3");
        let mut framer = Framer::new();
        framer.push(frame.clone());
        while framer.next().unwrap().is_some() {
            framer.pass();
        }
        let out = framer.take().unwrap();
        assert_eq!(out, "data: 1\n\ndata: 2\n\n: c\n\n");
        assert_eq!(out.as_ptr(), frame.as_ptr());
        assert_eq!(framer.take(), None);
    }

    #[test]
    fn an_event_that_may_not_pass_is_left_out() {
        let mut framer = Framer::new();
        framer.push(Bytes::from("data: 1\n\ndata: 2\n\ndata: 3\n\n"));
        while let Some(event) = framer.next().unwrap() {
            if event.data() != b"2" {
                framer.pass();
            }
        }
        let out: Vec<_> = std::iter::from_fn(|| framer.take()).collect();
        assert_eq!(out, ["data: 1\n\n", "data: 3\n\n"]);
    }

    #[test]
    fn an_event_of_lone_crs_need_not_wait_for_the_next() {
        let mut framer = Framer::new();
        framer.push(Bytes::from("data: 1\r\r"));
        assert_eq!(framer.next().unwrap().unwrap().data(), b"1");
    }

    #[test]
    fn an_event_that_never_ends_is_a_failure() {
        let mut framer = Framer::new();
        framer.longest_cut = 10;
        framer.push(Bytes::from("data: 1"));
        assert_eq!(framer.next(), Ok(None));
        framer.push(Bytes::from("2345"));
        assert_eq!(framer.next(), Err(TooLong(())));
    }

    proptest! {
        // STR-05
        #[test]
        fn it_does_not_matter_how_the_bytes_are_cut(
            input in proptest::collection::vec(
                prop_oneof![
                    Just(b'\n'), Just(b'\r'), Just(b':'), Just(b' '), Just(b'd'), any::<u8>(),
                ],
                0..60,
            ),
            lines in proptest::collection::vec(
                prop_oneof![
                    Just("data: x"), Just("data:"), Just("event: e"), Just(""), Just(": c"),
                    Just("data: \u{1F600}"),
                ],
                0..12,
            ),
            ends in proptest::collection::vec(
                prop_oneof![Just("\n"), Just("\r"), Just("\r\n")],
                12,
            ),
            cuts in proptest::collection::vec(0_usize..200, 0..12),
        ) {
            let mut input = input;
            for (line, end) in lines.iter().zip(&ends) {
                input.extend_from_slice(line.as_bytes());
                input.extend_from_slice(end.as_bytes());
            }
            let mut cuts: Vec<_> = cuts.into_iter().map(|cut| cut.min(input.len())).collect();
            cuts.extend([0, input.len()]);
            cuts.sort_unstable();
            let chunks: Vec<_> = cuts.windows(2).map(|cut| &input[cut[0]..cut[1]]).collect();

            let (whole, _) = events(&[&input]);
            let (split, passed) = events(&chunks);
            prop_assert_eq!(&split, &whole);
            let raw: Vec<u8> = whole.iter().flat_map(|(raw, ..)| raw.clone()).collect();
            prop_assert_eq!(passed.concat(), &raw[..]);
            prop_assert!(input.starts_with(&raw));

            let bytes: Vec<_> = input.chunks(1).collect();
            prop_assert_eq!(&events(&bytes).0, &whole);
        }
    }
}
