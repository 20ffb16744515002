//! `qcc run`: a proxy for one command, and for as long as that runs.
//!
//! The command finds the proxy in the variables that the SDKs read. What it gets there in place
//! of a key opens this proxy only, and only until the command ends. Other variables are passed on
//! as they are.

use std::ffi::OsString;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use qcc_core::record::RecordSink;
use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};

use crate::cli::Global;
use crate::config::{self, ClientKey, Environment, WarmUp};
use crate::output::{Exit, Failure, Output};
use crate::running::Opened;
use crate::shutdown::{Phase, Phases};
use crate::telemetry::{self, RequestLog};

/// The options of `run`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Send the requests to this cluster, whatever dialects the others speak
    #[arg(long, value_name = "NAME")]
    cluster: Option<String>,
    /// The command and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<OsString>,
}

/// As shells say it of a command that is not there, and of one that cannot be run.
const NOT_FOUND: u8 = 127;
const NOT_RUNNABLE: u8 = 126;

/// The variables in which clients look for an address, and what theirs ends in.
const ADDRESSES: [(&str, &str); 3] = [
    ("ANTHROPIC_BASE_URL", ""),
    ("OPENAI_BASE_URL", "/v1"),
    ("GOOGLE_GEMINI_BASE_URL", ""),
];

/// The variables in which they look for a key. Claude Code asks back if it finds one in
/// `ANTHROPIC_API_KEY`; the SDKs take a token as well.
const KEYS: [&str; 4] = [
    "ANTHROPIC_AUTH_TOKEN",
    "OPENAI_API_KEY",
    "GEMINI_API_KEY",
    "GOOGLE_API_KEY",
];

/// The one that would go before the token.
const HIDDEN: &str = "ANTHROPIC_API_KEY";

/// Runs the command, and the proxy until it ends. The exit code is that of the command.
///
/// # Errors
///
/// The proxy cannot be started.
pub(super) fn run(
    args: &Args,
    global: &Global,
    environment: &Environment,
) -> Result<ExitCode, Failure> {
    let mut config = config::load(global.config.as_deref(), environment)?;
    if let Some(name) = &args.cluster
        && !config
            .clusters
            .iter()
            .any(|cluster| *cluster.name == **name)
    {
        let known: Vec<_> = config
            .clusters
            .iter()
            .map(|cluster| &*cluster.name)
            .collect();
        let message = format!(
            "there is no cluster `{name}`; known are {}",
            known.join(", ")
        );
        return Err(Failure::new(Exit::Unknown, message));
    }
    let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    config.listen = free;
    config.admin.listen = free;
    // The first request comes at once, and whatever would fail is the command's to meet.
    config.warm_up = WarmUp::Off;
    // Nobody else on this machine may use it.
    let key = format!("qcc-run-{:032x}", rand::random::<u128>());
    config.client_keys.push(ClientKey {
        name: "run".into(),
        sha256: Sha256::digest(&key).into(),
    });
    let level = global.log.as_deref().or_else(|| environment.get("QCC_LOG"));
    // The terminal is the command's.
    telemetry::init(Some(level.unwrap_or("warn")), global.log_format)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(serve(args, config, &key, Output::new(global.json)))
}

async fn serve(
    args: &Args,
    config: config::Config,
    key: &str,
    output: Output,
) -> Result<ExitCode, Failure> {
    let opened = Opened::new(config, [Arc::new(RequestLog) as Arc<dyn RecordSink>]).await?;
    let address = opened.running.listen;
    let (phase, phases) = Phases::new();
    let serving = tokio::spawn(opened.run(phases));
    let ended = match command(args, address, key).spawn() {
        Ok(child) => Ok(wait(child).await?),
        Err(error) => Err(error),
    };
    // Whatever is still open belongs to a command that is gone.
    let _ = phase.send(Phase::Aborting);
    let _ = serving.await;
    Ok(match ended {
        Ok(status) => code(status),
        Err(error) => {
            let (code, failure) = not_started(args, &error);
            output.failure(&failure);
            code.into()
        }
    })
}

fn command(args: &Args, address: SocketAddr, key: &str) -> Command {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    let cluster = args.cluster.as_deref().map(|name| format!("/{name}"));
    let cluster = cluster.unwrap_or_default();
    for (name, end) in ADDRESSES {
        command.env(name, format!("http://{address}{cluster}{end}"));
    }
    for name in KEYS {
        command.env(name, key);
    }
    command.env_remove(HIDDEN);
    command.kill_on_drop(true);
    command
}

fn not_started(args: &Args, error: &io::Error) -> (u8, Failure) {
    let (code, what) = match error.kind() {
        io::ErrorKind::NotFound => (NOT_FOUND, "there is no such command"),
        _ => (NOT_RUNNABLE, "it cannot be run"),
    };
    let name = args.command[0].to_string_lossy();
    let message = format!("{name}: {what}: {error}");
    (code, Failure::new(Exit::Failure, message))
}

/// The exit code of a command as shells give it.
fn code(status: ExitStatus) -> ExitCode {
    #[cfg(unix)]
    {
        use std::os::unix::process::ExitStatusExt as _;
        if let Some(signal) = status.signal() {
            return u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from);
        }
    }
    match status.code().map(u8::try_from) {
        Some(Ok(code)) => code.into(),
        _ => ExitCode::FAILURE,
    }
}

/// Waits for the command. Signals go on to it; it decides what they mean.
#[cfg(unix)]
async fn wait(mut child: Child) -> io::Result<ExitStatus> {
    use std::io::IsTerminal as _;

    use nix::sys::signal::{Signal, kill};
    use nix::unistd::Pid;
    use tokio::signal::unix::{SignalKind, signal};

    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut hangup = signal(SignalKind::hangup())?;
    let pid = child.id().and_then(|id| i32::try_from(id).ok());
    // Ctrl-C reaches everybody at the terminal, the command as well.
    let at_terminal = io::stdin().is_terminal();
    loop {
        let signal = tokio::select! {
            status = child.wait() => return status,
            Some(()) = terminate.recv() => Signal::SIGTERM,
            Some(()) = hangup.recv() => Signal::SIGHUP,
            Some(()) = interrupt.recv() => {
                if at_terminal {
                    continue;
                }
                Signal::SIGINT
            }
        };
        if let Some(pid) = pid {
            // One that has just ended is none to tell.
            let _ = kill(Pid::from_raw(pid), signal);
        }
    }
}

#[cfg(not(unix))]
async fn wait(mut child: Child) -> io::Result<ExitStatus> {
    child.wait().await
}
