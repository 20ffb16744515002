//! What a client sees, and what the record says of it.

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use qcc_core::error::{BoxError, Error};
use qcc_core::facts::Dialect;
use qcc_core::llm;
use qcc_core::record::{Answer, Record, SendResult, VisitRecord};
use qcc_core::time::{self, Duration, Instant};

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Properly.
    Clean,
    /// With an error, for which a server aborts the connection.
    Aborted,
}

/// What came back for a request.
#[derive(Debug)]
pub struct Seen {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, in the pieces in which it came, each with the time since the request began.
    pub pieces: Vec<(Duration, Bytes)>,
    /// How it ended.
    pub end: End,
    /// How long everything took.
    pub time: Duration,
    /// The error, if it is an answer of ours.
    pub error: Option<Error>,
    /// The record of the request, if it was sealed.
    pub record: Option<Arc<Record>>,
}

impl Seen {
    /// Reads an answer to its end, as a client does: an error becomes the answer of ours.
    pub async fn read<B>(
        dialect: Dialect,
        result: Result<Response<B>, Error>,
        started: Instant,
    ) -> Self
    where
        B: Body<Data = Bytes, Error = BoxError>,
    {
        let since = || time::now().saturating_duration_since(started);
        let (head, body, error) = match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                (head, Ok(body), None)
            }
            Err(error) => {
                let answer = llm::respond(&error, Some(dialect), time::now());
                let (head, body) = answer.into_parts();
                (head, Err(body), Some(error))
            }
        };
        let mut pieces = Vec::new();
        let mut end = End::Clean;
        match body {
            Ok(body) => {
                let mut body = std::pin::pin!(body);
                while let Some(frame) = body.frame().await {
                    match frame.map(Frame::into_data) {
                        Ok(Ok(data)) => pieces.push((since(), data)),
                        Ok(Err(_trailers)) => {}
                        Err(_) => {
                            end = End::Aborted;
                            break;
                        }
                    }
                }
            }
            Err(body) => pieces.push((since(), body)),
        }
        Self {
            status: head.status,
            headers: head.headers,
            pieces,
            end,
            time: since(),
            error,
            record: None,
        }
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|(_, piece)| piece.to_vec())
            .collect()
    }

    /// The whole body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap_or_default()
    }

    /// Whether a proper answer with status 200 came to its proper end.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.status == StatusCode::OK && self.end == End::Clean && self.error.is_none()
    }
}

/// The visits of a record, in short: `a: first failed transport, quick failed transport; b:
/// first clean`.
#[must_use]
pub fn visits(record: &Record) -> String {
    let visit = |visit: &VisitRecord| {
        let name = visit
            .endpoint
            .as_ref()
            .map_or("nobody", |endpoint| endpoint.name());
        let sends: Vec<_> = visit
            .sends
            .iter()
            .map(|send| format!("{} {}", send.kind, result(send.result)))
            .collect();
        format!("{name}: {}", sends.join(", "))
    };
    let visits: Vec<_> = record.visits.iter().map(visit).collect();
    visits.join("; ")
}

fn result(result: SendResult) -> String {
    match result {
        SendResult::Failed { verdict, .. } => format!("failed {}", verdict.kind),
        SendResult::Broken(verdict) => format!("broken {}", verdict.kind),
        SendResult::Refused(reason) => format!("refused {reason}"),
        SendResult::Clean => "clean".to_owned(),
        SendResult::Canceled => "canceled".to_owned(),
        SendResult::Committed => "committed".to_owned(),
        _ => "pending".to_owned(),
    }
}

/// What a record says that the client got, in short: `relayed 200`.
#[must_use]
pub fn answer(record: &Record) -> String {
    match record.answer {
        Answer::Relayed { status } => format!("relayed {}", status.as_u16()),
        Answer::Interrupted { status, kind } => {
            format!("interrupted {} {kind}", status.as_u16())
        }
        Answer::Failed(kind) => format!("failed {kind:?}"),
        Answer::Canceled => "canceled".to_owned(),
        _ => "pending".to_owned(),
    }
}
