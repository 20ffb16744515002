//! From a file, or from the environment, to a [`Config`].

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints, MarkOn};
use qcc_core::store;
use qcc_core::time::Duration;

use super::cluster::{self, Files};
use super::env::Environment;
use super::problem::{Problem, Problems};
use super::reader::{Field, Reader};
use super::secret::Secret;
use super::tree;
use super::vendor::Vendor;
use super::{
    ADMIN_LISTEN, Admin, Affinity, Breaker, ClientKey, Cluster, Config, Connections, LEVELS,
    LISTEN, LastResort, Log, MAX_CONNECTIONS, Policy, Probe, Recovery, Retry, Source, Store,
    Timeouts, WarmUp,
};

/// How long open answers may take to end after a signal to stop.
const SHUTDOWN: Duration = Duration::from_secs(30);

/// A log file of this size is put aside.
const LOG_SIZE: u64 = 50 << 20;

/// So many that were put aside are kept.
const LOG_KEEP: u32 = 5;

/// Reads the configuration: from `file`, else from the file that `QCC_CONFIG` names, else from
/// `~/.qcc/config.yaml`, else from the keys in the environment.
pub(crate) fn load(file: Option<&Path>, environment: &Environment) -> Result<Config, Problems> {
    load_with(file, environment, &|path| std::fs::read_to_string(path))
}

/// The configuration in `text`, as if it stood in `path`.
#[cfg(test)]
pub(crate) fn from_str(
    text: &str,
    path: &Path,
    environment: &Environment,
) -> Result<Config, Problems> {
    from_text(text, path, environment, &|path| {
        std::fs::read_to_string(path)
    })
}

/// Where the configuration is: in `file`, else in the file that `QCC_CONFIG` names, else in
/// `~/.qcc/config.yaml`. And whether somebody named it.
pub(crate) fn path(file: Option<&Path>, environment: &Environment) -> (PathBuf, bool) {
    let variable = environment.get("QCC_CONFIG");
    let variable = variable.filter(|path| !path.is_empty());
    let named = file
        .map(Path::to_owned)
        .or_else(|| variable.map(|path| environment.expand(path)));
    let is_named = named.is_some();
    let path = named.unwrap_or_else(|| environment.expand("~/.qcc/config.yaml"));
    (path, is_named)
}

fn load_with(
    file: Option<&Path>,
    environment: &Environment,
    files: Files<'_>,
) -> Result<Config, Problems> {
    let (path, named) = path(file, environment);
    match files(&path) {
        Ok(text) => from_text(&text, &path, environment, files),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !named => {
            from_keys(environment, &path)
        }
        Err(error) => Err(unreadable(&path, &error)),
    }
}

fn unreadable(path: &Path, error: &io::Error) -> Problems {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "there is no such file".to_owned(),
        io::ErrorKind::InvalidData => "is not UTF-8 text".to_owned(),
        _ => format!("cannot be read: {error}"),
    };
    let remedy = "name another file with --config FILE or QCC_CONFIG, or write this one";
    Problems::new(Some(path), vec![Problem::new(None, "", reason, remedy)])
}

pub(super) fn from_text(
    text: &str,
    path: &Path,
    environment: &Environment,
    files: Files<'_>,
) -> Result<Config, Problems> {
    let root = tree::parse(text).map_err(|problem| Problems::new(Some(path), vec![problem]))?;
    let mut reader = Reader::new(environment);
    let config = read(&Field::root(&root), path, &mut reader, files);
    match config {
        Some(config) if reader.problems.is_empty() => Ok(Config {
            warnings: Problems::new(Some(path), reader.warnings),
            ..config
        }),
        _ => Err(Problems::new(Some(path), reader.problems)),
    }
}

