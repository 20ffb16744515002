//! What commands print: aligned tables for people, JSON for programs, and exit codes for both.
//!
//! Styles are always written; the stream removes them where it is no terminal.

mod table;

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use anstyle::{AnsiColor, Style};
use serde::Serialize;

pub(crate) use table::{Align, Cell, Table};

/// How a command ended. The codes are part of the interface: see `qcc --help`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    /// Done.
    Success = 0,
    /// Something failed that has no code of its own.
    Failure = 1,
    /// The command line is wrong. clap answers this itself.
    Usage = 2,
    /// The configuration is wrong or missing.
    Config = 3,
    /// An address cannot be listened on.
    Listen = 4,
    /// No proxy runs at the admin address.
    NotRunning = 5,
    /// There is no cluster, endpoint, session, request or token of that name.
    Unknown = 6,
}

impl Exit {
    /// Every code with what it means, for the help.
    pub(crate) const ALL: [(Self, &'static str); 7] = [
        (Self::Success, "done"),
        (Self::Failure, "failed"),
        (Self::Usage, "the command line is wrong"),
        (Self::Config, "the configuration is wrong or missing"),
        (Self::Listen, "the address cannot be listened on"),
        (Self::NotRunning, "the proxy does not run"),
        (
            Self::Unknown,
            "no cluster, endpoint, session, request or token has that name",
        ),
    ];
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit as u8)
    }
}

/// Why a command failed, in words that say what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    /// The exit code.
    pub(crate) exit: Exit,
    /// What went wrong and what to do.
    pub(crate) message: String,
}

impl Failure {
    /// A failure with this code and message.
    pub(crate) fn new(exit: Exit, message: impl Into<String>) -> Self {
        Self {
            exit,
            message: message.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.message)
    }
}

impl std::error::Error for Failure {}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::new(Exit::Failure, error.to_string())
    }
}

impl From<crate::config::Problems> for Failure {
    fn from(problems: crate::config::Problems) -> Self {
        Self::new(Exit::Config, problems.to_string())
    }
}

/// For headings and names.
pub(crate) const STRONG: Style = Style::new().bold();
/// For what is well.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default();
/// For what wants attention.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default();
/// For what is wrong.
pub(crate) const BAD: Style = AnsiColor::Red.on_default();
/// For what is less important.
pub(crate) const DIM: Style = Style::new().dimmed();

/// `text` in `style`.
pub(crate) fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// Where a command prints to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Output {
    json: bool,
}

impl Output {
    /// Prints for programs if `json`, else for people.
    pub(crate) const fn new(json: bool) -> Self {
        Self { json }
    }

    /// Whether programs read it.
    pub(crate) const fn is_json(self) -> bool {
        self.json
    }

    /// Prints `value` as JSON, or what `human` writes.
    ///
    /// # Errors
    ///
    /// What the stream reports. A reader that closed the pipe has seen enough, which is none.
    pub(crate) fn show<T: Serialize>(
        self,
        value: &T,
        human: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut stream = anstream::stdout().lock();
        let written = if self.json {
            write_json(&mut stream, value)
        } else {
            human(&mut stream)
        };
        match written.and_then(|()| stream.flush()) {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
            result => result,
        }
    }

    /// Tells on standard error why a command failed.
    pub(crate) fn failure(self, failure: &Failure) {
        let mut stream = anstream::stderr().lock();
        // Nobody is left to be told if this fails.
        let _ = if self.json {
            let code = failure.exit as u8;
            let error = serde_json::json!({ "message": failure.message, "exit_code": code });
            write_json(&mut stream, &serde_json::json!({ "error": error }))
        } else {
            writeln!(stream, "{} {failure}", styled(BAD.bold(), "error:"))
        };
    }

    /// Tells on standard error what should be seen to, though the command goes on.
    pub(crate) fn warning(self, what: impl fmt::Display) {
        let mut stream = anstream::stderr().lock();
        // Nobody is left to be told if this fails.
        let _ = if self.json {
            write_json(
                &mut stream,
                &serde_json::json!({ "warning": what.to_string() }),
            )
        } else {
            writeln!(stream, "{} {what}", styled(WARN.bold(), "warning:"))
        };
    }
}

fn write_json<T: Serialize>(stream: &mut impl Write, value: &T) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut *stream, value)?;
    writeln!(stream)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_exit_code_is_listed_once_under_its_number() {
        for (number, (exit, _)) in Exit::ALL.iter().enumerate() {
            assert_eq!(*exit as usize, number);
        }
    }
}
