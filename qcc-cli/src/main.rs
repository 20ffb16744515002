//! The qcc command.

mod admin;
mod cli;
mod client;
mod commands;
mod config;
mod counts;
mod demo;
mod explain;
mod history;
mod metrics;
mod moment;
mod output;
mod paragraph;
mod records;
mod running;
mod server;
mod shutdown;
mod simulator;
mod stack;
mod telemetry;

use std::process::ExitCode;

use clap::Parser as _;

use crate::cli::Cli;
use crate::output::Output;

/// Requests are made and dropped on several threads, and each leaves a few dozen small pieces:
/// docs/benchmarks.md has what this saves.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    let Cli { global, command } = Cli::parse();
    match commands::run(&command, &global) {
        Ok(code) => code,
        Err(failure) => {
            Output::new(global.json).failure(&failure);
            failure.exit.into()
        }
    }
}
