//! A source of the pool, and the one refresh of it that is under way.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, Shared};

use super::source::{Held, NotRefreshed, TokenSource};
use crate::credential::Credential;
use crate::time::Instant;

/// A refresh that all who wait for it share. Ready once its result is entered in the pool.
pub(super) type Flight = Shared<BoxFuture<'static, ()>>;

/// A source and its refresh. It outlives the requests that wait for it: a refresh token that
/// was rotated must not be lost because somebody hung up.
pub(super) struct Supply {
    pub(super) source: Arc<dyn TokenSource>,
    flight: Mutex<Option<Flight>>,
}

impl Supply {
    pub(super) fn new(source: Arc<dyn TokenSource>) -> Self {
        Self {
            source,
            flight: Mutex::new(None),
        }
    }

    /// The refresh that is under way.
    pub(super) fn under_way(&self) -> Option<Flight> {
        let flight = self.lock();
        flight.as_ref().filter(|flight| is_open(flight)).cloned()
    }

    /// The refresh that is under way, or a new one whose result goes to `landed`, and whether it
    /// is a new one; `None` if the source cannot be refreshed.
    pub(super) fn refresh<L>(&self, landed: L) -> Option<(Flight, bool)>
    where
        L: FnOnce(Result<(), NotRefreshed>) + Send + 'static,
    {
        let mut flight = self.lock();
        if let Some(open) = flight.as_ref().filter(|flight| is_open(flight)) {
            return Some((open.clone(), false));
        }
        let refresh = self.source.refresh()?;
        // A source that panics must not take the requests with it that wait for it.
        let caught = AssertUnwindSafe(refresh).catch_unwind();
        let result = caught.map(|result| result.unwrap_or_else(|_| Err(panicked())));
        let new = result.map(landed).boxed().shared();
        *flight = Some(new.clone());
        Some((new, true))
    }

    /// Whether the source holds another credential by now than `old`, which was refused.
    pub(super) fn has_replaced(&self, old: &Credential, now: Instant) -> bool {
        match self.source.held(now) {
            Held::Fresh(held) | Held::Stale(Some(held)) => held.expose() != old.expose(),
            Held::Stale(None) => false,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Flight>> {
        self.flight.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked() -> NotRefreshed {
    NotRefreshed::for_now("its source panicked")
}

fn is_open(flight: &Flight) -> bool {
    flight.peek().is_none()
}

impl fmt::Debug for Supply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Supply").field(&self.source).finish()
    }
}
