//! Logs: one line for each finished request, and what the layers say.

mod file;
mod human;
mod json;
mod lines;
mod plain;
mod stamp;

use std::fmt;
use std::io::{IsTerminal as _, Stderr, Write};
use std::sync::Arc;

use clap::ValueEnum;
use qcc_core::record::{Answer, Fate, Record, RecordSink, SendResult};
use qcc_core::time::Duration;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Layer, Registry, fmt as log_lines};

use crate::config::Log;
use crate::output::{Exit, Failure};

pub(crate) use file::generations;
use file_rotate::FileRotate;
use file_rotate::suffix::AppendCount;
use human::Human;
use lines::{End, Lines};
use plain::Plain;

/// How log lines look.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// For people; with colours on a terminal.
    #[default]
    Human,
    /// One JSON object a line.
    Json,
}

/// What is logged if nobody says otherwise. The HTTP libraries below speak of every connection.
const LEVEL: &str = "info,hyper=warn,hyper_util=warn,h2=warn,reqwest=warn";

/// What ends logging when it is dropped: lines that wait are written.
#[must_use = "log lines wait in memory until it is dropped"]
pub(crate) struct Logging {
    _stderr: Option<End<Stderr>>,
    _file: Option<End<FileRotate<AppendCount>>>,
}

/// A place that log lines go to, with its own idea of what is worth a line.
type Place = Box<dyn Layer<Registry> + Send + Sync>;

/// Sends log lines to standard error, and to the file of `log` if there is one, until what it
/// gives is dropped. `level` is a level, or directives like `info,qcc_core=debug`; the file has a
/// level of its own.
///
/// # Errors
///
/// `level` is neither, or the file cannot be written.
pub(crate) fn init(
    level: Option<&str>,
    format: Format,
    log: Option<&Log>,
) -> Result<Logging, Failure> {
    let (stderr, stderr_end) = to_stderr(level, format)?;
    let mut places = vec![stderr];
    let mut file_end = None;
    if let Some(log) = log {
        let (file, end) = to_file(log)?;
        places.push(file);
        file_end = Some(end);
    }
    let set = tracing_subscriber::registry().with(places).try_init();
    set.map_err(failure).map(|()| Logging {
        _stderr: stderr_end,
        _file: file_end,
    })
}

fn to_stderr(level: Option<&str>, format: Format) -> Result<(Place, Option<End<Stderr>>), Failure> {
    let filter = filter(level)?;
    let is_terminal = std::io::stderr().is_terminal();
    let ansi = is_terminal
        && anstream::AutoStream::choice(&std::io::stderr()) != anstream::ColorChoice::Never;
    let layer = log_lines::layer().with_ansi(ansi);
    if is_terminal {
        // Somebody looks, and line by line is how to look at it.
        let layer = layer.with_writer(std::io::stderr);
        let place: Place = match format {
            Format::Human => layer.with_filter(filter).boxed(),
            Format::Json => layer.json().flatten_event(true).with_filter(filter).boxed(),
        };
        return Ok((place, None));
    }
    let (lines, end) = Lines::new(std::io::stderr())?;
    let place = match format {
        Format::Human => {
            let in_spans = layer.with_writer(lines.clone()).fmt_fields(Human);
            let plain = Plain::new(human::write, lines, in_spans);
            plain.with_filter(filter).boxed()
        }
        Format::Json => as_json(lines, filter),
    };
    Ok((place, Some(end)))
}

fn as_json<W: Write + Send + 'static>(lines: Lines<W>, filter: EnvFilter) -> Place {
    let in_spans = log_lines::layer().with_ansi(false);
    let in_spans = in_spans
        .with_writer(lines.clone())
        .json()
        .flatten_event(true);
    let plain = Plain::new(json::write, lines, in_spans);
    plain.with_filter(filter).boxed()
}

fn to_file(log: &Log) -> Result<(Place, End<FileRotate<AppendCount>>), Failure> {
    let file = file::open(log).map_err(|error| {
        let message = format!(
            "the log file {} cannot be written: {error}\n  \
             name another one in log.file of the configuration",
            log.file.display()
        );
        Failure::new(Exit::Config, message)
    })?;
    let (lines, end) = Lines::new(file)?;
    Ok((as_json(lines, filter(Some(log.level))?), end))
}

fn failure(error: impl fmt::Display) -> Failure {
    Failure::new(Exit::Failure, format!("logging cannot start: {error}"))
}

fn filter(level: Option<&str>) -> Result<EnvFilter, Failure> {
    let directives = match level {
        None => LEVEL.to_owned(),
        // A bare level is for our own lines; directives say what they mean.
        Some(level) if !level.contains(['=', ',']) => {
            let quiet = LEVEL.split_once(',').map_or("", |(_, quiet)| quiet);
            format!("{level},{quiet}")
        }
        Some(directives) => directives.to_owned(),
    };
    EnvFilter::try_new(directives).map_err(|error| {
        let message = format!(
            "the log level is not understood ({error})\n  \
             write error, warn, info, debug or trace, or directives like info,qcc_core=debug"
        );
        Failure::new(Exit::Usage, message)
    })
}

