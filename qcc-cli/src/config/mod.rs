//! The configuration: one YAML file, or what the environment offers without one.
//!
//! Reading goes in three steps. [`tree`] turns the text into nodes that know their place,
//! [`reader`] takes typed values out of them and collects every problem, [`load()`] builds a
//! [`Config`] that cannot hold an invalid value. The keys are declared once, in
//! [`keys`]. Only [`mod@env`] looks at the environment; everything else takes it as an argument.

mod checks;
mod cluster;
mod env;
mod keys;
mod load;
mod problem;
mod reader;
mod secret;
mod show;
mod sources;
mod starter;
mod tokens;
mod tree;
mod tuning;
mod value;
mod vendor;

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::sync::Arc;

use qcc_core::endpoint::{Api, Endpoint, EndpointId, Endpoints, MarkOn};
use qcc_core::facts::ClientId;
use qcc_core::time::Duration;
use qcc_core::upstream::Settings;
use qcc_core::{llm, store};

pub(crate) use checks::{Probe, Recovery};
pub(crate) use env::Environment;
pub(crate) use keys::schema;
#[cfg(test)]
pub(crate) use load::from_str;
pub(crate) use load::{load, path};
pub(crate) use problem::{Problem, Problems};
pub(crate) use reader::closest;
pub(crate) use secret::{Secret, masked};
pub(crate) use show::Shown;
pub(crate) use sources::{Origin, Refresh};
pub(crate) use starter::Starter;
pub(crate) use tokens::{Tokens, tier_name};
pub(crate) use value::{duration, show_duration};

/// Where the proxy listens unless told otherwise. Loopback: see SEC-05.
pub(crate) const LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7860);

/// Where the admin API listens unless told otherwise.
pub(crate) const ADMIN_LISTEN: SocketAddr =
    SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 7861);

/// So many connections of clients at a time unless told otherwise.
pub(crate) const MAX_CONNECTIONS: u32 = 10_000;

/// The first path segments of the APIs. No cluster may have such a name, because `/{cluster}/…`
/// could then not be told from a route.
pub(crate) const API_SEGMENTS: [&str; 18] = [
    "v1",
    "v1beta",
    "v1alpha",
    "v1internal",
    "messages",
    "chat",
    "responses",
    "completions",
    "models",
    "embeddings",
    "files",
    "batches",
    "uploads",
    "images",
    "audio",
    "moderations",
    "conversations",
    "vector_stores",
];

/// A configuration that was checked.
pub(crate) struct Config {
    /// Where it comes from.
    pub(crate) source: Source,
    /// Where clients connect.
    pub(crate) listen: SocketAddr,
    /// Where commands and monitoring connect.
    pub(crate) admin: Admin,
    /// Who may connect. Empty: everybody, which only a loopback address allows.
    pub(crate) client_keys: Vec<ClientKey>,
    /// So many connections of clients at a time; 10,000 by default.
    pub(crate) max_connections: u32,
    /// The log file, beside standard error.
    pub(crate) log: Option<Log>,
    /// How long open answers may take to end after a signal to stop; 30 s by default.
    pub(crate) shutdown: Duration,
    /// What is done for the first requests before they come.
    pub(crate) warm_up: WarmUp,
    /// Where history and what must survive a restart are kept.
    pub(crate) store: Store,
    /// At least one, each with an endpoint, in the order of the file.
    pub(crate) clusters: Vec<Arc<Cluster>>,
    /// What is odd about it and stops nothing.
    pub(crate) warnings: Problems,
}

/// Where a configuration comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// This file.
    File(PathBuf),
    /// These variables, because there is no file.
    Environment(Vec<&'static str>),
}

/// The listener of the admin API.
pub(crate) struct Admin {
    /// Its address.
    pub(crate) listen: SocketAddr,
    /// What a request has to bring. There is no default, and none is needed on loopback.
    pub(crate) token: Option<Secret>,
}

/// Where history and what must survive a restart are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Store {
    /// Whether they are kept; yes.
    pub(crate) enabled: bool,
    /// The file; `~/.qcc/qcc.db`.
    pub(crate) path: PathBuf,
    /// How long history is kept; 30 d.
    pub(crate) retention: Duration,
    /// How many bytes it may take; 1 GiB.
    pub(crate) max_size: u64,
    /// Whether the proxy does not start without it; no.
    pub(crate) required: bool,
}

impl Store {
    /// The one of a user with this environment.
    pub(crate) fn usual(environment: &Environment) -> Self {
        Self {
            path: environment.expand("~/.qcc/qcc.db"),
            ..Self::default()
        }
    }

    /// None.
    pub(crate) fn off() -> Self {
        Self {
            enabled: false,
            ..Self::default()
        }
    }
}

impl Default for Store {
    fn default() -> Self {
        Self {
            enabled: true,
            path: PathBuf::from("~/.qcc/qcc.db"),
            retention: store::Config::RETENTION,
            max_size: store::Config::MAX_SIZE,
            required: false,
        }
    }
}

