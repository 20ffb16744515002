//! `qcc cluster list` and `qcc cluster status`.
//!
//! Both show what is so now. Without a running proxy they show what is configured, say that
//! this is all they know, and end with the exit code for that.

mod configured;
mod page;

use std::future::ready;

use clap::Subcommand;
use serde::Serialize;

use self::configured::Configured;
use self::page::{clusters_page, status_page};
use super::operate::{ALL, Operator};
use crate::admin::view::{ClusterStatus, ClusterView};
use crate::client::{Client, segment};
use crate::output::{Exit, Failure};

/// What to show of clusters.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// List the clusters
    List,
    /// Show the state of their endpoints
    Status {
        /// Of this cluster only
        #[arg(value_name = "NAME")]
        name: Option<String>,
    },
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    let (name, shown) = match what {
        What::List => (
            None,
            operator.show(running(list(client)), |live| clusters_page(&live.clusters)),
        ),
        What::Status { name } => {
            let name = name.as_deref();
            (
                name,
                operator.show(running(status(client, name)), |live| {
                    status_page(&live.clusters)
                }),
            )
        }
    };
    match shown {
        Err(failure) if failure.exit == Exit::NotRunning => configured(operator, name, failure),
        shown => shown,
    }
}

/// Shows what is configured, because of `failure`: the proxy does not run.
fn configured(operator: &Operator, name: Option<&str>, failure: Failure) -> Result<Exit, Failure> {
    let config = operator.config.as_ref().map_err(|problems| {
        let text = format!("{failure}\n  and there is no configuration: {problems}");
        Failure::new(Exit::NotRunning, text)
    })?;
    let configured = Configured::of(config, name, failure.message)?;
    operator.judge(ready(Ok(configured)), Configured::page, |_| {
        Exit::NotRunning
    })
}

/// What the running proxy said, for programs, who see by `running` whether it is live.
#[derive(Serialize)]
struct Running<T> {
    running: bool,
    clusters: Vec<T>,
}

async fn running<T>(
    clusters: impl Future<Output = Result<Vec<T>, Failure>>,
) -> Result<Running<T>, Failure> {
    Ok(Running {
        running: true,
        clusters: clusters.await?,
    })
}

async fn list(client: &Client) -> Result<Vec<ClusterView>, Failure> {
    client.list("/admin/v1/clusters", ALL).await
}

/// The cluster of this name, else all.
async fn status(client: &Client, name: Option<&str>) -> Result<Vec<ClusterStatus>, Failure> {
    let names = match name {
        Some(name) => vec![name.to_owned()],
        None => list(client)
            .await?
            .into_iter()
            .map(|cluster| cluster.name)
            .collect(),
    };
    let mut clusters = Vec::with_capacity(names.len());
    for name in names {
        clusters.push(whole(client, &name).await?);
    }
    Ok(clusters)
}

