//! The events of Anthropic Messages.

use std::borrow::Cow;
use std::mem;

use bytes::Bytes;

use super::classifier::Judge;
use super::json::{object, says, type_of};
use super::reader::{Manner, Object, Reader, Result};
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

#[derive(Default)]
struct Start<'a> {
    message: Message<'a>,
}

impl<'a> Object<'a> for Start<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"message" => self.message = value.object()?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Message<'a> {
    usage: Tokens,
    container: Option<Cow<'a, str>>,
}

impl<'a> Object<'a> for Message<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"usage" => self.usage = value.object()?.unwrap_or_default(),
            b"container" => self.container = value.text_of_member(b"id")?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Block {
    /// Whether it has content.
    says: bool,
}

impl<'a> Object<'a> for Block {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"content_block" | b"delta" => self.says |= says(value)?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct MessageDelta<'a> {
    delta: Delta<'a>,
    usage: Tokens,
}

impl<'a> Object<'a> for MessageDelta<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"delta" => self.delta = value.object()?.unwrap_or_default(),
            b"usage" => self.usage = value.object()?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Delta<'a> {
    stop_reason: Option<Cow<'a, str>>,
    container: Option<Cow<'a, str>>,
}

impl<'a> Object<'a> for Delta<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"stop_reason" => self.stop_reason = value.text()?,
            b"container" => self.container = value.text_of_member(b"id")?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl Anthropic {
    fn note_container(&mut self, container: Option<Cow<'_, str>>) {
        if let Some(id) = container.filter(|id| is_id(id)) {
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
                    let message = start.message;
                    // The output of the start is a placeholder.
                    self.tokens = message.usage.without_output();
                    self.note_container(message.container);
                }
                Meaning::Preamble
            }
            b"content_block_start" | b"content_block_delta" if held => {
                match object::<Block>(data) {
                    Some(Block { says: false }) => Meaning::Preamble,
                    _ => Meaning::Output,
                }
            }
            b"message_delta" => {
                if let Some(delta) = object::<MessageDelta<'_>>(data) {
                    self.tokens = self.tokens.updated(delta.usage);
                    self.ended |= delta.delta.stop_reason.is_some();
                    self.note_container(delta.delta.container);
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
