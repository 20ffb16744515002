//! The record of one endpoint: pure, without clock, lock or log.
//!
//! An *epoch* begins when the credential is refused and when somebody takes that back. A visit
//! carries the epoch in which it began. What it finds out about the credential is believed only
//! if the epoch is still the same, so that neither an old success nor an old refusal undoes
//! what was learnt or decided since.

use std::sync::Arc;

use http::StatusCode;

use super::marks::{Marks, SKIPPED_FOR};
use super::snapshot::{AuthFailure, LastFailure, Snapshot, Status, Unavailable};
use crate::available::{Availability, Reason};
use crate::endpoint::{MarkOn, Marking};
use crate::exchange::RequestId;
use crate::failure::{Blame, Kind, Verdict};
use crate::standing::{Refusal, Standing};
use crate::time::{Duration, Instant, SystemTime};

/// What the record of one endpoint holds.
#[derive(Debug)]
pub(super) struct State {
    /// What the operator wants.
    wanted: bool,
    /// What the configuration says of that.
    configured: bool,
    auth_failure: Option<AuthFailure>,
    /// Never [`Status::Degraded`], which is a matter of time.
    status: Status,
    epoch: u64,
    cooling: Option<Instant>,
    unavailable: Option<Unavailable>,
    degraded: Option<Instant>,
    total: u64,
    failed: u64,
    /// How many calls have a response time, and the sum of these.
    timed: u64,
    time: Duration,
    last_failure: Option<LastFailure>,
    marks: Marks,
}

/// A call that came to its end.
#[derive(Clone, Copy, Debug)]
pub(super) struct Ended<'a> {
    /// The epoch in which it began.
    pub(super) epoch: u64,
    pub(super) now: Instant,
    /// How long its answer took; `None` without one.
    pub(super) time: Option<Duration>,
    pub(super) request: &'a RequestId,
    pub(super) model: Option<&'a Arc<str>>,
}

/// A failure, as a call met it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Failure {
    pub(super) verdict: Verdict,
    pub(super) status: Option<StatusCode>,
    /// Whether the answer was committed before it broke.
    pub(super) committed: bool,
}

/// Something that changed, to be logged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Transition {
    AuthFailed,
    Cooling(Instant),
    ModelSkipped(Instant),
}

/// What ended by itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Over {
    pub(super) cooling: bool,
    pub(super) degraded: bool,
    pub(super) mark: bool,
}

impl Over {
    pub(super) const fn any(self) -> bool {
        self.cooling || self.degraded || self.mark
    }
}

impl State {
    pub(super) fn new(configured: bool) -> Self {
        Self {
            wanted: configured,
            configured,
            auth_failure: None,
            status: Status::Unknown,
            epoch: 0,
            cooling: None,
            unavailable: None,
            degraded: None,
            total: 0,
            failed: 0,
            timed: 0,
            time: Duration::ZERO,
            last_failure: None,
            marks: Marks::default(),
        }
    }

    /// The state of an endpoint of which this was kept, at `now`, which is `date`. `configured`
    /// is what its configuration says today.
    pub(super) fn restored(
        standing: &Standing,
        configured: bool,
        now: Instant,
        date: SystemTime,
    ) -> Self {
        let mut state = Self::new(configured);
        if standing.configured == configured {
            state.wanted = standing.wanted;
        }
        if let Some(refusal) = &standing.refused {
            let age = date.duration_since(refusal.since).unwrap_or_default();
            // A monotonic clock may have begun later than the refusal.
            let since = now.checked_sub(age).unwrap_or(now);
            state.status = Status::Unhealthy;
            state.auth_failure = Some(AuthFailure {
                since,
                status: refusal.status,
                request: refusal.request.clone(),
            });
            state.last_failure = Some(LastFailure {
                kind: Kind::Auth,
                status: refusal.status,
                at: since,
                request: refusal.request.clone(),
            });
        }
        state
    }

    /// What has to survive a restart.
    pub(super) fn standing(&self, now: Instant, date: SystemTime) -> Standing {
        let standing = Standing::new(self.wanted, self.configured);
        match &self.auth_failure {
            None => standing,
            Some(failure) => {
                let age = now.saturating_duration_since(failure.since);
                let since = date.checked_sub(age).unwrap_or(date);
                let request = failure.request.clone();
                standing.with_refusal(Refusal::new(since, failure.status, request))
            }
        }
    }

