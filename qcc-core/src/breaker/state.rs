//! The state of a breaker: pure, without clock, lock or log.
//!
//! Each change of state starts a new *generation*. A [`Ticket`] carries the generation in which
//! it was given, and what comes of it counts only as long as that generation lasts. So a
//! request that began before an opening can neither prolong it nor end the half-open phase
//! after it.

use super::config::Config;
use crate::available::{Availability, Reason};
use crate::failure::Kind;
use crate::time::{Duration, Instant};

/// What the breaker of one endpoint knows.
#[derive(Debug)]
pub(super) struct State {
    mode: Mode,
    generation: u64,
    /// Counted failures in a row; those that opened the breaker stay until it closes.
    failures: u32,
    last_failure: Option<LastFailure>,
    /// How many failures it was told of.
    told: u64,
}

#[derive(Clone, Copy, Debug)]
enum Mode {
    Closed,
    Open {
        since: Instant,
        until: Instant,
        /// How often it opened since it was last closed.
        openings: u32,
    },
    HalfOpen {
        since: Instant,
        openings: u32,
        probing: u32,
    },
}

/// The state of a breaker, as others see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Requests pass.
    Closed,
    /// Requests are refused.
    Open,
    /// A few requests at a time pass, to try the endpoint.
    HalfOpen,
}

impl Phase {
    /// The name used in listings, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open => "open",
            Self::HalfOpen => "half_open",
        }
    }
}

/// The last failure that a breaker was told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LastFailure {
    /// When.
    pub at: Instant,
    /// What went wrong.
    pub kind: Kind,
}

/// A breaker at one moment. Reading it changes nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Snapshot {
    /// The state. An open breaker whose time has passed is shown as half-open.
    pub state: Phase,
    /// Counted failures in a row.
    pub failures: u32,
    /// How many of them open it.
    pub threshold: u32,
    /// When it opened last; `None` while it is closed.
    pub opened_at: Option<Instant>,
    /// For how long it has been open or half-open; `None` while it is closed.
    pub elapsed: Option<Duration>,
    /// How long it stays open; `None` unless it is open.
    pub remaining: Option<Duration>,
    /// The last counted failure, whatever the state was.
    pub last_failure: Option<LastFailure>,
}

/// Leave to send one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Ticket {
    pub(super) generation: u64,
    pub(super) pass: Pass,
}

/// How a request came through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// The breaker was closed.
    Ordinary,
    /// It was half-open; the request holds a probe slot.
    Probe,
    /// It was open, and nothing else was left.
    LastResort,
}

/// A request is not let through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: Reason,
    pub(super) until: Option<Instant>,
}

/// A change of state, to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    Opened {
        kind: Kind,
        failures: u32,
        open_for: Duration,
    },
    Reopened {
        kind: Kind,
        open_for: Duration,
    },
    HalfOpened,
    Closed {
        from: Phase,
    },
}

impl State {
    pub(super) const fn new() -> Self {
        Self {
            mode: Mode::Closed,
            generation: 0,
            failures: 0,
            last_failure: None,
            told: 0,
        }
    }

    pub(super) const fn told(&self) -> u64 {
        self.told
    }

    pub(super) const fn is_closed(&self) -> bool {
        matches!(self.mode, Mode::Closed)
    }

    pub(super) const fn generation(&self) -> u64 {
        self.generation
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) fn last_failure(&self) -> Option<LastFailure> {
        self.last_failure
    }

    /// Whether a request would be let through now.
    pub(super) fn availability(&self, now: Instant, config: &Config) -> Availability {
        match self.refusal(now, config) {
            None => Availability::Ready,
            Some(Refusal { reason, until }) => Availability::Out {
                reason,
                until,
                failed: self.last_failure.map(|failure| failure.at),
            },
        }
    }

    fn refusal(&self, now: Instant, config: &Config) -> Option<Refusal> {
        match self.mode {
            Mode::Open { until, .. } if now < until => Some(Refusal {
                reason: Reason::Open,
                until: Some(until),
            }),
            Mode::HalfOpen { probing, .. } if probing >= config.probes().get() => Some(Refusal {
                reason: Reason::Probing,
                until: None,
            }),
            _ => None,
        }
    }

