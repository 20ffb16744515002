//! `qcc requests`.

use std::fmt::Write as _;

use anstyle::Style;
use clap::builder::RangedU64ValueParser;

use super::operate::Operator;
use crate::admin::view::RequestView;
use crate::client::Client;
use crate::moment::{brief, grouped};
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, GOOD, STRONG, Table, WARN};
use crate::paragraph::{self, fit};

/// An id that is longer is cut, so that the rest of its line fits. Those of the proxy have 20
/// columns, a UUID has 36; the data has every id in full.
const LONGEST_ID: usize = 40;

/// The options of `requests`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// How many
    #[arg(long, value_name = "N", default_value_t = 20,
        value_parser = RangedU64ValueParser::<usize>::new().range(1..=1_000_000))]
    last: usize,
}

/// Runs the command.
pub(super) fn run(args: &Args, operator: &Operator) -> Result<Exit, Failure> {
    operator.show(requests(&operator.client, args.last), |requests| {
        page(requests)
    })
}

async fn requests(client: &Client, last: usize) -> Result<Vec<RequestView>, Failure> {
    client.list("/admin/v1/requests", last).await
}

/// Two lines for each request: the figures, and below them what they belong to.
fn page(requests: &[RequestView]) -> String {
    if requests.is_empty() {
        return "no request yet\n".to_owned();
    }
    let mut table = Table::new(&[
        ("TIME", Align::Left),
        ("REQUEST", Align::Left),
        ("STATUS", Align::Right),
        ("TRIES", Align::Right),
        ("IN", Align::Right),
        ("OUT", Align::Right),
        ("TOOK", Align::Right),
    ]);
    for request in requests {
        let (style, status) = status(request);
        let tokens = |tokens: Option<u64>| Cell::from(tokens.map_or_else(String::new, grouped));
        table.row([
            Cell::from(request.started_at.second()),
            Cell::styled(STRONG, fit(&request.id, LONGEST_ID)),
            Cell::styled(style, status),
            Cell::from(request.attempts),
            tokens(request.input_tokens),
            tokens(request.output_tokens),
            Cell::from(brief(request.duration_ms)),
        ]);
    }
    let table = table.to_string();
    let mut lines = table.lines();
    let mut page = String::new();
    let _ = writeln!(page, "{}", lines.next().unwrap_or_default());
    let mut day = String::new();
    for (request, line) in requests.iter().zip(lines) {
        if day != request.started_at.day() {
            day = request.started_at.day();
            let _ = writeln!(page, "{DIM}{day}, UTC{DIM:#}");
        }
        let _ = writeln!(page, "{line}");
        paragraph::push(&mut page, Style::new(), "23:59:59  ".len(), &about(request));
    }
    page
}

fn status(request: &RequestView) -> (Style, String) {
    let status = request.answer.status.unwrap_or(0);
    match &*request.answer.outcome {
        "relayed" if status < 400 => (GOOD, status.to_string()),
        "relayed" => (BAD, status.to_string()),
        "interrupted" => (BAD, "broken".to_owned()),
        "failed" => (BAD, "error".to_owned()),
        "canceled" => (WARN, "gone".to_owned()),
        other => (Style::new(), other.to_owned()),
    }
}

fn about(request: &RequestView) -> String {
    let mut parts = vec![match (&request.endpoint, &request.cluster) {
        (Some(endpoint), Some(cluster)) => format!("{cluster}/{}", endpoint.name),
        (Some(endpoint), None) => endpoint.name.clone(),
        (None, Some(cluster)) => format!("{cluster}, no endpoint"),
        (None, None) => "no endpoint".to_owned(),
    }];
    parts.extend(request.dialect.clone());
    parts.extend(request.model.clone());
    if request.stream {
        parts.push("stream".to_owned());
    }
    parts.extend(request.answer.error.clone());
    parts.join(", ")
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;
    use crate::admin::fake::Fake;

    fn shown(requests: &[RequestView]) -> String {
        strip_str(&page(requests)).to_string()
    }

    // CLI-22
    #[tokio::test]
    async fn the_last_requests_are_listed_newest_first() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let all = requests(&client, 20).await.unwrap();
        assert_eq!(
            shown(&all),
            "\
TIME      REQUEST     STATUS  TRIES      IN  OUT       TOOK
2026-01-31, UTC
08:00:00  client-8      gone      1                  1.20 s
          claude/official, anthropic, claude-sonnet-4-5, stream
08:00:00  client-7    broken      2               1 min 3 s
          claude/relay, anthropic, claude-sonnet-4-5, stream, transport
08:00:00  qcc-test-2   error      0                    1 ms
          claude, no endpoint, anthropic, claude-sonnet-4-5, no_endpoint
08:00:00  qcc-test-1     200      2  12 034  512     4.31 s
          claude/relay, anthropic, claude-sonnet-4-5, stream
"
        );
    }

    // CLI-22
    #[tokio::test]
    async fn as_many_as_were_asked_for_are_listed() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        assert_eq!(requests(&client, 2).await.unwrap().len(), 2);
    }

    // CLI-24
    #[test]
    fn no_request_is_no_error() {
        assert_eq!(shown(&[]), "no request yet\n");
    }

    #[tokio::test]
    async fn long_texts_of_clients_fit_a_hundred_columns() {
        let (_, router) = Fake::usual().admin();
        let mut all = requests(&Client::in_memory(router), 20).await.unwrap();
        for request in &mut all {
            request.id = "i".repeat(64);
            request.model = Some("m\u{1b}[2J".repeat(9));
            request.duration_ms = 200_000.0;
            request.input_tokens = Some(1_000_000);
        }
        let text = shown(&all);
        for line in text.lines() {
            assert!(line.chars().count() <= paragraph::WIDTH, "{line}");
        }
        assert!(!text.contains('\u{1b}'));
    }
}
