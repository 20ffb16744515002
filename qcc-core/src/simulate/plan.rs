//! From a behaviour to what happens. Pure.

use std::io::Write as _;

use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{self, HeaderName, HeaderValue};
use http::{Response, StatusCode};

use super::answer::{self, Events, Reply};
use super::asked::{Asked, Form, Operation};
use super::behaviour::{Behaviour, ErrorAnswer};
use super::body::{CloseIdle, Piece, Pieces, SocketFault};
use super::fault;
use super::kept::{Kept, Wanted};
use super::ledger::Admitted;
use crate::facts::Dialect;
use crate::time::Duration;

/// What happens to a request.
#[derive(Debug)]
pub(super) enum Plan {
    Answer {
        /// Before the head.
        after: Duration,
        response: Response<Pieces>,
    },
    Fault(SocketFault),
    Hang,
}

impl Plan {
    pub(super) fn new(endpoint: &str, asked: &Asked, admitted: &Admitted, kept: &mut Kept) -> Self {
        let behaviour = &admitted.behaviour;
        let reply = reply(endpoint, asked, admitted);
        let after = match behaviour {
            Behaviour::Refuse => return Self::Fault(SocketFault::Refuse),
            Behaviour::Reset => return Self::Fault(SocketFault::Reset),
            Behaviour::NotHttp => return Self::Fault(SocketFault::NotHttp),
            Behaviour::Hang => return Self::Hang,
            Behaviour::Slow { first, .. } => *first,
            _ => Duration::ZERO,
        };
        let error = error(asked, behaviour).or_else(|| {
            let id = kept.missing(asked)?;
            Some(fault::not_kept(asked, id))
        });
        let mut response = match error {
            Some(error) => refusal(asked, &reply, &error),
            None => {
                keep(asked, &reply, kept);
                good(asked, &reply, behaviour)
            }
        };
        let id = match asked.dialect {
            Dialect::Anthropic => HeaderName::from_static("request-id"),
            _ => HeaderName::from_static("x-request-id"),
        };
        // An id is made of the endpoint's name, which may be anything.
        if let Ok(value) = HeaderValue::try_from(format!("req_{}", reply.id)) {
            response.headers_mut().insert(id, value);
        }
        Self::Answer { after, response }
    }
}

/// What a good answer changes.
fn keep(asked: &Asked, reply: &Reply, kept: &mut Kept) {
    match asked.operation {
        Operation::Kept(collection, Wanted::Make) => {
            kept.insert(collection.id(&reply.kept), asked.key.clone());
        }
        Operation::Kept(_, Wanted::Delete) => {
            asked
                .named
                .first()
                .into_iter()
                .for_each(|id| kept.remove(id));
        }
        _ if asked.stores => kept.insert(reply.response_id(), asked.key.clone()),
        _ => {}
    }
}

fn reply(endpoint: &str, asked: &Asked, admitted: &Admitted) -> Reply {
    let code = match admitted.behaviour {
        Behaviour::Echo => asked.code(),
        _ => None,
    };
    let text = match (code, &admitted.text) {
        (Some(code), _) => code.to_owned(),
        (None, Some(text)) => text.to_string(),
        (None, None) => format!("Hello, this is the simulated endpoint {endpoint}."),
    };
    Reply {
        id: format!("sim_{}", admitted.number),
        kept: {
            let safe = |char: char| {
                if char.is_ascii_alphanumeric() {
                    char
                } else {
                    '-'
                }
            };
            let endpoint: String = endpoint.chars().map(safe).collect();
            format!("{endpoint}_sim_{}", admitted.number)
        },
        text,
        deltas: admitted.deltas,
    }
}

