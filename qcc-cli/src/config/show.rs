//! The effective configuration as it may be shown: every default filled in, every key masked.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use qcc_core::endpoint::{Api, Auth, Endpoint, MarkOn};
use qcc_core::token::Tier;
use serde::Serialize;

use super::checks::{COMPLEXITIES, LANGUAGES};
use super::secret::masked;
use super::sources::{ENCODINGS, Header};
use super::value::{show_duration, show_size};
use super::{Admin, Cluster, Config, Log, Origin, Refresh, Tokens, name_of, tier_name};

/// A configuration without its secrets. The keys are those of the file.
#[derive(Serialize)]
pub(crate) struct Shown<'c> {
    listen: String,
    admin: ShownAdmin,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    client_keys: Vec<ShownClientKey<'c>>,
    max_connections: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    log: Option<ShownLog>,
    shutdown: String,
    warm_up: &'static str,
    store: ShownStore,
    clusters: Clusters<'c>,
}

#[derive(Serialize)]
struct ShownAdmin {
    listen: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<&'static str>,
}

#[derive(Serialize)]
struct ShownStore {
    enabled: bool,
    path: String,
    retention: String,
    max_size: String,
    required: bool,
}

#[derive(Serialize)]
struct ShownClientKey<'c> {
    name: &'c str,
    sha256: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<NonZeroU32>,
}

#[derive(Serialize)]
struct ShownLog {
    file: String,
    level: &'static str,
    max_size: String,
    keep: u32,
}

impl ShownLog {
    fn of(log: &Log) -> Self {
        Self {
            file: log.file.display().to_string(),
            level: log.level,
            max_size: show_size(log.max_size),
            keep: log.keep,
        }
    }
}

/// In the order of the file, which a map of serde_json would not keep.
struct Clusters<'c>(Vec<(&'c str, ShownCluster<'c>)>);

impl Serialize for Clusters<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, cluster)| (name, cluster)))
    }
}

#[derive(Serialize)]
struct ShownCluster<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    policy: &'static str,
    last_resort: &'static str,
    slow_start: String,
    dynamic_weights: bool,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mark_on: Vec<String>,
    unavailable_ttl: String,
    endpoints: Vec<ShownEndpoint<'c>>,
    breaker: ShownBreaker,
    affinity: ShownAffinity,
    retry: ShownRetry,
    timeouts: ShownTimeouts,
    connections: ShownConnections,
    recovery: ShownRecovery,
    probe: ShownProbe<'c>,
}

#[derive(Serialize)]
struct ShownEndpoint<'c> {
    name: &'c str,
    base_url: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tokens: Option<ShownTokens>,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    auth: &'static str,
    weight: u32,
    priority: u32,
    #[serde(skip_serializing_if = "Option::is_none")]
    timeout: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_failures: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_in_flight: Option<u32>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    models: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    mark_on: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    unavailable_ttl: Option<String>,
    enabled: bool,
    probe: bool,
}

#[derive(Serialize)]
struct ShownTokens {
    order: Vec<&'static str>,
    personal: Vec<ShownToken>,
    shared: Vec<ShownToken>,
    anonymous: Vec<ShownToken>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refresh: Option<ShownRefresh>,
    store: String,
    max_failures: u32,
    inactive_for: String,
}

/// A token, of which not even the end is shown.
#[derive(Serialize)]
#[serde(untagged)]
enum ShownToken {
    Text(&'static str),
    Command {
        command: Vec<String>,
    },
    Url {
        url: String,
        #[serde(skip_serializing_if = "Masked::is_empty")]
        headers: Masked,
    },
}

#[derive(Serialize)]
struct ShownRefresh {
    url: String,
    margin: String,
    encoding: &'static str,
    #[serde(skip_serializing_if = "Masked::is_empty")]
    headers: Masked,
    #[serde(skip_serializing_if = "Masked::is_empty")]
    fields: Masked,
    timeout: String,
}

/// Names, and nothing of their values.
type Masked = BTreeMap<String, &'static str>;

const MASK: &str = "****";

#[derive(Serialize)]
struct ShownBreaker {
    max_failures: u32,
    open_for: String,
    max_open_for: String,
    probes: u32,
}

#[derive(Serialize)]
struct ShownAffinity {
    sources: Vec<String>,
    ttl: String,
    patience: String,
    max_bindings: u32,
    resource_ttl: String,
}

#[derive(Serialize)]
struct ShownRetry {
    attempts: u32,
    budget: String,
    second_opinion: bool,
    max_body: String,
}

#[derive(Serialize)]
struct ShownTimeouts {
    connect: String,
    first_byte: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    idle: Option<String>,
    keep_alive: String,
    deadline: String,
}

#[derive(Serialize)]
struct ShownConnections {
    max_idle: u32,
    idle_timeout: String,
    keepalive: String,
}

#[derive(Serialize)]
struct ShownRecovery {
    enabled: bool,
    first: String,
    max: String,
    auth_every: String,
    concurrency: u32,
    daily: u32,
}

#[derive(Serialize)]
struct ShownProbe<'c> {
    #[serde(skip_serializing_if = "Option::is_none")]
    model: Option<&'c str>,
    language: &'static str,
    length: u32,
    complexity: &'static str,
    timeout: String,
    max_tokens: u32,
}

