//! One request in the pool, without its service: which credential follows which failure.

use std::fmt;

use http::Request;
use smallvec::SmallVec;
use tracing::info;

use super::handle::{Leased, Taken, Tokens};
use super::lease::{Lease, rejudge};
use super::state::{Place, Wanted};
use super::supply::Flight;
use crate::available::Reason;
use crate::body::RequestBody;
use crate::credential::Credential;
use crate::error::BoxError;
use crate::exchange::{Exchange, SendKind};
use crate::failure::{Blame, Failed, Kind, Refused, Verdict};
use crate::record::{Event, PassedOver};
use crate::time::{self, Duration, Instant};
use crate::visit::Visit;

/// How long a credential rests that was refused while its refresh cannot be had.
const UNREFRESHED_REST: Duration = Duration::from_secs(5);

/// What stays the same, and what adds up, over the sends of one request.
pub(super) struct Round {
    tokens: Tokens,
    exchange: Exchange,
    /// The request, unsent, for as long as it may be sent once more.
    request: Option<Request<RequestBody>>,
    only: Only,
    /// Those that failed in this request.
    tried: SmallVec<[usize; 4]>,
    /// What was looked at since the last send and cannot be used.
    passed_over: Vec<PassedOver>,
    /// The failure of the last send, which goes up if there is no other one.
    failure: Option<Failure>,
    refresh: Forced,
}

/// Which credentials will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Only {
    Any,
    This(usize),
    /// One that is not there any more.
    Gone,
}

impl Only {
    const fn index(self) -> Option<usize> {
        match self {
            Self::This(index) => Some(index),
            Self::Any | Self::Gone => None,
        }
    }
}

/// The refresh that a refusal forces, once for each credential.
#[derive(Debug)]
enum Forced {
    /// The credential of the send that is under way cannot be refreshed, or was.
    No,
    /// It can.
    Can(Credential),
    /// It is, because this one was refused.
    Does(Credential),
}

struct Failure {
    error: BoxError,
    verdict: Verdict,
    place: Place,
}

/// How a round begins.
#[expect(
    clippy::large_enum_variant,
    reason = "it lives from one line to the next"
)]
pub(super) enum Begun {
    Send {
        request: Request<RequestBody>,
        lease: Lease,
    },
    Refresh {
        index: usize,
        flight: Flight,
    },
    Over(BoxError),
}

/// How it goes on.
pub(super) enum Next {
    Send(Taken),
    Refresh { index: usize, flight: Flight },
    Over(BoxError),
}

impl Round {
    pub(super) fn new(tokens: &Tokens, mut request: Request<RequestBody>) -> (Self, Begun) {
        let now = time::now();
        let visit = Visit::of(request.extensions_mut());
        let only = match visit.owned_credential() {
            Some(name) => tokens.index(name).map_or(Only::Gone, Only::This),
            None => Only::Any,
        };
        let mut round = Self {
            tokens: tokens.clone(),
            exchange: visit.exchange.clone(),
            request: None,
            only,
            tried: SmallVec::new(),
            passed_over: Vec::new(),
            failure: None,
            refresh: Forced::No,
        };
        let begun = match round.lease(only.index(), true, now) {
            Leased::Ready(taken) => {
                round.choose(&taken);
                if round.wants_more(&taken) {
                    round.request = duplicate(&request);
                }
                let lease = round.authorize(taken, &mut request, now);
                Begun::Send { request, lease }
            }
            Leased::Stale { index, flight } => {
                round.request = Some(request);
                Begun::Refresh { index, flight }
            }
            Leased::Nobody(reason, until) => {
                round.note_passed_over(None, now);
                Begun::Over(Refused::new(reason, until, request).into())
            }
        };
        (round, begun)
    }

    /// Whether the request is kept for another send.
    pub(super) const fn may_send_again(&self) -> bool {
        self.request.is_some()
    }

    /// The request with the credential in it, for a send after the first lease.
    pub(super) fn put_in(&mut self, taken: Taken) -> Option<(Request<RequestBody>, Lease)> {
        let again = self.wants_more(&taken);
        let copy = self.request.as_ref().filter(|_| again).and_then(duplicate);
        let mut request = self.request.take()?;
        self.request = copy;
        let lease = self.authorize(taken, &mut request, time::now());
        Some((request, lease))
    }

    /// A send failed.
    pub(super) fn failed(&mut self, error: BoxError, place: Place) -> Next {
        let verdict = match Failed::verdict_if_sent(&*error) {
            Some(verdict) if verdict.blame == Blame::Credential => verdict,
            _ => return Next::Over(error),
        };
        let now = time::now();
        // Without a classifier nobody has noted the failure yet.
        let wait = None;
        self.exchange.note(Event::Failed { verdict, wait }, now);
        let status = Failed::find(&*error).and_then(Failed::status);
        self.failure = Some(Failure {
            error,
            verdict,
            place,
        });
        let index = place.index;
        if verdict.kind == Kind::Auth && self.request.is_some() {
            match std::mem::replace(&mut self.refresh, Forced::No) {
                Forced::Can(old) if self.tokens.has_replaced(index, &old, now) => {
                    return self.once_more(index, now);
                }
                Forced::Can(old) => {
                    if let Some(flight) = self.tokens.refresh(index) {
                        self.refresh = Forced::Does(old);
                        return Next::Refresh { index, flight };
                    }
                }
                Forced::No | Forced::Does(_) => {}
            }
        }
        self.tokens.failed(place, verdict, now);
        let next = self.leave(index, now);
        if !matches!(next, Next::Over(_)) {
            let what = match (status, verdict.kind) {
                (Some(status), Kind::Auth) => format!("{} (auth)", status.as_u16()),
                (Some(status), _) => format!("{} (quota)", status.as_u16()),
                (None, kind) => format!("{kind} inside an answer"),
            };
            let (request_id, token) = (self.exchange.id(), self.name(index));
            info!(%request_id, token, kind = %verdict.kind, "{what}, trying next token");
        }
        next
    }

