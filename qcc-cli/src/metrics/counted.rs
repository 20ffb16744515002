//! What a finished request counts as.

use metrics::{describe_counter, describe_histogram};
use qcc_core::endpoint::Endpoint;
use qcc_core::exchange::SendKind;
use qcc_core::failure::{Class, Verdict};
use qcc_core::record::{Answer, Record, SendRecord, SendResult};

use super::known::{Group, Value};
use crate::explain::name_of;

pub(super) fn describe() {
    describe_counter!(
        "qcc_requests_total",
        "Finished requests, by what the client got: its status, or the name of our error."
    );
    describe_histogram!(
        "qcc_request_duration_seconds",
        "How long requests took, their bodies included."
    );
    describe_histogram!(
        "qcc_commit_seconds",
        "How long it took until the client could be given the first byte."
    );
    describe_counter!(
        "qcc_failovers_total",
        "Requests that got an answer after another endpoint had failed."
    );
    describe_counter!(
        "qcc_sends_total",
        "Requests sent to upstreams, by why they were sent and what came of them."
    );
    describe_counter!(
        "qcc_failures_total",
        "Failed or broken sends, by kind, class and blame."
    );
    describe_counter!(
        "qcc_left_out_total",
        "How often an endpoint was left out of a choice, by reason."
    );
    describe_counter!("qcc_tokens_total", "Tokens, as upstreams told them.");
    describe_counter!(
        "qcc_pool_sends_total",
        "Sends with each token of a pool, by what came of them."
    );
    describe_counter!(
        "qcc_pool_limits_total",
        "Sends that a limit or a used-up quota of their token ended."
    );
    describe_counter!(
        "qcc_pool_switches_total",
        "How often a request went on with the next token."
    );
    describe_counter!(
        "qcc_bindings_total",
        "What happened to bindings of sessions."
    );
}

/// Counts one finished request in `all` series.
pub(super) fn count(all: &Group, record: &Record) {
    let cluster = all.of("cluster", record.cluster.as_ref());
    let dialect = record.dialect.map_or("", |dialect| dialect.as_str());
    let dialect = ("dialect", dialect.into());
    let (outcome, code) = match record.answer {
        Answer::Relayed { status } => ("relayed", Value::Status(status)),
        Answer::Interrupted { status, .. } => ("interrupted", Value::Status(status)),
        Answer::Failed(kind) => ("failed", name_of(kind).into()),
        Answer::Canceled => ("canceled", "".into()),
        _ => ("pending", "".into()),
    };
    let labels = [dialect, ("outcome", outcome.into()), ("code", code)];
    cluster.count("qcc_requests_total", labels, 1);
    cluster.sample("qcc_request_duration_seconds", [dialect], record.duration);
    if let Some(committed) = record.committed {
        cluster.sample("qcc_commit_seconds", [dialect], committed);
        if record.visits.len() > 1 {
            cluster.count("qcc_failovers_total", [], 1);
        }
    }
    for visit in &record.visits {
        let named = visit.left_out.iter().map(|out| (out.reason, 1));
        for (reason, times) in named.chain(visit.others.iter()) {
            let reason = ("reason", reason.as_str().into());
            cluster.count("qcc_left_out_total", [reason], times.into());
        }
        if !visit.sends.is_empty() {
            let name = visit.endpoint.as_ref().map(|endpoint| endpoint.name());
            let endpoint = cluster.of("endpoint", name);
            let is_pooled = visit.endpoint.as_deref().is_some_and(is_pooled);
            for send in &visit.sends {
                sent(&endpoint, is_pooled, send);
            }
        }
    }
    if let Some(usage) = record.usage {
        let told = [
            ("input", usage.input),
            ("cached", usage.cached),
            ("output", usage.output),
        ];
        for (kind, tokens) in told {
            if let Some(tokens) = tokens {
                cluster.count("qcc_tokens_total", [("kind", kind.into())], tokens);
            }
        }
    }
    if let Some(binding) = record.binding {
        let transition = ("transition", binding.as_str().into());
        cluster.count("qcc_bindings_total", [transition], 1);
    }
}

/// Whether the credentials of `endpoint` come from a pool.
fn is_pooled(endpoint: &Endpoint) -> bool {
    endpoint.needs_credential() && endpoint.credential().is_none()
}

/// Counts one request to an upstream.
fn sent(endpoint: &Group, is_pooled: bool, send: &SendRecord) {
    let (result, verdict) = match send.result {
        SendResult::Clean => ("clean", None),
        SendResult::Failed { verdict, .. } => ("failed", Some(verdict)),
        SendResult::Broken(verdict) => ("broken", Some(verdict)),
        SendResult::Refused(_) => ("refused", None),
        SendResult::Canceled => ("canceled", None),
        _ => ("pending", None),
    };
    let result = ("result", result.into());
    let kind = ("send", send.kind.as_str().into());
    endpoint.count("qcc_sends_total", [kind, result], 1);
    if is_pooled {
        lent(endpoint, send, result, verdict);
    }
    if let Some(verdict) = verdict {
        let labels = [
            ("kind", verdict.kind.as_str().into()),
            ("class", verdict.kind.class().as_str().into()),
            ("blame", verdict.blame.as_str().into()),
        ];
        endpoint.count("qcc_failures_total", labels, 1);
    }
}

/// Counts one send with a credential of a pool.
fn lent(
    endpoint: &Group,
    send: &SendRecord,
    result: (&'static str, Value),
    verdict: Option<Verdict>,
) {
    let Some(name) = &send.credential else {
        return;
    };
    let token = endpoint.of("token", Some(name));
    if send.kind == SendKind::Rotation {
        endpoint.count("qcc_pool_switches_total", [], 1);
    }
    if verdict.is_some_and(|verdict| verdict.kind.class() == Class::RateLimit) {
        token.count("qcc_pool_limits_total", [], 1);
    }
    token.count("qcc_pool_sends_total", [result], 1);
}
