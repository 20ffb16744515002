//! `qcc queue status` and `qcc queue retry`.

use std::fmt::Write as _;

use anstyle::Style;
use clap::Subcommand;

use super::operate::{Operator, on};
use super::probe::{exit, table};
use crate::admin::view::{ChecksView, QueueView};
use crate::client::Client;
use crate::moment::Date;
use crate::output::{Align, Cell, DIM, Exit, Failure, STRONG, Table, WARN};
use crate::paragraph::{self, fit};

/// What to do with the queue.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Show who is there, why and since when, and when they are checked next
    Status,
    /// Check all of them now, or one endpoint; those that work come back at once
    Retry {
        /// Its id (at least 4 digits of it), its name, or CLUSTER/NAME
        #[arg(value_name = "ENDPOINT")]
        endpoint: Option<String>,
    },
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    match what {
        What::Status => operator.show(status(client), page),
        What::Retry { endpoint } => {
            operator.judge(retry(client, endpoint.as_deref()), checked, verdict)
        }
    }
}

async fn status(client: &Client) -> Result<QueueView, Failure> {
    client
        .whole("/admin/v1/queue", |queue: &mut QueueView| {
            &mut queue.members
        })
        .await
}

async fn retry(client: &Client, endpoint: Option<&str>) -> Result<ChecksView, Failure> {
    let path = match endpoint {
        Some(name) => on(name, "probe"),
        None => "/admin/v1/queue/retry".to_owned(),
    };
    client.post_patiently(&path).await
}

fn checked(checks: &ChecksView) -> String {
    match &*checks.endpoints {
        [] => "The queue is empty; nothing was checked.\n".to_owned(),
        _ => table(checks).to_string(),
    }
}

/// An empty queue is no failure.
fn verdict(checks: &ChecksView) -> Exit {
    match &*checks.endpoints {
        [] => Exit::Success,
        _ => exit(checks),
    }
}

fn page(queue: &QueueView) -> String {
    let mut table = Table::new(&[
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("REASON", Align::Left),
        ("SINCE", Align::Left),
        ("NEXT CHECK", Align::Left),
        ("CHECKS", Align::Right),
    ]);
    for member in &queue.members.items {
        let place = &member.recovery;
        let at = |date: Option<Date>| {
            date.map_or_else(|| "-".to_owned(), |date| date.beside(queue.as_of))
        };
        let name = format!("{}/{}", member.cluster, member.name);
        table.row([
            Cell::styled(STRONG, fit(&name, 24)),
            Cell::styled(DIM, &member.id),
            Cell::styled(WARN, fit(place.reason.as_deref().unwrap_or("-"), 30)),
            Cell::from(at(place.since)),
            Cell::from(at(place.next_check)),
            Cell::from(place.checks),
        ]);
    }
    let mut page = String::new();
    if queue.members.items.is_empty() {
        page.push_str("The queue is empty.\n");
    } else {
        let _ = write!(page, "{table}");
    }
    let counts = format!(
        "so far {} entered and {} came back; {} checks, {} of which left a member where it was",
        queue.failed, queue.recovered, queue.verified, queue.still_failed
    );
    paragraph::push(&mut page, Style::new(), 0, &counts);
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    fn plain(page: &str) -> String {
        anstream::adapter::strip_str(page).to_string()
    }

    // CLI-11, REC-12
    #[tokio::test]
    async fn the_queue_is_shown_with_reasons_dates_and_counts() {
        let (_, router) = Fake::usual().admin();
        let queue = status(&Client::in_memory(router)).await.unwrap();
        assert_eq!(
            plain(&page(&queue)),
            "\
ENDPOINT      ID        REASON                       SINCE         NEXT CHECK    CHECKS
claude/relay  60dba2c6  breaker opened (overloaded)  08:02:54 UTC  08:03:54 UTC       2
claude/spare  54a88919  HTTP 401                     07:03:20 UTC  08:33:20 UTC       2
so far 2 entered and 0 came back; 4 checks, 4 of which left a member where it was
"
        );
    }

    // CLI-11, CLI-20
    #[tokio::test]
    async fn a_retry_checks_the_members_and_nobody_else() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let checks = retry(&client, None).await.unwrap();
        let names: Vec<_> = checks.endpoints.iter().map(|one| &*one.name).collect();
        assert_eq!(names, ["relay", "spare"]);
        assert_eq!(exit(&checks), Exit::Failure, "spare is still refused");
        let one = retry(&client, Some("official")).await.unwrap();
        assert_eq!(exit(&one), Exit::Success);
        let unknown = retry(&client, Some("nobody")).await.unwrap_err();
        assert_eq!(unknown.exit, Exit::Unknown);
    }
}
