//! `qcc probe`: checks endpoints now.

use super::operate::{NamedOrAll, Operator};
use crate::admin::view::ChecksView;
use crate::client::Client;
use crate::moment::brief;
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, GOOD, STRONG, Table, WARN};
use crate::paragraph::fit;

/// The options of `probe`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    which: NamedOrAll,
}

/// Runs the command.
pub(super) fn run(args: &Args, operator: &Operator) -> Result<Exit, Failure> {
    operator.judge(probe(&operator.client, &args.which), table, exit)
}

async fn probe(client: &Client, which: &NamedOrAll) -> Result<ChecksView, Failure> {
    client
        .post_patiently(&which.path("probe", "/admin/v1/probe"))
        .await
}

/// Success if everything that was checked works, and something was checked.
pub(super) fn exit(checks: &ChecksView) -> Exit {
    if checks.all_valid {
        Exit::Success
    } else {
        Exit::Failure
    }
}

/// A line for each endpoint.
pub(super) fn table(checks: &ChecksView) -> Table {
    let mut table = Table::new(&[
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("RESULT", Align::Left),
        ("VERDICT", Align::Left),
        ("TIME", Align::Right),
        ("SCORE", Align::Right),
        ("QUEUED", Align::Left),
        ("CONTENT", Align::Left),
    ]);
    for one in &checks.endpoints {
        let name = fit(&format!("{}/{}", one.cluster, one.name), 24);
        let queued = match one.queued {
            true => Cell::styled(WARN, "yes"),
            false => Cell::from("no"),
        };
        let (result, verdict, time, score, content) = match &one.check {
            Some(check) => {
                let style = match (check.valid, &*check.verdict) {
                    (true, _) => GOOD,
                    (false, "inconclusive") => WARN,
                    (false, _) => BAD,
                };
                let verdict = if check.result == "answered" {
                    &*check.verdict
                } else {
                    "-"
                };
                let said = match (&*check.content, &check.error) {
                    ("", Some(error)) => error.clone(),
                    ("", None) => "(empty)".to_owned(),
                    (content, None) => format!("{content:?}"),
                    (content, Some(error)) => format!("{error}: {content:?}"),
                };
                (
                    Cell::styled(style, &check.result),
                    Cell::styled(style, verdict),
                    Cell::from(brief(check.latency_ms)),
                    Cell::from(check.score),
                    said,
                )
            }
            None => (
                Cell::styled(DIM, "not checked"),
                Cell::from("-"),
                Cell::from("-"),
                Cell::from("-"),
                one.not_checked.clone().unwrap_or_default(),
            ),
        };
        table.row([
            Cell::styled(STRONG, name),
            Cell::styled(DIM, &one.id),
            result,
            verdict,
            time,
            score,
            queued,
            Cell::from(fit(&content, 22)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    // CLI-12, PRB-16
    #[tokio::test]
    async fn each_check_is_shown_and_one_that_is_invalid_decides_the_exit_code() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let all = NamedOrAll {
            endpoint: None,
            all: true,
        };
        let checks = probe(&client, &all).await.unwrap();
        assert_eq!(exit(&checks), Exit::Failure);
        let text = table(&checks).to_string();
        let text = anstream::adapter::strip_str(&text).to_string();
        assert_eq!(
            text,
            "\
ENDPOINT         ID        RESULT    VERDICT    TIME  SCORE  QUEUED  CONTENT
claude/official  3ece55ae  answered  valid    686 ms     90  no      \"ABC123\"
claude/relay     60dba2c6  answered  valid    686 ms     90  no      \"ABC123\"
claude/spare     54a88919  answered  invalid  686 ms     20  yes     an empty answer
"
        );
        let one = NamedOrAll {
            endpoint: Some("official".to_owned()),
            all: false,
        };
        assert_eq!(exit(&probe(&client, &one).await.unwrap()), Exit::Success);
    }
}