    /// Lets a request through or not. An open breaker whose time has passed becomes half-open
    /// here and nowhere else. `last_resort` passes one that is open; where probes are admitted
    /// it is a request like any other.
    pub(super) fn admit(
        &mut self,
        last_resort: bool,
        now: Instant,
        config: &Config,
    ) -> (Result<Ticket, Refusal>, Option<Transition>) {
        let refusal = self.refusal(now, config);
        let mut transition = None;
        let pass = match (&mut self.mode, refusal) {
            (Mode::Open { .. }, Some(_)) if last_resort => Pass::LastResort,
            (_, Some(refusal)) => return (Err(refusal), None),
            (Mode::Closed, None) => Pass::Ordinary,
            (Mode::HalfOpen { probing, .. }, None) => {
                *probing += 1;
                Pass::Probe
            }
            (
                &mut Mode::Open {
                    since, openings, ..
                },
                None,
            ) => {
                self.enter(Mode::HalfOpen {
                    since,
                    openings,
                    probing: 1,
                });
                transition = Some(Transition::HalfOpened);
                Pass::Probe
            }
        };
        (Ok(self.ticket(pass)), transition)
    }

    /// The answer of the request was committed: a probe and a last resort close the breaker,
    /// anything else changes nothing yet. The request goes on with the ticket that is returned.
    pub(super) fn committed(&mut self, ticket: Ticket) -> (Ticket, Option<Transition>) {
        let from = match ticket.pass {
            Pass::Ordinary => return (ticket, None),
            Pass::Probe => Phase::HalfOpen,
            Pass::LastResort => Phase::Open,
        };
        let ended = Ticket {
            pass: Pass::Ordinary,
            ..ticket
        };
        if ticket.generation != self.generation {
            return (ended, None);
        }
        self.failures = 0;
        self.enter(Mode::Closed);
        (
            self.ticket(Pass::Ordinary),
            Some(Transition::Closed { from }),
        )
    }

    /// The committed answer came to its proper end.
    pub(super) const fn ended(&mut self, ticket: Ticket) {
        if ticket.generation == self.generation && self.is_closed() {
            self.failures = 0;
        }
    }

    /// The request failed with a kind that counts.
    pub(super) fn failed(
        &mut self,
        ticket: Ticket,
        kind: Kind,
        now: Instant,
        config: &Config,
        sample: impl FnOnce() -> f64,
    ) -> Option<Transition> {
        // Also of a late one: the next last resort goes to the endpoint that failed least
        // recently.
        self.last_failure = Some(LastFailure { at: now, kind });
        self.told += 1;
        if ticket.generation != self.generation {
            return None;
        }
        match (self.mode, ticket.pass) {
            (Mode::Closed, _) => {
                self.failures = self.failures.saturating_add(1);
                if self.failures < config.max_failures().get() {
                    return None;
                }
                let open_for = self.open(1, now, config, sample);
                Some(Transition::Opened {
                    kind,
                    failures: self.failures,
                    open_for,
                })
            }
            (Mode::HalfOpen { openings, .. }, Pass::Probe) => {
                self.failures = self.failures.saturating_add(1);
                let open_for = self.open(openings.saturating_add(1), now, config, sample);
                Some(Transition::Reopened { kind, open_for })
            }
            _ => None,
        }
    }

    /// The request came to nothing that counts: its slot is free again.
    pub(super) fn released(&mut self, ticket: Ticket) {
        if ticket.generation != self.generation || ticket.pass != Pass::Probe {
            return;
        }
        if let Mode::HalfOpen { probing, .. } = &mut self.mode {
            *probing = probing.saturating_sub(1);
        }
    }

    /// Closes the breaker with count 0. What was sent before counts no more. Returns whether
    /// anything was different.
    pub(super) fn reset(&mut self) -> (bool, Option<Transition>) {
        let from = match self.mode {
            Mode::Closed => None,
            Mode::Open { .. } => Some(Phase::Open),
            Mode::HalfOpen { .. } => Some(Phase::HalfOpen),
        };
        let changed = from.is_some() || self.failures > 0;
        self.failures = 0;
        self.enter(Mode::Closed);
        (changed, from.map(|from| Transition::Closed { from }))
    }

