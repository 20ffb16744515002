//! One request on its way from endpoint to endpoint.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tracing::{debug, info, warn};

use super::body::{ReplyBody, Seal};
use super::history::{Conclusion, History};
use super::{Failure, Next, RetryWithExclusionLayer};
use crate::available::Reason;
use crate::body::RequestBody;
use crate::endpoint::{Endpoint, EndpointId};
use crate::error::{Attempt, BoxError, Error, ErrorKind, NoEndpoint, OwnerUnavailable};
use crate::exchange::{Exchange, Exhausted, SendKind};
use crate::failure::{Blame, Failed, Kind, Refused, Verdict, Wait, find};
use crate::record::{Answer, Event, Fate, Record, SendResult};
use crate::time::{self, Duration, Instant, Timer};
use crate::visit::{Excluded, Visit};

/// What stays the same, and what adds up, over the visits of one request.
pub(super) struct Journey {
    shared: Arc<RetryWithExclusionLayer>,
    seal: Seal,
    head: Parts,
    // `None` while a body that cannot be cloned is away on a visit.
    body: Option<RequestBody>,
    history: History,
    excluded: Excluded,
    second_opinion: bool,
    contested: Option<EndpointId>,
    visits: u32,
    kind: SendKind,
}

/// What follows a visit that gave no answer.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives from one line to the next"
)]
pub(super) enum Step {
    Visit(Request<RequestBody>),
    Conclude { expired: bool },
}

impl Journey {
    pub(super) fn new(
        exchange: Exchange,
        head: Parts,
        shared: Arc<RetryWithExclusionLayer>,
    ) -> Self {
        Self {
            seal: Seal::new(exchange, shared.sink.clone()),
            shared,
            head,
            body: None,
            history: History::default(),
            excluded: Excluded::default(),
            second_opinion: false,
            contested: None,
            visits: 0,
            kind: SendKind::First,
        }
    }

    fn exchange(&self) -> &Exchange {
        self.seal.exchange()
    }

    pub(super) fn collected(&mut self, body: RequestBody) {
        if body.as_bytes().is_none() {
            debug!(
                limit = self.shared.config.body_limit,
                "request body is larger than the limit: it is sent once, without retry"
            );
        }
        self.body = Some(body);
    }

    /// The request of the next visit, or the end if there may be none.
    pub(super) fn visit(&mut self) -> Step {
        let Some(body) = self.body.take() else {
            // The body is away and cannot be had twice.
            return Step::Conclude { expired: false };
        };
        let retry = self.visits > 0 && self.kind != SendKind::Rotation;
        if retry && !self.shared.budget.withdraw() {
            warn!(request_id = %self.exchange().id(), "retry budget is spent");
            return Step::Conclude { expired: false };
        }
        self.send(body)
    }

    fn send(&mut self, body: RequestBody) -> Step {
        let now = time::now();
        let exchange = self.exchange().clone();
        if let Err(exhausted) = exchange.begin_visit(self.kind, now) {
            let expired = exhausted == Exhausted::Deadline;
            return Step::Conclude { expired };
        }
        self.body = body.try_clone();
        self.visits += 1;
        let mut visit = Visit::new(exchange);
        visit.number = self.visits;
        visit.excluded = self.excluded.clone();
        visit.contested = self.contested;
        let mut request = Request::from_parts(self.head.clone(), body);
        request.extensions_mut().insert(visit);
        Step::Visit(request)
    }

    /// A visit began: the endpoint is chosen now.
    pub(super) fn visiting(&self) {
        if self.visits < 2 {
            return;
        }
        let exchange = self.exchange();
        if let Some(endpoint) = exchange.choice().and_then(|choice| choice.endpoint) {
            info!(
                request_id = %exchange.id(),
                endpoint = %endpoint.id(),
                name = %endpoint.name(),
                "retry {}/{}",
                exchange.attempts(),
                self.shared.config.attempts,
            );
        }
    }

