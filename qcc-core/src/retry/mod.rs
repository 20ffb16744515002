//! Tries a request elsewhere until somebody answers it, within bounds.
//!
//! [`RetryWithExclusion`] stands above the balancer: it sends a request down again with the
//! endpoints that failed excluded, so that no endpoint is tried twice. It keeps the body for
//! that (up to a limit), counts attempts, holds the deadline, and draws on a budget that all
//! requests share. What follows a failure is a [`RetryPolicy`]'s pure decision. When nobody
//! answered, it relays the most useful answer or fails with one [`Error`].
//!
//! Its response body is the outermost one: it turns an interruption into the event that tells
//! the client in its dialect, and it hands the finished record on.
//!
//! [`QuickRetry`] is the one retry that goes to the same endpoint: at once, after a transport
//! failure, because connections die of age more often than of illness.
//!
//! # Cancel safety
//!
//! Dropping the future or the body drops what is under way at the upstream. The record is
//! sealed as canceled, and nothing is counted against anybody.

mod body;
mod budget;
mod config;
mod future;
mod history;
mod journey;
mod layer;
mod policy;
mod quick;
#[cfg(test)]
mod tests;

use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::body::ReplyBody;
pub use self::budget::{Budget, InvalidBudget};
pub use self::config::{Config, InvalidDeadline};
pub use self::future::ResponseFuture;
pub use self::layer::RetryWithExclusionLayer;
pub use self::policy::{Failure, Next, RetryPolicy, Standard};
pub use self::quick::{QuickRetry, QuickRetryFuture, QuickRetryLayer};
use crate::body::RequestBody;
use crate::error::{BoxError, Error, ErrorKind};
use crate::exchange::RequestId;

/// Tries requests elsewhere. Made by [`RetryWithExclusionLayer`].
#[derive(Clone, Debug)]
pub struct RetryWithExclusion<S> {
    inner: S,
    shared: Arc<RetryWithExclusionLayer>,
}

impl<S> RetryWithExclusion<S> {
    pub(self) const fn new(inner: S, shared: Arc<RetryWithExclusionLayer>) -> Self {
        Self { inner, shared }
    }

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

impl<S, B, R> Service<Request<B>> for RetryWithExclusion<S>
where
    S: Service<Request<RequestBody>, Response = Response<R>> + Clone,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
    R: Body<Data = Bytes>,
    R::Error: Into<BoxError>,
{
    type Response = Response<ReplyBody<R>>;
    type Error = Error;
    type Future = ResponseFuture<S, S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.inner.poll_ready(cx).map_err(|error| {
            Error::new(ErrorKind::AllFailed, RequestId::random()).with_source(error.into())
        })
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The clone was not polled ready: it is for the next request, this one takes the other.
        let clone = self.inner.clone();
        let ready = mem::replace(&mut self.inner, clone);
        ResponseFuture::new(ready, request, self.shared.clone())
    }
}
