//! What a client may do with its connection: send a head in time, take its answer, and not idle
//! for ever.
//!
//! hyper has one timer for both, so a connection that idles would be closed as soon as a head is
//! late. Here the connection knows its requests: it waits long for the first byte of the next
//! head, shortly for the rest of it, and does not count the time while a request is under way.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::{Body, Frame, SizeHint};
use hyper::service::Service;
use pin_project_lite::pin_project;
use qcc_core::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

/// A head has to be complete in this time.
const HEAD_TIME: Duration = Duration::from_secs(10);

/// A connection without a request is closed after this time.
const IDLE_TIME: Duration = Duration::from_secs(120);

/// An answer of which the client takes nothing for this time is given up.
const UNREAD_TIME: Duration = Duration::from_secs(120);

/// What an HTTP/2 connection begins with, and no head of HTTP/1.
const HTTP2: &[u8] = b"PRI ";

/// Watches `io` together with the requests that `service` gets from it.
pub(super) fn watch<I, S>(io: I, service: S) -> (Patient<I>, Counted<S>) {
    let now = Instant::now();
    let requests = Arc::new(Requests::new(now));
    let patience = Patience::new(now);
    let patient = Patient {
        io,
        requests: requests.clone(),
        timer: Box::pin(sleep_until(patience.deadline)),
        patience,
        unread: None,
        asked: (0, now),
    };
    let counted = Counted {
        inner: service,
        requests,
    };
    (patient, counted)
}

/// The requests of a connection.
struct Requests {
    /// How many came.
    came: AtomicUsize,
    /// How many are under way, their answers included.
    open: AtomicUsize,
    /// When the connection was made.
    made: Instant,
    /// When an answer ended last, in milliseconds since then.
    ended: AtomicU64,
    /// How often a body was asked for more.
    asked: AtomicUsize,
    /// How many bodies gave something and were not asked since.
    given: AtomicUsize,
}

/// What is known of the requests of a connection at one instant.
#[derive(Clone, Copy, Debug)]
struct Seen {
    came: usize,
    open: usize,
    ended: Instant,
}

impl Requests {
    fn new(made: Instant) -> Self {
        Self {
            came: AtomicUsize::new(0),
            open: AtomicUsize::new(0),
            made,
            ended: AtomicU64::new(0),
            asked: AtomicUsize::new(0),
            given: AtomicUsize::new(0),
        }
    }

    fn seen(&self) -> Seen {
        Seen {
            came: self.came.load(Ordering::Relaxed),
            // Acquire, so that the end of the answer that closed it is seen, too.
            open: self.open.load(Ordering::Acquire),
            ended: self.made + Duration::from_millis(self.ended.load(Ordering::Relaxed)),
        }
    }
}

/// A request that is under way.
struct OpenRequest {
    requests: Arc<Requests>,
    /// Whether its body gave something and was not asked since.
    given: bool,
}

impl OpenRequest {
    fn new(requests: &Arc<Requests>) -> Self {
        requests.came.fetch_add(1, Ordering::Relaxed);
        requests.open.fetch_add(1, Ordering::Relaxed);
        Self {
            requests: requests.clone(),
            given: false,
        }
    }

    /// Notes that the body was asked, and whether it `gave` something.
    fn asked(&mut self, gave: bool) {
        self.requests.asked.fetch_add(1, Ordering::Relaxed);
        match (self.given, gave) {
            (false, true) => self.requests.given.fetch_add(1, Ordering::Relaxed),
            (true, false) => self.requests.given.fetch_sub(1, Ordering::Relaxed),
            _ => return,
        };
        self.given = gave;
    }
}

impl Drop for OpenRequest {
    fn drop(&mut self) {
        if self.given {
            self.requests.given.fetch_sub(1, Ordering::Relaxed);
        }
        // Nobody reads the connection at this moment, so the instant is kept for who does later.
        let since = Instant::now()
            .duration_since(self.requests.made)
            .as_millis();
        let since = u64::try_from(since).unwrap_or(u64::MAX);
        self.requests.ended.store(since, Ordering::Relaxed);
        self.requests.open.fetch_sub(1, Ordering::Release);
    }
}

