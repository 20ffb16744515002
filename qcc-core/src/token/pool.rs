//! What a pool is made of.

use std::sync::Arc;

use super::config::Config;
use super::source::{Tier, TokenSource};

/// The credentials of one endpoint, tier by tier: given to
/// [`Builder::token_pool`](crate::failover::Builder::token_pool) or to
/// [`Tokens::pooled`](super::Tokens::pooled).
///
/// A tier is used only while no credential of one that was added before it can be. Inside a tier
/// credentials take turns.
#[derive(Clone, Debug, Default)]
pub struct Pool {
    pub(super) config: Config,
    pub(super) entries: Vec<Entry>,
}

#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) tier: Tier,
    pub(super) name: Arc<str>,
    pub(super) source: Arc<dyn TokenSource>,
}

impl Pool {
    /// An empty pool, with which nothing is sent to its endpoint.
    #[must_use]
    pub const fn new(config: Config) -> Self {
        Self {
            config,
            entries: Vec::new(),
        }
    }

    /// The same with one more credential, which people see by this name. It has to be unique
    /// in the pool and must hold nothing of the secret.
    #[must_use]
    pub fn with(
        mut self,
        tier: Tier,
        name: impl Into<Arc<str>>,
        source: Arc<dyn TokenSource>,
    ) -> Self {
        // Behind those of its tier, or of a tier of its own at the end.
        let last = self.entries.iter().rposition(|entry| entry.tier == tier);
        let at = last.map_or(self.entries.len(), |last| last + 1);
        let name = name.into();
        self.entries.insert(at, Entry { tier, name, source });
        self
    }

    /// How many credentials it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The tier and the name of each credential, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (Tier, &Arc<str>)> {
        self.entries.iter().map(|entry| (entry.tier, &entry.name))
    }
}
