//! The qcc command.

mod cli;
mod commands;
mod config;
mod output;
mod running;
mod server;
mod shutdown;
mod stack;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::output::Output;

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match commands::run(&command, &global) {
        Ok(exit) => exit.into(),
        Err(failure) => {
            Output::new(global.json).failure(&failure);
            failure.exit.into()
        }
    }
}
