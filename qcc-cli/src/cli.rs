//! The command line.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use clap_complete::Shell;

use crate::commands::{
    Ask, Operate, breaker, cluster, demo, doctor, endpoint, explain, init, logs, metrics, probe,
    queue, requests, run, session, simulate, store, token,
};
use crate::output::Exit;
use crate::telemetry::Format;

/// A local proxy that keeps LLM traffic flowing across many keys, accounts and relays.
#[derive(Debug, Parser)]
#[command(name = "qcc", version, after_help = after_help(), max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Command,
}

/// What every command understands.
#[derive(Clone, Debug, Args)]
pub(crate) struct Global {
    /// The configuration file; else QCC_CONFIG, else ~/.qcc/config.yaml
    #[arg(long, value_name = "FILE", global = true)]
    pub(crate) config: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// What to log: a level, or directives like info,qcc_core=debug; else QCC_LOG, else info
    #[arg(long, value_name = "LEVEL", global = true)]
    pub(crate) log: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", default_value = "human", global = true)]
    pub(crate) log_format: Format,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Write a configuration to begin with, made of the keys in the environment
    Init(init::Args),
    /// Start the proxy
    Serve(Serve),
    /// Start a proxy for one command, which finds it in its environment: qcc run -- claude
    Run(run::Args),
    /// See failover at work: simulated endpoints that fail in every way, and clients that notice
    /// nothing
    Demo(demo::Args),
    /// Serve fake upstreams with faults, to test against
    Simulate(simulate::Args),
    /// Look at the configuration
    #[command(subcommand)]
    Config(Config),
    /// Look at the clusters of the running proxy
    Cluster(Operate<cluster::What>),
    /// Look at the endpoints of the running proxy and operate them
    Endpoint(Operate<endpoint::What>),
    /// Look at the circuit breakers of the running proxy and close them
    Breaker(Operate<breaker::What>),
    /// Look at the queue of endpoints that failed, and check them now
    Queue(Operate<queue::What>),
    /// Check whether an endpoint really answers: a new code has to come back. Fails if one is
    /// invalid
    Probe(Ask<probe::Args>),
    /// Look at the sessions that are bound to endpoints, and unbind them
    Session(Operate<session::What>),
    /// See everything at a glance: requests, sessions, loads, and who is left out
    Stats(Ask<()>),
    /// Show the log file, filtered, or follow it as it grows
    Logs(logs::Args),
    /// Look at the tokens of pools, recover and check them
    Token(Operate<token::What>),
    /// Have the running proxy read its configuration again
    Refresh(Ask<()>),
    /// Look at what endpoints did over some time, and export it
    Metrics(Operate<metrics::What>),
    /// Look at the store of the running proxy
    Store(Operate<store::What>),
    /// List the last requests, newest first
    Requests(Ask<requests::Args>),
    /// Tell what became of a request, and why
    Explain(Ask<explain::Args>),
    /// Look for the cause of a failure, step by step
    Doctor(Ask<doctor::Args>),
    /// Print a script that completes commands and options in a shell
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Print the admin API as an OpenAPI document
    Openapi,
    /// Print the manual page
    #[command(hide = true)]
    Man,
}

/// The options of `serve`.
#[derive(Clone, Copy, Debug, Args)]
pub(crate) struct Serve {
    /// Listen on this port, in place of the configured one; 0 takes a free one
    #[arg(long, value_name = "N")]
    pub(crate) port: Option<u16>,
    /// Serve the admin API on this port, in place of the configured one; 0 takes a free one
    #[arg(long, value_name = "N")]
    pub(crate) admin_port: Option<u16>,
}

/// What to do with the configuration.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum Config {
    /// Print the effective configuration, with masked keys
    Show,
    /// Validate it and list duplicates
    Check,
    /// Print its JSON Schema, for editors
    Schema,
}

fn after_help() -> String {
    let mut text = "Exit codes:\n".to_owned();
    for (exit, meaning) in Exit::ALL {
        text.push_str(&format!("  {}  {meaning}\n", exit as u8));
    }
    text
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_contradicts_itself_nowhere() {
        Cli::command().debug_assert();
    }

    // CLI-01
    #[test]
    fn serve_takes_a_port_and_a_file() {
        let cli = Cli::try_parse_from(["qcc", "serve", "--port", "8081", "--config", "f"]).unwrap();
        assert_eq!(cli.global.config, Some(PathBuf::from("f")));
        assert!(matches!(
            cli.command,
            Command::Serve(Serve {
                port: Some(8081),
                admin_port: None
            })
        ));
        assert!(Cli::try_parse_from(["qcc", "serve", "--port", "70000"]).is_err());
    }

    #[test]
    fn the_help_lists_the_exit_codes() {
        let help = Cli::command().render_help().to_string();
        assert!(help.contains("3  the configuration is wrong"), "{help}");
    }
}
