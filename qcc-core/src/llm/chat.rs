//! The events of OpenAI Chat Completions.

use std::borrow::Cow;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;

use super::COMMENT;
use super::classifier::Judge;
use super::json::{each_value, object, says};
use super::reader::{Malformed, Manner, Object, Reader, Result};
use super::usage::Tokens;
use crate::record::Usage;
use crate::stream::{Event, Meaning, Rules, stopped};
use crate::time::Instant;

const CLOSING: &[u8] = b"data: {\"error\":{\"type\":\"server_error\",\
    \"code\":\"upstream_stream_interrupted\",\"message\":\"Stream interrupted\"}}\n\n";

static ERROR: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"error\""));
static FINISH_REASON: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new("\"finish_reason\""));
static INDEX: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"index\""));
static USAGE: LazyLock<Finder<'static>> = LazyLock::new(|| Finder::new("\"usage\""));

/// The rules of one Chat stream. Its chunks have no names, so most are told by a look at a few
/// of their members.
#[derive(Clone)]
pub(super) struct Chat {
    judge: Judge,
    tokens: Tokens,
    choices: Choices,
}

impl From<Judge> for Chat {
    fn from(judge: Judge) -> Self {
        Self {
            judge,
            tokens: Tokens::default(),
            choices: Choices::default(),
        }
    }
}

#[derive(Default)]
struct Chunk {
    error: bool,
    choices: Option<Choices>,
    usage: Tokens,
}

impl<'a> Object<'a> for Chunk {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"error" => self.error = value.truthy()?,
            b"choices" => self.choices = value.unless_null(Choices::read)?,
            b"usage" => self.usage = value.object()?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Choice<'a> {
    index: Option<u64>,
    finish_reason: Option<Cow<'a, str>>,
    delta: bool,
    message: bool,
    text: bool,
}

impl<'a> Object<'a> for Choice<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"index" => self.index = value.count()?,
            b"finish_reason" => self.finish_reason = value.text()?,
            b"delta" => self.delta = says(value)?,
            b"message" => self.message = says(value)?,
            b"text" => self.text = value.truthy()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// The choices that were seen. A bit stands for an index, the last for all from 63 on.
#[derive(Clone, Copy, Debug, Default)]
struct Choices {
    seen: u64,
    finished: u64,
    output: bool,
    /// Whether one finished with an error.
    failed: bool,
}

impl Choices {
    fn read<'a, M: Manner<'a>>(value: &mut Reader<'a, M>) -> Result<Self> {
        let mut choices = Self::default();
        value.elements(|choice| {
            choices.add(choice.object()?.ok_or(Malformed)?);
            Ok(())
        })?;
        Ok(choices)
    }

    fn add(&mut self, choice: Choice<'_>) {
        let bit = 1 << choice.index.unwrap_or(0).min(63);
        self.seen |= bit;
        self.output |= choice.delta || choice.message || choice.text;
        if let Some(reason) = choice.finish_reason {
            self.finished |= bit;
            self.output = true;
            self.failed |= reason == "error";
        }
    }
}

impl Rules for Chat {
    fn read(&mut self, event: &Event<'_>, held: bool, now: Instant) -> Meaning {
        let Some(data) = event.data.as_deref() else {
            return self.judge.odd(event.raw, now);
        };
        if data.trim_ascii() == b"[DONE]" {
            return if self.ended() {
                Meaning::End
            } else {
                Meaning::Cut(stopped(held))
            };
        }
        let named_error = event.name == b"error";
        if !held && !named_error && is_plain(data) {
            self.choices.seen |= 1;
            return Meaning::Output;
        }
        let Some(chunk) = object::<Chunk>(data) else {
            return self.judge.odd(data, now);
        };
        if chunk.error {
            return Meaning::Failed(self.judge.error(data, now));
        }
        if named_error {
            // Clients look for a member `error`, not at the name.
            return Meaning::Cut(self.judge.error(data, now));
        }
        let Some(choices) = chunk.choices else {
            return self.judge.odd(data, now);
        };
        if choices.failed {
            // Clients take this for an ordinary end.
            return Meaning::Cut(self.judge.error(data, now));
        }
        self.tokens = self.tokens.updated(chunk.usage);
        self.choices.seen |= choices.seen;
        self.choices.finished |= choices.finished;
        if choices.output {
            Meaning::Output
        } else {
            Meaning::Preamble
        }
    }

    fn ended(&self) -> bool {
        self.choices.seen != 0 && self.choices.seen == self.choices.finished
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(COMMENT)
    }

    fn closing(&self) -> Bytes {
        Bytes::from_static(CLOSING)
    }

    fn usage(&self) -> Option<Usage> {
        self.tokens.usage()
    }
}

/// Whether a chunk holds nothing but output of the first choice.
fn is_plain(chunk: &[u8]) -> bool {
    let null = |value: &[u8]| value.starts_with(b"null");
    let zero = |value: &[u8]| matches!(value, [b'0', after, ..] if !after.is_ascii_digit());
    each_value(chunk, &INDEX, zero)
        && each_value(chunk, &FINISH_REASON, null)
        && each_value(chunk, &USAGE, null)
        && each_value(chunk, &ERROR, null)
}
