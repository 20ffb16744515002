//! Who has which resource. Pure: `now` comes in.

use std::sync::Arc;

use lru::LruCache;

use super::config::Config;
use crate::endpoint::EndpointId;
use crate::facts::ClientId;
use crate::resource::Resource;
use crate::time::Instant;

/// A resource of a client. Equal ids of two clients are two keys: a client reaches nothing by an
/// id that it has only heard of, but what it would reach without us.
pub(super) type Key = (ClientId, Resource);

/// The account that has a resource.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub(super) endpoint: EndpointId,
    /// The name of its credential; `None` if any of the endpoint will do.
    pub(super) credential: Option<Arc<str>>,
}

/// All owners that are known.
#[derive(Debug)]
pub(super) struct Owners {
    // Bounded by `learn`, because the bound may change.
    known: LruCache<Key, Known>,
}

#[derive(Debug)]
struct Known {
    owner: Owner,
    since: Instant,
}

impl Known {
    fn is_expired(&self, config: &Config, now: Instant) -> bool {
        let end = self.since.checked_add(config.resource_ttl);
        end.is_some_and(|end| now >= end)
    }
}

impl Owners {
    pub(super) fn new() -> Self {
        Self {
            known: LruCache::unbounded(),
        }
    }

    /// The owner of what is known by `key`. Forgets one that is too old.
    pub(super) fn get(&mut self, key: Key, config: &Config, now: Instant) -> Option<&Owner> {
        if self.known.peek(&key)?.is_expired(config, now) {
            self.known.pop(&key);
            return None;
        }
        self.known.get(&key).map(|known| &known.owner)
    }

    /// An answer of `owner` showed that it has the resource. Returns whether that is news.
    pub(super) fn learn(&mut self, key: Key, owner: Owner, config: &Config, now: Instant) -> bool {
        if let Some(known) = self.known.get_mut(&key)
            && known.owner == owner
        {
            known.since = known.since.max(now);
            return false;
        }
        let since = now;
        self.known.put(key, Known { owner, since });
        while self.known.len() > config.resource_capacity.get() {
            self.known.pop_lru();
        }
        true
    }

    /// An answer of `owner` made use of the resource: if that is its owner, it still is.
    pub(super) fn confirm(&mut self, key: Key, owner: EndpointId, now: Instant) {
        if let Some(known) = self.known.get_mut(&key)
            && known.owner.endpoint == owner
        {
            known.since = known.since.max(now);
        }
    }

    /// The resource is not at `endpoint`, or not any more. Returns whether it was thought to be.
    pub(super) fn forget(&mut self, key: Key, endpoint: EndpointId) -> bool {
        let owns = |known: &Known| known.owner.endpoint == endpoint;
        let thought = self.known.peek(&key).is_some_and(owns);
        if thought {
            self.known.pop(&key);
        }
        thought
    }

    /// How many are known, those included that are too old.
    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    /// Forgets what is too old, and returns how many that were.
    pub(super) fn sweep(&mut self, config: &Config, now: Instant) -> usize {
        let old = |(key, known): (&Key, &Known)| known.is_expired(config, now).then_some(*key);
        let keys: Vec<_> = self.known.iter().filter_map(old).collect();
        for key in &keys {
            self.known.pop(key);
        }
        keys.len()
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::resource::ResourceKind;
    use crate::time::{self, Duration};

    fn file(id: &str) -> Key {
        let client = ClientId::default();
        (client, Resource::new(ResourceKind::File, id))
    }

    fn owner(name: &str) -> Owner {
        Owner {
            endpoint: EndpointId::new("http://example.com", name),
            credential: Some("Personal-1".into()),
        }
    }

    // AFF-19
    #[test]
    fn an_owner_is_known_for_30_days_from_its_last_use() {
        let (mut owners, config, start) = (Owners::new(), Config::default(), time::now());
        let days = |days: u64| start + Duration::from_secs(days * 86_400);
        assert_eq!(owners.get(file("1"), &config, start), None);
        assert!(owners.learn(file("1"), owner("a"), &config, start));
        assert!(!owners.learn(file("1"), owner("a"), &config, days(10)));
        owners.confirm(file("1"), owner("b").endpoint, days(35));
        owners.confirm(file("1"), owner("a").endpoint, days(20));
        let just_before = days(50) - Duration::from_secs(1);
        assert_eq!(
            owners.get(file("1"), &config, just_before),
            Some(&owner("a"))
        );
        assert_eq!(owners.get(file("1"), &config, days(50)), None);
        assert_eq!(owners.len(), 0);
    }

    // AFF-19
    #[test]
    fn the_least_recently_used_owner_goes_first() {
        let now = time::now();
        let config = Config::default().with_resource_capacity(NonZeroUsize::new(2).unwrap());
        let mut owners = Owners::new();
        for id in ["1", "2"] {
            owners.learn(file(id), owner("a"), &config, now);
        }
        owners.get(file("1"), &config, now);
        owners.learn(file("3"), owner("a"), &config, now);
        let known = ["1", "2", "3"].map(|id| owners.get(file(id), &config, now).is_some());
        assert_eq!(known, [true, false, true]);
    }

    // AFF-19
    #[test]
    fn only_the_owner_can_say_that_it_has_a_resource_no_more() {
        let (mut owners, config, now) = (Owners::new(), Config::default(), time::now());
        owners.learn(file("1"), owner("a"), &config, now);
        assert!(!owners.forget(file("1"), owner("b").endpoint));
        assert!(owners.forget(file("1"), owner("a").endpoint));
        assert!(!owners.forget(file("1"), owner("a").endpoint));
        // A resource that turns up elsewhere is there.
        owners.learn(file("2"), owner("a"), &config, now);
        assert!(owners.learn(file("2"), owner("b"), &config, now));
        assert_eq!(owners.get(file("2"), &config, now), Some(&owner("b")));
    }

    // AFF-19
    #[test]
    fn what_is_too_old_is_swept() {
        let (mut owners, config, start) = (Owners::new(), Config::default(), time::now());
        owners.learn(file("1"), owner("a"), &config, start);
        let later = start + Duration::from_secs(86_400);
        owners.learn(file("2"), owner("a"), &config, later);
        assert_eq!(owners.sweep(&config, start + config.resource_ttl), 1);
        assert_eq!(owners.len(), 1);
    }
}
