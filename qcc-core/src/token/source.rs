//! The trait of whatever a credential comes from.

use std::fmt;
use std::sync::Arc;

use crate::credential::Credential;
use crate::time::Instant;

/// Where one credential of a pool comes from. Sync, object-safe; asked for every request that
/// may use it, while the pool is locked: it must neither wait nor ask the pool.
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// The name that people see. It never changes and holds nothing of the secret.
    fn name(&self) -> &Arc<str>;

    /// The credential as it is at `now`; `None` while there is none that could be sent. The
    /// pool then goes on to the next source.
    fn snapshot(&self, now: Instant) -> Option<Credential>;
}

/// A credential that never changes.
impl TokenSource for Credential {
    fn name(&self) -> &Arc<str> {
        Self::name(self)
    }

    fn snapshot(&self, _: Instant) -> Option<Credential> {
        Some(self.clone())
    }
}
