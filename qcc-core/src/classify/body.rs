use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::config::Silence;
use super::{Progress, Watch};
use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::failure::{Interrupted, Kind, Verdict};
use crate::record::{Event, SendResult};
use crate::time::{self, Duration, Instant, Timer};

/// After its end marker an upstream is read on to its own end for so long: a connection whose
/// answer was not read to the end cannot be used again.
const LINGER: Duration = Duration::from_millis(50);

/// The body of a committed answer. It ends with
/// [`Interrupted`](crate::failure::Interrupted) if the answer breaks.
pub struct WatchedBody<B>(
    // Behind a pointer, because the layers above move the answer from hand to hand.
    Box<Watched<B>>,
);

struct Watched<B> {
    body: Option<B>,
    watch: Option<Box<dyn Watch>>,
    // Whether it may tell of resources that were made.
    makes: bool,
    // The next bytes, once nothing more comes: a server that knows the length of an answer does
    // not ask for its end.
    last: Option<Bytes>,
    tail: Tail,
    broken: Option<(Verdict, Option<BoxError>)>,
    silence: Silence,
    last_byte: Instant,
    // When the client was sent something last.
    last_sent: Instant,
    timer: Timer,
    ending: Ending,
}

/// What is still to come of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tail {
    /// More output.
    Open,
    /// Nothing that is missed: the end marker was seen.
    Complete,
    /// Nothing: the upstream's body is at its end.
    Ended,
}

/// Notes the end of the answer, once.
struct Ending {
    exchange: Exchange,
    bytes: u64,
    noted: bool,
}

impl<B> WatchedBody<B> {
    pub(super) fn passing(body: B, exchange: Exchange, silence: Silence, now: Instant) -> Self
    where
        B: Body,
    {
        let timer = Timer::default();
        let mut this = Watched::new(body, Tail::Open, exchange, silence, now, timer);
        // Nobody may ever poll a body that is at its end already.
        if this.body.as_ref().is_some_and(Body::is_end_stream) {
            this.ending.note(SendResult::Clean);
        }
        Self(this)
    }

    pub(super) fn watched(
        body: B,
        watch: Box<dyn Watch>,
        tail: Tail,
        exchange: Exchange,
        silence: Silence,
        last_byte: Instant,
        timer: Timer,
    ) -> Self {
        let mut this = Watched::new(body, tail, exchange, silence, last_byte, timer);
        this.makes = this.ending.exchange.facts().makes.is_some();
        this.watch = Some(watch);
        this.tail = tail;
        // What was held goes out now, however old it is.
        this.last_sent = time::now();
        this.learn();
        if tail == Tail::Ended {
            this.body = None;
        }
        Self(this)
    }
}

impl<B> Watched<B> {
    fn new(
        body: B,
        tail: Tail,
        exchange: Exchange,
        silence: Silence,
        last_byte: Instant,
        timer: Timer,
    ) -> Box<Self> {
        Box::new(Self {
            body: Some(body),
            watch: None,
            makes: false,
            last: None,
            tail,
            broken: None,
            silence,
            last_byte,
            last_sent: last_byte,
            timer,
            ending: Ending {
                exchange,
                bytes: 0,
                noted: false,
            },
        })
    }

    /// Tells which resources were made, before the bytes that say so are released.
    fn learn(&mut self) {
        if self.makes
            && let Some(watch) = &mut self.watch
        {
            self.ending.exchange.made(watch.made());
        }
    }

    /// Lets go of the upstream: nothing of it is wanted any more.
    fn end(&mut self) {
        self.body = None;
        self.tail = Tail::Ended;
    }

    fn break_off(&mut self, verdict: Verdict, source: Option<BoxError>) {
        self.end();
        self.broken = Some((verdict, source));
    }

    /// The upstream's body broke, ended or fell silent, which `verdict` says, unless the answer
    /// is whole.
    fn end_or_break(&mut self, verdict: Option<Verdict>, source: Option<BoxError>) {
        let whole = match &mut self.watch {
            Some(watch) => watch.end(time::now()),
            None => verdict.map_or(Ok(()), Err),
        };
        match whole {
            Ok(()) => self.end(),
            Err(missing) => self.break_off(verdict.unwrap_or(missing), source),
        }
    }

    /// The next bytes that may go out. The last ones of a whole answer end it.
    fn release(&mut self) -> Option<Bytes> {
        let watch = self.watch.as_mut()?;
        let bytes = self.last.take().or_else(|| watch.release())?;
        self.ending.bytes += bytes.len() as u64;
        self.last_sent = self.last_sent.max(self.last_byte);
        if self.tail == Tail::Ended && self.broken.is_none() {
            self.last = watch.release();
            if self.last.is_none() {
                self.finish();
            }
        }
        Some(bytes)
    }

