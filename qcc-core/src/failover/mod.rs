//! The recommended stack, ready to use.
//!
//! [`Failover`] is what you get by putting the layers of this crate around your own HTTP client
//! in the order that works, with one state object for each endpoint behind one [`Handle`].
//! Nothing here is out of reach by hand: `docs/stack-order.md` shows the long form, and why
//! each layer stands where it stands.
//!
//! ```
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use qcc_core::body::RequestBody;
//! use qcc_core::endpoint::{Endpoint, Endpoints};
//! use qcc_core::failover::Failover;
//! use tower::{ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // Any `Service<Request<RequestBody>>`: this one loses every request to the first host.
//! let upstream = service_fn(|request: Request<RequestBody>| async move {
//!     match request.uri().host() {
//!         Some("backup.example") => Ok(Response::new(Full::from("hello"))),
//!         _ => Err(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)),
//!     }
//! });
//! let endpoints = Endpoints::try_from_iter([
//!     Endpoint::new("primary", "https://primary.example".parse()?),
//!     Endpoint::new("backup", "https://backup.example".parse()?).with_priority(2),
//! ])?;
//! let failover = Failover::builder(endpoints).build(|_endpoint| upstream);
//!
//! let request = Request::post("/v1/messages").body(RequestBody::from("{}"))?;
//! let response = failover.oneshot(request).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```

mod builder;
mod checks;
mod findings;
mod handle;
#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;
use tower::Service;

use self::checks::ShortWay;

pub use self::builder::Builder;
pub use self::checks::{Checks, NotChecked};
pub use self::handle::{EndpointHandle, EndpointStatus, Handle};
use crate::affinity::{Affinity, Bond};
use crate::balance::{Balance, Held};
use crate::breaker::{CircuitBreaker, Permit};
use crate::classify::{ErrorClassify, WatchedBody};
use crate::endpoint::Endpoints;
use crate::error::{BoxError, Error};
use crate::guard::Guarded;
use crate::health::{Call, TrackHealth};
use crate::inspect::Inspect;
use crate::recovery::Probe;
use crate::retry::{QuickRetry, ReplyBody, RetryWithExclusion};
use crate::token::{Lease, TokenPool};
use crate::upstream::{Decode, DecodedBody, Origin, Upstream};

/// The way to one endpoint, from its breaker down to the upstream.
type Way<S> = CircuitBreaker<TrackHealth<TokenPool<QuickRetry<ErrorClassify<Decode<Origin<S>>>>>>>;

/// What a body passes on that way, inside out: decoded, watched, then guarded by lease, record, permit
/// and place in flight.
type WayBody<S> = Guarded<
    Guarded<Guarded<Guarded<WatchedBody<DecodedBody<<S as Upstream>::Body>>, Lease>, Call>, Permit>,
    Held,
>;

/// What goes on from there, guarded by the bond of its session.
type BoundBody<S> = Guarded<WayBody<S>, Bond>;

/// The whole stack.
type Stack<S> = Inspect<RetryWithExclusion<Affinity<Balance<Way<S>>>>>;

/// Sends each request to an endpoint that answers it, whatever the others do.
///
/// A service over requests with any body. It answers `Ok` if and only if an upstream's answer
/// is relayed, else the [`Error`] that `llm::respond` turns into an answer for the client. A
/// clone shares all state; `S` is the upstream.
pub struct Failover<S> {
    stack: Stack<S>,
    handle: Handle,
    short_ways: Arc<[ShortWay<S>]>,
}

impl Failover<()> {
    /// Starts to build the stack over `endpoints`.
    #[must_use]
    pub fn builder(endpoints: Endpoints) -> Builder {
        Builder::new(endpoints)
    }
}

impl<S> Failover<S> {
    /// Looks at the endpoints and operates them, while requests go on.
    #[must_use]
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }
}

impl<S: Upstream> Failover<S> {
    /// Checks the endpoints with `probe`, past the stack.
    #[must_use]
    pub fn checks(&self, probe: impl Probe) -> Checks<S> {
        let probe = Arc::new(probe);
        Checks::new(self.handle(), self.short_ways.clone(), probe)
    }

    /// Looks after endpoints that failed, for ever: they are checked with `probe` from time to time
    /// and come back as soon as they really work. Run it beside your service, and drop it with it.
    ///
    /// ```
    /// # use qcc_core::endpoint::Endpoints;
    /// # use qcc_core::failover::Failover;
    /// # use qcc_core::upstream::Upstream;
    /// # #[cfg(feature = "llm")]
    /// # fn run<S: Upstream>(upstream: S) {
    /// use qcc_core::llm::LlmProbe;
    ///
    /// let failover = Failover::builder(Endpoints::default()).llm().build(|_| upstream.clone());
    /// let recovery = failover.recovery(LlmProbe::default());
    /// tokio::spawn(async { recovery.await });
    /// # }
    /// ```
    ///
    /// # Cancel safety
    ///
    /// As of [`Checks::recovery`].
    pub fn recovery<P: Probe>(
        &self,
        probe: P,
    ) -> impl Future<Output = Infallible> + Send + use<S, P> {
        self.checks(probe).recovery()
    }
}

impl<S: Clone> Clone for Failover<S> {
    fn clone(&self) -> Self {
        Self {
            stack: self.stack.clone(),
            handle: self.handle.clone(),
            short_ways: self.short_ways.clone(),
        }
    }
}

impl<S> fmt::Debug for Failover<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Failover")
            .field("handle", &self.handle)
            .finish_non_exhaustive()
    }
}

impl<S, B> Service<Request<B>> for Failover<S>
where
    S: Upstream,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<ResponseBody<S>>;
    type Error = Error;
    type Future = ResponseFuture<S, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        Service::<Request<B>>::poll_ready(&mut self.stack, cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        ResponseFuture {
            future: self.stack.call(request),
        }
    }
}

pin_project! {
    /// The future of [`Failover`]: ready when an answer is committed, or when nothing is left
    /// to try.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up what is under way at the upstream; every count, permit and lease
    /// returns, and nothing is counted against an endpoint.
    pub struct ResponseFuture<S, B>
    where
        S: Upstream,
        B: Body<Data = Bytes>,
        B: Send,
        B: Unpin,
        B: 'static,
        B::Error: Into<BoxError>,
    {
        #[pin]
        future: <Stack<S> as Service<Request<B>>>::Future,
    }
}

impl<S, B> Future for ResponseFuture<S, B>
where
    S: Upstream,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<ResponseBody<S>>, Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(self.project().future.poll(cx))?;
        Poll::Ready(Ok(response.map(|body| ResponseBody { body })))
    }
}

pin_project! {
    /// The body of what the client gets. Dropping it gives up the rest of the answer.
    pub struct ResponseBody<S>
    where
        S: Upstream,
    {
        #[pin]
        body: ReplyBody<BoundBody<S>>,
    }
}

impl<S: Upstream> Body for ResponseBody<S> {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.project().body.poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl<S, B> fmt::Debug for ResponseFuture<S, B>
where
    S: Upstream,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").finish_non_exhaustive()
    }
}

impl<S: Upstream> fmt::Debug for ResponseBody<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ResponseBody").field(&self.body).finish()
    }
}
