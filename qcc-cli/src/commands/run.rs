//! `qcc run`: a proxy for one command, and for as long as that runs.
//!
//! The command finds the proxy in the variables that the SDKs read. What it gets there in place
//! of a key opens this proxy only, and only until the command ends. The keys themselves stay with
//! the proxy, under whatever name the environment has them.

use std::ffi::OsString;
use std::io;
#[cfg(unix)]
use std::io::IsTerminal as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{ExitCode, ExitStatus};
use std::sync::Arc;

use qcc_core::credential::Credential;
use qcc_core::record::RecordSink;
use sha2::{Digest as _, Sha256};
use tokio::process::{Child, Command};
#[cfg(unix)]
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::cli::Global;
use crate::config::{self, ClientKey, Config, Environment, Secret, WarmUp};
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

/// What the command does not get: the key that would go before the token, and the token of an
/// admin API.
const HIDDEN: [&str; 2] = ["ANTHROPIC_API_KEY", "QCC_ADMIN_TOKEN"];

/// Where clients look for hosts that they are to reach without a proxy of the network.
const DIRECT: [&str; 2] = ["NO_PROXY", "no_proxy"];

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
    // It is gone with the command, and so is what it learnt.
    config.store = config::Store::off();
    // Nobody else on this machine may use it.
    let key = format!("qcc-run-{:032x}", rand::random::<u128>());
    config.client_keys.push(ClientKey {
        name: "run".into(),
        sha256: Sha256::digest(&key).into(),
        max_in_flight: None,
    });
    let level = global.log.as_deref().or_else(|| environment.get("QCC_LOG"));
    // The terminal is the command's.
    let _logging = telemetry::init(Some(level.unwrap_or("warn")), global.log_format, None)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(async {
            let mut command = command(args, &key, &config, environment);
            let output = Output::new(global.json);
            serve(args, &mut command, config, output).await
        })
}

async fn serve(
    args: &Args,
    command: &mut Command,
    config: Config,
    output: Output,
) -> Result<ExitCode, Failure> {
    let opened = Opened::new(config, [Arc::new(RequestLog) as Arc<dyn RecordSink>]).await?;
    find(command, opened.running.listen, args.cluster.as_deref());
    let (phase, phases) = Phases::new();
    let serving = tokio::spawn(opened.run(phases));
    // Before the command starts, or one that comes at once would end the proxy alone.
    let mut signals = Signals::new()?;
    let ended = match command.spawn() {
        Ok(child) => Ok(signals.wait(child).await?),
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

/// The command, with `key` in the place of every key.
fn command(args: &Args, key: &str, config: &Config, environment: &Environment) -> Command {
    let mut command = Command::new(&args.command[0]);
    command.args(&args.command[1..]);
    for secret in secrets(config) {
        for name in environment
            .holding(secret)
            .chain(environment.listing(secret))
        {
            command.env_remove(name);
        }
    }
    for name in HIDDEN {
        command.env_remove(name);
    }
    for name in KEYS {
        command.env(name, key);
    }
    for name in DIRECT {
        let others = environment.get(name).filter(|others| !others.is_empty());
        let others = others
            .map(|others| format!("{others},"))
            .unwrap_or_default();
        command.env(name, format!("{others}127.0.0.1"));
    }
    command.kill_on_drop(true);
    command
}

/// What the configuration keeps from everybody.
fn secrets(config: &Config) -> impl Iterator<Item = &str> {
    let clusters = config.clusters.iter();
    let endpoints = clusters.flat_map(|cluster| cluster.endpoints.iter());
    let credentials = endpoints.filter_map(|endpoint| endpoint.credential());
    let pools = config
        .clusters
        .iter()
        .flat_map(|cluster| cluster.tokens.values());
    let tokens = pools.flat_map(|tokens| tokens.secrets());
    let token = config.admin.token.as_ref().map(Secret::expose);
    let keys = credentials.map(Credential::expose).chain(tokens);
    keys.chain(token)
}

/// Lets `command` find the proxy at `address`.
fn find(command: &mut Command, address: SocketAddr, cluster: Option<&str>) {
    let cluster = cluster.map(|name| format!("/{name}")).unwrap_or_default();
    for (name, end) in ADDRESSES {
        command.env(name, format!("http://{address}{cluster}{end}"));
    }
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

/// The signals that go on to the command; it decides what they mean.
#[cfg(unix)]
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
    at_terminal: bool,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
            at_terminal: io::stdin().is_terminal(),
        })
    }

    /// Waits for the command.
    async fn wait(&mut self, mut child: Child) -> io::Result<ExitStatus> {
        let pid = child.id().and_then(|id| i32::try_from(id).ok());
        loop {
            let kind = tokio::select! {
                status = child.wait() => return status,
                Some(()) = self.terminate.recv() => nix::sys::signal::Signal::SIGTERM,
                Some(()) = self.hangup.recv() => nix::sys::signal::Signal::SIGHUP,
                Some(()) = self.interrupt.recv() => {
                    // Ctrl-C has reached everybody at the terminal, the command as well.
                    if self.at_terminal {
                        continue;
                    }
                    nix::sys::signal::Signal::SIGINT
                }
            };
            if let Some(pid) = pid {
                // One that has just ended is none to tell.
                let _ = nix::sys::signal::kill(nix::unistd::Pid::from_raw(pid), kind);
            }
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn wait(&mut self, mut child: Child) -> io::Result<ExitStatus> {
        child.wait().await
    }
}
