//! The events of Anthropic Messages.

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;
use serde::Deserialize;

use super::classifier::Judge;
use super::document::Ided;
use super::json::{Object, Says, object, text, type_of};
use super::resources::is_id;
use super::usage::Tokens;
use crate::record::Usage;
use crate::resource::{Resource, ResourceKind, Resources};
use crate::stream::{Event, Meaning, Rules};
use crate::time::Instant;

/// What the API itself sends at any time.
const KEEP_ALIVE: &[u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

/// This type of error makes clients try again.
const CLOSING: &[u8] = b"event: error\n\
    data: {\"type\":\"error\",\"error\":{\"type\":\"overloaded_error\",\"message\":\"Stream interrupted\"}}\n\n";

/// The rules of one Messages stream. Its events are told apart by their names.
#[derive(Clone)]
pub(super) struct Anthropic {
    judge: Judge,
    tokens: Tokens,
    ended: bool,
    made: Resources,
}

impl From<Judge> for Anthropic {
    fn from(judge: Judge) -> Self {
        Self {
            judge,
            tokens: Tokens::default(),
            ended: false,
            made: Resources::new(),
        }
    }
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Start<'a> {
    #[serde(borrow)]
    message: Object<Message<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Message<'a> {
    usage: Object<Tokens>,
    #[serde(borrow)]
    container: Object<Ided<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Block {
    content_block: Says,
    delta: Says,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct MessageDelta<'a> {
    #[serde(borrow)]
    delta: Object<Delta<'a>>,
    usage: Object<Tokens>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Delta<'a> {
    #[serde(borrow, deserialize_with = "text")]
    stop_reason: Option<Cow<'a, str>>,
    #[serde(borrow)]
    container: Object<Ided<'a>>,
}

impl Anthropic {
    fn note_container(&mut self, container: Object<Ided<'_>>) {
        if let Some(id) = container.0.id.filter(|id| is_id(id)) {
            self.made.push(Resource::new(ResourceKind::Container, &id));
        }
    }
}

impl Rules for Anthropic {
    fn read(&mut self, event: &Event<'_>, held: bool, now: Instant) -> Meaning {
        let Some(data) = event.data.as_deref() else {
            return self.judge.odd(event.raw, now);
        };
        let kind;
        let name = match event.name {
            b"" | b"message" => {
                kind = type_of(data);
                kind.as_bytes()
            }
            name => name,
        };
        match name {
            b"ping" | b"content_block_stop" => Meaning::Preamble,
            b"message_start" => {
                if let Some(start) = object::<Start<'_>>(data) {
                    let message = start.message.0;
                    // The output of the start is a placeholder.
                    self.tokens = message.usage.0.without_output();
                    self.note_container(message.container);
                }
                Meaning::Preamble
            }
            b"content_block_start" | b"content_block_delta" if held => {
                match object::<Block>(data) {
                    Some(Block {
                        content_block: Says(false),
                        delta: Says(false),
                    }) => Meaning::Preamble,
                    _ => Meaning::Output,
                }
            }
            b"message_delta" => {
                if let Some(delta) = object::<MessageDelta<'_>>(data) {
                    self.tokens = self.tokens.updated(delta.usage.0);
                    self.ended |= delta.delta.0.stop_reason.is_some();
                    self.note_container(delta.delta.0.container);
                }
                Meaning::Output
            }
            b"message_stop" => {
                self.ended = true;
                Meaning::End
            }
            b"error" if event.name == name => Meaning::Failed(self.judge.error(data, now)),
            // Clients skip what has no name.
            _ if event.name != name => self.judge.odd(data, now),
            _ => Meaning::Output,
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

    fn made(&mut self) -> Resources {
        mem::take(&mut self.made)
    }
}
