//! `qcc token status`, `recover` and `test`.

use std::fmt::Write as _;

use anstyle::Style;
use clap::Subcommand;

use super::operate::{ALL, Operator};
use crate::admin::pool::{PoolTest, PoolView, Recovered};
use crate::client::{Client, segment};
use crate::moment::Date;
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, GOOD, STRONG, Table, WARN, styled};
use crate::paragraph;

/// What to do with token pools.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// Show every token by its name: its state, its failures, its last use and its end
    Status,
    /// Use tokens again that were refused or are inactive
    Recover {
        /// The token, like Personal-1; all of them without it
        #[arg(value_name = "TOKEN")]
        token: Option<String>,
        /// Those of this endpoint: its id, its name, or CLUSTER/NAME
        #[arg(long, value_name = "ENDPOINT")]
        endpoint: Option<String>,
    },
    /// Check the pools: initialisation, order, rotation, refresh, health, failure handling.
    /// Nothing is sent for it, so it says nothing of what an upstream would answer
    Test {
        /// That of this endpoint: its id, its name, or CLUSTER/NAME; all without it
        #[arg(value_name = "ENDPOINT")]
        endpoint: Option<String>,
    },
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    match what {
        What::Status => operator.show(status(client), |pools| listing(pools)),
        What::Recover { token, endpoint } => {
            operator.show(recover(client, token.as_deref(), endpoint.as_deref()), page)
        }
        What::Test { endpoint } => operator.judge(
            test(client, endpoint.as_deref()),
            |tests| report(tests),
            |tests| verdict(tests),
        ),
    }
}

async fn status(client: &Client) -> Result<Vec<PoolView>, Failure> {
    client.list("/admin/v1/tokens", ALL).await
}

async fn recover(
    client: &Client,
    token: Option<&str>,
    endpoint: Option<&str>,
) -> Result<Recovered, Failure> {
    let query = query(&[("token", token), ("endpoint", endpoint)]);
    client
        .post(&format!("/admin/v1/tokens/recover{query}"))
        .await
}

async fn test(client: &Client, endpoint: Option<&str>) -> Result<Vec<PoolTest>, Failure> {
    let query = query(&[("endpoint", endpoint)]);
    client.get(&format!("/admin/v1/tokens/test{query}")).await
}

/// `?token=Personal-1`, or nothing.
fn query(parameters: &[(&str, Option<&str>)]) -> String {
    let given = parameters
        .iter()
        .filter_map(|(key, value)| Some((key, (*value)?)));
    given.fold(String::new(), |mut query, (key, value)| {
        let mark = if query.is_empty() { '?' } else { '&' };
        let _ = write!(query, "{mark}{key}={}", segment(value));
        query
    })
}

const NONE: &str = "No endpoint has a token pool; docs/tokens.md says how to give it one.\n";

fn listing(pools: &[PoolView]) -> String {
    let mut text = String::new();
    for pool in pools {
        let gap = if text.is_empty() { "" } else { "\n" };
        let PoolView {
            cluster,
            endpoint,
            endpoint_id,
            total,
            active,
            failed,
            personal,
            shared,
            anonymous,
            tokens: _,
        } = pool;
        let name = styled(STRONG, format_args!("{cluster}/{endpoint}"));
        let id = styled(DIM, format_args!("({endpoint_id})"));
        let _ = writeln!(
            text,
            "{gap}{name} {id}: {total} total, {active} active, {failed} failed; {personal} \
             personal, {shared} shared, {anonymous} anonymous"
        );
        let _ = write!(text, "{}", table(pool));
        for token in &pool.tokens {
            if let Some(trouble) = &token.trouble {
                let trouble = format!("{}: {trouble}", token.name);
                paragraph::push(&mut text, WARN, 0, &trouble);
            }
        }
    }
    if text.is_empty() {
        NONE.to_owned()
    } else {
        text
    }
}

fn table(pool: &PoolView) -> Table {
    let mut table = Table::new(&[
        ("TOKEN", Align::Left),
        ("TIER", Align::Left),
        ("STATE", Align::Left),
        ("UNTIL", Align::Left),
        ("FAILURES", Align::Right),
        ("LAST USE", Align::Left),
        ("EXPIRES", Align::Left),
    ]);
    let at = |date: Option<Date>| date.map_or_else(|| "-".to_owned(), whole);
    for token in &pool.tokens {
        let style = match &*token.state {
            "active" => GOOD,
            "cooling" => WARN,
            _ => BAD,
        };
        table.row([
            Cell::styled(STRONG, &token.name),
            Cell::from(&token.tier),
            Cell::styled(style, &token.state),
            Cell::from(at(token.until)),
            Cell::from(token.failures),
            Cell::from(at(token.last_use)),
            Cell::from(at(token.expires)),
        ]);
    }
    table
}

