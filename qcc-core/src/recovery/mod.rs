//! Endpoints that failed: kept out of traffic, checked from time to time, and brought back as soon
//! as they really work.
//!
//! An endpoint is in the queue while its credential is refused, while its breaker is not closed, and
//! from a check that it answered without the code until one that it passes. Breaker and health have
//! gates of their own; the gate of this one keeps requests away for what a check found. So a member
//! that is there for its breaker alone is tried by the half-open breaker, too, and leaves with it.
//!
//! A member is [checked](Probe) 60 s after it entered, then at intervals that double up to 10 min;
//! every 30 min if its credential is refused. What a check costs is bounded: one at a time for each
//! endpoint, and so many a day. Whatever the statuses say, it has recovered only if the answer has
//! the code; then refused credential, health, queue and breaker open in this order, so that no
//! request sees it half recovered.
//!
//! The pure core is the state of one endpoint; [`Recovery`] is the handle around it. Nothing here
//! spawns: [`Checks::recovery`](crate::failover::Checks::recovery) is a future for you to run.
//! Without it nobody enters the queue but for what a check finds, and nobody leaves it but by a
//! check or by hand.

mod check;
mod config;
mod handle;
mod probe;
mod round;
mod state;

pub use self::check::{Check, Outcome, score};
pub use self::config::{Config, InvalidConfig};
pub use self::handle::Recovery;
pub use self::probe::{Code, Finding, Probe, Validity};
pub(crate) use self::round::{Patient, look_after};
pub(crate) use self::state::Symptoms;
pub use self::state::{Cause, Counts, Member, Snapshot};
