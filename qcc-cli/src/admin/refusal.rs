//! What the admin API answers when it does not do what was asked.

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use http::{HeaderName, StatusCode};
use qcc_core::exchange::RequestId;
use serde_json::{Map, Value, json};

use crate::moment::cut;

/// The header in which answers name their request.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-qcc-request-id");

/// No text that a caller sent is repeated beyond this many bytes.
const LONGEST_ECHO: usize = 200;

/// A sentence names this many of the known names; the field beside it has more.
const LISTED: usize = 20;

/// A refusal: a status, a stable type, a sentence that says what to do, perhaps more fields.
///
/// A handler returns it like any answer; the outermost layer knows the request id and writes
/// the body.
#[derive(Clone, Debug)]
pub(crate) struct Refusal(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    message: String,
    more: Map<String, Value>,
    header: Option<(HeaderName, HeaderValue)>,
}

impl Refusal {
    /// A refusal with this status, stable type and sentence.
    pub(super) fn new(status: StatusCode, kind: &'static str, message: impl Into<String>) -> Self {
        Self(Box::new(Inner {
            status,
            kind,
            message: message.into(),
            more: Map::new(),
            header: None,
        }))
    }

    fn with_header(mut self, name: HeaderName, value: &'static str) -> Self {
        self.0.header = Some((name, HeaderValue::from_static(value)));
        self
    }

    /// The same with one more field.
    pub(super) fn with(mut self, key: &str, value: impl Into<Value>) -> Self {
        self.0.more.insert(key.to_owned(), value.into());
        self
    }

    /// The request has to bring the token.
    pub(super) fn unauthorized() -> Self {
        let message = "This listener wants `authorization: Bearer TOKEN` with the token of \
                       `admin.token`; commands take it from QCC_ADMIN_TOKEN or the configuration.";
        Self::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
            .with_header(WWW_AUTHENTICATE, "Bearer")
    }

    /// The route has another method.
    pub(super) fn method(allowed: &'static str) -> Self {
        let message = format!("This route is for {allowed} only.");
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            "method_not_allowed",
            message,
        )
        .with_header(ALLOW, allowed)
    }

    /// Nothing has the name; `known` has what there is.
    pub(super) fn unknown(what: &str, name: &str, known: Vec<String>) -> Self {
        let name = cut(name, LONGEST_ECHO);
        let list = match &*known {
            [] => "there is none".to_owned(),
            few if few.len() <= LISTED => format!("known are {}", few.join(", ")),
            many => {
                let more = many.len() - LISTED;
                format!("known are {} and {more} more", many[..LISTED].join(", "))
            }
        };
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            format!("There is no {what} `{name}`; {list}."),
        )
        .with("known", known)
    }

    /// Text of the caller, as far as it is repeated.
    pub(super) fn echo(text: &str) -> &str {
        cut(text, LONGEST_ECHO)
    }

    /// The answer to the request with this id.
    pub(super) fn respond(self, id: &RequestId) -> Response {
        let Inner {
            status,
            kind,
            message,
            more,
            header,
        } = *self.0;
        let mut error = Map::new();
        error.insert("type".to_owned(), kind.into());
        error.insert("message".to_owned(), message.into());
        error.insert("request_id".to_owned(), id.to_string().into());
        error.extend(more);
        let body = json!({ "error": error }).to_string();
        let mut response = (status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.extend(header);
        response
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let mut response = self.0.status.into_response();
        response.extensions_mut().insert(self);
        response
    }
}
