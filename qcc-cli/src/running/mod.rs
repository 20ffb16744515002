//! What runs: a proxy and the configuration that it serves with at the moment.
//!
//! Everything that comes from the configuration is one [`Generation`] behind one pointer.
//! Whoever serves, shows or changes something takes the generation of this moment and finishes
//! with it, so nobody ever sees half of an old configuration beside half of a new one.

mod background;
mod changes;
mod claim;
mod opened;
mod reload;
mod triggers;
mod warm_up;

use std::net::SocketAddr;
use std::sync::Arc;

use arc_swap::ArcSwap;
use qcc_core::limit::Caller;
use qcc_core::record::RecordSink;
use qcc_core::upstream::Hyper;

use crate::admin::pool::PoolView;
use crate::config::{self, Config};
use crate::history::Store;
use crate::moment::Anchor;
use crate::output::Failure;
use crate::server::{Proxy, Target};
use crate::stack::{self, Checks, Handle, Stack};

pub(crate) use self::changes::Change;
pub(crate) use self::opened::Opened;
pub(crate) use self::reload::{Cause, Load, Reload};

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

    /// Serves with `generation` from the next request on.
    fn replace(&self, generation: Generation) {
        self.current.store(Arc::new(generation));
    }
}

/// Where goes what outlives a generation: the records of its requests, and what must survive a
/// restart.
#[derive(Clone)]
pub(crate) struct Sinks {
    /// Gets the record of each request.
    pub(crate) records: Arc<dyn RecordSink>,
    /// Keeps the standing of endpoints.
    pub(crate) store: Store,
}

impl Sinks {
    /// Records go to `records`, and nothing survives.
    #[cfg(test)]
    pub(crate) const fn without_store(records: Arc<dyn RecordSink>) -> Self {
        Self {
            records,
            store: Store::Off,
        }
    }
}

/// What one configuration became.
pub(crate) struct Generation {
    /// The configuration.
    pub(crate) config: Arc<Config>,
    /// The clusters, in its order.
    pub(crate) clusters: Vec<Cluster>,
    /// Who sends requests, one for each client key and in the order of these.
    pub(crate) callers: Vec<Caller>,
    /// What answers requests.
    pub(crate) proxy: Arc<Proxy<Stack>>,
}

impl Generation {
    /// Builds what `config` describes; what has to be kept goes to `sinks`.
    ///
    /// # Errors
    ///
    /// A cluster cannot be built.
    pub(crate) fn new(config: Config, sinks: &Sinks) -> Result<Self, Failure> {
        Self::build(config, sinks, &[], &[])
    }

    /// Builds what `config` describes. A cluster that `before` has, too, by its name, goes on
    /// where that one is.
    ///
    /// # Errors
    ///
    /// A cluster cannot be built.
    pub(crate) fn continuing(
        before: &Self,
        config: Config,
        sinks: &Sinks,
    ) -> Result<Self, Failure> {
        Self::build(config, sinks, &before.clusters, &before.callers)
    }

    fn build(
        config: Config,
        sinks: &Sinks,
        before: &[Cluster],
        callers: &[Caller],
    ) -> Result<Self, Failure> {
        for warning in &config.warnings.problems {
            let line = warning.at.map(|at| at.line);
            let (key, reason) = (&*warning.key, &warning.reason);
            tracing::warn!(line, "{key} {reason}; {}", warning.remedy);
        }
        let clusters = config
            .clusters
            .iter()
            .map(|cluster| {
                let before = before.iter().find(|before| before.name == cluster.name);
                stack::build(cluster, sinks, before)
            })
            .collect::<Result<Vec<_>, _>>()?;
        let targets = clusters.iter().map(Cluster::target).collect();
        let inspect = stack::inspect(config.clusters.iter().map(|cluster| &**cluster));
        let keys = &config.client_keys;
        let callers: Vec<_> = keys.iter().map(|key| caller(key, callers)).collect();
        let clients = keys.iter().cloned().zip(callers.iter().cloned());
        Ok(Self {
            proxy: Arc::new(Proxy::new(targets, clients, inspect)),
            callers,
            config: Arc::new(config),
            clusters,
        })
    }
}

impl Generation {
    /// The token pools of all clusters at `now`, in the order of the configuration.
    pub(crate) fn pools(&self, now: &Anchor) -> Vec<PoolView> {
        let of = |cluster: &Cluster| {
            let endpoints = cluster.handle.endpoints().iter();
            let handles = endpoints.filter_map(|endpoint| cluster.handle.endpoint(endpoint.id()));
            let pools = handles.filter_map(|handle| PoolView::of(&cluster.name, &handle, now));
            pools.collect::<Vec<_>>()
        };
        self.clusters.iter().flat_map(of).collect()
    }
}

/// The caller that `key` stands for. One of this name that was there before goes on: its
/// requests in flight stay counted.
fn caller(key: &config::ClientKey, before: &[Caller]) -> Caller {
    match before.iter().find(|caller| *caller.name() == key.name) {
        Some(caller) => caller.continued(key.max_in_flight),
        None => Caller::new(key.name.clone(), key.max_in_flight),
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
    /// Checks its endpoints.
    pub(crate) checks: Checks,
    /// Sends requests to its endpoints.
    pub(crate) failover: Stack,
    /// The connections to them.
    pub(crate) upstream: Hyper,
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

#[cfg(test)]
mod tests;
