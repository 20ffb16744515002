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
    let is_plain = value.len() <= LONGEST && value.bytes().all(|byte| byte.is_ascii_graphic());
    let is_printable =
        || value.chars().take(LONGEST + 1).count() <= LONGEST && !value.contains(char::is_control);
    !value.trim().is_empty()
        && (is_plain || is_printable())
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

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;
    use crate::facts::ReadFacts as _;
    use crate::llm::LlmFacts;

    fn find(key: &SessionKey, headers: &[(&str, &str)], body: &str) -> Option<String> {
        let mut request = Request::builder().method("POST").uri("/v1/messages");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (head, ()) = request.body(()).unwrap().into_parts();
        let facts = LlmFacts::new().facts(&head, Some(body.as_bytes()));
        key.key(&head, &facts).map(Cow::into_owned)
    }

    fn by_default(headers: &[(&str, &str)], body: &str) -> Option<String> {
        find(&SessionKey::default(), headers, body)
    }

    // AFF-01, AFF-02, AFF-03
    #[test]
    fn the_sources_are_asked_in_their_order() {
        let headers = [
            ("x-conversation-id", "h1"),
            ("x-session-id", "h2"),
            ("x-claude-code-session-id", "h3"),
            ("session-id", "h4"),
            ("session_id", "h5"),
            ("thread-id", "h6"),
            ("x-other-session-id", "h7-h7-h7"),
        ];
        let fields = [
            r#""conversation_id":"b1""#,
            r#""session_id":"b2""#,
            r#""prompt_cache_key":"b3""#,
            r#""conversation":"b4""#,
            r#""metadata":{"user_id":"user_1_account_2_session_b5"}"#,
        ];
        let body = |from: usize| {
            let mut fields = fields[from..].to_vec();
            fields.reverse();
            format!("{{{}}}", fields.join(","))
        };
        for from in 0..headers.len() {
            let found = by_default(&headers[from..], &body(0));
            assert_eq!(found.as_deref(), Some(headers[from].1));
        }
        for from in 0..fields.len() {
            assert_eq!(by_default(&[], &body(from)), Some(format!("b{}", from + 1)));
        }
    }

    // AFF-03
    #[test]
    fn the_sources_can_be_configured() {
        let default = SessionKey::default();
        let written: Vec<_> = default.sources().iter().map(Source::to_string).collect();
        assert_eq!(written.len(), 12);
        for (text, source) in written.iter().zip(default.sources()) {
            assert_eq!(text.parse().as_ref(), Ok(source));
        }
        let own = SessionKey::new(["body:session_id", "header:x-mine"].map(|s| s.parse().unwrap()));
        let headers = [("x-session-id", "a"), ("x-mine", "m")];
        assert_eq!(
            find(&own, &headers, r#"{"session_id":"b"}"#).as_deref(),
            Some("b")
        );
        assert_eq!(find(&own, &headers, "").as_deref(), Some("m"));
        assert_eq!(find(&SessionKey::new([]), &headers, ""), None);
        for bad in [
            "",
            "x-session-id",
            "header:",
            "header:a b",
            "header:x-*",
            "body:user",
        ] {
            assert!(bad.parse::<Source>().is_err(), "{bad}");
        }
    }

    // AFF-04
    #[test]
    fn a_value_that_users_share_is_no_session() {
        for shared in SHARED {
            let text = format!("header:{}", shared.to_uppercase());
            assert!(
                matches!(text.parse::<Source>(), Err(InvalidSource::Shared(_))),
                "{shared}"
            );
        }
        let headers = [
            ("x-api-key", "sk-test-1"),
            ("user-agent", "a"),
            ("cookie", "s=1"),
        ];
        let body = r#"{"system":"You are a helper","instructions":"i","user":"u","model":"m"}"#;
        assert_eq!(by_default(&headers, body), None);
        for none in [
            "null",
            "undefined",
            "00000000-0000-0000-0000-000000000000",
            "",
            "  ",
        ] {
            assert_eq!(by_default(&[("x-session-id", none)], ""), None, "{none}");
        }
    }

    // AFF-03
    #[test]
    fn an_id_is_bounded_and_printable() {
        let longest = "ü".repeat(LONGEST);
        let body = |id: &str| serde_json::json!({ "session_id": id }).to_string();
        assert_eq!(by_default(&[], &body(&longest)), Some(longest.clone()));
        assert_eq!(by_default(&[], &body(&format!("{longest}x"))), None);
        assert_eq!(by_default(&[], &body("a\nb")), None);
        assert_eq!(by_default(&[], &body("a\u{0}")), None);
        // The next source is asked in place of a bad one.
        let long = "x".repeat(LONGEST + 1);
        assert_eq!(
            by_default(&[("x-session-id", &long)], &body("b")).as_deref(),
            Some("b")
        );
    }

    // AFF-03
    #[test]
    fn any_session_header_has_to_look_like_an_id() {
        for (name, value, found) in [
            ("x-my-session-id", "abcdefgh", true),
            ("x-my-session-id", "short", false),
            ("x-my-session-id", "with space", false),
            ("x--session-id", "abcdefgh", false),
            ("my-session-id", "abcdefgh", false),
            ("x-my-session-ids", "abcdefgh", false),
        ] {
            assert_eq!(
                by_default(&[(name, value)], "").is_some(),
                found,
                "{name}: {value}"
            );
        }
        let both = [
            ("x-b-session-id", "bbbbbbbb"),
            ("x-a-session-id", "aaaaaaaa"),
        ];
        assert_eq!(by_default(&both, "").as_deref(), Some("aaaaaaaa"));
    }

    // AFF-06
    #[test]
    fn a_request_without_an_id_has_no_session() {
        for body in ["", "not json", "{}", "[1]", r#"{"session_id":null}"#] {
            assert_eq!(by_default(&[], body), None, "{body}");
        }
    }
}
