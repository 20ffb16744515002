//! The place of one endpoint in the queue: pure, without clock, lock or log.

use std::fmt;
use std::sync::Arc;

use http::StatusCode;

use super::check::Check;
use super::config::Config;
use crate::available::{Availability, Reason};
use crate::failure::Kind;
use crate::time::{Duration, Instant, SystemTime};

/// What the queue knows of one endpoint.
#[derive(Debug, Default)]
pub(super) struct State {
    entry: Option<Entry>,
    /// The day of the checks that are counted, and how many there were.
    day: u64,
    spent: u32,
    counts: Counts,
    last: Option<Arc<Check>>,
}

/// A stay in the queue.
#[derive(Clone, Debug)]
struct Entry {
    since: Instant,
    symptoms: Symptoms,
    /// When a check found that it does not really answer.
    invalid: Option<Instant>,
    /// The interval that ends with the next check.
    interval: Duration,
    next: Instant,
    checks: u32,
}

/// What of an endpoint is seen from outside the queue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Symptoms {
    /// The operator does not want it used.
    pub(crate) unwanted: bool,
    /// Its credential was refused, with this status.
    pub(crate) refused: Option<Option<StatusCode>>,
    /// Its breaker is not closed, after a failure of this kind.
    pub(crate) broken: Option<Option<Kind>>,
}

impl Symptoms {
    /// Whether nothing is wrong with it.
    pub(crate) const fn is_well(&self) -> bool {
        self.refused.is_none() && self.broken.is_none()
    }
}

/// Why an endpoint is in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Cause {
    /// Its credential was refused, with this status if there was an answer.
    Refused(Option<StatusCode>),
    /// It answered a check with success, but not with the code.
    Invalid,
    /// Its breaker opened, after a failure of this kind.
    Breaker(Option<Kind>),
}

impl Cause {
    /// The name used in listings and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused(_) => "auth_failed",
            Self::Invalid => "invalid",
            Self::Breaker(_) => "breaker",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refused(Some(status)) => write!(f, "HTTP {}", status.as_u16()),
            Self::Refused(None) => f.write_str("credential refused"),
            Self::Invalid => f.write_str("invalid response (no code)"),
            Self::Breaker(Some(kind)) => write!(f, "breaker opened ({kind})"),
            Self::Breaker(None) => f.write_str("breaker opened"),
        }
    }
}

/// What happened at one endpoint so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counts {
    /// How often it entered the queue.
    pub failed: u64,
    /// How often it was checked, for whatever reason.
    pub verified: u64,
    /// How many of these checks it passed.
    pub valid: u64,
    /// How often a check or the half-open breaker brought it back.
    pub recovered: u64,
    /// How often it was checked as a member and had to stay.
    pub still_failed: u64,
}

/// Something that changed, to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    /// It entered.
    Entered(Cause),
    /// It stays, for another reason than before.
    Stays(Cause),
    /// It left, because of a check.
    Recovered,
    /// It left, because nothing is wrong with it any more.
    Left(Cause),
}

/// A day of UTC, and when it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Today {
    number: u64,
    pub(super) ends: Instant,
}

const DAY: u64 = 24 * 60 * 60;

impl Today {
    /// The day at `date`, which is `now`.
    pub(super) fn at(date: SystemTime, now: Instant) -> Self {
        let since = date.duration_since(SystemTime::UNIX_EPOCH);
        let seconds = since.unwrap_or_default().as_secs();
        Self {
            number: seconds / DAY,
            ends: now + Duration::from_secs(DAY - seconds % DAY),
        }
    }
}

/// The place of an endpoint in the queue at one moment. Reading it changes nothing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Snapshot {
    /// Its stay in the queue, if it is there.
    pub member: Option<Member>,
    /// What happened so far.
    pub counts: Counts,
    /// How many checks were made today, by UTC.
    pub today: u32,
    /// The last check.
    pub last: Option<Arc<Check>>,
}

/// A stay in the queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// Since when.
    pub since: Instant,
    /// Why.
    pub cause: Cause,
    /// When it is checked next; `None` if only when somebody asks for it.
    pub next: Option<Instant>,
    /// How often it was checked in this stay.
    pub checks: u32,
}

impl Entry {
    fn new(symptoms: Symptoms, invalid: Option<Instant>, now: Instant, config: &Config) -> Self {
        let mut entry = Self {
            since: now,
            symptoms,
            invalid,
            interval: config.first,
            next: now,
            checks: 0,
        };
        entry.schedule(now, config);
        entry
    }

