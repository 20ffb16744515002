//! The layer.

use tower::Layer;

use super::{Health, HealthService};

/// Puts a health record around the service of one endpoint.
#[derive(Clone, Debug)]
pub struct HealthLayer {
    health: Health,
}

impl HealthLayer {
    /// A layer that keeps `health`.
    #[must_use]
    pub const fn new(health: Health) -> Self {
        Self { health }
    }
}

impl<S> Layer<S> for HealthLayer {
    type Service = HealthService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        HealthService::new(inner, self.health.clone())
    }
}
