//! Sessions and their bindings.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::Date;

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

/// How many bindings were removed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unbound {
    /// Whether there was one.
    pub(crate) changed: bool,
    /// How many there were.
    pub(crate) count: usize,
}
