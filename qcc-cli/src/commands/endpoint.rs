//! `qcc endpoint`: list, enable, disable, clear-limit, mark, unmark.

use clap::Subcommand;
use qcc_core::time::Duration;

use super::operate::{ALL, Named, NamedOrAll, Operator, on, page};
use crate::admin::view::{EndpointView, Switched};
use crate::client::{Client, segment};
use crate::config::duration;
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, GOOD, STRONG, Table, WARN};
use crate::paragraph;

/// What to do with an endpoint.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// List the endpoints of all clusters, with why and until when one is left out
    List,
    /// Let requests go there again; also forgets refused credentials and closes its breaker
    Enable(Named),
    /// Let no new request go there; those in flight end normally
    Disable(Named),
    /// End what rate limits cause: the cool-downs of an endpoint and of its credentials
    ClearLimit(NamedOrAll),
    /// Let no new request go there for a time
    Mark {
        #[command(flatten)]
        named: Named,
        /// Why, for whoever looks at it later
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
        /// How long, like 90s, 5m or 2h; 5m without it
        #[arg(long = "for", value_name = "TIME", value_parser = time)]
        time: Option<Duration>,
    },
    /// Take a mark back
    Unmark(Named),
}

fn time(text: &str) -> Result<Duration, &'static str> {
    duration(text)
        .filter(|time| time.as_secs() > 0)
        .ok_or("write it like 90s, 5m or 2h")
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    match what {
        What::List => operator.show(list(client), |endpoints| table(endpoints)),
        what => operator.show(operate(client, what), page),
    }
}

async fn list(client: &Client) -> Result<Vec<EndpointView>, Failure> {
    client.list("/admin/v1/endpoints", ALL).await
}

async fn operate(client: &Client, what: &What) -> Result<Switched, Failure> {
    let path = match what {
        What::List => "/admin/v1/endpoints".to_owned(),
        What::Enable(named) => on(&named.endpoint, "enable"),
        What::Disable(named) => on(&named.endpoint, "disable"),
        What::ClearLimit(which) => which.path("clear-limit", "/admin/v1/limits/clear"),
        What::Mark {
            named,
            reason,
            time,
        } => {
            let reason = reason
                .iter()
                .map(|reason| format!("reason={}", segment(reason)));
            let time = time
                .iter()
                .map(|time| format!("seconds={}", time.as_secs()));
            let query: Vec<_> = reason.chain(time).collect();
            format!("{}?{}", on(&named.endpoint, "mark"), query.join("&"))
        }
        What::Unmark(named) => on(&named.endpoint, "unmark"),
    };
    client.post(&path).await
}

fn table(endpoints: &[EndpointView]) -> Table {
    let mut table = Table::new(&[
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("STATUS", Align::Left),
        ("LEFT OUT", Align::Left),
        ("UNTIL", Align::Left),
        ("IN FLIGHT", Align::Right),
        ("WHY", Align::Left),
    ]);
    for endpoint in endpoints {
        let style = match &*endpoint.status {
            "unhealthy" => BAD,
            "degraded" => WARN,
            _ => GOOD,
        };
        let out = endpoint.out.as_ref();
        let until = out
            .and_then(|out| out.until)
            .map_or_else(|| "-".to_owned(), crate::moment::Date::second);
        let why = endpoint.marked.as_ref().map_or("", |mark| &*mark.reason);
        table.row([
            Cell::styled(
                STRONG,
                format_args!("{}/{}", endpoint.cluster, endpoint.name),
            ),
            Cell::styled(DIM, &endpoint.id),
            Cell::styled(style, &endpoint.status),
            Cell::from(out.map_or("-", |out| &*out.reason)),
            Cell::from(until),
            Cell::from(endpoint.in_flight),
            Cell::from(paragraph::fit(why, 30)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::Operations as _;
    use crate::admin::fake::Fake;

    fn named(endpoint: &str) -> Named {
        Named {
            endpoint: endpoint.to_owned(),
        }
    }

    // CLI-15, CLI-20
    #[tokio::test]
    async fn an_endpoint_is_switched_off_once_and_says_so_twice() {
        let (fake, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let off = What::Disable(named("claude/official"));
        let first = operate(&client, &off).await.unwrap();
        let again = operate(&client, &off).await.unwrap();
        assert_eq!(fake.clusters()[0].eligible, 0);
        let text = page(&first) + &page(&again);
        let id = &first.endpoints[0].id;
        assert_eq!(
            text,
            format!(
                "claude/official ({id}) is off for new requests; those in flight end normally.\n\
                 claude/official ({id}) was off already; nothing changed.\n"
            )
        );
    }

    // CLI-20
    #[tokio::test]
    async fn an_unknown_endpoint_is_refused_and_the_known_ones_are_named() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let on = What::Enable(named("offcial"));
        let failure = operate(&client, &on).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unknown);
        assert!(failure.message.contains("claude/official"), "{failure}");
    }

    // CLI-16, CLI-17, CLI-20
    #[tokio::test]
    async fn a_mark_is_set_with_its_reason_listed_and_taken_back() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let mark = What::Mark {
            named: named("official"),
            reason: Some("a reason & more".to_owned()),
            time: Some(Duration::from_secs(600)),
        };
        let marked = operate(&client, &mark).await.unwrap();
        assert!(
            page(&marked).contains("is marked unavailable for 10m;"),
            "{}",
            page(&marked)
        );
        let endpoints: Vec<EndpointView> = client.list("/admin/v1/endpoints", ALL).await.unwrap();
        let text = table(&endpoints).to_string();
        let text = anstream::adapter::strip_str(&text).to_string();
        assert!(
            text.contains("marked") && text.contains("a reason & more"),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );

        let unmark = What::Unmark(named("official"));
        assert!(operate(&client, &unmark).await.unwrap().changed);
        let again = operate(&client, &unmark).await.unwrap();
        assert!(page(&again).contains("was not marked; nothing changed."));
        let all = What::ClearLimit(NamedOrAll {
            endpoint: None,
            all: true,
        });
        assert_eq!(operate(&client, &all).await.unwrap().endpoints.len(), 3);
        assert!(time("0s").is_err() && time("soon").is_err());
    }
}
