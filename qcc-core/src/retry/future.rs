use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use super::RetryWithExclusionLayer;
use super::body::ReplyBody;
use super::journey::{Journey, Step};
use crate::body::{Collect, RequestBody};
use crate::error::{BoxError, Error};
use crate::exchange::Exchange;
use crate::time::{self, Instant, Timer};

pin_project! {
    /// The future of [`RetryWithExclusion`](super::RetryWithExclusion): ready when an answer is
    /// committed, or when nothing is left to try.
    pub struct ResponseFuture<S, F, B> {
        #[pin]
        state: State<F, B>,
        inner: S,
        timer: Timer,
        // After `state`: everything underneath has settled when the record is sealed.
        journey: Journey,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        // The body of the request is read into memory.
        Collecting { collect: Collect<B> },
        // The service underneath is awaited: the first visit found it ready, later ones may not.
        Readying { request: Option<Request<RequestBody>>, ready: bool },
        // A visit is under way.
        Visiting { #[pin] future: F, started: Instant },
        Done,
    }
}

impl<S, F, B> ResponseFuture<S, F, B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(inner: S, request: Request<B>, shared: Arc<RetryWithExclusionLayer>) -> Self {
        let (mut head, body) = request.into_parts();
        let exchange = Exchange::of(&mut head.extensions);
        let config = &shared.config;
        exchange.limit(exchange.started() + config.deadline, config.attempts.get());
        shared.budget.deposit();
        Self {
            state: State::Collecting {
                collect: RequestBody::collect(body, config.body_limit),
            },
            inner,
            timer: Timer::default(),
            journey: Journey::new(exchange, head, shared),
        }
    }
}

impl<S, F, B, R> Future for ResponseFuture<S, F, B>
where
    S: Service<Request<RequestBody>, Response = Response<R>, Future = F> + Clone,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<Response<R>, S::Error>>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Output = Result<Response<ReplyBody<R>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let polled = match this.state.as_mut().project() {
                StateProj::Collecting { collect } => match Pin::new(collect).poll(cx) {
                    Poll::Ready(Ok(body)) => {
                        this.journey.collected(body);
                        Poll::Ready((this.journey.visit(), true))
                    }
                    Poll::Ready(Err(error)) => {
                        this.state.set(State::Done);
                        return Poll::Ready(Err(this.journey.unreadable(error.into())));
                    }
                    Poll::Pending => Poll::Pending,
                },
                StateProj::Readying { request, ready } => {
                    let readied = if *ready {
                        Poll::Ready(Ok(()))
                    } else {
                        this.inner.poll_ready(cx)
                    };
                    match (readied, request.take()) {
                        (Poll::Ready(Ok(())), Some(request)) => {
                            let future = this.inner.call(request);
                            this.journey.visiting();
                            let started = time::now();
                            this.state.set(State::Visiting { future, started });
                            continue;
                        }
                        (Poll::Ready(Err(error)), _) => {
                            let step = this.journey.failed(&*error.into(), time::now());
                            Poll::Ready((step, false))
                        }
                        (_, waiting) => {
                            *request = waiting;
                            Poll::Pending
                        }
                    }
                }
                StateProj::Visiting { future, started } => match future.poll(cx) {
                    Poll::Ready(Ok(response)) => {
                        this.state.set(State::Done);
                        return Poll::Ready(this.journey.committed(response));
                    }
                    Poll::Ready(Err(error)) => {
                        let step = this.journey.failed(&*error.into(), *started);
                        Poll::Ready((step, false))
                    }
                    Poll::Pending => Poll::Pending,
                },
                StateProj::Done => return Poll::Pending,
            };
            let (step, ready) = match polled {
                Poll::Ready(step) => step,
                Poll::Pending => {
                    ready!(this.journey.poll_deadline(cx, this.timer));
                    (Step::Conclude { expired: true }, false)
                }
            };
            match step {
                Step::Visit(request) => {
                    let request = Some(request);
                    this.state.set(State::Readying { request, ready });
                }
                Step::Conclude { expired } => {
                    if expired {
                        this.journey.expire();
                    }
                    // Whatever is under way settles before the record is sealed.
                    this.state.set(State::Done);
                    return Poll::Ready(this.journey.conclude(expired));
                }
            }
        }
    }
}

impl<S, F, B> fmt::Debug for ResponseFuture<S, F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("journey", &self.journey)
            .finish_non_exhaustive()
    }
}
