//! The bytes of errors, as the vendors write them. Pure.

use http::{HeaderName, StatusCode};
use serde_json::Value;

use super::answer::{self, Reply, json};
use super::asked::{Asked, Operation};
use super::behaviour::{ErrorAnswer, Shape};
use crate::facts::Dialect;

const RETRY_AFTER: HeaderName = http::header::RETRY_AFTER;

/// The statuses of Gemini; every other code is a reason in the details of one.
const GEMINI_STATUSES: [&str; 11] = [
    "INVALID_ARGUMENT",
    "UNAUTHENTICATED",
    "PERMISSION_DENIED",
    "NOT_FOUND",
    "ABORTED",
    "FAILED_PRECONDITION",
    "RESOURCE_EXHAUSTED",
    "CANCELLED",
    "INTERNAL",
    "UNAVAILABLE",
    "DEADLINE_EXCEEDED",
];

/// The body of an error answer.
pub(super) fn body(asked: &Asked, reply: &Reply, error: &ErrorAnswer) -> String {
    let message = message(asked, error);
    let message = json(&message);
    if error.shape == Shape::Bare {
        let kind = json(error.code.as_deref().unwrap_or("Bad Request"));
        return format!(r#"{{"error":{{"type":{kind},"message":{message}}}}}"#);
    }
    let status = if error.status.is_success() {
        StatusCode::INTERNAL_SERVER_ERROR
    } else {
        error.status
    };
    match asked.dialect {
        Dialect::Anthropic => {
            let kind = json(error.code.as_deref().unwrap_or_else(|| anthropic(status)));
            let id = &reply.id;
            format!(
                r#"{{"type":"error","error":{{"type":{kind},"message":{message}}},"request_id":"req_{id}"}}"#
            )
        }
        Dialect::Chat | Dialect::Responses => {
            let (kind, usual) = openai(status);
            let code = error.code.as_deref().or(usual);
            // Some codes are types as well.
            let kind = code.filter(|code| is_openai_type(code)).unwrap_or(kind);
            let (kind, code) = (json(kind), code.map_or(Value::Null, json));
            format!(
                r#"{{"error":{{"message":{message},"type":{kind},"param":null,"code":{code}}}}}"#
            )
        }
        Dialect::Gemini => gemini_body(status, error, &message),
    }
}

fn gemini_body(status: StatusCode, error: &ErrorAnswer, message: &Value) -> String {
    let code = error.code.as_deref();
    let named = code.filter(|code| GEMINI_STATUSES.contains(code));
    let name = named.unwrap_or_else(|| gemini(status));
    let mut details = Vec::new();
    if let Some(delay) = error.headers.iter().find(|(name, _)| *name == RETRY_AFTER) {
        let delay = String::from_utf8_lossy(delay.1.as_bytes()).into_owned();
        details.push(format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.RetryInfo","retryDelay":"{delay}s"}}"#
        ));
    }
    if let (Some(reason), None) = (code, named) {
        let reason = json(reason);
        details.push(format!(
            r#"{{"@type":"type.googleapis.com/google.rpc.ErrorInfo","reason":{reason},"domain":"googleapis.com"}}"#
        ));
    }
    let details = if details.is_empty() {
        String::new()
    } else {
        format!(r#","details":[{}]"#, details.join(","))
    };
    let code = status.as_u16();
    format!(r#"{{"error":{{"code":{code},"message":{message},"status":"{name}"{details}}}}}"#)
}

fn message(asked: &Asked, error: &ErrorAnswer) -> String {
    match &error.message {
        Some(template) => template
            .replace("{prompt}", &asked.prompt)
            .replace("{credential}", asked.key.as_deref().unwrap_or_default()),
        None => format!("simulated {}", error.status.as_u16()),
    }
}

/// What an account is told that does not have `id`.
pub(super) fn not_kept(asked: &Asked, id: &str) -> ErrorAnswer {
    let generates = matches!(asked.operation, Operation::Generate(_));
    let (status, code, message) = match asked.dialect {
        Dialect::Responses if id.starts_with("resp_") && generates => (
            StatusCode::BAD_REQUEST,
            Some("previous_response_not_found"),
            format!("Previous response with id '{id}' not found."),
        ),
        Dialect::Gemini => (
            StatusCode::FORBIDDEN,
            None,
            format!("You do not have permission to access the File {id} or it may not exist."),
        ),
        Dialect::Anthropic => (StatusCode::NOT_FOUND, None, format!("File not found: {id}")),
        Dialect::Chat | Dialect::Responses => (
            StatusCode::NOT_FOUND,
            Some("not_found"),
            format!("No such File object: {id}"),
        ),
    };
    let error = ErrorAnswer::new(status).with_message(message);
    match code {
        Some(code) => error.with_code(code),
        None => error,
    }
}

/// The refusal of a key.
pub(super) fn bad_key(dialect: Dialect) -> ErrorAnswer {
    match dialect {
        Dialect::Gemini => ErrorAnswer::new(StatusCode::BAD_REQUEST)
            .with_code("API_KEY_INVALID")
            .with_message("API key not valid. Please pass a valid API key."),
        _ => ErrorAnswer::new(StatusCode::UNAUTHORIZED).with_message("invalid key"),
    }
}

/// The event with which a stream says that it failed, after so many other events.
pub(super) fn event(asked: &Asked, reply: &Reply, after: usize) -> String {
    match asked.dialect {
        Dialect::Anthropic => {
            let id = &reply.id;
            format!(
                "event: error\ndata: {{\"type\":\"error\",\"error\":{{\"type\":\"overloaded_error\",\"message\":\"simulated fault\"}},\"request_id\":\"req_{id}\"}}\n\n"
            )
        }
        Dialect::Chat => concat!(
            r#"data: {"error":{"message":"simulated fault","type":"server_error","#,
            r#""param":null,"code":"server_error"}}"#,
            "\n\n",
        )
        .to_owned(),
        // A response that never came to be has nothing that could be called failed.
        Dialect::Responses if after == 0 => concat!(
            "event: error\n",
            r#"data: {"type":"error","sequence_number":0,"code":"server_error","#,
            r#""message":"simulated fault","param":null}"#,
            "\n\n",
        )
        .to_owned(),
        Dialect::Responses => {
            let response = answer::response(asked, reply, "failed");
            format!(
                "event: response.failed\ndata: {{\"type\":\"response.failed\",\"sequence_number\":{after},\"response\":{response}}}\n\n"
            )
        }
        Dialect::Gemini => format!("data: {}\r\n\r\n", gemini_fault()),
    }
}

/// The same in a stream of Gemini without SSE.
pub(super) fn array_end(after: usize) -> String {
    let before = if after == 0 { "[" } else { ",\n" };
    format!("{before}{}]", gemini_fault())
}

const fn gemini_fault() -> &'static str {
    r#"{"error":{"code":503,"message":"simulated fault","status":"UNAVAILABLE"}}"#
}

const fn anthropic(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        402 => "billing_error",
        403 => "permission_error",
        404 => "not_found_error",
        409 => "conflict_error",
        413 => "request_too_large",
        429 => "rate_limit_error",
        504 => "timeout_error",
        529 => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Type and code.
const fn openai(status: StatusCode) -> (&'static str, Option<&'static str>) {
    match status.as_u16() {
        401 => ("invalid_request_error", Some("invalid_api_key")),
        402 => ("insufficient_quota", Some("insufficient_quota")),
        403 => ("invalid_request_error", Some("insufficient_permissions")),
        404 => ("invalid_request_error", Some("model_not_found")),
        429 => ("requests", Some("rate_limit_exceeded")),
        503 => ("service_unavailable_error", Some("server_is_overloaded")),
        400..=499 => ("invalid_request_error", None),
        _ => ("server_error", None),
    }
}

fn is_openai_type(code: &str) -> bool {
    matches!(
        code,
        "insufficient_quota" | "usage_limit_reached" | "usage_not_included" | "server_error"
    )
}

const fn gemini(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "UNAUTHENTICATED",
        402 => "FAILED_PRECONDITION",
        403 => "PERMISSION_DENIED",
        404 => "NOT_FOUND",
        409 => "ABORTED",
        429 => "RESOURCE_EXHAUSTED",
        499 => "CANCELLED",
        502 | 503 | 529 => "UNAVAILABLE",
        504 => "DEADLINE_EXCEEDED",
        400..=498 => "INVALID_ARGUMENT",
        _ => "INTERNAL",
    }
}