/// How long the client is waited for. Pure.
#[derive(Debug)]
struct Patience {
    state: State,
    /// When it ends, unless a request is under way.
    deadline: Instant,
    /// How many requests had come when it was looked at last.
    came: usize,
    /// Whether one was under way then.
    busy: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing has come yet.
    New,
    /// A part of a head has come.
    Begun,
    /// A request is under way.
    Busy,
    /// The last request is over, and nothing came since.
    Idle,
    /// It is HTTP/2, where bytes come that belong to no head; only requests count.
    Multiplexed,
}

impl Patience {
    fn new(now: Instant) -> Self {
        Self {
            state: State::New,
            deadline: now + HEAD_TIME,
            came: 0,
            busy: false,
        }
    }

    /// Notes what was seen of the requests, and what was read just now.
    fn note(&mut self, seen: Seen, read: &[u8], now: Instant) {
        let Seen { came, open, ended } = seen;
        let answered = open == 0 && (came != self.came || self.busy);
        self.came = came;
        self.busy = open > 0;
        if answered {
            self.deadline = ended + IDLE_TIME;
        }
        if open > 0 {
            self.deadline = now + IDLE_TIME;
        }
        self.state = match self.state {
            State::New if read.starts_with(HTTP2) => {
                self.deadline = now + IDLE_TIME;
                State::Multiplexed
            }
            State::Multiplexed => State::Multiplexed,
            _ if open > 0 => State::Busy,
            State::New if !read.is_empty() => State::Begun,
            State::New => State::New,
            State::Begun if !answered => State::Begun,
            _ if read.is_empty() => State::Idle,
            _ => {
                self.deadline = now + HEAD_TIME;
                State::Begun
            }
        };
    }
}

/// A connection whose patience ends.
pub(super) struct Patient<I> {
    io: I,
    requests: Arc<Requests>,
    patience: Patience,
    timer: Pin<Box<Sleep>>,
    /// Runs while the client takes nothing of what is there for it.
    unread: Option<Pin<Box<Sleep>>>,
    /// How often bodies had been asked for more when that was new, and when it was.
    asked: (usize, Instant),
}

impl<I> Patient<I> {
    /// What `written` says, unless the client has taken nothing for too long.
    fn taken<T>(
        &mut self,
        cx: &mut Context<'_>,
        written: Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.unread = None;
            return written;
        }
        let timer = self
            .unread
            .get_or_insert_with(|| Box::pin(sleep_until(Instant::now() + UNREAD_TIME)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }

    fn note(&mut self, read: &[u8]) {
        let seen = self.requests.seen();
        self.patience.note(seen, read, Instant::now());
    }

    /// Whether there is something for the client on HTTP/2, and it has made room for none of it
    /// for too long: nothing is written then, so nothing waits to be.
    fn is_unread(&mut self, now: Instant) -> bool {
        if self.patience.state != State::Multiplexed {
            return false;
        }
        let asked = self.requests.asked.load(Ordering::Relaxed);
        if asked != self.asked.0 || self.requests.given.load(Ordering::Relaxed) == 0 {
            self.asked = (asked, now);
        }
        now.duration_since(self.asked.1) >= UNREAD_TIME
    }

    /// Waits for the end of patience.
    fn poll_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let deadline = self.patience.deadline;
        // A deadline that moves away is looked at when the timer fires.
        if deadline < self.timer.deadline() {
            self.timer.as_mut().reset(deadline);
        }
        loop {
            ready!(self.timer.as_mut().poll(cx));
            let busy = self.requests.open.load(Ordering::Relaxed) > 0;
            let now = Instant::now();
            if self.is_unread(now) || !busy && now >= deadline {
                return Poll::Ready(());
            }
            self.timer
                .as_mut()
                .reset(if busy { now + IDLE_TIME } else { deadline });
        }
    }
}

impl<I: AsyncRead + Unpin> AsyncRead for Patient<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let filled = buf.filled().len();
        if let Poll::Ready(result) = Pin::new(&mut this.io).poll_read(cx, buf) {
            this.note(&buf.filled()[filled..]);
            return Poll::Ready(result);
        }
        this.note(&[]);
        ready!(this.poll_deadline(cx));
        Poll::Ready(Err(io::ErrorKind::TimedOut.into()))
    }
}

