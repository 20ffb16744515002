//! What the admin API says: the same types are written by the proxy and read by the commands.
//!
//! Fields that end in `_ms` are milliseconds, dates are RFC 3339 in UTC, and what is not known is
//! `null`. Nothing here has room for a secret.

mod cluster;
mod endpoint;
mod request;
mod session;
mod stats;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use self::cluster::{ClusterStatus, ClusterView, DuplicateView};
pub(crate) use self::endpoint::{
    BreakerView, EndpointView, LastFailureView, MarkView, OutView, Switched, SwitchedOne,
};
pub(crate) use self::request::RequestView;
pub(crate) use self::session::{SessionStatsView, SessionView, Unbound};
pub(crate) use self::stats::{ClientView, LoadView, StatsView, UnavailableView};
pub(crate) use super::checks::{ChecksView, QueueView, RecoveryView};
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

/// Whether traffic can be served.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Readiness {
    /// Whether it can.
    pub(crate) ready: bool,
    /// Why, in a sentence.
    pub(crate) message: String,
}
