//! Checks of endpoints, past the stack: with their credential, but without breaker, queue, place in
//! flight or record.

use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures_util::stream::{self, StreamExt as _};
use http::response::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::handle::{EndpointState, Handle};
use crate::available::Reason;
use crate::body::RequestBody;
use crate::classify::{Classify, Plan, Progress, Sent};
use crate::credential::Credential;
use crate::endpoint::EndpointId;
use crate::error::BoxError;
use crate::exchange::{Exchange, RequestId};
use crate::facts::ReadFacts;
use crate::failure::{Failed, Kind, Verdict};
use crate::recovery::{
    Check, Finding, Outcome, Patient, Probe, Recovery, Validity, look_after, score,
};
use crate::time::{self, Duration, Instant};
use crate::token::Loan;
use crate::upstream::{Decode, Origin, Upstream};
use crate::visit::Visit;

/// An answer to a check that is longer is none.
const LONGEST_ANSWER: usize = 64 * 1024;

/// The short way to one endpoint, on which checks are sent.
#[derive(Debug)]
pub(super) struct ShortWay<S> {
    pub(super) state: EndpointState,
    pub(super) facts: Arc<dyn ReadFacts>,
    pub(super) classify: Arc<dyn Classify>,
    pub(super) service: Decode<Origin<S>>,
}

/// Checks the endpoints of a [`Failover`](super::Failover) with a [`Probe`]: once, when somebody
/// asks for it, and from time to time for those in the queue. A clone does the same.
///
/// A check is one request with the endpoint's credential. It passes breaker and queue, takes no
/// place in flight, and is in no statistics of requests. It can bring an endpoint back: a right
/// answer takes back the refusal of the credential, closes the breaker, and ends the stay in the
/// queue, unless the endpoint failed once more since the check began. What it can find out against
/// an endpoint is that its credential is refused, which counts as if a request had met it, and that
/// it answers without the code, which puts it into the queue. It never opens a breaker.
///
/// Where credentials come from a pool, a check uses one that requests would use; if all are refused,
/// that which was not used for the longest time. A right answer takes back the refusal of this
/// credential alone, and the endpoint with it can be used. One refused credential among others that
/// are good is not checked: nothing is lost without it.
pub struct Checks<S> {
    handle: Handle,
    ways: Arc<[ShortWay<S>]>,
    probe: Arc<dyn Probe>,
}

/// Why there was no check. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NotChecked {
    /// The endpoint is none of this cluster.
    #[error("there is no such endpoint")]
    Unknown,
    /// The operator does not want it used.
    #[error("it is switched off")]
    Disabled,
    /// The probe does not ask this endpoint.
    #[error("it does not chat, or it is not known which API it has")]
    NotAsked,
    /// It was checked as often today as it may be.
    #[error("it was checked as often today as the budget allows")]
    BudgetSpent {
        /// When the next day begins.
        until: Instant,
    },
    /// Its credentials cool down, or it has none.
    #[error("no credential of it can be used now ({reason})")]
    NoCredential {
        /// Why.
        reason: Reason,
        /// Until when, if that is known.
        until: Option<Instant>,
    },
}

impl<S: Upstream> Checks<S> {
    pub(super) fn new(handle: Handle, ways: Arc<[ShortWay<S>]>, probe: Arc<dyn Probe>) -> Self {
        Self {
            handle,
            ways,
            probe,
        }
    }

    /// Checks one endpoint now. If it is being checked already, that is waited for first.
    ///
    /// # Errors
    ///
    /// [`NotChecked`] if nothing was sent.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the check up: nothing is found, and it counts in the budget of the day.
    pub fn check(
        &self,
        endpoint: EndpointId,
    ) -> impl Future<Output = Result<Arc<Check>, NotChecked>> + Send + use<S> {
        let (ways, probe) = (self.ways.clone(), self.probe.clone());
        let index = self.handle.index(endpoint);
        let bell = self.handle.bell().clone();
        async move {
            let way = index.and_then(|index| ways.get(index));
            let way = way.ok_or(NotChecked::Unknown)?;
            let _turn = way.state.recovery.turn().await;
            let check = way.check(&*probe).await;
            // When the next check is due may have changed.
            bell.ring();
            check
        }
    }

