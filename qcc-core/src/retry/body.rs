use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::StatusCode;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tracing::warn;

use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::failure::{Interrupted, Kind};
use crate::record::{Answer, Event, Record, RecordSink};
use crate::time;

pin_project! {
    /// The body of what the client gets: an upstream's answer, closed in the client's dialect
    /// if it breaks, or a failed answer that is relayed from memory.
    pub struct ReplyBody<B> {
        #[pin]
        source: Source<B>,
        status: StatusCode,
        // After `source`: everything underneath has settled when the record is sealed.
        seal: Seal,
    }
}

pin_project! {
    #[project = SourceProj]
    #[project_replace = SourceTaken]
    enum Source<B> {
        Upstream { #[pin] body: B },
        Memory { bytes: Bytes },
        End,
    }
}

impl<B: Body> ReplyBody<B> {
    pub(super) fn upstream(body: B, status: StatusCode, mut seal: Seal) -> Self {
        // Nobody may ever poll a body that is at its end already.
        if body.is_end_stream() {
            seal.answer(Answer::Relayed { status });
        }
        Self {
            source: Source::Upstream { body },
            status,
            seal,
        }
    }
}

impl<B> ReplyBody<B> {
    pub(super) fn memory(bytes: Bytes, status: StatusCode, mut seal: Seal) -> Self {
        seal.answer(Answer::Relayed { status });
        Self {
            source: Source::Memory { bytes },
            status,
            seal,
        }
    }
}

impl<B> Body for ReplyBody<B>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let mut this = self.project();
        let status = *this.status;
        let result = match this.source.as_mut().project() {
            SourceProj::Upstream { mut body } => match ready!(body.as_mut().poll_frame(cx)) {
                Some(Ok(frame)) => {
                    if body.is_end_stream() {
                        this.seal.answer(Answer::Relayed { status });
                    }
                    return Poll::Ready(Some(Ok(frame)));
                }
                None => {
                    this.seal.answer(Answer::Relayed { status });
                    None
                }
                Some(Err(error)) => Some(error.into()),
            },
            SourceProj::Memory { bytes } => {
                let bytes = std::mem::take(bytes);
                this.source.set(Source::End);
                let frame = (!bytes.is_empty()).then(|| Ok(Frame::data(bytes)));
                return Poll::Ready(frame);
            }
            SourceProj::End => return Poll::Ready(None),
        };
        // What is underneath settles before the record is sealed.
        drop(this.source.as_mut().project_replace(Source::End));
        let Some(error) = result else {
            return Poll::Ready(None);
        };
        let interrupted = Interrupted::find(&*error);
        let kind = interrupted.map_or(Kind::Transport, Interrupted::kind);
        let closing = interrupted.and_then(Interrupted::closing).cloned();
        if let Some(record) = this.seal.answer(Answer::Interrupted { status, kind }) {
            log(&record, kind, closing.is_some());
        }
        Poll::Ready(match closing {
            Some(closing) if closing.is_empty() => None,
            Some(closing) => Some(Ok(Frame::data(closing))),
            None => Some(Err(error)),
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Upstream { body } => body.is_end_stream(),
            Source::Memory { bytes } => bytes.is_empty(),
            Source::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Upstream { body } => body.size_hint(),
            Source::Memory { bytes } => SizeHint::with_exact(bytes.len() as u64),
            Source::End => SizeHint::with_exact(0),
        }
    }
}

/// An answer broke after its commit point; `closed` tells whether its dialect can say so.
fn log(record: &Record, kind: Kind, closed: bool) {
    let endpoint = record.endpoint();
    let bytes = record.sends().last().map_or(0, |(_, send)| send.bytes);
    warn!(
        request_id = %record.id,
        endpoint = endpoint.map(|endpoint| tracing::field::display(endpoint.id())),
        name = endpoint.map(|endpoint| &**endpoint.name()),
        bytes,
        action = if closed { "closing event" } else { "abort" },
        "error type: {}/{}, answer interrupted",
        kind.class(),
        kind,
    );
}

impl<B> fmt::Debug for ReplyBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReplyBody")
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

/// Seals the record of a request exactly once: with the answer that is given to it or, dropped
/// without one, as canceled.
#[derive(Debug)]
pub(super) struct Seal {
    exchange: Exchange,
    sink: Option<Arc<dyn RecordSink>>,
    sealed: bool,
}

impl Seal {
    pub(super) const fn new(exchange: Exchange, sink: Option<Arc<dyn RecordSink>>) -> Self {
        Self {
            exchange,
            sink,
            sealed: false,
        }
    }

    /// The right to seal; what is left behind has none.
    pub(super) fn hand_over(&mut self) -> Self {
        let spent = Self {
            exchange: self.exchange.clone(),
            sink: None,
            sealed: true,
        };
        std::mem::replace(self, spent)
    }

    pub(super) const fn exchange(&self) -> &Exchange {
        &self.exchange
    }

    /// Seals the record, which then says that the client got `answer`.
    pub(super) fn answer(&mut self, answer: Answer) -> Option<Arc<Record>> {
        if self.sealed {
            return None;
        }
        self.sealed = true;
        let now = time::now();
        self.exchange.note(Event::Answered(answer), now);
        let record = self.exchange.seal(now)?;
        if let Some(sink) = &self.sink {
            sink.finished(record.clone());
        }
        Some(record)
    }
}

impl Drop for Seal {
    fn drop(&mut self) {
        self.answer(Answer::Canceled);
    }
}
