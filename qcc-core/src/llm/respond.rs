//! The client's answer where no upstream's answer is relayed.
//!
//! Every error has the shape of the client's dialect, so that its SDK raises the type it would
//! raise for the vendor, and beside that a stable code, a sentence that says what to do, and
//! the request id. What the dialects have no field for stands inside `error`:
//!
//! | field | meaning |
//! |---|---|
//! | `code` (Gemini: `reason`) | the stable code |
//! | `request_id` | the id of the request |
//! | `attempts` | what was tried: `endpoint` (id), `kind`, `status`, `duration_ms` |
//! | `reasons` | how many endpoints were left out, by [`Reason`] |
//! | `retry_after` | the seconds until another try makes sense, exact; the header is capped |

use std::collections::BTreeMap;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use serde::Serialize;

use crate::available::Reason;
use crate::error::{Attempt, Error, ErrorKind};
use crate::exchange::RequestId;
use crate::facts::Dialect;
use crate::failure::{Class, Kind};
use crate::time::{Duration, Instant};

/// The largest `Retry-After` that we send. Older SDKs ignore more than 60 s, newer ones give up
/// over it, and some sleep as long as they are told.
pub const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);

/// The answer to a client whose request ended with `error`, in the shape of `dialect`; without
/// one, in a neutral shape like that of OpenAI.
///
/// | [`ErrorKind`] | status | code |
/// |---|---|---|
/// | `NoEndpoint` | 503; 429 if every reason is a rate limit | `no_available_account`, also as `type` |
/// | `AllFailed`, last failure overloaded | 503 | `upstream_overloaded` |
/// | `AllFailed`, last failure a time-out | 504 | `upstream_timeout` |
/// | `AllFailed`, otherwise | 502 | `upstream_failed` |
/// | `RateLimited` | 429 | `upstream_rate_limited` |
/// | `AuthFailed` | 502 | `upstream_auth_failed` |
/// | `Deadline` | 504 | `deadline_exceeded` |
/// | `RequestBody` | 400 | `request_body_unreadable` |
///
/// `Retry-After` is given where an instant is known, from 1 to 60 s. `x-should-retry: false`
/// stops clients from repeating what failover has exhausted; it is left out where the same
/// request works later.
#[must_use]
pub fn respond(error: &Error, dialect: Option<Dialect>, now: Instant) -> Response<Bytes> {
    let wait = error.retry_at().map(|at| at.saturating_duration_since(now));
    let (status, code) = outcome(error);
    let answer = Answer {
        status,
        kind: match error.kind() {
            ErrorKind::NoEndpoint => code,
            _ => error_type(dialect, status),
        },
        code,
        message: message(error, code, wait),
        request_id: error.request_id(),
        details: Some(Details::of(error, wait)),
    };
    let mut response = answer.into_response(dialect);
    if let Some(wait) = wait {
        let seconds = wait.min(LONGEST_RETRY_AFTER).as_secs_f64().ceil().max(1.0);
        let headers = response.headers_mut();
        headers.insert(RETRY_AFTER, HeaderValue::from(seconds as u64));
    }
    if !error.is_rate_limited() {
        forbid_retry(&mut response);
    }
    response
}

/// An error answer in the shape of `dialect`, for what is refused before any upstream is asked:
/// an unknown route, a bad client key, a body that is too large.
///
/// `code` is stable and meant for programs, `message` is a sentence for people. A refusal of
/// the request itself, any status below 500 but 429, carries `x-should-retry: false`.
#[must_use]
pub fn error_response(
    dialect: Option<Dialect>,
    status: StatusCode,
    code: &'static str,
    message: impl Into<String>,
    request_id: &RequestId,
) -> Response<Bytes> {
    let answer = Answer {
        status,
        kind: error_type(dialect, status),
        code,
        message: message.into(),
        request_id,
        details: None,
    };
    let mut response = answer.into_response(dialect);
    if status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS {
        forbid_retry(&mut response);
    }
    response
}

fn forbid_retry(response: &mut Response<Bytes>) {
    let headers = response.headers_mut();
    headers.insert("x-should-retry", HeaderValue::from_static("false"));
}

