//! The store of a running proxy, or why there is none.

use std::path::PathBuf;
use std::sync::Arc;

use qcc_core::record::RecordSink;
use qcc_core::store::{self, OpenError, Sqlite, StateStore, Work};
use qcc_core::time::{self, Duration};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use tokio::time::timeout;

use super::describe;
use crate::config;
use crate::moment::{Anchor, Date};
use crate::output::{Exit, Failure};

/// So long the last writing may take when the proxy ends.
const LAST_FLUSH: Duration = Duration::from_secs(5);

/// So long an operator waits until a switch is written.
const KEEPING: Duration = Duration::from_secs(2);

/// What is behind the ring of the last records.
#[derive(Clone)]
pub(crate) enum Store {
    /// The configuration wants none.
    Off,
    /// There should be one.
    Missing {
        /// Its file.
        file: PathBuf,
        /// Why there is none.
        reason: Arc<str>,
    },
    /// There is one.
    Open(Arc<Open>),
}

/// An open store.
pub(crate) struct Open {
    pub(crate) sqlite: Sqlite,
    file: PathBuf,
}

/// How the store does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct StoreView {
    /// `open`, `failing`, `missing` or `off`.
    pub(crate) state: String,
    /// Its file.
    pub(crate) file: Option<String>,
    /// Why it is failing or missing.
    pub(crate) reason: Option<String>,
    /// Since when it is failing.
    pub(crate) since: Option<Date>,
    /// How many requests are in the log.
    pub(crate) requests: u64,
    /// How many bytes of the file are in use.
    pub(crate) size_bytes: u64,
    /// How many requests were written since the start.
    pub(crate) written: u64,
    /// How many wait to be written.
    pub(crate) pending: u64,
    /// How many were dropped since the start.
    pub(crate) lost: u64,
}

impl Store {
    /// Opens the store that `config` wants, with what is to be run beside it.
    ///
    /// # Errors
    ///
    /// It cannot be opened, and the configuration does not go on without it.
    pub(crate) async fn open(config: &config::Store) -> Result<(Self, Option<Work>), Failure> {
        if !config.enabled {
            return Ok((Self::Off, None));
        }
        let file = &config.path;
        let opened = match settings(config) {
            // Nobody means a folder of this name.
            _ if file.starts_with("~") => {
                let reason = "there is no home directory for `~`".to_owned();
                Err(OpenError::Unavailable(reason))
            }
            Ok(settings) => Sqlite::open(file, settings, describe).await,
            Err(error) => Err(OpenError::Unavailable(error.to_string())),
        };
        match opened {
            Ok((sqlite, work)) => {
                let status = sqlite.status();
                let shown = file.display();
                tracing::info!(file = %shown, requests = status.requests, "store: open");
                let open = Open {
                    sqlite,
                    file: file.clone(),
                };
                Ok((Self::Open(Arc::new(open)), Some(work)))
            }
            Err(error) if config.required => Err(Failure::new(
                Exit::Failure,
                format!(
                    "store.path: {}: {error}\n  {}\n  or go on without history: store.required: false",
                    file.display(),
                    remedy(&error)
                ),
            )),
            Err(error) => {
                tracing::error!(
                    "store.path: {}: {error}; going on without history: refused credentials and \
                     switches of this run will not be kept. {}",
                    file.display(),
                    remedy(&error)
                );
                let reason = error.to_string().into();
                let file = file.clone();
                Ok((Self::Missing { file, reason }, None))
            }
        }
    }

    /// Where the records of requests go.
    pub(crate) fn sink(&self) -> Option<Arc<dyn RecordSink>> {
        match self {
            Self::Open(open) => Some(Arc::new(open.sqlite.clone())),
            Self::Off | Self::Missing { .. } => None,
        }
    }

    /// Where the cluster of this name keeps what must survive a restart.
    pub(crate) fn cluster(&self, name: &Arc<str>) -> Option<Arc<dyn StateStore>> {
        match self {
            Self::Open(open) => Some(open.sqlite.cluster(name.clone())),
            Self::Off | Self::Missing { .. } => None,
        }
    }

    /// Ready when what an operator switched is written, or when that takes too long.
    pub(crate) async fn kept(&self) {
        if let Self::Open(open) = self {
            // What cannot be written yet is told by the status of the store.
            let _ = timeout(KEEPING, open.sqlite.flush()).await;
        }
    }

    /// Writes what waits, before the proxy ends.
    pub(crate) async fn flush(&self) {
        let Self::Open(open) = self else { return };
        let written = timeout(LAST_FLUSH, open.sqlite.flush()).await;
        let status = open.sqlite.status();
        let missing = status.pending + status.lost;
        if missing > 0 || !matches!(written, Ok(Ok(()))) {
            tracing::error!(
                missing,
                "store: requests of this run are missing in the history"
            );
        }
    }

    /// How it does at `now`.
    pub(crate) fn view(&self, now: Date) -> StoreView {
        let empty = |state: &str| StoreView {
            state: state.to_owned(),
            file: None,
            reason: None,
            since: None,
            requests: 0,
            size_bytes: 0,
            written: 0,
            pending: 0,
            lost: 0,
        };
        let open = match self {
            Self::Off => return empty("off"),
            Self::Missing { file, reason } => {
                return StoreView {
                    file: Some(file.display().to_string()),
                    reason: Some(reason.to_string()),
                    ..empty("missing")
                };
            }
            Self::Open(open) => open,
        };
        let status = open.sqlite.status();
        let anchor = Anchor {
            instant: time::now(),
            date: now,
        };
        let failing = status.failing.as_ref();
        StoreView {
            state: if failing.is_some() { "failing" } else { "open" }.to_owned(),
            file: Some(open.file.display().to_string()),
            reason: failing.map(|failing| failing.reason.clone()),
            since: failing.map(|failing| anchor.date_of(failing.since)),
            requests: status.requests,
            size_bytes: status.size,
            written: status.written,
            pending: status.pending,
            lost: status.lost,
        }
    }
}

fn settings(config: &config::Store) -> Result<store::Config, store::InvalidConfig> {
    store::Config::default()
        .with_retention(config.retention)?
        .with_max_size(config.max_size)
}

fn remedy(error: &OpenError) -> &'static str {
    match error {
        OpenError::Locked => "end the program that holds it, or name another file",
        OpenError::Corrupt(_) => {
            "it was left as it is: move it away to begin a new one, or restore a copy"
        }
        OpenError::Newer { .. } => "start the newer version, or name another file",
        OpenError::Foreign => "name another file",
        _ => "name a file in a folder that can be written",
    }
}
