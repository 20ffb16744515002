//! The operations on endpoints.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use qcc_core::time::Duration;
use schemars::JsonSchema;
use serde::Deserialize;

use super::member::Operation;
use super::refusal::Refusal;
use super::view::Switched;
use super::{Admin, Name, named};

/// How long a mark lasts unless told otherwise.
const UNAVAILABLE: Duration = Duration::from_secs(300);

/// A reason is cut to so many bytes.
const LONGEST_REASON: usize = 200;

type Done = Result<Json<Switched>, Refusal>;

pub(super) async fn enable(State(admin): State<Admin>, name: Name) -> Done {
    let done = admin.operate(&named(name)?, &Operation::Enable);
    admin.history.store().kept().await;
    done
}

pub(super) async fn disable(State(admin): State<Admin>, name: Name) -> Done {
    let done = admin.operate(&named(name)?, &Operation::Disable);
    admin.history.store().kept().await;
    done
}

pub(super) async fn clear_limit(State(admin): State<Admin>, name: Name) -> Done {
    admin.operate(&named(name)?, &Operation::ClearLimit)
}

pub(super) async fn clear_limits(State(admin): State<Admin>) -> Json<Switched> {
    admin.operate_on(&admin.operations.members(), &Operation::ClearLimit)
}

pub(super) async fn unmark(State(admin): State<Admin>, name: Name) -> Done {
    admin.operate(&named(name)?, &Operation::Unmark)
}

pub(super) async fn reset(State(admin): State<Admin>, name: Name) -> Done {
    admin.operate(&named(name)?, &Operation::ResetBreaker)
}

pub(super) async fn reset_all(State(admin): State<Admin>) -> Json<Switched> {
    admin.operate_on(&admin.operations.members(), &Operation::ResetBreaker)
}

/// How an endpoint is marked.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Mark {
    /// Why, for whoever looks.
    reason: Option<String>,
    /// For how long, 300 unless given.
    seconds: Option<u64>,
}

pub(super) async fn mark(
    State(admin): State<Admin>,
    name: Name,
    mark: Result<Query<Mark>, QueryRejection>,
) -> Done {
    let Query(mark) = mark.map_err(|rejection| {
        let text = rejection.body_text();
        let message = format!("{}; `seconds` is a whole number.", Refusal::echo(&text));
        Refusal::new(StatusCode::BAD_REQUEST, "invalid_query", message)
    })?;
    let reason = mark.reason.unwrap_or_else(|| "by the operator".to_owned());
    let operation = Operation::Mark {
        reason: crate::moment::cut(&reason, LONGEST_REASON).to_owned(),
        time: mark.seconds.map_or(UNAVAILABLE, Duration::from_secs),
    };
    admin.operate(&named(name)?, &operation)
}
