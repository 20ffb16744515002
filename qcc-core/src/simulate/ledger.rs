//! What a simulated endpoint remembers: the pure core, and the seat that each request takes.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use http::Request;

use super::behaviour::Behaviour;
use super::kept::Kept;
use super::script::Script;
use crate::guard::{Guard, Settled};
use crate::time::Instant;

/// What happened at a simulated endpoint so far.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// Requests that came in.
    pub requests: u64,
    /// Requests whose answer has not ended.
    pub in_flight: u64,
    /// The most that were in flight at a time.
    pub peak_in_flight: u64,
    /// Answers that were read to their end.
    pub completed: u64,
    /// Requests that met a fault of the connection, before or in the answer.
    pub broken: u64,
    /// Requests that were given up before the end of their answer.
    pub canceled: u64,
    /// Requests by key. Only keys that begin with `sk-test-` are named; what else was presented
    /// is counted under `[other]`, requests without a key under `[none]`.
    pub keys: BTreeMap<Box<str>, u64>,
}

/// One endpoint.
pub(super) struct Member {
    pub(super) name: Arc<str>,
    state: Mutex<State>,
}

impl Member {
    pub(super) fn new(name: Arc<str>, script: Script, now: Instant) -> Self {
        Self {
            name,
            state: Mutex::new(State::new(script, now)),
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        // Nothing in the critical sections can leave the state half changed.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(super) struct State {
    script: Script,
    since: Instant,
    /// Of all scripts.
    answers: u64,
    /// Since the script was set.
    requests: u64,
    /// Since the script was set. Never shown: the keys may be real ones.
    by_key: HashMap<Box<str>, u64>,
    pub(super) counts: Counts,
    pub(super) kept: Kept,
    pub(super) last: Option<Request<Bytes>>,
}

/// How one request is to be answered.
pub(super) struct Admitted {
    /// The number of the request at this endpoint, from 1.
    pub(super) number: u64,
    /// [`Behaviour::Keys`] and [`Behaviour::Quota`] stand for the refusal here.
    pub(super) behaviour: Behaviour,
    pub(super) text: Option<Arc<str>>,
    pub(super) deltas: usize,
}

impl State {
    fn new(script: Script, now: Instant) -> Self {
        Self {
            script,
            since: now,
            answers: 0,
            requests: 0,
            by_key: HashMap::new(),
            counts: Counts::default(),
            kept: Kept::default(),
            last: None,
        }
    }

    /// Begins `script`. The counts go on.
    pub(super) fn set(&mut self, script: Script, now: Instant) {
        self.script = script;
        self.since = now;
        self.requests = 0;
        self.by_key.clear();
    }

    /// A request came in.
    fn arrive(&mut self) {
        self.counts.requests += 1;
        self.counts.in_flight += 1;
        self.counts.peak_in_flight = self.counts.peak_in_flight.max(self.counts.in_flight);
    }

    /// Decides on a request that was read.
    pub(super) fn admit(&mut self, key: Option<&str>, now: Instant) -> Admitted {
        self.answers += 1;
        self.requests += 1;
        let shown = match key {
            Some(key) if key.starts_with("sk-test-") => key,
            Some(_) => "[other]",
            None => "[none]",
        };
        *self.counts.keys.entry(shown.into()).or_default() += 1;
        let of_key = self
            .by_key
            .entry(key.unwrap_or_default().into())
            .or_default();
        *of_key += 1;
        let of_key = *of_key;

        let time = now.saturating_duration_since(self.since);
        let behaviour = resolve(
            self.script.at(self.requests, time),
            key,
            self.requests,
            of_key,
        );
        Admitted {
            number: self.answers,
            behaviour: behaviour.clone(),
            text: self.script.text.clone(),
            deltas: self.script.deltas,
        }
    }
}

fn resolve<'a>(
    behaviour: &'a Behaviour,
    key: Option<&str>,
    requests: u64,
    of_key: u64,
) -> &'a Behaviour {
    match behaviour {
        Behaviour::First(limit, behaviour) if requests <= u64::from(*limit) => {
            resolve(behaviour, key, requests, of_key)
        }
        Behaviour::First(..) => &Behaviour::Ok,
        Behaviour::Keys(valid) if valid.iter().any(|valid| Some(&**valid) == key) => &Behaviour::Ok,
        Behaviour::Quota(limit) if of_key <= u64::from(*limit) => &Behaviour::Ok,
        other => other,
    }
}

/// A request that is in flight. Counted as given up unless it was settled.
pub(super) struct Seat {
    pub(super) member: Arc<Member>,
    settled: Settled,
}

impl Seat {
    pub(super) fn take(member: Arc<Member>) -> Self {
        member.state().arrive();
        Self {
            member,
            settled: Settled::Canceled,
        }
    }
}

impl Guard for Seat {
    fn settle(mut self, settled: Settled) {
        self.settled = settled;
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let counts = &mut self.member.state().counts;
        counts.in_flight -= 1;
        *match self.settled {
            Settled::Clean => &mut counts.completed,
            Settled::Broken(_) => &mut counts.broken,
            Settled::Canceled => &mut counts.canceled,
        } += 1;
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Seat").field(&self.member.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    fn admitted(state: &mut State, key: &str) -> Behaviour {
        state.admit(Some(key), time::now()).behaviour
    }

    // SIM-01, TOK-08
    #[test]
    fn each_key_has_its_own_quota() {
        let mut state = State::new(Behaviour::Quota(2).into(), time::now());
        for (key, expected) in [
            ("sk-test-a", Behaviour::Ok),
            ("sk-test-a", Behaviour::Ok),
            ("sk-test-a", Behaviour::Quota(2)),
            ("sk-test-b", Behaviour::Ok),
        ] {
            assert_eq!(admitted(&mut state, key), expected, "{key}");
        }
    }

    // SIM-01
    #[test]
    fn the_first_requests_meet_another_behaviour() {
        let script = "first:2:quota:0".parse::<Behaviour>().unwrap();
        let mut state = State::new(script.clone().into(), time::now());
        assert_eq!(admitted(&mut state, "sk-test-a"), Behaviour::Quota(0));
        assert_eq!(admitted(&mut state, "sk-test-b"), Behaviour::Quota(0));
        assert_eq!(admitted(&mut state, "sk-test-a"), Behaviour::Ok);
        state.set(script.into(), time::now());
        assert_eq!(admitted(&mut state, "sk-test-a"), Behaviour::Quota(0));
    }

    // SEC-02
    #[test]
    fn a_key_that_might_be_real_is_counted_and_not_kept() {
        let mut state = State::new(Script::default(), time::now());
        admitted(&mut state, "AIza-real");
        admitted(&mut state, "sk-test-a");
        state.admit(None, time::now());
        let keys: Vec<_> = state.counts.keys.keys().map(|key| &**key).collect();
        assert_eq!(keys, ["[none]", "[other]", "sk-test-a"]);
    }
}
