//! The standing of every endpoint in memory, and which of it is still to be written.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::endpoint::EndpointId;
use crate::standing::Standing;

/// An endpoint in its cluster.
pub(super) type Key = (Arc<str>, EndpointId);

/// So many are kept over a start; each is an endpoint that is refused or was switched by hand.
pub(super) const MOST: usize = 10_000;

#[derive(Debug, Default)]
pub(super) struct Standings {
    kept: HashMap<Key, Standing>,
    unwritten: HashSet<Key>,
}

impl Standings {
    /// What a database had.
    pub(super) fn of(kept: HashMap<Key, Standing>) -> Self {
        Self {
            kept,
            unwritten: HashSet::new(),
        }
    }

    pub(super) fn get(&self, key: &Key) -> Option<&Standing> {
        self.kept.get(key)
    }

    pub(super) fn set(&mut self, key: Key, standing: &Standing) {
        if standing.is_usual() {
            self.kept.remove(&key);
        } else {
            self.kept.insert(key.clone(), standing.clone());
        }
        self.unwritten.insert(key);
    }

    /// What is to be written; it counts as written.
    pub(super) fn take(&mut self) -> Vec<(Key, Option<Standing>)> {
        let keys = std::mem::take(&mut self.unwritten);
        keys.into_iter()
            .map(|key| {
                let standing = self.kept.get(&key).cloned();
                (key, standing)
            })
            .collect()
    }

    /// It could not be written: it is to be written still, as it is by then.
    pub(super) fn give_back(&mut self, taken: Vec<(Key, Option<Standing>)>) {
        self.unwritten.extend(taken.into_iter().map(|(key, _)| key));
    }
}
