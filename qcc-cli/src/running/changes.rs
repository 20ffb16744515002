//! What two configurations differ in.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use qcc_core::token::SourceId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::config::{Config, Shown, Tokens};

/// The parts of a configuration that are used once, when the proxy starts.
pub(crate) const AT_START: [&str; 7] = [
    "listen",
    "admin",
    "max_connections",
    "log",
    "shutdown",
    "warm_up",
    "store",
];

/// One key whose value is another one. Values are as `qcc config show` has them: no secret is
/// among them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Change {
    /// The key, like `clusters.claude.endpoints.relay.weight`.
    pub(crate) key: String,
    /// What it was; `None` if it was not there.
    pub(crate) old: Option<String>,
    /// What it is; `None` if it is not there.
    pub(crate) new: Option<String>,
    /// Whether it takes effect only when the proxy is started again.
    pub(crate) needs_restart: bool,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, old, new, .. } = self;
        match (old, new) {
            (Some(old), Some(new)) => write!(f, "{key}: {old} => {new}"),
            (None, Some(new)) => write!(f, "{key}: added, {new}"),
            (Some(old), None) => write!(f, "{key}: removed, was {old}"),
            (None, None) => f.write_str(key),
        }
    }
}

/// Every key in which `new` differs from `old`, in alphabetical order.
pub(crate) fn between(old: &Config, new: &Config) -> Vec<Change> {
    let other_tokens = other_tokens(old, new);
    let (old, new) = (values(old), values(new));
    let keys: BTreeSet<_> = old.keys().chain(new.keys()).collect();
    keys.into_iter()
        .filter(|key| old.get(*key) != new.get(*key))
        .map(|key| Change {
            key: key.clone(),
            old: old.get(key).cloned(),
            new: new.get(key).cloned(),
            needs_restart: AT_START.contains(&key.split('.').next().unwrap_or_default()),
        })
        .chain(other_tokens)
        .collect()
}

/// The credentials of pools that have their name still and are others. As they are shown, all
/// look alike.
fn other_tokens(old: &Config, new: &Config) -> Vec<Change> {
    let before = identities(old);
    let changed = identities(new).into_iter().filter(|(key, identity)| {
        let known = before.get(key);
        known.is_some_and(|known| known != identity)
    });
    let change = |(key, _)| Change {
        key,
        old: Some("a token".to_owned()),
        new: Some("another token".to_owned()),
        needs_restart: false,
    };
    changed.map(change).collect()
}

fn identities(config: &Config) -> BTreeMap<String, SourceId> {
    let mut identities = BTreeMap::new();
    for cluster in &config.clusters {
        for endpoint in cluster.endpoints.iter() {
            let tokens = cluster.tokens.get(&endpoint.id());
            for (name, identity) in tokens.into_iter().flat_map(Tokens::identities) {
                let key = format!(
                    "clusters.{}.endpoints.{}.tokens.{name}",
                    cluster.name,
                    endpoint.name()
                );
                identities.insert(key, identity);
            }
        }
    }
    identities
}

fn values(config: &Config) -> BTreeMap<String, String> {
    let mut values = BTreeMap::new();
    if let Ok(shown) = serde_json::to_value(Shown::of(config)) {
        flatten("", &shown, &mut values);
    }
    // Two keys may look alike once they are masked.
    for cluster in &config.clusters {
        for endpoint in cluster.endpoints.iter() {
            let key = format!("clusters.{}.endpoints.{}.id", cluster.name, endpoint.name());
            values.insert(key, endpoint.id().to_string());
        }
    }
    values
}

/// Adds what is below `value`. The entries of a list that have names are told apart by them, so
/// that one more in the middle is one change.
fn flatten(key: &str, value: &Value, values: &mut BTreeMap<String, String>) {
    let below = |name: &str| match key {
        "" => name.to_owned(),
        key => format!("{key}.{name}"),
    };
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                flatten(&below(name), value, values);
            }
        }
        Value::Array(items) if items.iter().all(|item| item.get("name").is_some()) => {
            for item in items {
                let name = item["name"].as_str().unwrap_or_default();
                flatten(&below(name), item, values);
            }
        }
        Value::String(text) => {
            values.insert(key.to_owned(), text.clone());
        }
        other => {
            values.insert(key.to_owned(), other.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{self, Environment};

    fn config(text: &str) -> Config {
        let environment = Environment::from_iter([("", ""); 0]);
        config::from_str(text, Path::new("f.yaml"), &environment).unwrap()
    }

    fn shown(old: &str, new: &str) -> Vec<String> {
        let changes = between(&config(old), &config(new));
        changes.iter().map(ToString::to_string).collect()
    }

    const BEFORE: &str = "
clusters:
  claude:
    endpoints:
      - { name: a, base_url: 'https://a.example', api_key: sk-test-0001-aaaa }
      - { name: b, base_url: 'https://b.example', api_key: sk-test-0002 }
";

    // CFG-08
    #[test]
    fn every_key_that_differs_is_told_with_both_values_and_no_secret() {
        assert_eq!(shown(BEFORE, BEFORE), [""; 0]);
        let after = "
listen: 127.0.0.1:9
clusters:
  claude:
    breaker: { max_failures: 5 }
    endpoints:
      - { name: new, base_url: 'https://n.example', api_key: sk-test-0003 }
      - { name: a, base_url: 'https://a.example', api_key: sk-test-0009-aaaa, weight: 7 }
";
        let told = shown(BEFORE, after);
        for line in [
            "clusters.claude.breaker.max_failures: 3 => 5",
            "clusters.claude.endpoints.a.weight: 100 => 7",
            "clusters.claude.endpoints.b.base_url: removed, was https://b.example",
            "clusters.claude.endpoints.new.base_url: added, https://n.example",
            "listen: 127.0.0.1:7860 => 127.0.0.1:9",
        ] {
            assert!(
                told.iter().any(|told| told.starts_with(line)),
                "{line}\n{told:#?}"
            );
        }
        // The two keys of a end alike, so only the id tells them apart.
        let ids = told.iter().filter(|told| told.contains("endpoints.a.id:"));
        assert_eq!(ids.count(), 1, "{told:#?}");
        assert!(!told.concat().contains("sk-test"), "{told:#?}");
    }

    // CFG-08, TOK-33
    #[test]
    fn another_token_of_the_same_name_is_a_change_and_stays_a_secret() {
        let pool = |tokens: &str| {
            format!(
                "clusters: {{ c: {{ endpoints: [{{ name: p, base_url: 'https://p.example', \
                 tokens: {{ personal: [{tokens}] }} }}] }} }}"
            )
        };
        let told = shown(&pool("sk-test-1, sk-test-2"), &pool("sk-test-1, sk-test-3"));
        let key = "clusters.c.endpoints.p.tokens";
        assert_eq!(
            told,
            [format!("{key}.Personal-2: a token => another token")]
        );
        let told = shown(&pool("sk-test-1, sk-test-2"), &pool("sk-test-1"));
        assert_eq!(
            told,
            [format!(r#"{key}.personal: ["****","****"] => ["****"]"#)]
        );
    }

    // CFG-07
    #[test]
    fn what_is_used_at_the_start_only_is_marked() {
        let changes = between(
            &config(BEFORE),
            &config(&format!("shutdown: 5s\nlisten: 127.0.0.1:9{BEFORE}")),
        );
        assert_eq!(changes.len(), 2);
        assert!(changes.iter().all(|change| change.needs_restart));
    }
}
