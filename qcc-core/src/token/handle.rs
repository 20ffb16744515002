//! The handle: the ring behind its lock, and the lease that settles itself.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tracing::{info, warn};

use super::source::TokenSource;
use super::state::{Place, Ring, TokenState, Transition};
use crate::available::{Availability, Available, Query, Reason};
use crate::credential::Credential;
use crate::endpoint::Endpoint;
use crate::error::BoxError;
use crate::failure::{Blame, Failed, Kind, Verdict};
use crate::guard::{Guard, Settled};
use crate::time::{self, Instant};

/// The credentials of one endpoint: given to its [layer](super::TokenPoolLayer), registered as
/// a gate, recovered by the operator. Cheap to clone; all clones are one pool.
#[derive(Clone)]
pub struct Tokens(Arc<Shared>);

struct Shared {
    endpoint: Arc<Endpoint>,
    sources: Box<[Arc<dyn TokenSource>]>,
    ring: Mutex<Ring>,
    /// Whether anything is known against a credential. Published under the lock; a look at a
    /// pool that is well needs no more than this.
    notable: AtomicBool,
}

/// One credential of a pool at one moment, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it can be used.
    pub state: TokenState,
    /// How often in a row it was limited or refused.
    pub failures: u32,
    /// When it was last sent.
    pub last_use: Option<Instant>,
}

impl Tokens {
    /// The one credential of `endpoint`, or none if it has none.
    #[must_use]
    pub fn fixed(endpoint: Arc<Endpoint>) -> Self {
        let credential = endpoint.credential().cloned();
        Self::new(endpoint, credential)
    }

    /// Credentials that take turns. Without any, nothing is sent to an endpoint that
    /// [needs](Endpoint::needs_credential) one.
    #[must_use]
    pub fn new(endpoint: Arc<Endpoint>, credentials: impl IntoIterator<Item = Credential>) -> Self {
        let sources = credentials
            .into_iter()
            .map(|credential| Arc::new(credential) as Arc<dyn TokenSource>);
        Self::from_sources(endpoint, sources)
    }

    /// Credentials of any source, which take turns.
    #[must_use]
    pub fn from_sources(
        endpoint: Arc<Endpoint>,
        sources: impl IntoIterator<Item = Arc<dyn TokenSource>>,
    ) -> Self {
        let sources: Box<[_]> = sources.into_iter().collect();
        // Where no credential is needed there is one place without one: the limits of such an
        // endpoint belong to the address that we send from.
        let places = match sources.len() {
            0 => usize::from(!endpoint.needs_credential()),
            sources => sources,
        };
        let ring = Ring::new(places);
        let notable = AtomicBool::new(ring.is_notable());
        Self(Arc::new(Shared {
            endpoint,
            sources,
            ring: Mutex::new(ring),
            notable,
        }))
    }

    /// The same credentials for `endpoint` as it is configured now.
    ///
    /// The id of an endpoint covers its credential, so one that is the same has the same.
    #[must_use]
    pub fn continued(&self, endpoint: &Endpoint) -> Self {
        debug_assert_eq!(self.0.endpoint.id(), endpoint.id());
        self.clone()
    }

    /// The endpoint whose credentials these are.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    /// The credentials as they are at `now`, without their secrets. Changes nothing.
    #[must_use]
    pub fn snapshot(&self, now: Instant) -> Vec<TokenStatus> {
        let ring = self.lock();
        let named = self.0.sources.iter().zip(ring.iter(now));
        named
            .map(|(source, slot)| TokenStatus {
                name: source.name().clone(),
                state: slot.state,
                failures: slot.failures,
                last_use: slot.last_use,
            })
            .collect()
    }

    /// Takes refused credentials for good again. Sends that began before can refuse them no
    /// more. Returns whether there was one.
    pub fn recover(&self) -> bool {
        let changed = self.change(Ring::recover);
        if changed {
            self.log_operator("refused => active");
        }
        changed
    }

    /// Ends the cool-downs of all credentials. Returns whether one was running.
    pub fn clear_limits(&self) -> bool {
        let now = time::now();
        let changed = self.change(|ring| ring.clear_limits(now));
        if changed {
            self.log_operator("cooling => active");
        }
        changed
    }

