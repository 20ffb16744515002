//! From the configuration of a cluster to the layers of the library: the only place of the
//! binary that assembles them.

use std::num::{NonZeroU32, NonZeroUsize};
use std::sync::Arc;

use qcc_core::credential::Credential;
use qcc_core::failover::{self, Failover, Handle as CoreHandle};
use qcc_core::inspect::InspectLayer;
use qcc_core::llm::{InvalidLength, LlmFacts, LlmProbe, SessionKey};
use qcc_core::source::{Fetched, Issuer, OAuth, TokenStore};
use qcc_core::token::TokenSource;
use qcc_core::upstream::{Hyper, Settings};
use qcc_core::{affinity, balance, breaker, classify, recovery, retry, token};

use crate::config::{self, LastResort, Origin, Policy, Refresh};
use crate::output::{Exit, Failure};
use crate::running::{Cluster, Sinks};

/// The service behind each cluster.
pub(crate) type Stack = Failover<Hyper>;

/// Looks at the endpoints of a cluster and operates them.
pub(crate) type Handle = CoreHandle;

/// Checks the endpoints of a cluster.
pub(crate) type Checks = failover::Checks<Hyper>;

/// The cluster of `config`; what has to be kept goes to `sinks`. It goes on where the
/// cluster `before` is, if there is one.
///
/// # Errors
///
/// No client for its upstreams can be made.
pub(crate) fn build(
    config: &Arc<config::Cluster>,
    sinks: &Sinks,
    before: Option<&Cluster>,
) -> Result<Cluster, Failure> {
    let upstream = upstream(config, before)?;
    let invalid = |error: &dyn std::fmt::Display| {
        let message = format!("cluster {}: {error}", config.name);
        Failure::new(Exit::Config, message)
    };
    let builder = Failover::builder(config.endpoints.clone())
        .llm()
        .affinity(SessionKey::new(config.affinity.sources.iter().cloned()))
        .sessions(sessions(config))
        .last_resort(match config.last_resort {
            LastResort::Probe => balance::LastResort::Probe,
            LastResort::Refuse => balance::LastResort::Refuse,
        })
        .slow_start(config.weighing.slow_start.unwrap_or_default())
        .dynamic_weights(config.weighing.dynamic)
        .breaker(breaker(config).map_err(|error| invalid(&error))?)
        .timeouts(timeouts(config).map_err(|error| invalid(&error))?)
        .retry(retry(config).map_err(|error| invalid(&error))?)
        .retry_policy(retry::Standard::default().with_second_opinion(config.retry.second_opinion))
        .budget(budget(config).map_err(|error| invalid(&error))?)
        .recovery(recovery(config).map_err(|error| invalid(&error))?)
        .record_to(sinks.records.clone());
    let builder = match sinks.store.cluster(&config.name) {
        Some(store) => builder.keep_in(store),
        None => builder,
    };
    let builder = match config.policy {
        Policy::Priority => builder.policy(balance::Priority::default()),
        Policy::Weighted => builder.policy(balance::Weighted::default()),
        Policy::RoundRobin => builder.policy(balance::RoundRobin::default()),
        Policy::Random => builder.policy(balance::Random::default()),
        Policy::LeastLoaded => builder.policy(balance::LeastLoaded::default()),
        Policy::P2c => builder.policy(balance::PowerOfTwo::default()),
    };
    let builder = config
        .tokens
        .iter()
        .fold(builder, |builder, (endpoint, tokens)| {
            builder.token_pool(*endpoint, pool(tokens, &upstream))
        });
    let builder = match before {
        Some(before) => builder.continuing(&before.handle),
        None => builder,
    };
    let failover = builder.build(|_endpoint| upstream.clone());
    let probe = probe(config).map_err(|error| invalid(&error))?;
    Ok(Cluster {
        name: config.name.clone(),
        config: config.clone(),
        handle: failover.handle(),
        checks: failover.checks(probe),
        failover,
        upstream,
    })
}

