//! The control path, for tests: what an endpoint does, and what happened there.
//!
//! | request | effect |
//! |---|---|
//! | `GET /_simulate` | the counts of every endpoint, as JSON by name |
//! | `POST /_simulate/NAME` | the endpoint follows the script in the body from now on |
//!
//! Served to this machine only.

use bytes::Bytes;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use http_body::Body;
use http_body_util::{BodyExt as _, Limited};
use qcc_core::error::BoxError;
use qcc_core::simulate::{Counts, Simulator};
use serde_json::{Value, json};

use super::script::parse_script;

/// The first segment of the path.
pub(crate) const SEGMENT: &str = "_simulate";

/// No script is longer, in bytes.
const LONGEST: usize = 64 << 10;

/// Whether a request with this path is for the control path.
pub(super) fn is_meant(path: &str) -> bool {
    path.split('/').nth(1) == Some(SEGMENT)
}

/// Answers a request of the control path.
///
/// # Errors
///
/// The body of the request could not be read.
pub(super) async fn answer<B>(
    simulator: &Simulator,
    request: Request<B>,
) -> Result<Response<Bytes>, BoxError>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    let (head, body) = request.into_parts();
    let name = head.uri.path().split('/').nth(2).unwrap_or_default();
    if head.method == Method::GET && name.is_empty() {
        return Ok(respond(StatusCode::OK, &all(simulator)));
    }
    if head.method != Method::POST || !is_name(name) {
        let text = "use GET /_simulate or POST /_simulate/NAME with a behaviour as body";
        let mut response = refuse(StatusCode::METHOD_NOT_ALLOWED, text);
        let allowed = HeaderValue::from_static("GET, POST");
        response.headers_mut().insert(ALLOW, allowed);
        return Ok(response);
    }
    let body = Limited::new(body, LONGEST).collect().await?.to_bytes();
    let script = String::from_utf8_lossy(&body);
    Ok(match parse_script(script.trim()) {
        Ok(parsed) => {
            simulator.set(name, parsed);
            tracing::info!(endpoint = name, script = script.trim(), "behaviour set");
            respond(StatusCode::OK, &json!({ name: script.trim() }))
        }
        Err(error) => refuse(StatusCode::BAD_REQUEST, &error.to_string()),
    })
}

/// Whether `name` can stand in a path and is none of the control path.
pub(crate) fn is_name(name: &str) -> bool {
    let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    !name.is_empty() && name != SEGMENT && name.bytes().all(sane)
}

fn all(simulator: &Simulator) -> Value {
    let names = simulator.names();
    names
        .iter()
        .map(|name| (name.to_string(), shown(&simulator.counts(name))))
        .collect()
}

fn shown(counts: &Counts) -> Value {
    json!({
        "requests": counts.requests,
        "in_flight": counts.in_flight,
        "peak_in_flight": counts.peak_in_flight,
        "completed": counts.completed,
        "broken": counts.broken,
        "canceled": counts.canceled,
        "keys": counts.keys,
    })
}

fn refuse(status: StatusCode, message: &str) -> Response<Bytes> {
    respond(status, &json!({ "error": { "message": message } }))
}

fn respond(status: StatusCode, body: &Value) -> Response<Bytes> {
    let mut response = Response::new(Bytes::from(format!("{body}\n")));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
