//! The events of OpenAI Responses.

use std::borrow::Cow;
use std::mem;
use std::sync::LazyLock;

use bytes::Bytes;
use memchr::memmem::Finder;
use serde::Serialize;

use super::COMMENT;
use super::classifier::Judge;
use super::json::{number_after, object, says, type_of};
use super::reader::{Manner, Object, Reader, Result};
use super::resources::is_id;
use super::usage::Tokens;
use crate::failure::{Blame, Verdict};
use crate::record::Usage;
use crate::resource::{Resource, ResourceKind, Resources};
use crate::stream::{Event, Meaning, Rules, stopped};
use crate::time::Instant;

static SEQUENCE_NUMBER: LazyLock<Finder<'static>> =
    LazyLock::new(|| Finder::new("\"sequence_number\""));

const CODE: &str = "server_error";
const MESSAGE: &str = "Stream interrupted";

/// The rules of one Responses stream. Its events are told apart by their names, which their data
/// repeat as `type`.
#[derive(Clone)]
pub(super) struct Responses {
    judge: Judge,
    tokens: Tokens,
    /// What the closing events have to repeat; `None` until the upstream has said it.
    response: Option<Box<Identity>>,
    /// The next sequence number.
    next: u64,
    ended: bool,
    /// What the upstream said in an event that clients overlook.
    overlooked: Option<Box<Cause<'static>>>,
    made: Resources,
}

impl From<Judge> for Responses {
    fn from(judge: Judge) -> Self {
        Self {
            judge,
            tokens: Tokens::default(),
            response: None,
            next: 0,
            ended: false,
            overlooked: None,
            made: Resources::new(),
        }
    }
}

#[derive(Clone)]
struct Identity {
    id: String,
    created_at: u64,
    model: Option<String>,
}

#[derive(Default)]
struct Lifecycle<'a> {
    response: Response<'a>,
}

impl<'a> Object<'a> for Lifecycle<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"response" => self.response = value.object()?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Response<'a> {
    id: Option<Cow<'a, str>>,
    created_at: Option<u64>,
    model: Option<Cow<'a, str>>,
    error: Cause<'a>,
    usage: Tokens,
}

impl<'a> Object<'a> for Response<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"id" => self.id = value.text()?,
            b"created_at" => self.created_at = value.count()?,
            b"model" => self.model = value.text()?,
            b"error" => self.error = value.object()?.unwrap_or_default(),
            b"usage" => self.usage = value.object()?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// The error event in both its forms: with the error inside, and flat.
#[derive(Default)]
struct ErrorEvent<'a> {
    error: bool,
    code: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
}

impl<'a> Object<'a> for ErrorEvent<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"error" => self.error = value.truthy()?,
            b"code" => self.code = value.text()?,
            b"message" => self.message = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Piece<'a> {
    item: Item<'a>,
    part: bool,
    delta: bool,
}

impl<'a> Object<'a> for Piece<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"item" => self.item = value.object()?.unwrap_or_default(),
            b"part" => self.part = says(value)?,
            b"delta" => self.delta = value.truthy()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct Item<'a> {
    r#type: Option<Cow<'a, str>>,
    content: bool,
    summary: bool,
    container_id: Option<Cow<'a, str>>,
}

impl<'a> Object<'a> for Item<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"type" => self.r#type = value.text()?,
            b"content" => self.content = value.truthy()?,
            b"summary" => self.summary = value.truthy()?,
            b"container_id" => self.container_id = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

/// What an upstream says about its failure.
#[derive(Clone, Default, Serialize)]
struct Cause<'a> {
    code: Option<Cow<'a, str>>,
    message: Option<Cow<'a, str>>,
}

/// A cause in the one form that errors under a status have.
#[derive(Serialize)]
struct Wrapped<'a> {
    error: &'a Cause<'a>,
}

impl<'a> Object<'a> for Cause<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"code" => self.code = value.text()?,
            b"message" => self.message = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl Cause<'_> {
    fn into_owned(self) -> Cause<'static> {
        Cause {
            code: self.code.map(|code| code.into_owned().into()),
            message: self.message.map(|message| message.into_owned().into()),
        }
    }

    /// The error event with this cause. SDKs notice the one with the error inside alone.
    fn event(&self, sequence_number: u64) -> String {
        let code = quoted(self.code.as_deref().unwrap_or(CODE));
        let message = quoted(self.message.as_deref().unwrap_or(MESSAGE));
        format!(
            "event: error\n\
             data: {{\"type\":\"error\",\"sequence_number\":{sequence_number},\"code\":{code},\
             \"message\":{message},\"param\":null,\"error\":{{\"type\":{code},\"code\":{code},\
             \"message\":{message},\"param\":null}}}}\n\n"
        )
    }
}

impl Responses {
    /// A failure with a cause that clients overlook where it stands.
    fn overlooked(&mut self, data: &[u8], cause: Cause<'_>, now: Instant) -> Meaning {
        let wrapped = serde_json::to_vec(&Wrapped { error: &cause });
        let known = cause.code.is_some() || cause.message.is_some();
        let verdict = match &wrapped {
            Ok(error) if known => self.judge.error(error, now),
            _ => self.judge.error(data, now),
        };
        self.overlooked = Some(Box::new(cause.into_owned()));
        Meaning::Failed(verdict)
    }

