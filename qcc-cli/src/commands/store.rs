//! `qcc store`.

use anstyle::Style;
use clap::Subcommand;

use super::operate::Operator;
use crate::client::Client;
use crate::history::StoreView;
use crate::moment::grouped;
use crate::output::{BAD, Exit, Failure, GOOD, WARN, styled};
use crate::paragraph;

/// What to do with the store.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum What {
    /// Show whether the history is written, how large it is, and what was lost
    Status,
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    match what {
        What::Status => operator.show(status(&operator.client), page),
    }
}

async fn status(client: &Client) -> Result<StoreView, Failure> {
    client.get("/admin/v1/store").await
}

fn page(store: &StoreView) -> String {
    let style = match &*store.state {
        "open" if store.lost == 0 => GOOD,
        "open" | "off" => WARN,
        _ => BAD,
    };
    let mut page = styled(style, &store.state);
    if let Some(file) = &store.file {
        page.push_str("  ");
        page.push_str(file);
    }
    page.push('\n');
    if let Some(reason) = &store.reason {
        let since = store
            .since
            .map_or_else(String::new, |since| format!(" since {}", since.in_full()));
        paragraph::push(&mut page, Style::new(), 2, &format!("{reason}{since}"));
    }
    if matches!(&*store.state, "open" | "failing") {
        let text = format!(
            "{} requests, {}; since the start {} written, {} waiting, {} lost",
            grouped(store.requests),
            megabytes(store.size_bytes),
            grouped(store.written),
            grouped(store.pending),
            grouped(store.lost),
        );
        paragraph::push(&mut page, Style::new(), 2, &text);
    }
    page
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use anstream::adapter::strip_str;

    use super::*;
    use crate::admin::fake::{Fake, date};

    fn shown(store: &StoreView) -> String {
        strip_str(&page(store)).to_string()
    }

    // STO-05
    #[tokio::test]
    async fn a_store_shows_whether_it_is_written_and_what_was_lost() {
        let (_, router, _kept) = Fake::usual().with_history().await;
        let mut store = status(&Client::in_memory(router)).await.unwrap();
        assert_eq!((&*store.state, store.requests, store.lost), ("open", 4, 0));
        store.file = Some("/home/ada/.qcc/qcc.db".to_owned());
        store.size_bytes = 3 << 19;
        assert_eq!(
            shown(&store),
            "\
open  /home/ada/.qcc/qcc.db
  4 requests, 1.5 MiB; since the start 4 written, 0 waiting, 0 lost
"
        );
        "failing".clone_into(&mut store.state);
        store.reason = Some("database or disk is full".to_owned());
        store.since = Some(date());
        (store.pending, store.lost) = (256, 1_234);
        assert_eq!(
            shown(&store),
            "\
failing  /home/ada/.qcc/qcc.db
  database or disk is full since 2026-01-31 08:03:20.250 UTC
  4 requests, 1.5 MiB; since the start 4 written, 256 waiting, 1 234 lost
"
        );
    }

    // STO-06
    #[tokio::test]
    async fn without_a_store_it_says_so() {
        let (_, router) = Fake::usual().admin();
        let store = status(&Client::in_memory(router)).await.unwrap();
        assert_eq!(shown(&store), "off\n");
    }
}
