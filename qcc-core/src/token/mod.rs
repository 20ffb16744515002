//! The token pool: gives each send a credential, and changes it where one is limited or refused.
//!
//! A limit belongs to a credential, not to the endpoint: an endpoint with three keys of which
//! one is exhausted is well. So the pool stands below breaker and health, on the one road that
//! every request takes, and what goes up says what a failure means for the endpoint. Inside one
//! request a credential that is limited, out of quota or refused is left and the next one is
//! used at once, through all [tiers](Tier), without costing an attempt: the failure of the last
//! one goes up only when nobody is left. A failure that is the endpoint's or the caller's goes
//! up as it is and changes nothing here.
//!
//! A credential comes from a [`TokenSource`]. One that is stale is refreshed before it is used;
//! one that is refused although it looked fresh is refreshed once and tried again. There is one
//! refresh at a time for each, shared by all who wait for it. The library never spawns, so it is
//! driven by those who wait and by [`Tokens::maintenance`], which also renews what is in use
//! before it becomes stale.
//!
//! What goes up: the refusal of one credential of several is no reason to disable the endpoint;
//! it goes up as a limit, which ends when the first other credential can be used. Only when every
//! credential is refused does kind `auth` go up.
//!
//! The credential goes down in [`Visit::credential`](crate::visit::Visit::credential); only the
//! layer that makes the request for the upstream puts it into a header. It is set for every
//! request, to nothing where the endpoint needs none, so that no credential can reach another
//! endpoint than its own.
//!
//! The [`Tokens`] handle is a gate: the endpoint is left out while all credentials cool down or
//! are refused. A cool-down ends by itself, without a task that has to run.

mod config;
mod future;
mod handle;
mod layer;
mod lease;
mod loan;
mod pool;
mod rehearsal;
mod round;
mod seats;
mod slot;
mod source;
mod state;
mod status;
mod supply;
#[cfg(test)]
mod tests;
mod upkeep;

use std::task::{Context, Poll};

use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::config::Config;
pub use self::future::TokenPoolFuture;
pub use self::handle::Tokens;
pub use self::layer::TokenPoolLayer;
pub use self::lease::Lease;
pub(crate) use self::loan::Loan;
pub use self::pool::Pool;
pub use self::rehearsal::Rehearsal;
pub use self::source::{Held, Lifetime, NotRefreshed, Refresh, SourceId, Tier, TokenSource};
pub use self::state::TokenState;
pub use self::status::TokenStatus;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::guard::Guarded;

/// One endpoint's service, whose requests carry a credential.
#[derive(Clone, Debug)]
pub struct TokenPool<S> {
    inner: S,
    tokens: Tokens,
}

impl<S> TokenPool<S> {
    /// `inner`, with credentials of `tokens`.
    #[must_use]
    pub const fn new(inner: S, tokens: Tokens) -> Self {
        Self { inner, tokens }
    }

    /// The service that gets the credentials.
    #[must_use]
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service that gets the credentials.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// The service that gets the credentials.
    #[must_use]
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for TokenPool<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone,
    S::Error: Into<BoxError>,
    B: Body,
{
    type Response = Response<Guarded<B, Lease>>;
    type Error = BoxError;
    type Future = TokenPoolFuture<S, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        TokenPoolFuture::new(&mut self.inner, &self.tokens, request)
    }
}
