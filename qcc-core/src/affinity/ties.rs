//! What a visit has to do with affinity, and the conclusions from its end.

use std::fmt;

use http::{Method, Response};

use super::owners::Owner;
use super::sessions::Sessions;
use super::state::{End, Key, Visited};
use crate::endpoint::{Endpoint, EndpointId};
use crate::error::{BoxError, NoEndpoint, OwnerUnavailable};
use crate::exchange::{Choice, Exchange, Exhausted};
use crate::facts::ClientId;
use crate::failure::{Failed, Refused, Verdict, find};
use crate::hex;
use crate::record::{Event, Fate, Transition};
use crate::resource::{Learnt, Resource, ResourceKind, Role};
use crate::time;

/// The ties of a visit that is under way: its session, and the resources that it names or makes.
#[derive(Debug)]
pub(super) struct Ties {
    pub(super) sessions: Sessions,
    pub(super) exchange: Exchange,
    pub(super) session: Option<Session>,
    /// The owner of what it names, if that is where it has to go.
    pub(super) owner: Option<EndpointId>,
    pub(super) method: Method,
}

/// The session of a visit.
#[derive(Clone, Copy, Debug)]
pub(super) struct Session {
    pub(super) key: Key,
    /// Where it was bound when the visit began.
    pub(super) bound: Option<EndpointId>,
}

impl Ties {
    /// Tells the tables what the visit showed, and logs what that changed.
    pub(super) fn conclude<B>(&self, result: &Result<Response<B>, BoxError>) {
        if self.session.is_none() && self.exchange.facts().resources.is_empty() {
            // Whatever it made is all there is to say.
            return match result {
                Ok(response) if response.status().is_success() => self.learn(),
                _ => {}
            };
        }
        // Without a balancer there is nothing to be bound to.
        let Some(choice) = self.exchange.choice() else {
            return;
        };
        if let Some(session) = self.session {
            // What became of the owner says nothing of another endpoint.
            let told = match choice.preference {
                Some(Fate::Owned) => true,
                _ => self.owner.is_none() || self.owner == session.bound,
            };
            let visited = Visited {
                bound: session.bound,
                fate: choice.preference.filter(|_| told),
                end: end(result, choice.endpoint.as_deref()),
            };
            self.tell(session, &choice, visited);
        }
        self.conclude_resources(result, &choice);
    }

    /// The answer broke after it was committed: whoever gave it has failed after all.
    pub(super) fn broke(self, verdict: Verdict) {
        let (
            Some(mut session),
            Some(Choice {
                endpoint: Some(endpoint),
                ..
            }),
        ) = (self.session, self.exchange.choice())
        else {
            return;
        };
        session.bound = Some(endpoint.id());
        let visited = Visited {
            bound: session.bound,
            fate: None,
            end: End::Failed(endpoint.id(), verdict),
        };
        let choice = Choice {
            endpoint: Some(endpoint),
            preference: None,
        };
        self.tell(session, &choice, visited);
    }

    /// Takes in what the answer has told of resources, before the client knows of them.
    pub(super) fn learn(&self) {
        let Some(Learnt { made, .. }) = self.exchange.take_learnt() else {
            return;
        };
        if let Some(endpoint) = self.exchange.choice().and_then(|choice| choice.endpoint) {
            self.own(&endpoint, made);
        }
    }

    fn conclude_resources<B>(&self, result: &Result<Response<B>, BoxError>, choice: &Choice) {
        let Some(endpoint) = choice.endpoint.as_deref() else {
            if let Some(owner) = self.owner {
                tracing::warn!(
                    request_id = %self.exchange.id(),
                    endpoint = %owner,
                    fate = ?choice.preference,
                    "the owner of a resource cannot be used"
                );
            }
            return;
        };
        if self.owner == Some(endpoint.id()) {
            tracing::info!(
                request_id = %self.exchange.id(),
                endpoint = %endpoint.id(),
                name = %endpoint.name(),
                "using the owner of a resource"
            );
        }
        match result {
            Ok(response) if response.status().is_success() => self.answered(endpoint),
            Ok(_) => {}
            Err(_) => {
                let learnt = self.exchange.take_learnt();
                if let Some(kind) = learnt.and_then(|learnt| learnt.missing) {
                    self.missing(endpoint, kind);
                }
            }
        }
    }

