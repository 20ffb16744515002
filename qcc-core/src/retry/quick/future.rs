use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use pin_project_lite::pin_project;
use tower::Service;
use tracing::info;

use super::Budget;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::exchange::{Exchange, SendKind};
use crate::failure::{Failed, Kind, Refused};
use crate::record::Event;
use crate::time;
use crate::visit::Visit;

pin_project! {
    /// The future of [`QuickRetry`](super::QuickRetry).
    pub struct QuickRetryFuture<S, F> {
        #[pin]
        state: State<F>,
        inner: S,
        // `None` once it was used, and for a body that cannot be sent twice.
        replay: Option<Box<Request<RequestBody>>>,
        exchange: Exchange,
        budget: Budget,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        Sending { #[pin] future: F },
        Readying,
    }
}

impl<S, F> QuickRetryFuture<S, F> {
    pub(super) const fn new(
        future: F,
        inner: S,
        replay: Option<Box<Request<RequestBody>>>,
        exchange: Exchange,
        budget: Budget,
    ) -> Self {
        Self {
            state: State::Sending { future },
            inner,
            replay,
            exchange,
            budget,
        }
    }
}

impl<S, F, B> Future for QuickRetryFuture<S, F>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<Response<B>, S::Error>>,
{
    type Output = Result<Response<B>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Sending { future } => {
                    let error = match ready!(future.poll(cx)) {
                        Ok(response) => return Poll::Ready(Ok(response)),
                        Err(error) => error.into(),
                    };
                    if this.replay.is_none() || !is_transport(&error) || !this.budget.withdraw() {
                        return Poll::Ready(Err(error));
                    }
                    // Without a classifier nobody has noted the failure yet.
                    let (verdict, now) = (Failed::verdict_of(&*error), time::now());
                    let failed = Event::Failed {
                        verdict,
                        wait: None,
                    };
                    this.exchange.note(failed, now);
                    if this.exchange.begin_send(SendKind::Quick, now).is_err() {
                        return Poll::Ready(Err(error));
                    }
                    info!(request_id = %this.exchange.id(), "transport failure, same endpoint once more");
                    this.state.set(State::Readying);
                }
                StateProj::Readying => {
                    ready!(this.inner.poll_ready(cx)).map_err(Into::into)?;
                    let Some(mut request) = this.replay.take() else {
                        return Poll::Pending;
                    };
                    Visit::of(request.extensions_mut()).fresh_connection = true;
                    let future = this.inner.call(*request);
                    this.state.set(State::Sending { future });
                }
            }
        }
    }
}

fn is_transport(error: &BoxError) -> bool {
    Refused::find(&**error).is_none() && Failed::verdict_of(&**error).kind == Kind::Transport
}

impl<S, F> fmt::Debug for QuickRetryFuture<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("QuickRetryFuture")
            .field("exchange", &self.exchange)
            .finish_non_exhaustive()
    }
}
