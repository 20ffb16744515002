//! The text of an answer in any dialect, and whether the code is in it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use crate::recovery::{Code, Finding, Validity};

/// So many characters of an answer are kept for people.
const SHOWN: usize = 200;

/// What `body` says to `question`, which asked for `code`. Takes time in proportion to `body`.
pub(super) fn judge(body: &[u8], question: &str, code: &Code) -> Finding {
    let parsed: Value = serde_json::from_slice(body).unwrap_or_default();
    let Value::Object(object) = &parsed else {
        return invalid("", "no JSON object");
    };
    let text = text_of(object);
    let content = text.as_deref().unwrap_or_default();
    if is_error(object) {
        let said = if content.is_empty() {
            error_text(object)
        } else {
            content
        };
        return invalid(said, "an error in the answer");
    }
    if content.trim().is_empty() {
        return if stopped_at_limit(object) {
            Finding {
                validity: Validity::Inconclusive,
                content: String::new(),
                problem: Some("stopped at its limit of tokens before any text"),
            }
        } else if text.is_none() {
            invalid("", "no text where any dialect has it")
        } else {
            invalid("", "an empty answer")
        };
    }
    // ASCII only: the code has no other letters.
    let lower = content.to_ascii_lowercase();
    if repeats(&lower, question) {
        return invalid(content, "repeats the question");
    }
    let code = code.as_str().to_ascii_lowercase();
    if code.is_empty() || !contains(&lower, &code) {
        return invalid(content, "no code in the answer");
    }
    Finding {
        validity: Validity::Valid,
        content: shown(content),
        problem: None,
    }
}

fn invalid(content: &str, problem: &'static str) -> Finding {
    Finding {
        validity: Validity::Invalid,
        content: shown(content),
        problem: Some(problem),
    }
}

fn shown(content: &str) -> String {
    content.chars().take(SHOWN).collect()
}

fn contains(text: &str, part: &str) -> bool {
    memchr::memmem::find(text.as_bytes(), part.as_bytes()).is_some()
}

/// Whether `text`, in lower case, has `question` in it, also as a program may write it that keeps
/// to ASCII.
fn repeats(text: &str, question: &str) -> bool {
    let question = question.to_ascii_lowercase();
    if contains(text, &question) {
        return true;
    }
    if question.is_ascii() || !text.contains("\\u") {
        return false;
    }
    let mut escaped = String::with_capacity(question.len() * 3);
    for unit in question.encode_utf16() {
        match u8::try_from(unit) {
            Ok(byte) if byte.is_ascii() => escaped.push(char::from(byte)),
            _ => escaped.push_str(&format!("\\u{unit:04x}")),
        }
    }
    contains(text, &escaped)
}

/// Whether the answer says that it is an error. Responses has `"error": null` in every answer.
fn is_error(object: &Map<String, Value>) -> bool {
    let named = match object.get("error") {
        None | Some(Value::Null | Value::Bool(false)) => false,
        Some(Value::String(text)) => !text.is_empty(),
        Some(_) => true,
    };
    let kind = object.get("type").and_then(Value::as_str);
    named || kind == Some("error")
}

fn error_text(object: &Map<String, Value>) -> &str {
    let error = object.get("error").unwrap_or(&Value::Null);
    let text = error.as_str().or_else(|| error.get("message")?.as_str());
    text.unwrap_or_default()
}

/// The text of an answer: Anthropic's `content`, else a `message`, else a `text`, else what
/// OpenAI's dialects and Gemini have. `None` if it is none of these.
fn text_of(object: &Map<String, Value>) -> Option<Cow<'_, str>> {
    content_of(object)
        .or_else(|| match object.get("message")? {
            Value::Object(message) => text_of(message),
            message => message.as_str().map(Cow::Borrowed),
        })
        // Responses has an object of this name, which tells a format.
        .or_else(|| object.get("text")?.as_str().map(Cow::Borrowed))
        .or_else(|| text_of(first(object, "choices")?))
        .or_else(|| joined(object.get("output")?, said))
        .or_else(|| content_of(first(object, "candidates")?))
}

fn first<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a Map<String, Value>> {
    object.get(name)?.get(0)?.as_object()
}

fn content_of(object: &Map<String, Value>) -> Option<Cow<'_, str>> {
    match object.get("content")? {
        Value::String(text) => Some(Cow::Borrowed(text)),
        blocks @ Value::Array(_) => joined(blocks, block),
        Value::Object(content) => joined(content.get("parts")?, block),
        _ => None,
    }
}

/// The texts of `items`, one after the other. Ones that have none are skipped.
fn joined<'a>(
    items: &'a Value,
    text: impl Fn(&'a Value) -> Option<Cow<'a, str>>,
) -> Option<Cow<'a, str>> {
    let mut texts = items.as_array()?.iter().filter_map(text);
    let first = texts.next().unwrap_or_default();
    Some(texts.fold(first, |all, text| all + text))
}

/// An item of Responses that says something.
fn said(item: &Value) -> Option<Cow<'_, str>> {
    content_of(item.as_object()?)
}

/// The text of a block, unless it is one of thinking.
fn block(block: &Value) -> Option<Cow<'_, str>> {
    if let Value::String(text) = block {
        return Some(Cow::Borrowed(text));
    }
    let kind = block.get("type").and_then(Value::as_str);
    let is_text = kind.is_none_or(|kind| matches!(kind, "text" | "output_text"));
    let is_thought = block.get("thought").and_then(Value::as_bool) == Some(true);
    let text = block.get("text")?.as_str()?;
    (is_text && !is_thought).then_some(Cow::Borrowed(text))
}

/// Whether the answer ended because it had reached its limit of tokens.
fn stopped_at_limit(object: &Map<String, Value>) -> bool {
    let says = |object: &Map<String, Value>, name: &str, value: &str| {
        object.get(name).and_then(Value::as_str) == Some(value)
    };
    says(object, "stop_reason", "max_tokens")
        || says(object, "status", "incomplete")
        || first(object, "choices").is_some_and(|one| says(one, "finish_reason", "length"))
        || first(object, "candidates").is_some_and(|one| says(one, "finishReason", "MAX_TOKENS"))
}