/// The error that is the whole answer, if it is one.
fn error(asked: &Asked, behaviour: &Behaviour) -> Option<ErrorAnswer> {
    if asked.operation == Operation::Unknown {
        let code = match asked.dialect {
            Dialect::Anthropic => "not_found_error",
            Dialect::Chat | Dialect::Responses => "unknown_url",
            Dialect::Gemini => "NOT_FOUND",
        };
        let error = ErrorAnswer::new(StatusCode::NOT_FOUND).with_code(code);
        return Some(error.with_message("no such path"));
    }
    let streams = matches!(
        asked.operation,
        Operation::Generate(Form::Sse { .. } | Form::Array)
    );
    Some(match behaviour {
        Behaviour::Status(error) => error.clone(),
        Behaviour::Keys(_) => fault::bad_key(asked.dialect),
        Behaviour::Quota(_) => ErrorAnswer::new(StatusCode::TOO_MANY_REQUESTS),
        Behaviour::ErrorAfter(_) if !streams => ErrorAnswer::new(StatusCode::OK),
        Behaviour::EchoPrompt => {
            ErrorAnswer::new(StatusCode::BAD_REQUEST).with_message("not acceptable: {prompt}")
        }
        Behaviour::EchoCredential => ErrorAnswer::new(StatusCode::INTERNAL_SERVER_ERROR)
            .with_message("failed with key {credential}"),
        _ => return None,
    })
}

fn refusal(asked: &Asked, reply: &Reply, error: &ErrorAnswer) -> Response<Pieces> {
    let body = fault::body(asked, reply, error);
    let mut response = complete("application/json", body);
    *response.status_mut() = error.status;
    for (name, value) in &error.headers {
        response.headers_mut().append(name, value.clone());
    }
    response
}

/// An answer with status 200, and what becomes of it.
fn good(asked: &Asked, reply: &Reply, behaviour: &Behaviour) -> Response<Pieces> {
    let form = match asked.operation {
        Operation::Generate(form) => form,
        _ => Form::Whole,
    };
    let kind = match form {
        Form::Sse { .. } => "text/event-stream",
        Form::Whole | Form::Array => "application/json",
    };
    match behaviour {
        Behaviour::Html => {
            return complete(
                "text/html",
                "<!DOCTYPE html><html><body><h1>502 Bad Gateway</h1></body></html>",
            );
        }
        Behaviour::Empty => return complete(kind, ""),
        Behaviour::Garbage => {
            return complete(kind, &b"\x00\xff\xfe\x16\x03 no answer \xc0\x80"[..]);
        }
        _ => {}
    }
    let mut response = match form {
        Form::Whole => whole(kind, answer::whole(asked, reply).into(), behaviour),
        Form::Sse { usage } => {
            let events = answer::events(asked, reply, usage);
            let error = |after| fault::event(asked, reply, after);
            stream(kind, events, behaviour, error)
        }
        Form::Array => stream(
            kind,
            answer::array(asked, reply),
            behaviour,
            fault::array_end,
        ),
    };
    match behaviour {
        Behaviour::Gzip { announced: true } => {
            let gzip = HeaderValue::from_static("gzip");
            response
                .headers_mut()
                .insert(header::CONTENT_ENCODING, gzip);
        }
        Behaviour::CloseIdle => {
            response.extensions_mut().insert(CloseIdle);
        }
        _ => {}
    }
    response
}

/// An answer that is not streamed.
fn whole(kind: &'static str, body: Bytes, behaviour: &Behaviour) -> Response<Pieces> {
    let half = body.slice(..body.len() / 2);
    let (part, end) = match behaviour {
        Behaviour::Gzip { .. } => return complete(kind, Gzip::default().last(&body)),
        Behaviour::NoEnd => (half, None),
        Behaviour::Truncated => (half, Some(Piece::Fault(SocketFault::Truncate))),
        Behaviour::Cut(events) => {
            let part = if *events == 0 { Bytes::new() } else { half };
            (part, Some(Piece::Fault(SocketFault::Reset)))
        }
        Behaviour::Stall(events) => {
            let part = if *events == 0 { Bytes::new() } else { half };
            (part, Some(Piece::Stall))
        }
        Behaviour::Slow { each, .. } if !each.is_zero() => {
            let mut response = head(kind);
            announce(&mut response, body.len());
            response.body_mut().push(Piece::Wait(*each));
            response.body_mut().push(Piece::Data(body));
            return response;
        }
        _ => return complete(kind, body),
    };
    let mut response = head(kind);
    // An answer that ends early by intention has no length that would give it away.
    if end.is_some() {
        announce(&mut response, body.len());
    }
    response.body_mut().push(Piece::Data(part));
    if let Some(end) = end {
        response.body_mut().push(end);
    }
    response
}

