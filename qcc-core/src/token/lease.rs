//! A credential in use.

use super::handle::Tokens;
use super::state::Place;
use crate::error::BoxError;
use crate::failure::{Blame, Failed, Kind, Verdict};
use crate::guard::{Guard, Settled};
use crate::time;

/// A credential in use. It learns from the end of the answer how the send went; one that is
/// dropped before learns nothing.
#[derive(Debug)]
pub struct Lease {
    tokens: Tokens,
    place: Place,
}

impl Lease {
    pub(super) const fn new(tokens: Tokens, place: Place) -> Self {
        Self { tokens, place }
    }

    pub(super) const fn place(&self) -> Place {
        self.place
    }
}

impl Guard for Lease {
    fn fail(self, error: BoxError) -> BoxError {
        if let Some(verdict) = Failed::verdict_if_sent(&*error)
            && verdict.blame == Blame::Credential
        {
            self.tokens.failed(self.place, verdict, time::now());
        }
        error
    }

    fn settle(self, settled: Settled) {
        match settled {
            Settled::Clean => self.tokens.succeeded(self.place),
            Settled::Broken(kind) if kind.blame() == Blame::Credential => {
                let verdict = Verdict::new(kind);
                self.tokens.failed(self.place, verdict, time::now());
            }
            Settled::Broken(_) | Settled::Canceled => {}
        }
    }
}

/// `error` with the verdict that the pool as a whole gives.
///
/// A refusal that turns into a limit keeps the refused answer in its source only: an answer
/// that says 401 must not be relayed as the answer to a limit.
pub(super) fn rejudge(error: BoxError, verdict: Verdict, judged: Verdict) -> BoxError {
    if judged == verdict {
        return error;
    }
    if verdict.kind == Kind::Auth {
        return Failed::new(judged).with_source(error).into();
    }
    match error.downcast::<Failed>() {
        Ok(failed) => failed.with_verdict(judged).into(),
        Err(error) => {
            let outer = Failed::new(judged);
            match Failed::find(&*error).and_then(Failed::response) {
                Some(response) => outer.with_response(response.clone()),
                None => outer,
            }
            .with_source(error)
            .into()
        }
    }
}
