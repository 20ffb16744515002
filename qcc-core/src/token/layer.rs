//! The layer.

use tower::Layer;

use super::{TokenPoolService, Tokens};

/// Gives every request to one endpoint a credential.
#[derive(Clone, Debug)]
pub struct TokenPoolLayer {
    tokens: Tokens,
}

impl TokenPoolLayer {
    /// A layer that leases from `tokens`.
    #[must_use]
    pub const fn new(tokens: Tokens) -> Self {
        Self { tokens }
    }
}

impl<S> Layer<S> for TokenPoolLayer {
    type Service = TokenPoolService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenPoolService::new(inner, self.tokens.clone())
    }
}
