use std::collections::HashMap;
use std::mem;
use std::sync::Arc;

use tower::ServiceBuilder;

use super::checks::ShortWay;
use super::handle::{EndpointState, Handle};
use super::{Failover, Way};
use crate::affinity::{self, AffinityKey, AffinityLayer, NoAffinity, Sessions};
use crate::available::Bell;
use crate::balance::{self, Balance, BalancePolicy, LastResort, Priority};
use crate::breaker::{self, Breaker, CircuitBreakerLayer};
use crate::classify::{ByStatus, Classify, ErrorClassifyLayer, Timeouts};
use crate::endpoint::{Endpoint, EndpointId, Endpoints};
use crate::facts::{NoFacts, ReadFacts};
use crate::health::{Health, TrackHealthLayer};
use crate::inspect::InspectLayer;
use crate::record::RecordSink;
use crate::recovery::{self, Recovery};
use crate::retry::{self, Budget, QuickRetryLayer, RetryPolicy, RetryWithExclusionLayer};
use crate::standing::StateStore;
use crate::time::{Duration, SystemClock, WallClock};
use crate::token::{Pool, TokenPoolLayer};
use crate::upstream::{Decode, DecodeLayer, Origin, OriginLayer, Upstream};

/// Puts the stack together. Made by [`Failover::builder`].
///
/// Everything has a default: the best priority first, no affinity, judged by status, three
/// failures open a breaker for a minute, five attempts in ten minutes, a retry budget of 20 %.
/// For LLM APIs call [`llm`](Self::llm) first.
#[derive(Debug)]
pub struct Builder {
    endpoints: Endpoints,
    facts: Arc<dyn ReadFacts>,
    classify: Arc<dyn Classify>,
    key: Arc<dyn AffinityKey>,
    sessions: affinity::Config,
    policy: Arc<dyn BalancePolicy>,
    balance: balance::Config,
    breaker: breaker::Config,
    timeouts: Timeouts,
    retry: retry::Config,
    retry_policy: Option<Arc<dyn RetryPolicy>>,
    budget: Budget,
    sink: Option<Arc<dyn RecordSink>>,
    pools: HashMap<EndpointId, Pool>,
    recovery: recovery::Config,
    clock: Arc<dyn WallClock>,
    before: Option<Handle>,
    store: Option<Arc<dyn StateStore>>,
}

impl Builder {
    pub(super) fn new(endpoints: Endpoints) -> Self {
        Self {
            endpoints,
            facts: Arc::new(NoFacts),
            classify: Arc::new(ByStatus),
            key: Arc::new(NoAffinity),
            sessions: affinity::Config::default(),
            policy: Arc::new(Priority::default()),
            balance: balance::Config::default(),
            breaker: breaker::Config::default(),
            timeouts: Timeouts::default(),
            retry: retry::Config::default(),
            retry_policy: None,
            budget: Budget::default(),
            sink: None,
            pools: HashMap::new(),
            recovery: recovery::Config::default(),
            clock: Arc::new(SystemClock),
            before: None,
            store: None,
        }
    }

    /// What LLM APIs need: reads the facts of their requests, judges their answers, and keeps
    /// sessions together. Each part can be replaced afterwards.
    #[cfg(feature = "llm")]
    #[must_use]
    pub fn llm(self) -> Self {
        self.facts(crate::llm::LlmFacts::default())
            .classify(crate::llm::LlmClassifier::default())
            .affinity(crate::llm::SessionKey::default())
    }

    /// Reads the facts of requests with `facts`. By default nothing is known of a request.
    #[must_use]
    pub fn facts(mut self, facts: impl ReadFacts) -> Self {
        self.facts = Arc::new(facts);
        self
    }

    /// Judges answers with `classify`. By default their status decides: [`ByStatus`].
    #[must_use]
    pub fn classify(mut self, classify: impl Classify) -> Self {
        self.classify = Arc::new(classify);
        self
    }

    /// Keeps the requests together for which `key` finds one session. By default no request
    /// belongs to a session.
    #[must_use]
    pub fn affinity(mut self, key: impl AffinityKey) -> Self {
        self.key = Arc::new(key);
        self
    }

    /// The bounds of the bindings of sessions.
    #[must_use]
    pub fn sessions(mut self, config: affinity::Config) -> Self {
        self.sessions = config;
        self
    }

