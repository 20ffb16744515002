//! The future of a visit, and what is drawn from its end.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::ties::Ties;
use crate::error::BoxError;
use crate::failure::{Blame, Verdict};
use crate::guard::{Guard, Guarded, Settled};

pin_project! {
    /// The future of [`Affinity`](super::Affinity).
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves everything as it was.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        ties: Option<Ties>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, ties: Option<Ties>) -> Self {
        Self { inner, ties }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<Guarded<B, Bond>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let ties = this.ties.take();
        if let Some(ties) = &ties {
            ties.conclude(&result);
        }
        Poll::Ready(result.map(|response| response.map(|body| Guarded::new(body, Bond(ties)))))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("ties", &self.ties)
            .finish_non_exhaustive()
    }
}

/// What affinity has to do with the answer to a request, until that has ended: it learns what is
/// made where, and the binding of a session to an endpoint whose answer breaks is gone.
#[derive(Debug)]
pub struct Bond(Option<Ties>);

impl Guard for Bond {
    fn pass(&mut self) {
        if let Some(ties) = &self.0 {
            ties.learn();
        }
    }

    fn settle(self, settled: Settled) {
        if let (Some(ties), Settled::Broken(kind)) = (self.0, settled)
            && kind.blame() == Blame::Endpoint
        {
            ties.broke(Verdict::new(kind));
        }
    }
}
