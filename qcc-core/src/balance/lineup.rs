//! Trying a policy out without a runtime, a network or a service.

use std::sync::Arc;

use http::Request;
use http::request::Parts;

use super::config::Config;
use super::member::Member;
use super::policy::{BalancePolicy, Candidates, Scene};
use crate::available::{Availability, Available, Query, Reason};
use crate::endpoint::Endpoint;
use crate::exchange::Exchange;
use crate::facts::Facts;
use crate::record::Tier;
use crate::time::{self, Duration};
use crate::visit::Excluded;

/// Endpoints in a situation that a policy has to cope with.
///
/// ```
/// use qcc_core::balance::{Lineup, Priority};
/// use qcc_core::endpoint::Endpoint;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let first = Endpoint::new("first", "https://first.example".parse()?);
/// let second = Endpoint::new("second", "https://second.example".parse()?).with_priority(2);
/// let lineup = Lineup::new([first, second]);
/// assert_eq!(lineup.pick(&Priority::default()), Some("first"));
/// assert_eq!(lineup.without("first").pick(&Priority::default()), Some("second"));
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Lineup {
    members: Vec<Member>,
    head: Parts,
}

impl Lineup {
    /// `endpoints`, all of them ready and idle, and a request without headers.
    pub fn new<I: IntoIterator<Item = Endpoint>>(endpoints: I) -> Self {
        let mut members: Vec<_> = endpoints
            .into_iter()
            .map(|endpoint| Member::new(Arc::new(endpoint), []))
            .collect();
        members.sort_by_key(|member| member.endpoint().priority());
        Self {
            members,
            head: Request::new(()).into_parts().0,
        }
    }

    /// The same with another request; its body is ignored.
    #[must_use]
    pub fn with_request<B>(mut self, request: Request<B>) -> Self {
        self.head = request.into_parts().0;
        self
    }

    /// The same with this many more requests in flight at the endpoint of this name.
    #[must_use]
    pub fn with_in_flight(self, name: &str, requests: u32) -> Self {
        for member in self.named(name) {
            for _ in 0..requests {
                // Never dropped, so never subtracted.
                std::mem::forget(member.load().enter(None));
            }
        }
        self
    }

    /// The same with one more answer of the endpoint of this name that took `latency` to come.
    #[must_use]
    pub fn with_latency(self, name: &str, latency: Duration) -> Self {
        for member in self.named(name) {
            member.load().observe(latency, time::now());
        }
        self
    }

    /// The same with the endpoint of this name at the beginning of a slow start.
    #[must_use]
    pub fn with_recovered(self, name: &str) -> Self {
        for member in self.named(name) {
            member.load().configure(&Config::default());
            member.load().recovered(time::now());
        }
        self
    }

    /// The same without the endpoint of this name among the candidates; its slot stays.
    #[must_use]
    pub fn without(mut self, name: &str) -> Self {
        for member in &mut self.members {
            if &**member.endpoint().name() == name {
                let load = member.load().clone();
                *member =
                    Member::new(member.endpoint().clone(), [Arc::new(Away) as _]).with_load(load);
            }
        }
        self
    }

    /// The name of the endpoint that `policy` picks.
    pub fn pick(&self, policy: &dyn BalancePolicy) -> Option<&str> {
        let facts = Exchange::get(&self.head.extensions).map(Exchange::facts);
        let unknown = Facts::default();
        let query = Query::new(&self.head, facts.unwrap_or(&unknown), time::now());
        let excluded = Excluded::default();
        let scene = Scene::new(&self.members, query, &excluded);
        let slot = policy
            .pick(&self.head, Candidates::new(&scene, Tier::Ready))?
            .slot();
        self.members
            .get(slot)
            .map(|member| &**member.endpoint().name())
    }

    fn named(&self, name: &str) -> impl Iterator<Item = &Member> {
        self.members
            .iter()
            .filter(move |member| &**member.endpoint().name() == name)
    }
}

/// A gate that is shut.
#[derive(Debug)]
struct Away;

impl Available for Away {
    fn availability(&self, _: &Query<'_>) -> Availability {
        Availability::out(Reason::Marked, None)
    }
}