    /// The endpoint is known to work since it had told of `told` failures: the same as a reset,
    /// unless it failed after that.
    pub(super) fn verified(&mut self, told: u64) -> (bool, Option<Transition>) {
        if self.told == told {
            self.reset()
        } else {
            (false, None)
        }
    }

    pub(super) fn snapshot(&self, now: Instant, config: &Config) -> Snapshot {
        let (state, opened_at, remaining) = match self.mode {
            Mode::Closed => (Phase::Closed, None, None),
            Mode::Open { since, until, .. } if now < until => {
                (Phase::Open, Some(since), Some(until - now))
            }
            Mode::Open { since, .. } | Mode::HalfOpen { since, .. } => {
                (Phase::HalfOpen, Some(since), None)
            }
        };
        Snapshot {
            state,
            failures: self.failures,
            threshold: config.max_failures().get(),
            opened_at,
            elapsed: opened_at.map(|since| now.saturating_duration_since(since)),
            remaining,
            last_failure: self.last_failure,
        }
    }

    fn open(
        &mut self,
        openings: u32,
        now: Instant,
        config: &Config,
        sample: impl FnOnce() -> f64,
    ) -> Duration {
        let open_for = config.open_time(openings, sample);
        self.enter(Mode::Open {
            since: now,
            until: now + open_for,
            openings,
        });
        open_for
    }

    const fn enter(&mut self, mode: Mode) {
        self.mode = mode;
        self.generation += 1;
    }

    const fn ticket(&self, pass: Pass) -> Ticket {
        Ticket {
            generation: self.generation,
            pass,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;
    use crate::time;

    /// A state with its clock and a configuration without jitter.
    struct Bench {
        state: State,
        now: Instant,
        config: Config,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                state: State::new(),
                now: time::now(),
                config: Config::default().with_jitter(0.0).unwrap(),
            }
        }

        fn wait(&mut self, seconds: u64) {
            self.now += Duration::from_secs(seconds);
        }

        fn admit(&mut self) -> Result<Ticket, Refusal> {
            self.state.admit(false, self.now, &self.config).0
        }

        fn fail(&mut self, ticket: Ticket) -> Option<Transition> {
            let Self { state, now, config } = self;
            state.failed(ticket, Kind::Server, *now, config, || 0.5)
        }

        /// Fails so many requests one after the other.
        fn fail_times(&mut self, times: u32) {
            for _ in 0..times {
                let ticket = self.admit().unwrap();
                self.fail(ticket);
            }
        }

        fn succeed(&mut self, ticket: Ticket) -> Option<Transition> {
            let (ticket, transition) = self.state.committed(ticket);
            self.state.ended(ticket);
            transition
        }

        fn snapshot(&self) -> Snapshot {
            self.state.snapshot(self.now, &self.config)
        }
    }

    // BRK-02
    #[test]
    fn three_failures_open_it_and_two_do_not() {
        let mut bench = Bench::new();
        bench.fail_times(2);
        assert_eq!(bench.snapshot().state, Phase::Closed);
        bench.fail_times(1);
        assert_eq!(bench.snapshot().state, Phase::Open);
    }

    // BRK-03
    #[test]
    fn a_success_sets_the_count_to_zero() {
        let mut bench = Bench::new();
        bench.fail_times(2);
        let ticket = bench.admit().unwrap();
        bench.succeed(ticket);
        bench.fail_times(2);
        assert_eq!(bench.snapshot().state, Phase::Closed);
        assert_eq!(bench.snapshot().failures, 2);
    }

    // BRK-06, ACC-05
    #[test]
    fn it_refuses_until_its_time_has_passed_and_nobody_has_to_wake_it() {
        let mut bench = Bench::new();
        bench.fail_times(3);
        let until = bench.now + Duration::from_secs(60);
        bench.wait(59);
        let refusal = Refusal {
            reason: Reason::Open,
            until: Some(until),
        };
        assert_eq!(bench.admit(), Err(refusal));
        bench.wait(2);
        let (ticket, transition) = bench.state.admit(false, bench.now, &bench.config);
        assert_eq!(ticket.unwrap().pass, Pass::Probe);
        assert_eq!(transition, Some(Transition::HalfOpened));
    }