    /// Changes whenever [`standing`](Self::standing) does.
    pub(super) const fn switches(&self) -> (bool, bool, u64) {
        (self.wanted, self.configured, self.epoch)
    }

    pub(super) const fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Whether there is anything that could keep a request away, perhaps only in the past.
    pub(super) fn is_notable(&self) -> bool {
        !self.wanted
            || self.auth_failure.is_some()
            || self.cooling.is_some()
            || self.unavailable.is_some()
            || self.degraded.is_some()
            || self.marks.any()
    }

    pub(super) fn availability(&self, model: Option<&str>, now: Instant) -> Availability {
        let running = |until: &Instant| now < *until;
        if !self.wanted {
            return Availability::out(Reason::Disabled, None);
        }
        if self.auth_failure.is_some() {
            return Availability::out(Reason::AuthFailed, None);
        }
        if let Some(mark) = &self.unavailable
            && running(&mark.until)
        {
            return Availability::out(Reason::Marked, Some(mark.until));
        }
        if let Some(until) = self.cooling.filter(running) {
            return Availability::out(Reason::Cooling, Some(until));
        }
        if let Some(until) = model.and_then(|model| self.marks.until(model, now)) {
            return Availability::out(Reason::Model, Some(until));
        }
        if self.degraded.is_some_and(|until| running(&until)) {
            return Availability::Degraded;
        }
        Availability::Ready
    }

    /// A call ended well. `good` tells whether its status was one of success.
    pub(super) fn succeeded(&mut self, ended: Ended<'_>, good: bool) {
        self.count(ended);
        if good && ended.epoch == self.epoch && self.auth_failure.is_none() {
            self.status = Status::Healthy;
            self.degraded = None;
        }
    }

    /// A call failed.
    pub(super) fn failed(&mut self, ended: Ended<'_>, failure: Failure) -> Option<Transition> {
        let Failure {
            verdict,
            status,
            committed,
        } = failure;
        self.count(ended);
        if verdict.blame == Blame::Caller {
            return None;
        }
        self.failed += 1;
        self.last_failure = Some(LastFailure {
            kind: verdict.kind,
            status,
            at: ended.now,
            request: ended.request.clone(),
        });
        match (verdict.kind, verdict.blame) {
            // Inside a committed answer the kind is only the endpoint's word for it: no pool
            // below has said whether another credential is left.
            (Kind::Auth, Blame::Credential) if !committed => self.auth_failed(ended, status),
            (Kind::NotFound, Blame::Endpoint) => {
                let until = verdict.until.unwrap_or(ended.now + SKIPPED_FOR);
                let new = self.marks.skip(ended.model?, until, ended.now);
                new.then_some(Transition::ModelSkipped(until))
            }
            (_, Blame::Endpoint) => self.cool(verdict.until?, ended.now),
            _ => None,
        }
    }

    fn auth_failed(&mut self, ended: Ended<'_>, status: Option<StatusCode>) -> Option<Transition> {
        if ended.epoch != self.epoch || self.auth_failure.is_some() {
            return None;
        }
        self.refuse(AuthFailure {
            since: ended.now,
            status,
            request: ended.request.clone(),
        });
        Some(Transition::AuthFailed)
    }

    fn cool(&mut self, until: Instant, now: Instant) -> Option<Transition> {
        if until <= now || self.cooling.is_some_and(|known| known >= until) {
            return None;
        }
        self.cooling = Some(until);
        Some(Transition::Cooling(until))
    }

    fn count(&mut self, ended: Ended<'_>) {
        self.total += 1;
        if let Some(time) = ended.time {
            self.timed += 1;
            self.time = self.time.saturating_add(time);
        }
    }

    /// Another endpoint answered what this one had called invalid.
    pub(super) fn overruled(&mut self, model: &Arc<str>, now: Instant) -> Option<Transition> {
        let skipped = self.marks.overruled(model, now);
        skipped.then(|| Transition::ModelSkipped(now + SKIPPED_FOR))
    }

    /// The operator wants it used. Returns whether it was not.
    pub(super) fn enable(&mut self) -> bool {
        let was_off = !self.wanted;
        self.wanted = true;
        let was_refused = self.verified();
        if was_off && !was_refused {
            self.epoch += 1;
        }
        was_off || was_refused
    }

