//! `qcc serve`.
//!
//! Everything starts in a fixed order: configuration, logs, clusters, listeners. What fails
//! says so and nothing after it is begun.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use qcc_core::facts::Dialect;
use qcc_core::record::RecordSink;
use qcc_core::time::{self, SystemClock, WallClock as _};
use serde::Serialize;

use crate::admin::pool::PoolView;
use crate::cli::{Global, Serve};
use crate::config::{self, Config, Environment, Problems};
use crate::moment::Anchor;
use crate::output::{
    Align, BAD, Cell, DIM, Exit, Failure, GOOD, Output, STRONG, Table, WARN, styled,
};
use crate::running::{Generation, Load, Opened, Running};
use crate::shutdown;
use crate::stack;
use crate::telemetry::{self, RequestLog};

/// Runs the command, until a signal ends it.
pub(super) fn run(
    options: Serve,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Failure> {
    let config = load(options, global.config.as_deref(), environment)?;
    let level = global.log.as_deref().or_else(|| environment.get("QCC_LOG"));
    let _logging = telemetry::init(level, global.log_format, config.log.as_ref())?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(
            config,
            again(options, global),
            Output::new(global.json),
        ))
}

/// The configuration with what the command line says otherwise.
fn load(
    options: Serve,
    file: Option<&Path>,
    environment: &Environment,
) -> Result<Config, Problems> {
    let mut config = config::load(file, environment)?;
    if let Some(port) = options.port {
        config.listen.set_port(port);
    }
    if let Some(port) = options.admin_port {
        config.admin.listen.set_port(port);
    }
    Ok(config)
}

/// Loads it once more, with `.env` as it is by then.
fn again(options: Serve, global: &Global) -> Load {
    let file = global.config.clone();
    Box::new(move || {
        let (environment, bad) = Environment::of_process();
        for bad in bad {
            tracing::warn!("{bad}");
        }
        load(options, file.as_deref(), &environment)
    })
}

async fn serve(config: Config, again: Load, output: Output) -> Result<Exit, Failure> {
    let phases = shutdown::on_signals()?;
    let opened = Opened::new(config, [Arc::new(RequestLog) as Arc<dyn RecordSink>])
        .await?
        .reloading(again);
    announce(&opened.running, output)?;
    opened.run(phases).await;
    tracing::info!("stopped");
    Ok(Exit::Success)
}

/// Says what was started and how to use it.
fn announce(running: &Running, output: Output) -> Result<(), Failure> {
    let generation = running.current();
    for cluster in &generation.clusters {
        let connections = stack::connections(&cluster.config);
        tracing::info!(cluster = %cluster.name, "{connections}");
    }
    for duplicate in generation.config.duplicates() {
        tracing::warn!(
            endpoint_id = duplicate.id,
            first = duplicate.first,
            again = duplicate.again,
            dropped = duplicate.dropped,
            "two entries are the same endpoint",
        );
    }
    let started = Started::of(running, &generation);
    for pool in &started.token_pools {
        let PoolView {
            cluster, endpoint, ..
        } = pool;
        tracing::info!(cluster, endpoint, "token pool: {}", counts(pool));
    }
    output.show(&started, |stream| started.write(stream, &generation.config))?;
    Ok(())
}

/// What was started, for programs.
#[derive(Serialize)]
struct Started {
    listen: SocketAddr,
    admin: SocketAddr,
    source: String,
    client_keys: usize,
    clusters: Vec<StartedCluster>,
    token_pools: Vec<PoolView>,
    /// What clients have to set.
    environment: Vec<Setting>,
}

