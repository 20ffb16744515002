//! How many requests each caller may have in flight.
//!
//! One client that asks for more than its share must not take the places of all others.
//! Whoever knows who sends (a check of API keys, a client certificate) puts a [`Caller`] into the
//! extensions of the request. [`ConcurrencyLimit`] takes a place of that caller or refuses the
//! request with [`ErrorKind::CallerFull`], and gives the
//! place back when the answer has ended, its body included. A place is a guard: a request that
//! is dropped, breaks or panics gives it back as well, and no time-out repairs a count.
//!
//! It stands above everything, so that a client request is counted once, however often it is
//! sent, and from before its body is read. A request without a caller passes. What an *endpoint*
//! may have in flight is a setting of the endpoint; the balancer keeps it.
//!
//! ```
//! use std::num::NonZeroU32;
//!
//! use http::{Request, Response};
//! use http_body_util::Empty;
//! use bytes::Bytes;
//! use qcc_core::error::BoxError;
//! use qcc_core::limit::{Caller, ConcurrencyLimitLayer};
//! use tower::{Layer as _, ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), BoxError> {
//! let upstream = service_fn(|_: Request<Empty<Bytes>>| async {
//!     Ok::<_, BoxError>(Response::new(Empty::<Bytes>::new()))
//! });
//! let laptop = Caller::new("laptop", NonZeroU32::new(4));
//! let mut request = Request::new(Empty::new());
//! request.extensions_mut().insert(laptop.clone());
//! let response = ConcurrencyLimitLayer.layer(upstream).oneshot(request).await?;
//! assert_eq!(laptop.in_flight(), 0, "an empty body has ended");
//! # drop(response);
//! # Ok(())
//! # }
//! ```

mod future;
mod handle;
mod layer;

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::Service;
use tracing::info;

pub use self::future::ResponseFuture;
pub use self::handle::{Caller, Place};
pub use self::layer::ConcurrencyLimitLayer;
use crate::error::{Error, ErrorKind};
use crate::exchange::{Exchange, RequestId};
use crate::guard::Guarded;

/// A service whose callers have a bounded number of requests in flight. See the
/// [module](self).
///
/// # Errors
///
/// [`Error`] of kind [`ErrorKind::CallerFull`], at once, if the caller has as many as it may
/// have; else those of the inner service, whose error is [`Error`] itself or the box between
/// layers.
///
/// # Cancel safety
///
/// Dropping the future or the body of the answer gives the place back.
#[derive(Clone, Debug)]
pub struct ConcurrencyLimit<S> {
    inner: S,
}

impl<S> ConcurrencyLimit<S> {
    /// `inner`, limited for each caller.
    #[must_use]
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The inner service.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The inner service.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The inner service.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, R, B> Service<Request<R>> for ConcurrencyLimit<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: From<Error>,
    B: Body,
{
    type Response = Response<Guarded<B, Place>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<R>) -> Self::Future {
        // Taken out: whatever goes further down has no use for it.
        let place = match request.extensions_mut().remove::<Caller>() {
            None => Place::free(),
            Some(caller) => match caller.enter() {
                Some(place) => place,
                None => return refuse(&request, &caller),
            },
        };
        ResponseFuture::passed(self.inner.call(request), place)
    }
}

/// Refuses a request of a caller that has no place left.
fn refuse<F, E: From<Error>, R>(request: &Request<R>, caller: &Caller) -> ResponseFuture<F, E> {
    let known = Exchange::get(request.extensions()).map(|exchange| exchange.id().clone());
    let id = known
        .or_else(|| RequestId::given(request.headers()))
        .unwrap_or_else(RequestId::random);
    let (name, in_flight) = (&**caller.name(), caller.in_flight());
    info!(request_id = %id, user_id = name, in_flight, "refused: its caller has no place left");
    ResponseFuture::refused(Error::new(ErrorKind::CallerFull, id).into())
}

#[cfg(test)]
mod tests;
