//! What a check of an endpoint changes, and what the queue sees of it.

use std::sync::Arc;

use super::handle::EndpointState;
use crate::balance::Checked;
use crate::breaker::Mark;
use crate::failure::{Blame, Kind, Verdict};
use crate::health::Epoch;
use crate::recovery::{Check, Outcome, Symptoms};
use crate::time::{self, Duration, Instant};
use crate::token::Loan;

/// After a check met a rate limit the endpoint is second choice for so long.
const DEGRADED_FOR: Duration = Duration::from_secs(60);

/// What is known when a check begins. What happens after that is not undone by it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Began {
    pub(super) at: Instant,
    health: Epoch,
    breaker: Mark,
}

impl EndpointState {
    pub(super) fn symptoms(&self) -> Symptoms {
        Symptoms {
            unwanted: !self.health.is_wanted(),
            refused: self.health.refusal(),
            broken: self.breaker.broken(),
        }
    }

    /// Lets the queue see the endpoint as it is.
    pub(super) fn observe(&self, now: Instant) {
        if self.recovery.observe(self.symptoms(), now) {
            self.load.recovered(now);
        }
    }

    pub(super) fn begin_check(&self, now: Instant) -> Began {
        Began {
            at: now,
            health: self.health.epoch(),
            breaker: self.breaker.mark(),
        }
    }

    /// A check showed that the endpoint works. The gates open in this order, so that no request sees
    /// it half recovered: it can be used once the last one is open.
    pub(super) fn verified(&self, began: Began, loan: &Loan, check: Arc<Check>) {
        self.load.checked(Checked::Passed(check.latency));
        self.tokens.verified(loan);
        self.health.verified(began.health);
        let was_member = self.recovery.recovered(check);
        if was_member || self.breaker.broken().is_some() {
            self.load.recovered(time::now());
            self.breaker.verified(began.breaker);
        }
        // It may have failed since the check began.
        self.observe(time::now());
    }

    /// A check did not show that.
    pub(super) fn not_verified(
        &self,
        began: Began,
        loan: &Loan,
        verdict: Option<Verdict>,
        check: Arc<Check>,
    ) {
        let refusal = verdict
            .filter(|verdict| verdict.kind == Kind::Auth && verdict.blame == Blame::Credential);
        if let Some(refusal) = refusal
            && self.tokens.refused(loan, refusal)
        {
            self.health.refused(began.health, check.status, &check.id);
        }
        let now = time::now();
        self.load.checked(match check.outcome {
            Outcome::RateLimited => Checked::RateLimited,
            _ => Checked::Failed,
        });
        if check.outcome == Outcome::RateLimited {
            self.health.degrade(now + DEGRADED_FOR);
        }
        self.recovery.not_recovered(check, self.symptoms(), now);
    }
}
