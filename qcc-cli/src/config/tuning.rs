//! The keys that tune a cluster: breaker, marks, affinity, retry, time-outs, connections.

use qcc_core::endpoint::{MarkOn, Marking};
use qcc_core::llm::{InvalidSource, Source};
use qcc_core::time::Duration;
use qcc_core::upstream::Settings;

use super::reader::{Field, Reader, Section};
use super::{Affinity, Breaker, Connections, Retry, Timeouts};

pub(super) fn breaker(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Breaker> {
    let usual = Breaker::default();
    let mut section = field.section(reader, "write it like { max_failures: 3, open_for: 60s }")?;
    let max_failures = section
        .get("max_failures")
        .and_then(|field| field.whole(reader));
    let open_for = section
        .get("open_for")
        .and_then(|field| field.duration(reader))
        .unwrap_or(usual.open_for);
    let longest = section.get("max_open_for");
    let max_open_for = longest
        .as_ref()
        .and_then(|field| field.duration(reader))
        .unwrap_or_else(|| usual.max_open_for.max(open_for));
    if let Some(field) = longest
        && max_open_for < open_for
    {
        field.problem(reader, "is less than open_for", "make it at least as long");
    }
    let probes = section.get("probes").and_then(|field| field.whole(reader));
    section.close(reader);
    Some(Breaker {
        max_failures: max_failures.unwrap_or(usual.max_failures),
        open_for,
        max_open_for,
        probes: probes.unwrap_or(usual.probes),
    })
}

/// The keys of `section` that say what marks an endpoint unavailable; `usual` for those that it
/// does not have.
pub(super) fn mark_on(
    section: &mut Section<'_>,
    usual: &MarkOn,
    reader: &mut Reader<'_>,
) -> MarkOn {
    let failures = section
        .get("mark_on")
        .and_then(|field| markings(&field, reader));
    let ttl = section
        .get("unavailable_ttl")
        .and_then(|field| field.duration(reader));
    let failures = failures.unwrap_or_else(|| usual.failures().to_vec());
    MarkOn::new(failures).with_ttl(ttl.unwrap_or_else(|| usual.ttl()))
}

fn markings(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<Marking>> {
    let remedy = "write it like mark_on: [503, overloaded]";
    let items = field.items(reader, remedy)?;
    let mut markings = Vec::with_capacity(items.len());
    for item in items {
        markings.extend(item.typed::<Marking>(reader, remedy));
    }
    Some(markings)
}

pub(super) fn affinity(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Affinity> {
    let usual = Affinity::default();
    let mut section = field.section(reader, "write it like { ttl: 5h }")?;
    let sources = section
        .get("sources")
        .and_then(|field| sources(&field, reader));
    let ttl = section.get("ttl").and_then(|field| field.duration(reader));
    let patience = section
        .get("patience")
        .and_then(|field| field.duration(reader));
    let max_bindings = section
        .get("max_bindings")
        .and_then(|field| field.whole(reader));
    let resource_ttl = section
        .get("resource_ttl")
        .and_then(|field| field.duration(reader));
    section.close(reader);
    Some(Affinity {
        sources: sources.unwrap_or(usual.sources),
        ttl: ttl.unwrap_or(usual.ttl),
        patience: patience.unwrap_or(usual.patience),
        max_bindings: max_bindings.unwrap_or(usual.max_bindings),
        resource_ttl: resource_ttl.unwrap_or(usual.resource_ttl),
    })
}

fn sources(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Vec<Source>> {
    let remedy = "write it like sources: [header:x-session-id, body:session_id]";
    let items = field.items(reader, remedy)?;
    let mut sources = Vec::with_capacity(items.len());
    for item in items {
        match item.text(reader, remedy)?.parse() {
            Ok(source) => sources.push(source),
            Err(error) => item.problem(reader, InvalidSource::to_string(&error), remedy),
        }
    }
    Some(sources)
}

pub(super) fn retry(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Retry> {
    let usual = Retry::default();
    let mut section = field.section(reader, "write it like { attempts: 5, budget: 20% }")?;
    let attempts = section
        .get("attempts")
        .and_then(|field| field.whole(reader));
    let budget = section
        .get("budget")
        .and_then(|field| field.percent(reader));
    let second_opinion = section
        .get("second_opinion")
        .and_then(|field| field.flag(reader));
    let max_body = section.get("max_body").and_then(|field| field.size(reader));
    section.close(reader);
    Some(Retry {
        attempts: attempts.unwrap_or(usual.attempts),
        budget: budget.unwrap_or(usual.budget),
        second_opinion: second_opinion.unwrap_or(usual.second_opinion),
        max_body: max_body.unwrap_or(usual.max_body),
    })
}

pub(super) fn timeouts(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Timeouts> {
    let usual = Timeouts::default();
    let mut section = field.section(reader, "write it like { connect: 5s, first_byte: 60s }")?;
    let keep_alive = section
        .get("keep_alive")
        .and_then(|field| field.duration_or_off(reader));
    let mut duration = |key| section.get(key)?.duration(reader);
    let timeouts = Timeouts {
        connect: duration("connect").unwrap_or(usual.connect),
        first_byte: duration("first_byte").unwrap_or(usual.first_byte),
        idle: duration("idle").or(usual.idle),
        keep_alive: keep_alive.unwrap_or(usual.keep_alive),
        deadline: duration("deadline").unwrap_or(usual.deadline),
    };
    section.close(reader);
    Some(timeouts)
}

pub(super) fn connections(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Connections> {
    let usual = Connections::default();
    let remedy = "write it like { max_idle: 20, idle_timeout: 60s }";
    let mut section = field.section(reader, remedy)?;
    let max_idle = section
        .get("max_idle")
        .and_then(|field| field.whole(reader));
    let idle_timeout = section
        .get("idle_timeout")
        .and_then(|field| field.duration(reader));
    let keepalive = section
        .get("keepalive")
        .and_then(|field| keepalive(&field, reader));
    section.close(reader);
    Some(Connections {
        max_idle: max_idle.unwrap_or(usual.max_idle),
        idle_timeout: idle_timeout.unwrap_or(usual.idle_timeout),
        keepalive: keepalive.unwrap_or(usual.keepalive),
    })
}

fn keepalive(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Duration> {
    let keepalive = field.duration(reader)?;
    let settings = Settings::default().with_tcp_keepalive(keepalive);
    if settings.tcp_keepalive() != keepalive {
        field.problem(reader, "must be from 1s to 9h", "write it like 30s");
        return None;
    }
    Some(keepalive)
}
