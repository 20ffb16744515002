//! Endpoints, and what operations on them changed.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::RecoveryView;
use crate::moment::Date;

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
