//! The layer.

use tower::Layer;

use super::{Breaker, CircuitBreaker};

/// Puts a circuit breaker around the service of one endpoint.
#[derive(Clone, Debug)]
pub struct CircuitBreakerLayer {
    breaker: Breaker,
}

impl CircuitBreakerLayer {
    /// A layer that asks and tells `breaker`.
    #[must_use]
    pub const fn new(breaker: Breaker) -> Self {
        Self { breaker }
    }
}

impl<S> Layer<S> for CircuitBreakerLayer {
    type Service = CircuitBreaker<S>;

    fn layer(&self, inner: S) -> Self::Service {
        CircuitBreaker::new(inner, self.breaker.clone())
    }
}
