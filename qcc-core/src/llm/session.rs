//! Which session a request belongs to.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::HeaderMap;
use http::header::HeaderName;
use http::request::Parts;

use crate::affinity::AffinityKey;
use crate::facts::{BodyField, Facts};

/// No session id is longer, in characters. A longer one is ignored, not cut: two that begin
/// alike would become one. The longest that a known client sends has 256.
const LONGEST: usize = 256;

/// Finds the session id in the first of its [`Source`]s that has one.
///
/// An id has 1 to 256 characters and no control characters. Placeholders that a client sends
/// for "none" (`null`, `undefined`, a UUID of zeros) are no ids. A request without an id is
/// balanced freely.
///
/// By default the sources are, in this order, the headers `x-conversation-id`, `x-session-id`,
/// `x-claude-code-session-id`, `session-id`, `session_id`, `thread-id` and any
/// `x-…-session-id`, then the body fields `conversation_id`, `session_id`, `prompt_cache_key`,
/// `conversation` and the session part of `metadata.user_id`.
#[derive(Clone, Debug)]
pub struct SessionKey {
    sources: Arc<[Source]>,
}

impl SessionKey {
    /// Asks `sources` in this order. Without any there are no sessions.
    pub fn new(sources: impl IntoIterator<Item = Source>) -> Self {
        Self {
            sources: sources.into_iter().collect(),
        }
    }

    /// The sources, in the order in which they are asked.
    #[must_use]
    pub fn sources(&self) -> &[Source] {
        &self.sources
    }
}

impl Default for SessionKey {
    fn default() -> Self {
        let header = |name| Source(Repr::Header(HeaderName::from_static(name)));
        let names = [
            "x-conversation-id",
            "x-session-id",
            "x-claude-code-session-id",
            // Codex; the spelling with `_` is that of its older versions.
            "session-id",
            "session_id",
            "thread-id",
        ];
        let fields = FIELDS.into_iter().map(|(field, _)| Source::body(field));
        Self::new(
            names
                .into_iter()
                .map(header)
                .chain([Source::any_session_header()])
                .chain(fields),
        )
    }
}

impl AffinityKey for SessionKey {
    fn key<'a>(&self, head: &'a Parts, facts: &'a Facts) -> Option<Cow<'a, str>> {
        self.sources
            .iter()
            .find_map(|source| source.find(&head.headers, facts))
            .map(Cow::Borrowed)
    }
}

/// A place where a session id may stand.
///
/// Written `header:NAME`, `header:x-*-session-id` (any header named so) or `body:FIELD`, with
/// one of the fields `conversation_id`, `session_id`, `prompt_cache_key`, `conversation` and
/// `metadata.user_id`.
///
/// A header that all requests of a client, or all its users, have in common cannot be a source:
/// it would send all of them to one endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source(Repr);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Repr {
    Header(HeaderName),
    AnySessionHeader,
    Body(BodyField),
}

/// Why a text or a header is no [`Source`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidSource {
    /// It is not of the form of a source.
    #[error("`{0}` names no place; write header:x-session-id or body:session_id")]
    Syntax(Box<str>),
    /// There is no such body field among the sources.
    #[error(
        "`{0}` is no field with a session; there are conversation_id, session_id, \
         prompt_cache_key, conversation and metadata.user_id"
    )]
    Field(Box<str>),
    /// The header is the same for requests that have nothing to do with each other.
    #[error("the header `{0}` is the same in many sessions and cannot name one")]
    Shared(HeaderName),
}

/// Headers whose values sessions share: credentials, clients, formats, versions.
const SHARED: [&str; 17] = [
    "accept",
    "accept-encoding",
    "accept-language",
    "anthropic-beta",
    "anthropic-version",
    "api-key",
    "authorization",
    "connection",
    "content-type",
    "cookie",
    "host",
    "openai-organization",
    "openai-project",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-goog-api-key",
];

