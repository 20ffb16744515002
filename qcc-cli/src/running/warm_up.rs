//! Connections to the endpoints before the first request needs them.

use std::sync::Arc;

use qcc_core::failover::EndpointStatus;
use qcc_core::time::Duration;
use qcc_core::upstream::warm_up;
use tokio::task::JoinSet;

use super::Generation;

/// So long one endpoint is waited for.
const LIMIT: Duration = Duration::from_secs(5);

/// Connects to every endpoint that is switched on, all at once, and logs how that went. Nobody
/// waits for it, and whatever fails ends nothing.
///
/// # Cancel safety
///
/// Dropping it gives up the connections that are not open yet.
pub(super) async fn run(generation: Arc<Generation>) {
    let mut warming = JoinSet::new();
    for cluster in &generation.clusters {
        let on = |endpoint: &EndpointStatus| endpoint.enabled;
        for status in cluster.handle.status().into_iter().filter(on) {
            let warmed = warm_up(cluster.upstream.clone(), &status.endpoint, LIMIT);
            let cluster = cluster.name.clone();
            warming.spawn(async move { (cluster, status.endpoint, warmed.await) });
        }
    }
    let total = warming.len();
    let mut ok = 0;
    while let Some(warmed) = warming.join_next().await {
        // One that panicked was told by the runtime; it is no connection.
        let Ok((cluster, endpoint, warmed)) = warmed else {
            continue;
        };
        match warmed {
            Ok(_) => ok += 1,
            Err(error) => tracing::warn!(
                %cluster,
                endpoint = %endpoint.id(),
                name = %endpoint.name(),
                error = &*error,
                "warm-up: no connection"
            ),
        }
    }
    tracing::info!("warm-up: {ok}/{total}");
}
