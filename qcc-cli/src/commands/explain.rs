//! `qcc explain`.

use super::operate::Operator;
use crate::admin::view::RequestView;
use crate::client::{Client, segment};
use crate::explain::{Explanation, tell};
use crate::moment::Date;
use crate::output::{Exit, Failure};

use qcc_core::time::{SystemClock, WallClock as _};

/// The options of `explain`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The id of the request: `x-qcc-request-id` of its answer
    #[arg(
        value_name = "ID",
        required_unless_present = "last",
        conflicts_with = "last"
    )]
    id: Option<String>,
    /// The request that ended last
    #[arg(long)]
    last: bool,
}

/// Runs the command.
pub(super) fn run(args: &Args, operator: &Operator) -> Result<Exit, Failure> {
    let now = Date::from(SystemClock.now());
    let asked = explain(&operator.client, args.id.as_deref());
    operator.show(asked, |explanation| tell(explanation, now))
}

/// The request with this id, else the last one.
async fn explain(client: &Client, id: Option<&str>) -> Result<Explanation, Failure> {
    let id = match id {
        Some(id) => id.to_owned(),
        None => {
            let last: Vec<RequestView> = client.list("/admin/v1/requests", 1).await?;
            let Some(last) = last.into_iter().next() else {
                let text = "there was no request yet\n  send one through the proxy first";
                return Err(Failure::new(Exit::Unknown, text));
            };
            last.id
        }
    };
    client
        .get(&format!("/admin/v1/requests/{}", segment(&id)))
        .await
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::admin::fake::Fake;
    use crate::commands::Ask;
    use crate::explain::samples;

    // XPL-02
    #[tokio::test]
    async fn a_request_is_explained_by_id_and_the_last_one_without() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        let told = explain(&client, Some("qcc-test-1")).await.unwrap();
        assert_eq!(told.answered_by.unwrap().name, "relay");
        assert_eq!(explain(&client, None).await.unwrap().id, "client-8");
        let failure = explain(&client, Some("qcc-none")).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Unknown);
        assert!(failure.message.contains("client-8"), "{failure}");
    }

    // XPL-02
    #[tokio::test]
    async fn what_came_over_the_admin_api_is_told_as_in_the_process() {
        let (_, router) = Fake::usual().admin();
        let client = Client::in_memory(router);
        for record in samples::all() {
            let here = Explanation::of(&record, &samples::now());
            let there = explain(&client, Some(&here.id)).await.unwrap();
            assert_eq!(there.visits.len(), here.visits.len());
            assert_eq!(there.answer, here.answer);
            assert_eq!(there.duration_ms, here.duration_ms);
        }
    }

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        asked: Ask<Args>,
    }

    // XPL-02
    #[test]
    fn either_an_id_or_the_last_one_is_asked_for() {
        let asks = |line: &[&str]| Line::try_parse_from(line).is_ok();
        assert!(asks(&["explain", "qcc-1"]));
        assert!(asks(&["explain", "--last"]));
        assert!(!asks(&["explain"]));
        assert!(!asks(&["explain", "qcc-1", "--last"]));
        assert!(asks(&["explain", "--last", "--admin", "http://h"]));
    }
}
