//! What happened to one request: the record as data ([`Explanation`]) and as a person would tell
//! it ([`tell`]).
//!
//! Both are pure. The admin API serves the data; the command turns it into words, so what a
//! program reads and what a person reads cannot differ. A record holds no secret, no prompt and
//! no answer, and neither does anything that is made of it.

mod kept;
#[cfg(test)]
pub(crate) mod samples;
mod story;

use std::collections::BTreeMap;
use std::sync::Arc;

use qcc_core::available::Reason;
use qcc_core::endpoint::Endpoint;
use qcc_core::error::ErrorKind;
use qcc_core::failure::{Verdict, Wait};
use qcc_core::record::{
    self, Answer, Fate, LeftOut, Record, SendRecord, SendResult, Usage, VisitRecord,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::moment::{Anchor, Date, millis};

pub(crate) use kept::{read, write};
pub(crate) use story::tell;

/// One request. Fields that end in `_ms` are milliseconds; `at_ms` counts from the start of the
/// request.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Explanation {
    /// The id of the request.
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
    /// Its session, hashed.
    pub(crate) session: Option<String>,
    /// How long it had, up to its commit point.
    pub(crate) deadline_ms: Option<f64>,
    /// How many sends counted against the limit.
    pub(crate) attempts: usize,
    /// Its visits, in order.
    pub(crate) visits: Vec<VisitStory>,
    /// When its answer was committed.
    pub(crate) committed_at_ms: Option<f64>,
    /// What the answer said about tokens.
    pub(crate) usage: Option<Tokens>,
    /// What happened to the binding of its session.
    pub(crate) binding: Option<String>,
    /// What the client got.
    pub(crate) answer: Outcome,
    /// The endpoint whose answer that was, where the record tells without doubt.
    pub(crate) answered_by: Option<Named>,
    /// How long everything took, the body included.
    pub(crate) duration_ms: f64,
}

/// An endpoint, as the story names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Named {
    /// Its short id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// Its address.
    pub(crate) base_url: String,
}

/// A stay at one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct VisitStory {
    /// Its number, from 1.
    pub(crate) number: usize,
    /// When it began.
    pub(crate) at_ms: f64,
    /// Who was left out.
    pub(crate) left_out: Vec<Out>,
    /// How many more were left out, by reason.
    pub(crate) others_left_out: BTreeMap<String, u32>,
    /// Who was chosen; `null` if nobody could be.
    pub(crate) endpoint: Option<Named>,
    /// From which tier.
    pub(crate) tier: Option<String>,
    /// What became of the endpoint that the session preferred.
    pub(crate) preference: Option<Preference>,
    /// What was sent there.
    pub(crate) sends: Vec<SendStory>,
}

/// An endpoint that was left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Out {
    /// Which.
    pub(crate) endpoint: Named,
    /// Why, by the name that answers and metrics use.
    pub(crate) reason: String,
    /// Until when, if it ends by itself.
    pub(crate) until: Option<Date>,
}

/// What became of a preference: `honoured`, `passed_over` or `gone`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Preference {
    /// The fate.
    pub(crate) fate: String,
    /// Why it was passed over.
    pub(crate) reason: Option<String>,
    /// Until when it cannot be used.
    pub(crate) until: Option<Date>,
}

/// One request to an upstream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct SendStory {
    /// Its number in the request, from 1.
    pub(crate) number: usize,
    /// Why it was sent: `first`, `rotation`, `quick` or `refresh`.
    pub(crate) kind: String,
    /// The name of the credential.
    pub(crate) credential: Option<String>,
    /// The credentials that would have been used before it, if they could be.
    #[serde(default)]
    pub(crate) passed_over: Vec<PassedOver>,
    /// When it began.
    pub(crate) at_ms: f64,
    /// When the first byte of its body came, from its own start.
    pub(crate) first_byte_ms: Option<f64>,
    /// The status of its answer.
    pub(crate) status: Option<u16>,
    /// How long it took, the body included.
    pub(crate) duration_ms: f64,
    /// How many bytes of its body went to the client.
    pub(crate) bytes: u64,
    /// `clean`, `failed`, `broken`, `refused`, `canceled`, `committed` or `pending`.
    pub(crate) result: String,
    /// Why it was refused before it was sent.
    pub(crate) refused: Option<String>,
    /// How it failed or broke.
    pub(crate) failure: Option<Failure>,
}

/// A credential that could not be used.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PassedOver {
    /// Its name.
    pub(crate) name: String,
    /// `cooling`, `inactive` or `refused`.
    pub(crate) state: String,
    /// Until when, if it ends by itself.
    pub(crate) until: Option<Date>,
}

