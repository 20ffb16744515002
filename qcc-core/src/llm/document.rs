//! JSON answers: one document, held until it is complete.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::mem;

use bytes::{Bytes, BytesMut};

use super::classifier::Judge;
use super::json::object;
use super::nesting::{Nesting, elements};
use super::reader::{Manner, Object, Reader, Result, whole};
use super::usage::Tokens;
use crate::classify::{Hold, Progress, Watch};
use crate::failure::{Kind, Verdict};
use crate::record::Usage;
use crate::resource::Resources;
use crate::time::Instant;

/// What closes an array of Gemini's that is streamed without events.
const GEMINI_CLOSING: &str = concat!(
    r#"{"error":{"code":503,"status":"UNAVAILABLE","message":"Stream interrupted"}}"#,
    "]"
);

/// Watches one JSON document. It is judged when it is complete. One that grows past its limit
/// goes on as it comes, and from then on only its end is looked for.
pub(super) struct Document {
    judge: Judge,
    hold: Hold,
    /// What is held; once committed, the element of an array that has not ended.
    held: VecDeque<Bytes>,
    out: VecDeque<Bytes>,
    committed: bool,
    nesting: Nesting,
    /// Whether an element of an array has gone out.
    begun: bool,
    broken: Option<Verdict>,
    usage: Option<Usage>,
    made: Resources,
}

impl Document {
    pub(super) fn new(judge: Judge, hold: Hold) -> Self {
        Self {
            judge,
            hold,
            held: VecDeque::new(),
            out: VecDeque::new(),
            committed: false,
            nesting: Nesting::default(),
            begun: false,
            broken: None,
            usage: None,
            made: Resources::new(),
        }
    }

    /// Passes on a piece of a document that is too long to be held. Of an array only whole
    /// elements go out, so that it can be closed behind any of them.
    fn pass(&mut self, piece: Bytes) {
        let mut piece = piece;
        let mut whole = 0;
        while let Some(end) = self.nesting.element(&piece[whole..]) {
            whole += end;
        }
        if !self.nesting.is_array() || self.nesting.ended() {
            whole = piece.len();
        }
        if whole > 0 {
            self.begun = true;
            self.out.append(&mut self.held);
            self.out.push_back(piece.split_to(whole));
        }
        if !piece.is_empty() {
            self.held.push_back(piece);
        }
    }

    /// The whole document in one piece.
    fn join(&mut self) -> Bytes {
        let mut held = mem::take(&mut self.held);
        if held.len() == 1 {
            return held.pop_front().unwrap_or_default();
        }
        let mut whole = BytesMut::with_capacity(held.iter().map(Bytes::len).sum());
        held.iter().for_each(|piece| whole.extend_from_slice(piece));
        whole.freeze()
    }
}

impl Watch for Document {
    fn data(&mut self, data: Bytes, _now: Instant) -> Progress {
        if self.committed {
            self.pass(data);
        } else {
            self.held.push_back(data);
        }
        Progress::More
    }

    fn end(&mut self, now: Instant) -> Result<(), Verdict> {
        if let Some(verdict) = self.broken {
            return Err(verdict);
        }
        if self.committed {
            return if self.nesting.ended() {
                Ok(())
            } else {
                Err(Verdict::new(Kind::Transport))
            };
        }
        let whole = self.join();
        let verdict = match examine(&whole) {
            Finding::Answer(told) => {
                self.usage = told.usage;
                self.made = self.judge.made(&told, &whole);
                self.committed = true;
                self.out.push_back(whole);
                return Ok(());
            }
            Finding::Error(error) => self.judge.error(error, now),
            Finding::Garbage => Verdict::new(Kind::Unknown),
        };
        self.broken = Some(verdict);
        let redacted = self.judge.credential.as_ref();
        let redacted = redacted.and_then(|credential| credential.redact(&whole));
        self.out.push_back(redacted.unwrap_or(whole));
        Err(verdict)
    }

    fn commit(&mut self) {
        if !mem::replace(&mut self.committed, true) {
            for piece in mem::take(&mut self.held) {
                self.pass(piece);
            }
        }
    }

    fn release(&mut self) -> Option<Bytes> {
        if self.committed {
            self.out.pop_front()
        } else {
            None
        }
    }

    fn closing(&mut self) -> Option<Bytes> {
        let open = self.nesting.is_array() && !self.nesting.ended();
        open.then(|| match self.begun {
            true => Bytes::from(format!(",\n{GEMINI_CLOSING}")),
            false => Bytes::from(format!("[{GEMINI_CLOSING}")),
        })
    }

    fn hold(&self) -> Hold {
        self.hold
    }

    fn usage(&self) -> Option<Usage> {
        self.usage
    }

    fn made(&mut self) -> Resources {
        mem::take(&mut self.made)
    }
}

/// What a document is.
#[derive(Debug)]
pub(super) enum Finding<'a> {
    /// A whole answer, with what it tells.
    Answer(Told<'a>),
    /// The JSON of an error.
    Error(&'a [u8]),
    /// No JSON object and no array of them.
    Garbage,
}

/// What an answer tells beside its output.
#[derive(Debug, Default)]
pub(super) struct Told<'a> {
    /// About tokens.
    pub(super) usage: Option<Usage>,
    /// Its own id.
    pub(super) id: Option<Cow<'a, str>>,
    /// The id of the container that it was made with.
    pub(super) container: Option<Cow<'a, str>>,
}

/// Tells what `json` is, by its outermost members alone: output of a model is skipped unread.
pub(super) fn examine(json: &[u8]) -> Finding<'_> {
    let json = json.trim_ascii_start();
    match json.first() {
        Some(b'{') => match object::<Members<'_>>(json) {
            Some(members) if members.is_error() => Finding::Error(json),
            Some(members) => Finding::Answer(Told {
                usage: members.tokens.usage(),
                id: members.id,
                container: members.container,
            }),
            None => Finding::Garbage,
        },
        // Gemini streams an array where no events are asked for.
        Some(b'[') if whole(json, Reader::skip).is_ok() => {
            let mut found = Finding::Garbage;
            for element in elements(json) {
                match (examine(element), found) {
                    (Finding::Answer(Told { usage: None, .. }), Finding::Answer(told)) => {
                        found = Finding::Answer(told);
                    }
                    (Finding::Answer(told), _) => found = Finding::Answer(told),
                    (other, _) => return other,
                }
            }
            found
        }
        _ => Finding::Garbage,
    }
}

/// What the outermost members of an object say.
#[derive(Default)]
struct Members<'a> {
    error: bool,
    /// Whether there is a text that only an error without a name has there.
    message: bool,
    /// Whether there is a member that every answer has one of.
    answer: bool,
    tokens: Tokens,
    id: Option<Cow<'a, str>>,
    container: Option<Cow<'a, str>>,
}

impl Members<'_> {
    fn is_error(&self) -> bool {
        self.error || (self.message && !self.answer)
    }
}

impl<'a> Object<'a> for Members<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"type" => self.error |= value.text()?.as_deref() == Some("error"),
            b"error" => self.error |= value.truthy()?,
            b"usage" | b"usageMetadata" => self.tokens = value.object()?.unwrap_or_default(),
            b"message" | b"msg" | b"detail" => self.message |= value.truthy()?,
            b"id" => {
                self.answer = true;
                self.id = value.text()?;
            }
            b"container" => self.container = value.text_of_member(b"id")?,
            b"object" | b"content" | b"choices" | b"output" | b"candidates" => {
                self.answer = true;
                value.skip()?;
            }
            _ => value.skip()?,
        }
        Ok(())
    }
}