    /// The configuration says this now. Returns whether it said something else before.
    pub(super) const fn configure(&mut self, configured: bool) -> bool {
        std::mem::replace(&mut self.configured, configured) != configured
    }

    /// The operator does not want it used. Returns whether it was.
    pub(super) const fn disable(&mut self) -> bool {
        std::mem::replace(&mut self.wanted, false)
    }

    /// A check that began in `epoch` showed that the endpoint works. Returns whether its credential
    /// was refused before.
    pub(super) fn checked_good(&mut self, epoch: u64) -> bool {
        if epoch != self.epoch {
            return false;
        }
        let was_refused = self.verified();
        self.status = Status::Healthy;
        self.degraded = None;
        was_refused
    }

    /// A check that began in `epoch` met a refusal of the last usable credential. It is no call.
    pub(super) fn checked_refused(&mut self, epoch: u64, refusal: AuthFailure) -> bool {
        if epoch != self.epoch || self.auth_failure.is_some() {
            return false;
        }
        self.refuse(refusal);
        true
    }

    fn refuse(&mut self, refusal: AuthFailure) {
        self.epoch += 1;
        self.status = Status::Unhealthy;
        self.auth_failure = Some(refusal);
    }

    pub(super) const fn is_wanted(&self) -> bool {
        self.wanted
    }

    pub(super) const fn refusal(&self) -> Option<&AuthFailure> {
        self.auth_failure.as_ref()
    }

    /// The credential is known to be good. Returns whether it was refused before.
    pub(super) fn verified(&mut self) -> bool {
        let was_refused = self.auth_failure.take().is_some();
        if was_refused {
            self.epoch += 1;
            self.status = Status::Unknown;
        }
        was_refused
    }

    /// Not to be used until `until`. Returns whether it was not marked before.
    pub(super) fn mark(&mut self, reason: Arc<str>, until: Instant, now: Instant) -> bool {
        let before = self.unavailable.replace(Unavailable { reason, until });
        before.is_none_or(|mark| mark.until <= now)
    }

    /// Marks it if `rule` names `failure`, unless it is marked for as long or longer already. What
    /// a credential is to blame for inside a committed answer does not count: no pool below has
    /// said whether another one is left. Returns until when, if it was not marked before.
    pub(super) fn mark_on(
        &mut self,
        failure: Failure,
        rule: &MarkOn,
        now: Instant,
    ) -> Option<Instant> {
        let Failure {
            verdict,
            status,
            committed,
        } = failure;
        let counts = match verdict.blame {
            Blame::Caller => false,
            Blame::Credential => !committed,
            Blame::Endpoint => true,
        };
        let marking = rule.find(verdict.kind, status).filter(|_| counts)?;
        let until = end_of_mark(now, rule.ttl());
        if self.unavailable.as_ref().is_some_and(|m| m.until >= until) {
            return None;
        }
        let reason = match marking {
            Marking::Status(status) => format!("answered {}", status.as_u16()).into(),
            Marking::Kind(kind) => kind.as_str().into(),
        };
        self.mark(reason, until, now).then_some(until)
    }

    /// To be used again. Returns whether it was marked.
    pub(super) fn unmark(&mut self, now: Instant) -> bool {
        let before = self.unavailable.take();
        before.is_some_and(|mark| mark.until > now)
    }

    /// Ends what a limit of the endpoint causes. Returns whether there was any.
    pub(super) fn clear_limits(&mut self, now: Instant) -> bool {
        let running = |until: &Instant| now < *until;
        let cooling = self.cooling.take().is_some_and(|until| running(&until));
        let degraded = self.degraded.take().is_some_and(|until| running(&until));
        cooling | degraded
    }

    /// To be used only if nothing better is left, until `until` or a success.
    pub(super) fn degrade(&mut self, until: Instant) {
        self.degraded = self.degraded.max(Some(until));
    }

    /// Forgets what has passed, and tells what kept requests away until then.
    pub(super) fn purge(&mut self, now: Instant) -> Over {
        let over = |until: &Instant| *until <= now;
        self.marks.purge(now);
        Over {
            cooling: self.cooling.take_if(|until| over(until)).is_some(),
            degraded: self.degraded.take_if(|until| over(until)).is_some(),
            mark: self.unavailable.take_if(|mark| over(&mark.until)).is_some(),
        }
    }