    fn finish(&mut self) -> Option<BoxError> {
        let usage = self.watch.as_ref().and_then(|watch| watch.usage());
        if let Some(usage) = usage {
            self.ending.exchange.note(Event::Usage(usage), time::now());
        }
        let Some((verdict, source)) = self.broken.take() else {
            self.ending.note(SendResult::Clean);
            return None;
        };
        if self.ending.noted {
            return None;
        }
        self.ending.note(SendResult::Broken(verdict));
        let closing = self.watch.as_mut().and_then(|watch| watch.closing());
        let mut interrupted = Interrupted::new(verdict, closing);
        if let Some(source) = source {
            interrupted = interrupted.with_source(source);
        }
        Some(interrupted.into())
    }
}

impl<B> Watched<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Waits for the end of the upstream's silence: `Some` is a sign of life for the client.
    fn poll_silence(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let given_up = self.last_byte + self.silence.idle;
        if let Some(interval) = self.silence.keep_alive
            && self.last_sent + interval < given_up
            && let Some(alive) = self.watch.as_ref().and_then(|watch| watch.keep_alive())
        {
            ready!(self.timer.poll_until(cx, self.last_sent + interval));
            self.last_sent = time::now();
            return Poll::Ready(Some(Frame::data(alive)));
        }
        ready!(self.timer.poll_until(cx, given_up));
        self.end_or_break(Some(Verdict::new(Kind::Timeout)), None);
        Poll::Ready(None)
    }

    /// Takes the next frame of the upstream. `Some` is a frame that goes out as it is.
    fn poll_upstream(&mut self, cx: &mut Context<'_>) -> Poll<Option<Frame<Bytes>>> {
        let Some(body) = &mut self.body else {
            self.tail = Tail::Ended;
            return Poll::Ready(None);
        };
        match Pin::new(body).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                let now = time::now();
                if self.tail == Tail::Open {
                    self.last_byte = now;
                }
                let Some(watch) = &mut self.watch else {
                    return Poll::Ready(Some(frame));
                };
                // Trailers of a watched answer are dropped.
                if let Ok(data) = frame.into_data() {
                    match watch.data(data, now) {
                        Progress::More | Progress::Commit => {}
                        Progress::Complete => self.tail = Tail::Complete,
                        Progress::Broken(verdict) => self.break_off(verdict, None),
                    }
                }
                if self.body.as_ref().is_some_and(Body::is_end_stream) {
                    self.end_or_break(None, None);
                }
                self.learn();
                Poll::Ready(None)
            }
            Poll::Ready(Some(Err(error))) => {
                self.end_or_break(Some(Verdict::new(Kind::Transport)), Some(error.into()));
                Poll::Ready(None)
            }
            Poll::Ready(None) => {
                self.end_or_break(None, None);
                self.learn();
                Poll::Ready(None)
            }
            Poll::Pending if self.tail == Tail::Complete => {
                ready!(self.timer.poll_until(cx, self.last_byte + LINGER));
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => self.poll_silence(cx),
        }
    }
}

impl<B> Body for WatchedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self.0;
        loop {
            if let Some(bytes) = this.release() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if this.tail == Tail::Ended {
                return Poll::Ready(this.finish().map(Err));
            }
            if let Some(frame) = ready!(this.poll_upstream(cx)) {
                // What is watched is counted when it is released; a sign of life is no output.
                if this.watch.is_none()
                    && let Some(data) = frame.data_ref()
                {
                    this.ending.bytes += data.len() as u64;
                }
                if this.body.as_ref().is_some_and(Body::is_end_stream) {
                    this.ending.note(SendResult::Clean);
                }
                return Poll::Ready(Some(Ok(frame)));
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match (&self.0.watch, &self.0.body) {
            // What a watcher holds cannot be asked; its end is found by polling.
            (Some(_), _) => self.0.ending.noted,
            (None, Some(body)) => body.is_end_stream(),
            (None, None) => self.0.broken.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.0.watch, &self.0.body) {
            (None, Some(body)) => body.size_hint(),
            _ => SizeHint::default(),
        }
    }
}

impl Ending {
    fn note(&mut self, result: SendResult) {
        if !self.noted {
            self.noted = true;
            let bytes = self.bytes;
            self.exchange
                .note(Event::Ended { result, bytes }, time::now());
        }
    }
}

impl Drop for Ending {
    fn drop(&mut self) {
        self.note(SendResult::Canceled);
    }
}

impl<B> fmt::Debug for WatchedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedBody")
            .field("tail", &self.0.tail)
            .field("bytes", &self.0.ending.bytes)
            .finish_non_exhaustive()
    }
}
