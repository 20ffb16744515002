//! `qcc doctor`: looks for the cause of a failure where causes are, in the order in which one
//! hides the next, and names the first step that fails with what to do about it.
//!
//! Nothing is changed, and nothing is sent to an upstream but an attempt to connect.

mod kept;
mod proxy;
mod remedy;
mod request;

use std::fmt::Write as _;

use anstyle::Style;
use clap::Subcommand;
use serde::Serialize;

use super::operate::Operator;
use crate::client::segment;
use crate::explain::Explanation;
use crate::output::{BAD, DIM, Exit, Failure, GOOD, STRONG, WARN, styled};
use crate::paragraph;

/// The options of `doctor`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Clone, Debug, Subcommand)]
enum What {
    /// Say at which step a request failed
    Request {
        /// The id of the request: x-qcc-request-id of its answer
        id: String,
    },
}

/// Runs the command.
pub(super) fn run(args: &Args, operator: &Operator) -> Result<Exit, Failure> {
    let examined = async { Ok(Report::of(examine(args.what.as_ref(), operator).await)) };
    operator.judge(examined, Report::page, |report| report.exit)
}

async fn examine(what: Option<&What>, operator: &Operator) -> Vec<Finding> {
    let Some(What::Request { id }) = what else {
        return proxy::examine(operator).await;
    };
    let path = format!("/admin/v1/requests/{}", segment(id));
    match operator.client.get::<Explanation>(&path).await {
        Ok(explanation) => request::examine(&explanation),
        Err(failure) => vec![proxy::unanswered("request", &failure)],
    }
}

/// What one step found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Finding {
    step: &'static str,
    state: State,
    found: String,
    remedy: Option<String>,
    /// How the command ends if this is the first failure.
    #[serde(skip)]
    exit: Exit,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    /// As it should be.
    Ok,
    /// Worth a look; requests are served all the same.
    Note,
    /// Requests fail because of it.
    Failed,
    /// Not looked at, because of what failed before.
    Skipped,
}

impl Finding {
    fn new(step: &'static str, state: State, found: impl Into<String>) -> Self {
        Self {
            step,
            state,
            found: found.into(),
            remedy: None,
            exit: Exit::Success,
        }
    }

    fn ok(step: &'static str, found: impl Into<String>) -> Self {
        Self::new(step, State::Ok, found)
    }

    fn note(step: &'static str, found: impl Into<String>) -> Self {
        Self::new(step, State::Note, found)
    }

    fn failed(step: &'static str, exit: Exit, found: impl Into<String>) -> Self {
        Self {
            exit,
            ..Self::new(step, State::Failed, found)
        }
    }

    fn skipped(step: &'static str, after: &str) -> Self {
        Self::new(
            step,
            State::Skipped,
            format!("not looked at: {after} first"),
        )
    }

    fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }
}

/// What all steps found.
#[derive(Clone, Debug, Serialize)]
struct Report {
    /// Whether no step fails.
    healthy: bool,
    /// The first step that fails.
    first_failure: Option<&'static str>,
    /// Every step, in order.
    findings: Vec<Finding>,
    #[serde(skip)]
    exit: Exit,
}

impl Report {
    fn of(findings: Vec<Finding>) -> Self {
        let first = findings
            .iter()
            .find(|finding| finding.state == State::Failed);
        Self {
            healthy: first.is_none(),
            first_failure: first.map(|finding| finding.step),
            exit: first.map_or(Exit::Success, |finding| finding.exit),
            findings,
        }
    }

    fn page(&self) -> String {
        let mut page = String::new();
        for finding in &self.findings {
            let (style, word) = match finding.state {
                State::Ok => (GOOD, "ok"),
                State::Note => (WARN, "note"),
                State::Failed => (BAD, "failed"),
                State::Skipped => (DIM, "skipped"),
            };
            let _ = writeln!(
                page,
                "{} {}",
                styled(style, format_args!("{word:<8}")),
                styled(STRONG, finding.step)
            );
            for line in finding.found.lines() {
                paragraph::push(&mut page, Style::new(), 9, line.trim_start());
            }
            if let Some(remedy) = &finding.remedy {
                paragraph::push(&mut page, Style::new(), 9, &format!("=> {remedy}"));
            }
        }
        let _ = match self.first_failure {
            None => writeln!(page, "\n{}", styled(GOOD, "nothing fails")),
            Some(step) => writeln!(
                page,
                "\nthe first step that fails: {}",
                styled(BAD.bold(), step)
            ),
        };
        page
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // CLI-25
    #[test]
    fn the_first_failure_is_named_and_decides_the_exit_code() {
        let report = Report::of(vec![
            Finding::ok("configuration", "fine"),
            Finding::note("requests", "2 failed").remedy("look"),
            Finding::failed("port", Exit::NotRunning, "nobody").remedy("qcc serve"),
            Finding::failed("admin", Exit::Failure, "silent"),
            Finding::skipped("sessions", "admin"),
        ]);
        assert!(!report.healthy);
        assert_eq!(report.exit, Exit::NotRunning);
        let page = anstream::adapter::strip_str(&report.page()).to_string();
        assert!(
            page.contains("failed   port\n         nobody\n         => qcc serve\n"),
            "{page}"
        );
        assert!(
            page.ends_with("the first step that fails: port\n"),
            "{page}"
        );
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["first_failure"], "port");
        assert_eq!(json["findings"][4]["state"], "skipped");
    }

    // CLI-25
    #[test]
    fn a_note_is_no_failure() {
        let report = Report::of(vec![Finding::note("requests", "2 failed")]);
        assert!(report.healthy);
        assert_eq!(report.exit, Exit::Success);
        assert!(report.page().contains("nothing fails"));
    }
}
