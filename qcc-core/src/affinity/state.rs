//! The bindings and how a visit changes them. Pure: `now` comes in, the transition goes out.

use lru::LruCache;

use super::config::Config;
use crate::available::Reason;
use crate::endpoint::EndpointId;
use crate::facts::ClientId;
use crate::failure::{Blame, Kind, Verdict};
use crate::record::{Fate, SessionHash, Transition};
use crate::time::Instant;

/// A session of a client. Equal session ids of two clients are two keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Key {
    pub(super) client: ClientId,
    pub(super) session: SessionHash,
}

/// Where a session is bound, and since which success.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) endpoint: EndpointId,
    pub(super) since: Instant,
}

impl Binding {
    /// When it expires; `None` if that is beyond the range of the clock.
    pub(super) fn expires(&self, config: &Config) -> Option<Instant> {
        self.since.checked_add(config.ttl)
    }

    pub(super) fn is_expired(&self, config: &Config, now: Instant) -> bool {
        self.expires(config).is_some_and(|end| now >= end)
    }
}

/// What a visit of a session showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Visited {
    /// The endpoint that the session was bound to when the visit began.
    pub(super) bound: Option<EndpointId>,
    /// What became of the preference for it; [`Fate::Owned`] if the visit went to the owner of
    /// what the request names, whoever was preferred by its session.
    pub(super) fate: Option<Fate>,
    /// How the visit ended.
    pub(super) end: End,
}

/// How a visit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// This endpoint answered well.
    Answered(EndpointId),
    /// This endpoint failed.
    Failed(EndpointId, Verdict),
    /// This endpoint refused before anything was sent.
    Refused(EndpointId, Reason, Option<Instant>),
    /// In a way that says nothing of any endpoint.
    Otherwise,
}

/// All bindings.
#[derive(Debug)]
pub(super) struct Table {
    // Bounded by `bind`, because the bound may change.
    bindings: LruCache<Key, Binding>,
}

impl Table {
    pub(super) fn new() -> Self {
        Self {
            bindings: LruCache::unbounded(),
        }
    }

    /// The endpoint that `key` is bound to. Removes the binding if it is expired.
    pub(super) fn get(&mut self, key: Key, config: &Config, now: Instant) -> Option<EndpointId> {
        let binding = *self.bindings.get(&key)?;
        if binding.is_expired(config, now) {
            self.bindings.pop(&key);
            return None;
        }
        Some(binding.endpoint)
    }

    /// Draws the conclusion from a visit. Another request of the session may have changed the
    /// binding meanwhile; then the later state stays, because it rests on a later success.
    pub(super) fn conclude(
        &mut self,
        key: Key,
        visited: Visited,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        if let (Some(Fate::Owned), End::Answered(endpoint)) = (visited.fate, visited.end) {
            return self.settle(key, endpoint, config, now);
        }
        let Some(bound) = visited.bound else {
            return match visited.end {
                End::Answered(endpoint) => self.confirm(key, endpoint, config, now),
                _ => None,
            };
        };
        let lost = match visited.fate {
            Some(fate) => is_lost(fate, config, now),
            None => false,
        };
        match visited.end {
            End::Answered(endpoint) if endpoint == bound => {
                self.confirm(key, endpoint, config, now)
            }
            End::Answered(endpoint) if lost => self.rebind(key, bound, endpoint, config, now),
            End::Answered(_) => Some(Transition::Escaped),
            End::Failed(endpoint, verdict) if endpoint == bound => {
                self.invalidate_if(lost || condemns(verdict, config, now), key, bound)
            }
            End::Refused(endpoint, reason, until) if endpoint == bound => {
                let fate = Fate::PassedOver { reason, until };
                self.invalidate_if(lost || is_lost(fate, config, now), key, bound)
            }
            End::Failed(..) | End::Refused(..) | End::Otherwise => {
                self.invalidate_if(lost, key, bound)
            }
        }
    }

    /// Binds a free session to `endpoint`, or starts the lifetime of that binding again.
    fn confirm(
        &mut self,
        key: Key,
        endpoint: EndpointId,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        match self.bindings.get_mut(&key) {
            Some(binding) if binding.endpoint == endpoint => {
                binding.since = binding.since.max(now);
                Some(Transition::Refreshed)
            }
            Some(binding) if !binding.is_expired(config, now) => None,
            _ => {
                self.bind(key, endpoint, config, now);
                Some(Transition::Bound)
            }
        }
    }

    /// Binds a session to the owner of what it names, wherever it was before: the rest of it
    /// will name the same.
    fn settle(
        &mut self,
        key: Key,
        owner: EndpointId,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        let bound = self.get(key, config, now);
        self.bind(key, owner, config, now);
        Some(match bound {
            Some(bound) if bound == owner => Transition::Refreshed,
            Some(_) => Transition::Rebound,
            None => Transition::Bound,
        })
    }

