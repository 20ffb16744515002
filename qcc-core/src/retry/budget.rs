//! The retry budget that all requests of a cluster share.
//!
//! Without it a failing upstream multiplies its own load by the number of attempts. With it
//! retries are at most a share of the requests of the last ten seconds, above a floor that lets
//! a quiet cluster retry at all.

use std::fmt;
use std::sync::Arc;

use tower::retry::budget::{Budget as _, TpsBudget};

use crate::time::Duration;

/// How long a request pays for retries: the value of Finagle and of tower's default.
const WINDOW: Duration = Duration::from_secs(10);

/// A share of requests that may be repeated. A clone shares the budget.
#[derive(Clone)]
pub struct Budget(Option<Arc<TpsBudget>>);

/// A share that is no share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "a retry budget is a share from 0 to 10 (0 % to 1000 %) with a floor of at most 1,000,000 retries a second"
)]
pub struct InvalidBudget(());

impl Budget {
    /// So many retries a second are always allowed, by default: 10, as in Finagle and tower.
    pub const DEFAULT_FLOOR: u32 = 10;

    /// Retries for `share` of the requests (0.2 for 20 %), and at least `floor` a second.
    ///
    /// # Errors
    ///
    /// [`InvalidBudget`] if `share` is not in 0..=10 or `floor` is above 1,000,000.
    pub fn new(share: f32, floor: u32) -> Result<Self, InvalidBudget> {
        if !(0.0..=10.0).contains(&share) || floor > 1_000_000 {
            return Err(InvalidBudget(()));
        }
        Ok(Self(Some(Arc::new(TpsBudget::new(WINDOW, floor, share)))))
    }

    /// As many retries as requests want. A failing upstream then gets its load multiplied.
    #[must_use]
    pub const fn unlimited() -> Self {
        Self(None)
    }

    /// A request came in.
    pub(super) fn deposit(&self) {
        if let Some(budget) = &self.0 {
            budget.deposit();
        }
    }

    /// Whether one more retry may be made; if so, it is paid for.
    pub(super) fn withdraw(&self) -> bool {
        self.0.as_ref().is_none_or(|budget| budget.withdraw())
    }
}

impl Default for Budget {
    /// 20 % of the requests and at least 10 retries a second.
    fn default() -> Self {
        Self(Some(Arc::new(TpsBudget::new(
            WINDOW,
            Self::DEFAULT_FLOOR,
            0.2,
        ))))
    }
}

impl fmt::Debug for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Budget(limited)"
        } else {
            "Budget(unlimited)"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // RTY-11
    #[tokio::test(start_paused = true)]
    async fn retries_are_a_share_of_the_requests_above_a_floor() {
        let quiet = Budget::new(0.2, 0).unwrap();
        assert!(!quiet.withdraw());
        for _ in 0..10 {
            quiet.deposit();
        }
        assert!(quiet.withdraw() && quiet.withdraw());
        assert!(!quiet.withdraw());

        let floor = Budget::new(0.0, 1).unwrap();
        assert_eq!((0..20).filter(|_| floor.withdraw()).count(), 10);
    }

    #[test]
    fn a_share_that_is_none_is_refused() {
        for share in [-0.1, 10.5, f32::NAN] {
            assert!(Budget::new(share, 10).is_err(), "{share}");
        }
    }
}
