//! The future of a visit, and what it means for the session.

use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::sessions::Sessions;
use super::state::{End, Key, Visited};
use crate::endpoint::{Endpoint, EndpointId};
use crate::error::{BoxError, NoEndpoint, OwnerUnavailable};
use crate::exchange::{Choice, Exchange, Exhausted};
use crate::failure::{Blame, Failed, Refused, Verdict, find};
use crate::guard::{Guard, Guarded, Settled};
use crate::record::{Event, Fate, Transition};
use crate::time;

pin_project! {
    /// The future of [`Affinity`](super::Affinity).
    ///
    /// # Cancel safety
    ///
    /// Dropping it leaves the binding of the session as it was.
    #[must_use = "futures do nothing unless polled"]
    pub struct ResponseFuture<F> {
        #[pin]
        inner: F,
        session: Option<Session>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(inner: F, session: Option<Session>) -> Self {
        Self { inner, session }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body,
{
    type Output = Result<Response<Guarded<B, Bond>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.inner.poll(cx)).map_err(Into::into);
        let session = this.session.take();
        if let Some(session) = &session {
            session.conclude(&result);
        }
        Poll::Ready(result.map(|response| response.map(|body| Guarded::new(body, Bond(session)))))
    }
}

impl<F> fmt::Debug for ResponseFuture<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture")
            .field("session", &self.session)
            .finish_non_exhaustive()
    }
}

/// The session of a visit that is under way.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) sessions: Sessions,
    pub(super) key: Key,
    pub(super) bound: Option<EndpointId>,
    pub(super) exchange: Exchange,
}

impl Session {
    /// Tells the table what the visit showed, and logs what that changed.
    fn conclude<B>(&self, result: &Result<Response<B>, BoxError>) {
        // Without a balancer there is nothing to be bound to.
        let Some(choice) = self.exchange.choice() else {
            return;
        };
        let visited = Visited {
            bound: self.bound,
            fate: choice.preference,
            end: end(result, choice.endpoint.as_deref()),
        };
        self.tell(&choice, visited);
    }

    /// The answer broke after it was committed: whoever gave it has failed after all.
    fn broke(mut self, verdict: Verdict) {
        let Some(Choice {
            endpoint: Some(endpoint),
            ..
        }) = self.exchange.choice()
        else {
            return;
        };
        self.bound = Some(endpoint.id());
        let visited = Visited {
            bound: self.bound,
            fate: None,
            end: End::Failed(endpoint.id(), verdict),
        };
        let choice = Choice {
            endpoint: Some(endpoint),
            preference: None,
        };
        self.tell(&choice, visited);
    }

    fn tell(&self, choice: &Choice, visited: Visited) {
        let now = time::now();
        let transition = self.sessions.conclude(self.key, visited, now);
        self.log(choice, transition);
        if let Some(transition) = transition {
            self.exchange.note(Event::Binding(transition), now);
        }
    }

    fn log(&self, choice: &Choice, transition: Option<Transition>) {
        let id = self.exchange.id();
        let session = self.key.session;
        let endpoint = choice.endpoint.as_deref();
        if let (Some(bound), Some(Fate::Honoured)) = (endpoint, choice.preference) {
            tracing::info!(
                request_id = %id,
                %session,
                endpoint = %bound.id(),
                name = %bound.name(),
                "using session-bound endpoint"
            );
        }
        let to = endpoint.map(Endpoint::id);
        let name = endpoint.map_or("", |endpoint| endpoint.name());
        match (transition, self.bound, to) {
            (Some(Transition::Bound), _, Some(to)) => tracing::info!(
                request_id = %id,
                %session,
                client = %self.client(),
                endpoint = %to,
                name = name,
                "session unbound => bound"
            ),
            (Some(Transition::Rebound), Some(from), Some(to)) => tracing::warn!(
                request_id = %id,
                %session,
                client = %self.client(),
                from = %from,
                endpoint = %to,
                name = name,
                fate = ?choice.preference,
                "session bound => rebound"
            ),
            (Some(Transition::Invalidated), Some(from), _) => tracing::warn!(
                request_id = %id,
                %session,
                from = %from,
                fate = ?choice.preference,
                "session bound => unbound"
            ),
            (Some(Transition::Escaped), Some(from), Some(to)) => tracing::debug!(
                request_id = %id,
                %session,
                from = %from,
                endpoint = %to,
                name = name,
                fate = ?choice.preference,
                "session escapes for one request"
            ),
            _ => {}
        }
    }

    /// Who sends, as 8 hex digits of the digest.
    fn client(&self) -> impl fmt::Display {
        let digest = self.key.client.0;
        fmt::from_fn(move |f| {
            let shown = digest.iter().take(4);
            shown
                .into_iter()
                .try_for_each(|byte| write!(f, "{byte:02x}"))
        })
    }
}

/// What a session has to do with the answer to one of its requests, until that has ended: the
/// binding to an endpoint whose answer breaks is gone.
#[derive(Debug)]
pub struct Bond(Option<Session>);

impl Guard for Bond {
    fn settle(self, settled: Settled) {
        if let (Some(session), Settled::Broken(kind)) = (self.0, settled)
            && kind.blame() == Blame::Endpoint
        {
            session.broke(Verdict::new(kind));
        }
    }
}

/// How a visit ended at `endpoint`.
fn end<B>(result: &Result<Response<B>, BoxError>, endpoint: Option<&Endpoint>) -> End {
    let Some(id) = endpoint.map(Endpoint::id) else {
        return End::Otherwise;
    };
    match result {
        Ok(response) if response.status().is_success() => End::Answered(id),
        Ok(_) => End::Otherwise,
        Err(error) => {
            let error = &**error;
            if let Some(refused) = Refused::find(error) {
                End::Refused(id, refused.reason(), refused.until())
            } else if find::<Exhausted>(error).is_some()
                || find::<NoEndpoint>(error).is_some()
                || find::<OwnerUnavailable>(error).is_some()
            {
                // Nothing was sent there.
                End::Otherwise
            } else {
                End::Failed(id, Failed::verdict_of(error))
            }
        }
    }
}