    // BRK-07, BRK-16
    #[test]
    fn a_half_open_one_admits_as_many_probes_as_configured() {
        for probes in [1, 3] {
            let mut bench = Bench::new();
            bench.config = bench.config.with_probes(NonZeroU32::new(probes).unwrap());
            bench.fail_times(3);
            bench.wait(60);
            let admitted = (0..50).filter(|_| bench.admit().is_ok()).count();
            assert_eq!(admitted, probes as usize);
            assert_eq!(bench.admit().unwrap_err().reason, Reason::Probing);
        }
    }

    // BRK-08
    #[test]
    fn failed_probes_double_the_open_time_and_closing_starts_anew() {
        let mut bench = Bench::new();
        bench.fail_times(3);
        for open_for in [60, 120, 240, 480, 600, 600] {
            let remaining = bench.snapshot().remaining;
            assert_eq!(remaining, Some(Duration::from_secs(open_for)));
            bench.wait(open_for);
            bench.fail_times(1);
        }
        bench.wait(600);
        let probe = bench.admit().unwrap();
        let closed = Transition::Closed {
            from: Phase::HalfOpen,
        };
        assert_eq!(bench.succeed(probe), Some(closed));
        assert_eq!(bench.snapshot().failures, 0);
        bench.fail_times(3);
        assert_eq!(
            bench.snapshot().remaining,
            Some(Duration::from_secs(60)),
            "closing resets the open time"
        );
    }

    // BRK-10
    #[test]
    fn failures_that_arrive_while_it_is_open_do_not_prolong_it() {
        let mut bench = Bench::new();
        let late = [(); 4].map(|()| bench.admit().unwrap());
        bench.fail_times(3);
        let before = bench.snapshot();
        for ticket in late {
            assert_eq!(bench.fail(ticket), None);
        }
        assert_eq!(bench.snapshot(), before);
    }

    // BRK-11
    #[test]
    fn what_comes_late_of_a_probe_touches_no_later_half_open_phase() {
        let mut bench = Bench::new();
        bench.config = bench.config.with_probes(NonZeroU32::new(2).unwrap());
        bench.fail_times(3);
        bench.wait(60);
        let (first, late) = (bench.admit().unwrap(), bench.admit().unwrap());
        bench.fail(first);
        bench.wait(120);
        bench.admit().unwrap();
        bench.admit().unwrap();
        bench.state.released(late);
        assert_eq!(bench.admit().unwrap_err().reason, Reason::Probing);
        assert_eq!(bench.succeed(late), None);
        assert_eq!(bench.snapshot().state, Phase::HalfOpen);
    }

    // BRK-12
    #[test]
    fn a_commit_leaves_the_count_of_a_closed_one_and_the_end_clears_it() {
        let mut bench = Bench::new();
        bench.fail_times(2);
        let ticket = bench.admit().unwrap();
        let (ticket, _) = bench.state.committed(ticket);
        assert_eq!(bench.snapshot().failures, 2);
        bench.state.ended(ticket);
        assert_eq!(bench.snapshot().failures, 0);
    }

    // BRK-12
    #[test]
    fn a_probe_that_breaks_after_its_commit_counts_one_in_the_closed_breaker() {
        let mut bench = Bench::new();
        bench.fail_times(3);
        bench.wait(60);
        let probe = bench.admit().unwrap();
        let (probe, _) = bench.state.committed(probe);
        assert_eq!(bench.snapshot().state, Phase::Closed);
        bench.fail(probe);
        assert_eq!(bench.snapshot().failures, 1);
    }

    // BRK-14
    #[test]
    fn a_snapshot_shows_everything_and_changes_nothing() {
        let mut bench = Bench::new();
        assert_eq!(bench.snapshot().opened_at, None);
        bench.fail_times(3);
        let opened_at = bench.now;
        bench.wait(20);
        let snapshot = bench.snapshot();
        assert_eq!((snapshot.failures, snapshot.threshold), (3, 3));
        assert_eq!(snapshot.opened_at, Some(opened_at));
        assert_eq!(snapshot.elapsed, Some(Duration::from_secs(20)));
        assert_eq!(snapshot.remaining, Some(Duration::from_secs(40)));
        bench.wait(50);
        assert_eq!(bench.snapshot().state, Phase::HalfOpen);
        let (_, transition) = bench.state.admit(false, bench.now, &bench.config);
        assert_eq!(
            transition,
            Some(Transition::HalfOpened),
            "it was only shown as half-open before"
        );
    }

