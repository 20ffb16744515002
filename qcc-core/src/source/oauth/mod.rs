//! Access tokens for a refresh token (RFC 6749, section 6).

mod issuer;
mod kept;
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
use super::store::{Access, Entry, Login, TokenStore};
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
/// Two sources that were made of the same refresh token know of each other only through a
/// [`TokenStore`], which they need as soon as the issuer rotates refresh tokens: one that was
/// used is good no more.
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
    kept: Option<Login>,
    state: Arc<State>,
}

struct State {
    holder: Holder,
    chain: Mutex<Chain>,
}

/// Where the chain of refresh tokens is.
struct Chain {
    /// The one that is good now.
    refresh: Credential,
    /// What was given and could not be kept yet.
    unkept: Option<Entry>,
    /// What somebody should know.
    trouble: Option<Arc<str>>,
}

impl OAuth {
    /// Access tokens for the refresh token `login` from `issuer`, asked for over `upstream`,
    /// which must not follow redirects. They have the name of `login`.
    pub fn new<S: Upstream>(login: Credential, issuer: Issuer, upstream: S) -> Self {
        Self {
            issuer: Arc::new(issuer),
            asker: Asker::new(upstream),
            clock: Arc::new(SystemClock),
            kept: None,
            state: Arc::new(State {
                holder: Holder::new(),
                chain: Mutex::new(Chain {
                    refresh: login.clone(),
                    unkept: None,
                    trouble: None,
                }),
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

    /// Keeps what must survive the process in `store`, and goes on with what was kept there for
    /// this refresh token: the one that took its place, and the access token. Call it last; it
    /// reads a small file, which blocks for a moment.
    ///
    /// From then on a refresh token that the issuer rotated is stored before the access token
    /// that came with it is used, and one refresh at a time is sent by all sources and processes
    /// that share the store. What is the matter with the file, and whether an earlier process was
    /// killed during a refresh, is told in [`TokenStatus::trouble`] and does not stop anything.
    ///
    /// # Errors
    ///
    /// A refresh then fails [for now](NotRefreshed::for_now) also if the store cannot be read or
    /// written; before anything is sent, if its answer could not be stored.
    ///
    /// [`TokenStatus::trouble`]: crate::token::TokenStatus::trouble
    #[must_use]
    pub fn with_store(mut self, store: &TokenStore) -> Self {
        // The file belongs to what was configured, whoever issued it.
        let login = store.login(&SourceId::of(["refresh token", self.login.expose()]));
        self.resume(&login);
        self.kept = Some(login);
        self
    }

    /// Gets another token than `before`, unless somebody else has meanwhile.
    async fn renew(&self, before: Option<Arc<Token>>) -> Result<(), NotRefreshed> {
        let Some(_turn) = self.state.holder.turn(before.as_ref()).await else {
            return Ok(());
        };
        if let Some(login) = &self.kept {
            return self.renew_kept(login, before.as_deref()).await;
        }
        let used = self.current();
        let answer = self.ask(&used).await.map_err(|refusal| refusal.error)?;
        if let Some(refresh) = &answer.refresh {
            self.lock().refresh = self.named(refresh);
        }
        self.state.holder.set(self.token(&self.access(&answer)));
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

    /// The access token of an answer that came just now.
    fn access(&self, answer: &Answer) -> Access {
        let today = self.clock.now();
        Access::new(answer.access.clone(), today, answer.expiry.date(today))
    }

    fn token(&self, access: &Access) -> Token {
        let (today, now) = (self.clock.now(), time::now());
        let (got, margin) = (access.got(), self.issuer.margin());
        let life = |expires| expiry::lifetime(got, expires, margin, today, now);
        Token {
            credential: self.named(&access.token).sent_as(Auth::Bearer),
            lifetime: access.expires().map(life),
        }
    }

    fn named(&self, secret: &str) -> Credential {
        Credential::new(self.login.name().clone(), secret)
    }

    fn current(&self) -> Credential {
        self.lock().refresh.clone()
    }

    fn lock(&self) -> MutexGuard<'_, Chain> {
        // Each field is written whole, and they do not depend on each other.
        let chain = self.state.chain.lock();
        chain.unwrap_or_else(PoisonError::into_inner)
    }
}

impl TokenSource for OAuth {
    fn id(&self) -> SourceId {
        let id = self.issuer.id(&self.login);
        match &self.kept {
            Some(kept) => {
                let dir = kept.dir().as_os_str().as_encoded_bytes();
                SourceId::of([&id.as_bytes()[..], dir])
            }
            None => id,
        }
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

    fn trouble(&self) -> Option<Arc<str>> {
        self.lock().trouble.clone()
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
