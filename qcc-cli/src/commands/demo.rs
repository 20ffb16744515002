//! `qcc demo`.

use crate::cli::Global;
use crate::config::Environment;
use crate::demo::{self, Options};
use crate::output::{Exit, Failure, Output};
use crate::{shutdown, telemetry};

/// The options of `demo`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Args {
    /// Keep everything up afterwards, to play with
    #[arg(long)]
    serve: bool,
    /// What the clients ask for repeats with this number
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

/// Runs the command.
///
/// # Errors
///
/// A client was let down, the demo was interrupted, or it could not start.
pub(super) fn run(
    args: &Args,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Failure> {
    // The demo says itself what happens; who wants the log lines as well has to ask for them.
    let level = global.log.as_deref().or_else(|| environment.get("QCC_LOG"));
    let _logging = level
        .map(|level| telemetry::init(Some(level), global.log_format, None))
        .transpose()?;
    let options = Options::new(args.serve, args.seed);
    let output = Output::new(global.json);
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async { demo::run(options, output, &shutdown::on_signals()?).await })
}
