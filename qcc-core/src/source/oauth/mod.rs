//! Access tokens for a refresh token (RFC 6749, section 6).

mod issuer;
mod refusal;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

pub use self::issuer::{Encoding, Issuer};
use self::refusal::Refusal;
use super::answer::Answer;
use super::ask::Asker;
use super::expiry;
use super::held::{Holder, Token};
use crate::credential::Credential;
use crate::endpoint::Auth;
use crate::time::{self, Instant, SystemClock, WallClock};
use crate::token::{Held, Lifetime, NotRefreshed, Refresh, SourceId, TokenSource};
use crate::upstream::Upstream;

/// Access tokens that an [`Issuer`] gives for a refresh token.
///
/// The access token is refreshed [some time](Issuer::with_margin) before it expires: at the
/// `expires_in` of the answer, at its `expires_at` or `expiry`, or at the `exp` of a token that
/// is a JWT, which is read and not verified. A JWT without a readable `exp` counts as expired,
/// but whatever was just got is used for half a minute; another token whose end nobody tells is
/// used until it is refused. If the issuer answers with another refresh token, that one is used
/// from then on.
///
/// The access token is sent as `authorization: Bearer …`, unless the endpoint names another form.
///
/// Clones are one source: it may be given to several pools, which then share token and refresh.
/// Two sources that were made of the same refresh token know nothing of each other.
///
/// # Errors
///
/// A refresh fails [for now](NotRefreshed::for_now) if there is no answer in time, and at 5xx,
/// 429, a redirect, which is never followed, or anything that is not understood; it fails
/// [for good](NotRefreshed::for_good) if 400, 401 or 403 says that the refresh token or the
/// request will never do. The text names the host, the code and what to do, and no secret.
#[derive(Clone)]
pub struct OAuth {
    login: Credential,
    issuer: Arc<Issuer>,
    asker: Asker,
    clock: Arc<dyn WallClock>,
    state: Arc<State>,
}

struct State {
    holder: Holder,
    /// The refresh token that is good now.
    current: Mutex<Credential>,
}

impl OAuth {
    /// Access tokens for the refresh token `login` from `issuer`, asked for over `upstream`,
    /// which must not follow redirects. They have the name of `login`.
    pub fn new<S: Upstream>(login: Credential, issuer: Issuer, upstream: S) -> Self {
        Self {
            issuer: Arc::new(issuer),
            asker: Asker::new(upstream),
            clock: Arc::new(SystemClock),
            state: Arc::new(State {
                holder: Holder::new(),
                current: Mutex::new(login.clone()),
            }),
            login,
        }
    }

    /// Takes the date, which the end of a token is reckoned with, from `clock`; from the system
    /// by default.
    #[must_use]
    pub fn with_clock(mut self, clock: Arc<dyn WallClock>) -> Self {
        self.clock = clock;
        self
    }

    /// Gets another token than `before`, unless somebody else has meanwhile.
    async fn renew(&self, before: Option<Arc<Token>>) -> Result<(), NotRefreshed> {
        let Some(_turn) = self.state.holder.turn(before.as_ref()).await else {
            return Ok(());
        };
        let used = self.current();
        let answer = self.ask(&used).await.map_err(|refusal| refusal.error)?;
        if let Some(refresh) = &answer.refresh {
            *self.lock() = Credential::new(self.login.name().clone(), &**refresh);
        }
        self.hold(&answer);
        Ok(())
    }

    async fn ask(&self, used: &Credential) -> Result<Answer, Refusal> {
        let request = self.issuer.request(used.expose());
        let (host, limit) = (self.issuer.url().host(), self.issuer.timeout());
        match self.asker.ask(request, host, limit).await {
            Ok((status, body)) => refusal::judge(status, &body, host, used),
            Err(text) => Err(Refusal::unknown(text)),
        }
    }

    fn hold(&self, answer: &Answer) {
        let (today, now) = (self.clock.now(), time::now());
        let expires = answer.expiry.date(today);
        let margin = self.issuer.margin();
        let name = self.login.name().clone();
        self.state.holder.set(Token {
            credential: Credential::new(name, &*answer.access).sent_as(Auth::Bearer),
            lifetime: expires.map(|expires| expiry::lifetime(today, expires, margin, today, now)),
        });
    }

    fn current(&self) -> Credential {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Credential> {
        // Written whole.
        let current = self.state.current.lock();
        current.unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenSource for OAuth {
    fn id(&self) -> SourceId {
        self.issuer.id(&self.login)
    }

    fn held(&self, now: Instant) -> Held {
        self.state.holder.held(now)
    }

    fn lifetime(&self) -> Option<Lifetime> {
        self.state.holder.lifetime()
    }

    fn is_refreshable(&self) -> bool {
        true
    }

    fn refresh(&self) -> Option<Refresh> {
        let this = self.clone();
        let before = self.state.holder.get();
        Some(Box::pin(async move { this.renew(before).await }))
    }
}

impl fmt::Debug for OAuth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth")
            .field("login", &self.login)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
