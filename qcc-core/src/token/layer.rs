//! The layer.

use tower::Layer;

use super::{TokenPool, Tokens};

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
    type Service = TokenPool<S>;

    fn layer(&self, inner: S) -> Self::Service {
        TokenPool::new(inner, self.tokens.clone())
    }
}