/// An answer that is streamed.
fn stream(
    kind: &'static str,
    Events {
        mut frames,
        incomplete,
    }: Events,
    behaviour: &Behaviour,
    error: impl Fn(usize) -> String,
) -> Response<Pieces> {
    let mut response = head(kind);
    let pieces = response.body_mut();
    let mut wait = Duration::ZERO;
    let mut end = None;
    // After the event that completes the answer, nothing would be a fault of it.
    let at_most = |events: u32| incomplete.min(events as usize);
    match behaviour {
        Behaviour::NoEnd => frames.truncate(incomplete),
        Behaviour::Cut(events) => {
            cut(&mut frames, at_most(*events));
            end = Some(Piece::Fault(SocketFault::Reset));
        }
        Behaviour::Truncated => {
            let events = frames.len() / 2;
            cut(&mut frames, events);
            end = Some(Piece::Fault(SocketFault::Truncate));
        }
        Behaviour::Stall(events) => {
            frames.truncate(at_most(*events));
            end = Some(Piece::Stall);
        }
        Behaviour::ErrorAfter(events) => {
            frames.truncate(at_most(*events));
            frames.push(error(frames.len()).into());
        }
        Behaviour::Gzip { .. } => {
            let mut gzip = Gzip::default();
            let mut frame = frames.iter_mut().peekable();
            while let Some(plain) = frame.next() {
                *plain = match frame.peek() {
                    Some(_) => gzip.next(plain),
                    None => std::mem::take(&mut gzip).last(plain),
                };
            }
        }
        Behaviour::Slow { each, .. } => wait = *each,
        _ => {}
    }
    for frame in frames {
        if !wait.is_zero() {
            pieces.push(Piece::Wait(wait));
        }
        pieces.push(Piece::Data(frame));
    }
    if let Some(end) = end {
        pieces.push(end);
    }
    response
}

/// Keeps so many events and the first half of the next.
fn cut(frames: &mut Vec<Bytes>, events: usize) {
    frames.truncate(events + 1);
    if let Some(last) = frames.get_mut(events) {
        // With nothing asked for, the reset follows directly on the head.
        let keep = if events == 0 { 0 } else { last.len() / 2 };
        last.truncate(keep);
    }
}

fn head(kind: &'static str) -> Response<Pieces> {
    let mut response = Response::new(Pieces::default());
    let kind = HeaderValue::from_static(kind);
    response.headers_mut().insert(header::CONTENT_TYPE, kind);
    response
}

fn announce(response: &mut Response<Pieces>, length: usize) {
    response
        .headers_mut()
        .insert(header::CONTENT_LENGTH, length.into());
    response.body_mut().announce(length);
}

fn complete(kind: &'static str, body: impl Into<Bytes>) -> Response<Pieces> {
    let body = body.into();
    let mut response = head(kind);
    announce(&mut response, body.len());
    response.body_mut().push(Piece::Data(body));
    response
}

/// Compresses pieces so that each can be decoded as soon as it came.
struct Gzip(GzEncoder<Vec<u8>>);

impl Default for Gzip {
    fn default() -> Self {
        Self(GzEncoder::new(Vec::new(), Compression::fast()))
    }
}

impl Gzip {
    #[expect(clippy::expect_used, reason = "writing to a vector cannot fail")]
    fn next(&mut self, piece: &[u8]) -> Bytes {
        self.0.write_all(piece).expect("a vector takes every byte");
        self.0.flush().expect("a vector takes every byte");
        std::mem::take(self.0.get_mut()).into()
    }

    #[expect(clippy::expect_used, reason = "writing to a vector cannot fail")]
    fn last(mut self, piece: &[u8]) -> Bytes {
        self.0.write_all(piece).expect("a vector takes every byte");
        self.0.finish().expect("a vector takes every byte").into()
    }
}