    /// Checks these endpoints now, several at a time, as [`check`](Self::check) does.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the checks that are under way.
    pub fn check_each<I>(
        &self,
        endpoints: I,
    ) -> impl Future<Output = Vec<(EndpointId, Result<Arc<Check>, NotChecked>)>> + Send + use<S, I>
    where
        I: IntoIterator<Item = EndpointId>,
    {
        let checks: Vec<_> = endpoints
            .into_iter()
            .map(|id| (id, self.check(id)))
            .collect();
        let at_a_time = self.concurrency();
        async move {
            let checks = checks
                .into_iter()
                .map(|(id, check)| async move { (id, check.await) });
            stream::iter(checks).buffered(at_a_time).collect().await
        }
    }

    /// Looks after the queue, for ever: run it beside your service, and drop it with it.
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives up the checks that are under way. Begun anew, also after a reload, it goes
    /// on where it was.
    pub fn recovery(&self) -> impl Future<Output = Infallible> + Send + use<S> {
        let (ways, probe) = (self.ways.clone(), self.probe.clone());
        let (bell, at_a_time) = (self.handle.bell().clone(), self.concurrency());
        async move {
            let patients: Vec<_> = ways
                .iter()
                .map(|way| Asked {
                    way,
                    probe: &*probe,
                })
                .collect();
            look_after(&patients, &bell, at_a_time).await
        }
    }

    fn concurrency(&self) -> usize {
        let first = self.ways.first();
        first.map_or(1, |way| way.state.recovery.config().concurrency().get())
    }
}

/// An endpoint and what it is asked.
struct Asked<'a, S> {
    way: &'a ShortWay<S>,
    probe: &'a dyn Probe,
}

impl<S: Upstream> Patient for Asked<'_, S> {
    fn recovery(&self) -> &Recovery {
        &self.way.state.recovery
    }

    fn observe(&self, now: Instant) {
        self.way.state.observe(now);
    }

    async fn check(&self) -> bool {
        let recovery = &self.way.state.recovery;
        let _turn = recovery.turn().await;
        // Somebody else may have checked it meanwhile.
        self.way.state.observe(time::now());
        if recovery.due().is_none_or(|due| time::now() < due) {
            return true;
        }
        match self.way.check(self.probe).await {
            Err(NotChecked::NotAsked) => false,
            Err(NotChecked::NoCredential { .. }) => {
                recovery.put_off(time::now());
                true
            }
            _ => true,
        }
    }
}

/// What came back.
struct Answered {
    outcome: Outcome,
    status: Option<StatusCode>,
    verdict: Option<Verdict>,
    /// The answer, if it has a status of success.
    answer: Option<Response<Bytes>>,
    error: Option<String>,
}

impl<S: Upstream> ShortWay<S> {
    /// Checks the endpoint. The caller has its turn.
    async fn check(&self, probe: &dyn Probe) -> Result<Arc<Check>, NotChecked> {
        let state = &self.state;
        if !state.health.is_wanted() {
            return Err(NotChecked::Disabled);
        }
        let code = probe.code();
        let request = probe
            .request(&state.endpoint, &code)
            .ok_or(NotChecked::NotAsked)?;
        let loan = state.tokens.for_check().await;
        let loan = loan.map_err(|(reason, until)| NotChecked::NoCredential { reason, until })?;
        let at = time::now();
        let begun = state.recovery.begin(at);
        begun.map_err(|until| NotChecked::BudgetSpent { until })?;
        let began = state.begin_check(at);
        let time = state.recovery.clock().now();
        let exchange = Exchange::starting_at(RequestId::random(), time);
        let id = exchange.id().clone();
        let request = self.prepare(request, exchange.clone(), &loan);
        let answered = self.send(request, &exchange, loan.credential()).await;

        let finding = match &answered.answer {
            Some(answer) => probe.judge(answer, &code),
            None => Finding {
                validity: Validity::Invalid,
                content: String::new(),
                problem: None,
            },
        };
        let latency = time::now().saturating_duration_since(began.at);
        let valid = answered.outcome == Outcome::Answered && finding.validity == Validity::Valid;
        let check = Arc::new(Check {
            endpoint: state.endpoint.clone(),
            id,
            time,
            message: probe.message(&code),
            code,
            outcome: answered.outcome,
            status: answered.status,
            latency,
            score: score(valid, latency, &finding.content),
            content: finding.content,
            validity: finding.validity,
            error: finding.problem.map(str::to_owned).or(answered.error),
        });
        if valid {
            state.verified(began, &loan, check.clone());
        } else {
            state.not_verified(began, &loan, answered.verdict, check.clone());
        }
        Ok(check)
    }

