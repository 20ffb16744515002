//! What is known of one credential: pure.

use std::sync::Arc;

use smallvec::SmallVec;

use super::config::Config;
use super::state::{TokenState, Transition, Trouble};
use crate::failure::{Kind, Verdict};
use crate::time::{Duration, Instant};

/// How long a credential rests after a rate limit that does not say how long (Table 1).
const RATE_LIMIT_REST: Duration = Duration::from_secs(30);

/// How long a credential rests after a quota that does not say how long (Table 1).
const QUOTA_REST: Duration = Duration::from_secs(60 * 60);

/// How long nobody tries again after a refresh that failed.
const REFRESH_REST: Duration = Duration::from_secs(5);

/// At most so many families of models are limited on their own; the earliest to end goes first.
const FAMILIES: usize = 8;

#[derive(Clone, Debug, Default)]
pub(super) struct Slot {
    cooling: Option<Instant>,
    /// Limits of one family of models each.
    families: SmallVec<[(&'static str, Instant); 1]>,
    inactive: Option<Instant>,
    refused: Option<Instant>,
    /// Until when no refresh is tried.
    unrefreshed: Option<Instant>,
    failures: u32,
    last_failure: Option<Instant>,
    last_use: Option<Instant>,
    trouble: Trouble,
    /// Refreshes that gave a credential, and those that did not.
    refreshes: (u64, u64),
}

impl Slot {
    pub(super) fn is_notable(&self) -> bool {
        self.cooling.is_some()
            || self.inactive.is_some()
            || self.refused.is_some()
            || self.failures > 0
            || !self.families.is_empty()
    }

    pub(super) fn is_usable(&self, model: Option<&str>, now: Instant) -> bool {
        self.state(model, now) == TokenState::Active
    }

    pub(super) const fn is_refused(&self) -> bool {
        self.refused.is_some()
    }

    pub(super) const fn refused_since(&self) -> Option<Instant> {
        self.refused
    }

    /// Whether it waits for more than the end of a limit.
    pub(super) const fn is_idle(&self) -> bool {
        self.refused.is_some() || self.inactive.is_some()
    }

    /// The state of the credential for requests of `model`; without one, for those that are
    /// limited the least.
    pub(super) fn state(&self, model: Option<&str>, now: Instant) -> TokenState {
        if let Some(since) = self.refused {
            return TokenState::Refused { since };
        }
        let ahead = |until: &Instant| now < *until;
        let inactive = self.inactive.filter(ahead);
        let family = model.and_then(|model| self.limit_of(model)).filter(ahead);
        let cooling = self.cooling.filter(ahead).max(family);
        match (inactive, cooling) {
            (Some(until), cooling) if cooling.is_none_or(|cooling| cooling <= until) => {
                TokenState::Inactive { until }
            }
            (_, Some(until)) => TokenState::Cooling { until },
            (_, None) => TokenState::Active,
        }
    }

    fn limit_of(&self, model: &str) -> Option<Instant> {
        let limits = self.families.iter();
        let of_model = limits.filter(|(family, _)| is_of_family(model, family));
        of_model.map(|(_, until)| *until).max()
    }

    /// The families of models that are limited on their own.
    pub(super) fn families(&self, now: Instant) -> impl Iterator<Item = (&'static str, Instant)> {
        let limits = self.families.iter().copied();
        limits.filter(move |(_, until)| now < *until)
    }

    pub(super) const fn failures(&self) -> u32 {
        self.failures
    }

    pub(super) const fn last_use(&self) -> Option<Instant> {
        self.last_use
    }

    pub(super) const fn trouble(&self) -> Option<&Arc<str>> {
        self.trouble.as_ref()
    }

    pub(super) fn may_refresh(&self, now: Instant) -> bool {
        self.unrefreshed.is_none_or(|until| until <= now)
    }

    pub(super) fn used(&mut self, now: Instant) {
        self.cooling = None;
        self.inactive = None;
        if !self.families.is_empty() {
            self.families.retain(|(_, until)| now < *until);
        }
        self.last_use = Some(now);
    }

    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
        self.trouble = None;
    }

    /// How many refreshes gave a credential, and how many did not.
    pub(super) const fn refreshes(&self) -> (u64, u64) {
        self.refreshes
    }

    pub(super) fn refresh_failed(&mut self) {
        self.refreshes.1 += 1;
    }

    pub(super) fn refreshed(&mut self) {
        self.refreshes.0 += 1;
        self.unrefreshed = None;
        self.trouble = None;
    }

    pub(super) fn refused(&mut self, trouble: Trouble, now: Instant) -> Option<Transition> {
        if self.refused.is_some() {
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.refused = Some(now);
        self.trouble = trouble;
        Some(Transition::Refused)
    }

    /// A send that began at `began` met a limit.
    pub(super) fn limited(
        &mut self,
        verdict: &Verdict,
        began: Instant,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        if self.refused.is_some() {
            return None;
        }
        let rest = match verdict.kind {
            Kind::Quota => QUOTA_REST,
            _ => RATE_LIMIT_REST,
        };
        let until = verdict.until.unwrap_or(now + rest);
        // Sends that were under way together met one limit.
        let counted = self.last_failure.is_none_or(|last| last < began);
        if counted {
            self.failures = self.failures.saturating_add(1);
            self.last_failure = Some(now);
        }
        if until <= now {
            return None;
        }
        if let Some(family) = verdict.family {
            return self.limit_family(family, until);
        }
        let longer = self.cooling.is_none_or(|known| known < until);
        if longer {
            self.cooling = Some(until);
        }
        if counted && let Some(inactive) = self.give_up(config, now) {
            return Some(Transition::Inactive(inactive));
        }
        longer.then_some(Transition::Cooling(until))
    }

    fn limit_family(&mut self, family: &'static str, until: Instant) -> Option<Transition> {
        match self.families.iter_mut().find(|(known, _)| *known == family) {
            Some((_, known)) if *known >= until => return None,
            Some((_, known)) => *known = until,
            None => {
                if self.families.len() == FAMILIES {
                    let limits = self.families.iter().enumerate();
                    let earliest = limits.min_by_key(|(_, (_, until))| *until);
                    if let Some(index) = earliest.map(|(index, _)| index) {
                        self.families.swap_remove(index);
                    }
                }
                self.families.push((family, until));
            }
        }
        Some(Transition::Cooling(until))
    }

    /// A refresh failed, but may work later.
    pub(super) fn not_refreshed(
        &mut self,
        trouble: Arc<str>,
        held: bool,
        config: &Config,
        now: Instant,
    ) -> Option<Transition> {
        let until = now + REFRESH_REST;
        self.unrefreshed = Some(until);
        self.trouble = Some(trouble);
        if held {
            // The credential that is there serves on.
            return None;
        }
        self.failures = self.failures.saturating_add(1);
        self.last_failure = Some(now);
        self.cooling = self.cooling.max(Some(until));
        let inactive = self.give_up(config, now);
        Some(inactive.map_or(Transition::Cooling(until), Transition::Inactive))
    }

    fn give_up(&mut self, config: &Config, now: Instant) -> Option<Instant> {
        let most = config.max_failures?.get();
        (self.failures >= most).then(|| {
            let until = now + config.inactive_for;
            self.inactive = Some(until);
            until
        })
    }

    pub(super) fn recover(&mut self) {
        self.refused = None;
        self.inactive = None;
        self.unrefreshed = None;
        self.failures = 0;
        self.trouble = None;
    }

    /// Forgets limits and inactivity that are over. Returns whether there were any.
    pub(super) fn sweep(&mut self, now: Instant) -> bool {
        let over = |until: &mut Instant| *until <= now;
        let families = self.families.len();
        self.families.retain(|(_, until)| now < *until);
        let limited = self.cooling.take_if(over).is_some();
        let inactive = self.inactive.take_if(over).is_some();
        limited || inactive || self.families.len() < families
    }

    pub(super) fn clear_limits(&mut self, now: Instant) -> bool {
        let families = self.families.drain(..);
        let limits = families.map(|(_, until)| until).chain(self.cooling.take());
        limits.filter(|until| now < *until).count() > 0
    }
}

/// Whether `model` is one of `family`: has it as one of the words of its name.
fn is_of_family(model: &str, family: &str) -> bool {
    model
        .split(|c: char| !c.is_ascii_alphanumeric())
        .any(|word| word.eq_ignore_ascii_case(family))
}
