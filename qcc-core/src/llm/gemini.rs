//! The events of Gemini.

use std::borrow::Cow;

use bytes::Bytes;
use serde::Deserialize;

use super::classifier::Judge;
use super::json::{Each, Gather, Object, Says, object, text, truthy};
use super::usage::Tokens;
use crate::record::Usage;
use crate::stream::{Event, Meaning, Rules};
use crate::time::Instant;

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

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Chunk<'a> {
    #[serde(deserialize_with = "truthy")]
    error: bool,
    candidates: Option<Each<Candidates>>,
    #[serde(borrow)]
    prompt_feedback: Option<Object<Feedback<'a>>>,
    usage_metadata: Option<Object<Tokens>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Feedback<'a> {
    #[serde(borrow, deserialize_with = "text")]
    block_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Candidate<'a> {
    content: Object<Content>,
    #[serde(borrow, deserialize_with = "text")]
    finish_reason: Option<Cow<'a, str>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Content {
    parts: Each<Parts>,
}

/// Whether a candidate has output, and whether one finished.
#[derive(Debug, Default)]
struct Candidates {
    output: bool,
    finished: bool,
}

impl<'de> Gather<'de> for Candidates {
    type Item = Candidate<'de>;

    fn add(&mut self, candidate: Candidate<'de>) {
        let Each(Parts(output)) = candidate.content.0.parts;
        self.output |= output;
        self.finished |= candidate.finish_reason.is_some();
    }
}

/// Whether a part has content.
#[derive(Debug, Default)]
struct Parts(bool);

impl<'de> Gather<'de> for Parts {
    type Item = Says;

    fn add(&mut self, Says(part): Says) {
        self.0 |= part;
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
        if let Some(Object(newer)) = chunk.usage_metadata {
            self.tokens = self.tokens.updated(newer);
        }
        let output = match chunk.candidates {
            Some(Each(candidates)) => {
                self.ended |= candidates.finished;
                candidates.output
            }
            None => false,
        };
        let feedback = chunk.prompt_feedback.unwrap_or_default().0;
        self.ended |= feedback.block_reason.is_some();
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
