//! What a simulated endpoint keeps for those who made it: files, batches, stored responses and
//! their like. Pure.

use std::collections::{HashMap, VecDeque};

use http::Method;
use http::request::Parts;
use serde_json::Value;

use super::asked::Asked;
use crate::facts::Dialect;

/// So many are kept; then the oldest is gone.
const MOST: usize = 10_000;

/// A collection of a vendor.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Collection {
    path: &'static str,
    /// What its members are called.
    object: &'static str,
    /// How their ids begin.
    prefix: &'static str,
    dialect: Option<Dialect>,
}

const fn collection(
    path: &'static str,
    object: &'static str,
    prefix: &'static str,
    dialect: Option<Dialect>,
) -> Collection {
    Collection {
        path,
        object,
        prefix,
        dialect,
    }
}

static COLLECTIONS: [Collection; 9] = [
    collection(
        "/messages/batches",
        "message_batch",
        "msgbatch",
        Some(Dialect::Anthropic),
    ),
    collection("/responses", "response", "resp", Some(Dialect::Responses)),
    collection(
        "/conversations",
        "conversation",
        "conv",
        Some(Dialect::Responses),
    ),
    collection("/batches", "batch", "batch", None),
    collection("/files", "file", "file", None),
    collection("/uploads", "upload", "upload", None),
    collection("/containers", "container", "cntr", None),
    collection("/vector_stores", "vector_store", "vs", None),
    collection(
        "/cachedContents",
        "cachedContent",
        "cached",
        Some(Dialect::Gemini),
    ),
];

/// What a request wants of a collection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wanted {
    Make,
    Look,
    Delete,
}

/// The collection that a request is for, its dialect if there is but one, what it wants there,
/// and of which member.
pub(super) fn wanted(
    head: &Parts,
) -> Option<(&'static Collection, Option<Dialect>, Wanted, String)> {
    let path = head.uri.path().trim_end_matches('/');
    // What stands in front: `containers/c/files/f` is something of the container.
    let found = COLLECTIONS.iter().filter_map(|collection| {
        let at = path.find(collection.path)?;
        let rest = &path[at + collection.path.len()..];
        (rest.is_empty() || rest.starts_with('/')).then_some((at, collection, rest))
    });
    let (_, collection, rest) = found.min_by_key(|(at, ..)| *at)?;
    let wanted = match head.method {
        Method::POST if rest.is_empty() => Wanted::Make,
        _ if rest.is_empty() => return None,
        Method::DELETE => Wanted::Delete,
        _ => Wanted::Look,
    };
    let id = rest.split(['/', ':']).nth(1).unwrap_or_default();
    Some((collection, collection.dialect, wanted, id.to_owned()))
}

/// The ids that a body names.
pub(super) fn named(body: &Value) -> Vec<String> {
    let mut ids = Vec::new();
    walk(body, &mut ids);
    ids
}

fn walk(value: &Value, ids: &mut Vec<String>) {
    match value {
        Value::Array(items) => items.iter().for_each(|item| walk(item, ids)),
        Value::Object(members) => {
            for (key, value) in members {
                match (key.as_str(), value) {
                    (
                        "previous_response_id"
                        | "file_id"
                        | "input_file_id"
                        | "container"
                        | "cachedContent"
                        | "fileUri",
                        Value::String(id),
                    ) => ids.push(last_segment(id).to_owned()),
                    (_, value) => walk(value, ids),
                }
            }
        }
        _ => {}
    }
}

/// Gemini names things by their path or address.
fn last_segment(id: &str) -> &str {
    id.rsplit_once('/').map_or(id, |(_, last)| last)
}

impl Collection {
    /// The id of what a request makes that is the `number`th of this endpoint.
    pub(super) fn id(&self, reply: &str) -> String {
        format!("{}_{reply}", self.prefix)
    }

    /// The answer about one member.
    pub(super) fn answer(&self, dialect: Dialect, id: &str, wanted: Wanted) -> String {
        let path = self.path.trim_start_matches('/');
        let object = self.object;
        match (dialect, wanted) {
            (Dialect::Gemini, Wanted::Delete) => "{}".to_owned(),
            (Dialect::Gemini, Wanted::Make) if object == "file" => {
                format!(r#"{{"file":{{"name":"{path}/{id}"}}}}"#)
            }
            (Dialect::Gemini, _) => format!(r#"{{"name":"{path}/{id}"}}"#),
            (Dialect::Anthropic, Wanted::Delete) => {
                format!(r#"{{"id":"{id}","type":"{object}_deleted"}}"#)
            }
            (Dialect::Anthropic, _) => format!(r#"{{"id":"{id}","type":"{object}"}}"#),
            (_, Wanted::Delete) => {
                format!(r#"{{"id":"{id}","object":"{object}","deleted":true}}"#)
            }
            _ => format!(r#"{{"id":"{id}","object":"{object}"}}"#),
        }
    }
}

/// Who made what: the key that was presented is the account.
#[derive(Debug, Default)]
pub(super) struct Kept {
    // Never shown: the keys may be real ones.
    owners: HashMap<String, Option<String>>,
    order: VecDeque<String>,
}

impl Kept {
    pub(super) fn insert(&mut self, id: String, key: Option<String>) {
        if self.owners.insert(id.clone(), key).is_none() {
            self.order.push_back(id);
        }
        while self.order.len() > MOST {
            if let Some(oldest) = self.order.pop_front() {
                self.owners.remove(&oldest);
            }
        }
    }

    /// The first of what a request names that its account does not have.
    pub(super) fn missing<'a>(&self, asked: &'a Asked) -> Option<&'a str> {
        let has = |id: &&String| self.owners.get(*id) == Some(&asked.key);
        asked.named.iter().find(|id| !has(id)).map(String::as_str)
    }

    pub(super) fn remove(&mut self, id: &str) {
        self.owners.remove(id);
        self.order.retain(|known| known != id);
    }
}
