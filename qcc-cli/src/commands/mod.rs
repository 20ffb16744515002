//! The commands, one file each.

mod config;
mod serve;

use crate::cli::{Command, Global};
use crate::config::Environment;
use crate::output::{Exit, Failure};

/// Runs `command`.
///
/// # Errors
///
/// It failed; the failure says why and what to do.
pub(crate) fn run(command: &Command, global: &Global) -> Result<Exit, Failure> {
    let environment = Environment::of_process();
    match command {
        Command::Serve(options) => serve::run(*options, global, &environment),
        Command::Config(what) => config::run(*what, global, &environment),
    }
}
