//! `qcc breaker status` and `qcc breaker reset`.

use clap::Subcommand;

use super::operate::{ALL, NamedOrAll, Operator, page};
use crate::admin::view::{EndpointView, Switched};
use crate::client::Client;
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, GOOD, STRONG, Table, WARN};

/// What to do with breakers.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Show the breaker of every endpoint
    Status,
    /// Close a breaker: the next request may use its endpoint
    Reset(NamedOrAll),
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    match what {
        What::Status => operator.show(status(client), |endpoints| table(endpoints)),
        What::Reset(which) => operator.show(reset(client, which), page),
    }
}

async fn status(client: &Client) -> Result<Vec<EndpointView>, Failure> {
    client.list("/admin/v1/endpoints", ALL).await
}

async fn reset(client: &Client, which: &NamedOrAll) -> Result<Switched, Failure> {
    client
        .post(&which.path("reset", "/admin/v1/breakers/reset"))
        .await
}

fn table(endpoints: &[EndpointView]) -> Table {
    let mut table = Table::new(&[
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("STATE", Align::Left),
        ("FAILURES", Align::Right),
        ("OPENED", Align::Left),
        ("UNTIL", Align::Left),
    ]);
    for endpoint in endpoints {
        let breaker = &endpoint.breaker;
        let style = match &*breaker.state {
            "closed" => GOOD,
            "open" => BAD,
            _ => WARN,
        };
        let at = |date: Option<crate::moment::Date>| {
            date.map_or_else(|| "-".to_owned(), crate::moment::Date::second)
        };
        table.row([
            Cell::styled(
                STRONG,
                format_args!("{}/{}", endpoint.cluster, endpoint.name),
            ),
            Cell::styled(DIM, &endpoint.id),
            Cell::styled(style, &breaker.state),
            Cell::from(format!("{}/{}", breaker.failures, breaker.threshold)),
            Cell::from(at(breaker.opened_at)),
            Cell::from(at(breaker.until)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    fn one(name: &str) -> NamedOrAll {
        NamedOrAll {
            endpoint: Some(name.to_owned()),
            all: false,
        }
    }

    // CLI-07, BRK-14
    #[tokio::test]
    async fn every_breaker_is_shown_with_its_state_and_its_count() {
        let (_, router) = Fake::usual().admin();
        let endpoints = status(&Client::in_memory(router)).await.unwrap();
        let text = table(&endpoints).to_string();
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(
            text.contains("claude/official") && text.contains("closed"),
            "{text}"
        );
        let relay = text.lines().find(|line| line.contains("relay")).unwrap();
        assert!(relay.contains("open") && relay.contains("3/3"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }

    // CLI-07, CLI-20, BRK-15
    #[tokio::test]
    async fn one_breaker_or_all_are_closed_and_it_says_what_changed() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let first = reset(&client, &one("relay")).await.unwrap();
        assert!(first.changed);
        let again = reset(&client, &one("relay")).await.unwrap();
        assert!(!again.changed);
        assert!(
            page(&first).contains("has a closed breaker;"),
            "{}",
            page(&first)
        );
        assert!(page(&again).contains("nothing changed"), "{}", page(&again));
        let all = NamedOrAll {
            endpoint: None,
            all: true,
        };
        assert_eq!(reset(&client, &all).await.unwrap().endpoints.len(), 3);
        let unknown = reset(&client, &one("nobody")).await.unwrap_err();
        assert_eq!(unknown.exit, Exit::Unknown);
    }
}