    /// Leases a credential, or `None` in it where none is needed.
    ///
    /// # Errors
    ///
    /// Why no request can be sent, and until when.
    pub(super) fn lease(
        &self,
        now: Instant,
    ) -> Result<(Lease, Option<Credential>), (Reason, Option<Instant>)> {
        let sources = &self.0.sources;
        let mut ring = self.lock();
        let leased = ring.pick(now, |index| match sources.get(index) {
            Some(source) => source.snapshot(now).map(Some),
            None => Some(None),
        });
        match leased {
            Some((place, credential)) => {
                let tokens = self.clone();
                Ok((Lease { tokens, place }, credential))
            }
            None => Err(match ring.availability(now) {
                Availability::Out { reason, until, .. } => (reason, until),
                // One could be used, but its source has nothing to send.
                _ => (Reason::Cooling, None),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        // Each place stands for itself, and every field of it is written whole.
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Ring) -> T) -> T {
        let mut ring = self.lock();
        let result = change(&mut ring);
        self.0.notable.store(ring.is_notable(), Ordering::Release);
        result
    }

    fn is_notable(&self) -> bool {
        self.0.notable.load(Ordering::Acquire)
    }

    fn log_operator(&self, change: &'static str) {
        let (endpoint, name) = (self.0.endpoint.id(), &**self.0.endpoint.name());
        info!(%endpoint, name, "credentials: {change} (operator)");
    }
}

impl Available for Tokens {
    fn availability(&self, query: &Query<'_>) -> Availability {
        if !self.is_notable() {
            return Availability::Ready;
        }
        self.lock().availability(query.now)
    }
}

impl fmt::Debug for Tokens {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tokens")
            .field("endpoint", self.0.endpoint.name())
            .field("credentials", &self.0.sources.len())
            .finish_non_exhaustive()
    }
}

/// A credential in use. It learns from the end of the answer how the send went; one that is
/// dropped before learns nothing.
#[derive(Debug)]
pub struct Lease {
    tokens: Tokens,
    place: Place,
}

impl Lease {
    fn judge(&self, verdict: Verdict) -> Verdict {
        let now = time::now();
        let (transition, judged) = self.tokens.change(|ring| {
            let transition = ring.failed(self.place, verdict, now);
            (transition, ring.verdict(self.place, verdict, now))
        });
        let shared = &*self.tokens.0;
        let source = shared.sources.get(self.place.index);
        let credential = source.map_or("none", |source| &**source.name());
        let (endpoint, name, kind) = (shared.endpoint.id(), shared.endpoint.name(), verdict.kind);
        match transition {
            Some(Transition::Refused) => warn!(
                %endpoint, %name, credential, %kind,
                "credential: active => refused"
            ),
            Some(Transition::Cooling(until)) => {
                let wait = until.saturating_duration_since(now);
                info!(
                    %endpoint, %name, credential, %kind, ?wait,
                    "credential: active => cooling"
                );
            }
            None => {}
        }
        judged
    }
}

/// `error` with another verdict.
///
/// A refusal that turns into a limit keeps the refused answer in its source only: an answer
/// that says 401 must not be relayed as the answer to a limit.
fn rejudge(error: BoxError, verdict: Verdict, judged: Verdict) -> BoxError {
    if verdict.kind == Kind::Auth {
        return Failed::new(judged).with_source(error).into();
    }
    match error.downcast::<Failed>() {
        Ok(failed) => failed.with_verdict(judged).into(),
        Err(error) => {
            let outer = Failed::new(judged);
            match Failed::find(&*error).and_then(Failed::response) {
                Some(response) => outer.with_response(response.clone()),
                None => outer,
            }
            .with_source(error)
            .into()
        }
    }
}

impl Guard for Lease {
    fn fail(self, error: BoxError) -> BoxError {
        match Failed::verdict_if_sent(&*error) {
            Some(verdict) if verdict.blame == Blame::Credential => {
                let judged = self.judge(verdict);
                if judged == verdict {
                    error
                } else {
                    rejudge(error, verdict, judged)
                }
            }
            _ => error,
        }
    }

    fn settle(self, settled: Settled) {
        match settled {
            Settled::Clean if self.tokens.is_notable() => {
                self.tokens.change(|ring| ring.succeeded(self.place));
            }
            Settled::Broken(kind) if kind.blame() == Blame::Credential => {
                self.judge(Verdict::new(kind));
            }
            _ => {}
        }
    }
}
