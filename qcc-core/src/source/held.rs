//! The access token that a source holds: looked at without a lock.

use std::fmt;
use std::sync::Arc;

use arc_swap::ArcSwapOption;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::credential::Credential;
use crate::time::Instant;
use crate::token::{Held, Lifetime};

/// What a source holds, for requests that look and one refresh at a time that changes it.
pub(super) struct Holder {
    token: ArcSwapOption<Token>,
    /// Each pool has one refresh at a time; a source may be in several pools.
    turn: Semaphore,
}

/// An access token.
pub(super) struct Token {
    pub(super) credential: Credential,
    /// How long it is good for, if that is known.
    pub(super) lifetime: Option<Lifetime>,
}

impl Token {
    pub(super) fn is_fresh(&self, now: Instant) -> bool {
        self.lifetime.is_none_or(|life| now < life.stale)
    }

    fn is_accepted(&self, now: Instant) -> bool {
        self.lifetime.is_none_or(|life| now < life.expires)
    }
}

impl Holder {
    pub(super) fn new() -> Self {
        Self {
            token: ArcSwapOption::empty(),
            turn: Semaphore::new(1),
        }
    }

    pub(super) fn get(&self) -> Option<Arc<Token>> {
        self.token.load_full()
    }

    pub(super) fn set(&self, token: Token) {
        self.token.store(Some(Arc::new(token)));
    }

    /// The turn to replace `before`; `None` if it has been replaced meanwhile.
    pub(super) async fn turn(&self, before: Option<&Arc<Token>>) -> Option<SemaphorePermit<'_>> {
        let turn = self.turn.acquire().await.ok()?;
        let same = match (before, &self.get()) {
            (Some(before), Some(held)) => Arc::ptr_eq(before, held),
            (before, held) => before.is_none() && held.is_none(),
        };
        same.then_some(turn)
    }

    pub(super) fn held(&self, now: Instant) -> Held {
        match &*self.token.load() {
            Some(token) if token.is_fresh(now) => Held::Fresh(token.credential.clone()),
            Some(token) if token.is_accepted(now) => Held::Stale(Some(token.credential.clone())),
            _ => Held::Stale(None),
        }
    }

    pub(super) fn lifetime(&self) -> Option<Lifetime> {
        self.token.load().as_ref().and_then(|token| token.lifetime)
    }
}

impl fmt::Debug for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Holder").field(&self.lifetime()).finish()
    }
}
