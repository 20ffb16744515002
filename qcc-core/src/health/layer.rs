//! The layer.

use tower::Layer;

use super::{Health, TrackHealth};

/// Puts a health record around the service of one endpoint.
#[derive(Clone, Debug)]
pub struct TrackHealthLayer {
    health: Health,
}

impl TrackHealthLayer {
    /// A layer that keeps `health`.
    #[must_use]
    pub const fn new(health: Health) -> Self {
        Self { health }
    }
}

impl<S> Layer<S> for TrackHealthLayer {
    type Service = TrackHealth<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TrackHealth::new(inner, self.health.clone())
    }
}
