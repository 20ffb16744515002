use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use http::response::Parts;
use http::{HeaderValue, Response};
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::{Tail, WatchedBody};
use super::config::Silence;
use super::failing::Failing;
use super::{Classify, Plan, Progress, Sent, Timeouts, Watch};
use crate::credential::Credential;
use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::failure::{Blame, Failed, Kind, Verdict, Wait};
use crate::record::Event;
use crate::time::{self, Duration, Instant, Timer};

pin_project! {
    /// The future of [`ErrorClassify`](super::ErrorClassify): ready when the answer is
    /// committed or has failed.
    pub struct ResponseFuture<F, B> {
        #[pin]
        state: State<F, B>,
        judge: Judge,
        timer: Timer,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        // The head of the answer is awaited.
        Sending { #[pin] future: F },
        // The answer is held until its commit point.
        Holding { held: Option<Held<B>> },
        // The answer failed; its body is read before it is judged.
        Failing { failing: Option<Failing<B>> },
    }
}

/// Judges the one send, in whatever state it is.
struct Judge {
    classify: Arc<dyn Classify>,
    exchange: Exchange,
    credential: Option<Credential>,
    started: Instant,
    first_byte: Option<Instant>,
    patience: Duration,
    silence: Silence,
}

struct Held<B> {
    head: Parts,
    body: B,
    watch: Box<dyn Watch>,
    bytes: usize,
    first_byte: Option<Instant>,
    last_byte: Instant,
}

impl<F, B> ResponseFuture<F, B> {
    pub(super) fn new(
        future: F,
        classify: Arc<dyn Classify>,
        exchange: Exchange,
        credential: Option<Credential>,
        timeouts: &Timeouts,
        now: Instant,
    ) -> Self {
        let facts = exchange.facts();
        let (first_byte, silence) = (timeouts.first_byte(facts, now), timeouts.silence(facts));
        Self {
            state: State::Sending { future },
            judge: Judge {
                classify,
                exchange,
                credential,
                started: now,
                first_byte,
                patience: timeouts.patience(),
                silence,
            },
            timer: Timer::default(),
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<WatchedBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        // Not before it is polled: a future that lies somewhere watches nothing.
        this.judge.exchange.watch_deadline(true);
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Sending { future } => match future.poll(cx) {
                    Poll::Ready(Ok(response)) => match this.judge.plan(response) {
                        Ok(next) => next,
                        Err(passed) => return Poll::Ready(Ok(passed)),
                    },
                    Poll::Ready(Err(error)) => {
                        return Poll::Ready(Err(this.judge.failed(error.into())));
                    }
                    Poll::Pending => {
                        let error = ready!(this.judge.poll_silence(cx, this.timer));
                        return Poll::Ready(Err(error));
                    }
                },
                StateProj::Holding { held } => {
                    // `held` is there until the future is ready.
                    let Some(mut answer) = held.take() else {
                        return Poll::Pending;
                    };
                    match answer.poll(cx, this.judge, this.timer) {
                        Poll::Pending => {
                            *held = Some(answer);
                            return Poll::Pending;
                        }
                        Poll::Ready(Ok(tail)) => {
                            let timer = std::mem::take(this.timer);
                            return Poll::Ready(Ok(this.judge.commit(answer, tail, timer)));
                        }
                        Poll::Ready(Err(failed)) => {
                            return Poll::Ready(Err(this.judge.fail(failed)));
                        }
                    }
                }
                StateProj::Failing { failing } => {
                    let Some(answer) = failing else {
                        return Poll::Pending;
                    };
                    ready!(answer.poll(cx, this.timer));
                    let Some(answer) = failing.take() else {
                        return Poll::Pending;
                    };
                    return Poll::Ready(Err(this.judge.give_verdict(answer)));
                }
            };
            this.state.set(next);
        }
    }
}

impl Drop for Judge {
    fn drop(&mut self) {
        self.exchange.watch_deadline(false);
    }
}

