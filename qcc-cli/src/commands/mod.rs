//! The commands, one file each.

pub(crate) mod breaker;
pub(crate) mod cluster;
mod completions;
mod config;
pub(crate) mod demo;
pub(crate) mod doctor;
pub(crate) mod endpoint;
pub(crate) mod explain;
pub(crate) mod init;
pub(crate) mod logs;
mod man;
pub(crate) mod metrics;
mod openapi;
mod operate;
pub(crate) mod probe;
pub(crate) mod queue;
pub(crate) mod refresh;
pub(crate) mod requests;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod simulate;
pub(crate) mod stats;
pub(crate) mod store;
pub(crate) mod token;

use std::process::ExitCode;

use crate::cli::{Command, Global};
use crate::config::Environment;
use crate::output::{Failure, Output};

/// Runs `command`.
///
/// # Errors
///
/// It failed; the failure says why and what to do.
pub(crate) fn run(command: &Command, global: &Global) -> Result<ExitCode, Failure> {
    let (environment, bad) = Environment::of_process();
    if matches!(
        command,
        Command::Init(_) | Command::Run(_) | Command::Serve(_) | Command::Config(_)
    ) {
        let output = Output::new(global.json);
        bad.iter().for_each(|bad| output.warning(bad));
    }
    let exit = match command {
        // Its exit code is that of what it runs.
        Command::Run(args) => return run::run(args, global, &environment),
        Command::Init(args) => init::run(*args, global, &environment),
        Command::Serve(options) => serve::run(*options, global, &environment),
        Command::Demo(args) => demo::run(args, global, &environment),
        Command::Simulate(args) => simulate::run(args, global, &environment),
        Command::Config(what) => config::run(*what, global, &environment),
        Command::Cluster(args) => cluster::run(args, global, &environment),
        Command::Endpoint(args) => endpoint::run(args, global, &environment),
        Command::Breaker(args) => breaker::run(args, global, &environment),
        Command::Queue(args) => queue::run(args, global, &environment),
        Command::Probe(args) => probe::run(args, global, &environment),
        Command::Session(args) => session::run(args, global, &environment),
        Command::Logs(args) => logs::run(args, global, &environment),
        Command::Stats(args) => stats::run(args, global, &environment),
        Command::Token(args) => token::run(args, global, &environment),
        Command::Refresh(args) => refresh::run(args, global, &environment),
        Command::Metrics(args) => metrics::run(args, global, &environment),
        Command::Store(args) => store::run(args, global, &environment),
        Command::Requests(args) => requests::run(args, global, &environment),
        Command::Explain(args) => explain::run(args, global, &environment),
        Command::Doctor(args) => doctor::run(args, global, &environment),
        Command::Completions { shell } => completions::run(*shell),
        Command::Openapi => openapi::run(),
        Command::Man => man::run(),
    };
    exit.map(ExitCode::from)
}