    fn prepare(
        &self,
        request: Request<Bytes>,
        exchange: Exchange,
        loan: &Loan,
    ) -> Request<RequestBody> {
        let (head, body) = request.into_parts();
        exchange.set_facts(self.facts.facts(&head, Some(&body)));
        let mut visit = Visit::new(exchange);
        loan.hand_to(&mut visit);
        // A connection that was closed while idle says nothing of the endpoint, and a check is not
        // repeated.
        visit.fresh_connection = true;
        let mut request = Request::from_parts(head, RequestBody::from(body));
        request.extensions_mut().insert(visit);
        request
    }

    /// Sends `request` and judges what comes back as a request of a client would be judged.
    async fn send(
        &self,
        request: Request<RequestBody>,
        exchange: &Exchange,
        credential: Option<&Credential>,
    ) -> Answered {
        let limit = self.state.recovery.config().timeout();
        let answer = async {
            let response = self.service.clone().oneshot(request).await?;
            let (head, body) = response.into_parts();
            match read(body).await {
                Ok(body) => Ok((head, body)),
                // A failure that breaks off is no less one.
                Err((body, _)) if !head.status.is_success() => Ok((head, body)),
                Err((_, error)) => Err(error),
            }
        };
        let (head, body) = match tokio::time::timeout(limit, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(error)) => return self.unanswered(&error),
            Err(_) => return Answered::timed_out(limit),
        };
        let sent = Sent::new(exchange.facts(), credential);
        let verdict = self.verdict(sent, &head, &body);
        let (status, kind) = (head.status, verdict.map(|verdict| verdict.kind));
        let outcome = match (Outcome::of_status(status), kind) {
            (Outcome::Failed, Some(kind)) => Outcome::of_kind(kind),
            (outcome, _) => outcome,
        };
        let redacted = credential.and_then(|credential| credential.redact(&body));
        let answer = Response::from_parts(head, redacted.unwrap_or(body));
        Answered {
            outcome,
            status: Some(status),
            verdict,
            answer: (outcome == Outcome::Answered).then_some(answer),
            error: kind.map(|kind| format!("{kind}: upstream answered {}", status.as_u16())),
        }
    }

    /// The verdict on a whole answer; `None` if it is none of a failure.
    fn verdict(&self, sent: Sent<'_>, head: &Parts, body: &Bytes) -> Option<Verdict> {
        let now = time::now();
        match self.classify.head(sent, head) {
            Plan::Pass => None,
            Plan::Fail => Some(self.classify.failure(sent, head, body, now)),
            Plan::Watch(mut watch) => match watch.data(body.clone(), now) {
                Progress::Broken(verdict) => Some(verdict),
                _ => watch.end(now).err(),
            },
        }
    }

    fn unanswered(&self, error: &BoxError) -> Answered {
        let (verdict, text) = match Failed::find(&**error) {
            // An adapter knew better.
            Some(failed) => (failed.verdict(), failed.to_string()),
            None => {
                let verdict = self.classify.error(&**error);
                (verdict, format!("{}: no whole answer", verdict.kind))
            }
        };
        Answered::without(verdict, text)
    }
}

impl Answered {
    fn without(verdict: Verdict, error: String) -> Self {
        Self {
            outcome: Outcome::of_kind(verdict.kind),
            status: None,
            verdict: Some(verdict),
            answer: None,
            error: Some(error),
        }
    }

    fn timed_out(limit: Duration) -> Self {
        let text = format!("timeout: no whole answer within {limit:?}");
        Self::without(Verdict::new(Kind::Timeout), text)
    }
}

/// The bytes of `body`; of one that is too long its beginning, which no judge takes for an answer.
async fn read<B>(mut body: B) -> Result<Bytes, (Bytes, BoxError)>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => read.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Err(error) => return Err((read.freeze(), error.into())),
        }
        if read.len() > LONGEST_ANSWER {
            break;
        }
    }
    Ok(read.freeze())
}

impl<S> Clone for Checks<S> {
    fn clone(&self) -> Self {
        Self {
            handle: self.handle.clone(),
            ways: self.ways.clone(),
            probe: self.probe.clone(),
        }
    }
}

impl<S> fmt::Debug for Checks<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Checks")
            .field("probe", &self.probe)
            .finish_non_exhaustive()
    }
}
