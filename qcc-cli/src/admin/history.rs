//! The routes of the store: how it does, and what endpoints did over some time.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use qcc_core::endpoint::EndpointId;
use qcc_core::store::{History as Kept, ReadError, Sqlite};
use qcc_core::time::{Duration, SystemTime};
use schemars::JsonSchema;
use serde::Deserialize;

use super::member::{Member, resolve};
use super::refusal::Refusal;
use super::view::Page;
use super::{Admin, Paging};
use crate::config::duration;
use crate::history::{Figures, Minute, Store, StoreView};

/// How far back is looked unless told otherwise.
const SINCE: Duration = Duration::from_secs(24 * 60 * 60);

/// What of the history is asked for.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Asked {
    /// How far back, like 90m, 24h or 7d; 24h without it.
    since: Option<String>,
    /// One endpoint: its name, `cluster/name` or at least 4 digits of its id.
    endpoint: Option<String>,
    /// At most so many entries, 100 without it, 1000 at most.
    limit: Option<usize>,
    /// So many are left out first.
    #[serde(default)]
    offset: usize,
}

type Asking = Result<Query<Asked>, QueryRejection>;

impl Asked {
    fn of(query: Asking) -> Result<Self, Refusal> {
        query.map(|Query(asked)| asked).map_err(|rejection| {
            let text = rejection.body_text();
            let message = format!(
                "{}; `limit` and `offset` are whole numbers.",
                Refusal::echo(&text)
            );
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", message)
        })
    }

    /// The date since which something is asked.
    fn since(&self, now: SystemTime) -> Result<SystemTime, Refusal> {
        let since = match &self.since {
            None => Some(SINCE),
            Some(text) => duration(text),
        };
        let since = since.filter(|since| !since.is_zero()).ok_or_else(|| {
            let message = "`since` is a duration like 90m, 24h or 7d.";
            Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", message)
        })?;
        Ok(now.checked_sub(since).unwrap_or(SystemTime::UNIX_EPOCH))
    }

    fn paging(&self) -> Paging {
        Paging {
            limit: self.limit,
            offset: self.offset,
        }
    }
}

impl Admin {
    fn sqlite(&self) -> Result<&Sqlite, Refusal> {
        let (message, status) = match self.history.store() {
            Store::Open(open) => return Ok(&open.sqlite),
            Store::Off => (
                "This proxy keeps no history: `store.enabled` is false, or it runs for one \
                 command."
                    .to_owned(),
                StatusCode::CONFLICT,
            ),
            Store::Missing { file, reason } => (
                format!(
                    "This proxy runs without history: {} {reason}.",
                    file.display()
                ),
                StatusCode::SERVICE_UNAVAILABLE,
            ),
        };
        Err(Refusal::new(status, "history_unavailable", message))
    }
}

impl From<ReadError> for Refusal {
    fn from(error: ReadError) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "history_unavailable",
            format!("The history does not answer: {error}."),
        )
    }
}

pub(super) async fn store(State(admin): State<Admin>) -> Json<StoreView> {
    Json(admin.history.store().view(admin.now()))
}

pub(super) async fn figures(
    State(admin): State<Admin>,
    query: Asking,
) -> Result<Json<Page<Figures>>, Refusal> {
    let asked = Asked::of(query)?;
    let since = asked.since(admin.clock.now())?;
    let mut kept = admin.sqlite()?.history(since).await?;
    if let Some(name) = &asked.endpoint {
        let id = endpoint(&admin, &kept, name)?;
        kept.retain(|kept| kept.endpoint == id);
    }
    let paging = asked.paging();
    let figures = kept.iter().map(Figures::from);
    Ok(Json(Page::of(figures, paging.offset, paging.limit())))
}

pub(super) async fn minutes(
    State(admin): State<Admin>,
    query: Asking,
) -> Result<Json<Page<Minute>>, Refusal> {
    let asked = Asked::of(query)?;
    let since = asked.since(admin.clock.now())?;
    let sqlite = admin.sqlite()?;
    let id = match &asked.endpoint {
        Some(name) => Some(endpoint(&admin, &sqlite.history(since).await?, name)?),
        None => None,
    };
    let (offset, limit) = (asked.offset, asked.paging().limit());
    let (minutes, total) = sqlite.buckets(since, id, offset, limit).await?;
    Ok(Json(Page {
        items: minutes.iter().map(Minute::from).collect(),
        total,
        limit,
        offset,
    }))
}

/// The endpoint that `name` means, among those that there are and those of which there is history.
fn endpoint(admin: &Admin, kept: &[Kept], name: &str) -> Result<EndpointId, Refusal> {
    let mut members = admin.operations.members();
    for kept in kept {
        if !members.iter().any(|member| member.id == kept.endpoint) {
            members.push(Member {
                cluster: kept.cluster.as_str().into(),
                id: kept.endpoint,
                name: kept.name.as_str().into(),
            });
        }
    }
    let found = resolve(&members, name)?;
    // It refuses what is nobody or several.
    Ok(found[0].id)
}