    /// Notes the container in which an item is made, and says whether there is one.
    fn note_container(&mut self, data: &[u8]) -> bool {
        let item = object::<Piece<'_>>(data).unwrap_or_default().item;
        let container = item.container_id.filter(|id| is_id(id));
        if let Some(id) = &container {
            self.made.push(Resource::new(ResourceKind::Container, id));
        }
        container.is_some()
    }

    fn begin(&mut self, response: Response<'_>) {
        if let Some(id) = response.id {
            if self.judge.makes() == Some(ResourceKind::Response) && is_id(&id) {
                self.made.push(Resource::new(ResourceKind::Response, &id));
            }
            self.response = Some(Box::new(Identity {
                id: id.into_owned(),
                created_at: response.created_at.unwrap_or(0),
                model: response.model.map(Cow::into_owned),
            }));
        }
    }
}

impl Rules for Responses {
    fn read(&mut self, event: &Event<'_>, held: bool, now: Instant) -> Meaning {
        let Some(data) = event.data.as_deref() else {
            return self.judge.odd(event.raw, now);
        };
        let number = number_after(data, &SEQUENCE_NUMBER).unwrap_or(self.next);
        self.next = number.saturating_add(1);
        let kind;
        let name = match event.name {
            b"" | b"message" => {
                kind = type_of(data);
                kind.as_bytes()
            }
            name => name,
        };
        match name {
            b"response.created" | b"response.queued" | b"response.in_progress" => {
                if self.response.is_none() {
                    self.begin(object::<Lifecycle<'_>>(data).unwrap_or_default().response);
                }
                Meaning::Preamble
            }
            b"response.completed" | b"response.incomplete" => {
                let last = object::<Lifecycle<'_>>(data).unwrap_or_default().response;
                self.tokens = last.usage;
                self.ended = true;
                Meaning::End
            }
            b"response.failed" => {
                let last = object::<Lifecycle<'_>>(data).unwrap_or_default().response;
                self.tokens = last.usage;
                self.overlooked(data, last.error, now)
            }
            b"error" => {
                let error = object::<ErrorEvent<'_>>(data).unwrap_or_default();
                if error.error {
                    return Meaning::Failed(self.judge.error(data, now));
                }
                let cause = Cause {
                    code: error.code,
                    message: error.message,
                };
                self.overlooked(data, cause, now)
            }
            // Some clones of the API end with Chat's marker.
            b"" if data.trim_ascii() == b"[DONE]" => {
                if self.ended {
                    Meaning::End
                } else {
                    Meaning::Cut(stopped(held))
                }
            }
            b"" => self.judge.odd(data, now),
            b"response.output_item.added" if self.note_container(data) => Meaning::Output,
            _ if held && is_empty(name, data) => Meaning::Preamble,
            _ => Meaning::Output,
        }
    }

    fn ended(&self) -> bool {
        self.ended
    }

    fn keep_alive(&self) -> Bytes {
        Bytes::from_static(COMMENT)
    }

    fn closing(&self) -> Bytes {
        let error = Cause::default();
        let Some(response) = &self.response else {
            // Without its id no event of the response can be made up.
            return error.event(self.next).into();
        };
        let id = quoted(&response.id);
        let model = response
            .model
            .as_deref()
            .map_or_else(|| "null".into(), quoted);
        let next = self.next;
        let created_at = response.created_at;
        format!(
            "event: response.failed\n\
             data: {{\"type\":\"response.failed\",\"sequence_number\":{next},\"response\":{{\
             \"id\":{id},\"object\":\"response\",\"created_at\":{created_at},\"status\":\"failed\",\
             \"error\":{{\"code\":\"{CODE}\",\"message\":\"{MESSAGE}\"}},\
             \"incomplete_details\":null,\"model\":{model},\"output\":[],\"usage\":null}}}}\n\n{}",
            error.event(next.saturating_add(1))
        )
        .into()
    }

    fn afterword(&self, verdict: &Verdict) -> Bytes {
        match &self.overlooked {
            Some(cause) if verdict.blame != Blame::Caller => cause.event(self.next).into(),
            _ => Bytes::new(),
        }
    }

    fn usage(&self) -> Option<Usage> {
        self.tokens.usage()
    }

    fn made(&mut self) -> Resources {
        mem::take(&mut self.made)
    }
}

/// Whether an event only announces output that is still to come.
fn is_empty(name: &[u8], data: &[u8]) -> bool {
    let piece = || object::<Piece<'_>>(data).unwrap_or_default();
    match name {
        b"response.output_item.added" => {
            let item = piece().item;
            matches!(item.r#type.as_deref(), Some("message" | "reasoning"))
                && !item.content
                && !item.summary
        }
        b"response.content_part.added" | b"response.reasoning_summary_part.added" => !piece().part,
        _ => name.ends_with(b".delta") && !piece().delta,
    }
}

/// `text` as JSON.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
