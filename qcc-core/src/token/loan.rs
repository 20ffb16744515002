//! A credential for a check, which no request waits for.

use super::handle::Tokens;
use super::source::Held;
use super::state::Place;
use crate::available::Reason;
use crate::credential::Credential;
use crate::failure::{Kind, Verdict};
use crate::time::{self, Instant};
use crate::visit::Visit;

/// So many credentials are looked at for a check; more than one only if the first cannot be got.
const LOOKED_AT: usize = 3;

/// A credential for one check. What becomes of the check is told to the pool by whoever made it.
#[derive(Clone, Debug)]
pub(crate) struct Loan {
    place: Place,
    credential: Option<Credential>,
}

impl Loan {
    /// The credential; `None` if the endpoint needs none.
    pub(crate) const fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Hands it down with the visit of the check.
    pub(crate) fn hand_to(&self, visit: &mut Visit) {
        visit.credential = self.credential.clone();
    }
}

impl Tokens {
    /// A credential for a check: one that requests would use, else one that was refused. Takes
    /// nobody's turn. Without one: why, and until when.
    pub(crate) async fn for_check(&self) -> Result<Loan, (Reason, Option<Instant>)> {
        let now = time::now();
        let places = self.lock().for_check(now);
        for place in places.into_iter().take(LOOKED_AT) {
            let Some(seat) = self.0.seats.get(place.index) else {
                let credential = None;
                return Ok(Loan { place, credential });
            };
            let mut held = seat.supply.source.held(now);
            if matches!(held, Held::Stale(_))
                && let Some(flight) = self.refresh(place.index)
            {
                flight.await;
                held = seat.supply.source.held(time::now());
            }
            if let Held::Fresh(credential) | Held::Stale(Some(credential)) = held {
                let credential = Some(credential);
                return Ok(Loan { place, credential });
            }
        }
        Err(self.out(None, None, now))
    }

    /// A check with it was answered well: a refusal from before the check is taken back. Returns
    /// whether there was one.
    pub(crate) fn verified(&self, loan: &Loan) -> bool {
        let changed = self.change(|ring| ring.verified(loan.place));
        if changed {
            self.log_change("refused => active (verified)");
        }
        changed
    }

    /// A check with it was refused. Returns whether that leaves no credential to use.
    pub(crate) fn refused(&self, loan: &Loan, verdict: Verdict) -> bool {
        let now = time::now();
        self.failed(loan.place, verdict, now);
        self.verdict(loan.place, verdict, None, now).kind == Kind::Auth
    }
}
