//! Another configuration in the place of the one in force, in one step or not at all.
//!
//! The file is read and checked as a whole and everything that it describes is built, beside
//! what runs; only then the pointer is swapped. An endpoint that stays keeps its state. What was
//! begun before ends as it began: each answer holds the generation that it came from.

use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::background::Background;
use super::changes::{self, Change};
use super::{Generation, Running, Sinks};
use crate::config::{Config, Problems, Source};
use crate::output::Failure;

/// Reads the configuration anew, as it was read at the start.
pub(crate) type Load = Box<dyn Fn() -> Result<Config, Problems> + Send + Sync>;

/// Why a configuration is read again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// The file changed.
    File,
    /// SIGHUP.
    Signal,
    /// The admin API was asked to.
    Asked,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File => "the file changed",
            Self::Signal => "SIGHUP",
            Self::Asked => "asked over the admin API",
        })
    }
}

/// Reloads the configuration of a running proxy.
pub(crate) struct Reload {
    running: Arc<Running>,
    background: Arc<Background>,
    sinks: Sinks,
    load: Load,
    /// Two reloads at once could put the older configuration in force last.
    one_at_a_time: Mutex<()>,
}

impl Reload {
    pub(super) fn new(
        running: Arc<Running>,
        background: Arc<Background>,
        sinks: Sinks,
        load: Load,
    ) -> Self {
        Self {
            running,
            background,
            sinks,
            load,
            one_at_a_time: Mutex::new(()),
        }
    }

    /// The file that the configuration in force came from, if it came from one.
    pub(super) fn file(&self) -> Option<PathBuf> {
        match &self.running.current().config.source {
            Source::File(file) => Some(file.clone()),
            Source::Environment(_) => None,
        }
    }

    /// Reads the configuration and puts it in force. Returns what is different now. Blocks while
    /// it reads, so it does not belong on a thread that serves.
    ///
    /// # Errors
    ///
    /// The configuration cannot be read, is invalid, or cannot be built. The one before stays in
    /// force.
    pub(crate) fn reload(&self, cause: Cause) -> Result<Vec<Change>, Failure> {
        let _turn = self
            .one_at_a_time
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        let result = self.attempt(cause);
        match &result {
            Ok(changes) if cause == Cause::File && changes.is_empty() => {
                tracing::debug!("the file was written, its configuration is the same");
            }
            Ok(changes) => {
                for change in changes {
                    let needs_restart = change.needs_restart;
                    tracing::info!(needs_restart, "configuration: {change}");
                }
                tracing::info!(%cause, changes = changes.len(), "configuration reloaded");
            }
            Err(failure) => tracing::error!(
                %cause,
                "configuration not reloaded, the one before stays in force: {failure}"
            ),
        }
        result
    }

    fn attempt(&self, cause: Cause) -> Result<Vec<Change>, Failure> {
        let config = (self.load)()?;
        let before = self.running.current();
        let changes = changes::between(&before.config, &config);
        if cause == Cause::File && changes.is_empty() {
            return Ok(changes);
        }
        let generation = Generation::continuing(&before, config, &self.sinks)?;
        self.running.replace(generation);
        self.background.start(&self.running.current());
        Ok(changes)
    }
}