/// A verdict.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Failure {
    /// What went wrong.
    pub(crate) kind: String,
    /// The class of it.
    pub(crate) class: String,
    /// Whose fault it is.
    pub(crate) blame: String,
    /// Until when the blamed one is not to be used, where the answer said so.
    pub(crate) until: Option<Date>,
    /// Which wait ran out.
    pub(crate) wait: Option<String>,
}

/// Tokens, as the answer told them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Tokens {
    /// All input tokens, cached ones included.
    pub(crate) input: Option<u64>,
    /// Those read from a cache.
    pub(crate) cached: Option<u64>,
    /// All output tokens.
    pub(crate) output: Option<u64>,
}

/// What the client got.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Outcome {
    /// `relayed`, `interrupted`, `failed`, `canceled` or `pending`.
    pub(crate) outcome: String,
    /// The status of the upstream's answer.
    pub(crate) status: Option<u16>,
    /// What broke it, or which error of ours took its place.
    pub(crate) error: Option<String>,
}

impl Explanation {
    /// The record as data. `now` turns its instants into dates.
    pub(crate) fn of(record: &Record, now: &Anchor) -> Self {
        let mut sends = 0;
        Self {
            id: record.id.to_string(),
            started_at: record.started_at.into(),
            cluster: record.cluster.as_deref().map(str::to_owned),
            client: record.client.as_deref().map(str::to_owned),
            dialect: record.dialect.map(|dialect| dialect.to_string()),
            model: record.model.as_deref().map(str::to_owned),
            stream: record.stream,
            session: record.session.map(|session| session.to_string()),
            deadline_ms: record.deadline.map(millis),
            attempts: record.attempts(),
            visits: record
                .visits
                .iter()
                .enumerate()
                .map(|(index, visit)| VisitStory::of(index + 1, visit, &mut sends, now))
                .collect(),
            committed_at_ms: record.committed.map(millis),
            usage: record.usage.map(Tokens::from),
            binding: record.binding.map(|binding| binding.to_string()),
            answer: Outcome::from(record.answer),
            answered_by: answered_by(record).map(Named::from),
            duration_ms: millis(record.duration),
        }
    }
}

/// The endpoint whose answer the client got, where the record tells without doubt.
pub(crate) fn answered_by(record: &Record) -> Option<&Arc<Endpoint>> {
    let (Answer::Relayed { status } | Answer::Interrupted { status, .. }) = record.answer else {
        return None;
    };
    let mut last = None;
    let mut count = 0;
    for (endpoint, send) in record.sends() {
        if send.status == Some(status) {
            count += 1;
            last = endpoint.map(|endpoint| (endpoint, send));
        }
    }
    let (endpoint, send) = last?;
    // A failed answer that is relayed may be that of any visit with its status.
    let failed = matches!(send.result, SendResult::Failed { .. });
    (count == 1 || !failed).then_some(endpoint)
}

impl VisitStory {
    fn of(number: usize, visit: &VisitRecord, sends: &mut usize, now: &Anchor) -> Self {
        Self {
            number,
            at_ms: millis(visit.started),
            left_out: visit.left_out.iter().map(|out| Out::of(out, now)).collect(),
            others_left_out: visit
                .others
                .iter()
                .map(|(reason, count)| (reason.to_string(), count))
                .collect(),
            endpoint: visit.endpoint.as_ref().map(Named::from),
            tier: visit.tier.map(|tier| tier.to_string()),
            preference: visit.preference.map(|fate| Preference::of(fate, now)),
            sends: visit
                .sends
                .iter()
                .map(|send| {
                    *sends += 1;
                    SendStory::of(*sends, send, now)
                })
                .collect(),
        }
    }

    /// How many were left out for each reason, named or not.
    fn reasons(&self) -> BTreeMap<&str, u32> {
        let mut counts: BTreeMap<&str, u32> = self
            .others_left_out
            .iter()
            .map(|(reason, count)| (&**reason, *count))
            .collect();
        for out in &self.left_out {
            *counts.entry(&out.reason).or_default() += 1;
        }
        counts
    }
}

impl Out {
    fn of(out: &LeftOut, now: &Anchor) -> Self {
        Self {
            endpoint: Named::from(&out.endpoint),
            reason: out.reason.to_string(),
            until: out.until.map(|until| now.date_of(until)),
        }
    }
}

impl Preference {
    fn of(fate: Fate, now: &Anchor) -> Self {
        let plain = |fate: &str| Self {
            fate: fate.to_owned(),
            reason: None,
            until: None,
        };
        match fate {
            Fate::Honoured => plain("honoured"),
            Fate::Owned => plain("owned"),
            Fate::Gone => plain("gone"),
            Fate::PassedOver { reason, until } => Self {
                reason: Some(reason.to_string()),
                until: until.map(|until| now.date_of(until)),
                ..plain("passed_over")
            },
        }
    }
}

