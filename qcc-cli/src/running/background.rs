//! What clusters need done beside the requests.

use std::sync::{Mutex, MutexGuard, PoisonError};

use qcc_core::time::Duration;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::Generation;
use crate::stack::Handle;

/// The tasks of the generation in force, and what those before it still have to end.
#[derive(Default)]
pub(super) struct Background(Mutex<Tasks>);

#[derive(Default)]
struct Tasks {
    /// Abort at any point.
    maintenance: JoinSet<()>,
    /// Refreshes of credentials that generations before began. Each has its bound.
    settling: JoinSet<()>,
    clusters: Vec<Handle>,
}

impl Background {
    /// Starts the tasks of `generation`; those of the one before end.
    pub(super) fn start(&self, generation: &Generation) {
        let mut tasks = self.lock();
        tasks.maintenance.abort_all();
        tasks.maintenance = JoinSet::new();
        let clusters = generation.clusters.iter();
        let clusters = clusters.map(|cluster| cluster.handle.clone()).collect();
        for cluster in std::mem::replace(&mut tasks.clusters, clusters) {
            tasks
                .settling
                .spawn(settle(cluster, generation.config.shutdown));
        }
        while tasks.settling.try_join_next().is_some() {}
        for cluster in &generation.clusters {
            let maintenance = cluster.handle.maintenance();
            tasks.maintenance.spawn(async {
                maintenance.await;
            });
            if cluster.config.recovery.enabled {
                let recovery = cluster.checks.recovery();
                tasks.maintenance.spawn(async {
                    recovery.await;
                });
            }
        }
    }

    /// Ends all tasks; none is left when it returns. Refreshes of credentials that are under way
    /// come to their end, unless `limit` is ready before: a refresh token that was rotated and
    /// not yet stored would be lost.
    pub(super) async fn stop(&self, limit: impl Future<Output = ()>) {
        let Tasks {
            mut maintenance,
            mut settling,
            clusters,
        } = std::mem::take(&mut *self.lock());
        maintenance.shutdown().await;
        for cluster in clusters {
            settling.spawn(cluster.settled());
        }
        let settled = async { while settling.join_next().await.is_some() {} };
        tokio::select! {
            () = settled => {}
            () = limit => tracing::warn!("stopped while a credential was refreshed"),
        }
        settling.shutdown().await;
    }

    fn lock(&self) -> MutexGuard<'_, Tasks> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until no refresh of `cluster` is under way, but at most for `grace`.
async fn settle(cluster: Handle, grace: Duration) {
    if timeout(grace, cluster.settled()).await.is_err() {
        tracing::warn!("a refresh of a credential that is gone was given up");
    }
}
