//! What of an endpoint survives a restart, and where it is kept.
//!
//! Breakers, cool-downs and sessions are cheap to learn anew. A refused credential and a switch
//! that an operator threw are not: without them every restart would send requests to endpoints
//! that are known to be out.

use std::fmt;

use http::StatusCode;

use crate::endpoint::EndpointId;
use crate::exchange::RequestId;
use crate::time::SystemTime;

/// What of an endpoint survives a restart.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Standing {
    /// Whether the operator wants it used.
    pub wanted: bool,
    /// What its configuration said of that at the time. If it says something else by now, the
    /// configuration is newer than the operator's word and goes before it.
    pub configured: bool,
    /// The refusal of its last usable credential, until it is taken back.
    pub refused: Option<Refusal>,
}

impl Standing {
    /// An endpoint that the operator wants used or not, and whose configuration says so or not.
    #[must_use]
    pub const fn new(wanted: bool, configured: bool) -> Self {
        Self {
            wanted,
            configured,
            refused: None,
        }
    }

    /// The same with a refused credential.
    #[must_use]
    pub fn with_refusal(mut self, refusal: Refusal) -> Self {
        self.refused = Some(refusal);
        self
    }

    /// Whether it is what is assumed of an endpoint of which nothing was kept.
    #[must_use]
    pub const fn is_usual(&self) -> bool {
        self.wanted == self.configured && self.refused.is_none()
    }
}

/// The refusal of the last usable credential of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refusal {
    /// Since when it is known.
    pub since: SystemTime,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// The request that met it.
    pub request: RequestId,
}

impl Refusal {
    /// A refusal that `request` met.
    #[must_use]
    pub const fn new(since: SystemTime, status: Option<StatusCode>, request: RequestId) -> Self {
        Self {
            since,
            status,
            request,
        }
    }
}

/// Keeps what must survive a restart. Synchronous and called with the state of an endpoint
/// locked: answer from memory, take over what is to be written, and never wait.
pub trait StateStore: fmt::Debug + Send + Sync + 'static {
    /// What was kept of this endpoint; `None` if nothing was. Asked once, before the endpoint
    /// gets its first request.
    fn load(&self, endpoint: EndpointId) -> Option<Standing>;

    /// Keeps this of an endpoint, in the place of what was kept before. The last call counts.
    fn save(&self, endpoint: EndpointId, standing: &Standing);
}
