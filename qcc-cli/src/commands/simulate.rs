//! `qcc simulate`.

use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::str::FromStr;

use qcc_core::simulate::{Script, Simulator};
use serde::Serialize;

use crate::cli::Global;
use crate::config::Environment;
use crate::output::{Align, Cell, DIM, Exit, Failure, Output, STRONG, Table, styled};
use crate::shutdown;
use crate::simulator::{self, BEHAVIOURS, InvalidScript, SimulatorServer, parse_script};
use crate::telemetry;

/// The port after those of the proxy and its admin API.
const PORT: u16 = 7862;

/// The options of `simulate`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// Listen on this port of 127.0.0.1; 0 takes a free one
    #[arg(long, value_name = "N", default_value_t = PORT)]
    port: u16,
    /// An endpoint and what it does, like a=status:503; repeat it for several
    #[arg(long = "endpoint", value_name = "NAME=BEHAVIOUR")]
    endpoints: Vec<Named>,
    /// Into so many pieces the text of a streamed answer is cut; 3 without it
    #[arg(long, value_name = "N")]
    deltas: Option<usize>,
    /// What a good answer says; it names the endpoint without it
    #[arg(long, value_name = "TEXT")]
    text: Option<String>,
    /// Give the first answer to each path again to every later request: fast, for measuring proxies
    #[arg(long)]
    replay: bool,
    /// List what an endpoint can do, and exit
    #[arg(long)]
    list: bool,
}

impl Args {
    /// `script` with what the answers of all endpoints have in common.
    fn said(&self, mut script: Script) -> Script {
        if let Some(deltas) = self.deltas {
            script = script.with_deltas(deltas);
        }
        if let Some(text) = &self.text {
            script = script.with_text(text.as_str());
        }
        script
    }
}

/// An endpoint and what it does.
#[derive(Clone, Debug)]
struct Named {
    name: String,
    text: String,
    script: Script,
}

/// A text that names no endpoint, or nothing that one can do.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
enum InvalidEndpoint {
    #[error("write it like NAME=BEHAVIOUR")]
    Form,
    #[error("`{0}` cannot be the name of an endpoint; use letters, digits and . _ -")]
    Name(String),
    #[error("{0}; see qcc simulate --list")]
    Script(#[from] InvalidScript),
}

impl FromStr for Named {
    type Err = InvalidEndpoint;

    fn from_str(text: &str) -> Result<Self, InvalidEndpoint> {
        let (name, text) = text.split_once('=').ok_or(InvalidEndpoint::Form)?;
        if !simulator::is_name(name) {
            return Err(InvalidEndpoint::Name(name.to_owned()));
        }
        Ok(Self {
            name: name.to_owned(),
            text: text.to_owned(),
            script: parse_script(text)?,
        })
    }
}

/// Runs the command, until a signal ends it.
///
/// # Errors
///
/// The port cannot be listened on, or logging cannot start.
pub(super) fn run(
    args: &Args,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Failure> {
    let output = Output::new(global.json);
    if args.list {
        list(output)?;
        return Ok(Exit::Success);
    }
    let level = global.log.as_deref().or_else(|| environment.get("QCC_LOG"));
    let _logging = telemetry::init(level, global.log_format, None)?;
    tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?
        .block_on(simulate(args, output))
}

async fn simulate(args: &Args, output: Output) -> Result<Exit, Failure> {
    let simulator = args
        .endpoints
        .iter()
        .fold(Simulator::new(), |simulator, named| {
            simulator.endpoint(named.name.as_str(), args.said(named.script.clone()))
        });
    let phases = shutdown::on_signals()?;
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, args.port));
    let server = SimulatorServer::bind(address, simulator)
        .await?
        .replaying(args.replay);
    let started = Started::new(server.address()?, &args.endpoints);
    output.show(&started, |stream| started.write(stream))?;
    server.run(phases).await;
    tracing::info!("stopped");
    Ok(Exit::Success)
}

#[derive(Serialize)]
struct Listed {
    behaviour: &'static str,
    meaning: &'static str,
}

fn list(output: Output) -> io::Result<()> {
    let all = BEHAVIOURS.map(|(behaviour, meaning)| Listed { behaviour, meaning });
    output.show(&all, |stream| {
        let mut table = Table::new(&[("BEHAVIOUR", Align::Left), ("MEANING", Align::Left)]);
        for Listed { behaviour, meaning } in &all {
            table.row([Cell::styled(STRONG, behaviour), Cell::from(meaning)]);
        }
        write!(stream, "{table}")
    })
}

/// What was started.
#[derive(Serialize)]
struct Started {
    listen: SocketAddr,
    endpoints: Vec<Endpoint>,
}

#[derive(Serialize)]
struct Endpoint {
    name: String,
    base_url: String,
    behaviour: String,
}

impl Started {
    fn new(listen: SocketAddr, endpoints: &[Named]) -> Self {
        let endpoint = |name: &str, path: &str, behaviour: &str| Endpoint {
            name: name.to_owned(),
            base_url: format!("http://{listen}{path}"),
            behaviour: behaviour.to_owned(),
        };
        let rest = (!endpoints.iter().any(|one| one.name == Simulator::DEFAULT))
            .then(|| endpoint(Simulator::DEFAULT, "", "ok"));
        let endpoints = endpoints
            .iter()
            .map(|one| endpoint(&one.name, &format!("/{}", one.name), &one.text))
            .chain(rest)
            .collect();
        Self { listen, endpoints }
    }

    /// The first line is for scripts, too: where the simulator listens.
    fn write(&self, stream: &mut dyn Write) -> io::Result<()> {
        writeln!(stream, "listening on http://{}\n", self.listen)?;
        let mut table = Table::new(&[
            ("ENDPOINT", Align::Left),
            ("BASE URL", Align::Left),
            ("BEHAVIOUR", Align::Left),
        ]);
        for endpoint in &self.endpoints {
            table.row([
                Cell::styled(STRONG, &endpoint.name),
                Cell::from(&endpoint.base_url),
                Cell::from(&endpoint.behaviour),
            ]);
        }
        let note = format!(
            "change one with curl -d html http://{}/_simulate/NAME, see counts at /_simulate",
            self.listen
        );
        writeln!(stream, "{table}\n{}", styled(DIM, note))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SIM-01
    #[test]
    fn an_endpoint_is_a_name_and_what_it_does() {
        let named: Named = "a=status:429;retry-after=7".parse().unwrap();
        assert_eq!(
            (&*named.name, &*named.text),
            ("a", "status:429;retry-after=7")
        );
        for (text, expected) in [
            ("a", InvalidEndpoint::Form.to_string()),
            (
                "a/b=ok",
                InvalidEndpoint::Name("a/b".to_owned()).to_string(),
            ),
            ("_simulate=ok", "`_simulate` cannot be".to_owned()),
            ("a=odd", "see qcc simulate --list".to_owned()),
        ] {
            let error = text.parse::<Named>().unwrap_err().to_string();
            assert!(error.contains(&expected), "{error}");
        }
    }

    // SIM-01
    #[test]
    fn the_first_line_says_where_it_listens() {
        let endpoints = ["a=reset".parse().unwrap(), "b=ok".parse().unwrap()];
        let started = Started::new("127.0.0.1:4711".parse().unwrap(), &endpoints);
        let mut text = Vec::new();
        started.write(&mut text).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert!(
            text.starts_with("listening on http://127.0.0.1:4711\n"),
            "{text}"
        );
        assert!(text.contains("http://127.0.0.1:4711/a"), "{text}");
    }
}
