//! `qcc completions`.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::cli::Cli;
use crate::output::{Exit, Failure, Output};

/// Prints the script of `shell`.
pub(super) fn run(shell: Shell) -> Result<Exit, Failure> {
    // Into memory first: the generator panics where a pipe is closed early.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "qcc", &mut script);
    Output::new(false).show(&(), |stream| stream.write_all(&script))?;
    Ok(Exit::Success)
}
