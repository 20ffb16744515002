//! `qcc stats`: everything at a glance.

use std::collections::BTreeMap;
use std::fmt::{Display, Write as _};

use super::operate::Operator;
use crate::admin::view::StatsView;
use crate::client::Client;
use crate::moment::{Date, grouped};
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, STRONG, Table, styled};
use crate::paragraph;

/// Runs the command.
pub(super) fn run((): &(), operator: &Operator) -> Result<Exit, Failure> {
    operator.show(stats(&operator.client), page)
}

async fn stats(client: &Client) -> Result<StatsView, Failure> {
    client.get("/admin/v1/stats").await
}

fn page(stats: &StatsView) -> String {
    let mut page = String::new();
    let requests = &stats.requests;
    let mut line = |name: &str, text: String| {
        let name = styled(STRONG, format_args!("{name:<12}"));
        let _ = writeln!(page, "{name}{text}");
    };
    match requests.requests {
        0 => line("requests", "none yet".to_owned()),
        many => line(
            "requests",
            format!(
                "{}: {}; {} after a failover",
                grouped(many),
                list(&requests.answers),
                grouped(requests.failovers)
            ),
        ),
    }
    if requests.sends > 0 {
        line("sends", grouped(requests.sends));
    }
    let sessions: usize = stats.sessions.iter().map(|cluster| cluster.active).sum();
    for (name, text) in [
        ("errors", list(&requests.errors)),
        ("breakers", list(&stats.breakers)),
        ("credentials", list(&stats.credentials)),
        ("sessions", format!("{} bound", grouped(sessions as u64))),
        ("bindings", list(&requests.bindings)),
    ] {
        if !text.is_empty() {
            line(name, text);
        }
    }
    let tables = [endpoints(stats), clients(stats), unavailable(stats)];
    for table in tables.into_iter().flatten() {
        let _ = write!(page, "\n{table}");
    }
    page
}

/// `3 closed, 1 open`.
fn list<N: Copy + Display + Into<u64>>(numbers: &BTreeMap<String, N>) -> String {
    let named = numbers.iter();
    let parts: Vec<_> = named
        .map(|(name, number)| format!("{} {name}", grouped((*number).into())))
        .collect();
    parts.join(", ")
}

/// So many of at most so many.
fn of(load: u32, limit: Option<u32>) -> String {
    limit.map_or_else(|| load.to_string(), |limit| format!("{load}/{limit}"))
}

fn endpoints(stats: &StatsView) -> Option<Table> {
    let mut table = Table::new(&[
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("IN FLIGHT", Align::Right),
        ("TODAY", Align::Right),
        ("SESSIONS", Align::Right),
    ]);
    for endpoint in &stats.endpoints {
        let name = format!("{}/{}", endpoint.cluster, endpoint.name);
        table.row([
            Cell::styled(STRONG, paragraph::fit(&name, 48)),
            Cell::styled(DIM, &endpoint.id),
            Cell::from(of(endpoint.current_load, endpoint.max_in_flight)),
            Cell::from(grouped(endpoint.daily_requests.into())),
            Cell::from(grouped(endpoint.sessions as u64)),
        ]);
    }
    (!stats.endpoints.is_empty()).then_some(table)
}

fn clients(stats: &StatsView) -> Option<Table> {
    let mut table = Table::new(&[
        ("CLIENT", Align::Left),
        ("IN FLIGHT", Align::Right),
        ("SESSIONS", Align::Right),
    ]);
    for client in &stats.clients {
        table.row([
            Cell::styled(STRONG, paragraph::fit(&client.name, 60)),
            Cell::from(of(client.current_load, client.max_in_flight)),
            Cell::from(grouped(client.sessions as u64)),
        ]);
    }
    (!stats.clients.is_empty()).then_some(table)
}

fn unavailable(stats: &StatsView) -> Option<Table> {
    let mut table = Table::new(&[
        ("LEFT OUT", Align::Left),
        ("ID", Align::Left),
        ("REASON", Align::Left),
        ("UNTIL", Align::Left),
    ]);
    for endpoint in &stats.unavailable {
        let name = format!("{}/{}", endpoint.cluster, endpoint.name);
        let until = endpoint.until.map_or_else(|| "-".to_owned(), Date::second);
        table.row([
            Cell::styled(STRONG, paragraph::fit(&name, 48)),
            Cell::styled(DIM, &endpoint.id),
            Cell::styled(BAD, &endpoint.reason),
            Cell::from(until),
        ]);
    }
    (!stats.unavailable.is_empty()).then_some(table)
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;
    use crate::admin::fake::Fake;

    async fn shown(fake: Fake) -> (StatsView, String) {
        let client = Client::in_memory(fake.admin().1);
        let stats = stats(&client).await.unwrap();
        let text = strip_str(&page(&stats)).to_string();
        (stats, text)
    }

    // CLI-10, STO-09
    #[tokio::test]
    async fn one_view_has_sessions_loads_and_who_is_left_out() {
        let fake = Fake::usual().with_session("sess-1", "official");
        let (stats, text) = shown(fake.with_client("laptop", 1, Some(4))).await;
        let line = |start: &str| {
            let mut lines = text.lines();
            lines
                .rfind(|line| line.starts_with(start))
                .unwrap_or_else(|| panic!("{start} in\n{text}"))
        };
        let official = line("claude/official");
        assert!(
            official.contains("2/20") && official.ends_with('1'),
            "{text}"
        );
        assert!(line("laptop").contains("1/4"), "{text}");
        assert!(line("claude/relay").contains("open"), "{text}");
        assert!(line("claude/spare").contains("auth_failed"), "{text}");
        assert!(line("breakers").contains("1 open"), "{text}");
        assert!(line("sessions").contains("1 bound"), "{text}");
        assert!(line("requests").contains("relayed"), "{text}");
        assert!(line("errors").contains("overloaded"), "{text}");
        assert!(line("credentials").contains("1 cooling"), "{text}");
        assert_eq!(stats.unavailable.len(), 2);
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }

    // CLI-10, CLI-24
    #[tokio::test]
    async fn without_traffic_it_is_empty_and_that_is_no_error() {
        let (stats, text) = shown(Fake::default()).await;
        let data = serde_json::to_value(&stats).unwrap();
        for list in ["sessions", "endpoints", "clients", "unavailable"] {
            assert_eq!(data[list], serde_json::json!([]), "{list}");
        }
        assert!(text.contains("sessions    0 bound"), "{text}");
        assert!(!text.contains("ENDPOINT"), "{text}");
    }
}
