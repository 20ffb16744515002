//! The layer of [`Affinity`].

use std::sync::Arc;

use tower::Layer;

use super::{Affinity, AffinityKey, Sessions};

/// Makes an [`Affinity`] of each balancer that it wraps.
#[derive(Clone, Debug)]
pub struct AffinityLayer {
    sessions: Sessions,
    key: Arc<dyn AffinityKey>,
}

impl AffinityLayer {
    /// Keeps the sessions that `key` finds, in `sessions`.
    #[must_use]
    pub fn new(sessions: Sessions, key: Arc<dyn AffinityKey>) -> Self {
        Self { sessions, key }
    }
}

impl<S> Layer<S> for AffinityLayer {
    type Service = Affinity<S>;

    fn layer(&self, inner: S) -> Affinity<S> {
        Affinity::new(inner, self.sessions.clone(), self.key.clone())
    }
}
