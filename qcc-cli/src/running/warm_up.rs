//! Connections to the endpoints before the first request needs them, and checks of them.

use std::sync::Arc;

use qcc_core::endpoint::Endpoint;
use qcc_core::failover::{EndpointStatus, NotChecked};
use qcc_core::time::Duration;
use qcc_core::upstream::warm_up;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::{Cluster, Generation};

/// So long one endpoint is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// Connects to every endpoint that is switched on, all at once, and logs how that went; with
/// `verify` each is checked, too. Nobody waits for it, and whatever fails ends nothing. What a
/// check finds out is entered as if a request had met it.
///
/// # Cancel safety
///
/// Dropping it gives up the connections that are not open yet.
pub(super) async fn run(generation: Arc<Generation>, verify: bool) {
    let mut warming = JoinSet::new();
    for cluster in &generation.clusters {
        let at_a_time = usize::try_from(cluster.config.recovery.concurrency).unwrap_or(1);
        let turns = Arc::new(Semaphore::new(at_a_time));
        let on = |endpoint: &EndpointStatus| endpoint.enabled;
        for status in cluster.handle.status().into_iter().filter(on) {
            let (cluster, endpoint, turns) = (cluster.clone(), status.endpoint, turns.clone());
            warming.spawn(async move {
                let connected = connect(&cluster, &endpoint).await;
                if !(connected && verify) {
                    return connected;
                }
                // It is never closed.
                let _turn = turns.acquire().await.ok();
                works(&cluster, &endpoint).await
            });
        }
    }
    let total = warming.len();
    let mut ok = 0;
    while let Some(warmed) = warming.join_next().await {
        // One that panicked was told by the runtime; it is no connection.
        ok += usize::from(warmed.unwrap_or(false));
    }
    tracing::info!("warm-up: {ok}/{total}");
}

async fn connect(cluster: &Cluster, endpoint: &Endpoint) -> bool {
    let connected = warm_up(cluster.upstream.clone(), endpoint, LIMIT).await;
    if let Err(error) = &connected {
        tracing::warn!(
            cluster = %cluster.name,
            endpoint = %endpoint.id(),
            name = %endpoint.name(),
            error = &**error,
            "warm-up: no connection"
        );
    }
    connected.is_ok()
}

/// Whether the endpoint passes a check. One that cannot be checked is not held against it.
async fn works(cluster: &Cluster, endpoint: &Endpoint) -> bool {
    match timeout(LIMIT, cluster.checks.check(endpoint.id())).await {
        // What it found is in the log.
        Ok(Ok(check)) => check.is_valid(),
        Ok(Err(NotChecked::NotAsked)) => true,
        Ok(Err(error)) => {
            told(cluster, endpoint, &error.to_string());
            false
        }
        Err(_) => {
            told(cluster, endpoint, "no answer within 5 s");
            false
        }
    }
}

fn told(cluster: &Cluster, endpoint: &Endpoint, why: &str) {
    tracing::warn!(
        cluster = %cluster.name,
        endpoint = %endpoint.id(),
        name = %endpoint.name(),
        health_check = true,
        "warm-up: not verified: {why}"
    );
}