    /// A visit ended without an answer.
    pub(super) fn failed(
        &mut self,
        error: &(dyn std::error::Error + 'static),
        started: Instant,
    ) -> Step {
        let exchange = self.exchange().clone();
        if let Some(none) = find::<NoEndpoint>(error) {
            exchange.withdraw(self.kind);
            exchange.note(Event::Unsent, time::now());
            self.history.none_left(*none.reasons(), none.until());
            return Step::Conclude { expired: false };
        }
        if let Some(owner) = find::<OwnerUnavailable>(error) {
            exchange.withdraw(self.kind);
            exchange.note(Event::Unsent, time::now());
            self.history.owner_lost(owner.clone());
            return Step::Conclude { expired: false };
        }
        let now = time::now();
        let choice = exchange.choice();
        let endpoint = choice.as_ref().and_then(|choice| choice.endpoint.clone());
        let owner = endpoint.as_deref().filter(|_| {
            let fate = choice.as_ref().and_then(|choice| choice.preference);
            fate == Some(Fate::Owned)
        });
        // Without a balancer, or with one that does not heed exclusions, nothing changes from one
        // visit to the next: then every visit has to be counted, or there might be no end.
        let moves_on = match &endpoint {
            Some(endpoint) => self.excluded.insert(endpoint.id()),
            None => false,
        };
        if let Some(refused) = Refused::find(error) {
            exchange.withdraw(self.kind);
            exchange.note(Event::Refused(refused.reason()), now);
            if let Some(owner) = owner {
                let lost = lost(owner, refused.reason(), refused.until());
                self.history.owner_lost(lost);
                return Step::Conclude { expired: false };
            }
            let body = refused.take_request().map(Request::into_body);
            return match body.or_else(|| self.body.take()) {
                Some(body) if moves_on => self.send(body),
                _ => Step::Conclude { expired: false },
            };
        }

        let failed = Failed::find(error);
        let verdict = Failed::verdict_of(error);
        let wait = failed.and_then(Failed::wait);
        exchange.note(Event::Failed { verdict, wait }, now);
        let next = if self.second_opinion || owner.is_some() {
            Next::Stop
        } else {
            self.shared.policy.next(&Failure {
                verdict,
                status: failed.and_then(Failed::status),
                facts: exchange.facts(),
            })
        };
        let duration = now.saturating_duration_since(started);
        log_failure(
            &exchange,
            endpoint.as_deref(),
            verdict,
            failed,
            duration,
            next,
        );
        self.history.failed(verdict, failed);
        if let Some(owner) = owner {
            let lost = lost(owner, Reason::Excluded, verdict.until);
            self.history.owner_lost(lost);
        }
        self.kind = match verdict.blame {
            // The next send uses another credential, wherever it goes.
            Blame::Credential if moves_on => SendKind::Rotation,
            _ => SendKind::First,
        };
        match next {
            Next::Elsewhere => self.visit(),
            Next::SecondOpinion => {
                self.second_opinion = true;
                self.contested = endpoint.map(|endpoint| endpoint.id());
                self.visit()
            }
            Next::Stop => Step::Conclude { expired: false },
        }
    }

    pub(super) fn poll_deadline(&self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<()> {
        match self.exchange().deadline() {
            Some(deadline) if !self.exchange().deadline_is_watched() => {
                timer.poll_until(cx, deadline)
            }
            _ => Poll::Pending,
        }
    }

    /// The deadline came during a visit.
    pub(super) fn expire(&self) {
        let (verdict, wait) = (Verdict::new(Kind::Timeout), Some(Wait::Deadline));
        let exchange = self.exchange();
        exchange.note(Event::Failed { verdict, wait }, time::now());
    }

    /// An answer is committed.
    pub(super) fn committed<R>(
        &mut self,
        response: Response<R>,
    ) -> Result<Response<ReplyBody<R>>, Error>
    where
        R: Body,
    {
        let seal = self.seal.hand_over();
        let exchange = seal.exchange().clone();
        exchange.note(Event::Committed, time::now());
        let status = response.status();
        let mut response = response.map(|body| ReplyBody::upstream(body, status, seal));
        if self.shared.config.exchange_in_response {
            response.extensions_mut().insert(exchange);
        }
        Ok(response)
    }

    /// Nothing is left to try.
    pub(super) fn conclude<R>(&mut self, expired: bool) -> Result<Response<ReplyBody<R>>, Error> {
        let seal = self.seal.hand_over();
        match std::mem::take(&mut self.history).conclude(expired) {
            Conclusion::Relay(response) => {
                let exchange = seal.exchange().clone();
                let (head, bytes) = response.into_parts();
                let body = ReplyBody::memory(bytes, head.status, seal);
                let mut response = Response::from_parts(head, body);
                if self.shared.config.exchange_in_response {
                    response.extensions_mut().insert(exchange);
                }
                Ok(response)
            }
            Conclusion::Fail {
                kind,
                retry_at,
                reasons,
                owner,
            } => Err(fail(seal, kind)
                .with_owner(owner)
                .with_retry_at(retry_at)
                .with_reasons(reasons)),
        }
    }

    /// The client's own body broke.
    pub(super) fn unreadable(&mut self, error: BoxError) -> Error {
        fail(self.seal.hand_over(), ErrorKind::RequestBody).with_source(error)
    }
}

fn lost(owner: &Endpoint, reason: Reason, until: Option<Instant>) -> OwnerUnavailable {
    OwnerUnavailable::new(owner.id(), Some(owner.name().clone()), Some(reason), until)
}

/// Seals the record and makes the error that lists its sends.
fn fail(mut seal: Seal, kind: ErrorKind) -> Error {
    let error = Error::new(kind, seal.exchange().id().clone());
    match seal.answer(Answer::Failed(kind)) {
        Some(record) => error.with_attempts(attempts(&record)),
        None => error,
    }
}

fn attempts(record: &Record) -> Vec<Attempt> {
    record
        .sends()
        .filter_map(|(endpoint, send)| {
            let kind = match send.result {
                SendResult::Failed { verdict, .. } => verdict.kind,
                _ => return None,
            };
            Some(Attempt {
                endpoint: endpoint.map(|endpoint| endpoint.id()),
                name: endpoint.map(|endpoint| endpoint.name().clone()),
                kind,
                status: send.status,
                duration: send.duration,
            })
        })
        .collect()
}

fn log_failure(
    exchange: &Exchange,
    endpoint: Option<&Endpoint>,
    verdict: Verdict,
    failed: Option<&Failed>,
    duration: Duration,
    next: Next,
) {
    let status = failed.and_then(Failed::status);
    let wait = failed.and_then(Failed::wait);
    warn!(
        request_id = %exchange.id(),
        endpoint = endpoint.map(|endpoint| tracing::field::display(endpoint.id())),
        name = endpoint.map(|endpoint| &**endpoint.name()),
        status = status.map(|status| status.as_u16()),
        wait = wait.map(tracing::field::display),
        duration_ms = format_args!("{:.2}", duration.as_secs_f64() * 1e3),
        action = action(next, verdict),
        "error type: {}/{}",
        verdict.kind.class(),
        verdict.kind,
    );
}

/// What the log says that is done about a failure.
fn action(next: Next, verdict: Verdict) -> &'static str {
    match (next, verdict.blame) {
        (Next::Elsewhere, Blame::Credential) => "credential left, next endpoint",
        (Next::Elsewhere, _) => "next endpoint",
        (Next::SecondOpinion, _) => "second opinion",
        (Next::Stop, _) => "answer",
    }
}

impl fmt::Debug for Journey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Journey")
            .field("visits", &self.visits)
            .finish_non_exhaustive()
    }
}