impl SendStory {
    fn of(number: usize, send: &SendRecord, now: &Anchor) -> Self {
        let (result, refused, failure) = result_of(send, now);
        let passed_over = send.passed_over.iter();
        Self {
            number,
            kind: send.kind.to_string(),
            credential: send.credential.as_deref().map(str::to_owned),
            passed_over: passed_over
                .map(|passed| PassedOver::of(passed, now))
                .collect(),
            at_ms: millis(send.started),
            first_byte_ms: send.first_byte.map(millis),
            status: send.status.map(|status| status.as_u16()),
            duration_ms: millis(send.duration),
            bytes: send.bytes,
            result: result.to_owned(),
            refused: refused.map(str::to_owned),
            failure,
        }
    }
}

/// What came of a send, why it was refused, and how it failed.
fn result_of(
    send: &SendRecord,
    now: &Anchor,
) -> (&'static str, Option<&'static str>, Option<Failure>) {
    match send.result {
        SendResult::Refused(reason) => ("refused", Some(reason.as_str()), None),
        SendResult::Failed { verdict, wait } => {
            ("failed", None, Some(Failure::of(verdict, wait, now)))
        }
        SendResult::Broken(verdict) => ("broken", None, Some(Failure::of(verdict, None, now))),
        SendResult::Clean => ("clean", None, None),
        SendResult::Canceled => ("canceled", None, None),
        SendResult::Committed => ("committed", None, None),
        _ => ("pending", None, None),
    }
}

impl Failure {
    fn of(verdict: Verdict, wait: Option<Wait>, now: &Anchor) -> Self {
        Self {
            kind: verdict.kind.to_string(),
            class: verdict.kind.class().to_string(),
            blame: verdict.blame.to_string(),
            until: verdict.until.map(|until| now.date_of(until)),
            wait: wait.map(|wait| wait.to_string().replace(' ', "_")),
        }
    }
}

impl PassedOver {
    fn of(passed: &record::PassedOver, now: &Anchor) -> Self {
        Self {
            name: passed.name.to_string(),
            state: passed.state.to_owned(),
            until: passed.until.map(|until| now.date_of(until)),
        }
    }
}

impl From<&Arc<Endpoint>> for Named {
    fn from(endpoint: &Arc<Endpoint>) -> Self {
        Self {
            id: endpoint.id().to_string(),
            name: endpoint.name().to_string(),
            base_url: endpoint.base_url().to_string(),
        }
    }
}

impl From<Usage> for Tokens {
    fn from(usage: Usage) -> Self {
        Self {
            input: usage.input,
            cached: usage.cached,
            output: usage.output,
        }
    }
}

impl From<Answer> for Outcome {
    fn from(answer: Answer) -> Self {
        let (outcome, status, error) = told(answer);
        Self {
            outcome: outcome.to_owned(),
            status,
            error: error.map(str::to_owned),
        }
    }
}

/// What the client got, the status of the upstream's answer, and what broke it or took its place.
fn told(answer: Answer) -> (&'static str, Option<u16>, Option<&'static str>) {
    match answer {
        Answer::Relayed { status } => ("relayed", Some(status.as_u16()), None),
        Answer::Interrupted { status, kind } => {
            ("interrupted", Some(status.as_u16()), Some(kind.as_str()))
        }
        Answer::Failed(kind) => ("failed", None, Some(name_of(kind))),
        Answer::Canceled => ("canceled", None, None),
        _ => ("pending", None, None),
    }
}

/// The name of an error of ours in records and metrics.
pub(crate) fn name_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::NoEndpoint => "no_endpoint",
        ErrorKind::OwnerUnavailable => "owner_unavailable",
        ErrorKind::AllFailed => "all_failed",
        ErrorKind::RateLimited => "rate_limited",
        ErrorKind::AuthFailed => "auth_failed",
        ErrorKind::Deadline => "deadline",
        ErrorKind::RequestBody => "request_body",
        ErrorKind::CallerFull => "caller_full",
        _ => "other",
    }
}

/// Why an endpoint is left out, in words that follow its name and a comma. A name that this
/// version does not know stands for itself.
pub(crate) fn because(reason: &str) -> &str {
    let known = Reason::ALL
        .into_iter()
        .find(|known| known.as_str() == reason);
    match known {
        Some(Reason::Disabled) => "an operator switched it off",
        Some(Reason::AuthFailed) => "its credential was refused",
        Some(Reason::Open) => "its breaker is open",
        Some(Reason::Probing) => "its breaker is half-open and a probe is under way",
        Some(Reason::Cooling) => "it cools down",
        Some(Reason::Queued) => "it waits in the recovery queue",
        Some(Reason::Marked) => "it is marked unavailable",
        Some(Reason::Model) => "it does not have the model",
        Some(Reason::Dialect) => "it does not speak the dialect",
        Some(Reason::Full) => "it has as many requests in flight as it may",
        Some(Reason::Excluded) => "it failed in this request before",
        None => reason,
    }
}