impl<'c> Shown<'c> {
    /// `config` as it may be shown.
    pub(crate) fn of(config: &'c Config) -> Self {
        let Admin { listen, token } = &config.admin;
        Self {
            listen: config.listen.to_string(),
            admin: ShownAdmin {
                listen: listen.to_string(),
                // Of a token not even its end is shown.
                token: token.as_ref().map(|_| "****"),
            },
            client_keys: config
                .client_keys
                .iter()
                .map(|key| ShownClientKey {
                    name: &key.name,
                    sha256: key
                        .sha256
                        .iter()
                        .map(|byte| format!("{byte:02x}"))
                        .collect(),
                    max_in_flight: key.max_in_flight,
                })
                .collect(),
            max_connections: config.max_connections,
            log: config.log.as_ref().map(ShownLog::of),
            shutdown: show_duration(config.shutdown),
            warm_up: config.warm_up.as_str(),
            store: ShownStore {
                enabled: config.store.enabled,
                path: config.store.path.display().to_string(),
                retention: show_duration(config.store.retention),
                max_size: show_size(config.store.max_size),
                required: config.store.required,
            },
            clusters: Clusters(
                config
                    .clusters
                    .iter()
                    .map(|cluster| (&*cluster.name, ShownCluster::of(cluster)))
                    .collect(),
            ),
        }
    }
}

impl<'c> ShownCluster<'c> {
    fn of(cluster: &'c Cluster) -> Self {
        let Cluster {
            breaker,
            affinity,
            retry,
            timeouts,
            connections,
            recovery,
            probe,
            ..
        } = cluster;
        Self {
            kind: cluster.kind.map(Api::as_str),
            policy: cluster.policy.as_str(),
            last_resort: cluster.last_resort.as_str(),
            slow_start: cluster
                .weighing
                .slow_start
                .map_or_else(|| "off".to_owned(), show_duration),
            dynamic_weights: cluster.weighing.dynamic,
            mark_on: markings(&cluster.mark_on),
            unavailable_ttl: show_duration(cluster.mark_on.ttl()),
            endpoints: cluster
                .endpoints
                .iter()
                .map(|endpoint| ShownEndpoint::of(endpoint, cluster))
                .collect(),
            breaker: ShownBreaker {
                max_failures: breaker.max_failures,
                open_for: show_duration(breaker.open_for),
                max_open_for: show_duration(breaker.max_open_for),
                probes: breaker.probes,
            },
            affinity: ShownAffinity {
                sources: affinity.sources.iter().map(ToString::to_string).collect(),
                ttl: show_duration(affinity.ttl),
                patience: show_duration(affinity.patience),
                max_bindings: affinity.max_bindings,
                resource_ttl: show_duration(affinity.resource_ttl),
            },
            retry: ShownRetry {
                attempts: retry.attempts,
                // Ten decimals are more than anybody writes and hide the binary fraction.
                budget: format!("{}%", (retry.budget * 1e12).round() / 1e10),
                second_opinion: retry.second_opinion,
                max_body: show_size(retry.max_body),
            },
            timeouts: ShownTimeouts {
                connect: show_duration(timeouts.connect),
                first_byte: show_duration(timeouts.first_byte),
                idle: timeouts.idle.map(show_duration),
                keep_alive: timeouts
                    .keep_alive
                    .map_or_else(|| "off".to_owned(), show_duration),
                deadline: show_duration(timeouts.deadline),
            },
            connections: ShownConnections {
                max_idle: connections.max_idle,
                idle_timeout: show_duration(connections.idle_timeout),
                keepalive: show_duration(connections.keepalive),
            },
            recovery: ShownRecovery {
                enabled: recovery.enabled,
                first: show_duration(recovery.first),
                max: show_duration(recovery.max),
                auth_every: recovery
                    .auth_every
                    .map_or_else(|| "off".to_owned(), show_duration),
                concurrency: recovery.concurrency,
                daily: recovery.daily,
            },
            probe: ShownProbe {
                model: probe.model.as_deref(),
                language: name_of(&LANGUAGES, probe.language),
                length: probe.length,
                complexity: name_of(&COMPLEXITIES, probe.complexity),
                timeout: show_duration(probe.timeout),
                max_tokens: probe.max_tokens,
            },
        }
    }
}

