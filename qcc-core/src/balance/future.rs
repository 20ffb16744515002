//! The future of a visit.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use pin_project_lite::pin_project;
use tower::Service;
use tower::util::Oneshot;

use super::member::Member;
use super::snapshot::Held;
use crate::available::Query;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::guard::Guarded;
use crate::time::{self, Instant};

pin_project! {
    /// The future of [`Balance`](super::Balance): waits until the chosen endpoint is ready, calls
    /// it, and keeps the place there until its answer has ended.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives everything back, at every point.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<S>
    where
        S: Service<Request<RequestBody>>,
    {
        #[pin]
        state: State<S>,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<S>
    where
        S: Service<Request<RequestBody>>,
    {
        // Nobody could be chosen.
        Nobody { error: Option<BoxError> },
        // First readiness, then the call; the place is held from before.
        Visiting {
            // Behind a pointer: it is as large as all that is below, and the layers above move it.
            visit: Pin<Box<Oneshot<S, Request<RequestBody>>>>,
            held: Option<Held>,
            contested: Option<Box<Contested>>,
            started: Instant,
        },
    }
}

impl<S: Service<Request<RequestBody>>> ResponseFuture<S> {
    pub(super) const fn nobody(error: BoxError) -> Self {
        Self {
            state: State::Nobody { error: Some(error) },
        }
    }

    pub(super) fn visiting(
        visit: Oneshot<S, Request<RequestBody>>,
        held: Held,
        contested: Option<Box<Contested>>,
        started: Instant,
    ) -> Self {
        Self {
            state: State::Visiting {
                visit: Box::pin(visit),
                held: Some(held),
                contested,
                started,
            },
        }
    }
}

impl<S, B> Future for ResponseFuture<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<Guarded<B, Held>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().state.project() {
            StateProj::Nobody { error } => match error.take() {
                Some(error) => Poll::Ready(Err(error)),
                None => panic!("polled after completion"),
            },
            StateProj::Visiting {
                visit,
                held,
                contested,
                started,
            } => {
                let result = ready!(visit.as_mut().poll(cx));
                // A failed visit gives its place back now, not when the future is dropped.
                let (Some(held), response) = (held.take(), result.map_err(Into::into)?) else {
                    panic!("polled after completion");
                };
                let now = time::now();
                let latency = now.saturating_duration_since(*started);
                held.in_flight.load().observe(latency, now);
                if let Some(contested) = contested.take()
                    && response.status().is_success()
                {
                    contested.overrule(now);
                }
                Poll::Ready(Ok(response.map(|body| Guarded::new(body, held))))
            }
        }
    }
}

impl<S: Service<Request<RequestBody>>> fmt::Debug for ResponseFuture<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

/// The member that called a request invalid on which another one is now asked.
pub(super) struct Contested {
    pub(super) member: Member,
    pub(super) head: Parts,
    pub(super) exchange: Exchange,
}

impl Contested {
    /// Tells its gates that the other one answered.
    fn overrule(&self, now: Instant) {
        let query = Query::new(&self.head, self.exchange.facts(), now);
        for gate in self.member.gates() {
            gate.overruled(&query);
        }
    }
}
