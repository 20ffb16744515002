//! What every command that operates a running proxy needs.

use std::fmt::Display;

use anstyle::Style;
use clap::Subcommand;
use serde::Serialize;

use crate::admin::view::Switched;
use crate::cli::Global;
use crate::client::{Client, Target, segment};
use crate::config::{self, Config, Environment, Problems};
use crate::output::{Exit, Failure, Output};
use crate::paragraph;

/// As many entries of a list as there are.
pub(super) const ALL: usize = 1_000_000;

/// An endpoint.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Named {
    /// Its id (at least 4 digits of it), its name, or CLUSTER/NAME
    #[arg(value_name = "ENDPOINT")]
    pub(super) endpoint: String,
}

/// An endpoint or all of them.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct NamedOrAll {
    /// Its id (at least 4 digits of it), its name, or CLUSTER/NAME
    #[arg(value_name = "ENDPOINT")]
    pub(super) endpoint: Option<String>,
    /// Every endpoint
    #[arg(long)]
    pub(super) all: bool,
}

impl NamedOrAll {
    /// The path of the operation `verb` on the endpoint that is named, else `all`.
    pub(super) fn path(&self, verb: &str, all: &str) -> String {
        match &self.endpoint {
            Some(name) => on(name, verb),
            None => all.to_owned(),
        }
    }
}

/// The path of the operation `verb` on the endpoint `name`.
pub(super) fn on(name: &str, verb: &str) -> String {
    format!("/admin/v1/endpoints/{}/{verb}", segment(name))
}

/// What an operation told of each endpoint.
pub(super) fn page(switched: &Switched) -> String {
    let mut page = String::new();
    for one in &switched.endpoints {
        paragraph::push(&mut page, Style::new(), 0, &one.message);
    }
    page
}

/// A command that does one of several things with a running proxy.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Operate<W: Subcommand> {
    #[command(flatten)]
    target: Target,
    #[command(subcommand)]
    what: W,
}

/// A command that does one thing with a running proxy.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Ask<A: clap::Args> {
    #[command(flatten)]
    target: Target,
    #[command(flatten)]
    args: A,
}

type Run<W> = fn(&W, &Operator) -> Result<Exit, Failure>;

impl<W: Subcommand> Operate<W> {
    /// Looks for the proxy and runs `run`, whether or not it was found.
    pub(super) fn run(
        &self,
        global: &Global,
        environment: &Environment,
        run: Run<W>,
    ) -> Result<Exit, Failure> {
        run(
            &self.what,
            &Operator::new(&self.target, global, environment)?,
        )
    }
}

impl<A: clap::Args> Ask<A> {
    /// As of [`Operate`].
    pub(super) fn run(
        &self,
        global: &Global,
        environment: &Environment,
        run: Run<A>,
    ) -> Result<Exit, Failure> {
        run(
            &self.args,
            &Operator::new(&self.target, global, environment)?,
        )
    }
}

/// The proxy, the configuration, and where to print to.
pub(super) struct Operator {
    /// The running proxy.
    pub(super) client: Client,
    /// Whether it was named, so that the configuration here need not be its own.
    pub(super) is_named: bool,
    /// The configuration, which only tells addresses: a proxy can be operated without it.
    pub(super) config: Result<Config, Problems>,
    /// Where to print to.
    pub(super) output: Output,
}

impl Operator {
    /// Looks for the proxy that `target` names.
    pub(super) fn new(
        target: &Target,
        global: &Global,
        environment: &Environment,
    ) -> Result<Self, Failure> {
        let config = config::load(global.config.as_deref(), environment);
        Ok(Self {
            client: Client::new(target, config.as_ref().ok(), environment)?,
            is_named: target.named(environment).is_some(),
            config,
            output: Output::new(global.json),
        })
    }

    /// Prints the answer as JSON, or as `page` tells it to people.
    pub(super) fn show<T: Serialize, P: Display>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
        page: impl FnOnce(&T) -> P,
    ) -> Result<Exit, Failure> {
        self.judge(answer, page, |_| Exit::Success)
    }

    /// The same where the exit code depends on what the answer says.
    pub(super) fn judge<T: Serialize, P: Display>(
        &self,
        answer: impl Future<Output = Result<T, Failure>>,
        page: impl FnOnce(&T) -> P,
        verdict: impl FnOnce(&T) -> Exit,
    ) -> Result<Exit, Failure> {
        let answer = wait(answer)?;
        self.output
            .show(&answer, |stream| write!(stream, "{}", page(&answer)))?;
        Ok(verdict(&answer))
    }
}

/// Runs the future of one command.
pub(super) fn wait<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
