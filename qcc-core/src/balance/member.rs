//! An endpoint as the balancer sees it: what it is, how busy it is, and who may say no.

use std::sync::Arc;

use super::load::{InFlight, Load};
use crate::available::{Availability, Available, Query, Reason};
use crate::endpoint::Endpoint;

/// One endpoint of a balancer, without its service.
#[derive(Clone, Debug)]
pub struct Member {
    endpoint: Arc<Endpoint>,
    load: Load,
    gates: Box<[Arc<dyn Available>]>,
}

impl Member {
    /// `endpoint` behind `gates`, which are asked in this order: the first that is out decides.
    ///
    /// The breaker's gate belongs at the end: then an endpoint that is left out as open or
    /// probing is known to be fine otherwise, which is what the last resort needs.
    pub fn new<G>(endpoint: Arc<Endpoint>, gates: G) -> Self
    where
        G: IntoIterator<Item = Arc<dyn Available>>,
    {
        Self {
            endpoint,
            load: Load::new(),
            gates: gates.into_iter().collect(),
        }
    }

    /// The same with the load of an earlier member, so that requests in flight stay counted and
    /// latencies known over a reload.
    #[must_use]
    pub fn with_load(mut self, load: Load) -> Self {
        self.load = load;
        self
    }

    /// The endpoint.
    #[must_use]
    pub const fn endpoint(&self) -> &Arc<Endpoint> {
        &self.endpoint
    }

    /// How busy it is.
    #[must_use]
    pub const fn load(&self) -> &Load {
        &self.load
    }

    /// Whether it may be used for the request of `query`, leaving aside what happened in that
    /// request before. Reserves nothing.
    #[must_use]
    pub fn availability(&self, query: &Query<'_>) -> Availability {
        if !self.endpoint.speaks(query.facts) {
            return Availability::out(Reason::Dialect, None);
        }
        if !self.endpoint.serves(query.facts) {
            return Availability::out(Reason::Model, None);
        }
        if self
            .endpoint
            .max_in_flight()
            .is_some_and(|limit| self.load.in_flight() >= limit)
        {
            return Availability::out(Reason::Full, None);
        }
        let mut worst = Availability::Ready;
        for gate in &self.gates {
            match gate.availability(query) {
                Availability::Ready => {}
                Availability::Degraded => worst = Availability::Degraded,
                out @ Availability::Out { .. } => return out,
            }
        }
        worst
    }

    pub(super) fn gates(&self) -> &[Arc<dyn Available>] {
        &self.gates
    }

    /// Takes a place, if there is one.
    pub(super) fn enter(&self) -> Option<InFlight> {
        self.load.enter(self.endpoint.max_in_flight())
    }
}
