//! The keys of a cluster and of its endpoints.

use std::collections::{BTreeSet, HashMap};
use std::io;
use std::path::Path;
use std::sync::Arc;

use qcc_core::credential::Credential;
use qcc_core::endpoint::{Api, Auth, BaseUrl, Endpoint, EndpointId, Endpoints, MarkOn};

use super::checks::{probe, recovery};
use super::reader::{Field, Reader, Section};
use super::tokens::{Tokens, tokens};
use super::tuning::{affinity, breaker, connections, mark_on, retry, timeouts};
use super::{API_SEGMENTS, Cluster, LastResort, Policy, Weighing};

/// Reads a file. An argument, so that tests have files without a disk.
pub(super) type Files<'f> = &'f dyn Fn(&Path) -> io::Result<String>;

pub(super) const KINDS: [(&str, Api); 4] = [
    ("anthropic", Api::Anthropic),
    ("openai", Api::OpenAi),
    ("openai-responses", Api::OpenAiResponses),
    ("gemini", Api::Gemini),
];

pub(super) const AUTHS: [(&str, Auth); 4] = [
    ("x-api-key", Auth::XApiKey),
    ("bearer", Auth::Bearer),
    ("both", Auth::Both),
    ("x-goog-api-key", Auth::XGoogApiKey),
];

const CLUSTERS: &str = "write it like clusters: { claude: { endpoints: […] } }";
const ENDPOINTS: &str = "list at least one: - { base_url: https://…, api_key: \"${NAME}\" }";
const API_KEY: &str =
    "write api_key: ${NAME}, or api_key: { file: ~/.qcc/key }, or tokens: {…} for several";

/// Every cluster of the file, in its order.
pub(super) fn clusters(
    field: &Field<'_>,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Vec<Arc<Cluster>> {
    let Some(section) = field.section(reader, CLUSTERS) else {
        return Vec::new();
    };
    let mut clusters = Vec::new();
    let mut none = true;
    for (name, field) in section.named() {
        none = false;
        check_name(name, &field, reader);
        clusters.extend(cluster(name, &field, reader, files).map(Arc::new));
    }
    if none {
        field.problem(reader, "is empty", CLUSTERS);
    }
    clusters
}

fn check_name(name: &str, field: &Field<'_>, reader: &mut Reader<'_>) {
    let sane = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "._-".contains(c);
    let (reason, remedy) = if !(1..=64).contains(&name.len())
        || !name.chars().all(sane)
        || name.starts_with(['.', '-'])
    {
        (
            "is no name for a cluster",
            "use 1 to 64 lower-case letters, digits, `.`, `_` and `-`: it stands in paths",
        )
    } else if API_SEGMENTS.contains(&name) {
        (
            "is the first part of API paths",
            "take another name: /{cluster}/… must differ from every route",
        )
    } else {
        return;
    };
    reader.problem(field.key_at, &field.path, reason, remedy);
}

fn cluster(
    name: &str,
    field: &Field<'_>,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Option<Cluster> {
    let mut section = field.section(reader, ENDPOINTS)?;
    let kind = section
        .get("kind")
        .and_then(|field| field.choice(reader, &KINDS));
    let policy = section
        .get("policy")
        .and_then(|field| field.choice(reader, &Policy::NAMES));
    let last_resort = section
        .get("last_resort")
        .and_then(|field| field.choice(reader, &LastResort::NAMES));
    let slow_start = section
        .get("slow_start")
        .and_then(|field| field.duration_or_off(reader));
    let dynamic_weights = section
        .get("dynamic_weights")
        .and_then(|field| field.flag(reader));
    let usual = Weighing::default();
    let weighing = Weighing {
        slow_start: slow_start.unwrap_or(usual.slow_start),
        dynamic: dynamic_weights.unwrap_or(usual.dynamic),
    };
    let mark_on = mark_on(&mut section, &MarkOn::default(), reader);
    let Members {
        endpoints,
        tokens,
        unprobed,
    } = match section.get("endpoints") {
        Some(field) => endpoints(&field, kind, &mark_on, reader, files),
        None => {
            section.missing(reader, "endpoints", ENDPOINTS);
            Members::default()
        }
    };
    let breaker = section
        .get("breaker")
        .and_then(|field| breaker(&field, reader));
    let affinity = section
        .get("affinity")
        .and_then(|field| affinity(&field, reader));
    let retry = section.get("retry").and_then(|field| retry(&field, reader));
    let timeouts = section
        .get("timeouts")
        .and_then(|field| timeouts(&field, reader));
    let connections = section
        .get("connections")
        .and_then(|field| connections(&field, reader));
    let recovery = section
        .get("recovery")
        .and_then(|field| recovery(&field, reader));
    let probe = section.get("probe").and_then(|field| probe(&field, reader));
    section.close(reader);
    Some(Cluster {
        name: name.into(),
        kind,
        policy: policy.unwrap_or_default(),
        last_resort: last_resort.unwrap_or_default(),
        weighing,
        mark_on,
        endpoints,
        tokens,
        breaker: breaker.unwrap_or_default(),
        affinity: affinity.unwrap_or_default(),
        retry: retry.unwrap_or_default(),
        timeouts: timeouts.unwrap_or_default(),
        connections: connections.unwrap_or_default(),
        recovery: recovery.unwrap_or_default(),
        probe: probe.unwrap_or_default(),
        unprobed,
    })
}

