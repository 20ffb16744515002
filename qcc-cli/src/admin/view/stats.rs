//! Everything at a glance: who is busy, and who cannot be used.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EndpointView, SessionStatsView};
use crate::counts::Numbers;
use crate::moment::Date;

/// A client key, by name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClientView {
    /// Its name.
    pub(crate) name: String,
    /// How many of its requests are in flight, answers included.
    pub(crate) current_load: u32,
    /// How many there may be.
    pub(crate) max_in_flight: Option<u32>,
    /// How many of its sessions are bound.
    pub(crate) sessions: usize,
}

impl ClientView {
    /// Whether there is anything to tell of it.
    pub(crate) const fn is_busy(&self) -> bool {
        self.current_load > 0 || self.sessions > 0
    }
}

/// Everything at a glance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StatsView {
    /// When this was so.
    pub(crate) as_of: Date,
    /// What became of all requests since the start.
    pub(crate) requests: Numbers,
    /// How many breakers are in each state.
    pub(crate) breakers: BTreeMap<String, u32>,
    /// How many credentials are in each state.
    pub(crate) credentials: BTreeMap<String, u32>,
    /// The sessions of each cluster that has any.
    pub(crate) sessions: Vec<SessionStatsView>,
    /// The endpoints that have or had something to do today.
    pub(crate) endpoints: Vec<LoadView>,
    /// The clients that have something in flight or bound.
    pub(crate) clients: Vec<ClientView>,
    /// The endpoints that cannot be used now.
    pub(crate) unavailable: Vec<UnavailableView>,
}

/// How busy an endpoint is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LoadView {
    /// Its cluster.
    pub(crate) cluster: String,
    /// Its short id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// How many requests are in flight, bodies included.
    pub(crate) current_load: u32,
    /// The limit on them.
    pub(crate) max_in_flight: Option<u32>,
    /// How many requests it got that came in today.
    pub(crate) daily_requests: u32,
    /// How many sessions are bound to it.
    pub(crate) sessions: usize,
}

impl LoadView {
    /// The load of `endpoint`, to which so many sessions are bound.
    pub(crate) fn of(endpoint: &EndpointView, sessions: usize) -> Self {
        Self {
            cluster: endpoint.cluster.clone(),
            id: endpoint.id.clone(),
            name: endpoint.name.clone(),
            current_load: endpoint.in_flight,
            max_in_flight: endpoint.max_in_flight,
            daily_requests: endpoint.daily_requests,
            sessions,
        }
    }

    /// Whether there is anything to tell of it.
    pub(crate) const fn is_busy(&self) -> bool {
        self.current_load > 0 || self.daily_requests > 0 || self.sessions > 0
    }
}

/// An endpoint that cannot be used now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct UnavailableView {
    /// Its cluster.
    pub(crate) cluster: String,
    /// Its short id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Why, by the name that answers, `explain` and metrics use.
    pub(crate) reason: String,
    /// Until when, if it ends by itself.
    pub(crate) until: Option<Date>,
}

impl UnavailableView {
    /// `endpoint`, if it cannot be used.
    pub(crate) fn of(endpoint: EndpointView) -> Option<Self> {
        let out = endpoint.out?;
        Some(Self {
            cluster: endpoint.cluster,
            id: endpoint.id,
            name: endpoint.name,
            reason: out.reason,
            until: out.until,
        })
    }
}
