//! What every command that operates a running proxy needs.

use crate::cli::Global;
use crate::client::{Client, Target};
use crate::config::{self, Config, Environment, Problems};
use crate::output::{Failure, Output};

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