/// One cluster with all its endpoints, however many pages they fill.
async fn whole(client: &Client, name: &str) -> Result<ClusterStatus, Failure> {
    let path = format!("/admin/v1/clusters/{}", segment(name));
    client
        .whole(&path, |status: &mut ClusterStatus| &mut status.endpoints)
        .await
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use anstream::adapter::strip_str;

    use super::*;
    use crate::admin::fake::{Fake, healthy, open, refused};
    use crate::cli::Global;
    use crate::client::Target;
    use crate::config::{self, Config, Environment};
    use crate::paragraph;
    use crate::telemetry::Format;

    fn plain(page: &str) -> String {
        strip_str(page).to_string()
    }

    // CLI-02, CLI-03, SEL-11
    #[tokio::test]
    async fn the_status_tells_who_is_out_and_why_and_until_when() {
        let (_, router) = Fake::usual().admin();
        let clusters = status(&Client::in_memory(router), Some("claude"))
            .await
            .unwrap();
        assert_eq!(
            plain(&status_page(&clusters)),
            "\
claude: anthropic, priority
1 of 3 endpoints can be used, at 2026-01-31 08:03:20.250 UTC

NAME      ID        STATUS     ENABLED  HEALTHY  FAILS  AUTH    BREAKER  QUEUED  IN FLIGHT
official  3ece55ae  healthy    yes      yes        0/3  ok      closed   no           2/20
  https://official.example, priority 1, weight 100, answers in 813 ms, 3 of 120 failed
relay     60dba2c6  unhealthy  yes      no         3/3  ok      open     yes          0/20
  https://relay.example, priority 1, weight 100, answers in 813 ms, 3 of 120 failed
  out, open: its breaker is open until 08:03:54 UTC, for 34 s
  in the queue, breaker opened (overloaded): checked next at 08:03:54 UTC
  last failure: overloaded 529, 26 s ago, in request qcc-test-1
spare     54a88919  unhealthy  no       no         1/3  failed  closed   yes             0
  https://spare.example, priority 1, weight 100, answers in 813 ms, 3 of 120 failed
  out, auth_failed: its credential was refused until `qcc endpoint enable 54a88919`
  in the queue, HTTP 401: checked next at 08:33:20 UTC
  last failure: auth 401, 1 h ago, in request qcc-test-0
"
        );
    }

    // CLI-03
    #[tokio::test]
    async fn the_status_fits_a_hundred_columns_whatever_the_names() {
        let mut long = open(&"endpoint-".repeat(12));
        long.base_url = format!("https://{}.example/api", "long.".repeat(12));
        long.in_flight = 12_345;
        long.max_in_flight = Some(100_000);
        long.consecutive_failures = 1_000;
        long.breaker.state = "half_open".to_owned();
        let (_, router) = Fake::default()
            .with("claude", [long, refused("spare")])
            .admin();
        let clusters = status(&Client::in_memory(router), None).await.unwrap();
        let page = plain(&status_page(&clusters));
        for line in page.lines() {
            let words = line.trim_start().matches(' ').count();
            assert!(
                line.chars().count() <= paragraph::WIDTH || words == 0,
                "{line}"
            );
        }
        assert!(page.contains(&"endpoint-".repeat(12)), "{page}");
    }

    // CLI-04
    #[tokio::test]
    async fn an_unknown_cluster_fails_and_the_known_ones_are_named() {
        let (_, router) = Fake::usual().with("gpt", []).admin();
        let client = Client::in_memory(router);
        let failure = status(&client, Some("cloud")).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unknown);
        assert!(
            failure.message.contains("known are claude, gpt"),
            "{failure}"
        );
    }

    // CLI-24
    #[tokio::test]
    async fn a_cluster_of_many_pages_is_shown_whole() {
        let many = (0..1_500).map(|number| healthy(&format!("e{number}")));
        let (_, router) = Fake::default().with("claude", many).admin();
        let clusters = status(&Client::in_memory(router), None).await.unwrap();
        assert_eq!(clusters[0].endpoints.items.len(), 1_500);
    }

    #[tokio::test]
    async fn clusters_are_listed_with_how_many_can_be_used() {
        let (_, router) = Fake::usual().admin();
        let clusters = list(&Client::in_memory(router)).await.unwrap();
        assert_eq!(
            plain(&clusters_page(&clusters)),
            "CLUSTER  KIND       POLICY    ENDPOINTS  ELIGIBLE\n\
             claude   anthropic  priority          3         1\n"
        );
    }

    fn configured() -> Config {
        let environment = Environment::from_iter([("ANTHROPIC_API_KEY", "sk-test-0001")]);
        config::load(None, &environment).unwrap()
    }

    // CLI-05
    #[test]
    fn without_a_proxy_the_configuration_is_shown_and_no_health() {
        let message = "the proxy does not run: nobody answers at http://127.0.0.1:7861";
        let config = configured();
        let configured = Configured::of(&config, None, message.to_owned()).unwrap();
        let page = plain(&configured.page());
        assert!(page.starts_with("the proxy does not run"), "{page}");
        let endpoint = config.clusters[0].endpoints.iter().next().unwrap();
        assert!(page.contains(&endpoint.id().to_string()), "{page}");
        let data = serde_json::to_value(&configured).unwrap();
        assert_eq!(data["running"], false);
        let fields = data["clusters"][0]["endpoints"][0].as_object().unwrap();
        for invented in ["status", "is_healthy", "breaker", "queued", "in_flight"] {
            assert!(!fields.contains_key(invented), "{invented}");
        }
        assert!(!page.contains("healthy"), "{page}");
        assert!(!data.to_string().contains("sk-test"));
    }

    // CLI-04, CLI-05
    #[test]
    fn an_unknown_cluster_is_refused_without_a_proxy_too() {
        let config = configured();
        let Err(failure) = Configured::of(&config, Some("cloud"), String::new()) else {
            panic!("it was found");
        };
        assert_eq!(failure.exit, Exit::Unknown);
        let known = &config.clusters[0].name;
        assert!(failure.message.contains(&**known), "{failure}");
    }

    // CLI-05
    #[test]
    fn the_exit_code_says_that_the_proxy_does_not_run() {
        let port = {
            let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap().port()
        };
        let target = Target {
            admin: Some(format!("http://127.0.0.1:{port}")),
        };
        let global = Global {
            config: None::<PathBuf>,
            json: true,
            log: None,
            log_format: Format::Human,
        };
        let environment = Environment::from_iter([("ANTHROPIC_API_KEY", "sk-test-0001")]);
        let operator = Operator::new(&target, &global, &environment).unwrap();
        let status = What::Status { name: None };
        assert_eq!(run(&status, &operator), Ok(Exit::NotRunning));
    }
}
