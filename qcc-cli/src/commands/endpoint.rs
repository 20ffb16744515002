//! `qcc endpoint enable` and `qcc endpoint disable`.

use anstyle::Style;
use clap::Subcommand;

use super::operate::{Operator, wait};
use crate::admin::view::Switched;
use crate::cli::Global;
use crate::client::{Client, Target, segment};
use crate::config::Environment;
use crate::output::{Exit, Failure};
use crate::paragraph;

/// The options of `endpoint`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: What,
}

/// What to do with an endpoint.
#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Let requests go there again; also forgets refused credentials and closes its breaker
    Enable(Named),
    /// Let no new request go there; those in flight end normally
    Disable(Named),
}

#[derive(Clone, Debug, clap::Args)]
struct Named {
    /// Its id (at least 4 digits of it), its name, or CLUSTER/NAME
    #[arg(value_name = "ENDPOINT")]
    endpoint: String,
}

/// Runs the command.
pub(super) fn run(
    args: &Args,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Failure> {
    let operator = Operator::new(&args.target, global, environment)?;
    let switched = wait(switch(&operator.client, &args.what))?;
    operator.output.show(&switched, |stream| {
        stream.write_all(page(&switched).as_bytes())
    })?;
    Ok(Exit::Success)
}

async fn switch(client: &Client, what: &What) -> Result<Switched, Failure> {
    let (named, verb) = match what {
        What::Enable(named) => (named, "enable"),
        What::Disable(named) => (named, "disable"),
    };
    let name = segment(&named.endpoint);
    client
        .post(&format!("/admin/v1/endpoints/{name}/{verb}"))
        .await
}

fn page(switched: &Switched) -> String {
    let mut page = String::new();
    for one in &switched.endpoints {
        paragraph::push(&mut page, Style::new(), 0, &one.message);
    }
    page
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
        let first = switch(&client, &off).await.unwrap();
        let again = switch(&client, &off).await.unwrap();
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
        let failure = switch(&client, &on).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unknown);
        assert!(failure.message.contains("claude/official"), "{failure}");
    }
}
