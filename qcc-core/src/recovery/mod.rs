//! Endpoints that failed: kept out of traffic, checked from time to time, and brought back as soon
//! as they really work.

mod check;
mod probe;

pub use self::check::{Check, Outcome, score};
pub use self::probe::{Code, Finding, Probe, Validity};
