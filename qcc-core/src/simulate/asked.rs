//! What a request asks a simulated endpoint for. Pure.

use http::header::{self, HeaderMap};
use http::request::Parts;
use http::{Method, Uri};
use serde_json::Value;

use super::kept::{self, Collection, Wanted};
use crate::facts::Dialect;

/// What a request asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) dialect: Dialect,
    pub(super) operation: Operation,
    pub(super) model: String,
    /// The text of the last message.
    pub(super) prompt: String,
    pub(super) key: Option<String>,
    /// The ids of what it names that the endpoint has to have.
    pub(super) named: Vec<String>,
    /// Whether the answer is to be kept, so that another request can go on from it.
    pub(super) stores: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Operation {
    Generate(Form),
    CountTokens,
    Models,
    /// Something is made in a collection, or done with what is in it.
    Kept(&'static Collection, Wanted),
    /// A path that the simulated endpoint does not have.
    Unknown,
}

/// The form of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    Whole,
    Sse {
        /// Chat: whether the usage is to be told in a chunk of its own.
        usage: bool,
    },
    /// Gemini's streams without `alt=sse`.
    Array,
}

impl Asked {
    pub(super) fn read(head: &Parts, body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let mut named = kept::named(&body);
        let (dialect, operation) = match route(head, &body) {
            (dialect, Operation::Unknown) => match kept::wanted(head) {
                Some((collection, only, wanted, id)) => {
                    if wanted != Wanted::Make {
                        named.insert(0, id);
                    }
                    let operation = Operation::Kept(collection, wanted);
                    (only.unwrap_or(dialect), operation)
                }
                None => (dialect, Operation::Unknown),
            },
            known => known,
        };
        let is_response = dialect == Dialect::Responses;
        let generates = matches!(operation, Operation::Generate(_));
        let in_path = model_in_path(head.uri.path());
        let model = in_path
            .or_else(|| body["model"].as_str())
            .unwrap_or("simulated");
        Self {
            dialect,
            operation,
            model: model.to_owned(),
            prompt: prompt(&body),
            key: key(&head.headers),
            named,
            stores: is_response && generates && body["store"] != false,
        }
    }

    /// What stands behind the last colon of the prompt, if that can be a verification code.
    pub(super) fn code(&self) -> Option<&str> {
        let (_, code) = self.prompt.rsplit_once([':', '：'])?;
        let code = code.trim();
        let is_code = !code.is_empty() && code.len() <= 64 && !code.contains(char::is_whitespace);
        is_code.then_some(code)
    }
}

fn route(head: &Parts, body: &Value) -> (Dialect, Operation) {
    let path = head.uri.path().trim_end_matches('/');
    let is_post = head.method == Method::POST;
    let sse = |usage| match body["stream"] {
        Value::Bool(true) => Operation::Generate(Form::Sse { usage }),
        _ => Operation::Generate(Form::Whole),
    };
    if is_post && path.ends_with("/messages") {
        (Dialect::Anthropic, sse(true))
    } else if is_post && path.ends_with("/messages/count_tokens") {
        (Dialect::Anthropic, Operation::CountTokens)
    } else if is_post && path.ends_with("/chat/completions") {
        let usage = body["stream_options"]["include_usage"] == true;
        (Dialect::Chat, sse(usage))
    } else if is_post && path.ends_with("/responses") {
        (Dialect::Responses, sse(true))
    } else if is_post && path.ends_with("/responses/input_tokens") {
        (Dialect::Responses, Operation::CountTokens)
    } else if is_post && path.ends_with(":generateContent") {
        (Dialect::Gemini, Operation::Generate(Form::Whole))
    } else if is_post && path.ends_with(":streamGenerateContent") {
        let form = if asks_for_sse(&head.uri) {
            Form::Sse { usage: true }
        } else {
            Form::Array
        };
        (Dialect::Gemini, Operation::Generate(form))
    } else if is_post && path.ends_with(":countTokens") {
        (Dialect::Gemini, Operation::CountTokens)
    } else if head.method == Method::GET && path.ends_with("/models") {
        (guess(head), Operation::Models)
    } else {
        (guess(head), Operation::Unknown)
    }
}

/// The dialect of a path that several have, or none.
fn guess(head: &Parts) -> Dialect {
    let headers = &head.headers;
    if head.uri.path().contains("/v1beta/") || headers.contains_key("x-goog-api-key") {
        Dialect::Gemini
    } else if headers.contains_key("anthropic-version") || headers.contains_key("x-api-key") {
        Dialect::Anthropic
    } else {
        Dialect::Chat
    }
}

