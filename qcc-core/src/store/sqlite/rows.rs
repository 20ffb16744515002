//! What is written, row by row, and what is removed.

use std::collections::BTreeMap;
use std::sync::Arc;

use sqlx::{AssertSqlSafe, SqliteConnection};

use super::standings::Key;
use super::writer::Describe;
use crate::endpoint::{Endpoint, EndpointId};
use crate::record::Record;
use crate::standing::Standing;
use crate::store::totals::{Totals, added};
use crate::time::{Duration, SystemTime};

pub(super) const MINUTE: i64 = 60_000_000;

/// So many rows are removed in one step, which takes a few milliseconds.
pub(super) const STEP: u64 = 500;

/// So many requests are written by one statement at most.
const ROWS: usize = 256;

type Done = Result<(), sqlx::Error>;

/// `date` in microseconds since 1970.
pub(super) fn micros(date: SystemTime) -> i64 {
    match date.duration_since(SystemTime::UNIX_EPOCH) {
        Ok(after) => length(after),
        Err(before) => -length(before.duration()),
    }
}

/// The date that is so many microseconds after 1970.
pub(super) fn date(micros: i64) -> SystemTime {
    let distance = Duration::from_micros(micros.unsigned_abs());
    let date = if micros < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(distance)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(distance)
    };
    date.unwrap_or(SystemTime::UNIX_EPOCH)
}

