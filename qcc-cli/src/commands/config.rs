//! `qcc config show`, `qcc config check` and `qcc config schema`.

use std::io::{self, Write};

use serde::Serialize;

use crate::cli::{self, Global};
use crate::config::{self, Config, Duplicate, Environment, Problem, Problems, Shown, Source};
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, GOOD, Output, Table, WARN, styled};
use qcc_core::token::Tier;

/// Runs the command.
pub(super) fn run(
    what: cli::Config,
    global: &Global,
    environment: &Environment,
) -> Result<Exit, Failure> {
    let output = Output::new(global.json);
    match what {
        cli::Config::Show => show(output, global, environment),
        cli::Config::Check => check(output, global, environment),
        cli::Config::Schema => schema(),
    }
}

fn show(output: Output, global: &Global, environment: &Environment) -> Result<Exit, Failure> {
    let config = config::load(global.config.as_deref(), environment)?;
    output.show(&Shown::of(&config), |stream| {
        writeln!(
            stream,
            "{}",
            styled(DIM, format_args!("# {}", source(&config)))
        )?;
        let text = serde_saphyr::to_string(&Shown::of(&config)).map_err(io::Error::other)?;
        stream.write_all(text.as_bytes())
    })?;
    Ok(Exit::Success)
}

/// Prints the schema, which is JSON for people and programs alike.
fn schema() -> Result<Exit, Failure> {
    Output::new(true).show(&config::schema(), |_| Ok(()))?;
    Ok(Exit::Success)
}

/// What a check found, for programs.
#[derive(Serialize)]
struct Report {
    valid: bool,
    source: Option<String>,
    problems: Vec<Problem>,
    warnings: Vec<Problem>,
    duplicates: Vec<Duplicate>,
    endpoints: Vec<Row>,
}

/// An endpoint of the summary.
#[derive(Serialize)]
struct Row {
    cluster: String,
    endpoint: String,
    id: String,
    kind: Option<&'static str>,
    base_url: String,
    /// The end of its key, or how many tokens there are.
    api_key: String,
    tokens: Option<Tokens>,
    priority: u32,
    weight: u32,
    enabled: bool,
}

/// How many tokens a pool has.
#[derive(Serialize)]
struct Tokens {
    personal: usize,
    shared: usize,
    anonymous: usize,
}

impl From<&config::Tokens> for Tokens {
    fn from(tokens: &config::Tokens) -> Self {
        Self {
            personal: tokens.of(Tier::Personal).count(),
            shared: tokens.of(Tier::Shared).count(),
            anonymous: tokens.of(Tier::Anonymous).count(),
        }
    }
}

fn check(output: Output, global: &Global, environment: &Environment) -> Result<Exit, Failure> {
    let report = match config::load(global.config.as_deref(), environment) {
        Ok(config) => Report {
            valid: true,
            source: Some(source(&config)),
            problems: Vec::new(),
            warnings: config.warnings.problems.clone(),
            duplicates: config.duplicates(),
            endpoints: rows(&config),
        },
        Err(problems) if output.is_json() => Report {
            valid: false,
            source: problems.file.map(|file| file.display().to_string()),
            problems: problems.problems,
            warnings: Vec::new(),
            duplicates: Vec::new(),
            endpoints: Vec::new(),
        },
        Err(problems) => {
            let count = problems.problems.len();
            let s = if count == 1 { "" } else { "s" };
            let message = format!("{count} problem{s}\n{problems}");
            return Err(Failure::new(Exit::Config, message));
        }
    };
    output.show(&report, |stream| report.write(stream))?;
    Ok(if report.valid {
        Exit::Success
    } else {
        Exit::Config
    })
}

impl Report {
    fn write(&self, stream: &mut dyn Write) -> io::Result<()> {
        let source = self.source.as_deref().unwrap_or_default();
        writeln!(stream, "{} {source}\n", styled(GOOD.bold(), "valid:"))?;
        let mut table = Table::new(&[
            ("CLUSTER", Align::Left),
            ("ENDPOINT", Align::Left),
            ("ID", Align::Left),
            ("KIND", Align::Left),
            ("KEY", Align::Left),
            ("PRIO", Align::Right),
            ("WEIGHT", Align::Right),
            ("URL", Align::Left),
        ]);
        for row in &self.endpoints {
            let name = if row.enabled {
                Cell::from(&row.endpoint)
            } else {
                Cell::styled(BAD, format_args!("{} (off)", row.endpoint))
            };
            table.row([
                Cell::from(&row.cluster),
                name,
                Cell::styled(DIM, &row.id),
                Cell::from(row.kind.unwrap_or("any")),
                Cell::from(&row.api_key),
                Cell::from(row.priority),
                Cell::from(row.weight),
                Cell::from(&row.base_url),
            ]);
        }
        write!(stream, "{table}")?;
        let pools = self
            .endpoints
            .iter()
            .filter_map(|row| Some((row, row.tokens.as_ref()?)));
        for (row, tokens) in pools {
            writeln!(
                stream,
                "\n{}/{}: {} personal, {} shared, {} anonymous",
                row.cluster, row.endpoint, tokens.personal, tokens.shared, tokens.anonymous
            )?;
        }
        if !self.warnings.is_empty() {
            let warnings = Problems {
                file: None,
                problems: self.warnings.clone(),
            };
            writeln!(stream, "\n{}\n{warnings}", styled(WARN.bold(), "warnings:"))?;
        }
        for duplicate in &self.duplicates {
            let Duplicate {
                id, first, again, ..
            } = duplicate;
            let what = if duplicate.dropped {
                "is dropped"
            } else {
                "has a state of its own there"
            };
            let warning = styled(WARN.bold(), "duplicate:");
            writeln!(
                stream,
                "\n{warning} {again} is the same endpoint as {first} ({id})"
            )?;
            writeln!(
                stream,
                "  address and key are equal; the second entry {what}"
            )?;
        }
        Ok(())
    }
}

fn rows(config: &Config) -> Vec<Row> {
    config
        .clusters
        .iter()
        .flat_map(|cluster| {
            cluster.endpoints.iter().map(|endpoint| Row {
                cluster: cluster.name.to_string(),
                endpoint: endpoint.name().to_string(),
                id: endpoint.id().to_string(),
                kind: endpoint.api().map(|api| api.as_str()),
                base_url: endpoint.base_url().to_string(),
                api_key: cluster.shown_key(endpoint),
                tokens: cluster.tokens.get(&endpoint.id()).map(Tokens::from),
                priority: endpoint.priority(),
                weight: endpoint.weight(),
                enabled: endpoint.enabled(),
            })
        })
        .collect()
}

/// Where `config` comes from, for people.
pub(super) fn source(config: &Config) -> String {
    match &config.source {
        Source::File(path) => path.display().to_string(),
        Source::Environment(names) => format!("no file; made from {}", names.join(", ")),
    }
}
