//! The layer.

use tower::Layer;

use super::ConcurrencyLimit;

/// Bounds the requests in flight of each [`Caller`](super::Caller).
#[derive(Clone, Copy, Debug, Default)]
pub struct ConcurrencyLimitLayer;

impl<S> Layer<S> for ConcurrencyLimitLayer {
    type Service = ConcurrencyLimit<S>;

    fn layer(&self, inner: S) -> ConcurrencyLimit<S> {
        ConcurrencyLimit::new(inner)
    }
}