/// `01-31 23:59:59`: nothing of it is years away.
fn whole(date: Date) -> String {
    let day = date.day();
    let (_, day) = day.split_once('-').unwrap_or(("", &day));
    format!("{day} {}", date.second())
}

fn page(recovered: &Recovered) -> String {
    let mut page = String::new();
    for pool in &recovered.pools {
        paragraph::push(&mut page, Style::new(), 0, &pool.message);
    }
    if page.is_empty() {
        NONE.to_owned()
    } else {
        page
    }
}

fn verdict(tests: &[PoolTest]) -> Exit {
    match tests.iter().all(|test| test.ok) {
        true => Exit::Success,
        false => Exit::Failure,
    }
}

fn report(tests: &[PoolTest]) -> String {
    let mut text = String::new();
    for test in tests {
        let name = format!("{}/{} ({})", test.cluster, test.endpoint, test.endpoint_id);
        paragraph::push(&mut text, STRONG, 0, &name);
        for check in &test.checks {
            let (style, mark) = if check.ok { (GOOD, "ok") } else { (BAD, "bad") };
            let line = format!("{mark:<3} {}: {}", check.check, check.found);
            paragraph::push(&mut text, style, 2, &line);
        }
    }
    if text.is_empty() {
        return NONE.to_owned();
    }
    let note = "Nothing was sent. Order, rotation and failure handling were tried on a copy of \
                each pool; whether an upstream accepts a token shows in its next request.";
    paragraph::push(&mut text, DIM, 0, note);
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    fn plain(text: &str) -> String {
        let text = anstream::adapter::strip_str(text).to_string();
        let narrow = text.lines().all(|line| line.chars().count() <= 100);
        assert!(narrow, "{text}");
        text
    }

    fn client() -> Client {
        Client::in_memory(Fake::usual().with_pool("official").admin().1)
    }

    // CLI-13
    #[tokio::test]
    async fn every_token_is_shown_by_name_with_what_is_known_of_it() {
        let pools = status(&client()).await.unwrap();
        let text = plain(&listing(&pools));
        assert!(text.contains("3 total, 1 active, 1 failed"), "{text}");
        let line = |name: &str| text.lines().find(|line| line.starts_with(name)).unwrap();
        for part in ["personal", "cooling", "01-31 08:03:50", "01-31 09:03:20"] {
            assert!(line("Personal-2").contains(part), "{part}: {text}");
        }
        assert!(
            text.contains("Personal-3: invalid_grant: log in again"),
            "{text}"
        );
        let none = Client::in_memory(Fake::usual().admin().1);
        assert!(listing(&status(&none).await.unwrap()).contains("docs/tokens.md"));
    }

    // CLI-13, CLI-20, TOK-28
    #[tokio::test]
    async fn a_refused_token_is_recovered_once_and_says_so_twice() {
        let client = client();
        let first = recover(&client, Some("Personal-3"), None).await.unwrap();
        let again = recover(&client, Some("Personal-3"), Some("official"))
            .await
            .unwrap();
        let all = recover(&client, None, None).await.unwrap();
        assert!(first.changed && !again.changed && !all.changed);
        let text = plain(&[first, again, all].map(|told| page(&told)).concat());
        for told in [
            "Personal-3 may be used again.",
            "Personal-3 was neither refused nor inactive; nothing changed.",
            "no token was refused or inactive; nothing changed.",
        ] {
            assert!(text.contains(told), "{told}: {text}");
        }
    }

    // CLI-20
    #[tokio::test]
    async fn what_nobody_has_is_refused_and_what_two_have_is_asked_back() {
        let client = client();
        for (token, endpoint, told) in [
            (Some("Personal-9"), None, "claude/official/Personal-1"),
            (None, Some("nobody"), "claude/relay"),
            (None, Some("relay"), "known are claude/official"),
        ] {
            let failure = recover(&client, token, endpoint).await.unwrap_err();
            assert_eq!(failure.exit, Exit::Unknown, "{failure}");
            assert!(failure.message.contains(told), "{failure}");
        }
        let two = Fake::usual().with_pool("official").with_pool("relay");
        let client = Client::in_memory(two.admin().1);
        let failure = recover(&client, Some("Personal-1"), None)
            .await
            .unwrap_err();
        assert!(
            failure.message.contains("claude/official or claude/relay"),
            "{failure}"
        );
        let one = recover(&client, Some("Personal-3"), Some("relay"))
            .await
            .unwrap();
        assert_eq!(one.pools.len(), 1);
    }

    // CLI-14
    #[tokio::test]
    async fn a_test_tells_what_it_found_and_that_nothing_was_sent() {
        let tests = test(&client(), Some("official")).await.unwrap();
        assert!(!tests[0].ok);
        let text = plain(&report(&tests));
        assert!(text.contains("ok  order: what was found"), "{text}");
        assert!(text.contains("bad health"), "{text}");
        assert!(text.contains("Nothing was sent."), "{text}");
    }
}
