//! Clusters, as they are configured and as they are now.

use qcc_core::endpoint::Duplicate;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{EndpointView, Page};
use crate::moment::Date;

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

impl From<&Duplicate> for DuplicateView {
    fn from(duplicate: &Duplicate) -> Self {
        Self {
            id: duplicate.id.to_string(),
            kept: duplicate.kept.to_string(),
            dropped: duplicate.dropped.to_string(),
        }
    }
}