    /// The heaviest reason for which it is there.
    fn cause(&self) -> Option<Cause> {
        let Symptoms {
            refused, broken, ..
        } = self.symptoms;
        refused
            .map(Cause::Refused)
            .or_else(|| self.invalid.map(|_| Cause::Invalid))
            .or_else(|| broken.map(Cause::Breaker))
    }

    fn schedule(&mut self, now: Instant, config: &Config) {
        self.next = now
            + match (self.symptoms.refused, config.auth) {
                (Some(_), Some(interval)) => interval,
                _ => self.interval,
            };
    }

    /// When it is to be checked next.
    fn due(&self, config: &Config) -> Option<Instant> {
        let Symptoms {
            unwanted, refused, ..
        } = self.symptoms;
        let left_alone = unwanted || refused.is_some() && config.auth.is_none();
        (!left_alone).then_some(self.next)
    }
}

impl State {
    /// Takes in what is seen of the endpoint: it enters, stays for other reasons, or leaves.
    pub(super) fn observe(
        &mut self,
        symptoms: Symptoms,
        now: Instant,
        config: &Config,
    ) -> Option<Transition> {
        let Some(entry) = &mut self.entry else {
            let entry = Entry::new(symptoms, None, now, config);
            return self.enter(entry);
        };
        let before = entry.cause();
        let was_refused = entry.symptoms.refused.is_some();
        entry.symptoms = symptoms;
        let Some(cause) = entry.cause() else {
            self.entry = None;
            self.counts.recovered += 1;
            return before.map(Transition::Left);
        };
        if was_refused != symptoms.refused.is_some() {
            entry.interval = config.first;
            entry.schedule(now, config);
        }
        let other = before.is_some_and(|before| before.as_str() != cause.as_str());
        other.then_some(Transition::Stays(cause))
    }

    fn enter(&mut self, entry: Entry) -> Option<Transition> {
        let cause = entry.cause()?;
        self.entry = Some(entry);
        self.counts.failed += 1;
        Some(Transition::Entered(cause))
    }

    pub(super) const fn is_member(&self) -> bool {
        self.entry.is_some()
    }

    /// Whether normal traffic is kept away for what a check found. Other causes have gates of
    /// their own; a member that is there for its breaker alone may be tried by the half-open one.
    pub(super) fn is_shut(&self) -> bool {
        let invalid = |entry: &Entry| entry.invalid.is_some();
        self.entry.as_ref().is_some_and(invalid)
    }

    pub(super) fn availability(&self) -> Availability {
        match self.entry.as_ref().and_then(|entry| entry.invalid) {
            None => Availability::Ready,
            failed => Availability::Out {
                reason: Reason::Queued,
                until: None,
                failed,
            },
        }
    }

    /// When it is to be checked next.
    pub(super) fn due(&self, config: &Config) -> Option<Instant> {
        self.entry.as_ref()?.due(config)
    }

    /// Begins a check, if one more is allowed today; else a member waits for tomorrow.
    pub(super) fn begin(&mut self, today: Today, config: &Config) -> bool {
        if self.day != today.number {
            self.day = today.number;
            self.spent = 0;
        }
        if self.spent >= config.daily {
            if let Some(entry) = &mut self.entry {
                entry.next = entry.next.max(today.ends);
            }
            return false;
        }
        self.spent += 1;
        true
    }

    /// A check ended and showed that the endpoint works: a member leaves.
    pub(super) fn recovered(&mut self, check: Arc<Check>) -> Option<Transition> {
        self.counts.verified += 1;
        self.counts.valid += 1;
        self.last = Some(check);
        self.entry.take()?;
        self.counts.recovered += 1;
        Some(Transition::Recovered)
    }

    /// A check ended and did not show that. One that was answered without the code makes a member
    /// of an endpoint that was none; no other does.
    pub(super) fn not_recovered(
        &mut self,
        check: Arc<Check>,
        symptoms: Symptoms,
        now: Instant,
        config: &Config,
    ) -> Option<Transition> {
        let invalid = check.is_invalid_answer();
        self.counts.verified += 1;
        self.last = Some(check);
        let Some(entry) = &mut self.entry else {
            let entry = Entry::new(symptoms, invalid.then_some(now), now, config);
            return self.enter(entry);
        };
        let before = entry.cause();
        entry.symptoms = symptoms;
        if invalid {
            entry.invalid = Some(now);
        }
        entry.checks = entry.checks.saturating_add(1);
        entry.interval = entry.interval.saturating_mul(2).min(config.longest);
        entry.schedule(now, config);
        self.counts.still_failed += 1;
        let cause = entry.cause()?;
        let other = before.is_some_and(|before| before.as_str() != cause.as_str());
        other.then_some(Transition::Stays(cause))
    }

