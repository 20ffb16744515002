use std::sync::Arc;

use tower::Layer;

use super::{Classify, ErrorClassify, Timeouts};

/// Puts [`ErrorClassify`] around the way to one upstream.
#[derive(Clone, Debug)]
pub struct ErrorClassifyLayer {
    classify: Arc<dyn Classify>,
    timeouts: Timeouts,
}

impl ErrorClassifyLayer {
    /// A layer that judges with `classify` and waits as long as by default.
    pub fn new(classify: Arc<dyn Classify>) -> Self {
        Self {
            classify,
            timeouts: Timeouts::default(),
        }
    }

    /// Waits as long as `timeouts` say.
    #[must_use]
    pub fn with_timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }
}

impl<S> Layer<S> for ErrorClassifyLayer {
    type Service = ErrorClassify<S>;

    fn layer(&self, inner: S) -> ErrorClassify<S> {
        ErrorClassify::new(inner, self.classify.clone(), self.timeouts)
    }
}
