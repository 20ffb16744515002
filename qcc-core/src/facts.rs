//! What is known of a request before it is sent anywhere.

use std::fmt;
use std::sync::Arc;

use http::request::Parts;
use smallvec::SmallVec;

use crate::resource::{Named, ResourceKind};

/// The API form of a route. Dialects are told apart and never translated.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Dialect {
    /// Anthropic Messages (`/v1/messages`).
    Anthropic,
    /// OpenAI Chat Completions (`/v1/chat/completions`).
    Chat,
    /// OpenAI Responses (`/v1/responses`).
    Responses,
    /// Gemini (`…:generateContent`, `…:streamGenerateContent`).
    Gemini,
}

impl Dialect {
    /// Every dialect, in the order of the variants.
    pub const ALL: [Self; 4] = [Self::Anthropic, Self::Chat, Self::Responses, Self::Gemini];

    /// The name used in configuration, logs and records.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::Chat => "chat",
            Self::Responses => "responses",
            Self::Gemini => "gemini",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What a request asks for, as far as failover has to care.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Operation {
    /// Output of a model: held to its commit point, watched to its end.
    Generate,
    /// A count of tokens. Many relays lack it, so its failures blame nobody.
    CountTokens,
    /// Everything else (files, models, embeddings, unknown paths): passed through untouched.
    #[default]
    Other,
}

/// A field of a request body that may name a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyField {
    /// `conversation_id`.
    ConversationId,
    /// `session_id`.
    SessionId,
    /// `prompt_cache_key`.
    PromptCacheKey,
    /// `conversation`, a string or an object with an `id`.
    Conversation,
    /// The session part of `metadata.user_id`.
    UserIdSession,
}

/// Who sends: a digest of the client's own credential. Session ids are scoped by it, so that
/// equal ids of two clients never meet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct ClientId(pub [u8; 16]);

/// The facts of one request, read once.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Facts {
    /// The dialect of the route; `None` where the route belongs to none.
    pub dialect: Option<Dialect>,
    /// What is asked for.
    pub operation: Operation,
    /// The model that the request names.
    pub model: Option<Arc<str>>,
    /// Whether a streamed answer is asked for.
    pub stream: bool,
    /// Who sends.
    pub client: ClientId,
    /// Body fields that may name a session, in the order in which they were found.
    pub session_fields: SmallVec<[(BodyField, Box<str>); 1]>,
    /// The resources that the request names, those that decide where it belongs first.
    pub resources: SmallVec<[Named; 1]>,
    /// What the request makes, so that its answer may tell the id of one; `None` if nothing.
    pub makes: Option<ResourceKind>,
}

impl Facts {
    /// The value of one body field.
    #[must_use]
    pub fn session_field(&self, field: BodyField) -> Option<&str> {
        self.session_fields
            .iter()
            .find(|(known, _)| *known == field)
            .map(|(_, value)| &**value)
    }

    /// Whether the answer is to be held to its commit point and watched to its end.
    #[must_use]
    pub fn is_generation(&self) -> bool {
        self.operation == Operation::Generate
    }
}

/// Reads the facts of a request. Sync, pure, object-safe.
pub trait ReadFacts: fmt::Debug + Send + Sync + 'static {
    /// The facts of the request with this head. `body` is `None` if it is larger than the limit
    /// up to which bodies are kept; then the head alone must do.
    fn facts(&self, head: &Parts, body: Option<&[u8]>) -> Facts;
}

/// Reads nothing: every request is one of an unknown kind.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoFacts;

impl ReadFacts for NoFacts {
    fn facts(&self, _: &Parts, _: Option<&[u8]>) -> Facts {
        Facts::default()
    }
}
