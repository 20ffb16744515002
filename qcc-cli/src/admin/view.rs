//! What the admin API says: the same types are written by the proxy and read by the commands.
//!
//! Fields that end in `_ms` are milliseconds, dates are RFC 3339 in UTC, and what is not known is
//! `null`. Nothing here has room for a secret.

use std::collections::BTreeMap;

use qcc_core::record::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use super::checks::{ChecksView, QueueView, RecoveryView};
use crate::counts::Numbers;
use crate::explain::{Explanation, Named, Outcome, answered_by};
use crate::moment::{Date, millis};
use crate::running::Change;

/// One page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "PageOf{T}")]
pub(crate) struct Page<T> {
    /// The entries of this page.
    pub(crate) items: Vec<T>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// At most so many are on this page.
    pub(crate) limit: usize,
    /// So many come before it.
    pub(crate) offset: usize,
}

impl<T> Page<T> {
    /// The page of `all` that begins at `offset`.
    pub(crate) fn of(all: impl ExactSizeIterator<Item = T>, offset: usize, limit: usize) -> Self {
        Self {
            total: all.len(),
            items: all.skip(offset).take(limit).collect(),
            limit,
            offset,
        }
    }
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClusterView {
    /// Its name.
    pub(crate) name: String,
    /// Its API, where the configuration names one for all its endpoints.
    pub(crate) kind: Option<String>,
    /// How an endpoint is chosen.
    pub(crate) policy: String,
    /// How many endpoints it has.
    pub(crate) endpoints: usize,
    /// How many of them may be used now.
    pub(crate) eligible: usize,
    /// Entries of the configuration that repeat another one and were dropped.
    pub(crate) duplicates: Vec<DuplicateView>,
}

/// An entry that is the same endpoint as an earlier one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct DuplicateView {
    /// The id of both.
    pub(crate) id: String,
    /// The entry that counts.
    pub(crate) kept: String,
    /// The entry that was dropped.
    pub(crate) dropped: String,
}

/// A cluster and its endpoints.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ClusterStatus {
    /// The cluster.
    pub(crate) cluster: ClusterView,
    /// When this was so.
    pub(crate) as_of: Date,
    /// Its endpoints, in the order of the configuration.
    pub(crate) endpoints: Page<EndpointView>,
}

/// An endpoint, now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct EndpointView {
    /// Its short id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its cluster.
    pub(crate) cluster: String,
    /// Its address.
    pub(crate) base_url: String,
    /// Its API, if it serves one only.
    pub(crate) kind: Option<String>,
    /// Its rank; smaller is preferred.
    pub(crate) priority: u32,
    /// Its share among equals.
    pub(crate) weight: u32,
    /// The same as it is now: less during a slow start, and what its checks make of it.
    pub(crate) effective_weight: f64,
    /// The limit on requests in flight.
    pub(crate) max_in_flight: Option<u32>,
    /// Whether it is switched on; also `false` while its credential is refused.
    pub(crate) enabled: bool,
    /// Whether the operator wants it on.
    pub(crate) operator_enabled: bool,
    /// `unknown`, `healthy`, `degraded` or `unhealthy`.
    pub(crate) status: String,
    /// Whether it counts as healthy.
    pub(crate) is_healthy: bool,
    /// Whether its credential was refused.
    pub(crate) auth_failed: bool,
    /// How many counted failures came in a row.
    pub(crate) consecutive_failures: u32,
    /// Its breaker.
    pub(crate) breaker: BreakerView,
    /// Whether it waits in the recovery queue.
    pub(crate) queued: bool,
    /// Why it is there, when it is checked next, and what checks found.
    pub(crate) recovery: RecoveryView,
    /// How many requests are in flight, bodies included.
    #[serde(rename = "current_load")]
    pub(crate) in_flight: u32,
    /// How many requests it got that came in today, by the date in UTC.
    pub(crate) daily_requests: u32,
    /// The recent latency.
    pub(crate) latency_ms: Option<f64>,
    /// How many requests it got.
    pub(crate) total: u64,
    /// How many of them failed.
    pub(crate) failed: u64,
    /// The share of those that did not, in percent.
    pub(crate) success_rate: Option<f64>,
    /// The average response time of those that have one.
    pub(crate) average_response_ms: Option<f64>,
    /// Why it cannot be used now; `null` if it can.
    pub(crate) out: Option<OutView>,
    /// Its last failure.
    pub(crate) last_failure: Option<LastFailureView>,
    /// The mark that keeps requests away.
    pub(crate) marked: Option<MarkView>,
    /// When its rate limit is reset.
    pub(crate) rate_limit_reset: Option<Date>,
}

/// A mark that keeps requests away.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct MarkView {
    /// Why, in the words of whoever set it.
    pub(crate) reason: String,
    /// Until when.
    pub(crate) until: Date,
}

/// The breaker of an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct BreakerView {
    /// `closed`, `open` or `half_open`.
    pub(crate) state: String,
    /// How many counted failures came in a row.
    pub(crate) failures: u32,
    /// How many open it.
    pub(crate) threshold: u32,
    /// When it opened.
    pub(crate) opened_at: Option<Date>,
    /// When it lets a probe through.
    pub(crate) until: Option<Date>,
}

/// Why an endpoint cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct OutView {
    /// The name that answers, `explain` and metrics use.
    pub(crate) reason: String,
    /// Until when, if it ends by itself.
    pub(crate) until: Option<Date>,
}

