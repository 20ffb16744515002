//! ErrorClassify.
mod classifier;
pub use classifier::{Classify, Hold, Plan, Progress, Sent, Watch};