#[cfg(test)]
mod tests {
    use http::StatusCode;
    use serde_json::json;

    use super::*;

    // XPL-01, XPL-02
    #[test]
    fn the_data_has_everything_that_was_decided() {
        let explanation = Explanation::of(&samples::failed_over(), &samples::now());
        let data = serde_json::to_value(&explanation).unwrap();
        assert_eq!(data["id"], "qcc-test-1");
        assert_eq!(data["started_at"], "2026-01-31T08:00:00.250Z");
        assert_eq!(data["cluster"], "claude");
        assert_eq!(data["dialect"], "anthropic");
        assert_eq!(data["model"], "claude-sonnet-4-5");
        assert_eq!(data["session"], "0707070707070707".repeat(2));
        assert_eq!(data["deadline_ms"], 600_000.0);
        assert_eq!(data["attempts"], 2);
        assert_eq!(data["visits"][0]["left_out"][0]["reason"], "auth_failed");
        assert_eq!(
            data["visits"][0]["left_out"][1]["until"],
            "2026-01-31T08:00:34.250Z"
        );
        assert_eq!(
            data["visits"][0]["others_left_out"],
            json!({ "cooling": 2, "full": 1 })
        );
        assert_eq!(data["visits"][0]["tier"], "ready");
        assert_eq!(
            data["visits"][0]["sends"][0],
            json!({
                "number": 1,
                "kind": "first",
                "credential": "main",
                "passed_over": [],
                "at_ms": 1.0,
                "first_byte_ms": null,
                "status": 529,
                "duration_ms": 842.0,
                "bytes": 0,
                "result": "failed",
                "refused": null,
                "failure": {
                    "kind": "overloaded",
                    "class": "transient",
                    "blame": "endpoint",
                    "until": "2026-01-31T08:01:01.000Z",
                    "wait": null,
                },
            })
        );
        assert_eq!(data["visits"][1]["sends"][1]["kind"], "rotation");
        assert_eq!(
            data["visits"][1]["sends"][1]["passed_over"][0],
            json!({ "name": "shared-1", "state": "cooling", "until": "2026-01-31T08:00:10.250Z" })
        );
        assert_eq!(data["visits"][1]["sends"][1]["first_byte_ms"], 310.0);
        assert_eq!(data["visits"][1]["sends"][1]["bytes"], 18_637);
        assert_eq!(data["committed_at_ms"], 1_170.0);
        assert_eq!(
            data["usage"],
            json!({ "input": 12_034, "cached": 11_000, "output": 512 })
        );
        assert_eq!(data["binding"], "rebound");
        assert_eq!(
            data["answer"],
            json!({ "outcome": "relayed", "status": 200, "error": null })
        );
        let back: Explanation = serde_json::from_value(data).unwrap();
        assert_eq!(back, explanation);
    }

    // XPL-05
    #[test]
    fn neither_data_nor_story_holds_a_secret() {
        for record in samples::all() {
            let explanation = Explanation::of(&record, &samples::now());
            let data = serde_json::to_string(&explanation).unwrap();
            let story = tell(&explanation, samples::now().date);
            assert!(!data.contains("sk-test"), "{data}");
            assert!(!story.contains("sk-test"), "{story}");
            // The sample is worth something only if there was a secret to hold back.
            assert!(
                record
                    .visits
                    .iter()
                    .filter_map(|visit| visit.endpoint.as_ref())
                    .all(|endpoint| endpoint.credential().is_some())
            );
        }
    }

    #[test]
    fn who_answered_is_told_only_without_doubt() {
        let relayed = Explanation::of(&samples::failed_over(), &samples::now());
        assert_eq!(relayed.answered_by.unwrap().name, "relay");
        let refused = Explanation::of(&samples::nobody(), &samples::now());
        assert_eq!(refused.answered_by, None);
        let mut twice = samples::failed_over();
        for visit in &mut twice.visits {
            visit.sends.truncate(1);
            visit.sends[0].status = Some(StatusCode::SERVICE_UNAVAILABLE);
        }
        twice.answer = Answer::Relayed {
            status: StatusCode::SERVICE_UNAVAILABLE,
        };
        assert!(answered_by(&twice).is_none());
    }

    // RTY-14
    #[test]
    fn every_reason_has_words_of_its_own() {
        let words: std::collections::HashSet<_> = Reason::ALL
            .into_iter()
            .map(|reason| because(reason.as_str()))
            .collect();
        assert_eq!(words.len(), Reason::ALL.len());
        assert_eq!(because("reason-of-tomorrow"), "reason-of-tomorrow");
    }
}