impl<I: AsyncWrite + Unpin> AsyncWrite for Patient<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write(cx, buf);
        self.taken(cx, written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.taken(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// A service whose requests are counted until their answers end.
#[derive(Clone)]
pub(super) struct Counted<S> {
    inner: S,
    requests: Arc<Requests>,
}

impl<S, R, B> Service<R> for Counted<S>
where
    S: Service<R, Response = Response<B>>,
{
    type Response = Response<Lasting<B>>;
    type Error = S::Error;
    type Future = CountedFuture<S::Future>;

    fn call(&self, request: R) -> Self::Future {
        CountedFuture {
            open: Some(OpenRequest::new(&self.requests)),
            answer: self.inner.call(request),
        }
    }
}

pin_project! {
    /// The future of [`Counted`].
    pub(super) struct CountedFuture<F> {
        #[pin]
        answer: F,
        open: Option<OpenRequest>,
    }
}

impl<F, B, E> Future for CountedFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
{
    type Output = Result<Response<Lasting<B>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let response = ready!(this.answer.poll(cx))?;
        let open = this.open.take();
        Poll::Ready(Ok(response.map(|body| Lasting { body, open })))
    }
}

pin_project! {
    /// The body of an answer; its request is under way for as long as it exists.
    pub(super) struct Lasting<B> {
        #[pin]
        body: B,
        open: Option<OpenRequest>,
    }
}

impl<B: Body> Body for Lasting<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.project();
        let frame = this.body.poll_frame(cx);
        if let Some(open) = this.open {
            open.asked(matches!(frame, Poll::Ready(Some(Ok(_)))));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection at second 0, with what was noted at which second.
    fn deadline_after(notes: &[(u64, usize, usize, &[u8])]) -> (State, u64) {
        let start = Instant::now();
        let mut patience = Patience::new(start);
        for (second, came, open, read) in notes {
            let now = start + Duration::from_secs(*second);
            let seen = Seen {
                came: *came,
                open: *open,
                ended: now,
            };
            patience.note(seen, read, now);
        }
        (patience.state, (patience.deadline - start).as_secs())
    }

    // OPS-13
    #[test]
    fn a_head_has_ten_seconds_from_the_start_or_from_its_first_byte() {
        assert_eq!(deadline_after(&[]), (State::New, 10));
        assert_eq!(deadline_after(&[(9, 0, 0, b"POST /")]), (State::Begun, 10));
        let drip: &[(u64, usize, usize, &[u8])] =
            &[(1, 0, 0, b"P"), (5, 0, 0, b"O"), (9, 0, 0, b"")];
        assert_eq!(deadline_after(drip), (State::Begun, 10));
        let second = &[
            (1, 0, 0, &b"POST"[..]),
            (2, 1, 0, b""),
            (60, 1, 0, b"P"),
            (65, 1, 0, b"O"),
        ];
        assert_eq!(deadline_after(second), (State::Begun, 70));
    }

    // OPS-13
    #[test]
    fn a_connection_idles_for_two_minutes_after_its_last_answer() {
        let seen_busy = &[(1, 0, 0, &b"POST"[..]), (2, 1, 1, b""), (50, 1, 0, b"")];
        assert_eq!(deadline_after(seen_busy), (State::Idle, 170));
        // Even if nobody looked while the request was under way.
        let unseen = &[(1, 0, 0, &b"POST"[..]), (50, 1, 0, b"")];
        assert_eq!(deadline_after(unseen), (State::Idle, 170));
        assert_eq!(
            deadline_after(&[(1, 0, 0, b"POST"), (50, 1, 0, b""), (99, 1, 0, b"")]).1,
            170
        );
    }

    // OPS-13
    #[test]
    fn on_http2_only_requests_count_as_signs_of_life() {
        let preface = b"PRI * HTTP/2.0\r\n";
        assert_eq!(
            deadline_after(&[(1, 0, 0, preface)]),
            (State::Multiplexed, 121)
        );
        let pings = &[
            (1, 0, 0, &preface[..]),
            (60, 0, 0, b"ping"),
            (110, 0, 0, b"ping"),
        ];
        assert_eq!(deadline_after(pings).1, 121);
        let requests = &[
            (1, 0, 0, &preface[..]),
            (60, 1, 1, b"head"),
            (80, 1, 0, b""),
        ];
        assert_eq!(deadline_after(requests).1, 200);
    }
}