fn asks_for_sse(uri: &Uri) -> bool {
    uri.query()
        .is_some_and(|query| query.split('&').any(|pair| pair == "alt=sse"))
}

fn model_in_path(path: &str) -> Option<&str> {
    let (_, name) = path.rsplit_once("/models/")?;
    name.split_once(':').map(|(model, _)| model)
}

/// The key that authenticates the request, in any of the forms that vendors take.
fn key(headers: &HeaderMap) -> Option<String> {
    let bearer = headers
        .get(header::AUTHORIZATION)
        .and_then(|value| value.to_str().ok()?.strip_prefix("Bearer "));
    ["x-api-key", "x-goog-api-key"]
        .into_iter()
        .find_map(|name| headers.get(name)?.to_str().ok())
        .or(bearer)
        .map(str::to_owned)
}

/// The text of the last message, in whichever dialect.
fn prompt(body: &Value) -> String {
    let (list, content) = [
        ("messages", "content"),
        ("contents", "parts"),
        ("input", "content"),
    ]
    .into_iter()
    .find(|(list, _)| !body[list].is_null())
    .unwrap_or(("input", "content"));
    match &body[list] {
        Value::Array(messages) => messages
            .last()
            .map(|message| text(&message[content]))
            .unwrap_or_default(),
        other => text(other),
    }
}

/// A text, or the texts of a list of blocks.
fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(blocks) => blocks
            .iter()
            .filter_map(|block| block["text"].as_str())
            .collect(),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn asked(request: http::request::Builder, body: &str) -> Asked {
        let (head, ()) = request.body(()).unwrap().into_parts();
        Asked::read(&head, body.as_bytes())
    }

    #[test]
    fn route_form_model_and_prompt_are_read_in_every_dialect() {
        for (path, body, dialect, form) in [
            (
                "/a/v1/messages?beta=true",
                r#"{"model":"m","stream":true,"messages":[{"content":"x"},{"content":[{"type":"text","text":"hi"}]}]}"#,
                Dialect::Anthropic,
                Form::Sse { usage: true },
            ),
            (
                "/v1/chat/completions",
                r#"{"model":"m","stream":true,"messages":[{"role":"user","content":"hi"}]}"#,
                Dialect::Chat,
                Form::Sse { usage: false },
            ),
            (
                "/responses",
                r#"{"model":"m","input":"hi"}"#,
                Dialect::Responses,
                Form::Whole,
            ),
            (
                "/v1/responses",
                r#"{"model":"m","input":[{"role":"user","content":[{"type":"input_text","text":"hi"}]}]}"#,
                Dialect::Responses,
                Form::Whole,
            ),
            (
                "/v1beta/models/m:streamGenerateContent?alt=sse",
                r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
                Dialect::Gemini,
                Form::Sse { usage: true },
            ),
            (
                "/v1beta/models/m:streamGenerateContent",
                r#"{"contents":[{"parts":[{"text":"hi"}]}]}"#,
                Dialect::Gemini,
                Form::Array,
            ),
        ] {
            let asked = asked(Request::post(path), body);
            assert_eq!(asked.dialect, dialect, "{path}");
            assert_eq!(asked.operation, Operation::Generate(form), "{path}");
            assert_eq!((&*asked.model, &*asked.prompt), ("m", "hi"), "{path}");
        }
    }

    // SIM-01
    #[test]
    fn the_code_is_what_stands_behind_the_last_colon() {
        for (prompt, code) in [
            ("收到消息请仅回复这个验证码：A1B2C3", Some("A1B2C3")),
            ("Reply with this code: A1B2C3", Some("A1B2C3")),
            ("このコードで返信してください：A1B2C3", Some("A1B2C3")),
            ("Tell me: what is a code?", None),
            ("hello", None),
        ] {
            let body = serde_json::json!({ "messages": [{ "content": prompt }] });
            let asked = asked(Request::post("/v1/messages"), &body.to_string());
            assert_eq!(asked.code(), code, "{prompt}");
        }
    }

    #[test]
    fn a_key_is_found_in_every_form() {
        for (name, value) in [
            ("x-api-key", "sk-test-a"),
            ("authorization", "Bearer sk-test-a"),
            ("x-goog-api-key", "sk-test-a"),
        ] {
            let asked = asked(Request::post("/v1/messages").header(name, value), "");
            assert_eq!(asked.key.as_deref(), Some("sk-test-a"), "{name}");
        }
    }
}