    pub(super) fn snapshot(&self, now: Instant) -> Snapshot {
        let running = |until: &Instant| now < *until;
        let degraded = self.degraded.is_some_and(|until| running(&until));
        let status = match self.status {
            Status::Unknown | Status::Healthy if degraded => Status::Degraded,
            status => status,
        };
        let mut models: Vec<_> = self
            .marks
            .iter(now)
            .map(|(model, until)| (model.clone(), until))
            .collect();
        models.sort_unstable();
        Snapshot {
            enabled: self.wanted && self.auth_failure.is_none(),
            wanted: self.wanted,
            auth_failure: self.auth_failure.clone(),
            status,
            cooling: self.cooling.filter(running),
            unavailable: self.unavailable.clone().filter(|mark| running(&mark.until)),
            total: self.total,
            failed: self.failed,
            response_time: (self.timed > 0).then(|| self.time.div_f64(self.timed as f64)),
            last_failure: self.last_failure.clone(),
            models,
        }
    }
}

/// A mark that is to last longer lasts so long.
const LONGEST_MARK: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// When a mark for `time` ends.
pub(super) fn end_of_mark(now: Instant, time: Duration) -> Instant {
    // Beyond the range of the clock: for as long as the process lives.
    now.checked_add(time).unwrap_or(now + LONGEST_MARK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time;

    // ACC-07, SEL-17
    #[test]
    fn a_mark_keeps_requests_away_until_its_time_or_until_it_is_taken_back() {
        let mut state = State::new(true);
        let now = time::now();
        let later = now + Duration::from_secs(300);
        assert!(state.mark("maintenance".into(), later, now));
        assert!(!state.mark("maintenance".into(), later, now));
        let out = Availability::out(Reason::Marked, Some(later));
        assert_eq!(state.availability(None, now), out);
        assert_eq!(
            &*state.snapshot(now).unavailable.unwrap().reason,
            "maintenance"
        );
        assert_eq!(state.availability(None, later), Availability::Ready);
        assert_eq!(state.snapshot(later).unavailable, None);
        assert!(!state.unmark(later), "it had ended");

        state.mark("again".into(), later, now);
        assert!(state.unmark(now));
        assert_eq!(state.availability(None, now), Availability::Ready);
        assert!(!state.is_notable());
    }

    // ACC-06
    #[test]
    fn what_has_ended_is_forgotten_once_and_what_runs_is_not() {
        let mut state = State::new(true);
        let now = time::now();
        let later = now + Duration::from_secs(60);
        state.cool(later, now);
        state.mark("maintenance".into(), later + Duration::from_secs(1), now);
        assert_eq!(state.purge(now), Over::default());
        let over = state.purge(later);
        assert!(over.cooling && !over.mark);
        assert!(state.purge(later + Duration::from_secs(1)).mark);
        assert!(!state.is_notable());
        assert!(!state.purge(later + Duration::from_secs(1)).any());
    }

    // CLI-16
    #[test]
    fn a_limit_that_is_cleared_keeps_nobody_away() {
        let mut state = State::new(true);
        let now = time::now();
        assert!(!state.clear_limits(now));
        state.cool(now + Duration::from_secs(60), now);
        state.degrade(now + Duration::from_secs(60));
        assert!(state.clear_limits(now));
        assert_eq!(state.availability(None, now), Availability::Ready);
    }

    // SEL-16
    #[test]
    fn a_degraded_one_is_second_tier_until_its_time_or_a_success() {
        let now = time::now();
        let until = now + Duration::from_secs(60);
        let request = RequestId::random();
        let mut state = State::new(true);
        state.degrade(until);
        assert_eq!(state.availability(None, now), Availability::Degraded);
        assert_eq!(state.snapshot(now).status, Status::Degraded);
        assert!(state.snapshot(now).enabled, "it never disables");
        assert_eq!(state.availability(None, until), Availability::Ready);
        let ended = Ended {
            epoch: state.epoch(),
            now,
            time: None,
            request: &request,
            model: None,
        };
        state.succeeded(ended, true);
        assert_eq!(state.availability(None, now), Availability::Ready);
        assert!(!state.is_notable());
    }
}
