//! Picks one of the endpoints that may be used, for each visit.
//!
//! `tower`'s own balancer picks in `poll_ready`, before it has seen the request, so it can
//! neither stick to an endpoint nor leave one out. [`Balance`] picks in `call`: it is always
//! ready, looks at the request and at the state of each endpoint without awaiting anything, takes
//! a place among the requests in flight of its pick, and only then waits, inside the future, for
//! that endpoint's service to become ready. If nobody may be used, the answer is
//! [`NoEndpoint`](crate::error::NoEndpoint), with the reasons counted.
//!
//! The order of a choice:
//! 1. The preferred endpoint of the [`Visit`], unless it is out. If the preference is
//!    [hard](crate::visit::Strength::Hard) the choice ends here: with that endpoint, or with
//!    [`OwnerUnavailable`](crate::error::OwnerUnavailable).
//! 2. What the [`BalancePolicy`] picks among those that are ready, then among those that are
//!    degraded.
//! 3. One request at a time, as the [last resort](LastResort), the endpoint that failed least
//!    recently of those that are merely behind a breaker.
//!
//! How much an endpoint is to be given is its [weight](Candidate::weight): the configured one, less
//! for a while after it has recovered, and with [dynamic weights](Config::dynamic_weights) as much
//! as its checks deserve.
//!
//! Who is out is said by the endpoint itself (dialect, model, requests in flight), by the visit
//! (excluded), and by the gates of its [`Member`]: state handles that implement
//! [`Available`](crate::available::Available).
//!
//! ```
//! use std::sync::Arc;
//!
//! use http::{Request, Response};
//! use http_body_util::Full;
//! use qcc_core::balance::{Balance, Config, Member, RoundRobin};
//! use qcc_core::body::RequestBody;
//! use qcc_core::endpoint::Endpoint;
//! use tower::{ServiceExt as _, service_fn};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), qcc_core::error::BoxError> {
//! let members = ["http://one.example", "http://two.example"].map(|address| {
//!     let endpoint = Endpoint::new(address, address.parse().expect("a URL"));
//!     let service = service_fn(move |_: Request<RequestBody>| async move {
//!         Ok::<_, std::io::Error>(Response::new(Full::<bytes::Bytes>::from(address)))
//!     });
//!     (Member::new(Arc::new(endpoint), []), service)
//! });
//! let balance = Balance::new(members, Arc::new(RoundRobin::default()), Config::default());
//! let response = balance.oneshot(Request::new(RequestBody::empty())).await?;
//! assert_eq!(response.status(), 200);
//! # Ok(())
//! # }
//! ```

mod config;
mod dynamic;
mod future;
mod lineup;
mod load;
mod member;
mod policies;
mod policy;
mod snapshot;
#[cfg(test)]
mod tests;
mod weighing;

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use arc_swap::ArcSwap;
use http::{Request, Response};
use http_body::Body;
use tower::Service;
use tower::util::Oneshot;

pub use self::config::{Config, LastResort};
pub use self::dynamic::Checked;
pub use self::future::ResponseFuture;
pub use self::lineup::Lineup;
pub use self::load::Load;
pub use self::member::Member;
pub use self::policies::{LeastLoaded, PowerOfTwo, Priority, Random, RoundRobin, Weighted};
pub use self::policy::{BalancePolicy, Candidate, Candidates};
pub use self::snapshot::Held;

use self::future::Contested;
use self::snapshot::{Chooser, Snapshot};
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::guard::Guarded;
use crate::record::Tier;
use crate::time;
use crate::visit::{Admission, Visit};

/// Sends each request to one of its endpoints. A clone is the same balancer.
pub struct Balance<S>(Arc<Shared<S>>);

struct Shared<S> {
    snapshot: ArcSwap<Snapshot<S>>,
    chooser: Chooser,
}

impl<S> Balance<S> {
    /// A balancer over `members`, each with the service that sends to it.
    pub fn new<M>(members: M, policy: Arc<dyn BalancePolicy>, config: Config) -> Self
    where
        M: IntoIterator<Item = (Member, S)>,
    {
        Self(Arc::new(Shared {
            snapshot: ArcSwap::from_pointee(Snapshot::new(members, &config)),
            chooser: Chooser {
                policy,
                config,
                place: Default::default(),
            },
        }))
    }

    /// Takes these members in place of the ones before, in one step: requests that were sent
    /// already finish where they are. A member that stays should come with the
    /// [`Load`] that it had.
    pub fn replace<M>(&self, members: M)
    where
        M: IntoIterator<Item = (Member, S)>,
    {
        let snapshot = Snapshot::new(members, &self.0.chooser.config);
        self.0.snapshot.store(Arc::new(snapshot));
    }

    /// The members, in the order of their priority.
    #[must_use]
    pub fn members(&self) -> Vec<Member> {
        self.0.snapshot.load().members.to_vec()
    }
}

impl<S> Clone for Balance<S> {
    fn clone(&self) -> Self {
        Self(self.0.clone())
    }
}

impl<S> fmt::Debug for Balance<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balance")
            .field("members", &self.0.snapshot.load())
            .field("chooser", &self.0.chooser)
            .finish()
    }
}

impl<S, B> Service<Request<RequestBody>> for Balance<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Guarded<B, Held>>;
    type Error = BoxError;
    type Future = ResponseFuture<S>;

    /// Always ready: which endpoint has to be is not known before the request is.
    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> ResponseFuture<S> {
        let now = time::now();
        let (mut head, body) = request.into_parts();
        let visit = Visit::of(&mut head.extensions).clone();
        let snapshot = self.0.snapshot.load();
        let chosen = match self.0.chooser.choose(&snapshot, &head, &visit, now) {
            Ok(chosen) => chosen,
            Err(error) => return ResponseFuture::nobody(error),
        };

        let date = visit.exchange.date();
        chosen.held.in_flight.load().count(date);
        Visit::of(&mut head.extensions).admission = match chosen.tier {
            Tier::LastResort => Admission::LastResort,
            Tier::Ready | Tier::Degraded => Admission::Normal,
        };
        let contested = visit
            .contested
            .and_then(|id| snapshot.slot(id))
            .map(|slot| {
                Box::new(Contested {
                    member: snapshot.members[slot].clone(),
                    head: head.clone(),
                    exchange: visit.exchange.clone(),
                })
            });
        let service = snapshot.services[chosen.slot].clone();
        let visit = Oneshot::new(service, Request::from_parts(head, body));
        ResponseFuture::visiting(visit, chosen.held, contested, now)
    }
}