fn outcome(error: &Error) -> (StatusCode, &'static str) {
    let last = error.attempts().last().map(|attempt| attempt.kind);
    match error.kind() {
        ErrorKind::NoEndpoint if error.is_rate_limited() => {
            (StatusCode::TOO_MANY_REQUESTS, "no_available_account")
        }
        ErrorKind::NoEndpoint => (StatusCode::SERVICE_UNAVAILABLE, "no_available_account"),
        ErrorKind::AllFailed => match last {
            Some(Kind::Overloaded) => (StatusCode::SERVICE_UNAVAILABLE, "upstream_overloaded"),
            Some(Kind::Timeout) => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            _ => (StatusCode::BAD_GATEWAY, "upstream_failed"),
        },
        ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "upstream_rate_limited"),
        ErrorKind::AuthFailed => (StatusCode::BAD_GATEWAY, "upstream_auth_failed"),
        ErrorKind::Deadline => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        ErrorKind::RequestBody => (StatusCode::BAD_REQUEST, "request_body_unreadable"),
    }
}

/// What happened, and what to do about it.
fn message(error: &Error, code: &str, wait: Option<Duration>) -> String {
    let tried = error.attempts().len();
    let attempts = if tried == 1 { "attempt" } else { "attempts" };
    let again = match wait {
        Some(wait) => format!("Try again in {} s", seconds(wait)),
        None => "Try again later".to_owned(),
    };
    match error.kind() {
        ErrorKind::NoEndpoint => format!(
            "No upstream endpoint may be used now{}. {again}, or see why in the status of the \
             endpoints.",
            reasons(error)
        ),
        ErrorKind::AllFailed if code == "upstream_timeout" => format!(
            "The upstreams did not answer in time ({tried} {attempts} failed). {again}, or allow \
             a longer wait for the first byte."
        ),
        ErrorKind::AllFailed if tried == 0 => format!("The upstreams failed. {again}."),
        ErrorKind::AllFailed => {
            format!("The upstreams failed ({tried} {attempts}, listed in `attempts`). {again}.")
        }
        ErrorKind::RateLimited => {
            let limited = error
                .attempts()
                .iter()
                .filter(|attempt| attempt.kind.class() == Class::RateLimit)
                .count();
            let credentials = if limited == 1 {
                "credential"
            } else {
                "credentials"
            };
            let reset = match wait {
                Some(wait) => format!("The earliest reset is in {} s", seconds(wait)),
                None => "The earliest reset is not known".to_owned(),
            };
            format!(
                "Rate limited or out of quota with all of {limited} {credentials} tried. {reset}; \
                 try again then, or add credentials."
            )
        }
        ErrorKind::AuthFailed => format!(
            "The upstreams refused every credential of this service ({tried} {attempts}). Your \
             own key is not the cause: the operator has to renew the upstream credentials."
        ),
        ErrorKind::Deadline if tried == 0 => {
            format!("The deadline of the request passed before it could be sent. {again}.")
        }
        ErrorKind::Deadline => format!(
            "The deadline of the request passed after {tried} failed {attempts}. {again}, or \
             configure a longer deadline."
        ),
        ErrorKind::RequestBody => {
            "The body of the request broke off before its end. Send the request again.".to_owned()
        }
    }
}

fn reasons(error: &Error) -> String {
    let mut text = String::new();
    for (reason, count) in error.reasons().iter() {
        text.push_str(if text.is_empty() { " (" } else { ", " });
        text.push_str(&format!("{count} {reason}"));
    }
    if !text.is_empty() {
        text.push(')');
    }
    text
}

/// Whole seconds, rounded up: whoever waits for so long does not come too early.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0)
}

/// The generic type of the dialect, which its SDKs map to an exception. Gemini's is the name of
/// the canonical code.
fn error_type(dialect: Option<Dialect>, status: StatusCode) -> &'static str {
    match (dialect, status.as_u16()) {
        (Some(Dialect::Anthropic), status) => match status {
            401 => "authentication_error",
            402 => "billing_error",
            403 => "permission_error",
            404 => "not_found_error",
            413 => "request_too_large",
            429 => "rate_limit_error",
            400..=499 => "invalid_request_error",
            503 | 529 => "overloaded_error",
            504 => "timeout_error",
            _ => "api_error",
        },
        (Some(Dialect::Gemini), status) => match status {
            401 => "UNAUTHENTICATED",
            403 => "PERMISSION_DENIED",
            404 => "NOT_FOUND",
            429 => "RESOURCE_EXHAUSTED",
            400..=499 => "INVALID_ARGUMENT",
            503 => "UNAVAILABLE",
            504 => "DEADLINE_EXCEEDED",
            _ => "INTERNAL",
        },
        (_, 429) => "rate_limit_error",
        (_, 400..=499) => "invalid_request_error",
        (_, 503) => "service_unavailable_error",
        _ => "server_error",
    }
}