/// The endpoints of a cluster, and what is not said of them in the library.
#[derive(Default)]
struct Members {
    endpoints: Endpoints,
    /// The credentials of those that have several.
    tokens: HashMap<EndpointId, Tokens>,
    /// Those that are not checked.
    unprobed: BTreeSet<EndpointId>,
}

fn endpoints(
    field: &Field<'_>,
    kind: Option<Api>,
    usual: &MarkOn,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Members {
    let Some(items) = field.items(reader, ENDPOINTS) else {
        return Members::default();
    };
    if items.is_empty() {
        field.problem(reader, "is empty", ENDPOINTS);
    }
    let mut names: HashMap<Arc<str>, EndpointId> = HashMap::new();
    let mut endpoints = Vec::new();
    let mut pools = HashMap::new();
    let mut unprobed = BTreeSet::new();
    for item in items {
        let member = endpoint(&item, kind, usual, &names, reader, files);
        let Some((endpoint, tokens, probed)) = member else {
            continue;
        };
        let known = names.insert(endpoint.name().clone(), endpoint.id());
        // Two pools of one name have one id, and are two all the same.
        if known.is_some_and(|known| known != endpoint.id() || tokens.is_some()) {
            let reason = "has the name of another endpoint of this cluster";
            item.problem(reader, reason, "give it a name of its own: name: …");
            continue;
        }
        pools.extend(tokens.map(|tokens| (endpoint.id(), tokens)));
        if !probed {
            unprobed.insert(endpoint.id());
        }
        endpoints.push(endpoint);
    }
    match Endpoints::try_from_iter(endpoints) {
        Ok(endpoints) => Members {
            endpoints,
            tokens: pools,
            unprobed,
        },
        Err(error) => {
            field.problem(reader, error.to_string(), "give each a name of its own");
            Members::default()
        }
    }
}

fn endpoint(
    item: &Field<'_>,
    kind: Option<Api>,
    usual: &MarkOn,
    names: &HashMap<Arc<str>, EndpointId>,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Option<(Endpoint, Option<Tokens>, bool)> {
    let mut section = item.section(reader, ENDPOINTS)?;
    let given = section
        .get("name")
        .and_then(|field| field.text(reader, "write it like name: official"));
    let base_url = base_url(&mut section, reader);
    let keys = keys(&mut section, given.is_some(), reader, files);
    let own_kind = section
        .get("kind")
        .and_then(|field| field.choice(reader, &KINDS));
    let auth = section
        .get("auth")
        .and_then(|field| field.choice(reader, &AUTHS));
    let numbers = Numbers::read(&mut section, reader);
    let first_byte = section
        .get("timeout")
        .and_then(|field| field.duration(reader));
    let models = section
        .get("models")
        .map(|field| models(&field, reader))
        .unwrap_or_default();
    let mark_on = mark_on(&mut section, usual, reader);
    let enabled = section.get("enabled").and_then(|field| field.flag(reader));
    let probe = section.get("probe").and_then(|field| field.flag(reader));
    section.close(reader);

    let base_url = base_url?;
    let name = given.unwrap_or_else(|| free_name(base_url.host(), names));
    let api = own_kind.or(kind).or_else(|| vendor_api(base_url.host()));
    let endpoint = Endpoint::new(name.as_str(), base_url);
    let (endpoint, tokens) = match keys? {
        Keys::One(key) => {
            let credential = Credential::new(name.as_str(), key);
            (endpoint.with_credential(credential), None)
        }
        Keys::Several(tokens) => (endpoint.with_token_pool(), Some(*tokens)),
    };
    let mut endpoint = endpoint
        .with_models(models)
        .with_mark_on(mark_on)
        .with_enabled(enabled.unwrap_or(true));
    if let Some(api) = api {
        endpoint = endpoint.with_api(api);
    }
    if let Some(auth) = auth {
        endpoint = endpoint.with_auth(auth);
    }
    if let Some(first_byte) = first_byte {
        endpoint = endpoint.with_first_byte(first_byte);
    }
    Some((numbers.put_on(endpoint), tokens, probe.unwrap_or(true)))
}

/// What authenticates at an endpoint.
enum Keys {
    One(String),
    Several(Box<Tokens>),
}

fn keys(
    section: &mut Section<'_>,
    has_name: bool,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Option<Keys> {
    let (one, several) = (section.get("api_key"), section.get("tokens"));
    match (one, several) {
        (Some(field), None) => api_key(&field, reader, files).map(Keys::One),
        (None, Some(field)) => {
            if !has_name {
                let remedy = "give the endpoint a name: with tokens its id is made of that";
                section.missing(reader, "name", remedy);
            }
            tokens(&field, reader, files).map(|tokens| Keys::Several(Box::new(tokens)))
        }
        (Some(_), Some(field)) => {
            let remedy = "keep one of them, and put the key of api_key into tokens.personal";
            field.problem(reader, "stands beside api_key", remedy);
            None
        }
        (None, None) => {
            section.missing(reader, "api_key", API_KEY);
            None
        }
    }
}

/// The settings of an endpoint that are plain numbers.
struct Numbers {
    weight: Option<u32>,
    priority: Option<u32>,
    max_in_flight: Option<u32>,
    max_failures: Option<u32>,
}

impl Numbers {
    fn read(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Self {
        let mut number = |key| section.get(key)?.whole(reader);
        Self {
            weight: number("weight"),
            priority: number("priority"),
            max_in_flight: number("max_in_flight"),
            max_failures: number("max_failures"),
        }
    }

    fn put_on(self, mut endpoint: Endpoint) -> Endpoint {
        if let Some(weight) = self.weight {
            endpoint = endpoint.with_weight(weight);
        }
        if let Some(priority) = self.priority {
            endpoint = endpoint.with_priority(priority);
        }
        if let Some(limit) = self.max_in_flight {
            endpoint = endpoint.with_max_in_flight(limit);
        }
        if let Some(failures) = self.max_failures {
            endpoint = endpoint.with_max_failures(failures);
        }
        endpoint
    }
}

fn base_url(section: &mut Section<'_>, reader: &mut Reader<'_>) -> Option<BaseUrl> {
    let remedy = "write it like https://api.example.com";
    let Some(field) = section.get("base_url") else {
        section.missing(reader, "base_url", remedy);
        return None;
    };
    field.typed(reader, remedy)
}

/// The key itself, or what stands in the file that is named.
fn api_key(field: &Field<'_>, reader: &mut Reader<'_>, files: Files<'_>) -> Option<String> {
    if !field.is_map() {
        let key = field.text(reader, API_KEY)?;
        return header_safe(key.trim(), field, reader);
    }
    let mut section = field.section(reader, API_KEY)?;
    let Some(file) = section.get("file") else {
        section.missing(reader, "file", API_KEY);
        section.close(reader);
        return None;
    };
    section.close(reader);
    let text = text_of_file(&file, reader, files)?;
    header_safe(text.trim(), &file, reader)
}

/// What stands in the file that `file` names.
pub(super) fn text_of_file(
    file: &Field<'_>,
    reader: &mut Reader<'_>,
    files: Files<'_>,
) -> Option<String> {
    let path = file.text(reader, API_KEY)?;
    let path = reader.environment.expand(path.trim());
    match files(&path) {
        Ok(text) if text.trim().is_empty() => {
            let reason = format!("{} is empty", path.display());
            file.problem(reader, reason, "write the key into it");
            None
        }
        Ok(text) => Some(text),
        Err(error) => {
            let reason = format!("{} cannot be read: {error}", path.display());
            file.problem(
                reader,
                reason,
                "write the key into it, readable by you only",
            );
            None
        }
    }
}

/// `key`, if it can stand in a header.
pub(super) fn header_safe(key: &str, field: &Field<'_>, reader: &mut Reader<'_>) -> Option<String> {
    if key.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Some(key.to_owned());
    }
    field.problem(
        reader,
        "has blanks, line ends or other characters that no key has",
        "copy the key again, without quotes and as one line",
    );
    None
}

fn models(field: &Field<'_>, reader: &mut Reader<'_>) -> Vec<String> {
    let remedy = "write it like models: [\"claude-*\"]";
    field
        .items(reader, remedy)
        .unwrap_or_default()
        .iter()
        .filter_map(|item| item.text(reader, remedy))
        .collect()
}

/// `host`, or `host-2` and so on where that is taken.
fn free_name(host: &str, names: &HashMap<Arc<str>, EndpointId>) -> String {
    if !names.contains_key(host) {
        return host.to_owned();
    }
    let numbered = |number: usize| format!("{host}-{number}");
    (2..=names.len() + 2)
        .map(numbered)
        .find(|name| !names.contains_key(name.as_str()))
        .unwrap_or_else(|| numbered(names.len() + 2))
}

/// The API of the vendors' own hosts. A relay may speak any.
fn vendor_api(host: &str) -> Option<Api> {
    match host {
        "api.anthropic.com" => Some(Api::Anthropic),
        "api.openai.com" => Some(Api::OpenAi),
        "generativelanguage.googleapis.com" => Some(Api::Gemini),
        _ => None,
    }
}