/// The last failure of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct LastFailureView {
    /// What went wrong.
    pub(crate) kind: String,
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// When.
    pub(crate) at: Date,
    /// In which request.
    pub(crate) request_id: String,
}

/// What an operation on endpoints changed. One name may stand for one endpoint in several
/// clusters, each with a state of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Switched {
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// What became of each.
    pub(crate) endpoints: Vec<SwitchedOne>,
}

/// What an operation changed at one endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SwitchedOne {
    /// Its cluster.
    pub(crate) cluster: String,
    /// Its short id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Whether anything changed here.
    pub(crate) changed: bool,
    /// Whether it is on now.
    pub(crate) enabled: bool,
    /// The same in a sentence.
    pub(crate) message: String,
}

/// A session that is bound to an endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SessionView {
    /// The hash of its id; the id itself is kept nowhere.
    pub(crate) session: String,
    /// The cluster that it is bound in.
    pub(crate) cluster: String,
    /// The client key that it came with, by name, if it was one of the configuration.
    pub(crate) client: Option<String>,
    /// The short id of the endpoint.
    pub(crate) endpoint_id: String,
    /// The name of the endpoint; `None` if it is no member any more.
    pub(crate) endpoint: Option<String>,
    /// When the binding ends without another success.
    pub(crate) expires: Option<Date>,
    /// How many seconds that is from now.
    pub(crate) remaining_s: u64,
}

/// The numbers of the bindings of one cluster.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SessionStatsView {
    /// The cluster.
    pub(crate) cluster: String,
    /// All bindings.
    pub(crate) total: usize,
    /// Those that count.
    pub(crate) active: usize,
    /// Those that are expired and not yet swept.
    pub(crate) expired: usize,
    /// The active ones of each endpoint that has any, by name.
    pub(crate) endpoints: BTreeMap<String, usize>,
    /// How many seconds a binding lives after the last success.
    pub(crate) ttl_s: u64,
    /// Of how many resources (files, batches, stored responses …) the account is known.
    pub(crate) resources: usize,
}

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

/// How many bindings were removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unbound {
    /// Whether there was one.
    pub(crate) changed: bool,
    /// How many there were.
    pub(crate) count: usize,
}

/// What a reload changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Reloaded {
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// Every key whose value is another one.
    pub(crate) changes: Vec<Change>,
}

impl From<Vec<Change>> for Reloaded {
    fn from(changes: Vec<Change>) -> Self {
        Self {
            changed: !changes.is_empty(),
            changes,
        }
    }
}

/// One request in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RequestView {
    /// The id.
    pub(crate) id: String,
    /// When it came.
    pub(crate) started_at: Date,
    /// The cluster that served it.
    pub(crate) cluster: Option<String>,
    /// The client key that it came with, by name.
    pub(crate) client: Option<String>,
    /// Its dialect.
    pub(crate) dialect: Option<String>,
    /// The model that it named.
    pub(crate) model: Option<String>,
    /// Whether it asked for a stream.
    pub(crate) stream: bool,
    /// The endpoint that answered or, if none did, the last one that was tried.
    pub(crate) endpoint: Option<Named>,
    /// What the client got.
    pub(crate) answer: Outcome,
    /// How many sends counted against the limit.
    pub(crate) attempts: usize,
    /// How many endpoints were visited.
    pub(crate) visits: usize,
    /// All input tokens.
    pub(crate) input_tokens: Option<u64>,
    /// All output tokens.
    pub(crate) output_tokens: Option<u64>,
    /// How long everything took, the body included.
    pub(crate) duration_ms: f64,
}

impl From<&Explanation> for RequestView {
    fn from(told: &Explanation) -> Self {
        let last = told
            .visits
            .iter()
            .rev()
            .find_map(|visit| visit.endpoint.clone());
        Self {
            id: told.id.clone(),
            started_at: told.started_at,
            client: told.client.clone(),
            cluster: told.cluster.clone(),
            dialect: told.dialect.clone(),
            model: told.model.clone(),
            stream: told.stream,
            endpoint: told.answered_by.clone().or(last),
            answer: told.answer.clone(),
            attempts: told.attempts,
            visits: told.visits.len(),
            input_tokens: told.usage.and_then(|usage| usage.input),
            output_tokens: told.usage.and_then(|usage| usage.output),
            duration_ms: told.duration_ms,
        }
    }
}

impl From<&Record> for RequestView {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.to_string(),
            started_at: record.started_at.into(),
            cluster: record.cluster.as_deref().map(str::to_owned),
            client: record.client.as_deref().map(str::to_owned),
            dialect: record.dialect.map(|dialect| dialect.to_string()),
            model: record.model.as_deref().map(str::to_owned),
            stream: record.stream,
            endpoint: answered_by(record)
                .or_else(|| record.endpoint())
                .map(Named::from),
            answer: record.answer.into(),
            attempts: record.attempts(),
            visits: record.visits.len(),
            input_tokens: record.usage.and_then(|usage| usage.input),
            output_tokens: record.usage.and_then(|usage| usage.output),
            duration_ms: millis(record.duration),
        }
    }
}

/// Whether traffic can be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Whether it can.
    pub(crate) ready: bool,
    /// Why, in a sentence.
    pub(crate) message: String,
}

impl From<&qcc_core::endpoint::Duplicate> for DuplicateView {
    fn from(duplicate: &qcc_core::endpoint::Duplicate) -> Self {
        Self {
            id: duplicate.id.to_string(),
            kept: duplicate.kept.to_string(),
            dropped: duplicate.dropped.to_string(),
        }
    }
}