/// The client of a cluster; the one of the cluster before, with its open connections, where the
/// same one would be made.
fn upstream(config: &config::Cluster, before: Option<&Cluster>) -> Result<Hyper, Failure> {
    let settings = connections(config);
    if let Some(before) = before
        && connections(&before.config) == settings
    {
        return Ok(before.upstream.clone());
    }
    Hyper::with_settings(&settings).map_err(|error| {
        let message = format!(
            "no HTTP client can be made for cluster {}: {error}",
            config.name
        );
        Failure::new(Exit::Failure, message)
    })
}

/// Reads the facts of each request before it is routed, and its body up to the largest limit of
/// a cluster. The clusters find them read.
pub(crate) fn inspect<'c>(clusters: impl IntoIterator<Item = &'c config::Cluster>) -> InspectLayer {
    let limits = clusters.into_iter().map(|cluster| cluster.retry.max_body);
    let limit = limits.max().unwrap_or_default();
    InspectLayer::new(LlmFacts::default()).with_limit(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// How connections to the upstreams of a cluster are made and kept.
pub(crate) fn connections(config: &config::Cluster) -> Settings {
    let max_idle = usize::try_from(config.connections.max_idle).unwrap_or(usize::MAX);
    Settings::default()
        .with_connect_timeout(config.timeouts.connect)
        .with_max_idle_per_host(max_idle)
        .with_idle_timeout(config.connections.idle_timeout)
        .with_tcp_keepalive(config.connections.keepalive)
}

/// The credentials of `tokens`, with the tiers in their order. Those that are got somewhere are
/// asked for over `upstream`.
fn pool(tokens: &config::Tokens, upstream: &Hyper) -> token::Pool {
    // Stores in one directory are one, whoever made them.
    let store = TokenStore::new(&tokens.store, |work| {
        tokio::task::spawn_blocking(work);
    });
    let config = token::Config::default()
        .with_max_failures(at_least_one(tokens.max_failures))
        .with_inactive_for(tokens.inactive_for);
    let items = tokens.items.iter();
    items.fold(token::Pool::new(config), |pool, item| {
        let name = item.name.clone();
        let source: Arc<dyn TokenSource> = match (&item.origin, &tokens.refresh) {
            (Origin::Text(key), None) => Arc::new(Credential::new(name, key.expose())),
            (Origin::Text(login), Some(refresh)) => {
                let login = Credential::new(name, login.expose());
                let source = OAuth::new(login, issuer(refresh), upstream.clone());
                Arc::new(source.with_store(&store))
            }
            (Origin::Command { program, args }, _) => {
                let args = args.iter().map(|arg| arg.expose());
                Arc::new(Fetched::from_command(name, &**program, args))
            }
            (Origin::Url { url, .. }, _) => {
                let (url, headers) = (url.clone(), item.origin.headers());
                Arc::new(Fetched::from_url(name, url, headers, upstream.clone()))
            }
        };
        pool.with(item.tier, item.name.clone(), source)
    })
}

fn issuer(refresh: &Refresh) -> Issuer {
    let issuer = Issuer::new(refresh.url.clone())
        .with_encoding(refresh.encoding)
        .with_margin(refresh.margin)
        .with_timeout(refresh.timeout);
    let headers = refresh.headers.iter();
    let issuer = headers.fold(issuer, |issuer, header| {
        issuer.with_header(header.name.clone(), header.value())
    });
    let fields = refresh.fields.iter();
    fields.fold(issuer, |issuer, (name, value)| {
        issuer.with_field(&**name, value.expose())
    })
}

fn sessions(config: &config::Cluster) -> affinity::Config {
    let most = usize::try_from(config.affinity.max_bindings).unwrap_or(usize::MAX);
    let most = NonZeroUsize::new(most).unwrap_or(NonZeroUsize::MIN);
    affinity::Config::default()
        .with_ttl(config.affinity.ttl)
        .with_patience(config.affinity.patience)
        .with_capacity(most)
        .with_resource_ttl(config.affinity.resource_ttl)
        .with_resource_capacity(most)
}

fn breaker(config: &config::Cluster) -> Result<breaker::Config, breaker::InvalidConfig> {
    let config = &config.breaker;
    breaker::Config::default()
        .with_max_failures(at_least_one(config.max_failures))
        .with_probes(at_least_one(config.probes))
        .with_open_times(config.open_for, config.max_open_for)
}

fn timeouts(config: &config::Cluster) -> Result<classify::Timeouts, classify::InvalidTimeout> {
    let timeouts = classify::Timeouts::default()
        .with_first_byte(config.timeouts.first_byte)?
        .with_keep_alive(config.timeouts.keep_alive)?;
    match config.timeouts.idle {
        Some(idle) => timeouts.with_idle(idle),
        None => Ok(timeouts),
    }
}

fn retry(config: &config::Cluster) -> Result<retry::Config, retry::InvalidDeadline> {
    retry::Config::default()
        .with_attempts(at_least_one(config.retry.attempts))
        .with_body_limit(usize::try_from(config.retry.max_body).unwrap_or(usize::MAX))
        .with_deadline(config.timeouts.deadline)
}

fn recovery(config: &config::Cluster) -> Result<recovery::Config, recovery::InvalidConfig> {
    let concurrency = usize::try_from(config.recovery.concurrency).unwrap_or(usize::MAX);
    let config = recovery::Config::default()
        .with_intervals(config.recovery.first, config.recovery.max)?
        .with_auth_interval(config.recovery.auth_every)?
        .with_timeout(config.probe.timeout)?
        .with_daily_budget(config.recovery.daily);
    Ok(config.with_concurrency(NonZeroUsize::new(concurrency).unwrap_or(NonZeroUsize::MIN)))
}

fn probe(config: &config::Cluster) -> Result<LlmProbe, InvalidLength> {
    let length = usize::try_from(config.probe.length).unwrap_or(usize::MAX);
    let probe = LlmProbe::default()
        .with_language(config.probe.language)
        .with_complexity(config.probe.complexity)
        .with_length(length)?
        .with_max_tokens(at_least_one(config.probe.max_tokens))
        .without(config.unprobed.iter().copied());
    Ok(match &config.probe.model {
        Some(model) => probe.with_model(model.as_str()),
        None => probe,
    })
}

/// The share of the configuration, with the library's floor below which nothing is refused.
fn budget(config: &config::Cluster) -> Result<retry::Budget, retry::InvalidBudget> {
    retry::Budget::new(config.retry.budget as f32, retry::Budget::DEFAULT_FLOOR)
}

/// The configuration refuses a zero where it makes no sense.
fn at_least_one(number: u32) -> NonZeroU32 {
    NonZeroU32::new(number).unwrap_or(NonZeroU32::MIN)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use qcc_core::time::Duration;

    use super::*;
    use crate::config::Environment;

    fn settings(lines: &str) -> Settings {
        let text = format!(
            "clusters: {{ c: {{ {lines} endpoints: [{{ base_url: 'https://h.example', \
             api_key: sk-test-0001 }}] }} }}"
        );
        let environment = Environment::from_iter([("", ""); 0]);
        let config = config::from_str(&text, Path::new("f.yaml"), &environment).unwrap();
        connections(&config.clusters[0])
    }

    // UPS-02, UPS-03, UPS-05
    #[test]
    fn connections_are_kept_as_the_cluster_says_and_else_as_the_library_does() {
        assert_eq!(settings(""), Settings::default());
        let told = settings(
            "timeouts: { connect: 1s }, \
             connections: { max_idle: 200, idle_timeout: 2m, keepalive: 10s },",
        );
        assert_eq!(
            told,
            Settings::default()
                .with_connect_timeout(Duration::from_secs(1))
                .with_max_idle_per_host(200)
                .with_idle_timeout(Duration::from_secs(120))
                .with_tcp_keepalive(Duration::from_secs(10))
        );
        assert_eq!(
            settings("connections: { max_idle: 0 },"),
            Settings::default().with_max_idle_per_host(0)
        );
    }
}
