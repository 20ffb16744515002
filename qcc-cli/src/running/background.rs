//! What clusters need done beside the requests.

use std::sync::{Mutex, PoisonError};

use tokio::task::JoinSet;

use super::Generation;

/// The tasks of the generation in force.
#[derive(Default)]
pub(super) struct Background(Mutex<JoinSet<()>>);

impl Background {
    /// Starts the tasks of `generation`; those of the one before end.
    pub(super) fn start(&self, generation: &Generation) {
        let mut tasks = JoinSet::new();
        for cluster in &generation.clusters {
            let maintenance = cluster.handle.maintenance();
            tasks.spawn(async {
                maintenance.await;
            });
        }
        self.replace(tasks);
    }

    /// Ends all tasks. None is left when it returns.
    pub(super) async fn stop(&self) {
        self.replace(JoinSet::new()).shutdown().await;
    }

    fn replace(&self, tasks: JoinSet<()>) -> JoinSet<()> {
        let mut running = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut before = std::mem::replace(&mut *running, tasks);
        before.abort_all();
        before
    }
}
