//! Checks of endpoints, and the queue of those that failed.

use axum::Json;
use axum::extract::State;
use qcc_core::failover::NotChecked;
use qcc_core::recovery::{Check, Snapshot};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::member::{Member, resolve};
use super::refusal::Refusal;
use super::view::{EndpointView, Page};
use super::{Admin, Name, Paged, Paging, named};
use crate::moment::{Anchor, Date, millis};

/// The place of an endpoint in the queue of those that failed, and what checks found.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RecoveryView {
    /// Why it is in the queue; `null` if it is not.
    pub(crate) reason: Option<String>,
    /// Since when.
    pub(crate) since: Option<Date>,
    /// When it is checked next; `null` if only when somebody asks for it.
    pub(crate) next_check: Option<Date>,
    /// How often it was checked since it entered.
    pub(crate) checks: u32,
    /// How often it was checked today, by UTC.
    pub(crate) checks_today: u32,
    /// How often it entered the queue.
    pub(crate) failed: u64,
    /// How often it was checked, for whatever reason.
    pub(crate) verified: u64,
    /// How many of these checks it passed.
    pub(crate) valid: u64,
    /// How often it came back.
    pub(crate) recovered: u64,
    /// How often it was checked as a member and had to stay.
    pub(crate) still_failed: u64,
    /// The last check.
    pub(crate) last_check: Option<CheckView>,
}

impl RecoveryView {
    /// `snapshot` as the admin API shows it.
    pub(super) fn of(snapshot: &Snapshot, now: &Anchor) -> Self {
        let Snapshot {
            member,
            counts,
            today,
            last,
            ..
        } = snapshot;
        Self {
            reason: member.map(|member| member.cause.to_string()),
            since: member.map(|member| now.date_of(member.since)),
            next_check: member
                .and_then(|member| member.next)
                .map(|next| now.date_of(next)),
            checks: member.map_or(0, |member| member.checks),
            checks_today: *today,
            failed: counts.failed,
            verified: counts.verified,
            valid: counts.valid,
            recovered: counts.recovered,
            still_failed: counts.still_failed,
            last_check: last.as_deref().map(CheckView::from),
        }
    }
}

/// One check.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct CheckView {
    /// Its id, which the upstream got as `x-request-id`.
    pub(crate) id: String,
    /// When it began.
    pub(crate) time: Date,
    /// The question.
    pub(crate) message: String,
    /// What had to come back.
    pub(crate) verification_code: String,
    /// `answered`, `auth_failed`, `rate_limited`, `timeout` or `failed`.
    pub(crate) result: String,
    /// The status of the answer, if there was one.
    pub(crate) status: Option<u16>,
    /// How long it took.
    pub(crate) latency_ms: f64,
    /// The text of the answer, as far as it is kept.
    pub(crate) content: String,
    /// Whether the endpoint works: it answered, and with the code.
    pub(crate) valid: bool,
    /// `valid`, `invalid` or, if that cannot be told, `inconclusive`.
    pub(crate) verdict: String,
    /// 0 to 100.
    pub(crate) score: u8,
    /// What went wrong.
    pub(crate) error: Option<String>,
}

impl From<&Check> for CheckView {
    fn from(check: &Check) -> Self {
        Self {
            id: check.id.to_string(),
            time: check.time.into(),
            message: check.message.clone(),
            verification_code: check.code.to_string(),
            result: check.outcome.to_string(),
            status: check.status.map(|status| status.as_u16()),
            latency_ms: millis(check.latency),
            content: check.content.clone(),
            valid: check.is_valid(),
            verdict: check.validity.to_string(),
            score: check.score,
            error: check.error.clone(),
        }
    }
}

/// What was asked for at one endpoint.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Checked {
    /// Its cluster.
    pub(crate) cluster: String,
    /// Its short id.
    pub(crate) id: String,
    /// Its name.
    pub(crate) name: String,
    /// The check; `null` if there was none.
    pub(crate) check: Option<CheckView>,
    /// Why there was none.
    pub(crate) not_checked: Option<String>,
    /// Whether it is in the queue now.
    pub(crate) queued: bool,
}

impl Checked {
    /// What came of the check of `member`.
    pub(super) fn new(member: &Member, check: Result<&Check, &NotChecked>, queued: bool) -> Self {
        Self {
            cluster: member.cluster.to_string(),
            id: member.id.to_string(),
            name: member.name.to_string(),
            check: check.ok().map(CheckView::from),
            not_checked: check.err().map(ToString::to_string),
            queued,
        }
    }
}

/// What came of the checks that were asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct ChecksView {
    /// Whether all that were checked work, and any was.
    pub(crate) all_valid: bool,
    /// Each endpoint.
    pub(crate) endpoints: Vec<Checked>,
}

impl From<Vec<Checked>> for ChecksView {
    fn from(endpoints: Vec<Checked>) -> Self {
        let mut checks = endpoints.iter().filter_map(|one| one.check.as_ref());
        let any = endpoints.iter().any(|one| one.check.is_some());
        Self {
            all_valid: any && checks.all(|check| check.valid),
            endpoints,
        }
    }
}

/// The queue.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct QueueView {
    /// When this was so.
    pub(crate) as_of: Date,
    /// How often endpoints entered it.
    pub(crate) failed: u64,
    /// How many checks were made.
    pub(crate) verified: u64,
    /// How often endpoints came back.
    pub(crate) recovered: u64,
    /// How many checks left a member where it was.
    pub(crate) still_failed: u64,
    /// Its members.
    pub(crate) members: Page<EndpointView>,
}

impl Admin {
    fn queued(&self) -> Vec<Member> {
        let now = self.now();
        let mut members = self.operations.members();
        members.retain(|member| {
            let status = self.operations.status(member, now);
            status.is_some_and(|status| status.queued)
        });
        members
    }

    async fn check(&self, members: Vec<Member>) -> Json<ChecksView> {
        Json(self.operations.check(members).await.into())
    }
}

pub(super) async fn queue(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<QueueView>, Refusal> {
    let paging = Paging::of(paging)?;
    let now = admin.now();
    let all = admin.operations.members();
    let all: Vec<_> = all
        .iter()
        .filter_map(|member| admin.operations.status(member, now))
        .collect();
    let sum = |count: fn(&RecoveryView) -> u64| all.iter().map(|one| count(&one.recovery)).sum();
    Ok(Json(QueueView {
        as_of: now,
        failed: sum(|one| one.failed),
        verified: sum(|one| one.verified),
        recovered: sum(|one| one.recovered),
        still_failed: sum(|one| one.still_failed),
        members: {
            let members: Vec<_> = all.into_iter().filter(|one| one.queued).collect();
            Page::of(members.into_iter(), paging.offset, paging.limit())
        },
    }))
}

pub(super) async fn retry(State(admin): State<Admin>) -> Json<ChecksView> {
    admin.check(admin.queued()).await
}

pub(super) async fn probe(
    State(admin): State<Admin>,
    name: Name,
) -> Result<Json<ChecksView>, Refusal> {
    let members = resolve(&admin.operations.members(), &named(name)?)?;
    Ok(admin.check(members).await)
}

pub(super) async fn probe_all(State(admin): State<Admin>) -> Json<ChecksView> {
    admin.check(admin.operations.members()).await
}
