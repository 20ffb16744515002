//! `qcc man`.

use clap::CommandFactory as _;
use clap_mangen::Man;

use crate::cli::Cli;
use crate::output::{Exit, Failure, Output};

/// Prints the page.
pub(super) fn run() -> Result<Exit, Failure> {
    let mut page = Vec::new();
    Man::new(Cli::command()).render(&mut page)?;
    Output::new(false).show(&(), |stream| stream.write_all(&page))?;
    Ok(Exit::Success)
}
