//! `qcc metrics`: show, export.

use clap::{Subcommand, ValueEnum};

use super::operate::{ALL, Operator, wait};
use crate::client::{Client, segment};
use crate::config::duration;
use crate::history::{Figures, Minute, csv};
use crate::moment::{brief, grouped};
use crate::output::{Align, Cell, DIM, Exit, Failure, Output, STRONG, Table};
use crate::paragraph::fit;

/// A longer name is cut, so that the rest of its line fits.
const LONGEST_NAME: usize = 24;

/// What to do with the figures.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// List what each endpoint did: requests, success, latency, tokens
    Show(Which),
    /// Print the same minute by minute, for other programs
    Export {
        #[command(flatten)]
        which: Which,
        /// How it is written
        #[arg(long, value_name = "FORMAT", default_value = "csv")]
        format: Format,
    },
}

/// Which figures.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Which {
    /// How far back, like 90m, 24h or 7d
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = time)]
    since: String,
    /// One endpoint: its id (at least 4 digits of it), its name, or CLUSTER/NAME
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    Csv,
    Json,
}

fn time(text: &str) -> Result<String, &'static str> {
    let valid = duration(text).is_some_and(|time| !time.is_zero());
    valid
        .then(|| text.to_owned())
        .ok_or("write it like 90m, 24h or 7d")
}

impl Which {
    /// `path` with what it asks.
    fn of(&self, path: &str) -> String {
        let mut path = format!("{path}?since={}", segment(&self.since));
        if let Some(endpoint) = &self.endpoint {
            path.push_str(&format!("&endpoint={}", segment(endpoint)));
        }
        path
    }
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    match what {
        What::Show(which) => operator.show(figures(client, which), |figures| page(figures, which)),
        What::Export { which, format } => {
            let minutes = wait(minutes(client, which))?;
            let json = *format == Format::Json || operator.output.is_json();
            Output::new(json).show(&minutes, |stream| write!(stream, "{}", csv(&minutes)))?;
            Ok(Exit::Success)
        }
    }
}

async fn figures(client: &Client, which: &Which) -> Result<Vec<Figures>, Failure> {
    client.list(&which.of("/admin/v1/history"), ALL).await
}

async fn minutes(client: &Client, which: &Which) -> Result<Vec<Minute>, Failure> {
    client
        .list(&which.of("/admin/v1/history/minutes"), ALL)
        .await
}

fn page(figures: &[Figures], which: &Which) -> String {
    if figures.is_empty() {
        return format!("no request in the last {}\n", which.since);
    }
    let mut table = Table::new(&[
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("REQUESTS", Align::Right),
        ("SUCCESS", Align::Right),
        ("AVERAGE", Align::Right),
        ("MIN", Align::Right),
        ("MAX", Align::Right),
        ("IN", Align::Right),
        ("OUT", Align::Right),
    ]);
    for one in figures {
        let time = |millis: Option<f64>| Cell::from(millis.map_or_else(String::new, brief));
        let name = format!("{}/{}", one.cluster, one.endpoint);
        table.row([
            Cell::styled(STRONG, fit(&name, LONGEST_NAME)),
            Cell::styled(DIM, &one.endpoint_id),
            Cell::from(grouped(one.requests)),
            Cell::from(
                one.success_rate
                    .map_or_else(String::new, |rate| format!("{rate:.1}%")),
            ),
            time(one.latency_average_ms),
            time(one.latency_min_ms),
            time(one.latency_max_ms),
            Cell::from(grouped(one.input_tokens)),
            Cell::from(grouped(one.output_tokens)),
        ]);
    }
    table.to_string()
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;
    use clap::Parser;

    use super::*;
    use crate::admin::fake::Fake;
    use crate::commands::Operate;

    fn which(since: &str, endpoint: Option<&str>) -> Which {
        Which {
            since: since.to_owned(),
            endpoint: endpoint.map(str::to_owned),
        }
    }

    // STO-03
    #[tokio::test]
    async fn what_each_endpoint_did_is_listed_and_fits_a_hundred_columns() {
        let (_, router, _kept) = Fake::usual().with_history().await;
        let client = Client::in_memory(router);
        let day = which("24h", None);
        let all = figures(&client, &day).await.unwrap();
        let text = strip_str(&page(&all, &day)).to_string();
        assert_eq!(
            text,
            "\
ENDPOINT         ID        REQUESTS  SUCCESS  AVERAGE     MIN     MAX      IN  OUT
claude/official  e914401d         2     0.0%   843 ms  843 ms  843 ms       0    0
claude/relay     4da93578         2    50.0%   360 ms  320 ms  400 ms  12 034  512
"
        );
        let relay = figures(&client, &which("24h", Some("4da93578")))
            .await
            .unwrap();
        assert!(relay.iter().all(|one| one.endpoint == "relay"));
        let failure = figures(&client, &which("24h", Some("nobody")))
            .await
            .unwrap_err();
        assert_eq!(failure.exit, Exit::Unknown);
        let text = page(&[], &day);
        assert_eq!(text, "no request in the last 24h\n");
    }

    // STO-08
    #[tokio::test]
    async fn minutes_are_exported_as_csv_and_as_json() {
        let (_, router, _kept) = Fake::usual().with_history().await;
        let client = Client::in_memory(router);
        let all = minutes(&client, &which("7d", None)).await.unwrap();
        let text = csv(&all);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines.len(), all.len() + 1);
        let columns: Vec<_> = lines[0].split(',').collect();
        let json = serde_json::to_value(&all).unwrap();
        for (line, object) in lines[1..].iter().zip(json.as_array().unwrap()) {
            let fields: Vec<_> = line.split(',').collect();
            assert_eq!(fields.len(), columns.len());
            for (column, field) in columns.iter().zip(fields) {
                let value = match &object[*column] {
                    serde_json::Value::Null => String::new(),
                    serde_json::Value::String(text) => text.clone(),
                    // 0.0 is written as 0.
                    other => other.as_f64().unwrap().to_string(),
                };
                assert_eq!(field, value, "{column}");
            }
        }
        let counted: u64 = all.iter().map(|one| one.figures.requests).sum();
        assert_eq!(counted, 4);
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        operate: Operate<What>,
    }

    // STO-08
    #[test]
    fn a_time_that_is_none_is_refused_with_an_example() {
        let parse = |line: &[&str]| Line::try_parse_from(line);
        assert!(parse(&["metrics", "export"]).is_ok());
        assert!(parse(&["metrics", "export", "--format", "json", "--since", "7d"]).is_ok());
        let refused = parse(&["metrics", "show", "--since", "yesterday"])
            .err()
            .unwrap();
        assert!(refused.to_string().contains("like 90m"), "{refused}");
    }
}
