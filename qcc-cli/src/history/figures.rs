//! What endpoints did over some time.

use qcc_core::store::{Bucket, History as Kept, Totals};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::{Date, millis};

/// The figures of an endpoint over some time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Figures {
    /// Its cluster.
    pub(crate) cluster: String,
    /// Its name, as it was called last.
    pub(crate) endpoint: String,
    /// Its short id.
    pub(crate) endpoint_id: String,
    /// Its requests, without those that their clients gave up.
    pub(crate) requests: u64,
    /// Those that failed through the fault of endpoint or credential.
    pub(crate) failed: u64,
    /// The share of those that did not, in percent.
    pub(crate) success_rate: Option<f64>,
    /// The average time to an answer.
    pub(crate) latency_average_ms: Option<f64>,
    /// The shortest.
    pub(crate) latency_min_ms: Option<f64>,
    /// The longest.
    pub(crate) latency_max_ms: Option<f64>,
    /// All input tokens.
    pub(crate) input_tokens: u64,
    /// Those read from a cache.
    pub(crate) cached_tokens: u64,
    /// All output tokens.
    pub(crate) output_tokens: u64,
}

/// The figures of an endpoint in one minute.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Minute {
    /// When it begins.
    pub(crate) minute: Date,
    /// The figures.
    #[serde(flatten)]
    pub(crate) figures: Figures,
}

impl From<&Kept> for Figures {
    fn from(kept: &Kept) -> Self {
        let Totals {
            requests,
            failed,
            latency_min,
            latency_max,
            input_tokens,
            cached_tokens,
            output_tokens,
            ..
        } = kept.totals;
        Self {
            cluster: kept.cluster.clone(),
            endpoint: kept.name.clone(),
            endpoint_id: kept.endpoint.to_string(),
            requests,
            failed,
            success_rate: kept.totals.success_rate(),
            latency_average_ms: kept.totals.latency_average().map(millis),
            latency_min_ms: latency_min.map(millis),
            latency_max_ms: latency_max.map(millis),
            input_tokens,
            cached_tokens,
            output_tokens,
        }
    }
}

impl From<&Bucket> for Minute {
    fn from(bucket: &Bucket) -> Self {
        Self {
            minute: bucket.start.into(),
            figures: Figures::from(&bucket.history),
        }
    }
}

/// The columns of a minute as CSV.
const COLUMNS: &str = "minute,cluster,endpoint,endpoint_id,requests,failed,success_rate,\
                       latency_average_ms,latency_min_ms,latency_max_ms,input_tokens,\
                       cached_tokens,output_tokens";

/// `minutes` as CSV (RFC 4180), with a line of names first.
pub(crate) fn csv(minutes: &[Minute]) -> String {
    let mut text = format!("{COLUMNS}\r\n");
    for Minute { minute, figures } in minutes {
        let number = |number: Option<f64>| number.map_or_else(String::new, |it| it.to_string());
        let fields = [
            minute.to_string(),
            field(&figures.cluster),
            field(&figures.endpoint),
            figures.endpoint_id.clone(),
            figures.requests.to_string(),
            figures.failed.to_string(),
            number(figures.success_rate),
            number(figures.latency_average_ms),
            number(figures.latency_min_ms),
            number(figures.latency_max_ms),
            figures.input_tokens.to_string(),
            figures.cached_tokens.to_string(),
            figures.output_tokens.to_string(),
        ];
        text.push_str(&fields.join(","));
        text.push_str("\r\n");
    }
    text
}

/// A text as a field of CSV. One that a spreadsheet would take for a formula begins with an
/// apostrophe, which it does not show.
fn field(text: &str) -> String {
    let text = match text.chars().next() {
        Some('=' | '+' | '-' | '@' | '\t' | '\r') => format!("'{text}"),
        _ => text.to_owned(),
    };
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\""))
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // STO-08
    #[test]
    fn a_name_of_any_kind_is_one_field() {
        for (text, expected) in [
            ("relay", "relay"),
            ("a,b", "\"a,b\""),
            ("the \"good\" one", "\"the \"\"good\"\" one\""),
            ("=1+1", "'=1+1"),
            ("", ""),
        ] {
            assert_eq!(field(text), expected);
        }
    }
}
