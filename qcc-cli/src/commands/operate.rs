//! What every command that operates a running proxy needs.

use anstyle::Style;

use crate::admin::view::Switched;
use crate::cli::Global;
use crate::client::{Client, Target, segment};
use crate::config::{self, Config, Environment, Problems};
use crate::output::{Failure, Output};
use crate::paragraph;

/// As many entries of a list as there are.
pub(super) const ALL: usize = 1_000_000;

/// An endpoint.
#[derive(Clone, Debug, clap::Args)]
pub(super) struct Named {
    /// Its id (at least 4 digits of it), its name, or CLUSTER/NAME
    #[arg(value_name = "ENDPOINT")]
    pub(super) endpoint: String,
}

/// An endpoint or all of them.
#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(super) struct NamedOrAll {
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

/// The proxy, the configuration, and where to print to.
pub(super) struct Operator {
    /// The running proxy.
    pub(super) client: Client,
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
            config,
            output: Output::new(global.json),
        })
    }
}

/// Runs the future of one command.
pub(super) fn wait<T>(command: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?
        .block_on(command)
}
