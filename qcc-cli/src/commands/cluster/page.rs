//! The pages that people read.

use std::fmt::Write as _;

use anstyle::Style;

use crate::admin::view::{ClusterStatus, ClusterView, DuplicateView, EndpointView};
use crate::explain::because;
use crate::moment::{Date, brief};
use crate::output::{Align, BAD, Cell, DIM, GOOD, STRONG, Table, WARN, styled};
use crate::paragraph::{self, fit};

/// A name that is longer is cut in the table and given in full below it.
const LONGEST_NAME: usize = 16;

pub(super) fn clusters_page(clusters: &[ClusterView]) -> String {
    let mut table = Table::new(&[
        ("CLUSTER", Align::Left),
        ("KIND", Align::Left),
        ("POLICY", Align::Left),
        ("ENDPOINTS", Align::Right),
        ("ELIGIBLE", Align::Right),
    ]);
    for cluster in clusters {
        let style = match cluster.eligible {
            0 => BAD,
            some if some < cluster.endpoints => WARN,
            _ => GOOD,
        };
        table.row([
            Cell::styled(STRONG, &cluster.name),
            Cell::from(cluster.kind.as_deref().unwrap_or("any")),
            Cell::from(&cluster.policy),
            Cell::from(cluster.endpoints),
            Cell::styled(style, cluster.eligible),
        ]);
    }
    table.to_string()
}

pub(super) fn status_page(clusters: &[ClusterStatus]) -> String {
    let mut page = String::new();
    for (index, status) in clusters.iter().enumerate() {
        if index > 0 {
            page.push('\n');
        }
        let cluster = &status.cluster;
        heading(
            &mut page,
            &cluster.name,
            cluster.kind.as_deref(),
            &cluster.policy,
        );
        let eligible = format!(
            "{} of {} endpoints can be used, at {}",
            cluster.eligible,
            cluster.endpoints,
            status.as_of.in_full()
        );
        paragraph::push(&mut page, Style::new(), 0, &eligible);
        page.push('\n');
        endpoints(&mut page, &status.endpoints.items, status.as_of);
        duplicates(&mut page, &cluster.duplicates);
    }
    page
}

pub(super) fn heading(page: &mut String, name: &str, kind: Option<&str>, policy: &str) {
    let kind = kind.unwrap_or("any API");
    let name = fit(name, 60);
    let _ = writeln!(
        page,
        "{} {kind}, {policy}",
        styled(STRONG, format_args!("{name}:"))
    );
}

/// A line of columns for each endpoint, and below it what does not fit into columns.
fn endpoints(page: &mut String, endpoints: &[EndpointView], now: Date) {
    let mut table = Table::new(&[
        ("NAME", Align::Left),
        ("ID", Align::Left),
        ("STATUS", Align::Left),
        ("ENABLED", Align::Left),
        ("HEALTHY", Align::Left),
        ("FAILS", Align::Right),
        ("AUTH", Align::Left),
        ("BREAKER", Align::Left),
        ("QUEUED", Align::Left),
        ("IN FLIGHT", Align::Right),
    ]);
    for endpoint in endpoints {
        let yes = |yes: bool, style: Style| match yes {
            true => Cell::from("yes"),
            false => Cell::styled(style, "no"),
        };
        let status = match &*endpoint.status {
            "healthy" => GOOD,
            "unhealthy" => BAD,
            "degraded" => WARN,
            _ => DIM,
        };
        let breaker = match &*endpoint.breaker.state {
            "closed" => Style::new(),
            "open" => BAD,
            _ => WARN,
        };
        let limit = endpoint.max_in_flight.map(|limit| format!("/{limit}"));
        table.row([
            Cell::styled(STRONG, fit(&endpoint.name, LONGEST_NAME)),
            Cell::styled(DIM, &endpoint.id),
            Cell::styled(status, &endpoint.status),
            yes(endpoint.enabled, BAD),
            yes(endpoint.is_healthy, BAD),
            Cell::from(format_args!(
                "{}/{}",
                endpoint.consecutive_failures, endpoint.breaker.threshold
            )),
            match endpoint.auth_failed {
                true => Cell::styled(BAD, "failed"),
                false => Cell::from("ok"),
            },
            Cell::styled(breaker, endpoint.breaker.state.replace('_', "-")),
            match endpoint.queued {
                true => Cell::styled(WARN, "yes"),
                false => Cell::from("no"),
            },
            Cell::from(format_args!(
                "{}{}",
                endpoint.in_flight,
                limit.unwrap_or_default()
            )),
        ]);
    }
    let table = table.to_string();
    let mut lines = table.lines();
    let _ = writeln!(page, "{}", lines.next().unwrap_or_default());
    for (endpoint, line) in endpoints.iter().zip(lines) {
        let _ = writeln!(page, "{line}");
        below(page, endpoint, now);
    }
}