fn read(
    root: &Field<'_>,
    path: &Path,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Option<Config> {
    let remedy = "start with `clusters:` and give each a list of endpoints";
    let mut top = root.section(reader, remedy)?;
    let listen_field = top.get("listen");
    let listen = listen_field
        .as_ref()
        .and_then(|field| address(field, reader))
        .unwrap_or(LISTEN);
    let admin_field = top.get("admin");
    let admin = admin_field.and_then(|field| admin(&field, reader));
    let client_keys = top
        .get("client_keys")
        .map_or_else(|| Some(Vec::new()), |field| client_keys(&field, reader));
    if let (Some(field), Some([])) = (&listen_field, client_keys.as_deref())
        && !listen.ip().is_loopback()
    {
        field.problem(
            reader,
            "is no loopback address and there are no client_keys: anybody could use your keys",
            "add client_keys: [{ name: …, sha256: … }], or listen on 127.0.0.1",
        );
    }
    let max_connections = top
        .get("max_connections")
        .and_then(|field| field.whole(reader));
    let log = top.get("log").and_then(|field| log(&field, reader));
    let shutdown = top.get("shutdown").and_then(|field| field.duration(reader));
    let warm_up = top
        .get("warm_up")
        .and_then(|field| field.choice(reader, &WarmUp::NAMES));
    let store_field = top.get("store");
    let store = store_field.and_then(|field| store(&field, reader));
    let clusters = match top.get("clusters") {
        Some(field) => cluster::clusters(&field, reader, files),
        None => {
            top.missing(reader, "clusters", remedy);
            Vec::new()
        }
    };
    top.close(reader);
    Some(Config {
        source: Source::File(path.to_owned()),
        listen,
        admin: admin.unwrap_or(Admin {
            listen: ADMIN_LISTEN,
            token: None,
        }),
        client_keys: client_keys.unwrap_or_default(),
        max_connections: max_connections.unwrap_or(MAX_CONNECTIONS),
        log,
        shutdown: shutdown.unwrap_or(SHUTDOWN),
        warm_up: warm_up.unwrap_or_default(),
        store: store.unwrap_or_else(|| Store::usual(reader.environment)),
        clusters,
        warnings: Problems::new(Some(path), Vec::new()),
    })
}

fn store(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Store> {
    let mut section = field.section(reader, "write it like store: { path: ~/.qcc/qcc.db }")?;
    let mut store = Store::usual(reader.environment);
    if let Some(enabled) = section.get("enabled").and_then(|field| field.flag(reader)) {
        store.enabled = enabled;
    }
    if let Some(path) = section
        .get("path")
        .and_then(|field| field.text(reader, "write it like ~/.qcc/qcc.db"))
    {
        store.path = reader.environment.expand(path.trim());
    }
    if let Some(field) = section.get("retention")
        && let Some(retention) = field.duration(reader)
    {
        if store::Config::default().with_retention(retention).is_err() {
            let remedy = "write it like 30d; `enabled: false` keeps nothing";
            field.problem(reader, "must be at least a minute", remedy);
        }
        store.retention = retention;
    }
    if let Some(field) = section.get("max_size")
        && let Some(size) = field.size(reader)
    {
        if store::Config::default().with_max_size(size).is_err() {
            let remedy = "write it like 1GiB; `enabled: false` keeps nothing";
            field.problem(reader, "must be at least 1MiB", remedy);
        }
        store.max_size = size;
    }
    if let Some(required) = section.get("required").and_then(|field| field.flag(reader)) {
        store.required = required;
    }
    section.close(reader);
    Some(store)
}

fn address(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<SocketAddr> {
    let remedy = "write it like 127.0.0.1:7860 or [::1]:7860";
    let text = field.text(reader, remedy)?;
    let text = text.trim();
    let address = match text.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .ok()
            .map(|port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port)),
        None => text.parse().ok(),
    };
    if address.is_none() {
        field.problem(reader, "must be an IP address and a port", remedy);
    }
    address
}

fn admin(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Admin> {
    let mut section = field.section(reader, "write it like admin: { listen: 127.0.0.1:7861 }")?;
    let listen_field = section.get("listen");
    let listen = listen_field
        .as_ref()
        .and_then(|field| address(field, reader))
        .unwrap_or(ADMIN_LISTEN);
    let token_field = section.get("token");
    let token = token_field
        .as_ref()
        .and_then(|field| field.text(reader, "write it like \"${QCC_ADMIN_TOKEN}\""));
    if let Some(listen_field) = listen_field
        && token_field.is_none()
        && !listen.ip().is_loopback()
    {
        listen_field.problem(
            reader,
            "is no loopback address and there is no token: anybody could change this proxy",
            "add token: \"${QCC_ADMIN_TOKEN}\", or listen on 127.0.0.1",
        );
    }
    section.close(reader);
    Some(Admin {
        listen,
        token: token.map(Secret::new),
    })
}

fn log(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Log> {
    let remedy = "write it like log: { file: ~/.qcc/logs/app.log }";
    let mut section = field.section(reader, remedy)?;
    let file = match section.get("file") {
        Some(field) => field.text(reader, remedy),
        None => {
            section.missing(reader, "file", remedy);
            None
        }
    };
    let levels = LEVELS.map(|level| (level, level));
    let level = section
        .get("level")
        .and_then(|field| field.choice(reader, &levels));
    let max_size = section.get("max_size").and_then(|field| field.size(reader));
    let keep = section.get("keep").and_then(|field| field.whole(reader));
    section.close(reader);
    Some(Log {
        file: reader.environment.expand(file?.trim()),
        level: level.unwrap_or("info"),
        max_size: max_size.unwrap_or(LOG_SIZE),
        keep: keep.unwrap_or(LOG_KEEP),
    })
}

fn client_keys(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<ClientKey>> {
    let remedy = "write it like client_keys: [{ name: laptop, sha256: … }]";
    let digest_remedy = "get it with: printf %s \"$KEY\" | sha256sum";
    let problems = reader.problems.len();
    let mut keys: Vec<ClientKey> = Vec::new();
    for item in field.items(reader, remedy)? {
        let Some(mut section) = item.section(reader, remedy) else {
            continue;
        };
        let name_field = section.get("name");
        let name = match &name_field {
            Some(field) => field.text(reader, remedy),
            None => {
                section.missing(reader, "name", remedy);
                None
            }
        };
        let sha256 = match section.get("sha256") {
            Some(field) => field.text(reader, digest_remedy).and_then(|text| {
                let digest = digest(text.trim());
                if digest.is_none() {
                    let reason = "must be a SHA-256 digest in 64 hexadecimal digits";
                    field.problem(reader, reason, digest_remedy);
                }
                digest
            }),
            None => {
                section.missing(reader, "sha256", digest_remedy);
                None
            }
        };
        let limit = section.get("max_in_flight");
        let max_in_flight = limit.and_then(|field| field.whole(reader));
        section.close(reader);
        let (Some(name), Some(sha256)) = (name, sha256) else {
            continue;
        };
        if let Some(field) = name_field
            && keys.iter().any(|known| *known.name == *name)
        {
            field.problem(
                reader,
                "is the name of two keys",
                "give each a name of its own",
            );
        }
        keys.push(ClientKey {
            name: name.into(),
            sha256,
            max_in_flight: max_in_flight.and_then(NonZeroU32::new),
        });
    }
    // Keys with problems are keys all the same: that there are none is another problem.
    (!keys.is_empty() || reader.problems.len() == problems).then_some(keys)
}

fn digest(text: &str) -> Option<[u8; 32]> {
    let text = text.as_bytes();
    let mut digest = [0; 32];
    if text.len() != 2 * digest.len() {
        return None;
    }
    for (byte, pair) in digest.iter_mut().zip(text.chunks_exact(2)) {
        let nibble = |digit: u8| char::from(digit).to_digit(16);
        *byte = u8::try_from(nibble(pair[0])? << 4 | nibble(pair[1])?).ok()?;
    }
    Some(digest)
}

/// One cluster for each key that the environment has.
fn from_keys(environment: &Environment, looked_at: &Path) -> Result<Config, Problems> {
    let mut names = Vec::new();
    let mut clusters = Vec::new();
    for vendor in Vendor::ALL {
        let Some(key) = vendor.key(environment) else {
            continue;
        };
        let Some(endpoints) = official(vendor, key) else {
            continue;
        };
        names.push(vendor.variable);
        clusters.push(Arc::new(Cluster {
            name: vendor.cluster.into(),
            kind: Some(vendor.api),
            policy: Policy::default(),
            last_resort: LastResort::default(),
            weighing: super::Weighing::default(),
            mark_on: MarkOn::default(),
            endpoints,
            tokens: HashMap::new(),
            breaker: Breaker::default(),
            affinity: Affinity::default(),
            retry: Retry::default(),
            timeouts: Timeouts::default(),
            connections: Connections::default(),
            recovery: Recovery::default(),
            probe: Probe::default(),
            unprobed: BTreeSet::new(),
        }));
    }
    if clusters.is_empty() {
        let reason = format!(
            "there is nothing to serve: no {} and no key in the environment",
            looked_at.display()
        );
        let remedy = "set ANTHROPIC_API_KEY, OPENAI_API_KEY or GEMINI_API_KEY, \
                      or write the file with `qcc init`; --config FILE names another one";
        return Err(Problems::new(
            None,
            vec![Problem::new(None, "", reason, remedy)],
        ));
    }
    Ok(Config {
        source: Source::Environment(names),
        listen: LISTEN,
        admin: Admin {
            listen: ADMIN_LISTEN,
            token: None,
        },
        client_keys: Vec::new(),
        max_connections: MAX_CONNECTIONS,
        log: None,
        shutdown: SHUTDOWN,
        warm_up: WarmUp::default(),
        store: Store::usual(environment),
        clusters,
        warnings: Problems::new(None, Vec::new()),
    })
}

fn official(vendor: Vendor, key: &str) -> Option<Endpoints> {
    let endpoint = Endpoint::new("official", vendor.base_url.parse().ok()?)
        .with_credential(Credential::new(vendor.variable, key))
        .with_api(vendor.api);
    Endpoints::try_from_iter([endpoint]).ok()
}

#[cfg(test)]
mod tests;