    /// Chooses among endpoints with `policy`. By default the best priority: [`Priority`].
    #[must_use]
    pub fn policy(mut self, policy: impl BalancePolicy) -> Self {
        self.policy = Arc::new(policy);
        self
    }

    /// What may be tried when no endpoint is left.
    #[must_use]
    pub fn last_resort(mut self, last_resort: LastResort) -> Self {
        self.balance = self.balance.with_last_resort(last_resort);
        self
    }

    /// Whether the weight of an endpoint follows how it passes its checks. Off by default: see
    /// [`balance::Config::dynamic_weights`].
    #[must_use]
    pub fn dynamic_weights(mut self, enabled: bool) -> Self {
        self.balance = self.balance.with_dynamic_weights(enabled);
        self
    }

    /// How long an endpoint that has recovered gets less than its share; 60 s by default, zero
    /// for not at all: see [`balance::Config::slow_start`].
    #[must_use]
    pub fn slow_start(mut self, slow_start: Duration) -> Self {
        self.balance = self.balance.with_slow_start(slow_start);
        self
    }

    /// The thresholds of the breakers. An endpoint's own number of failures takes precedence.
    #[must_use]
    pub fn breaker(mut self, config: breaker::Config) -> Self {
        self.breaker = config;
        self
    }

    /// How long upstreams may be silent. An endpoint's own limit takes precedence.
    #[must_use]
    pub fn timeouts(mut self, timeouts: Timeouts) -> Self {
        self.timeouts = timeouts;
        self
    }

    /// The bounds of a request.
    #[must_use]
    pub fn retry(mut self, config: retry::Config) -> Self {
        self.retry = config;
        self
    }

    /// Decides with `policy` what follows a failure.
    #[must_use]
    pub fn retry_policy(mut self, policy: impl RetryPolicy) -> Self {
        self.retry_policy = Some(Arc::new(policy));
        self
    }

    /// Pays retries from `budget`.
    #[must_use]
    pub fn budget(mut self, budget: Budget) -> Self {
        self.budget = budget;
        self
    }

    /// Hands the record of each finished request to `sink`.
    #[must_use]
    pub fn record_to(mut self, sink: Arc<dyn RecordSink>) -> Self {
        self.sink = Some(sink);
        self
    }

    /// Keeps in `store` what of each endpoint must survive a restart, and goes on with what it
    /// kept: a refused credential, and what an operator switched. By default nothing survives.
    #[must_use]
    pub fn keep_in(mut self, store: Arc<dyn StateStore>) -> Self {
        self.store = Some(store);
        self
    }

    /// Takes the credentials of `endpoint` from `pool`. An endpoint that is built
    /// [with a pool](Endpoint::with_token_pool) and gets none has no credential, and nothing is
    /// sent to it. Run [`Handle::maintenance`] if credentials are refreshed.
    #[must_use]
    pub fn token_pool(mut self, endpoint: EndpointId, pool: Pool) -> Self {
        self.pools.insert(endpoint, pool);
        self
    }

    /// How often endpoints that failed are checked, and what that may cost. Nothing is checked
    /// unless somebody runs [`Failover::recovery`] or asks for it.
    #[must_use]
    pub fn recovery(mut self, config: recovery::Config) -> Self {
        self.recovery = config;
        self
    }

    /// Tells dates by `clock`: when a check was made, and when a day of checks ends. By default the
    /// system's. An endpoint that continues keeps its own.
    #[must_use]
    pub fn wall_clock(mut self, clock: impl WallClock) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// Goes on where another stack is: an endpoint that it has, too, keeps its state, and so do
    /// the sessions. That is how a configuration is reloaded: build the new stack, give it the
    /// requests from now on, and let the old one finish what it began. Both see and change the
    /// same state meanwhile.
    ///
    /// The settings of this builder replace those of the other one. What an operator switched by
    /// hand stays, unless the endpoint's own [`enabled`](Endpoint::enabled) says something else
    /// than before. Endpoints are the same if their [id](Endpoint::id) is.
    #[must_use]
    pub fn continuing(mut self, before: &Handle) -> Self {
        self.before = Some(before.clone());
        self
    }