impl<'c> ShownEndpoint<'c> {
    fn of(endpoint: &'c Endpoint, cluster: &Cluster) -> Self {
        let tokens = cluster.tokens.get(&endpoint.id());
        let mark_on = endpoint.mark_on();
        // Where it is the cluster's and nothing marks, it would only be in the way.
        let is_of_use = !mark_on.failures().is_empty() || mark_on.ttl() != cluster.mark_on.ttl();
        let ttl = is_of_use.then_some(mark_on.ttl());
        let key = endpoint.credential().map(|credential| credential.expose());
        Self {
            name: endpoint.name(),
            base_url: endpoint.base_url().to_string(),
            api_key: key.map(masked),
            tokens: tokens.map(ShownTokens::of),
            kind: endpoint.api().map(Api::as_str),
            auth: match endpoint.auth() {
                Auth::XApiKey => "x-api-key",
                Auth::Bearer => "bearer",
                Auth::Both => "both",
                Auth::XGoogApiKey => "x-goog-api-key",
                _ => "other",
            },
            weight: endpoint.weight(),
            priority: endpoint.priority(),
            timeout: endpoint.first_byte().map(show_duration),
            max_failures: endpoint.max_failures(),
            max_in_flight: endpoint.max_in_flight(),
            models: endpoint.models().map(str::to_owned).collect(),
            mark_on: markings(mark_on),
            unavailable_ttl: ttl.map(show_duration),
            enabled: endpoint.enabled(),
            probe: !cluster.unprobed.contains(&endpoint.id()),
        }
    }
}

fn markings(mark_on: &MarkOn) -> Vec<String> {
    let failures = mark_on.failures().iter();
    failures.map(ToString::to_string).collect()
}

impl ShownTokens {
    fn of(tokens: &Tokens) -> Self {
        let list = |tier| tokens.of(tier).map(|token| ShownToken::of(&token.origin));
        Self {
            order: tokens.order.iter().map(|tier| tier_name(*tier)).collect(),
            personal: list(Tier::Personal).collect(),
            shared: list(Tier::Shared).collect(),
            anonymous: list(Tier::Anonymous).collect(),
            refresh: tokens.refresh.as_ref().map(ShownRefresh::of),
            store: tokens.store.display().to_string(),
            max_failures: tokens.max_failures,
            inactive_for: show_duration(tokens.inactive_for),
        }
    }
}

impl ShownToken {
    fn of(origin: &Origin) -> Self {
        match origin {
            Origin::Text(_) => Self::Text(MASK),
            Origin::Command { program, args } => {
                let args = args.iter().map(|_| MASK.to_owned());
                Self::Command {
                    command: std::iter::once(program.to_string()).chain(args).collect(),
                }
            }
            Origin::Url { url, headers } => Self::Url {
                url: url.to_string(),
                headers: masked_headers(headers),
            },
        }
    }
}

impl ShownRefresh {
    fn of(refresh: &Refresh) -> Self {
        let fields = refresh.fields.iter();
        Self {
            url: refresh.url.to_string(),
            margin: show_duration(refresh.margin),
            encoding: name_of(&ENCODINGS, refresh.encoding),
            headers: masked_headers(&refresh.headers),
            fields: fields.map(|(name, _)| (name.to_string(), MASK)).collect(),
            timeout: show_duration(refresh.timeout),
        }
    }
}

fn masked_headers(headers: &[Header]) -> Masked {
    let names = headers.iter().map(|header| header.name.to_string());
    names.map(|name| (name, MASK)).collect()
}