impl Judge {
    fn sent(&self) -> Sent<'_> {
        Sent::new(self.exchange.facts(), self.credential.as_ref())
    }

    /// What to do with an answer whose head came: hold it, read it as a failure, or (`Err`)
    /// pass it on at once.
    fn plan<F, B: Body>(
        &self,
        response: Response<B>,
    ) -> Result<State<F, B>, Response<WatchedBody<B>>> {
        let now = time::now();
        let (head, body) = response.into_parts();
        self.exchange.note(Event::Status(head.status), now);
        match self.classify.head(self.sent(), &head) {
            Plan::Watch(watch) => Ok(State::Holding {
                held: Some(Held {
                    head,
                    body,
                    watch,
                    bytes: 0,
                    first_byte: None,
                    last_byte: now,
                }),
            }),
            Plan::Fail => Ok(State::Failing {
                failing: Some(Failing::new(head, body, now, self.exchange.deadline())),
            }),
            Plan::Pass => {
                self.note_credential();
                self.exchange.note(Event::Committed, now);
                let exchange = self.exchange.clone();
                let body = WatchedBody::passing(body, exchange, self.silence, now);
                Err(Response::from_parts(head, body))
            }
        }
    }

    fn commit<B>(&self, held: Held<B>, tail: Tail, timer: Timer) -> Response<WatchedBody<B>> {
        self.note_credential();
        self.exchange.note(Event::Committed, time::now());
        let mut head = held.head;
        if tail != Tail::Ended {
            // A closing event may be added, and a cut event is dropped.
            head.headers.remove(CONTENT_LENGTH);
        }
        let body = WatchedBody::watched(
            held.body,
            held.watch,
            tail,
            self.exchange.clone(),
            self.silence,
            held.last_byte,
            timer,
        );
        Response::from_parts(head, body)
    }

    /// Tells with which credential the answer is got: what it makes belongs to that one.
    fn note_credential(&self) {
        let facts = self.exchange.facts();
        if facts.makes.is_some() || !facts.resources.is_empty() {
            let name = self.credential.as_ref().map(|known| known.name().clone());
            self.exchange.set_credential(name);
        }
    }

    /// The error of a service that gave no answer.
    fn failed(&self, error: BoxError) -> BoxError {
        match Failed::find(&*error) {
            // An adapter knew better.
            Some(failed) => {
                let (verdict, wait) = (failed.verdict(), failed.wait());
                self.exchange
                    .note(Event::Failed { verdict, wait }, time::now());
                error
            }
            None => {
                let verdict = self.classify.error(&*error);
                self.fail(Failed::new(verdict).with_source(error))
            }
        }
    }

    /// The verdict on an answer whose body was read.
    fn give_verdict<B>(&self, failing: Failing<B>) -> BoxError {
        let Failing { mut head, read, .. } = failing;
        let sent = self.sent();
        let verdict = self.classify.failure(sent, &head, &read, time::now());
        if !sent.facts.resources.is_empty()
            && let Some(kind) = self.classify.missing(sent, &head, &read)
        {
            self.exchange.missing(kind);
        }
        // The body may have been cut, and it is whole in memory now.
        head.headers.remove(CONTENT_LENGTH);
        head.headers.remove(TRANSFER_ENCODING);
        let mut body = read.freeze();
        if let Some(credential) = &self.credential {
            if let Some(clean) = credential.redact(&body) {
                body = clean;
            }
            for value in head.headers.values_mut() {
                if let Some(clean) = credential.redact(value.as_bytes()) {
                    *value = HeaderValue::from_maybe_shared(clean)
                        .unwrap_or(const { HeaderValue::from_static("[redacted]") });
                }
            }
        }
        self.fail(Failed::new(verdict).with_response(Response::from_parts(head, body)))
    }

    fn fail(&self, failed: Failed) -> BoxError {
        let (verdict, wait) = (failed.verdict(), failed.wait());
        self.exchange
            .note(Event::Failed { verdict, wait }, time::now());
        failed.into()
    }

    /// Ready with the error if the first byte has not come in time.
    fn poll_silence(&self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<BoxError> {
        let Some((at, wait)) = self.first_byte_limit() else {
            return Poll::Pending;
        };
        timer
            .poll_until(cx, at)
            .map(|()| self.fail(self.timed_out(wait)))
    }

    /// Until when the first byte must have come, and which wait runs out then.
    fn first_byte_limit(&self) -> Option<(Instant, Wait)> {
        match (self.first_byte, self.exchange.deadline()) {
            (Some(first), Some(deadline)) if deadline <= first => Some((deadline, Wait::Deadline)),
            (Some(first), _) => Some((first, Wait::FirstByte)),
            (None, deadline) => deadline.map(|deadline| (deadline, Wait::Deadline)),
        }
    }

    /// A wait that ran out. A send that the deadline cut off before it had the usual time for a
    /// first byte blames nobody: the time went elsewhere.
    fn timed_out(&self, wait: Wait) -> Failed {
        let failed = Failed::timed_out(wait);
        let had = time::now().saturating_duration_since(self.started);
        if wait == Wait::Deadline && had < self.patience {
            failed.with_verdict(Verdict::new(Kind::Timeout).blamed_on(Blame::Caller))
        } else {
            failed
        }
    }
}

