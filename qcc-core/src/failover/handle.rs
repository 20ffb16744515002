use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;

use futures_util::future::{join_all, join3};

use crate::affinity::Sessions;
use crate::available::{Availability, Available, Bell, Query, Reason};
use crate::balance::{Load, Member};
use crate::breaker::{self, Breaker};
use crate::endpoint::{Endpoint, EndpointId, Endpoints};
use crate::facts::Facts;
use crate::health::{self, Health, is_healthy};
use crate::recovery::{self, Recovery};
use crate::time::{self, Duration, Instant, SystemClock, WallClock as _};
use crate::token::{Pool, Tokens};

/// How often [`Handle::maintenance`] forgets limits and marks that are over.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// Looks at the endpoints of a [`Failover`](super::Failover) and operates them. A clone sees and
/// changes the same state; every change holds for the next request.
#[derive(Clone, Debug)]
pub struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    endpoints: Endpoints,
    states: Vec<EndpointState>,
    ids: HashMap<EndpointId, usize>,
    sessions: Sessions,
    /// Rings when an endpoint failed or came back.
    bell: Bell,
}

/// The state of one endpoint. There is one for each id: forwarding, choosing, operating and
/// looking all see the same.
#[derive(Clone, Debug)]
pub(super) struct EndpointState {
    pub(super) endpoint: Arc<Endpoint>,
    pub(super) breaker: Breaker,
    pub(super) health: Health,
    pub(super) tokens: Tokens,
    pub(super) recovery: Recovery,
    pub(super) load: Load,
}

impl EndpointState {
    pub(super) fn new(
        endpoint: Arc<Endpoint>,
        pool: Option<Pool>,
        breaker: Breaker,
        health: Health,
        recovery: Recovery,
    ) -> Self {
        let tokens = match pool {
            Some(pool) => Tokens::pooled(endpoint.clone(), pool),
            None => Tokens::fixed(endpoint.clone()),
        };
        Self {
            breaker,
            health,
            tokens,
            recovery,
            load: Load::new(),
            endpoint,
        }
    }

    /// The same state for `endpoint` as it is configured now.
    pub(super) fn continued(
        &self,
        endpoint: Arc<Endpoint>,
        pool: Option<Pool>,
        config: breaker::Config,
        recovery: recovery::Config,
    ) -> Self {
        let tokens = self.tokens.continued(&endpoint, pool);
        let health = self.health.continued(endpoint.clone());
        if !tokens.is(&self.tokens) {
            health.renewed();
        }
        Self {
            breaker: self.breaker.continued(endpoint.clone(), config),
            health,
            tokens,
            recovery: self.recovery.continued(endpoint.clone(), recovery),
            load: self.load.clone(),
            endpoint,
        }
    }

    /// The endpoint as Balance sees it. Queue and breaker are the last gates: an endpoint that is
    /// out for nothing else may serve as last resort.
    pub(super) fn member(&self) -> Member {
        let gates: [Arc<dyn Available>; 4] = [
            Arc::new(self.health.clone()),
            Arc::new(self.tokens.clone()),
            Arc::new(self.recovery.clone()),
            Arc::new(self.breaker.clone()),
        ];
        Member::new(self.endpoint.clone(), gates).with_load(self.load.clone())
    }
}

impl Handle {
    pub(super) fn new(
        endpoints: Endpoints,
        states: Vec<EndpointState>,
        sessions: Sessions,
        bell: Bell,
    ) -> Self {
        let ids = states
            .iter()
            .enumerate()
            .map(|(index, state)| (state.endpoint.id(), index))
            .collect();
        Self(Arc::new(Inner {
            endpoints,
            states,
            ids,
            sessions,
            bell,
        }))
    }

    /// The endpoints, with the entries that were dropped as duplicates.
    #[must_use]
    pub fn endpoints(&self) -> &Endpoints {
        &self.0.endpoints
    }

    /// The state of every endpoint, in the order in which they were given. Changes nothing.
    #[must_use]
    pub fn status(&self) -> Vec<EndpointStatus> {
        self.handles().map(|handle| handle.status()).collect()
    }

    /// One endpoint.
    #[must_use]
    pub fn endpoint(&self, id: EndpointId) -> Option<EndpointHandle> {
        let index = self.index(id)?;
        Some(EndpointHandle(self.0.states[index].clone()))
    }

    pub(super) fn index(&self, id: EndpointId) -> Option<usize> {
        self.0.ids.get(&id).copied()
    }

