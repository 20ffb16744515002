//! What runs: the state that `serve` builds and the admin API shows.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::config::{self, Config};
use crate::stack::{Handle, Stack};

/// A proxy that was started.
pub(crate) struct Running {
    /// The configuration that it was started with.
    pub(crate) config: Arc<Config>,
    /// Where it listens: the address that was really taken, also where port 0 was asked for.
    pub(crate) listen: SocketAddr,
    /// Where its admin API listens.
    pub(crate) admin: SocketAddr,
    /// The clusters, in the order of the configuration.
    pub(crate) clusters: Vec<Cluster>,
}

/// A cluster that was started.
#[derive(Clone)]
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its configuration, with its endpoints.
    pub(crate) config: Arc<config::Cluster>,
    /// Looks at its endpoints and sessions and changes them.
    pub(crate) handle: Handle,
    /// Sends requests to its endpoints.
    pub(crate) failover: Stack,
}