    /// `endpoint` answered well, so it has what the request was about.
    fn answered(&self, endpoint: &Endpoint) {
        let named = &self.exchange.facts().resources;
        let with_role = |wanted: fn(Role) -> bool| {
            let fitting = named.iter().filter(move |named| wanted(named.role));
            fitting.map(|named| named.resource)
        };
        let about = |role| matches!(role, Role::Subject | Role::Parent);
        if self.method == Method::DELETE {
            with_role(|role| role == Role::Subject).for_each(|gone| self.forget(endpoint, gone));
            self.own(endpoint, with_role(|role| role == Role::Parent));
        } else {
            self.own(endpoint, with_role(about));
        }
        if self.owner.is_some() {
            let client = self.exchange.facts().client;
            let now = time::now();
            self.sessions.change_owners(|owners, _| {
                with_role(|role| role == Role::Mention)
                    .for_each(|used| owners.confirm((client, used), endpoint.id(), now));
            });
        }
        self.learn();
    }

    /// `endpoint` says that it does not have what the request names. Of several that it only
    /// mentions, nobody knows which is meant.
    fn missing(&self, endpoint: &Endpoint, kind: ResourceKind) {
        let named = self.exchange.facts().resources.iter();
        let mut meant = named
            .filter(|named| named.resource.kind() == kind && named.role != Role::Parent)
            .peekable();
        let Some(first) = meant.next() else {
            return;
        };
        if first.role == Role::Subject || meant.peek().is_none() {
            self.forget(endpoint, first.resource);
        }
    }

    /// The account at `endpoint` that gave the answer has these resources.
    fn own(&self, endpoint: &Endpoint, resources: impl IntoIterator<Item = Resource>) {
        let mut resources = resources.into_iter().peekable();
        if resources.peek().is_none() {
            return;
        }
        let credential = match endpoint.credential() {
            // There is but one.
            Some(_) => None,
            None => self.exchange.credential(),
        };
        let client = self.exchange.facts().client;
        let now = time::now();
        for resource in resources {
            let owner = Owner {
                endpoint: endpoint.id(),
                credential: credential.clone(),
            };
            let key = (client, resource);
            let is_new = self
                .sessions
                .change_owners(|owners, config| owners.learn(key, owner, config, now));
            if is_new {
                tracing::debug!(
                    request_id = %self.exchange.id(),
                    %resource,
                    endpoint = %endpoint.id(),
                    name = %endpoint.name(),
                    credential = credential.as_deref(),
                    "resource unknown => owned"
                );
            }
        }
    }

    fn forget(&self, endpoint: &Endpoint, resource: Resource) {
        let key = (self.exchange.facts().client, resource);
        let id = endpoint.id();
        if self
            .sessions
            .change_owners(|owners, _| owners.forget(key, id))
        {
            tracing::debug!(
                request_id = %self.exchange.id(),
                %resource,
                endpoint = %id,
                name = %endpoint.name(),
                "resource owned => unknown"
            );
        }
    }

    fn tell(&self, session: Session, choice: &Choice, visited: Visited) {
        let now = time::now();
        let transition = self.sessions.conclude(session.key, visited, now);
        self.log(session, choice, transition);
        if let Some(transition) = transition {
            self.exchange.note(Event::Binding(transition), now);
        }
    }

    fn log(&self, session: Session, choice: &Choice, transition: Option<Transition>) {
        let id = self.exchange.id();
        let Session { key, bound } = session;
        let session = key.session;
        let endpoint = choice.endpoint.as_deref();
        if let (Some(bound), Some(Fate::Honoured)) = (endpoint, choice.preference) {
            // Whoever logs records says so there, in the one line of a request.
            tracing::debug!(
                request_id = %id,
                %session,
                endpoint = %bound.id(),
                name = %bound.name(),
                "using session-bound endpoint"
            );
        }
        let to = endpoint.map(Endpoint::id);
        let name = endpoint.map_or("", |endpoint| endpoint.name());
        match (transition, bound, to) {
            (Some(Transition::Bound), _, Some(to)) => tracing::info!(
                request_id = %id,
                %session,
                client = %shown(key.client),
                endpoint = %to,
                name = name,
                "session unbound => bound"
            ),
            (Some(Transition::Rebound), Some(from), Some(to)) => tracing::warn!(
                request_id = %id,
                %session,
                client = %shown(key.client),
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
}

/// Who sends, as 8 hex digits of the digest.
fn shown(client: ClientId) -> impl fmt::Display {
    let [a, b, c, d, ..] = client.0;
    fmt::from_fn(move |f| hex::write(f, [a, b, c, d]))
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
