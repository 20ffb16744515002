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
/// | `OwnerUnavailable` | 503; 429 if the owner only met a rate limit | `owner_unavailable`, also as `type` |
/// | `AllFailed`, last failure overloaded | 503 | `upstream_overloaded` |
/// | `AllFailed`, last failure a time-out | 504 | `upstream_timeout` |
/// | `AllFailed`, otherwise | 502 | `upstream_failed` |
/// | `RateLimited` | 429 | `upstream_rate_limited` |
/// | `AuthFailed` | 502 | `upstream_auth_failed` |
/// | `Deadline` | 504 | `deadline_exceeded` |
/// | `RequestBody` | 400 | `request_body_unreadable` |
/// | `CallerFull` | 429 | `too_many_requests_in_flight` |
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
            ErrorKind::NoEndpoint | ErrorKind::OwnerUnavailable => code,
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
        ErrorKind::OwnerUnavailable if error.is_rate_limited() => {
            (StatusCode::TOO_MANY_REQUESTS, "owner_unavailable")
        }
        ErrorKind::OwnerUnavailable => (StatusCode::SERVICE_UNAVAILABLE, "owner_unavailable"),
        ErrorKind::AllFailed => match last {
            Some(Kind::Overloaded) => (StatusCode::SERVICE_UNAVAILABLE, "upstream_overloaded"),
            Some(Kind::Timeout) => (StatusCode::GATEWAY_TIMEOUT, "upstream_timeout"),
            _ => (StatusCode::BAD_GATEWAY, "upstream_failed"),
        },
        ErrorKind::RateLimited => (StatusCode::TOO_MANY_REQUESTS, "upstream_rate_limited"),
        ErrorKind::AuthFailed => (StatusCode::BAD_GATEWAY, "upstream_auth_failed"),
        ErrorKind::Deadline => (StatusCode::GATEWAY_TIMEOUT, "deadline_exceeded"),
        ErrorKind::RequestBody => (StatusCode::BAD_REQUEST, "request_body_unreadable"),
        ErrorKind::CallerFull => (StatusCode::TOO_MANY_REQUESTS, "too_many_requests_in_flight"),
    }
}

/// What happened, and what to do about it.
fn message(error: &Error, code: &str, wait: Option<Duration>) -> String {
    let tried = match error.attempts().len() {
        0 => String::new(),
        1 => " (1 attempt, see `attempts`)".to_owned(),
        count => format!(" ({count} attempts, see `attempts`)"),
    };
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
        ErrorKind::OwnerUnavailable => format!(
            "The request names something that exists only at the endpoint that made it{}. \
             {again}, or send the request without that reference; in place of a \
             previous_response_id, the whole history.",
            owner(error)
        ),
        ErrorKind::AllFailed if code == "upstream_timeout" => format!(
            "The upstreams did not answer in time{tried}. {again}, or allow a longer wait for \
             the first byte."
        ),
        ErrorKind::AllFailed => format!("The upstreams failed{tried}. {again}."),
        ErrorKind::RateLimited => {
            let limited = |attempt: &&Attempt| attempt.kind.class() == Class::RateLimit;
            let credentials = match error.attempts().iter().filter(limited).count() {
                0 => "every credential".to_owned(),
                1 => "the 1 credential tried".to_owned(),
                count => format!("all {count} credentials tried"),
            };
            let reset = match wait {
                Some(wait) => format!("The earliest reset is in {} s", seconds(wait)),
                None => "The earliest reset is not known".to_owned(),
            };
            format!(
                "Rate limited or out of quota with {credentials}. {reset}; try again then, or \
                 add credentials."
            )
        }
        ErrorKind::AuthFailed => format!(
            "The upstreams refused every credential of this service{tried}. Your own key is not \
             the cause: the operator has to renew the upstream credentials."
        ),
        ErrorKind::Deadline => format!(
            "The deadline of the request passed without an answer{tried}. {again}, or configure \
             a longer deadline."
        ),
        ErrorKind::RequestBody => {
            "The body of the request broke off before its end. Send the request again.".to_owned()
        }
        ErrorKind::CallerFull => "Your key has as many requests in flight as it may have. Send \
                                  this one again when another one has ended."
            .to_owned(),
    }
}

