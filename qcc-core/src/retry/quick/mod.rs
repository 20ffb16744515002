//! The one retry that goes to the same endpoint.

mod future;

use std::mem;
use std::task::{Context, Poll};

use http::{Request, Response};
use tower::{Layer, Service};

pub use self::future::QuickRetryFuture;
use super::Budget;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::visit::Visit;

/// Puts [`QuickRetry`] around the way to one upstream.
#[derive(Clone, Debug, Default)]
pub struct QuickRetryLayer {
    budget: Budget,
}

impl QuickRetryLayer {
    /// A layer whose retries are paid from `budget`, which should be that of the cluster.
    #[must_use]
    pub const fn new(budget: Budget) -> Self {
        Self { budget }
    }
}

impl<S> Layer<S> for QuickRetryLayer {
    type Service = QuickRetry<S>;

    fn layer(&self, inner: S) -> QuickRetry<S> {
        QuickRetry {
            inner,
            budget: self.budget.clone(),
        }
    }
}

/// Repeats a send once, at once, if it failed on transport before an answer began.
///
/// Stands below the breaker, which then hears only of failures that a fresh connection did not
/// mend. The second send asks for one in
/// [`Visit::fresh_connection`](crate::visit::Visit::fresh_connection); whether it gets it is up
/// to the HTTP client.
#[derive(Clone, Debug)]
pub struct QuickRetry<S> {
    inner: S,
    budget: Budget,
}

impl<S> QuickRetry<S> {
    /// The service underneath.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service underneath.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the service underneath back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for QuickRetry<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
{
    type Response = Response<B>;
    type Error = BoxError;
    type Future = QuickRetryFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let clone = self.inner.clone();
        let mut ready = mem::replace(&mut self.inner, clone);
        let exchange = Visit::of(request.extensions_mut()).exchange.clone();
        let (head, body) = request.into_parts();
        let replay = body
            .try_clone()
            .map(|body| Box::new(Request::from_parts(head.clone(), body)));
        let first = ready.call(Request::from_parts(head, body));
        QuickRetryFuture::new(first, ready, replay, exchange, self.budget.clone())
    }
}