impl<B> Held<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Ready when the answer is committed or has failed.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        judge: &Judge,
        timer: &mut Timer,
    ) -> Poll<Result<Tail, Failed>> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    let Ok(data) = frame.into_data() else {
                        continue;
                    };
                    if let Some(result) = self.data(data, judge) {
                        return Poll::Ready(result);
                    }
                }
                Poll::Ready(Some(Err(error))) => {
                    // An answer that broke is no answer; one that is whole is.
                    let end = self.watch.end(time::now());
                    return Poll::Ready(end.map(|()| Tail::Ended).map_err(|_| {
                        Failed::new(Verdict::new(Kind::Unknown)).with_source(error.into())
                    }));
                }
                Poll::Ready(None) => {
                    let end = self.watch.end(time::now());
                    return Poll::Ready(end.map(|()| Tail::Ended).map_err(Failed::new));
                }
                Poll::Pending => return self.poll_limits(cx, judge, timer),
            }
        }
    }

    fn data(&mut self, data: Bytes, judge: &Judge) -> Option<Result<Tail, Failed>> {
        if data.is_empty() {
            return None;
        }
        let now = time::now();
        self.last_byte = now;
        if self.first_byte.is_none() {
            self.first_byte = Some(now);
            judge.exchange.note(Event::FirstByte, now);
        }
        self.bytes = self.bytes.saturating_add(data.len());
        match self.watch.data(data, now) {
            Progress::Commit => Some(Ok(Tail::Open)),
            Progress::Complete => Some(Ok(Tail::Complete)),
            Progress::Broken(verdict) => Some(Err(Failed::new(verdict))),
            Progress::More if self.bytes > self.watch.hold().bytes => {
                self.watch.commit();
                Some(Ok(Tail::Open))
            }
            Progress::More => None,
        }
    }

    fn poll_limits(
        &mut self,
        cx: &mut Context<'_>,
        judge: &Judge,
        timer: &mut Timer,
    ) -> Poll<Result<Tail, Failed>> {
        let Some(first_byte) = self.first_byte else {
            let Some((at, wait)) = judge.first_byte_limit() else {
                return Poll::Pending;
            };
            ready!(timer.poll_until(cx, at));
            return Poll::Ready(Err(judge.timed_out(wait)));
        };
        let idle = self.last_byte + judge.silence.idle;
        let hold = self.watch.hold().time.map(|time| first_byte + time);
        let deadline = judge.exchange.deadline();
        let at = [hold, deadline]
            .into_iter()
            .flatten()
            .fold(idle, Instant::min);
        ready!(timer.poll_until(cx, at));
        Poll::Ready(if deadline == Some(at) {
            Err(judge.timed_out(Wait::Deadline))
        } else if hold == Some(at) {
            self.watch.commit();
            Ok(Tail::Open)
        } else {
            Err(judge.timed_out(Wait::Idle))
        })
    }
}

impl<F, B> fmt::Debug for ResponseFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("exchange", &self.judge.exchange)
            .finish_non_exhaustive()
    }
}
