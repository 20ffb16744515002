//! Which answers are decoded. Pure.

use http::header::CONTENT_TYPE;
use http::response::Parts;
use http::{HeaderMap, Method, Request, StatusCode};

use crate::upstream::coding::{Accepted, Announced, Codings, announced};

/// A document or an error that is larger than this is none.
const DOCUMENT: u64 = 64 * 1024 * 1024;

/// What was asked for, as far as it says how to take the answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    is_head: bool,
    is_generation: bool,
    // By the client itself, of an answer that nobody looks into.
    accepted: Accepted,
}

/// What to do with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// Leave it as it is.
    Leave,
    /// See whether it is gzip, which it does not say.
    Look,
    /// Decode it.
    Decode(Codings),
}

impl Asked {
    pub(super) fn by<B>(request: &Request<B>, is_generation: bool) -> Self {
        Self {
            is_head: request.method() == Method::HEAD,
            is_generation,
            accepted: if is_generation {
                Accepted::default()
            } else {
                Accepted::by(request.headers())
            },
        }
    }

    pub(super) fn plan(&self, head: &Parts) -> Plan {
        // A range of encoded bytes cannot be decoded.
        let has_no_body = matches!(
            head.status,
            StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED
        );
        if self.is_head || has_no_body || head.status == StatusCode::PARTIAL_CONTENT {
            return Plan::Leave;
        }
        match announced(&head.headers) {
            Announced::Unknown => Plan::Leave,
            // Nobody looks into it, and the client can take it.
            Announced::Known(codings)
                if head.status.is_success() && self.accepted.has_all(&codings) =>
            {
                Plan::Leave
            }
            Announced::Known(codings) => Plan::Decode(codings),
            Announced::Nothing if may_be_text(&head.headers) => Plan::Look,
            Announced::Nothing => Plan::Leave,
        }
    }

    /// To how many bytes the answer may decode: a stream and a file may be of any length.
    pub(super) fn limit(&self, head: &Parts) -> u64 {
        let is_stream =
            content_type(&head.headers).is_some_and(|kind| is(kind, "text/event-stream"));
        if head.status.is_success() && (is_stream || !self.is_generation) {
            u64::MAX
        } else {
            DOCUMENT
        }
    }
}

/// Whether the body is text as far as the head knows, so that gzip is nothing that it may be.
fn may_be_text(headers: &HeaderMap) -> bool {
    content_type(headers).is_none_or(|kind| {
        is(kind, "text/")
            || kind
                .windows(4)
                .any(|part| part.eq_ignore_ascii_case(b"json"))
    })
}

fn content_type(headers: &HeaderMap) -> Option<&[u8]> {
    headers.get(CONTENT_TYPE).map(|value| value.as_bytes())
}

fn is(kind: &[u8], start: &str) -> bool {
    kind.get(..start.len())
        .is_some_and(|begin| begin.eq_ignore_ascii_case(start.as_bytes()))
}