    pub(super) fn bell(&self) -> &Bell {
        &self.0.bell
    }

    /// The endpoint that a person means: by its name, or by the start of its shown id (at least
    /// 4 hex digits) if that fits one endpoint only.
    #[must_use]
    pub fn find(&self, text: &str) -> Option<EndpointHandle> {
        let named = |handle: &EndpointHandle| &**handle.endpoint().name() == text;
        if let Some(handle) = self.handles().find(named) {
            return Some(handle);
        }
        let mut fitting = self.handles().filter(|handle| {
            text.len() >= 4 && handle.endpoint().id().to_string().starts_with(text)
        });
        match (fitting.next(), fitting.next()) {
            (Some(handle), None) => Some(handle),
            _ => None,
        }
    }

    /// The bindings of sessions.
    #[must_use]
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// Forgets limits, marks and inactivity that are over, and logs each once. No request waits
    /// for that: an endpoint whose time is over is used before anybody swept. Returns how many
    /// endpoints had any. [`maintenance`](Self::maintenance) does it every minute.
    pub fn sweep(&self, now: Instant) -> usize {
        let states = self.0.states.iter();
        states
            .filter(|state| state.health.sweep(now) | (state.tokens.sweep(now) > 0))
            .count()
    }

    /// What has to be done from time to time: run it beside your service, and drop it with it.
    /// Removes expired bindings, forgets limits that are over, renews credentials that are in
    /// use, and drives refreshes of credentials to their end.
    ///
    /// # Cancel safety
    ///
    /// Dropping it at any point loses nothing, as long as the stack lives: see
    /// [`settled`](Self::settled).
    pub fn maintenance(&self) -> impl Future<Output = Infallible> + Send + use<> {
        let sessions = self.0.sessions.maintenance();
        let handle = self.clone();
        let sweep = async move {
            loop {
                tokio::time::sleep(SWEEP_EVERY).await;
                handle.sweep(time::now());
            }
        };
        let tokens: Vec<_> = self
            .0
            .states
            .iter()
            .filter(|state| state.tokens.has_refreshable())
            .map(|state| state.tokens.maintenance())
            .collect();
        async move {
            // None of them ends.
            join3(sessions, sweep, join_all(tokens)).await.0
        }
    }

    /// Ready when no refresh of a credential is under way any more. Await it before the stack is
    /// dropped for good: a refresh token that was rotated and not yet stored would be lost.
    ///
    /// # Cancel safety
    ///
    /// May be dropped and begun again.
    pub fn settled(&self) -> impl Future<Output = ()> + Send + use<> {
        let settled: Vec<_> = self
            .0
            .states
            .iter()
            .map(|state| state.tokens.settled())
            .collect();
        async move {
            join_all(settled).await;
        }
    }

    fn handles(&self) -> impl Iterator<Item = EndpointHandle> {
        self.0.states.iter().cloned().map(EndpointHandle)
    }
}

/// Looks at one endpoint and operates it.
#[derive(Clone, Debug)]
pub struct EndpointHandle(EndpointState);

impl EndpointHandle {
    /// The endpoint.
    #[must_use]
    pub fn endpoint(&self) -> &Arc<Endpoint> {
        &self.0.endpoint
    }

    pub(super) fn state(&self) -> &EndpointState {
        &self.0
    }

    /// Its breaker.
    #[must_use]
    pub fn breaker(&self) -> &Breaker {
        &self.0.breaker
    }

    /// Its record.
    #[must_use]
    pub fn health(&self) -> &Health {
        &self.0.health
    }

    /// Its credentials.
    #[must_use]
    pub fn tokens(&self) -> &Tokens {
        &self.0.tokens
    }

    /// Its place in the queue of those that failed.
    #[must_use]
    pub fn recovery(&self) -> &Recovery {
        &self.0.recovery
    }

    /// Lets requests go there again: clears refused credentials, the auth failure and the operator's
    /// own setting, its place in the queue, and the breaker, in this order, so that no request sees
    /// it half enabled. Returns whether something changed.
    pub fn enable(&self) -> bool {
        let credentials = self.0.tokens.recover(None) > 0;
        let health = self.0.health.enable();
        let queue = self.0.recovery.release();
        let breaker = self.0.breaker.reset();
        credentials | health | queue | breaker
    }

    /// Ends what rate limits cause: the cool-downs of its credentials and its own. Returns
    /// whether one was running.
    pub fn clear_limits(&self) -> bool {
        self.0.tokens.clear_limits() | self.0.health.clear_limits()
    }

