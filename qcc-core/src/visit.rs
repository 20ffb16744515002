//! One stay at one endpoint: what the layers above `Balance` want of it.

use std::sync::Arc;

use http::Extensions;
use smallvec::SmallVec;

use crate::credential::Credential;
use crate::endpoint::EndpointId;
use crate::exchange::Exchange;

/// The second of the two extension types: one for each visit, in the request that goes down.
/// Retry and Affinity write it, Balance and the layers of the endpoint read it.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Visit {
    /// The request as a whole.
    pub exchange: Exchange,
    /// The number of the visit in its request, from 1.
    pub number: u32,
    /// The endpoints that failed in this request.
    pub excluded: Excluded,
    /// The endpoint that is wanted.
    pub preferred: Option<Preferred>,
    /// Whether the breaker has to let it through.
    pub admission: Admission,
    /// The credential that the send uses. Without one nothing leaves for an endpoint that needs
    /// one.
    pub credential: Option<Credential>,
    /// Whether the send wants a connection that is made for it, because one that was kept has
    /// just failed and others may have been closed at the same moment. Set by `QuickRetry`, for
    /// the HTTP client.
    pub fresh_connection: bool,
    /// The endpoint that called the request invalid, if this visit is the second opinion on it.
    /// Set by Retry; if the visit ends well, Balance tells the gates of that endpoint.
    pub contested: Option<EndpointId>,
}

impl Visit {
    /// The first visit of `exchange`.
    #[must_use]
    pub fn new(exchange: Exchange) -> Self {
        Self {
            exchange,
            number: 1,
            excluded: Excluded::default(),
            preferred: None,
            admission: Admission::Normal,
            credential: None,
            fresh_connection: false,
            contested: None,
        }
    }

    /// The visit that a request belongs to. Where no layer above made one, it is made now, so
    /// that each layer works alone.
    pub fn of(extensions: &mut Extensions) -> &mut Self {
        if extensions.get::<Self>().is_none() {
            let exchange = Exchange::of(extensions);
            extensions.insert(Self::new(exchange));
        }
        #[expect(clippy::expect_used, reason = "inserted two lines above")]
        extensions.get_mut::<Self>().expect("a visit was inserted")
    }

    /// The name of the one credential that will do, if the visit is bound to one.
    #[must_use]
    pub fn owned_credential(&self) -> Option<&str> {
        let owner = self.preferred.as_ref()?;
        owner
            .credential
            .as_deref()
            .filter(|_| owner.strength == Strength::Hard)
    }
}

/// Endpoints that are not to be used again in a request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Excluded(SmallVec<[EndpointId; 4]>);

impl Excluded {
    /// Adds an endpoint. Returns whether it was new.
    pub fn insert(&mut self, id: EndpointId) -> bool {
        let new = !self.contains(id);
        if new {
            self.0.push(id);
        }
        new
    }

    /// Whether an endpoint is excluded.
    #[must_use]
    pub fn contains(&self, id: EndpointId) -> bool {
        self.0.contains(&id)
    }

    /// Whether none is.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The endpoint that a request should go to.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Preferred {
    /// Which.
    pub endpoint: EndpointId,
    /// The name of the one credential that will do there; `None` if any of them will.
    pub credential: Option<Arc<str>>,
    /// How much.
    pub strength: Strength,
}

impl Preferred {
    /// `endpoint` if it can be had.
    #[must_use]
    pub const fn soft(endpoint: EndpointId) -> Self {
        Self {
            endpoint,
            credential: None,
            strength: Strength::Soft,
        }
    }

    /// `endpoint` and nobody else, there with the credential of this name, if one is given.
    #[must_use]
    pub const fn hard(endpoint: EndpointId, credential: Option<Arc<str>>) -> Self {
        Self {
            endpoint,
            credential,
            strength: Strength::Hard,
        }
    }
}

/// How much a preference binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Strength {
    /// Another endpoint can answer, too; it only costs a prompt cache.
    Soft,
    /// No other endpoint can answer: the request names something that exists there alone. If it
    /// cannot be used, `Balance` answers
    /// [`OwnerUnavailable`](crate::error::OwnerUnavailable).
    Hard,
}

/// How a visit passes the breaker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Admission {
    /// As the breaker says.
    #[default]
    Normal,
    /// Through an open breaker, because nothing else is left. Set by Balance alone.
    LastResort,
}
