//! What is written, row by row, and what is removed.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::SqliteConnection;

use super::standings::Key;
use crate::endpoint::Endpoint;
use crate::record::{Answer, Record};
use crate::standing::Standing;
use crate::store::totals::{Totals, added};
use crate::time::{Duration, SystemTime};

pub(super) const MINUTE: i64 = 60_000_000;

/// So many rows are removed in one step, which takes a few milliseconds.
pub(super) const STEP: u64 = 500;

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

/// Writes a finished request with `document`, its record in the caller's own form.
pub(super) async fn write_request(
    database: &mut SqliteConnection,
    record: &Record,
    document: &str,
) -> Done {
    let endpoint = record.endpoint();
    let (outcome, status) = match record.answer {
        Answer::Relayed { status } => ("relayed", Some(status)),
        Answer::Interrupted { status, .. } => ("interrupted", Some(status)),
        Answer::Failed(_) => ("failed", None),
        Answer::Canceled => ("canceled", None),
        Answer::Pending => ("pending", None),
    };
    let usage = record.usage.unwrap_or_default();
    let started = micros(record.started_at);
    sqlx::query(
        "INSERT INTO request_logs (request_id, timestamp, started_at, duration, cluster, \
         endpoint_id, endpoint, dialect, model, stream, outcome, status, attempts, input_tokens, \
         output_tokens, record) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)",
    )
    .bind(record.id.to_string())
    .bind(ended(record))
    .bind(started)
    .bind(length(record.duration))
    .bind(record.cluster.as_deref())
    .bind(endpoint.map(|endpoint| endpoint.id().as_bytes().to_vec()))
    .bind(endpoint.map(|endpoint| endpoint.name().to_string()))
    .bind(record.dialect.map(|dialect| dialect.as_str()))
    .bind(record.model.as_deref())
    .bind(record.stream)
    .bind(outcome)
    .bind(status.map(|status| i64::from(status.as_u16())))
    .bind(number(record.attempts() as u64))
    .bind(usage.input.map(number))
    .bind(usage.output.map(number))
    .bind(document)
    .execute(database)
    .await?;
    Ok(())
}

/// When a request ended, in microseconds since 1970.
pub(super) fn ended(record: &Record) -> i64 {
    micros(record.started_at).saturating_add(length(record.duration))
}

/// The figures of a batch of requests, minute by minute and endpoint by endpoint.
#[derive(Default)]
pub(super) struct Figures(HashMap<(Key, i64), (Arc<Endpoint>, Totals)>);

impl Figures {
    pub(super) fn add(&mut self, record: &Record) {
        let cluster = record.cluster.clone().unwrap_or_else(|| "".into());
        let ended = ended(record);
        let minute = ended - ended.rem_euclid(MINUTE);
        for (endpoint, totals) in added(record) {
            self.0
                .entry(((cluster.clone(), endpoint.id()), minute))
                .or_insert_with(|| (endpoint.clone(), Totals::default()))
                .1
                .add(&totals);
        }
    }

    pub(super) async fn write(self, database: &mut SqliteConnection) -> Done {
        for (((cluster, id), minute), (endpoint, totals)) in self.0 {
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