    /// Builds the stack; `upstream` gives the service that sends to an endpoint, usually a
    /// clone of one client.
    #[must_use]
    pub fn build<S, F>(mut self, upstream: F) -> Failover<S>
    where
        S: Upstream,
        F: Fn(&Endpoint) -> S,
    {
        let sessions = match &self.before {
            Some(before) => before.sessions().clone(),
            None => Sessions::new(self.sessions),
        };
        sessions.configure(self.sessions);
        let bell = match &self.before {
            Some(before) => before.bell().clone(),
            None => Bell::default(),
        };
        let mut pools = mem::take(&mut self.pools);
        let states: Vec<_> = self
            .endpoints
            .iter()
            .map(|endpoint| self.state(endpoint, pools.remove(&endpoint.id()), &bell))
            .collect();
        let upstreams: Vec<_> = states
            .iter()
            .map(|state| upstream(&state.endpoint))
            .collect();
        let members = states.iter().zip(&upstreams).map(|(state, upstream)| {
            let way = self.way(state, upstream.clone());
            (state.member(), way)
        });
        let balance = Balance::new(members, self.policy.clone(), self.balance);

        let short_ways = states.iter().zip(upstreams);
        let short_ways = short_ways.map(|(state, upstream)| self.short_way(state, upstream));
        let short_ways = short_ways.collect();

        let mut retry = RetryWithExclusionLayer::new(self.retry).with_budget(self.budget.clone());
        if let Some(policy) = self.retry_policy {
            retry = retry.with_policy(policy);
        }
        if let Some(sink) = self.sink {
            retry = retry.with_sink(sink);
        }
        let stack = ServiceBuilder::new()
            // Everything below goes by the facts.
            .layer(InspectLayer::shared(self.facts).with_limit(self.retry.body_limit()))
            // Above Balance, or a retry would go to the same endpoint again.
            .layer(retry)
            // Below Retry, because each visit may be preferred anew.
            .layer(AffinityLayer::new(sessions.clone(), self.key))
            .service(balance);
        Failover {
            stack,
            handle: Handle::new(self.endpoints, states, sessions, bell),
            short_ways,
        }
    }

    /// The state of `endpoint`: the one that it has already, else a new one.
    fn state(&self, endpoint: &Arc<Endpoint>, pool: Option<Pool>, bell: &Bell) -> EndpointState {
        match self
            .before
            .as_ref()
            .and_then(|before| before.endpoint(endpoint.id()))
        {
            Some(before) => {
                before
                    .state()
                    .continued(endpoint.clone(), pool, self.breaker, self.recovery)
            }
            None => {
                let health = match &self.store {
                    Some(store) => Health::kept(endpoint.clone(), store.clone()),
                    None => Health::new(endpoint.clone()),
                };
                let health = health.with_bell(bell.clone());
                let breaker = Breaker::with_config(endpoint.clone(), self.breaker);
                let breaker = breaker.with_bell(bell.clone());
                let recovery = Recovery::new(endpoint.clone(), self.recovery, self.clock.clone());
                EndpointState::new(endpoint.clone(), pool, breaker, health, recovery)
            }
        }
    }

    /// The way to one endpoint for checks of it: judged like requests, and nothing else.
    fn short_way<S: Upstream>(&self, state: &EndpointState, upstream: S) -> ShortWay<S> {
        let origin = Origin::new(upstream, state.endpoint.clone());
        ShortWay {
            state: state.clone(),
            facts: self.facts.clone(),
            classify: self.classify.clone(),
            service: Decode::new(origin),
        }
    }

    /// The way to one endpoint.
    fn way<S: Upstream>(&self, state: &EndpointState, upstream: S) -> Way<S> {
        let endpoint = &state.endpoint;
        let timeouts = match endpoint.first_byte() {
            Some(limit) => self.timeouts.with_endpoint(limit).unwrap_or(self.timeouts),
            None => self.timeouts,
        };
        ServiceBuilder::new()
            // Outermost: it counts visits, and a visit that was mended below is no failure.
            .layer(CircuitBreakerLayer::new(state.breaker.clone()))
            .layer(TrackHealthLayer::new(state.health.clone()))
            // Above QuickRetry, which repeats a send with the credential that it had.
            .layer(TokenPoolLayer::new(state.tokens.clone()))
            .layer(QuickRetryLayer::new(self.budget.clone()))
            // Below everything that acts on a verdict.
            .layer(ErrorClassifyLayer::new(self.classify.clone()).with_timeouts(timeouts))
            // Whoever judges an answer has to be able to read it.
            .layer(DecodeLayer)
            // Last: nothing of ours is sent on, and nothing of the client's that is not meant to be.
            .layer(OriginLayer::new(endpoint.clone()))
            .service(upstream)
    }
}
