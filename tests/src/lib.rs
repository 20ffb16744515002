//! What the tests of the workspace share.

pub mod harness;
pub mod source;
