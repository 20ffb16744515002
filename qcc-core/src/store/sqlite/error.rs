use std::io;

use sqlx::migrate::MigrateError;

/// Why a database cannot be used. The message does not name the file: whoever opens it knows
/// under which setting it was named.
///
/// Whatever it is, the file was not changed, moved or removed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The file or its folder cannot be made or opened.
    #[error("cannot be opened: {0}")]
    Unavailable(String),
    /// Another program holds it and did not let go in time.
    #[error("is locked by another program")]
    Locked,
    /// It is no database, or a damaged one.
    #[error("is damaged or no SQLite database: {0}")]
    Corrupt(String),
    /// It is a database of something else.
    #[error("is the database of another program")]
    Foreign,
    /// A newer version of this library wrote it.
    #[error(
        "was written by a newer version: its format is {found}, and this one knows up to {known}"
    )]
    Newer {
        /// Its format.
        found: i64,
        /// The newest format that this version knows.
        known: i64,
    },
}

impl From<io::Error> for OpenError {
    fn from(error: io::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// The primary result codes of SQLite that decide what to say.
const BUSY: i32 = 5;
const LOCKED: i32 = 6;
const CORRUPT: i32 = 11;
const NOT_A_DATABASE: i32 = 26;

impl From<sqlx::Error> for OpenError {
    fn from(error: sqlx::Error) -> Self {
        match primary_code(&error) {
            Some(BUSY | LOCKED) => Self::Locked,
            Some(CORRUPT | NOT_A_DATABASE) => Self::Corrupt(reason(&error)),
            _ => Self::Unavailable(reason(&error)),
        }
    }
}

impl From<MigrateError> for OpenError {
    fn from(error: MigrateError) -> Self {
        match error {
            MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
            // A migration that is not the one that was applied, or was applied by halves.
            other => Self::Corrupt(other.to_string()),
        }
    }
}

/// Why something cannot be read from a store.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// Nobody runs its [`Work`](super::Work): not yet, or no longer.
    #[error("the store is not ready: it has not started yet, or was stopped")]
    NotReady,
    /// The database does not answer.
    #[error("the database cannot be read: {0}")]
    Failed(String),
}

impl From<sqlx::Error> for ReadError {
    fn from(error: sqlx::Error) -> Self {
        Self::Failed(reason(&error))
    }
}

fn primary_code(error: &sqlx::Error) -> Option<i32> {
    let code = error.as_database_error()?.code()?;
    // The upper bits say which kind of it.
    code.parse::<i32>().ok().map(|code| code & 0xff)
}

/// What SQLite says, without what sqlx puts around it.
pub(super) fn reason(error: &sqlx::Error) -> String {
    match error {
        sqlx::Error::Database(error) => error.message().to_owned(),
        other => other.to_string(),
    }
}