/// An error answer before it has a shape.
struct Answer<'a> {
    status: StatusCode,
    kind: &'static str,
    code: &'static str,
    message: String,
    request_id: &'a RequestId,
    details: Option<Details>,
}

/// What is told beyond a code and a sentence.
#[derive(Serialize)]
struct Details {
    attempts: Vec<Try>,
    reasons: BTreeMap<&'static str, u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<f64>,
}

#[derive(Serialize)]
struct Try {
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<String>,
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    duration_ms: f64,
}

impl Details {
    fn of(error: &Error, wait: Option<Duration>) -> Self {
        let count = |(reason, count): (Reason, u32)| (reason.as_str(), count);
        Self {
            attempts: error.attempts().iter().map(Try::of).collect(),
            reasons: error.reasons().iter().map(count).collect(),
            retry_after: wait.map(|wait| (wait.as_secs_f64() * 1e3).ceil() / 1e3),
        }
    }
}

impl Try {
    fn of(attempt: &Attempt) -> Self {
        Self {
            endpoint: attempt.endpoint.map(|id| id.to_string()),
            kind: attempt.kind.as_str(),
            status: attempt.status.map(|status| status.as_u16()),
            duration_ms: (attempt.duration.as_secs_f64() * 1e5).round() / 1e2,
        }
    }
}

/// `{"type":"error","error":{…},"request_id":…}`
#[derive(Serialize)]
struct AnthropicError<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    error: AnthropicInner<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicInner<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    message: &'a str,
    code: &'static str,
    // Where newer SDKs look for the stable cause.
    details: AnthropicDetails,
    request_id: &'a str,
    #[serde(flatten)]
    more: Option<&'a Details>,
}

#[derive(Serialize)]
struct AnthropicDetails {
    error_code: &'static str,
}

/// `{"error":{"message":…,"type":…,"param":null,"code":…}}`
#[derive(Serialize)]
struct OpenAiError<'a> {
    error: OpenAiInner<'a>,
}

#[derive(Serialize)]
struct OpenAiInner<'a> {
    message: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    param: (),
    code: &'static str,
    request_id: &'a str,
    #[serde(flatten)]
    more: Option<&'a Details>,
}

/// `{"error":{"code":503,"message":…,"status":"UNAVAILABLE","details":[…]}}`
#[derive(Serialize)]
struct GeminiError<'a> {
    error: GeminiInner<'a>,
}

#[derive(Serialize)]
struct GeminiInner<'a> {
    code: u16,
    message: &'a str,
    status: &'static str,
    details: [ErrorInfo<'a>; 1],
    #[serde(rename = "type")]
    kind: &'static str,
    reason: &'static str,
    request_id: &'a str,
    #[serde(flatten)]
    more: Option<&'a Details>,
}

/// `google.rpc.ErrorInfo`, where Google's clients look for the stable cause.
#[derive(Serialize)]
struct ErrorInfo<'a> {
    #[serde(rename = "@type")]
    schema: &'static str,
    reason: String,
    domain: &'static str,
    metadata: ErrorMetadata<'a>,
}

#[derive(Serialize)]
struct ErrorMetadata<'a> {
    request_id: &'a str,
}

impl Answer<'_> {
    fn into_response(self, dialect: Option<Dialect>) -> Response<Bytes> {
        let request_id = &*self.request_id.to_string();
        let message = &*self.message;
        let (kind, code, more) = (self.kind, self.code, self.details.as_ref());
        let json = match dialect {
            Some(Dialect::Anthropic) => serde_json::to_vec(&AnthropicError {
                kind: "error",
                error: AnthropicInner {
                    kind,
                    message,
                    code,
                    details: AnthropicDetails { error_code: code },
                    request_id,
                    more,
                },
                request_id,
            }),
            Some(Dialect::Gemini) => serde_json::to_vec(&GeminiError {
                error: GeminiInner {
                    code: self.status.as_u16(),
                    message,
                    status: error_type(dialect, self.status),
                    details: [ErrorInfo {
                        schema: "type.googleapis.com/google.rpc.ErrorInfo",
                        reason: code.to_ascii_uppercase(),
                        domain: "qcc",
                        metadata: ErrorMetadata { request_id },
                    }],
                    kind,
                    reason: code,
                    request_id,
                    more,
                },
            }),
            _ => serde_json::to_vec(&OpenAiError {
                error: OpenAiInner {
                    message,
                    kind,
                    param: (),
                    code,
                    request_id,
                    more,
                },
            }),
        };
        // Plain structures with text keys: writing them cannot fail.
        let mut response = Response::new(json.unwrap_or_default().into());
        *response.status_mut() = self.status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        response
    }
}