/// Logs one line for each finished request. The failures on the way are logged by the layers
/// that met them, when they met them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestLog;

impl RecordSink for RequestLog {
    fn finished(&self, record: Arc<Record>) {
        let line = RequestLine(&record);
        let endpoint = record.endpoint();
        let id = endpoint.map(|endpoint| tracing::field::display(endpoint.id()));
        let url = endpoint.map(|endpoint| tracing::field::display(endpoint.base_url()));
        tracing::info!(
            target: "qcc::request",
            message = line.outcome(),
            request_id = %record.id,
            user_id = record.client.as_deref(),
            cluster = record.cluster.as_deref(),
            dialect = record.dialect.map(tracing::field::display),
            model = record.model.as_deref(),
            session = record.session.map(tracing::field::display),
            affinity = line.affinity(),
            endpoint_id = id,
            endpoint_url = url,
            attempts = record.attempts(),
            status = line.status(),
            ms = %Millis(record.duration),
            failures = line.failures().map(tracing::field::display),
        );
    }
}

/// What the line of a request says.
struct RequestLine<'r>(&'r Record);

impl RequestLine<'_> {
    fn outcome(&self) -> &'static str {
        match self.0.answer {
            Answer::Relayed { .. } => "answered",
            Answer::Interrupted { .. } => "interrupted",
            Answer::Failed(_) => "failed",
            Answer::Canceled => "canceled by the client",
            _ => "ended",
        }
    }

    /// What the binding of its session had to do with the endpoint, if anything.
    fn affinity(&self) -> Option<&'static str> {
        let preference = self.0.visits.last()?.preference?;
        (preference == Fate::Honoured).then_some("using session-bound endpoint")
    }

    fn status(&self) -> Option<u16> {
        match self.0.answer {
            Answer::Relayed { status } | Answer::Interrupted { status, .. } => {
                Some(status.as_u16())
            }
            _ => None,
        }
    }

    /// The sends that failed, if any.
    fn failures(&self) -> Option<String> {
        use fmt::Write as _;
        let mut text = String::new();
        for (endpoint, send) in self.0.sends() {
            let kind = match send.result {
                SendResult::Failed { verdict, .. } | SendResult::Broken(verdict) => verdict.kind,
                _ => continue,
            };
            let separator = if text.is_empty() { "" } else { ", " };
            let id = endpoint.map_or_else(|| "-".to_owned(), |endpoint| endpoint.id().to_string());
            let _ = write!(text, "{separator}{id} {kind}");
            if let Some(status) = send.status {
                let _ = write!(text, " {}", status.as_u16());
            }
            let _ = write!(text, " {}ms", Millis(send.duration));
        }
        (!text.is_empty()).then_some(text)
    }
}

/// A duration in milliseconds with 2 decimals.
struct Millis(Duration);

impl fmt::Display for Millis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In whole numbers: to write a float takes far longer.
        let micros = u64::try_from(self.0.as_micros()).unwrap_or(u64::MAX - 5);
        let hundredths = (micros + 5) / 10;
        let (mut whole, mut rest) = (itoa::Buffer::new(), itoa::Buffer::new());
        f.write_str(whole.format(hundredths / 100))?;
        f.write_str(".")?;
        // The first of three digits keeps the zero of the others.
        f.write_str(&rest.format(100 + hundredths % 100)[1..])
    }
}

#[cfg(test)]
mod tests {
    use qcc_core::exchange::RequestId;
    use qcc_core::record::VisitRecord;
    use qcc_core::time::SystemTime;

    use super::*;

    // AFF-01
    #[test]
    fn the_line_of_a_request_says_whether_its_session_chose_the_endpoint() {
        let mut record = Record::new(RequestId::random(), SystemTime::UNIX_EPOCH);
        let mut visited = |preference| {
            let mut visit = VisitRecord::new(Duration::ZERO);
            visit.preference = preference;
            record.visits.push(visit);
            RequestLine(&record).affinity()
        };
        let chosen = Some("using session-bound endpoint");
        assert_eq!(visited(None), None);
        assert_eq!(visited(Some(Fate::Honoured)), chosen);
        // Then the request went on to another one.
        assert_eq!(visited(Some(Fate::Gone)), None);
    }

    // OPS-09
    #[test]
    fn milliseconds_have_two_decimals() {
        assert_eq!(Millis(Duration::from_micros(12_345)).to_string(), "12.35");
        assert_eq!(Millis(Duration::from_secs(2)).to_string(), "2000.00");
    }

    #[test]
    fn a_bare_level_keeps_the_libraries_below_quiet() {
        let text = filter(Some("debug")).unwrap().to_string();
        assert!(
            text.contains("debug") && text.contains("hyper=warn"),
            "{text}"
        );
        let text = filter(Some("info,hyper=trace")).unwrap().to_string();
        assert!(text.contains("hyper=trace"), "{text}");
        assert_eq!(filter(Some("info,a=loud")).unwrap_err().exit, Exit::Usage);
    }
}
