//! Affinity.
mod key;
pub use key::AffinityKey;
