//! What is wrong with a configuration, in words that lead to the remedy.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A place in the file, both from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub(crate) struct Position {
    /// The line.
    pub(crate) line: u64,
    /// The column.
    pub(crate) column: u64,
}

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problem {
    /// Where, if it is about a place in the file.
    #[serde(flatten)]
    pub(crate) at: Option<Position>,
    /// The key, like `clusters.claude.endpoints[0].weight`; empty for the file as a whole.
    pub(crate) key: String,
    /// What is wrong. Never contains a value.
    pub(crate) reason: String,
    /// What to do.
    pub(crate) remedy: String,
}

impl Problem {
    /// Something that is wrong at `at` with `key`.
    pub(crate) fn new(
        at: impl Into<Option<Position>>,
        key: impl Into<String>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            at: at.into(),
            key: key.into(),
            reason: reason.into(),
            remedy: remedy.into(),
        }
    }
}

/// Everything that is wrong with one configuration, or odd about it, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Problems {
    /// The file; `None` for a configuration out of the environment.
    pub(crate) file: Option<PathBuf>,
    /// If something is wrong, at least one.
    pub(crate) problems: Vec<Problem>,
}

impl Problems {
    /// What is wrong with `file`.
    pub(crate) fn new(file: Option<&Path>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.at);
        Self {
            file: file.map(Path::to_owned),
            problems,
        }
    }
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, problem) in self.problems.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            if let Some(file) = &self.file {
                write!(f, "{}", file.display())?;
                if let Some(Position { line, column }) = problem.at {
                    write!(f, ":{line}:{column}")?;
                }
                f.write_str(": ")?;
            }
            if !problem.key.is_empty() {
                write!(f, "{}: ", problem.key)?;
            }
            write!(f, "{}\n  {}", problem.reason, problem.remedy)?;
        }
        Ok(())
    }
}

impl std::error::Error for Problems {}