#[derive(Serialize)]
struct StartedCluster {
    name: String,
    policy: &'static str,
    endpoints: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Setting {
    cluster: String,
    name: &'static str,
    value: String,
}

/// The variables in which the clients of a dialect look for its address, and what the address
/// ends in: the SDKs of OpenAI expect the version in it.
const VARIABLES: [(Dialect, &str, &str); 3] = [
    (Dialect::Anthropic, "ANTHROPIC_BASE_URL", ""),
    (Dialect::Responses, "OPENAI_BASE_URL", "/v1"),
    (Dialect::Gemini, "GOOGLE_GEMINI_BASE_URL", ""),
];

impl Started {
    fn of(running: &Running, generation: &Generation) -> Self {
        let config = &*generation.config;
        let now = Anchor {
            instant: time::now(),
            date: SystemClock.now().into(),
        };
        Self {
            listen: running.listen,
            admin: running.admin,
            source: super::config::source(config),
            client_keys: config.client_keys.len(),
            clusters: config
                .clusters
                .iter()
                .map(|cluster| StartedCluster {
                    name: cluster.name.to_string(),
                    policy: cluster.policy.as_str(),
                    endpoints: cluster.endpoints.len(),
                })
                .collect(),
            token_pools: generation.pools(&now),
            environment: settings(&config.clusters, running.listen),
        }
    }

