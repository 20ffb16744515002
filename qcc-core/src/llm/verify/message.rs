//! The question, and what is sent to ask it.

use bytes::Bytes;
use http::{Request, header};
use serde_json::{Value, json};

use crate::endpoint::{Api, Endpoint};
use crate::facts::{Dialect, Facts};

/// In which language a check asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Language {
    /// Chinese. The default.
    #[default]
    Chinese,
    /// English.
    English,
    /// Japanese.
    Japanese,
}

impl Language {
    /// The question for `code`.
    pub(super) fn ask(self, code: &str) -> String {
        match self {
            Self::Chinese => format!("收到消息请仅回复这个验证码：{code}"),
            Self::English => format!("Reply with this code: {code}"),
            Self::Japanese => format!("このコードで返信してください：{code}"),
        }
    }
}

/// The dialect in which `endpoint` is asked; `None` if it is not known what it speaks.
pub(super) fn dialect(endpoint: &Endpoint) -> Option<Dialect> {
    match endpoint.api()? {
        Api::Anthropic => Some(Dialect::Anthropic),
        // More servers have it than Responses.
        Api::OpenAi => Some(Dialect::Chat),
        Api::OpenAiResponses => Some(Dialect::Responses),
        Api::Gemini => Some(Dialect::Gemini),
    }
}

/// A cheap model that answers without thinking first, which would use up its few tokens.
const fn cheapest(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Anthropic => "claude-haiku-4-5",
        Dialect::Chat | Dialect::Responses => "gpt-4.1-nano",
        Dialect::Gemini => "gemini-2.5-flash-lite",
    }
}

/// The cheap model of `dialect`; if `endpoint` is configured for other models, the first that it
/// names in full.
pub(super) fn model(endpoint: &Endpoint, dialect: Dialect) -> &str {
    let usual = cheapest(dialect);
    let facts = Facts {
        model: Some(usual.into()),
        ..Facts::default()
    };
    if endpoint.serves(&facts) {
        return usual;
    }
    let named = endpoint.models().find(|model| !model.contains('*'));
    named.unwrap_or(usual)
}

/// The request that asks `question`.
pub(super) fn request(
    dialect: Dialect,
    model: &str,
    question: &str,
    max_tokens: u32,
) -> Option<Request<Bytes>> {
    let messages = json!([{ "role": "user", "content": question }]);
    let (path, body) = match dialect {
        Dialect::Anthropic => (
            "/v1/messages".to_owned(),
            json!({ "model": model, "max_tokens": max_tokens, "messages": messages }),
        ),
        Dialect::Chat => (
            "/v1/chat/completions".to_owned(),
            json!({ "model": model, "max_tokens": max_tokens, "messages": messages }),
        ),
        Dialect::Responses => (
            "/v1/responses".to_owned(),
            json!({
                "model": model, "max_output_tokens": max_tokens, "input": question, "store": false
            }),
        ),
        Dialect::Gemini => (
            format!("/v1beta/models/{model}:generateContent"),
            json!({
                "contents": [{ "role": "user", "parts": [{ "text": question }] }],
                "generationConfig": { "maxOutputTokens": max_tokens }
            }),
        ),
    };
    Request::post(path)
        .header(header::CONTENT_TYPE, "application/json")
        .header(header::ACCEPT, "application/json")
        .body(Value::to_string(&body).into())
        // Only a model that cannot stand in a path gets here.
        .ok()
}