const FIELDS: [(BodyField, &str); 5] = [
    (BodyField::ConversationId, "conversation_id"),
    (BodyField::SessionId, "session_id"),
    (BodyField::PromptCacheKey, "prompt_cache_key"),
    (BodyField::Conversation, "conversation"),
    (BodyField::UserIdSession, "metadata.user_id"),
];

const ANY_SESSION_HEADER: &str = "x-*-session-id";

impl Source {
    /// The header `name`.
    ///
    /// # Errors
    ///
    /// [`InvalidSource::Shared`] if sessions have its value in common.
    pub fn header(name: HeaderName) -> Result<Self, InvalidSource> {
        if SHARED.contains(&name.as_str()) {
            return Err(InvalidSource::Shared(name));
        }
        Ok(Self(Repr::Header(name)))
    }

    /// Any header named `x-…-session-id` whose value looks like an id: at least 8 letters,
    /// digits, `_` and `-`. Of several, the first by name.
    #[must_use]
    pub const fn any_session_header() -> Self {
        Self(Repr::AnySessionHeader)
    }

    /// A field of the body.
    #[must_use]
    pub const fn body(field: BodyField) -> Self {
        Self(Repr::Body(field))
    }

    fn find<'a>(&self, headers: &'a HeaderMap, facts: &'a Facts) -> Option<&'a str> {
        let value = match &self.0 {
            Repr::Header(name) => headers.get(name)?.to_str().ok()?.trim(),
            Repr::AnySessionHeader => any_session_header(headers)?,
            Repr::Body(field) => facts.session_field(*field)?,
        };
        is_id(value).then_some(value)
    }
}

fn any_session_header(headers: &HeaderMap) -> Option<&str> {
    headers
        .iter()
        .filter(|(name, _)| {
            let middle = name.as_str().strip_prefix("x-");
            middle
                .and_then(|rest| rest.strip_suffix("-session-id"))
                .is_some_and(|x| !x.is_empty())
        })
        .filter_map(|(name, value)| Some((name.as_str(), value.to_str().ok()?)))
        .filter(|(_, value)| {
            let sane = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
            value.len() >= 8 && value.bytes().all(sane)
        })
        .min_by_key(|(name, _)| *name)
        .map(|(_, value)| value)
}

/// Whether `value` can be the id of a session, and of one only.
pub(super) fn is_id(value: &str) -> bool {
    const PLACEHOLDERS: [&str; 4] = ["null", "none", "undefined", "nil"];
    !value.trim().is_empty()
        && value.chars().take(LONGEST + 1).count() <= LONGEST
        && !value.contains(char::is_control)
        && !value.bytes().all(|byte| byte == b'0' || byte == b'-')
        && !PLACEHOLDERS
            .iter()
            .any(|none| value.eq_ignore_ascii_case(none))
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Header(name) => write!(f, "header:{name}"),
            Repr::AnySessionHeader => write!(f, "header:{ANY_SESSION_HEADER}"),
            Repr::Body(field) => {
                let name = FIELDS.iter().find(|(known, _)| known == field);
                write!(f, "body:{}", name.map_or("", |(_, name)| name))
            }
        }
    }
}

impl FromStr for Source {
    type Err = InvalidSource;

    fn from_str(text: &str) -> Result<Self, InvalidSource> {
        match text.split_once(':') {
            Some(("header", ANY_SESSION_HEADER)) => Ok(Self::any_session_header()),
            Some(("header", name)) => match name.parse() {
                // `*` is a legal character of a header name, and surely not meant as one.
                Ok(name) if !text.contains('*') => Self::header(name),
                _ => Err(InvalidSource::Syntax(text.into())),
            },
            Some(("body", name)) => FIELDS
                .iter()
                .find(|(_, known)| *known == name)
                .map(|(field, _)| Self::body(*field))
                .ok_or_else(|| InvalidSource::Field(name.into())),
            _ => Err(InvalidSource::Syntax(text.into())),
        }
    }
}
