//! Requests, as they are listed.

use qcc_core::record::Record;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::explain::{Explanation, Named, Outcome, answered_by};
use crate::moment::{Date, millis};

/// One request in a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RequestView {
    /// The id.
    pub(crate) id: String,
    /// When it came.
    pub(crate) started_at: Date,
    /// The cluster that served it.
    pub(crate) cluster: Option<String>,
    /// The client key that it came with, by name.
    pub(crate) client: Option<String>,
    /// Its dialect.
    pub(crate) dialect: Option<String>,
    /// The model that it named.
    pub(crate) model: Option<String>,
    /// Whether it asked for a stream.
    pub(crate) stream: bool,
    /// The endpoint that answered or, if none did, the last one that was tried.
    pub(crate) endpoint: Option<Named>,
    /// What the client got.
    pub(crate) answer: Outcome,
    /// How many sends counted against the limit.
    pub(crate) attempts: usize,
    /// How many endpoints were visited.
    pub(crate) visits: usize,
    /// All input tokens.
    pub(crate) input_tokens: Option<u64>,
    /// All output tokens.
    pub(crate) output_tokens: Option<u64>,
    /// How long everything took, the body included.
    pub(crate) duration_ms: f64,
}

impl From<&Explanation> for RequestView {
    fn from(told: &Explanation) -> Self {
        let last = told
            .visits
            .iter()
            .rev()
            .find_map(|visit| visit.endpoint.clone());
        Self {
            id: told.id.clone(),
            started_at: told.started_at,
            client: told.client.clone(),
            cluster: told.cluster.clone(),
            dialect: told.dialect.clone(),
            model: told.model.clone(),
            stream: told.stream,
            endpoint: told.answered_by.clone().or(last),
            answer: told.answer.clone(),
            attempts: told.attempts,
            visits: told.visits.len(),
            input_tokens: told.usage.and_then(|usage| usage.input),
            output_tokens: told.usage.and_then(|usage| usage.output),
            duration_ms: told.duration_ms,
        }
    }
}

impl From<&Record> for RequestView {
    fn from(record: &Record) -> Self {
        Self {
            id: record.id.to_string(),
            started_at: record.started_at.into(),
            cluster: record.cluster.as_deref().map(str::to_owned),
            client: record.client.as_deref().map(str::to_owned),
            dialect: record.dialect.map(|dialect| dialect.to_string()),
            model: record.model.as_deref().map(str::to_owned),
            stream: record.stream,
            endpoint: answered_by(record)
                .or_else(|| record.endpoint())
                .map(Named::from),
            answer: record.answer.into(),
            attempts: record.attempts(),
            visits: record.visits.len(),
            input_tokens: record.usage.and_then(|usage| usage.input),
            output_tokens: record.usage.and_then(|usage| usage.output),
            duration_ms: millis(record.duration),
        }
    }
}