    /// Moves the binding from `lost` to the endpoint that answered.
    fn rebind(
        &mut self,
        key: Key,
        lost: EndpointId,
        endpoint: EndpointId,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        if let Some(binding) = self.bindings.peek(&key)
            && binding.endpoint != lost
        {
            return None;
        }
        self.bind(key, endpoint, config, now);
        Some(Transition::Rebound)
    }

    /// Removes the binding to `bound`, if that is where it still points and `condition` holds.
    fn invalidate_if(
        &mut self,
        condition: bool,
        key: Key,
        bound: EndpointId,
    ) -> Option<Transition> {
        if !condition || self.bindings.peek(&key)?.endpoint != bound {
            return None;
        }
        self.bindings.pop(&key);
        Some(Transition::Invalidated)
    }

    fn bind(&mut self, key: Key, endpoint: EndpointId, config: &Config, now: Instant) {
        let since = now;
        self.bindings.put(key, Binding { endpoint, since });
        while self.bindings.len() > config.capacity.get() {
            self.bindings.pop_lru();
        }
    }

    /// Every binding, expired ones included, the most recently used first.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Key, &Binding)> {
        self.bindings.iter()
    }

    /// Removes the bindings for which `gone` says so, and returns how many.
    pub(super) fn remove_if(&mut self, gone: impl Fn(&Key, &Binding) -> bool) -> usize {
        let keys: Vec<_> = self
            .bindings
            .iter()
            .filter(|(key, binding)| gone(key, binding))
            .map(|(key, _)| *key)
            .collect();
        for key in &keys {
            self.bindings.pop(key);
        }
        keys.len()
    }
}

/// Whether a preferred endpoint that was not chosen is lost to its session, or only out of reach
/// for a moment: then this request escapes, and the session stays.
fn is_lost(fate: Fate, config: &Config, now: Instant) -> bool {
    match fate {
        Fate::Honoured | Fate::Owned => false,
        Fate::Gone => true,
        Fate::PassedOver { reason, until } => match reason {
            Reason::Disabled | Reason::AuthFailed | Reason::Open | Reason::Queued => true,
            Reason::Cooling => until.is_none_or(|until| is_beyond_patience(until, config, now)),
            Reason::Probing
            | Reason::Marked
            | Reason::Model
            | Reason::Dialect
            | Reason::Full
            | Reason::Excluded => false,
        },
    }
}

/// Whether a failure ends the binding to the endpoint that failed.
fn condemns(verdict: Verdict, config: &Config, now: Instant) -> bool {
    match verdict.blame {
        Blame::Endpoint => true,
        Blame::Caller => false,
        Blame::Credential => {
            verdict.kind == Kind::Auth
                || verdict
                    .until
                    .is_some_and(|until| is_beyond_patience(until, config, now))
        }
    }
}

