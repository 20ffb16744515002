//! Holds an answer to its commit point, judges it, and watches it to its end.
//!
//! Until the first meaningful output of an answer exists, a failure of any form is one error
//! value, [`Failed`](crate::failure::Failed): a status, an error body under 200, an error as
//! the first event of a stream, a truncated document, silence. `Ok(response)` means
//! *committed*. After it an abnormal end is the error
//! [`Interrupted`](crate::failure::Interrupted) of the body, which carries the event that tells
//! the client in its own dialect.
//!
//! What an answer means is decided by a [`Classify`] and, for an answer that has to be looked
//! into, by the [`Watch`] that it makes: pure, without a clock. This layer reads the body, keeps
//! the time, and notes what happened in the record.
//!
//! # Cancel safety
//!
//! Dropping the future or the body drops the upstream's: nothing is counted against anybody.

mod body;
mod classifier;
mod config;
mod failing;
mod future;
mod layer;
mod status;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::body::WatchedBody;
pub use self::classifier::{Classify, Hold, Plan, Progress, Sent, Watch};
pub use self::config::{InvalidTimeout, Timeouts};
pub use self::future::ResponseFuture;
pub use self::layer::ErrorClassifyLayer;
pub use self::status::ByStatus;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::time;
use crate::visit::Visit;

/// Judges the answers of an upstream. Made by [`ErrorClassifyLayer`].
#[derive(Clone, Debug)]
pub struct ErrorClassify<S> {
    inner: S,
    classify: Arc<dyn Classify>,
    timeouts: Timeouts,
}

impl<S> ErrorClassify<S> {
    /// Judges the answers of `inner` with `classify`.
    pub fn new(inner: S, classify: Arc<dyn Classify>, timeouts: Timeouts) -> Self {
        Self {
            inner,
            classify,
            timeouts,
        }
    }

    /// The service underneath.
    pub fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service underneath.
    pub fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the service underneath back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for ErrorClassify<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<WatchedBody<B>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let visit = Visit::of(request.extensions_mut());
        let exchange = visit.exchange.clone();
        let credential = visit.credential.clone();
        let future = self.inner.call(request);
        ResponseFuture::new(
            future,
            self.classify.clone(),
            exchange,
            credential,
            &self.timeouts,
            time::now(),
        )
    }
}
