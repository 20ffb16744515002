//! From the configuration of a cluster to the layers of the library: the only place of the
//! binary that assembles them.

mod stand_in;

use std::sync::Arc;

use http::request::Parts;
use qcc_core::facts::{Dialect, ReadFacts as _};
use qcc_core::record::RecordSink;
use qcc_core::time::Duration;

use crate::config;
use crate::output::Failure;
use crate::running::Cluster;

pub(crate) use stand_in::{Handle, Inspect, error_response, respond};

/// The service behind each cluster.
pub(crate) type Stack = stand_in::Failover<stand_in::Reqwest>;

/// At most so many idle connections are kept for each host (UPS-02).
pub(crate) const IDLE_PER_HOST: usize = 20;

/// An idle connection is kept so long (UPS-03).
pub(crate) const IDLE_TIMEOUT: Duration = Duration::from_secs(60);

/// The cluster of `config`; the records of its requests go to `sink`.
///
/// # Errors
///
/// No client for its upstreams can be made.
pub(crate) fn build(
    config: &Arc<config::Cluster>,
    sink: impl RecordSink,
) -> Result<Cluster, Failure> {
    let upstream = stand_in::Reqwest::new(config.timeouts.connect);
    let failover = stand_in::Failover::builder(config.endpoints.clone())
        .record_to(sink)
        .build(|_endpoint| upstream.clone());
    Ok(Cluster {
        name: config.name.clone(),
        config: config.clone(),
        handle: failover.handle(),
        failover,
    })
}

/// Reads the facts of each request before `inner` gets it.
pub(crate) fn inspect<S>(inner: S) -> Inspect<S> {
    Inspect::new(inner)
}

/// The dialect of a request of which only the head is known.
pub(crate) fn dialect(head: &Parts) -> Option<Dialect> {
    stand_in::LlmFacts.facts(head, None).dialect
}
