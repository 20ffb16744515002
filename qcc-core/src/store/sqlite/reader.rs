//! What can be asked of the history.

use sqlx::sqlite::SqliteRow;
use sqlx::{Row as _, SqliteConnection};
use tokio::sync::oneshot;

use super::error::ReadError;
use super::rows::{MINUTE, date, micros};
use crate::endpoint::EndpointId;
use crate::store::totals::Totals;
use crate::time::{Duration, SystemTime};

/// The figures of an endpoint over some time.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct History {
    /// The cluster, empty where requests had none.
    pub cluster: String,
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Its name, as it was called last.
    pub name: String,
    /// Its figures.
    pub totals: Totals,
}

/// The figures of an endpoint in one minute.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Bucket {
    /// When the minute begins.
    pub start: SystemTime,
    /// The endpoint and its figures.
    pub history: History,
}

/// A question with the way back for its answer.
pub(super) enum Ask {
    Requests {
        before: Option<SystemTime>,
        skip: usize,
        limit: usize,
        reply: Reply<Vec<String>>,
    },
    Request {
        id: String,
        reply: Reply<Option<String>>,
    },
    History {
        since: SystemTime,
        reply: Reply<Vec<History>>,
    },
    Buckets {
        since: SystemTime,
        endpoint: Option<EndpointId>,
        skip: usize,
        limit: usize,
        reply: Reply<(Vec<Bucket>, usize)>,
    },
}

pub(super) type Reply<T> = oneshot::Sender<Result<T, ReadError>>;

impl Ask {
    /// Answers it. Whoever asked may be gone, which is no matter.
    pub(super) async fn answer(self, database: &mut SqliteConnection) {
        match self {
            Self::Requests {
                before,
                skip,
                limit,
                reply,
            } => {
                let _ = reply.send(requests(database, before, skip, limit).await);
            }
            Self::Request { id, reply } => {
                let _ = reply.send(request(database, &id).await);
            }
            Self::History { since, reply } => {
                let _ = reply.send(history(database, since).await);
            }
            Self::Buckets {
                since,
                endpoint,
                skip,
                limit,
                reply,
            } => {
                let _ = reply.send(buckets(database, since, endpoint, skip, limit).await);
            }
        }
    }
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

async fn requests(
    database: &mut SqliteConnection,
    before: Option<SystemTime>,
    skip: usize,
    limit: usize,
) -> Result<Vec<String>, ReadError> {
    let rows: Vec<(String,)> = sqlx::query_as(
        "SELECT record FROM request_logs WHERE timestamp < ?1 \
         ORDER BY timestamp DESC, request_id DESC, id DESC LIMIT ?2 OFFSET ?3",
    )
    .bind(before.map_or(i64::MAX, micros))
    .bind(number(limit))
    .bind(number(skip))
    .fetch_all(database)
    .await?;
    Ok(rows.into_iter().map(|(record,)| record).collect())
}

async fn request(database: &mut SqliteConnection, id: &str) -> Result<Option<String>, ReadError> {
    let row: Option<(String,)> = sqlx::query_as(
        "SELECT record FROM request_logs WHERE id = \
         (SELECT id FROM request_logs INDEXED BY request_logs_by_time WHERE request_id = ?1 \
         ORDER BY timestamp DESC, request_id DESC, id DESC LIMIT 1)",
    )
    .bind(id)
    .fetch_optional(database)
    .await?;
    Ok(row.map(|(record,)| record))
}

async fn history(
    database: &mut SqliteConnection,
    since: SystemTime,
) -> Result<Vec<History>, ReadError> {
    let rows = sqlx::query(
        "SELECT cluster, endpoint_id, \
         (SELECT endpoint FROM endpoint_metrics AS last \
          WHERE last.cluster = figures.cluster AND last.endpoint_id = figures.endpoint_id \
          ORDER BY minute DESC LIMIT 1) AS endpoint, \
         sum(requests) AS requests, sum(failed) AS failed, sum(timed) AS timed, \
         sum(latency_sum) AS latency_sum, min(latency_min) AS latency_min, \
         max(latency_max) AS latency_max, sum(input_tokens) AS input_tokens, \
         sum(cached_tokens) AS cached_tokens, sum(output_tokens) AS output_tokens \
         FROM endpoint_metrics AS figures WHERE minute >= ?1 \
         GROUP BY cluster, endpoint_id ORDER BY cluster, endpoint, endpoint_id",
    )
    .bind(minute_of(since))
    .fetch_all(database)
    .await?;
    rows.iter().map(|row| Ok(figures(row)?)).collect()
}

/// A page of minutes, oldest first, and how many there are on all pages.
async fn buckets(
    database: &mut SqliteConnection,
    since: SystemTime,
    endpoint: Option<EndpointId>,
    skip: usize,
    limit: usize,
) -> Result<(Vec<Bucket>, usize), ReadError> {
    let since = minute_of(since);
    let endpoint = endpoint.map(|id| id.as_bytes().to_vec());
    let rows = sqlx::query(
        "SELECT * FROM endpoint_metrics \
         WHERE minute >= ?1 AND (?2 IS NULL OR endpoint_id = ?2) \
         ORDER BY minute, cluster, endpoint, endpoint_id LIMIT ?3 OFFSET ?4",
    )
    .bind(since)
    .bind(endpoint.clone())
    .bind(number(limit))
    .bind(number(skip))
    .fetch_all(&mut *database)
    .await?;
    let (total,): (i64,) = sqlx::query_as(
        "SELECT count(*) FROM endpoint_metrics \
             WHERE minute >= ?1 AND (?2 IS NULL OR endpoint_id = ?2)",
    )
    .bind(since)
    .bind(endpoint)
    .fetch_one(database)
    .await?;
    let bucket = |row: &SqliteRow| {
        Ok(Bucket {
            start: date(row.try_get("minute")?),
            history: figures(row)?,
        })
    };
    let buckets = rows
        .iter()
        .map(bucket)
        .collect::<Result<_, sqlx::Error>>()?;
    Ok((buckets, usize::try_from(total).unwrap_or(0)))
}

/// The minute that `date` lies in.
fn minute_of(date: SystemTime) -> i64 {
    let date = micros(date);
    date - date.rem_euclid(MINUTE)
}

fn figures(row: &SqliteRow) -> Result<History, sqlx::Error> {
    let count = |column| Ok::<_, sqlx::Error>(unsigned(row.try_get(column)?));
    let time = |column| {
        let micros: Option<i64> = row.try_get(column)?;
        Ok::<_, sqlx::Error>(micros.map(|micros| Duration::from_micros(unsigned(micros))))
    };
    let id: Vec<u8> = row.try_get("endpoint_id")?;
    let id = <[u8; 16]>::try_from(id)
        .map_err(|_| sqlx::Error::Decode("the id of an endpoint has not 16 bytes".into()))?;
    Ok(History {
        cluster: row.try_get("cluster")?,
        endpoint: EndpointId::from_bytes(id),
        name: row.try_get("endpoint")?,
        totals: Totals {
            requests: count("requests")?,
            failed: count("failed")?,
            timed: count("timed")?,
            latency_sum: time("latency_sum")?.unwrap_or_default(),
            latency_min: time("latency_min")?,
            latency_max: time("latency_max")?,
            input_tokens: count("input_tokens")?,
            cached_tokens: count("cached_tokens")?,
            output_tokens: count("output_tokens")?,
        },
    })
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