    /// Uses credentials again that were refused or are inactive: the one of this name, or all.
    /// Also clears the auth failure of the endpoint. Returns how many there were.
    pub fn recover_tokens(&self, name: Option<&str>) -> usize {
        let recovered = self.0.tokens.recover(name);
        if recovered > 0 {
            self.0.health.renewed();
        }
        recovered
    }

    /// Lets no new request go there; those in flight end normally. Returns whether something
    /// changed.
    pub fn disable(&self) -> bool {
        self.0.health.disable()
    }

    /// Its state. Changes nothing.
    #[must_use]
    pub fn status(&self) -> EndpointStatus {
        let now = time::now();
        let state = &self.0;
        let health = state.health.snapshot(now);
        let breaker = state.breaker.snapshot(now);
        let auth_failed = health.auth_failure.is_some();
        let consecutive_failures = health.consecutive_failures(breaker.failures);
        let (head, ()) = http::Request::new(()).into_parts();
        let facts = Facts::default();
        let out = match state.member().availability(&Query::new(&head, &facts, now)) {
            Availability::Out { reason, until, .. } => Some((
                reason,
                until.map(|until| until.saturating_duration_since(now)),
            )),
            _ => None,
        };
        let cooling = matches!(out, Some((Reason::Cooling, _)));
        let recovery = state.recovery.snapshot(now);
        let status = match health.status {
            _ if recovery.member.is_some() => health::Status::Unhealthy,
            health::Status::Healthy | health::Status::Unknown if cooling => {
                health::Status::Degraded
            }
            status => status,
        };
        EndpointStatus {
            endpoint: state.endpoint.clone(),
            enabled: health.enabled,
            operator_enabled: health.wanted,
            status,
            is_healthy: is_healthy(
                health.wanted,
                auth_failed,
                status,
                consecutive_failures,
                breaker.threshold,
            ),
            auth_failed,
            consecutive_failures,
            queued: recovery.member.is_some(),
            recovery,
            in_flight: state.load.in_flight(),
            daily_requests: state.load.requests_on(SystemClock.now()),
            latency: state.load.latency(now),
            weight: state.load.weight(state.endpoint.weight(), now),
            total: health.total,
            failed: health.failed,
            success_rate: health.success_rate(),
            average_response: health.response_time,
            out,
            last_failure: health.last_failure,
            marked: health
                .unavailable
                .map(|mark| (mark.reason, mark.until.saturating_duration_since(now))),
            rate_limit_reset_in: out.filter(|_| cooling).and_then(|(_, left)| left),
            breaker,
        }
    }
}

/// The state of an endpoint at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct EndpointStatus {
    /// The endpoint.
    pub endpoint: Arc<Endpoint>,
    /// Whether it takes requests, as far as switches go: switched on by the operator, and not
    /// switched off by a refused credential.
    pub enabled: bool,
    /// The operator's own switch.
    pub operator_enabled: bool,
    /// What its requests say of it.
    pub status: health::Status,
    /// Whether it is enabled, well, and below its limit of failures.
    pub is_healthy: bool,
    /// Whether no credential is left that it accepts.
    pub auth_failed: bool,
    /// The failures in a row that its breaker counts, plus 1 while it is auth-failed.
    pub consecutive_failures: u32,
    /// Its breaker.
    pub breaker: breaker::Snapshot,
    /// Whether it is in the queue of those that failed.
    pub queued: bool,
    /// Why it is there and when it is checked next, and what checks found.
    pub recovery: recovery::Snapshot,
    /// Its requests in flight, bodies included.
    pub in_flight: u32,
    /// Its requests that came in today, by the date in UTC.
    pub daily_requests: u32,
    /// The smoothed time to its committed answers; `None` before the first.
    pub latency: Option<Duration>,
    /// Its weight as it is now: the configured one, times what checks and a slow start make of it.
    pub weight: f64,
    /// Its requests so far.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
    /// The share of those that did not fail, in percent; `None` before the first.
    pub success_rate: Option<f64>,
    /// The mean time of those that have one.
    pub average_response: Option<Duration>,
    /// Why it is left out now, and for how much longer where that is known.
    pub out: Option<(Reason, Option<Duration>)>,
    /// Its last failure.
    pub last_failure: Option<health::LastFailure>,
    /// Why it is marked unavailable, and for how much longer.
    pub marked: Option<(Arc<str>, Duration)>,
    /// How long until its rate limit is reset.
    pub rate_limit_reset_in: Option<Duration>,
}
