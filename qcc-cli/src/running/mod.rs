//! What runs: a proxy and the configuration that it serves with at the moment.
//!
//! Everything that comes from the configuration is one [`Generation`] behind one pointer.
//! Whoever serves, shows or changes something takes the generation of this moment and finishes
//! with it, so nobody ever sees half of an old configuration beside half of a new one.

mod opened;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use qcc_core::record::RecordSink;

use crate::config::{self, Config};
use crate::output::Failure;
use crate::server::{Proxy, Target};
use crate::stack::{self, Handle, Stack};

pub(crate) use self::opened::Opened;

/// A proxy that was started.
pub(crate) struct Running {
    /// Where it listens: the address that was really taken, also where port 0 was asked for.
    pub(crate) listen: SocketAddr,
    /// Where its admin API listens.
    pub(crate) admin: SocketAddr,
    current: ArcSwap<Generation>,
}

impl Running {
    /// A proxy with these addresses that serves with `generation`.
    pub(crate) fn new(listen: SocketAddr, admin: SocketAddr, generation: Generation) -> Self {
        Self {
            listen,
            admin,
            current: ArcSwap::from_pointee(generation),
        }
    }

    /// What it serves with at this moment.
    pub(crate) fn current(&self) -> Arc<Generation> {
        self.current.load_full()
    }
}

/// What one configuration became.
pub(crate) struct Generation {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The clusters, in its order.
    pub(crate) clusters: Vec<Cluster>,
    /// What answers requests.
    pub(crate) proxy: Arc<Proxy<Stack>>,
}

impl Generation {
    /// Builds what `config` describes; the records of requests go to `sink`.
    ///
    /// # Errors
    ///
    /// A cluster cannot be built.
    pub(crate) fn new(config: Config, sink: &Arc<dyn RecordSink>) -> Result<Self, Failure> {
        let clusters = config
            .clusters
            .iter()
            .map(|cluster| stack::build(cluster, sink.clone()))
            .collect::<Result<Vec<_>, _>>()?;
        let targets = clusters.iter().map(Cluster::target).collect();
        let inspect = stack::inspect(config.clusters.iter().map(|cluster| &**cluster));
        Ok(Self {
            proxy: Arc::new(Proxy::new(targets, config.client_keys.clone(), inspect)),
            config: Arc::new(config),
            clusters,
        })
    }
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

impl Cluster {
    fn target(&self) -> Target<Stack> {
        Target {
            name: self.name.clone(),
            endpoints: self.config.endpoints.clone(),
            service: self.failover.clone(),
        }
    }
}
