//! The events of Gemini.

use std::borrow::Cow;

use super::classifier::Judge;
use super::json::{object, says};
use super::reader::{Malformed, Manner, Object, Reader, Result};
use super::usage::Tokens;
use crate::record::Usage;
use crate::stream::{Event, Meaning, Rules};
use crate::time::Instant;
use bytes::Bytes;

/// A blank line: Google's SDK for Python takes a comment for an error.
const KEEP_ALIVE: &[u8] = b"\r\n";

const CLOSING: &[u8] = b"data: {\"error\":{\"code\":503,\"status\":\"UNAVAILABLE\",\
    \"message\":\"Stream interrupted\"}}\r\n\r\n";

/// The rules of one Gemini stream. It has no end marker: it is whole once a reason to finish
/// came. Its chunks are few and large, and nearly each of them counts tokens, so all are parsed.
#[derive(Clone)]
pub(super) struct Gemini {
    judge: Judge,
    tokens: Tokens,
    ended: bool,
}

impl From<Judge> for Gemini {
    fn from(judge: Judge) -> Self {
        Self {
            judge,
            tokens: Tokens::default(),
            ended: false,
        }
    }
}

#[derive(Default)]
struct Chunk<'a> {
    error: bool,
    candidates: Option<Candidates>,
    block_reason: Option<Cow<'a, str>>,
    usage_metadata: Option<Tokens>,
}

impl<'a> Object<'a> for Chunk<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"error" => self.error = value.truthy()?,
            b"candidates" => self.candidates = value.unless_null(Candidates::read)?,
            b"promptFeedback" => self.block_reason = value.text_of_member(b"blockReason")?,
            b"usageMetadata" => {
                let usage =
                    |value: &mut Reader<'a, M>| value.object().map(Option::unwrap_or_default);
                self.usage_metadata = value.unless_null(usage)?;
            }
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Candidate<'a> {
    output: bool,
    finish_reason: Option<Cow<'a, str>>,
}

impl<'a> Object<'a> for Candidate<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"content" => self.output = value.object::<Content>()?.unwrap_or_default().says,
            b"finishReason" => self.finish_reason = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Content {
    /// Whether one of its parts has content.
    says: bool,
}

impl<'a> Object<'a> for Content {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"parts" => {
                self.says = false;
                value.elements(|part| {
                    self.says |= says(part)?;
                    Ok(())
                })?;
            }
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// Whether a candidate has output, and whether one finished.
#[derive(Debug, Default)]
struct Candidates {
    output: bool,
    finished: bool,
}

impl Candidates {
    fn read<'a, M: Manner<'a>>(value: &mut Reader<'a, M>) -> Result<Self> {
        let mut candidates = Self::default();
        value.elements(|candidate| {
            let candidate: Candidate<'_> = candidate.object()?.ok_or(Malformed)?;
            candidates.output |= candidate.output;
            candidates.finished |= candidate.finish_reason.is_some();
            Ok(())
        })?;
        Ok(candidates)
    }
}

impl Rules for Gemini {
    fn read(&mut self, event: &Event<'_>, _held: bool, now: Instant) -> Meaning {
        // Google itself sends errors as JSON outside of a field, which its own clients overlook.
        let Some(data) = event.data.as_deref() else {
            return self.judge.odd(event.raw, now);
        };
        let Some(chunk) = object::<Chunk<'_>>(data) else {
            return self.judge.odd(data, now);
        };
        if chunk.error {
            return Meaning::Failed(self.judge.error(data, now));
        }
        let known = chunk.usage_metadata.is_some() || chunk.candidates.is_some();
        if let Some(newer) = chunk.usage_metadata {
            self.tokens = self.tokens.updated(newer);
        }
        let output = match chunk.candidates {
            Some(candidates) => {
                self.ended |= candidates.finished;
                candidates.output
            }
            None => false,
        };
        self.ended |= chunk.block_reason.is_some();
        if output || self.ended {
            Meaning::Output
        } else if known {
            Meaning::Preamble
        } else {
            self.judge.odd(data, now)
        }
    }

    fn ended(&self) -> bool {
        self.ended
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(KEEP_ALIVE)
    }

    fn closing(&self) -> Bytes {
        Bytes::from_static(CLOSING)
    }

    fn usage(&self) -> Option<Usage> {
        self.tokens.usage()
    }
}