    /// A refresh of the credential at `index` has ended.
    pub(super) fn refreshed(&mut self, index: usize) -> Next {
        let now = time::now();
        match std::mem::replace(&mut self.refresh, Forced::No) {
            Forced::Does(old) if self.tokens.has_replaced(index, &old, now) => {
                self.once_more(index, now)
            }
            Forced::Does(_) => {
                if let Some(failure) = &self.failure {
                    let until = Some(now + UNREFRESHED_REST);
                    let rest = Verdict::new(Kind::RateLimit).until(until);
                    self.tokens.failed(failure.place, rest, now);
                }
                self.leave(index, now)
            }
            Forced::Can(_) | Forced::No => match self.lease(Some(index), false, now) {
                Leased::Ready(taken) => self.turn_to(taken, now),
                _ => self.leave(index, now),
            },
        }
    }

    /// The failure of the last send as that of the pool; without one, the request unsent.
    pub(super) fn over(&mut self) -> Next {
        let now = time::now();
        let exchange = self.exchange.clone();
        let model = exchange.facts().model.as_deref();
        if let Some(Failure {
            error,
            verdict,
            place,
        }) = self.failure.take()
        {
            let judged = self.tokens.verdict(place, verdict, model, now);
            return Next::Over(rejudge(error, verdict, judged));
        }
        self.note_passed_over(None, now);
        let (reason, until) = self.tokens.out(model, self.only.index(), now);
        let request = self.request.take().unwrap_or_default();
        Next::Over(Refused::new(reason, until, request).into())
    }

    /// The credential at `index` is done with in this request: the next one, if there is one.
    fn leave(&mut self, index: usize, now: Instant) -> Next {
        self.tried.push(index);
        if self.request.is_none() || self.only != Only::Any {
            return self.over();
        }
        match self.lease(None, true, now) {
            Leased::Ready(taken) => self.turn_to(taken, now),
            Leased::Stale { index, flight } => Next::Refresh { index, flight },
            Leased::Nobody(..) => self.over(),
        }
    }

    /// Sends with a credential that was not tried before.
    fn turn_to(&mut self, taken: Taken, now: Instant) -> Next {
        // Where nothing was sent yet, this is still the first send.
        if self.failure.is_some() && self.exchange.begin_send(SendKind::Rotation, now).is_err() {
            return self.over();
        }
        self.choose(&taken);
        if !self.tried.is_empty() {
            let (request_id, token) = (self.exchange.id(), self.name(taken.lease.place().index));
            info!(%request_id, "using next token: {}", token.unwrap_or("none"));
        }
        Next::Send(taken)
    }

    /// Sends with the same credential, which is another one by now.
    fn once_more(&mut self, index: usize, now: Instant) -> Next {
        let Leased::Ready(taken) = self.lease(Some(index), false, now) else {
            return self.leave(index, now);
        };
        match self.exchange.begin_send(SendKind::Refresh, now) {
            Ok(()) => Next::Send(taken),
            Err(_) => self.over(),
        }
    }

    fn lease(&mut self, only: Option<usize>, refresh: bool, now: Instant) -> Leased {
        if self.only == Only::Gone {
            return Leased::Nobody(Reason::AuthFailed, None);
        }
        let wanted = Wanted {
            model: self.exchange.facts().model.as_deref(),
            only,
            tried: &self.tried,
        };
        self.tokens
            .lease(&wanted, refresh, now, &mut self.passed_over)
    }

    /// Sees whether a refusal of this credential would force a refresh.
    fn choose(&mut self, taken: &Taken) {
        self.refresh = match &taken.credential {
            Some(credential) if self.tokens.is_refreshable(taken.lease.place().index) => {
                Forced::Can(credential.clone())
            }
            _ => Forced::No,
        };
    }

    /// Whether something could be sent after a send with `taken`.
    fn wants_more(&self, taken: &Taken) -> bool {
        taken.others && self.only == Only::Any || matches!(self.refresh, Forced::Can(_))
    }

    /// Puts the credential into the request.
    fn authorize(
        &mut self,
        taken: Taken,
        request: &mut Request<RequestBody>,
        now: Instant,
    ) -> Lease {
        self.note_passed_over(Some(taken.lease.place().index), now);
        // Set also if there is none: that of another endpoint must not get here.
        Visit::of(request.extensions_mut()).credential = taken.credential;
        taken.lease
    }

    fn note_passed_over(&mut self, used: Option<usize>, now: Instant) {
        let credential = used.and_then(|index| self.tokens.name(index)).cloned();
        if credential.is_none() && self.passed_over.is_empty() {
            return;
        }
        let passed_over = std::mem::take(&mut self.passed_over);
        let leased = Event::Leased {
            credential,
            passed_over,
        };
        self.exchange.note(leased, now);
    }

    fn name(&self, index: usize) -> Option<&str> {
        self.tokens.name(index).map(|name| &**name)
    }
}

/// The same request once more, if its body is in memory.
fn duplicate(request: &Request<RequestBody>) -> Option<Request<RequestBody>> {
    let body = request.body().try_clone()?;
    let mut copy = Request::new(body);
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    *copy.version_mut() = request.version();
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    Some(copy)
}

impl fmt::Debug for Round {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Round")
            .field("exchange", &self.exchange)
            .field("tried", &self.tried)
            .finish_non_exhaustive()
    }
}
