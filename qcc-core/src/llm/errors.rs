//! One verdict for every failed answer.
//!
//! Evidence is read in a fixed order, and the first that says something decides:
//!
//! 1. a machine code of the dialect ([`CODES`], [`SENTENCES`], and what Gemini lists in
//!    `details`),
//! 2. the status, where it is one that decides: not 2xx, not 403 without an error of the
//!    dialect, which is a firewall's as often as an API's,
//! 3. the generic type ([`TYPES`]), then a status that the body names,
//! 4. [phrases](super::PHRASES) in error texts,
//! 5. the headers of an exhausted limit.
//!
//! What is left is unknown. Only error fields are read, never the output of a model, and digits
//! in a text are not evidence.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use serde_json::{Map, Value};
use smallvec::SmallVec;

use super::codes::{CODES, SENTENCES, TYPES, look_up};
use super::{cooldown, phrases};
use crate::facts::{Facts, Operation};
use crate::failure::{Blame, Kind, Verdict};
use crate::time::{Instant, SystemTime};

/// A failed answer, as far as it was read.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Evidence<'a> {
    /// The facts of the request.
    pub(crate) facts: &'a Facts,
    /// The status of the answer. `None` for an error event in a stream.
    pub(crate) status: Option<StatusCode>,
    /// The headers of the answer.
    pub(crate) headers: Option<&'a HeaderMap>,
    /// The body of the answer, or the data of the event.
    pub(crate) body: &'a [u8],
    /// The current instant.
    pub(crate) now: Instant,
    /// The current date, for answers without a `Date` of their own.
    pub(crate) date: SystemTime,
}

/// The verdict on a failed answer.
pub(crate) fn judge(evidence: &Evidence<'_>) -> Verdict {
    let json = serde_json::from_slice(evidence.body).unwrap_or_default();
    let body = ErrorBody::of(&json);
    let date = cooldown::date(evidence.headers, evidence.date);
    let kind = kind(evidence, &body, date);
    if evidence.facts.operation == Operation::CountTokens {
        // Many relays lack the route, and vendors limit it apart: it says nothing of messages.
        return Verdict::new(kind).blamed_on(Blame::Caller);
    }
    let until = cooldown::cool_down(kind, evidence.headers, &body, date)
        .and_then(|wait| evidence.now.checked_add(wait));
    Verdict::new(kind).until(until)
}

fn kind(evidence: &Evidence<'_>, body: &ErrorBody<'_>, date: SystemTime) -> Kind {
    let facts = evidence.facts;
    let status = evidence.status.filter(|status| !status.is_success());
    body.decisive(status)
        .or_else(|| of_status(status?, facts, body))
        .or_else(|| body.generic(facts))
        .or_else(|| of_status(body.number?, facts, body))
        .or_else(|| phrases::find(body.texts()).map(|kind| missing(kind, facts)))
        .or_else(|| cooldown::is_exhausted(evidence.headers, date).then_some(Kind::RateLimit))
        .unwrap_or(Kind::Unknown)
}

/// What a status means; `None` if it leaves the decision to others.
fn of_status(status: StatusCode, facts: &Facts, body: &ErrorBody<'_>) -> Option<Kind> {
    Some(match status.as_u16() {
        401 => Kind::Auth,
        402 => Kind::Quota,
        403 if body.form != Form::Nested => return None,
        // Claude Code tells a missing model from a refused key by the same text.
        403 if body.message.contains("model:") => Kind::NotFound,
        403 => Kind::Auth,
        404 => missing(Kind::NotFound, facts),
        408 | 409 => Kind::Server,
        429 => Kind::RateLimit,
        400..=499 => Kind::InvalidRequest,
        502..=504 | 529 => Kind::Overloaded,
        500..=599 => Kind::Server,
        _ => return None,
    })
}

/// Nothing but the model of a generation can be missing at one endpoint and be found at another;
/// anything else that is not found was asked for wrongly.
fn missing(kind: Kind, facts: &Facts) -> Kind {
    let names_model = facts.is_generation() && facts.model.is_some();
    if kind == Kind::NotFound && !names_model {
        Kind::InvalidRequest
    } else {
        kind
    }
}

/// How an error was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// `{"error":{…}}`, with whatever stands around it: the form of every dialect.
    Nested,
    /// `{"error":"text"}` or `{"message":…,"code":…}`, as gateways write it.
    Loose,
    /// No error that could be read.
    None,
}

/// The fields of an error body that are evidence.
#[derive(Debug)]
pub(super) struct ErrorBody<'a> {
    form: Form,
    /// Machine codes, the most specific first, the type last.
    codes: SmallVec<[&'a str; 4]>,
    message: &'a str,
    /// A status named in the body.
    number: Option<StatusCode>,
    /// The object that holds the other fields.
    object: Option<&'a Map<String, Value>>,
}

impl<'a> ErrorBody<'a> {
    /// Reads any of the forms in which errors come. What is none is an empty error.
    pub(super) fn of(json: &'a Value) -> Self {
        // A streaming call to Gemini without `alt=sse` is answered with an array.
        let json = json.get(0).unwrap_or(json);
        let error = json
            .get("error")
            .or_else(|| json.get("response")?.get("error"));
        match (error, json) {
            (Some(Value::Object(object)), _) => Self::read(Form::Nested, object),
            (Some(Value::String(text)), Value::Object(around)) if !text.is_empty() => Self {
                form: Form::Loose,
                message: text,
                ..Self::read(Form::Loose, around)
            },
            (_, Value::Object(object)) if is_bare(object) => Self::read(Form::Loose, object),
            _ => Self {
                form: Form::None,
                codes: SmallVec::new(),
                message: "",
                number: None,
                object: None,
            },
        }
    }

