//! Opening a database: nothing of a file that is not ours is changed.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::Path;
use std::sync::Arc;

use http::StatusCode;
use sqlx::migrate::{Migration, MigrationType, Migrator};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlSafeStr as _, SqliteConnection};

use super::config::Config;
use super::error::OpenError;
use super::rows;
use super::standings::{Key, MOST};
use crate::endpoint::EndpointId;
use crate::standing::{Refusal, Standing};

/// Each format with what leads to it from the one before. A step that was released is never
/// changed: the database remembers its digest.
const MIGRATIONS: [(&str, &str); 2] = [
    ("history", include_str!("migrations/0001_history.sql")),
    ("requests", include_str!("migrations/0002_requests.sql")),
];

/// `PRAGMA application_id` of our databases: `qcc\1`.
const OURS: i64 = 0x7163_6301;

/// What the first bytes of every SQLite database are.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Up to this size the whole file is looked through at the start, which takes about 0.1 s.
const CHECKED: u64 = 64 << 20;

/// The WAL is cut back to this size.
const WAL: &str = "16777216";

/// An open database.
pub(super) struct Opened {
    pub(super) writer: SqliteConnection,
    pub(super) reader: SqliteConnection,
    pub(super) standings: HashMap<Key, Standing>,
    pub(super) requests: u64,
    pub(super) size: u64,
}

pub(super) async fn open(path: &Path, config: &Config) -> Result<Opened, OpenError> {
    make(path)?;
    check_magic(path)?;
    let options = SqliteConnectOptions::new()
        .filename(path)
        .busy_timeout(config.patience())
        .pragma("journal_size_limit", WAL)
        // What is written is there after a power failure, too.
        .synchronous(SqliteSynchronous::Full)
        .thread_name(|number| format!("qcc-store-{number}"));
    // First as the file is: the journal mode of a stranger's database is not ours to change.
    let mut plain = options.clone().connect().await?;
    check(&mut plain, path).await?;
    drop(plain);
    let mut writer = options
        .clone()
        .journal_mode(SqliteJournalMode::Wal)
        .connect()
        .await?;
    migrator().run_direct(None, &mut writer, false).await?;
    let standings = standings(&mut writer).await?;
    let (requests,): (i64,) = sqlx::query_as("SELECT count(*) FROM request_logs")
        .fetch_one(&mut writer)
        .await?;
    let size = rows::size(&mut writer).await?;
    let reader = options.pragma("query_only", "ON").connect().await?;
    Ok(Opened {
        writer,
        reader,
        standings,
        requests: u64::try_from(requests).unwrap_or(0),
        size,
    })
}

/// Makes the file and its folder, for their owner only, where there are none.
fn make(path: &Path) -> io::Result<()> {
    if let Some(folder) = path.parent()
        && !folder.as_os_str().is_empty()
    {
        let mut builder = std::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
        builder.create(folder)?;
    }
    let mut options = File::options();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    match options.open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

fn check_magic(path: &Path) -> Result<(), OpenError> {
    let mut head = Vec::new();
    let head_len = MAGIC.len() as u64;
    File::open(path)?.take(head_len).read_to_end(&mut head)?;
    if head.is_empty() || head == MAGIC {
        return Ok(());
    }
    Err(OpenError::Corrupt(
        "it does not begin as databases do".to_owned(),
    ))
}

/// Whether the database is ours, whole, and not newer than this program.
async fn check(database: &mut SqliteConnection, path: &Path) -> Result<(), OpenError> {
    let (owner,): (i64,) = sqlx::query_as("PRAGMA application_id")
        .fetch_one(&mut *database)
        .await?;
    let (tables,): (i64,) = sqlx::query_as("SELECT count(*) FROM sqlite_schema")
        .fetch_one(&mut *database)
        .await?;
    match (owner, tables) {
        (OURS, _) => {}
        (0, 0) => return Ok(()),
        _ => return Err(OpenError::Foreign),
    }
    let (found,): (Option<i64>,) = sqlx::query_as("SELECT max(version) FROM _sqlx_migrations")
        .fetch_one(&mut *database)
        .await?;
    let (found, known) = (found.unwrap_or(0), MIGRATIONS.len() as i64);
    if found > known {
        return Err(OpenError::Newer { found, known });
    }
    if path.metadata()?.len() <= CHECKED {
        let (verdict,): (String,) = sqlx::query_as("PRAGMA quick_check(1)")
            .fetch_one(&mut *database)
            .await?;
        if verdict != "ok" {
            return Err(OpenError::Corrupt(verdict));
        }
    }
    Ok(())
}

fn migrator() -> Migrator {
    let migrations = MIGRATIONS.iter().zip(1..).map(|((name, sql), version)| {
        let sql = sql.into_sql_str();
        Migration::new(version, (*name).into(), MigrationType::Simple, sql, false)
    });
    Migrator::with_migrations(migrations.collect())
}

type StandingRow = (
    String,
    Vec<u8>,
    bool,
    bool,
    Option<i64>,
    Option<i64>,
    Option<String>,
);

async fn standings(database: &mut SqliteConnection) -> Result<HashMap<Key, Standing>, OpenError> {
    let rows: Vec<StandingRow> = sqlx::query_as(
        "SELECT cluster, endpoint_id, wanted, configured, refused_at, refused_status, \
         refused_request FROM endpoint_state ORDER BY saved_at DESC LIMIT ?1",
    )
    .bind(MOST as i64)
    .fetch_all(database)
    .await?;
    rows.into_iter()
        .map(
            |(cluster, id, wanted, configured, since, status, request)| {
                let id = <[u8; 16]>::try_from(id).map_err(|_| {
                    OpenError::Corrupt("the id of an endpoint has not 16 bytes".to_owned())
                })?;
                let mut standing = Standing::new(wanted, configured);
                if let (Some(since), Some(Ok(request))) = (since, request.map(|id| id.parse())) {
                    let status = status
                        .and_then(|status| u16::try_from(status).ok())
                        .and_then(|status| StatusCode::from_u16(status).ok());
                    standing =
                        standing.with_refusal(Refusal::new(rows::date(since), status, request));
                }
                let key = (Arc::from(cluster), EndpointId::from_bytes(id));
                Ok((key, standing))
            },
        )
        .collect()
}
