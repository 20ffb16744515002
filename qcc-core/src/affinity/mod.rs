//! Keeps a conversation on the endpoint that answered it, while that endpoint is usable, and
//! sends what names a resource to the account that has it.
//!
//! Prompt caches belong to one account, so a conversation that moves pays for its whole history
//! again. [`Affinity`] stands between Retry and Balance: it asks an [`AffinityKey`] for the
//! session of a request, names the endpoint that the session is bound to as the preference of
//! the visit, and draws the conclusion when the visit is over. It never chooses itself and never
//! makes a request fail: Balance passes over an endpoint that may not be used and says why.
//!
//! A binding is made and its lifetime begun again by a success: a response with a 2xx status,
//! which for a stream is its commit point. Beside these two there are three transitions:
//! - *escape*: this request goes elsewhere and the binding stays, because the endpoint is full,
//!   probing, or cools down for no longer than the patience of the [`Config`], or because this
//!   one request has failed there or cannot be served there;
//! - *rebind*: the endpoint is lost (breaker open, disabled, credential refused, in recovery, a
//!   long cool-down, no member any more), and another one answered;
//! - *invalidate*: the endpoint is lost and nobody answered, or it failed in this visit and is
//!   to blame, be it after its answer was committed. A fault of the caller changes nothing, nor
//!   does a request that is cancelled.
//!
//! # Resources
//!
//! A file, a batch or a stored response exists in one account. A request that names one
//! ([`Facts::resources`](crate::facts::Facts::resources)) goes to the endpoint and credential
//! that have it, or fails with [`OwnerUnavailable`](crate::error::OwnerUnavailable): here alone
//! affinity can make a request fail. Who has what is learnt from answers: from one that tells
//! what was made ([`Watch::made`](crate::classify::Watch::made)), before the client gets to know
//! it, and from every success of a request that is about a resource. It is forgotten with the
//! resource: when that is deleted, or when its owner says that it is not there. A resource
//! whose owner is not known ties nobody. A session whose request was answered by an owner is
//! bound there.
//!
//! Bindings live in memory and are gone after a restart; see [`Sessions`], the handle through
//! which they are read and removed.
//!
//! ```
//! use std::borrow::Cow;
//! use std::sync::Arc;
//!
//! use http::request::Parts;
//! use qcc_core::affinity::{AffinityKey, AffinityLayer, Sessions};
//! use qcc_core::facts::Facts;
//!
//! /// The header of an in-house client.
//! #[derive(Debug)]
//! struct ThreadHeader;
//!
//! impl AffinityKey for ThreadHeader {
//!     fn key<'a>(&self, head: &'a Parts, _: &'a Facts) -> Option<Cow<'a, str>> {
//!         head.headers.get("x-thread")?.to_str().ok().map(Cow::from)
//!     }
//! }
//!
//! let sessions = Sessions::default();
//! let layer = AffinityLayer::new(sessions.clone(), Arc::new(ThreadHeader));
//! # let _ = layer;
//! ```

mod config;
mod future;
mod key;
mod layer;
mod owners;
mod sessions;
mod state;
#[cfg(test)]
mod tests;
mod ties;

use std::sync::Arc;
use std::task::{Context, Poll};

use http::request::Parts;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::config::Config;
pub use self::future::{Bond, ResponseFuture};
pub use self::key::{AffinityKey, NoAffinity};
pub use self::layer::AffinityLayer;
pub use self::sessions::{Bound, Sessions, Stats};

use self::state::Key;
use self::ties::{Session, Ties};
use crate::error::BoxError;
use crate::guard::Guarded;
use crate::record::{Event, SessionHash};
use crate::time;
use crate::visit::{Preferred, Visit};

/// Prefers, for each request of a session, the endpoint that the session is bound to, and wants,
/// for each request that names a resource, the owner of that.
#[derive(Clone, Debug)]
pub struct Affinity<S> {
    inner: S,
    sessions: Sessions,
    key: Arc<dyn AffinityKey>,
}

impl<S> Affinity<S> {
    /// Keeps the sessions that `key` finds, in `sessions`, over the balancer `inner`.
    pub fn new(inner: S, sessions: Sessions, key: Arc<dyn AffinityKey>) -> Self {
        Self {
            inner,
            sessions,
            key,
        }
    }

    /// The service underneath.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service underneath.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service underneath, alone.
    pub fn into_inner(self) -> S {
        self.inner
    }

    /// The ties of the request with this head, and in `head` where it should go.
    fn prefer(&self, head: &mut Parts) -> Option<Ties> {
        let visit = Visit::of(&mut head.extensions);
        // Somebody above may know better where this request belongs.
        let free = visit.preferred.is_none();
        let first = visit.number == 1;
        let exchange = visit.exchange.clone();
        let facts = exchange.facts();
        let client = facts.client;
        let named = &facts.resources;
        let session = self
            .key
            .key(head, facts)
            .filter(|_| free)
            .map(|id| SessionHash::of(&id));
        if session.is_none() && named.is_empty() && facts.makes.is_none() {
            return None;
        }

        let now = time::now();
        let owner = match named.is_empty() {
            false if free => {
                let keys = named.iter().map(|named| (client, named.resource));
                self.sessions.owner(keys, now)
            }
            _ => None,
        };
        let session = session.map(|session| {
            if first {
                exchange.note(Event::Session(session), now);
            }
            let key = Key { client, session };
            let bound = self.sessions.bound(key, now);
            Session { key, bound }
        });
        let bound = session.and_then(|session| session.bound);
        let id = owner.as_ref().map(|owner| owner.endpoint);
        if free {
            Visit::of(&mut head.extensions).preferred = match owner {
                Some(owner) => Some(Preferred::hard(owner.endpoint, owner.credential)),
                None => bound.map(Preferred::soft),
            };
        }
        Some(Ties {
            sessions: self.sessions.clone(),
            exchange,
            session,
            owner: id,
            method: head.method.clone(),
        })
    }
}

impl<S, R, B> Service<Request<R>> for Affinity<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Guarded<B, Bond>>;
    type Error = BoxError;
    type Future = ResponseFuture<S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<R>) -> ResponseFuture<S::Future> {
        let (mut head, body) = request.into_parts();
        let ties = self.prefer(&mut head);
        let request = Request::from_parts(head, body);
        ResponseFuture::new(self.inner.call(request), ties)
    }
}