    fn read(form: Form, object: &'a Map<String, Value>) -> Self {
        let text = |name| object.get(name).and_then(Value::as_str);
        let mut codes = SmallVec::new();
        match object.get("details") {
            Some(Value::Object(details)) => {
                codes.extend(details.get("error_code").and_then(Value::as_str));
            }
            Some(Value::Array(details)) => {
                codes.extend(details.iter().filter_map(|one| one.get("reason")?.as_str()));
            }
            _ => {}
        }
        codes.extend(["code", "status", "type"].into_iter().filter_map(text));
        let message = text("message").or_else(|| text("msg")).unwrap_or_default();
        let says_nothing = message.is_empty() && codes.is_empty();
        Self {
            form: if says_nothing { Form::None } else { form },
            codes,
            message,
            number: ["code", "status"]
                .into_iter()
                .find_map(|name| as_status(object.get(name)?)),
            object: Some(object),
        }
    }

    /// What decides before the status does.
    fn decisive(&self, status: Option<StatusCode>) -> Option<Kind> {
        if self.is_long_quota() {
            return Some(Kind::Quota);
        }
        let sentence = || {
            SENTENCES.iter().find(|sentence| {
                status.is_none_or(|status| status == sentence.status)
                    && self
                        .message
                        .get(..sentence.begins.len())
                        .is_some_and(|start| start.eq_ignore_ascii_case(sentence.begins))
            })
        };
        sentence()
            .map(|sentence| sentence.kind)
            .or_else(|| self.codes.iter().find_map(|code| look_up(CODES, code)))
    }

    /// Whether Gemini says that a quota is used up that does not come back within a minute: one
    /// of a day, or one of nothing. The same status stands for a limit of a minute.
    fn is_long_quota(&self) -> bool {
        self.codes.contains(&"RESOURCE_EXHAUSTED")
            && (is_limited_to_nothing(self.message)
                || self.details().any(|detail| {
                    let violations = detail.get("violations").and_then(Value::as_array);
                    violations.into_iter().flatten().any(|violation| {
                        let quota = violation.get("quotaId").and_then(Value::as_str);
                        quota.is_some_and(|id| id.contains("PerDay") || id.contains("Daily"))
                    })
                }))
    }

    fn generic(&self, facts: &Facts) -> Option<Kind> {
        let types = self.codes.iter().rev();
        types
            .filter_map(|code| look_up(TYPES, code))
            .map(|kind| missing(kind, facts))
            .next()
    }

    fn texts(&self) -> impl Iterator<Item = &'a str> {
        let codes = self.codes.clone().into_iter();
        std::iter::once(self.message).chain(codes)
    }

    /// The human text.
    pub(super) const fn message(&self) -> &'a str {
        self.message
    }

    /// A field beside the usual ones.
    pub(super) fn field(&self, name: &str) -> Option<&'a Value> {
        self.object?.get(name)
    }

    /// The entries of Gemini's `details`.
    pub(super) fn details(&self) -> impl Iterator<Item = &'a Value> {
        let details = self.field("details").and_then(Value::as_array);
        details.into_iter().flatten()
    }
}

/// Whether an object without `error` is one all the same: `{"message":…,"code":…}`, or an event
/// `{"type":"error","message":…}`.
fn is_bare(object: &Map<String, Value>) -> bool {
    let told = object.contains_key("message") || object.contains_key("msg");
    let coded = object.get("code").is_some_and(|code| !code.is_null());
    told && (coded || object.get("type").is_some_and(|kind| kind == "error"))
}

/// Whether a message of Gemini says `limit: 0`, which is no limit that time lifts.
fn is_limited_to_nothing(message: &str) -> bool {
    let mut tails = message.split("limit: 0").skip(1);
    tails.any(|tail| !tail.starts_with(|next: char| next.is_ascii_digit() || next == '.'))
}

/// A status of failure, as a number or as digits and nothing else.
fn as_status(value: &Value) -> Option<StatusCode> {
    let number = match value {
        Value::Number(number) => u16::try_from(number.as_u64()?).ok()?,
        Value::String(text) => text.parse().ok()?,
        _ => return None,
    };
    StatusCode::from_u16(number)
        .ok()
        .filter(|status| status.is_client_error() || status.is_server_error())
}

/// The beginning of an error body as text for logs: at most `limit` bytes of it, cut where a
/// character ends. What is no UTF-8 becomes U+FFFD.
///
/// ```
/// assert_eq!(qcc_core::llm::excerpt("zu groß".as_bytes(), 7), "zu gro");
/// ```
#[must_use]
pub fn excerpt(body: &[u8], limit: usize) -> Cow<'_, str> {
    let continues = |at: usize| body.get(at).is_some_and(|byte| byte & 0xC0 == 0x80);
    let mut end = limit.min(body.len());
    // A character has at most three bytes after its first; longer runs are garbage anyway.
    for _ in 0..3 {
        if end > 0 && continues(end) {
            end -= 1;
        }
    }
    String::from_utf8_lossy(&body[..end])
}
