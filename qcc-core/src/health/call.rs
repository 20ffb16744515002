//! One call: it enters itself in the record.

use http::StatusCode;
use tracing::{info, warn};

use super::handle::Health;
use super::state::{Ended, Failure, State, Transition};
use crate::error::BoxError;
use crate::exchange::Exchange;
use crate::failure::{Failed, Verdict};
use crate::guard::{Guard, Settled};
use crate::time::{self, Duration, Instant};

impl Health {
    /// Begins a call.
    pub(super) fn begin(&self, exchange: Exchange) -> Call {
        Call {
            health: self.clone(),
            exchange,
            epoch: self.glance() >> 1,
            started: time::now(),
            answered: None,
            good: false,
        }
    }
}

/// One call of an endpoint. It is entered in the record when its answer ends; one that is
/// dropped before is not.
#[derive(Debug)]
pub struct Call {
    health: Health,
    exchange: Exchange,
    epoch: u64,
    started: Instant,
    /// How long the answer took up to its commit point.
    answered: Option<Duration>,
    /// Whether the status of the answer is one of success.
    good: bool,
}

impl Call {
    fn record(self, now: Instant, failure: Failure) {
        let ended = self.ended(now);
        let rule = self.health.endpoint().mark_on();
        let (transition, marked) = self.enter(now, |state| {
            let transition = state.failed(ended, failure);
            (transition, state.mark_on(failure, rule, now))
        });
        let (endpoint, name) = (self.health.endpoint().id(), self.health.endpoint().name());
        if let Some(until) = marked {
            let (request_id, kind) = (self.exchange.id(), failure.verdict.kind);
            let status = failure.status.map(|status| status.as_u16());
            let wait = until.saturating_duration_since(now);
            warn!(%request_id, %endpoint, %name, %kind, status, ?wait, "health: available => marked");
        }
        match transition {
            Some(Transition::AuthFailed) => {
                self.health.log_refusal(self.exchange.id(), failure.status);
            }
            Some(Transition::Cooling(until)) => {
                let wait = until.saturating_duration_since(now);
                info!(%endpoint, %name, kind = %failure.verdict.kind, ?wait, "health: ready => cooling");
            }
            Some(Transition::ModelSkipped(until)) => {
                let model = ended.model.map_or("", |model| model);
                self.health.log_skipped(model, until, now);
            }
            None => {}
        }
    }

    fn ended(&self, now: Instant) -> Ended<'_> {
        Ended {
            epoch: self.epoch,
            now,
            time: self.answered,
            request: self.exchange.id(),
            model: self.exchange.facts().model.as_ref(),
        }
    }

    fn enter<T>(&self, now: Instant, enter: impl FnOnce(&mut State) -> T) -> T {
        let (result, over) = self.health.change(|state| {
            let result = enter(state);
            let over = state.is_notable().then(|| state.purge(now));
            (result, over.unwrap_or_default())
        });
        self.health.log_over(over);
        result
    }
}

impl Guard for Call {
    fn commit(&mut self, status: StatusCode) {
        self.answered = Some(time::now().saturating_duration_since(self.started));
        self.good = status.is_success();
    }

    fn fail(mut self, error: BoxError) -> BoxError {
        if let Some(verdict) = Failed::verdict_if_sent(&*error) {
            let now = time::now();
            let status = Failed::find(&*error).and_then(Failed::status);
            self.answered = status.map(|_| now.saturating_duration_since(self.started));
            let failure = Failure {
                verdict,
                status,
                committed: false,
            };
            self.record(now, failure);
        }
        error
    }

    fn settle(self, settled: Settled) {
        match settled {
            Settled::Clean => {
                let now = time::now();
                self.enter(now, |state| state.succeeded(self.ended(now), self.good));
            }
            Settled::Broken(kind) => self.record(
                time::now(),
                Failure {
                    verdict: Verdict::new(kind),
                    status: None,
                    committed: true,
                },
            ),
            Settled::Canceled => {}
        }
    }
}