pub(super) fn length(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

fn number(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Writes the standing of an endpoint, or removes it where it is as usual.
pub(super) async fn write_standing(
    database: &mut SqliteConnection,
    key: &Key,
    standing: Option<&Standing>,
    now: SystemTime,
) -> Done {
    let (cluster, endpoint) = (&*key.0, key.1.as_bytes().as_slice());
    let Some(standing) = standing else {
        sqlx::query("DELETE FROM endpoint_state WHERE cluster = ?1 AND endpoint_id = ?2")
            .bind(cluster)
            .bind(endpoint)
            .execute(database)
            .await?;
        return Ok(());
    };
    let refused = standing.refused.as_ref();
    sqlx::query(
        "INSERT OR REPLACE INTO endpoint_state (cluster, endpoint_id, wanted, configured, \
         refused_at, refused_status, refused_request, saved_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
    .bind(cluster)
    .bind(endpoint)
    .bind(standing.wanted)
    .bind(standing.configured)
    .bind(refused.map(|refused| micros(refused.since)))
    .bind(refused.and_then(|refused| Some(i64::from(refused.status?.as_u16()))))
    .bind(refused.map(|refused| refused.request.to_string()))
    .bind(micros(now))
    .execute(database)
    .await?;
    Ok(())
}

/// Writes finished requests, each with what `describe` makes of it.
pub(super) async fn write_requests(
    database: &mut SqliteConnection,
    records: &[Arc<Record>],
    describe: &Describe,
) -> Done {
    let mut left = records;
    while !left.is_empty() {
        // By powers of two, so that a handful of statements stay prepared for any number.
        let count = ROWS.min(1 << left.len().ilog2());
        let (now, later) = left.split_at(count);
        let sql = format!(
            "INSERT INTO request_logs (timestamp, request_id, record) VALUES (?, ?, ?){}",
            ", (?, ?, ?)".repeat(count - 1)
        );
        let mut query = sqlx::query(AssertSqlSafe(sql));
        for record in now {
            query = query
                .bind(ended(record))
                .bind(record.id.to_string())
                .bind(describe(record));
        }
        query.execute(&mut *database).await?;
        left = later;
    }
    Ok(())
}

/// When a request ended, in microseconds since 1970.
pub(super) fn ended(record: &Record) -> i64 {
    micros(record.started_at).saturating_add(length(record.duration))
}

/// An endpoint, a minute and a cluster.
type Slot = (EndpointId, i64, Arc<str>);

/// The figures of a batch of requests, minute by minute and endpoint by endpoint.
#[derive(Default)]
pub(super) struct Figures(BTreeMap<Slot, (Arc<Endpoint>, Totals)>);

impl Figures {
    pub(super) fn add(&mut self, record: &Record) {
        let cluster = record.cluster.clone().unwrap_or_else(|| "".into());
        let ended = ended(record);
        let minute = ended - ended.rem_euclid(MINUTE);
        for (endpoint, totals) in added(record) {
            self.0
                .entry((endpoint.id(), minute, cluster.clone()))
                .or_insert_with(|| (endpoint.clone(), Totals::default()))
                .1
                .add(&totals);
        }
    }

    pub(super) async fn write(self, database: &mut SqliteConnection) -> Done {
        for ((id, minute, cluster), (endpoint, totals)) in self.0 {
            sqlx::query(
                "INSERT INTO endpoint_metrics (cluster, endpoint_id, minute, endpoint, requests, \
                 failed, timed, latency_sum, latency_min, latency_max, input_tokens, \
                 cached_tokens, output_tokens) \
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) \
                 ON CONFLICT DO UPDATE SET endpoint = excluded.endpoint, \
                 requests = requests + excluded.requests, failed = failed + excluded.failed, \
                 timed = timed + excluded.timed, latency_sum = latency_sum + excluded.latency_sum, \
                 latency_min = min(coalesce(latency_min, excluded.latency_min), \
                 coalesce(excluded.latency_min, latency_min)), \
                 latency_max = max(coalesce(latency_max, excluded.latency_max), \
                 coalesce(excluded.latency_max, latency_max)), \
                 input_tokens = input_tokens + excluded.input_tokens, \
                 cached_tokens = cached_tokens + excluded.cached_tokens, \
                 output_tokens = output_tokens + excluded.output_tokens",
            )
            .bind(&*cluster)
            .bind(id.as_bytes().as_slice())
            .bind(minute)
            .bind(&**endpoint.name())
            .bind(number(totals.requests))
            .bind(number(totals.failed))
            .bind(number(totals.timed))
            .bind(length(totals.latency_sum))
            .bind(totals.latency_min.map(length))
            .bind(totals.latency_max.map(length))
            .bind(number(totals.input_tokens))
            .bind(number(totals.cached_tokens))
            .bind(number(totals.output_tokens))
            .execute(&mut *database)
            .await?;
        }
        Ok(())
    }
}

/// What of the database is in use, in bytes.
pub(super) async fn size(database: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    let (pages, free, bytes): (i64, i64, i64) = sqlx::query_as(
        "SELECT page_count, freelist_count, page_size \
         FROM pragma_page_count, pragma_freelist_count, pragma_page_size",
    )
    .fetch_one(database)
    .await?;
    Ok(u64::try_from((pages - free) * bytes).unwrap_or(0))
}

/// What one step removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Removed {
    pub(super) requests: u64,
    pub(super) figures: u64,
}

impl Removed {
    /// Whether there may be more of it.
    pub(super) const fn is_full(self) -> bool {
        self.requests >= STEP || self.figures >= STEP
    }
}

/// Removes the oldest [`STEP`] rows of what ended before `limit`.
pub(super) async fn remove_older(
    database: &mut SqliteConnection,
    limit: i64,
) -> Result<Removed, sqlx::Error> {
    let requests = sqlx::query(
        "DELETE FROM request_logs WHERE id IN \
         (SELECT id FROM request_logs WHERE timestamp < ?1 ORDER BY timestamp LIMIT ?2)",
    )
    .bind(limit)
    .bind(number(STEP))
    .execute(&mut *database)
    .await?
    .rows_affected();
    let figures = remove_figures(database, limit).await?;
    Ok(Removed { requests, figures })
}

/// Removes the oldest [`STEP`] requests or, where there is none, figures.
pub(super) async fn remove_oldest(database: &mut SqliteConnection) -> Result<Removed, sqlx::Error> {
    let requests = sqlx::query(
        "DELETE FROM request_logs WHERE id IN \
         (SELECT id FROM request_logs ORDER BY timestamp LIMIT ?1)",
    )
    .bind(number(STEP))
    .execute(&mut *database)
    .await?
    .rows_affected();
    let figures = if requests == 0 {
        remove_figures(database, i64::MAX).await?
    } else {
        0
    };
    Ok(Removed { requests, figures })
}

async fn remove_figures(database: &mut SqliteConnection, limit: i64) -> Result<u64, sqlx::Error> {
    let removed = sqlx::query(
        "DELETE FROM endpoint_metrics WHERE (cluster, endpoint_id, minute) IN \
         (SELECT cluster, endpoint_id, minute FROM endpoint_metrics WHERE minute < ?1 \
         ORDER BY minute LIMIT ?2)",
    )
    .bind(limit)
    .bind(number(STEP))
    .execute(database)
    .await?;
    Ok(removed.rows_affected())
}