    fn write(&self, stream: &mut dyn Write, config: &Config) -> io::Result<()> {
        let address = styled(STRONG, format_args!("http://{}", self.listen));
        writeln!(
            stream,
            "{} on {address}",
            styled(GOOD.bold(), "qcc listens")
        )?;
        writeln!(stream, "admin API on http://{}", self.admin)?;
        writeln!(stream, "configuration: {}", self.source)?;
        if !self.listen.ip().is_loopback() {
            let what = "reachable from other machines";
            let keys = self.client_keys;
            writeln!(
                stream,
                "{}: clients need one of {keys} keys",
                styled(WARN, what)
            )?;
        }
        writeln!(stream)?;
        write!(stream, "{}", endpoints(&config.clusters))?;
        for pool in &self.token_pools {
            write!(stream, "\n{}", banner(pool))?;
        }
        writeln!(stream, "\nset in the shell of a client:")?;
        for Setting {
            cluster,
            name,
            value,
        } in &self.environment
        {
            let note = styled(DIM, format_args!("# {cluster}"));
            writeln!(stream, "  export {name}={value}  {note}")?;
        }
        let keys = if self.client_keys > 0 {
            "and as its API key one of the client keys of this proxy"
        } else {
            "and any text as its API key: this proxy puts in the keys of the endpoints"
        };
        writeln!(stream, "  {}\n", styled(DIM, keys))
    }
}

/// The numbers of a pool. Those at the start are those of the configuration.
fn counts(pool: &PoolView) -> String {
    let PoolView {
        total,
        active,
        failed,
        personal,
        shared,
        anonymous,
        ..
    } = pool;
    format!(
        "{total} total, {active} active, {failed} failed; \
         {personal} personal, {shared} shared, {anonymous} anonymous"
    )
}

/// A pool between two lines.
fn banner(pool: &PoolView) -> String {
    let line = styled(DIM, "─".repeat(72));
    let title = format!("token pool of {}/{}", pool.cluster, pool.endpoint);
    let mut text = format!("{line}\n{}\n  {}\n", styled(STRONG, title), counts(pool));
    for token in &pool.tokens {
        let kind = if token.refreshable { ", refreshed" } else { "" };
        text.push_str(&format!("  {}: {}{kind}\n", token.name, token.state));
    }
    if pool.tokens.is_empty() {
        let warning = "no token: nothing is sent to this endpoint; see `qcc config check`";
        text.push_str(&format!("  {}\n", styled(WARN, warning)));
    }
    text + &line + "\n"
}

/// What clients of each cluster have to set. The first cluster of a dialect needs no name in
/// the path.
fn settings(clusters: &[Arc<config::Cluster>], listen: SocketAddr) -> Vec<Setting> {
    let mut listen = listen;
    // The unspecified address is no place to connect to.
    if listen.ip().is_unspecified() {
        listen.set_ip(match listen {
            SocketAddr::V4(_) => std::net::Ipv4Addr::LOCALHOST.into(),
            SocketAddr::V6(_) => std::net::Ipv6Addr::LOCALHOST.into(),
        });
    }
    let mut settings: Vec<Setting> = Vec::new();
    for cluster in clusters {
        for (dialect, name, end) in VARIABLES {
            let speaks = cluster
                .endpoints
                .iter()
                .any(|endpoint| endpoint.api().is_none_or(|api| api.speaks(dialect)));
            if !speaks {
                continue;
            }
            let first = !settings.iter().any(|setting| setting.name == name);
            let cluster = &cluster.name;
            let path = if first {
                String::new()
            } else {
                format!("/{cluster}")
            };
            settings.push(Setting {
                cluster: cluster.to_string(),
                name,
                value: format!("http://{listen}{path}{end}"),
            });
        }
    }
    settings
}

fn endpoints(clusters: &[Arc<config::Cluster>]) -> Table {
    let mut table = Table::new(&[
        ("CLUSTER", Align::Left),
        ("POLICY", Align::Left),
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("KEY", Align::Left),
        ("PRIO", Align::Right),
        ("WEIGHT", Align::Right),
        ("URL", Align::Left),
    ]);
    for cluster in clusters {
        for (index, endpoint) in cluster.endpoints.iter().enumerate() {
            let (name, policy) = if index == 0 {
                (&*cluster.name, cluster.policy.as_str())
            } else {
                ("", "")
            };
            let shown = if endpoint.enabled() {
                Cell::from(endpoint.name())
            } else {
                Cell::styled(BAD, format_args!("{} (off)", endpoint.name()))
            };
            table.row([
                Cell::styled(STRONG, name),
                Cell::from(policy),
                shown,
                Cell::styled(DIM, endpoint.id()),
                Cell::from(cluster.shown_key(endpoint)),
                Cell::from(endpoint.priority()),
                Cell::from(endpoint.weight()),
                Cell::from(endpoint.base_url()),
            ]);
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use qcc_core::endpoint::{Api, Endpoint, Endpoints, MarkOn};

    use super::*;

    fn cluster(name: &str, api: Option<Api>) -> Arc<config::Cluster> {
        let mut endpoint = Endpoint::new("one", "https://h.example".parse().unwrap());
        if let Some(api) = api {
            endpoint = endpoint.with_api(api);
        }
        Arc::new(config::Cluster {
            name: name.into(),
            kind: api,
            policy: config::Policy::default(),
            last_resort: config::LastResort::default(),
            weighing: config::Weighing::default(),
            mark_on: MarkOn::default(),
            endpoints: Endpoints::try_from_iter([endpoint]).unwrap(),
            tokens: Default::default(),
            breaker: config::Breaker::default(),
            affinity: config::Affinity::default(),
            retry: config::Retry::default(),
            timeouts: config::Timeouts::default(),
            connections: config::Connections::default(),
            recovery: config::Recovery::default(),
            probe: config::Probe::default(),
            unprobed: Default::default(),
        })
    }

    // CLI-01
    #[test]
    fn clients_are_told_the_address_of_each_cluster() {
        let clusters = [
            cluster("claude", Some(Api::Anthropic)),
            cluster("second", Some(Api::Anthropic)),
            cluster("openai", Some(Api::OpenAi)),
        ];
        let shown: Vec<_> = settings(&clusters, "0.0.0.0:8081".parse().unwrap())
            .into_iter()
            .map(|setting| format!("{}={}", setting.name, setting.value))
            .collect();
        assert_eq!(
            shown,
            [
                "ANTHROPIC_BASE_URL=http://127.0.0.1:8081",
                "ANTHROPIC_BASE_URL=http://127.0.0.1:8081/second",
                "OPENAI_BASE_URL=http://127.0.0.1:8081/v1",
            ]
        );
    }

    #[test]
    fn an_endpoint_of_any_api_serves_all_clients() {
        let clusters = [cluster("relay", None)];
        let settings = settings(&clusters, "127.0.0.1:1".parse().unwrap());
        assert_eq!(settings.len(), VARIABLES.len());
    }
}
