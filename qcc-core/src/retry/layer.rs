use std::sync::Arc;

use tower::Layer;

use super::{Budget, Config, RetryPolicy, RetryWithExclusion, Standard};
use crate::record::RecordSink;

/// Puts [`RetryWithExclusion`] around a service that chooses an endpoint for each visit.
#[derive(Clone, Debug)]
pub struct RetryWithExclusionLayer {
    pub(super) config: Config,
    pub(super) policy: Arc<dyn RetryPolicy>,
    pub(super) budget: Budget,
    pub(super) sink: Option<Arc<dyn RecordSink>>,
}

impl RetryWithExclusionLayer {
    /// A layer with these bounds, the [`Standard`] policy and the default budget.
    #[must_use]
    pub fn new(config: Config) -> Self {
        Self {
            config,
            policy: Arc::new(Standard::default()),
            budget: Budget::default(),
            sink: None,
        }
    }

    /// Decides with `policy` what follows a failure.
    #[must_use]
    pub fn with_policy(mut self, policy: Arc<dyn RetryPolicy>) -> Self {
        self.policy = policy;
        self
    }

    /// Pays retries from `budget`.
    #[must_use]
    pub fn with_budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Hands the record of each finished request to `sink`.
    #[must_use]
    pub fn with_sink(mut self, sink: Arc<dyn RecordSink>) -> Self {
        self.sink = Some(sink);
        self
    }
}

impl<S> Layer<S> for RetryWithExclusionLayer {
    type Service = RetryWithExclusion<S>;

    fn layer(&self, inner: S) -> RetryWithExclusion<S> {
        RetryWithExclusion::new(inner, Arc::new(self.clone()))
    }
}