fn is_beyond_patience(until: Instant, config: &Config, now: Instant) -> bool {
    until.saturating_duration_since(now) > config.patience
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroUsize;

    use super::*;
    use crate::time::{self, Duration};

    const TTL: Duration = Duration::from_secs(18_000);

    fn key(session: &str) -> Key {
        Key {
            client: ClientId::default(),
            session: SessionHash::of(session),
        }
    }

    fn endpoint(name: &str) -> EndpointId {
        EndpointId::new("http://example.com", name)
    }

    /// A table with one session, bound to `a`.
    struct Bound {
        table: Table,
        config: Config,
        now: Instant,
    }

    impl Bound {
        fn to_a() -> Self {
            let mut bound = Self {
                table: Table::new(),
                config: Config::default(),
                now: time::now(),
            };
            let transition = bound.visit(None, None, End::Answered(endpoint("a")));
            assert_eq!(transition, Some(Transition::Bound));
            bound
        }

        fn visit(
            &mut self,
            bound: Option<EndpointId>,
            fate: Option<Fate>,
            end: End,
        ) -> Option<Transition> {
            let visited = Visited { bound, fate, end };
            self.table
                .conclude(key("s"), visited, &self.config, self.now)
        }

        /// A visit that wanted `a`.
        fn visit_a(&mut self, fate: Fate, end: End) -> Option<Transition> {
            self.visit(Some(endpoint("a")), Some(fate), end)
        }

        fn at(&mut self) -> Option<EndpointId> {
            self.table.get(key("s"), &self.config, self.now)
        }

        fn in_secs(&self, seconds: u64) -> Option<Instant> {
            Some(self.now + Duration::from_secs(seconds))
        }
    }

    fn passed_over(reason: Reason, until: Option<Instant>) -> Fate {
        Fate::PassedOver { reason, until }
    }

    const FAILED: fn(Verdict) -> End = |verdict| End::Failed(endpoint("a"), verdict);

    // AFF-07, AFF-08
    #[test]
    fn a_success_at_the_bound_endpoint_starts_the_lifetime_again() {
        let mut bound = Bound::to_a();
        bound.now += TTL - Duration::from_secs(1);
        let transition = bound.visit_a(Fate::Honoured, End::Answered(endpoint("a")));
        assert_eq!(transition, Some(Transition::Refreshed));
        bound.now += TTL - Duration::from_secs(1);
        assert_eq!(bound.at(), Some(endpoint("a")));
        bound.now += Duration::from_secs(1);
        assert_eq!(bound.at(), None);
        assert_eq!(bound.table.iter().count(), 0);
    }

    // AFF-08
    #[test]
    fn an_expired_binding_leaves_the_choice_free() {
        let mut bound = Bound::to_a();
        bound.now += TTL;
        assert_eq!(bound.at(), None);
        let transition = bound.visit(None, None, End::Answered(endpoint("b")));
        assert_eq!(transition, Some(Transition::Bound));
        assert_eq!(bound.at(), Some(endpoint("b")));
    }

    // AFF-20
    #[test]
    fn escape_leaves_the_binding_where_it_is() {
        for reason in [
            Reason::Full,
            Reason::Probing,
            Reason::Excluded,
            Reason::Model,
            Reason::Dialect,
            Reason::Marked,
        ] {
            let mut bound = Bound::to_a();
            let fate = passed_over(reason, None);
            let transition = bound.visit_a(fate, End::Answered(endpoint("b")));
            assert_eq!(transition, Some(Transition::Escaped), "{reason}");
            assert_eq!(bound.at(), Some(endpoint("a")));
        }
    }

    // AFF-20
    #[test]
    fn a_session_waits_for_a_short_cool_down_and_moves_for_a_long_one() {
        for (seconds, expected, at) in [
            (30, Transition::Escaped, "a"),
            (31, Transition::Rebound, "b"),
        ] {
            let mut bound = Bound::to_a();
            let fate = passed_over(Reason::Cooling, bound.in_secs(seconds));
            let transition = bound.visit_a(fate, End::Answered(endpoint("b")));
            assert_eq!(transition, Some(expected));
            assert_eq!(bound.at(), Some(endpoint(at)));
        }
    }

    const LASTING: [Fate; 6] = [
        Fate::Gone,
        Fate::PassedOver {
            reason: Reason::Open,
            until: None,
        },
        Fate::PassedOver {
            reason: Reason::Disabled,
            until: None,
        },
        Fate::PassedOver {
            reason: Reason::AuthFailed,
            until: None,
        },
        Fate::PassedOver {
            reason: Reason::Queued,
            until: None,
        },
        Fate::PassedOver {
            reason: Reason::Cooling,
            until: None,
        },
    ];

    // AFF-09, AFF-20
    #[test]
    fn rebind_moves_the_binding_after_a_success_elsewhere() {
        for fate in LASTING {
            let mut bound = Bound::to_a();
            let transition = bound.visit_a(fate, End::Answered(endpoint("b")));
            assert_eq!(transition, Some(Transition::Rebound), "{fate:?}");
            assert_eq!(bound.at(), Some(endpoint("b")));
        }
    }

    // AFF-09, AFF-20
    #[test]
    fn a_binding_to_a_lost_endpoint_goes_even_if_the_visit_fails() {
        let verdict = Verdict::new(Kind::Server);
        for fate in LASTING {
            for end in [End::Failed(endpoint("b"), verdict), End::Otherwise] {
                let mut bound = Bound::to_a();
                assert_eq!(bound.visit_a(fate, end), Some(Transition::Invalidated));
                assert_eq!(bound.at(), None);
            }
        }
    }

    // AFF-10, AFF-20
    #[test]
    fn invalidate_follows_the_blame() {
        let until = |bound: &Bound, seconds| bound.in_secs(seconds);
        for kind in Kind::ALL {
            for seconds in [None, Some(30), Some(31)] {
                let mut bound = Bound::to_a();
                let end = seconds.and_then(|seconds| until(&bound, seconds));
                let verdict = Verdict::new(kind).until(end);
                let ends = match kind.blame() {
                    Blame::Endpoint => true,
                    Blame::Caller => false,
                    Blame::Credential => kind == Kind::Auth || seconds == Some(31),
                };
                let transition = bound.visit_a(Fate::Honoured, FAILED(verdict));
                let expected = ends.then_some(Transition::Invalidated);
                assert_eq!(transition, expected, "{kind} {seconds:?}");
                assert_eq!(bound.at().is_none(), ends);
            }
        }
    }

    // AFF-19, AFF-20
    #[test]
    fn a_session_settles_at_the_owner_of_what_it_names() {
        let owned = Some(Fate::Owned);
        let mut bound = Bound::to_a();
        let at_a = End::Answered(endpoint("a"));
        let at_b = End::Answered(endpoint("b"));
        let a = Some(endpoint("a"));
        assert_eq!(bound.visit(a, owned, at_a), Some(Transition::Refreshed));
        assert_eq!(bound.visit(a, owned, at_b), Some(Transition::Rebound));
        assert_eq!(bound.at(), Some(endpoint("b")));
        bound.table.remove_if(|_, _| true);
        assert_eq!(bound.visit(None, owned, at_b), Some(Transition::Bound));

        // An owner that failed is left only by the sessions that are bound there.
        let verdict = Verdict::new(Kind::Server);
        let failed = End::Failed(endpoint("c"), verdict);
        assert_eq!(bound.visit(Some(endpoint("b")), owned, failed), None);
        let failed = End::Failed(endpoint("b"), verdict);
        let transition = bound.visit(Some(endpoint("b")), owned, failed);
        assert_eq!(transition, Some(Transition::Invalidated));
    }

    // AFF-10
    #[test]
    fn after_an_invalidation_the_session_is_bound_to_whoever_answers() {
        let mut bound = Bound::to_a();
        bound.visit_a(Fate::Honoured, FAILED(Verdict::new(Kind::Server)));
        let transition = bound.visit(None, None, End::Answered(endpoint("b")));
        assert_eq!(transition, Some(Transition::Bound));
        assert_eq!(bound.at(), Some(endpoint("b")));
    }

    // AFF-20
    #[test]
    fn a_refusal_counts_like_being_passed_over() {
        for (reason, expected) in [
            (Reason::Open, Some(Transition::Invalidated)),
            (Reason::Probing, None),
            (Reason::Full, None),
        ] {
            let mut bound = Bound::to_a();
            let end = End::Refused(endpoint("a"), reason, None);
            assert_eq!(bound.visit_a(Fate::Honoured, end), expected, "{reason}");
        }
    }

    // AFF-10, AFF-20
    #[test]
    fn a_failure_elsewhere_and_an_end_that_blames_nobody_change_nothing() {
        let mut bound = Bound::to_a();
        let fate = passed_over(Reason::Full, None);
        let failed = End::Failed(endpoint("b"), Verdict::new(Kind::Server));
        assert_eq!(bound.visit_a(fate, failed), None);
        assert_eq!(bound.visit_a(Fate::Honoured, End::Otherwise), None);
        assert_eq!(bound.at(), Some(endpoint("a")));
    }

    // AFF-20
    #[test]
    fn a_binding_that_another_request_moved_meanwhile_stays_where_it_is() {
        let lost = passed_over(Reason::Open, None);
        let mut bound = Bound::to_a();
        bound.visit_a(lost, End::Answered(endpoint("b")));
        // These visits began while the session was bound to `a`.
        for (fate, end) in [
            (lost, End::Answered(endpoint("c"))),
            (Fate::Honoured, End::Answered(endpoint("a"))),
            (Fate::Honoured, FAILED(Verdict::new(Kind::Server))),
            (lost, End::Otherwise),
        ] {
            assert_eq!(bound.visit_a(fate, end), None, "{end:?}");
            assert_eq!(bound.at(), Some(endpoint("b")));
        }
        // And this one before it was bound at all.
        let first = bound.visit(None, None, End::Answered(endpoint("c")));
        assert_eq!((first, bound.at()), (None, Some(endpoint("b"))));
    }

    // AFF-14
    #[test]
    fn the_least_recently_used_binding_goes_first() {
        let config = Config::default().with_capacity(NonZeroUsize::new(2).unwrap());
        let now = time::now();
        let mut table = Table::new();
        let answer = |table: &mut Table, session: &str| {
            let visited = Visited {
                bound: None,
                fate: None,
                end: End::Answered(endpoint("a")),
            };
            table.conclude(key(session), visited, &config, now)
        };
        answer(&mut table, "one");
        answer(&mut table, "two");
        assert!(table.get(key("one"), &config, now).is_some());
        answer(&mut table, "three");
        assert!(table.get(key("one"), &config, now).is_some());
        assert!(table.get(key("two"), &config, now).is_none());
        assert_eq!(table.iter().count(), 2);
        assert_eq!(Config::default().capacity.get(), 100_000);
    }
}