/// Who the owner is and what is the matter with it.
fn owner(error: &Error) -> String {
    let Some(owner) = error.owner() else {
        return String::new();
    };
    let id = owner.endpoint();
    let name = match owner.name() {
        Some(name) => format!("`{name}` ({id})"),
        None => id.to_string(),
    };
    match owner.reason() {
        None => format!(", {name}, which is no longer configured"),
        Some(Reason::Excluded) => format!(", {name}, which has failed"),
        Some(reason) => format!(", {name}, which may not be used now ({reason})"),
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

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::available::ReasonCounts;
    use crate::endpoint::EndpointId;
    use crate::error::OwnerUnavailable;
    use crate::time;

    fn error(kind: ErrorKind, kinds: &[Kind]) -> Error {
        let attempt = |(number, kind): (usize, &Kind)| Attempt {
            endpoint: Some(EndpointId::new("https://a.example", &number.to_string())),
            name: None,
            kind: *kind,
            status: (*kind == Kind::Server).then_some(StatusCode::INTERNAL_SERVER_ERROR),
            duration: Duration::from_micros(12_345),
        };
        Error::new(kind, "req-1".parse().unwrap())
            .with_attempts(kinds.iter().enumerate().map(attempt).collect())
    }

    fn reasons(reasons: &[Reason]) -> ReasonCounts {
        let mut counts = ReasonCounts::default();
        for reason in reasons {
            counts.add(*reason);
        }
        counts
    }

    fn json(response: &Response<Bytes>) -> Value {
        assert_eq!(response.headers()[CONTENT_TYPE], "application/json");
        serde_json::from_slice(response.body()).unwrap()
    }

    fn all_dialects() -> impl Iterator<Item = Option<Dialect>> {
        Dialect::ALL.into_iter().map(Some).chain([None])
    }

    fn code(body: &Value) -> &str {
        let error = &body["error"];
        let code = error.get("reason").unwrap_or_else(|| &error["code"]);
        code.as_str().unwrap()
    }

    // OPS-08
    #[test]
    fn every_error_has_a_code_a_message_and_the_request_id_in_its_dialect() {
        for kind in [
            ErrorKind::NoEndpoint,
            ErrorKind::OwnerUnavailable,
            ErrorKind::AllFailed,
            ErrorKind::RateLimited,
            ErrorKind::AuthFailed,
            ErrorKind::Deadline,
            ErrorKind::RequestBody,
            ErrorKind::CallerFull,
        ] {
            for dialect in all_dialects() {
                let response = respond(&error(kind, &[]), dialect, time::now());
                let body = json(&response);
                let error = &body["error"];
                assert_eq!(error["request_id"], "req-1");
                assert!(error["message"].as_str().unwrap().ends_with('.'));
                assert!(
                    !error["message"].as_str().unwrap().contains(" 0 "),
                    "{body}"
                );
                assert!(!code(&body).is_empty());
                match dialect {
                    Some(Dialect::Anthropic) => {
                        assert_eq!(body["type"], "error");
                        assert_eq!(body["request_id"], "req-1");
                        assert_eq!(error["details"]["error_code"], error["code"]);
                    }
                    Some(Dialect::Gemini) => {
                        assert_eq!(error["code"], response.status().as_u16());
                        assert!(error["status"].is_string());
                        let info = &error["details"][0];
                        assert_eq!(info["reason"], code(&body).to_uppercase());
                    }
                    _ => {
                        assert!(error["param"].is_null() && error.get("param").is_some());
                        assert!(error["type"].is_string());
                    }
                }
            }
        }
    }

    // OPS-08
    #[test]
    fn the_type_is_one_that_sdks_know() {
        let id = RequestId::random();
        for (dialect, field, expected) in [
            (
                Dialect::Anthropic,
                "type",
                [
                    (401, "authentication_error"),
                    (404, "not_found_error"),
                    (413, "request_too_large"),
                    (429, "rate_limit_error"),
                    (502, "api_error"),
                    (503, "overloaded_error"),
                ],
            ),
            (
                Dialect::Chat,
                "type",
                [
                    (401, "invalid_request_error"),
                    (404, "invalid_request_error"),
                    (413, "invalid_request_error"),
                    (429, "rate_limit_error"),
                    (502, "server_error"),
                    (503, "service_unavailable_error"),
                ],
            ),
            (
                Dialect::Gemini,
                "status",
                [
                    (401, "UNAUTHENTICATED"),
                    (404, "NOT_FOUND"),
                    (413, "INVALID_ARGUMENT"),
                    (429, "RESOURCE_EXHAUSTED"),
                    (502, "INTERNAL"),
                    (503, "UNAVAILABLE"),
                ],
            ),
        ] {
            for (status, kind) in expected {
                let status = StatusCode::from_u16(status).unwrap();
                let response = error_response(Some(dialect), status, "own_code", "Do this.", &id);
                assert_eq!(response.status(), status);
                let body = json(&response);
                assert_eq!(body["error"][field], kind, "{dialect} {status}");
                assert_eq!(body["error"]["message"], "Do this.");
                assert_eq!(code(&body), "own_code");
                assert!(body["error"].get("attempts").is_none());
                let told = response.headers().contains_key("x-should-retry");
                assert_eq!(told, status.is_client_error() && status != 429, "{status}");
            }
        }
    }

    // RTY-12
    #[test]
    fn refused_credentials_are_a_502_of_their_own() {
        let error = error(ErrorKind::AuthFailed, &[Kind::Auth; 3]);
        for dialect in all_dialects() {
            let response = respond(&error, dialect, time::now());
            assert_eq!(response.status(), StatusCode::BAD_GATEWAY);
            assert_eq!(response.headers()["x-should-retry"], "false");
            let body = json(&response);
            assert_eq!(code(&body), "upstream_auth_failed");
            assert_eq!(body["error"]["attempts"].as_array().unwrap().len(), 3);
        }
    }

    // RTY-13
    #[test]
    fn the_attempts_are_listed_and_the_last_decides_the_status() {
        for (last, status, name) in [
            (Kind::Server, 502, "upstream_failed"),
            (Kind::Transport, 502, "upstream_failed"),
            (Kind::Unknown, 502, "upstream_failed"),
            (Kind::Overloaded, 503, "upstream_overloaded"),
            (Kind::Timeout, 504, "upstream_timeout"),
        ] {
            let error = error(ErrorKind::AllFailed, &[Kind::Server, last]);
            let response = respond(&error, Some(Dialect::Anthropic), time::now());
            assert_eq!(response.status().as_u16(), status, "{last}");
            assert_eq!(response.headers()["x-should-retry"], "false");
            let body = json(&response);
            assert_eq!(code(&body), name);
            let attempts = body["error"]["attempts"].as_array().unwrap();
            assert_eq!(attempts.len(), 2);
            let id = EndpointId::new("https://a.example", "0").to_string();
            assert_eq!(
                attempts[0],
                serde_json::json!({
                    "endpoint": id, "kind": "server", "status": 500, "duration_ms": 12.35
                })
            );
            assert_eq!(attempts[1]["kind"], last.as_str());
        }
    }

    // RTY-13, TOK-14
    #[test]
    fn a_rate_limit_names_the_credentials_tried_and_the_earliest_reset() {
        let now = time::now();
        let error = error(
            ErrorKind::RateLimited,
            &[Kind::Server, Kind::RateLimit, Kind::Quota],
        )
        .with_retry_at(Some(now + Duration::from_millis(93_500)));
        for dialect in all_dialects() {
            let response = respond(&error, dialect, now);
            assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
            assert_eq!(response.headers()[RETRY_AFTER], "60");
            assert!(!response.headers().contains_key("x-should-retry"));
            let body = json(&response);
            assert_eq!(code(&body), "upstream_rate_limited");
            assert_eq!(body["error"]["retry_after"], 93.5);
            let message = body["error"]["message"].as_str().unwrap();
            assert!(message.contains("all 2 credentials tried"), "{message}");
            assert!(message.contains("in 94 s"), "{message}");
        }
    }

    // RTY-14, ACC-03
    #[test]
    fn no_endpoint_is_503_with_the_reasons_counted() {
        let now = time::now();
        let error = error(ErrorKind::NoEndpoint, &[])
            .with_reasons(reasons(&[Reason::Open, Reason::Cooling, Reason::Open]))
            .with_retry_at(Some(now + Duration::from_millis(1200)));
        for dialect in all_dialects() {
            let response = respond(&error, dialect, now);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], "2");
            assert_eq!(response.headers()["x-should-retry"], "false");
            let body = json(&response);
            assert_eq!(body["error"]["type"], "no_available_account");
            assert_eq!(code(&body), "no_available_account");
            assert_eq!(body["error"]["retry_after"], 1.2);
            let counted = serde_json::json!({ "open": 2, "cooling": 1 });
            assert_eq!(body["error"]["reasons"], counted);
        }
    }

    // RTY-14
    #[test]
    fn no_endpoint_is_429_if_every_reason_is_a_rate_limit() {
        let now = time::now();
        let error = error(ErrorKind::NoEndpoint, &[])
            .with_reasons(reasons(&[Reason::Cooling, Reason::Cooling]))
            .with_retry_at(Some(now));
        let response = respond(
            &error,
            Some(Dialect::Responses),
            now + Duration::from_secs(5),
        );
        assert_eq!(response.status(), StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(response.headers()[RETRY_AFTER], "1");
        assert!(!response.headers().contains_key("x-should-retry"));
        assert_eq!(json(&response)["error"]["type"], "no_available_account");
    }

    // AFF-19
    #[test]
    fn an_owner_that_is_unavailable_is_named_with_what_to_do() {
        let now = time::now();
        let id =
            crate::endpoint::Endpoint::new("main", "http://main.example".parse().unwrap()).id();
        let until = Some(now + Duration::from_secs(90));
        let owner = |reason| OwnerUnavailable::new(id, Some("main".into()), reason, until);
        let lost = |reason| {
            error(ErrorKind::OwnerUnavailable, &[])
                .with_owner(Some(owner(Some(reason))))
                .with_reasons(reasons(&[reason]))
                .with_retry_at(until)
        };
        for dialect in all_dialects() {
            let response = respond(&lost(Reason::Open), dialect, now);
            assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(response.headers()[RETRY_AFTER], "60");
            assert_eq!(response.headers()["x-should-retry"], "false");
            let body = json(&response);
            assert_eq!(body["error"]["type"], "owner_unavailable");
            assert_eq!(code(&body), "owner_unavailable");
            assert_eq!(body["error"]["retry_after"], 90.0);
            let message = body["error"]["message"].as_str().unwrap();
            for part in ["`main`", "(open)", "in 90 s", "the whole history"] {
                assert!(message.contains(part), "{part}: {message}");
            }
        }
        let cooling = respond(&lost(Reason::Cooling), None, now);
        assert_eq!(cooling.status(), StatusCode::TOO_MANY_REQUESTS);
        assert!(!cooling.headers().contains_key("x-should-retry"));
        let failed = error(ErrorKind::OwnerUnavailable, &[Kind::RateLimit])
            .with_owner(Some(owner(Some(Reason::Excluded))));
        let failed = respond(&failed, None, now);
        assert_eq!(failed.status(), StatusCode::TOO_MANY_REQUESTS);
    }

    #[test]
    fn a_deadline_is_504_and_a_broken_body_400() {
        let now = time::now();
        let late = error(ErrorKind::Deadline, &[Kind::Timeout]);
        let response = respond(&late, None, now);
        assert_eq!(response.status(), StatusCode::GATEWAY_TIMEOUT);
        assert!(!response.headers().contains_key(RETRY_AFTER));
        let broken = error(ErrorKind::RequestBody, &[]);
        assert_eq!(
            respond(&broken, None, now).status(),
            StatusCode::BAD_REQUEST
        );
    }
}
