//! What must survive a restart, and the history of requests.
//!
//! Two things are kept apart here because they matter differently:
//!
//! - the [`Standing`] of an endpoint, a refused credential and the operator's switch, is kept by a
//!   [`StateStore`]. It is asked when a stack is built
//!   ([`Builder::keep_in`](crate::failover::Builder::keep_in)) and told of each change at once;
//! - the history, a log of requests with their records and the figures of each endpoint, is fed
//!   as a [`RecordSink`](crate::record::RecordSink) and may lose what there is no room for. It
//!   never holds up a request.
//!
//! [`Memory`] is a `StateStore` that lives as long as the process: for a stack that is built
//! anew, and for tests. `Sqlite` (feature `sqlite`) keeps both in one file. A `StateStore` of your
//! own is two synchronous methods that answer from memory.

mod memory;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod totals;

pub use self::memory::Memory;
#[cfg(feature = "sqlite")]
pub use self::sqlite::{
    Bucket, Config, Failing, History, InvalidConfig, OpenError, ReadError, Sqlite, Status, Work,
};
#[cfg(feature = "sqlite")]
pub use self::totals::Totals;
pub use crate::standing::{Refusal, Standing, StateStore};