    // BRK-15
    #[test]
    fn a_reset_closes_it_and_forgets_what_is_under_way() {
        let mut bench = Bench::new();
        let late = bench.admit().unwrap();
        bench.fail_times(3);
        let from = Phase::Open;
        assert_eq!(
            bench.state.reset(),
            (true, Some(Transition::Closed { from }))
        );
        assert_eq!(bench.state.reset(), (false, None));
        bench.fail(late);
        assert_eq!(bench.snapshot().failures, 0);
    }

    // SEL-18
    #[test]
    fn a_last_resort_passes_an_open_one_and_only_its_success_matters() {
        let mut bench = Bench::new();
        bench.fail_times(3);
        bench.wait(10);
        let before = bench.snapshot();
        let (failing, _) = bench.state.admit(true, bench.now, &bench.config);
        let failing = failing.unwrap();
        assert_eq!(failing.pass, Pass::LastResort);
        assert_eq!(bench.fail(failing), None);
        bench.state.released(failing);
        let after = bench.snapshot();
        assert_eq!((after.state, after.failures), (Phase::Open, 3));
        assert_eq!(after.remaining, before.remaining);
        assert_eq!(
            bench.state.last_failure().map(|failure| failure.at),
            Some(bench.now),
            "the next last resort goes elsewhere"
        );

        let (good, _) = bench.state.admit(true, bench.now, &bench.config);
        let closed = Transition::Closed { from: Phase::Open };
        assert_eq!(bench.succeed(good.unwrap()), Some(closed));
        assert_eq!(bench.snapshot().state, Phase::Closed);
    }

    // BRK-07
    #[test]
    fn a_last_resort_gets_no_probe_slot_beyond_the_number() {
        let mut bench = Bench::new();
        bench.fail_times(3);
        bench.wait(60);
        bench.admit().unwrap();
        let (refused, _) = bench.state.admit(true, bench.now, &bench.config);
        assert_eq!(refused.unwrap_err().reason, Reason::Probing);
    }

    #[derive(Clone, Copy, Debug)]
    enum Op {
        Advance(u64),
        Admit { last_resort: bool },
        Commit(prop::sample::Index),
        End(prop::sample::Index),
        Fail(prop::sample::Index),
        Release(prop::sample::Index),
        Reset,
    }

    fn op() -> impl Strategy<Value = Op> {
        let index = any::<prop::sample::Index>;
        prop_oneof![
            2 => (1_u64..100).prop_map(Op::Advance),
            6 => prop::bool::weighted(0.2).prop_map(|last_resort| Op::Admit { last_resort }),
            2 => index().prop_map(Op::Commit),
            1 => index().prop_map(Op::End),
            4 => index().prop_map(Op::Fail),
            1 => index().prop_map(Op::Release),
            1 => Just(Op::Reset),
        ]
    }

    /// The breaker without generations: whenever it changes, it forgets all requests by hand.
    #[derive(Debug, Default)]
    struct Model {
        failures: u32,
        /// Seconds at which it is open no more; `None` while it is closed.
        until: Option<u64>,
        half_open: bool,
        openings: u32,
        /// The requests whose outcome still matters.
        ordinary: Vec<usize>,
        probing: Vec<usize>,
        last_resorts: Vec<usize>,
    }

    impl Model {
        fn forget(&mut self) {
            self.ordinary.clear();
            self.probing.clear();
            self.last_resorts.clear();
        }

        fn open(&mut self, now: u64) {
            self.forget();
            self.openings += 1;
            let open_for = [60, 120, 240, 480].get(self.openings as usize - 1);
            self.until = Some(now + open_for.unwrap_or(&600));
            self.half_open = false;
        }

        fn close(&mut self) {
            self.forget();
            *self = Self {
                ordinary: std::mem::take(&mut self.ordinary),
                ..Self::default()
            };
        }

        fn admit(&mut self, id: usize, last_resort: bool, now: u64, probes: usize) -> bool {
            match self.until {
                None => self.ordinary.push(id),
                Some(_) if self.half_open && self.probing.len() >= probes => return false,
                Some(_) if self.half_open => self.probing.push(id),
                Some(until) if now < until && !last_resort => return false,
                Some(until) if now < until => self.last_resorts.push(id),
                Some(_) => {
                    self.forget();
                    self.half_open = true;
                    self.probing.push(id);
                }
            }
            true
        }