    /// It could not be checked: it waits for as long again.
    pub(super) fn put_off(&mut self, now: Instant, config: &Config) {
        if let Some(entry) = &mut self.entry {
            entry.schedule(now, config);
        }
    }

    /// Somebody says that nothing is wrong with it. Returns whether it was a member.
    pub(super) fn release(&mut self) -> bool {
        self.entry.take().is_some()
    }

    pub(super) fn snapshot(&self, today: Today, config: &Config) -> Snapshot {
        let member = self.entry.as_ref().and_then(|entry| {
            Some(Member {
                since: entry.since,
                cause: entry.cause()?,
                next: entry.due(config),
                checks: entry.checks,
            })
        });
        Snapshot {
            member,
            counts: self.counts,
            today: if self.day == today.number {
                self.spent
            } else {
                0
            },
            last: self.last.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::endpoint::Endpoint;
    use crate::exchange::RequestId;
    use crate::recovery::{Code, Outcome, Validity};
    use crate::time;

    const REFUSED: Symptoms = Symptoms {
        unwanted: false,
        refused: Some(Some(StatusCode::UNAUTHORIZED)),
        broken: None,
    };
    const BROKEN: Symptoms = Symptoms {
        unwanted: false,
        refused: None,
        broken: Some(Some(Kind::Overloaded)),
    };
    const WELL: Symptoms = Symptoms {
        unwanted: false,
        refused: None,
        broken: None,
    };

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    /// The state of one endpoint with its clock.
    struct Bench {
        state: State,
        now: Instant,
        date: u64,
        config: Config,
    }

    impl Bench {
        fn new() -> Self {
            Self {
                state: State::default(),
                now: time::now(),
                date: 10 * DAY,
                config: Config::default(),
            }
        }

        fn wait(&mut self, time: Duration) {
            self.now += time;
            self.date += time.as_secs();
        }

        fn today(&self) -> Today {
            Today::at(SystemTime::UNIX_EPOCH + seconds(self.date), self.now)
        }

        fn observe(&mut self, symptoms: Symptoms) -> Option<Transition> {
            self.state.observe(symptoms, self.now, &self.config)
        }

        fn fail(&mut self, validity: Validity, symptoms: Symptoms) -> Option<Transition> {
            let check = check(Outcome::Answered, validity);
            self.state
                .not_recovered(check, symptoms, self.now, &self.config)
        }

        /// How long until the next check.
        fn due(&self) -> Option<u64> {
            let due = self.state.due(&self.config)?;
            Some(due.saturating_duration_since(self.now).as_secs())
        }
    }

    fn check(outcome: Outcome, validity: Validity) -> Arc<Check> {
        let base = "https://one.example".parse().unwrap();
        Arc::new(Check {
            endpoint: Arc::new(Endpoint::new("one", base)),
            id: RequestId::random(),
            time: SystemTime::UNIX_EPOCH,
            message: String::new(),
            code: Code::new("ABC123"),
            outcome,
            status: None,
            latency: Duration::ZERO,
            content: String::new(),
            validity,
            score: 0,
            error: None,
        })
    }

    // REC-01, REC-03
    #[test]
    fn a_refused_credential_an_open_breaker_and_an_invalid_answer_each_make_a_member_once() {
        for (symptoms, text) in [
            (REFUSED, "HTTP 401"),
            (BROKEN, "breaker opened (overloaded)"),
        ] {
            let mut bench = Bench::new();
            assert_eq!(bench.observe(WELL), None);
            let Some(Transition::Entered(cause)) = bench.observe(symptoms) else {
                panic!("{text}");
            };
            assert_eq!(cause.to_string(), text);
            assert_eq!(bench.observe(symptoms), None);
            assert_eq!(bench.state.counts.failed, 1);
        }
        let mut bench = Bench::new();
        let entered = Some(Transition::Entered(Cause::Invalid));
        assert_eq!(bench.fail(Validity::Invalid, WELL), entered);
        assert_eq!(bench.fail(Validity::Invalid, WELL), None);
        assert_eq!(Cause::Invalid.to_string(), "invalid response (no code)");
    }

    // REC-01, PRB-13
    #[test]
    fn a_check_that_tells_nothing_makes_no_member() {
        let mut bench = Bench::new();
        assert_eq!(bench.fail(Validity::Inconclusive, WELL), None);
        for outcome in [Outcome::Timeout, Outcome::RateLimited, Outcome::Failed] {
            let check = check(outcome, Validity::Invalid);
            let (now, config) = (bench.now, bench.config);
            assert_eq!(bench.state.not_recovered(check, WELL, now, &config), None);
        }
        assert!(!bench.state.is_member());
    }

    // REC-05
    #[test]
    fn intervals_begin_with_a_minute_and_double_up_to_ten() {
        let mut bench = Bench::new();
        bench.observe(BROKEN);
        let mut intervals = Vec::new();
        for _ in 0..6 {
            let due = bench.due().unwrap();
            intervals.push(due);
            bench.wait(seconds(due));
            bench.fail(Validity::Inconclusive, BROKEN);
        }
        assert_eq!(intervals, [60, 120, 240, 480, 600, 600]);
    }

    // REC-06
    #[test]
    fn refused_credentials_are_checked_every_half_hour_or_not_at_all() {
        let mut bench = Bench::new();
        bench.observe(REFUSED);
        for _ in 0..3 {
            assert_eq!(bench.due(), Some(1_800));
            bench.wait(seconds(1_800));
            bench.fail(Validity::Invalid, REFUSED);
        }
        bench.config = bench.config.with_auth_interval(None).unwrap();
        assert_eq!(bench.due(), None);
        // The credential is taken for good again; that the answer is not, is known from before.
        bench.observe(WELL);
        assert_eq!(bench.due(), Some(60));
    }

    // REC-04
    #[test]
    fn the_gate_is_shut_for_what_a_check_found_and_for_nothing_else() {
        let mut bench = Bench::new();
        for symptoms in [BROKEN, REFUSED] {
            bench.observe(symptoms);
            assert!(bench.state.is_member() && !bench.state.is_shut());
            assert_eq!(bench.state.availability(), Availability::Ready);
        }
        bench.observe(BROKEN);
        let stays = Some(Transition::Stays(Cause::Invalid));
        assert_eq!(bench.fail(Validity::Invalid, BROKEN), stays);
        assert!(bench.state.is_shut());
        // Closed by hand, its breaker is no reason to leave any more.
        assert_eq!(bench.observe(WELL), None);
        assert!(matches!(
            bench.state.availability(),
            Availability::Out { reason: Reason::Queued, failed: Some(at), .. } if at == bench.now
        ));
    }

    // REC-04, REC-07, REC-12
    #[test]
    fn it_leaves_with_a_valid_check_or_when_nothing_is_wrong_any_more() {
        let mut bench = Bench::new();
        bench.observe(BROKEN);
        let left = Transition::Left(Cause::Breaker(Some(Kind::Overloaded)));
        assert_eq!(bench.observe(WELL), Some(left));
        bench.fail(Validity::Invalid, WELL);
        bench.fail(Validity::Invalid, WELL);
        let valid = check(Outcome::Answered, Validity::Valid);
        let recovered = bench.state.recovered(valid.clone());
        assert_eq!(recovered, Some(Transition::Recovered));
        assert!(!bench.state.is_shut());
        assert_eq!(bench.state.recovered(valid), None, "it was no member");
        let counts = bench.state.snapshot(bench.today(), &bench.config).counts;
        let expected = Counts {
            failed: 2,
            verified: 4,
            valid: 2,
            recovered: 2,
            still_failed: 1,
        };
        assert_eq!(counts, expected);
    }

    // REC-05
    #[test]
    fn a_budget_that_is_spent_is_there_again_with_the_next_day() {
        let mut bench = Bench::new();
        bench.config = bench.config.with_daily_budget(2);
        bench.wait(seconds(DAY - 3_600));
        bench.observe(BROKEN);
        let begin = |bench: &mut Bench| bench.state.begin(bench.today(), &bench.config);
        assert!(begin(&mut bench) && begin(&mut bench));
        assert!(!begin(&mut bench));
        assert_eq!(bench.due(), Some(3_600), "it waits for tomorrow");
        bench.wait(seconds(3_599));
        assert!(!begin(&mut bench));
        bench.wait(seconds(1));
        assert!(begin(&mut bench));
        assert_eq!(bench.state.snapshot(bench.today(), &bench.config).today, 1);
    }

    // PRB-21
    #[test]
    fn a_member_that_is_switched_off_is_not_checked() {
        let mut bench = Bench::new();
        bench.observe(BROKEN);
        bench.observe(Symptoms {
            unwanted: true,
            ..BROKEN
        });
        assert_eq!(bench.due(), None);
        bench.observe(BROKEN);
        assert_eq!(bench.due(), Some(60));
    }
}
