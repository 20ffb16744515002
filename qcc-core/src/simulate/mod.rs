//! A fault-injecting LLM upstream, as a service: see failover work, and test against it, without
//! an account and without a network.
//!
//! One [`Simulator`] holds any number of endpoints. A request finds its endpoint by the host
//! (`http://a.sim/v1/messages` goes to `a`) or by the first segment of its path
//! (`http://127.0.0.1:7862/a/v1/messages`, too). What an endpoint does is a [`Behaviour`], or a
//! [`Script`] of several over time, and can be changed while it runs.
//!
//! It answers in all four dialects, streamed and not, and knows their model lists and token
//! counts. Files, batches, containers, cached contents and stored responses can be made, looked
//! at and deleted, each with the key that it was made with; who names one that the endpoint does
//! not have for its key is told so, as vendors do. Everything runs on tokio's clock, so a test that pauses it waits for nothing. Faults
//! of a connection are errors here ([`ConnectionFault`]), which a server in front of it turns
//! into what they stand for.
//!
//! ```
//! use bytes::Bytes;
//! use http::Request;
//! use qcc_core::simulate::{Behaviour, Simulator};
//! use tower::ServiceExt as _;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
//! let simulator = Simulator::new()
//!     .endpoint("a", "status:503".parse::<Behaviour>()?)
//!     .endpoint("b", Behaviour::Ok);
//!
//! let request = Request::post("http://a.sim/v1/messages").body(Bytes::from("{}").into())?;
//! let response = simulator.clone().oneshot(request).await?;
//! assert_eq!(response.status(), 503);
//! assert_eq!(simulator.counts("a").requests, 1);
//! # Ok(())
//! # }
//! ```

mod answer;
mod asked;
mod behaviour;
mod body;
mod fault;
mod future;
mod kept;
mod ledger;
mod plan;
mod script;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, header};
use tower::Service;

use crate::body::RequestBody;
use crate::error::BoxError;
use crate::time;

pub use behaviour::{Behaviour, ErrorAnswer, InvalidBehaviour, Shape};
pub use body::{CloseIdle, ConnectionFault, SimulatedBody, SocketFault};
pub use future::SimulatorFuture;
pub use ledger::Counts;
pub use script::Script;

use ledger::{Member, Seat};

/// Simulated endpoints, as one service. Clones share them.
///
/// # Errors
///
/// [`ConnectionFault`] where the behaviour is one of the connection; what the body of the
/// request gave if it could not be read.
#[derive(Clone)]
pub struct Simulator {
    members: Arc<Mutex<HashMap<Arc<str>, Arc<Member>>>>,
}

impl Simulator {
    /// The endpoint for requests that name no other.
    pub const DEFAULT: &'static str = "default";

    /// A simulator with one endpoint, [`DEFAULT`](Self::DEFAULT), which always answers.
    #[must_use]
    pub fn new() -> Self {
        let simulator = Self {
            members: Arc::default(),
        };
        simulator.endpoint(Self::DEFAULT, Script::default())
    }

    /// The same with one more endpoint.
    #[must_use]
    pub fn endpoint(self, name: impl Into<Arc<str>>, script: impl Into<Script>) -> Self {
        self.set(name, script);
        self
    }

    /// Lets an endpoint follow `script` from now on. One that is not there yet is added; one that
    /// is keeps its counts. Requests that are in flight end as they began.
    pub fn set(&self, name: impl Into<Arc<str>>, script: impl Into<Script>) {
        let (name, script, now) = (name.into(), script.into(), time::now());
        let mut members = self.members();
        match members.get(&name) {
            Some(member) => member.state().set(script, now),
            None => {
                let member = Arc::new(Member::new(name.clone(), script, now));
                members.insert(name, member);
            }
        }
    }

    /// The names of the endpoints, in order.
    #[must_use]
    pub fn names(&self) -> Vec<Arc<str>> {
        let mut names: Vec<_> = self.members().keys().cloned().collect();
        names.sort_unstable();
        names
    }

    /// What happened at an endpoint so far; nothing if there is none of that name.
    #[must_use]
    pub fn counts(&self, name: &str) -> Counts {
        self.members()
            .get(name)
            .map(|member| member.state().counts.clone())
            .unwrap_or_default()
    }

    /// The last request that an endpoint read, as it came.
    #[must_use]
    pub fn last_request(&self, name: &str) -> Option<Request<Bytes>> {
        self.members().get(name)?.state().last.clone()
    }

    /// The endpoint that a request is for.
    fn select(&self, request: &Request<RequestBody>) -> Arc<Member> {
        let in_header = || request.headers().get(header::HOST)?.to_str().ok();
        let host = request.uri().host().or_else(in_header).unwrap_or_default();
        let host = host.split_once(':').map_or(host, |(host, _)| host);
        let label = host.split_once('.').map_or(host, |(label, _)| label);
        let segment = request.uri().path().split('/').nth(1).unwrap_or_default();
        let mut members = self.members();
        for name in [host, label, segment] {
            if let Some(member) = members.get(name) {
                return member.clone();
            }
        }
        members
            .entry(Self::DEFAULT.into())
            .or_insert_with_key(|name| {
                Arc::new(Member::new(name.clone(), Script::default(), time::now()))
            })
            .clone()
    }

    fn members(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Member>>> {
        // Nothing in the critical sections can leave the table half changed.
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Simulator {
    fn default() -> Self {
        Self::new()
    }
}

impl Service<Request<RequestBody>> for Simulator {
    type Response = Response<SimulatedBody>;
    type Error = BoxError;
    type Future = SimulatorFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> SimulatorFuture {
        let seat = Seat::take(self.select(&request));
        SimulatorFuture::new(request, seat)
    }
}

impl fmt::Debug for Simulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Simulator")
            .field("endpoints", &self.names())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