fn below(page: &mut String, endpoint: &EndpointView, now: Date) {
    let full = fit(&endpoint.name, LONGEST_NAME) != endpoint.name;
    let name = if full {
        format!("{} at ", endpoint.name)
    } else {
        String::new()
    };
    let mut about = format!(
        "{name}{}, priority {}, weight {}",
        endpoint.base_url, endpoint.priority, endpoint.weight
    );
    if (endpoint.effective_weight - f64::from(endpoint.weight)).abs() >= 0.01 {
        let _ = write!(about, " (now {:.0})", endpoint.effective_weight);
    }
    if let Some(latency) = endpoint.latency_ms {
        let _ = write!(about, ", answers in {}", brief(latency));
    }
    if endpoint.total > 0 {
        let _ = write!(about, ", {} of {} failed", endpoint.failed, endpoint.total);
    }
    paragraph::push(page, DIM, 2, &about);
    if let Some(out) = &endpoint.out {
        let mut why = format!("out, {}: {}", out.reason, because(&out.reason));
        match (out.until, &*out.reason) {
            (Some(until), _) => {
                let left = brief(now.ago(until).as_secs_f64() * 1_000.0);
                let _ = write!(why, " until {}, for {left}", until.beside(now));
            }
            (None, "auth_failed" | "disabled") => {
                let _ = write!(why, " until `qcc endpoint enable {}`", endpoint.id);
            }
            (None, _) => {}
        }
        paragraph::push(page, WARN, 2, &why);
    }
    if let Some(reason) = &endpoint.recovery.reason {
        let next = match endpoint.recovery.next_check {
            Some(next) => format!("checked next at {}", next.beside(now)),
            None => format!("checked by `qcc probe {}`", endpoint.id),
        };
        let mut text = format!("in the queue, {reason}: {next}");
        if let Some(check) = &endpoint.recovery.last_check {
            let found = match (check.valid, &check.error) {
                (true, _) => "valid",
                (false, Some(error)) => error,
                (false, None) => &check.verdict,
            };
            let _ = write!(
                text,
                "; last checked at {}, {found}",
                check.time.beside(now)
            );
        }
        paragraph::push(page, WARN, 2, &text);
    }
    if let Some(last) = &endpoint.last_failure {
        let status = last
            .status
            .map(|status| format!(" {status}"))
            .unwrap_or_default();
        let ago = brief(last.at.ago(now).as_secs_f64() * 1_000.0);
        let text = format!(
            "last failure: {}{status}, {ago} ago, in request {}",
            last.kind, last.request_id
        );
        paragraph::push(page, DIM, 2, &text);
    }
}

pub(super) fn duplicates(page: &mut String, duplicates: &[DuplicateView]) {
    for duplicate in duplicates {
        let text = format!(
            "duplicate: {} is the same endpoint as {} ({}) and was dropped",
            duplicate.dropped, duplicate.kept, duplicate.id
        );
        paragraph::push(page, WARN, 0, &text);
    }
}
