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
mod refresh;
pub(crate) mod requests;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod session;
pub(crate) mod simulate;
mod stats;
pub(crate) mod store;
pub(crate) mod token;

use std::process::ExitCode;

pub(crate) use operate::{Ask, Operate};

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
        Command::Cluster(asked) => asked.run(global, &environment, cluster::run),
        Command::Endpoint(asked) => asked.run(global, &environment, endpoint::run),
        Command::Breaker(asked) => asked.run(global, &environment, breaker::run),
        Command::Queue(asked) => asked.run(global, &environment, queue::run),
        Command::Probe(asked) => asked.run(global, &environment, probe::run),
        Command::Session(asked) => asked.run(global, &environment, session::run),
        Command::Logs(args) => logs::run(args, global, &environment),
        Command::Stats(asked) => asked.run(global, &environment, stats::run),
        Command::Token(asked) => asked.run(global, &environment, token::run),
        Command::Refresh(asked) => asked.run(global, &environment, refresh::run),
        Command::Metrics(asked) => asked.run(global, &environment, metrics::run),
        Command::Store(asked) => asked.run(global, &environment, store::run),
        Command::Requests(asked) => asked.run(global, &environment, requests::run),
        Command::Explain(asked) => asked.run(global, &environment, explain::run),
        Command::Doctor(asked) => asked.run(global, &environment, doctor::run),
        Command::Completions { shell } => completions::run(*shell),
        Command::Openapi => openapi::run(),
        Command::Man => man::run(),
    };
    exit.map(ExitCode::from)
}