/// A client that may connect.
#[derive(Clone)]
pub(crate) struct ClientKey {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The digest of its key; the key itself is nowhere.
    pub(crate) sha256: [u8; 32],
    /// At most so many requests at a time, answers included.
    pub(crate) max_in_flight: Option<NonZeroU32>,
}

impl ClientKey {
    /// What sessions are scoped by: the library digests the key in the same way.
    pub(crate) fn id(&self) -> ClientId {
        let mut id = ClientId::default();
        id.0.copy_from_slice(&self.sha256[..16]);
        id
    }
}

/// The levels of log lines, the worst first.
pub(crate) const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

/// The log file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Log {
    /// Where it is.
    pub(crate) file: PathBuf,
    /// What is worth a line in it; `info` by default.
    pub(crate) level: &'static str,
    /// It is put aside when it has grown beyond so many bytes; 50 MiB by default.
    pub(crate) max_size: u64,
    /// So many files that were put aside are kept; 5 by default.
    pub(crate) keep: u32,
}

/// A named set of endpoints and how traffic is spread over it.
pub(crate) struct Cluster {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// Its API, where the configuration names one for all its endpoints.
    pub(crate) kind: Option<Api>,
    /// How an endpoint is chosen.
    pub(crate) policy: Policy,
    /// What happens if none is eligible.
    pub(crate) last_resort: LastResort,
    /// What becomes of weights while it runs.
    pub(crate) weighing: Weighing,
    /// What marks an endpoint unavailable that says nothing of it itself.
    pub(crate) mark_on: MarkOn,
    /// At least one.
    pub(crate) endpoints: Endpoints,
    /// The credentials of those that have several.
    pub(crate) tokens: HashMap<EndpointId, Tokens>,
    /// When an endpoint is left alone.
    pub(crate) breaker: Breaker,
    /// How long sessions stay where they are.
    pub(crate) affinity: Affinity,
    /// How often a request is tried.
    pub(crate) retry: Retry,
    /// How long to wait.
    pub(crate) timeouts: Timeouts,
    /// How connections are kept.
    pub(crate) connections: Connections,
    /// When endpoints that failed are checked.
    pub(crate) recovery: Recovery,
    /// How.
    pub(crate) probe: Probe,
    /// Those that are not, because they do not chat.
    pub(crate) unprobed: BTreeSet<EndpointId>,
}

impl Cluster {
    /// What authenticates at `endpoint`, as it may be shown: the end of its key, or how many
    /// tokens there are.
    pub(crate) fn shown_key(&self, endpoint: &Endpoint) -> String {
        match (self.tokens.get(&endpoint.id()), endpoint.credential()) {
            (Some(tokens), _) => match tokens.items.len() {
                1 => "1 token".to_owned(),
                many => format!("{many} tokens"),
            },
            (None, Some(credential)) => masked(credential.expose()),
            (None, None) => "none".to_owned(),
        }
    }
}

/// What becomes of the weight of an endpoint while the proxy runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Weighing {
    /// After a recovery it grows for so long, if at all; 60 s.
    pub(crate) slow_start: Option<Duration>,
    /// Whether it follows the checks; no.
    pub(crate) dynamic: bool,
}

impl Default for Weighing {
    fn default() -> Self {
        Self {
            slow_start: Some(Duration::from_secs(60)),
            dynamic: false,
        }
    }
}

/// How an endpoint is chosen among those that are eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Policy {
    #[default]
    Priority,
    Weighted,
    RoundRobin,
    Random,
    LeastLoaded,
    P2c,
}

