//! The trait of whatever a credential comes from, and what it says.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use sha2::{Digest as _, Sha256};

use crate::credential::Credential;
use crate::time::Instant;

/// Where one credential of a pool comes from. Object-safe.
///
/// What a request needs is asked in [`held`](Self::held), which is sync and does no I/O; what
/// takes time is [`refresh`](Self::refresh), off the usual path.
pub trait TokenSource: fmt::Debug + Send + Sync + 'static {
    /// What makes it the same source after a reload: it then goes on with what it holds and
    /// what is known of it. Covers the secret and every setting, and no name.
    fn id(&self) -> SourceId;

    /// The credential at `now`. Asked for every request that may use it, while the pool is
    /// locked: it must neither wait nor ask the pool.
    fn held(&self, now: Instant) -> Held;

    /// How long what it holds is good for; `None` if it holds nothing, or something that does
    /// not age.
    fn lifetime(&self) -> Option<Lifetime> {
        None
    }

    /// What somebody should know of it, though it may be good: shown in
    /// [`TokenStatus::trouble`](super::TokenStatus::trouble) while no refresh has failed. Asked as
    /// [`held`](Self::held) is; holds nothing of a secret.
    fn trouble(&self) -> Option<Arc<str>> {
        None
    }

    /// Whether [`refresh`](Self::refresh) can give another credential.
    fn is_refreshable(&self) -> bool {
        false
    }

    /// Gets a new credential, which [`held`](Self::held) then gives; `None` if this source has
    /// only the one that it has. Nothing happens before the future is polled. The pool runs one
    /// at a time for each source, shares it among all requests that wait, and keeps it when they
    /// go away: see [`Tokens::maintenance`](super::Tokens::maintenance).
    fn refresh(&self) -> Option<Refresh> {
        None
    }
}

/// The future of [`TokenSource::refresh`].
pub type Refresh = Pin<Box<dyn Future<Output = Result<(), NotRefreshed>> + Send>>;

/// What a source has to send.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Held {
    /// A credential that is good.
    Fresh(Credential),
    /// Nothing that should be used before it is refreshed. The one that is there, if any, is
    /// still accepted, and is used while a refresh cannot be had.
    Stale(Option<Credential>),
}

/// How long a credential is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Lifetime {
    /// Since when it is held.
    pub since: Instant,
    /// When it becomes stale.
    pub stale: Instant,
    /// When it is accepted no more.
    pub expires: Instant,
}

impl Lifetime {
    /// A credential got at `since` that is accepted until `expires` and stale from `stale` on.
    #[must_use]
    pub const fn new(since: Instant, stale: Instant, expires: Instant) -> Self {
        Self {
            since,
            stale,
            expires,
        }
    }
}

/// What identifies a source: the first 128 bits of a SHA-256. Has no readable form.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct SourceId([u8; 16]);

impl SourceId {
    /// The id of a source that is made of these parts, in this order.
    #[must_use]
    pub fn of<P: AsRef<[u8]>>(parts: impl IntoIterator<Item = P>) -> Self {
        let mut digest = Sha256::new();
        for part in parts {
            let part = part.as_ref();
            // The length keeps parts apart.
            digest.update(part.len().to_le_bytes());
            digest.update(part);
        }
        let mut id = [0; 16];
        id.copy_from_slice(&digest.finalize()[..16]);
        Self(id)
    }

    /// All 128 bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Debug for SourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SourceId(..)")
    }
}

/// Why a credential could not be refreshed. Shown to people: holds nothing of a secret.
#[derive(Clone, Debug)]
pub struct NotRefreshed {
    text: Arc<str>,
    permanent: bool,
}

impl NotRefreshed {
    /// It may work later: a network failure, a server error, a time-out.
    #[must_use]
    pub fn for_now(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            permanent: false,
        }
    }

    /// It never works again with what the source was given: somebody has to log in again.
    #[must_use]
    pub fn for_good(text: impl Into<Arc<str>>) -> Self {
        Self {
            text: text.into(),
            permanent: true,
        }
    }

    /// Whether trying again is pointless.
    #[must_use]
    pub const fn is_permanent(&self) -> bool {
        self.permanent
    }

    /// What went wrong.
    #[must_use]
    pub const fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl fmt::Display for NotRefreshed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl StdError for NotRefreshed {}

/// How much a credential of a pool is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[non_exhaustive]
pub enum Tier {
    /// One's own.
    Personal,
    /// One that others use, too.
    Shared,
    /// The last resort. Its source is asked only when the rest of the pool is exhausted, never
    /// ahead of time.
    Anonymous,
}

impl Tier {
    /// All, in their usual order.
    pub const ALL: [Self; 3] = [Self::Personal, Self::Shared, Self::Anonymous];

    /// The name used in configuration, listings and logs.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Personal => "personal",
            Self::Shared => "shared",
            Self::Anonymous => "anonymous",
        }
    }
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A credential that never changes.
impl TokenSource for Credential {
    fn id(&self) -> SourceId {
        SourceId::of(["static", self.expose()])
    }

    fn held(&self, _: Instant) -> Held {
        Held::Fresh(self.clone())
    }
}
