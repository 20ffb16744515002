//! One request in the pool: from credential to credential, until one is served or all failed.

use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;

use super::handle::{Taken, Tokens};
use super::lease::Lease;
use super::round::{Begun, Next, Round};
use super::supply::Flight;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::guard::Guarded;

pin_project! {
    /// The future of [`TokenPool`](super::TokenPool): ready when a credential is served, when a
    /// failure is no credential's, or when no credential is left.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the send that is under way; its credential learns nothing. A refresh
    /// that it waits for goes on: see [`Tokens::maintenance`].
    pub struct TokenPoolFuture<S, F> {
        #[pin]
        state: State<F>,
        round: Round,
        // There if something may be sent after the first send.
        inner: Option<S>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F> {
        // A credential is refreshed. Nothing is sent meanwhile.
        Refreshing { flight: Flight, index: usize },
        // The inner service gets ready for another send.
        Readying { taken: Option<Taken> },
        // A send is under way.
        Sending { #[pin] future: F, lease: Option<Lease> },
        // Nothing is left to do.
        Over { error: Option<BoxError> },
    }
}

impl<S, F> TokenPoolFuture<S, F> {
    /// Begins with `request`, for which `ready` is ready.
    pub(super) fn new(ready: &mut S, tokens: &Tokens, request: Request<RequestBody>) -> Self
    where
        S: Service<Request<RequestBody>, Future = F> + Clone,
    {
        let (round, begun) = Round::new(tokens, request);
        let mut keep = || {
            let clone = ready.clone();
            mem::replace(ready, clone)
        };
        let (state, inner) = match begun {
            Begun::Send { request, lease } if round.may_send_again() => {
                let mut inner = keep();
                let (future, lease) = (inner.call(request), Some(lease));
                (State::Sending { future, lease }, Some(inner))
            }
            Begun::Send { request, lease } => {
                let (future, lease) = (ready.call(request), Some(lease));
                (State::Sending { future, lease }, None)
            }
            Begun::Refresh { index, flight } => (State::Refreshing { flight, index }, Some(keep())),
            Begun::Over(error) => (State::Over { error: Some(error) }, None),
        };
        Self {
            state,
            round,
            inner,
        }
    }
}

impl<S, F, B> Future for TokenPoolFuture<S, F>
where
    S: Service<Request<RequestBody>, Response = Response<B>, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<Response<B>, S::Error>>,
    B: Body,
{
    type Output = Result<Response<Guarded<B, Lease>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Each `Option` is taken only where another state or `Ready` follows.
        const OVER: &str = "polled after completion";
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProj::Refreshing { flight, index } => {
                    ready!(Pin::new(flight).poll(cx));
                    this.round.refreshed(*index)
                }
                StateProj::Readying { taken } => {
                    let inner = this.inner.as_mut().expect(OVER);
                    ready!(inner.poll_ready(cx)).map_err(Into::into)?;
                    match this.round.put_in(taken.take().expect(OVER)) {
                        Some((request, lease)) => {
                            let (future, lease) = (inner.call(request), Some(lease));
                            this.state.set(State::Sending { future, lease });
                            continue;
                        }
                        None => this.round.over(),
                    }
                }
                StateProj::Sending { future, lease } => {
                    let result = ready!(future.poll(cx));
                    let lease = lease.take().expect(OVER);
                    match result {
                        Ok(response) => {
                            return Poll::Ready(Ok(response.map(|body| Guarded::new(body, lease))));
                        }
                        Err(error) => this.round.failed(error.into(), lease.place()),
                    }
                }
                StateProj::Over { error } => {
                    return Poll::Ready(Err(error.take().expect(OVER)));
                }
            };
            this.state.set(match next {
                Next::Send(taken) => State::Readying { taken: Some(taken) },
                Next::Refresh { index, flight } => State::Refreshing { flight, index },
                Next::Over(error) => State::Over { error: Some(error) },
            });
        }
    }
}

impl<S, F> fmt::Debug for TokenPoolFuture<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenPoolFuture")
            .field("round", &self.round)
            .finish_non_exhaustive()
    }
}