impl Policy {
    /// Every policy with its name.
    pub(crate) const NAMES: [(&'static str, Self); 6] = [
        ("priority", Self::Priority),
        ("weighted", Self::Weighted),
        ("round-robin", Self::RoundRobin),
        ("random", Self::Random),
        ("least-loaded", Self::LeastLoaded),
        ("p2c", Self::P2c),
    ];

    /// The name used in configuration.
    pub(crate) fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

/// What happens if no endpoint is eligible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum LastResort {
    /// One request at a time may try one that is merely open or unhealthy.
    #[default]
    Probe,
    /// Nobody tries.
    Refuse,
}

impl LastResort {
    /// Both, with their names.
    pub(crate) const NAMES: [(&'static str, Self); 2] =
        [("probe", Self::Probe), ("refuse", Self::Refuse)];

    /// The name used in configuration.
    pub(crate) fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

/// What is done at the start for the first requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum WarmUp {
    /// A connection to every endpoint is opened.
    #[default]
    Connect,
    /// And every endpoint is checked.
    Verify,
    /// Nothing.
    Off,
}

impl WarmUp {
    /// All, with their names.
    pub(crate) const NAMES: [(&'static str, Self); 3] = [
        ("connect", Self::Connect),
        ("verify", Self::Verify),
        ("off", Self::Off),
    ];

    /// The name used in configuration.
    pub(crate) fn as_str(self) -> &'static str {
        name_of(&Self::NAMES, self)
    }
}

fn name_of<T: Copy + PartialEq>(names: &[(&'static str, T)], value: T) -> &'static str {
    names
        .iter()
        .find(|(_, known)| *known == value)
        .map_or("", |(name, _)| *name)
}

/// The settings of the circuit breakers. The defaults are those of the documented behaviour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Breaker {
    /// So many failures in a row open it; 3.
    pub(crate) max_failures: u32,
    /// It stays open for so long the first time; 60 s.
    pub(crate) open_for: Duration,
    /// And never longer than this; 600 s.
    pub(crate) max_open_for: Duration,
    /// So many requests may try a half-open endpoint at once; 1.
    pub(crate) probes: u32,
}

impl Default for Breaker {
    fn default() -> Self {
        Self {
            max_failures: 3,
            open_for: Duration::from_secs(60),
            max_open_for: Duration::from_secs(600),
            probes: 1,
        }
    }
}

/// The settings of session affinity.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Affinity {
    /// Where the id of a session is looked for, in this order; by default as the library does.
    pub(crate) sources: Vec<llm::Source>,
    /// A binding lasts so long after the last success; 5 h.
    pub(crate) ttl: Duration,
    /// A bound endpoint that is out for less than this keeps its sessions; 30 s.
    pub(crate) patience: Duration,
    /// At most so many bindings are kept, and as many owners of resources; 100,000.
    pub(crate) max_bindings: u32,
    /// Who has a resource is known so long after the last answer that showed it; 30 d.
    pub(crate) resource_ttl: Duration,
}

impl Default for Affinity {
    fn default() -> Self {
        Self {
            sources: llm::SessionKey::default().sources().to_vec(),
            ttl: Duration::from_secs(18_000),
            patience: Duration::from_secs(30),
            max_bindings: 100_000,
            resource_ttl: Duration::from_secs(30 * 86_400),
        }
    }
}

/// The settings of retries.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Retry {
    /// At most so many attempts for each request; 5.
    pub(crate) attempts: u32,
    /// At most this share of the requests of a cluster are retries; 20 %.
    pub(crate) budget: f64,
    /// Whether another endpoint is asked when one calls a request invalid; yes.
    pub(crate) second_opinion: bool,
    /// Bodies up to this size are kept for another try; 32 MiB.
    pub(crate) max_body: u64,
}

impl Default for Retry {
    fn default() -> Self {
        Self {
            attempts: 5,
            budget: 0.2,
            second_opinion: true,
            max_body: 32 << 20,
        }
    }
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Timeouts {
    /// For a connection; 5 s.
    pub(crate) connect: Duration,
    /// For the first byte of a streamed answer; 60 s.
    pub(crate) first_byte: Duration,
    /// For the next byte of a stream. Without it 60 s where the dialect pings, else 300 s.
    pub(crate) idle: Option<Duration>,
    /// Until the client of a silent stream is told that it lives; 15 s, `None` for never.
    pub(crate) keep_alive: Option<Duration>,
    /// For a request as a whole, up to the first byte that the client gets; 600 s.
    pub(crate) deadline: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(5),
            first_byte: Duration::from_secs(60),
            idle: None,
            keep_alive: Some(Duration::from_secs(15)),
            deadline: Duration::from_secs(600),
        }
    }
}

/// How connections to upstreams are kept. The defaults are those of the library.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Connections {
    /// So many idle ones are kept for each host.
    pub(crate) max_idle: u32,
    /// An idle one is kept for so long.
    pub(crate) idle_timeout: Duration,
    /// One is silent for so long before TCP asks whether the other side is still there.
    pub(crate) keepalive: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        let usual = Settings::default();
        Self {
            max_idle: u32::try_from(usual.max_idle_per_host()).unwrap_or(u32::MAX),
            idle_timeout: usual.idle_timeout(),
            keepalive: usual.tcp_keepalive(),
        }
    }
}

/// An entry that is the same endpoint as another one.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub(crate) struct Duplicate {
    /// The short id of both.
    pub(crate) id: String,
    /// The entry that counts, as `cluster/name`.
    pub(crate) first: String,
    /// The entry that repeats it.
    pub(crate) again: String,
    /// Whether the second entry is dropped. Two clusters may share an endpoint; each then keeps
    /// a state of its own.
    pub(crate) dropped: bool,
}

impl Config {
    /// The entries that repeat another one.
    pub(crate) fn duplicates(&self) -> Vec<Duplicate> {
        let mut found = Vec::new();
        let mut seen = HashMap::new();
        for cluster in &self.clusters {
            let full = |name: &str| format!("{}/{name}", cluster.name);
            for duplicate in cluster.endpoints.duplicates() {
                found.push(Duplicate {
                    id: duplicate.id.to_string(),
                    first: full(&duplicate.kept),
                    again: full(&duplicate.dropped),
                    dropped: true,
                });
            }
            for endpoint in cluster.endpoints.iter() {
                let name = full(endpoint.name());
                if let Some(first) = seen.get(&endpoint.id()) {
                    found.push(Duplicate {
                        id: endpoint.id().to_string(),
                        first: String::clone(first),
                        again: name,
                        dropped: false,
                    });
                } else {
                    seen.insert(endpoint.id(), name);
                }
            }
        }
        found
    }
}