        fn commit(&mut self, id: usize) {
            if self.probing.contains(&id) || self.last_resorts.contains(&id) {
                self.close();
                self.ordinary.push(id);
            }
        }

        fn end(&mut self, id: usize) {
            if self.ordinary.contains(&id) {
                self.failures = 0;
            }
        }

        fn fail(&mut self, id: usize, now: u64, threshold: u32) {
            if self.ordinary.contains(&id) {
                self.failures += 1;
                if self.failures >= threshold {
                    self.open(now);
                }
            } else if self.probing.contains(&id) {
                self.failures += 1;
                self.open(now);
            }
        }

        fn phase(&self, now: u64) -> Phase {
            match self.until {
                None => Phase::Closed,
                Some(until) if !self.half_open && now < until => Phase::Open,
                Some(_) => Phase::HalfOpen,
            }
        }
    }

    proptest! {
        // BRK-07, BRK-10, BRK-11
        #[test]
        fn it_does_what_the_naive_model_does(
            ops in prop::collection::vec(op(), 1..200),
            threshold in 1_u32..4,
            probes in 1_u32..4,
        ) {
            let mut bench = Bench::new();
            let start = bench.now;
            bench.config = bench
                .config
                .with_max_failures(NonZeroU32::new(threshold).unwrap())
                .with_probes(NonZeroU32::new(probes).unwrap());
            let mut model = Model::default();
            let mut tickets: Vec<(usize, Ticket)> = Vec::new();
            let mut next_id = 0;

            for op in ops {
                let now = bench.now.duration_since(start).as_secs();
                match op {
                    Op::Advance(seconds) => bench.wait(seconds),
                    Op::Admit { last_resort } => {
                        let expected = model.admit(next_id, last_resort, now, probes as usize);
                        let looked = bench.state.availability(bench.now, &bench.config);
                        let (admitted, _) =
                            bench.state.admit(last_resort, bench.now, &bench.config);
                        prop_assert_eq!(admitted.is_ok(), expected);
                        if !last_resort {
                            prop_assert_eq!(admitted.is_ok(), looked == Availability::Ready);
                        }
                        match admitted {
                            Ok(ticket) => tickets.push((next_id, ticket)),
                            Err(Refusal { reason: Reason::Open, until }) => {
                                prop_assert!(until.unwrap() > bench.now);
                            }
                            Err(_) => {}
                        }
                        next_id += 1;
                    }
                    Op::Reset => {
                        bench.state.reset();
                        model.close();
                    }
                    Op::Commit(_) | Op::End(_) | Op::Fail(_) | Op::Release(_)
                        if tickets.is_empty() => {}
                    Op::Commit(index) => {
                        let chosen = index.index(tickets.len());
                        let (id, ticket) = &mut tickets[chosen];
                        *ticket = bench.state.committed(*ticket).0;
                        model.commit(*id);
                    }
                    Op::End(index) => {
                        let chosen = index.index(tickets.len());
                        let (id, ticket) = tickets.swap_remove(chosen);
                        let (ticket, _) = bench.state.committed(ticket);
                        bench.state.ended(ticket);
                        model.commit(id);
                        model.end(id);
                    }
                    Op::Fail(index) => {
                        let chosen = index.index(tickets.len());
                        let (id, ticket) = tickets.swap_remove(chosen);
                        bench.fail(ticket);
                        model.fail(id, now, threshold);
                    }
                    Op::Release(index) => {
                        let chosen = index.index(tickets.len());
                        let (id, ticket) = tickets.swap_remove(chosen);
                        bench.state.released(ticket);
                        model.probing.retain(|probing| *probing != id);
                    }
                }
                let snapshot = bench.snapshot();
                let now = bench.now.duration_since(start).as_secs();
                prop_assert_eq!(snapshot.state, model.phase(now));
                prop_assert_eq!(snapshot.failures, model.failures);
                prop_assert!(model.probing.len() <= probes as usize);
            }

            // Whatever happened: with every request over and time enough, it lets one through.
            for (_, ticket) in tickets {
                bench.state.released(ticket);
            }
            bench.wait(600);
            prop_assert!(bench.admit().is_ok());
        }
    }
}
