//! The token pools: what is known of each token, by its name, and what may be done about it.

mod checks;

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use http::StatusCode;
use qcc_core::failover::EndpointHandle;
use qcc_core::token::{Tier, TokenState, TokenStatus};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::member::resolve;
use super::refusal::Refusal;
use super::view::Page;
use super::{Admin, Member, Paged, Paging};
use crate::moment::{Anchor, Date};

#[cfg(test)]
pub(crate) use checks::Check;
pub(crate) use checks::PoolTest;

/// The pool of an endpoint, now. A failed token is one that was refused or is inactive; one that
/// cools down is neither active nor failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PoolView {
    /// The cluster of its endpoint.
    pub(crate) cluster: String,
    /// The name of its endpoint.
    pub(crate) endpoint: String,
    /// The short id of its endpoint.
    pub(crate) endpoint_id: String,
    /// How many tokens it has.
    pub(crate) total: usize,
    /// How many of them can be used.
    pub(crate) active: usize,
    /// How many of them were refused or are inactive.
    pub(crate) failed: usize,
    /// How many are in tier `personal`.
    pub(crate) personal: usize,
    /// How many are in tier `shared`.
    pub(crate) shared: usize,
    /// How many are in tier `anonymous`.
    pub(crate) anonymous: usize,
    /// Each of them, in the order of the tiers.
    pub(crate) tokens: Vec<TokenView>,
}

/// A token.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TokenView {
    /// Its name.
    pub(crate) name: String,
    /// `personal`, `shared` or `anonymous`.
    pub(crate) tier: String,
    /// `active`, `cooling`, `inactive` or `refused`.
    pub(crate) state: String,
    /// When a state other than `active` ends by itself.
    pub(crate) until: Option<Date>,
    /// The families of models for which alone it is limited.
    pub(crate) limited: Vec<FamilyLimit>,
    /// How often in a row it was limited or refused, or could not be refreshed.
    pub(crate) failures: u32,
    /// When it was last sent.
    pub(crate) last_use: Option<Date>,
    /// Whether it is got and renewed by a refresh.
    pub(crate) refreshable: bool,
    /// How many refreshes gave a token.
    pub(crate) refreshes: u64,
    /// How many did not.
    pub(crate) failed_refreshes: u64,
    /// When what is held is accepted no more.
    pub(crate) expires: Option<Date>,
    /// What is the matter with its refresh.
    pub(crate) trouble: Option<String>,
}

/// A limit of one family of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct FamilyLimit {
    /// The word that the names of its models have.
    pub(crate) family: String,
    /// Until when.
    pub(crate) until: Date,
}

impl PoolView {
    /// The pool of `endpoint`; `None` if it has one key or none.
    pub(crate) fn of(cluster: &str, endpoint: &EndpointHandle, now: &Anchor) -> Option<Self> {
        let of = endpoint.endpoint();
        if of.credential().is_some() || !of.needs_credential() {
            return None;
        }
        let tokens = endpoint.tokens().snapshot(now.instant);
        let count =
            |test: &dyn Fn(&TokenStatus) -> bool| tokens.iter().filter(|token| test(token)).count();
        let tier = |tier: Tier| count(&|token| token.tier == tier);
        let failed = |token: &TokenStatus| {
            matches!(
                token.state,
                TokenState::Inactive { .. } | TokenState::Refused { .. }
            )
        };
        Some(Self {
            cluster: cluster.to_owned(),
            endpoint: of.name().to_string(),
            endpoint_id: of.id().to_string(),
            total: tokens.len(),
            active: count(&|token| token.state == TokenState::Active),
            failed: count(&failed),
            personal: tier(Tier::Personal),
            shared: tier(Tier::Shared),
            anonymous: tier(Tier::Anonymous),
            tokens: tokens
                .iter()
                .map(|token| TokenView::of(token, now))
                .collect(),
        })
    }
}

impl TokenView {
    fn of(token: &TokenStatus, now: &Anchor) -> Self {
        let limits = token.limited.iter();
        Self {
            name: token.name.to_string(),
            tier: token.tier.to_string(),
            state: token.state.as_str().to_owned(),
            until: token.state.until().map(|until| now.date_of(until)),
            limited: limits
                .map(|(family, until)| FamilyLimit {
                    family: (*family).to_owned(),
                    until: now.date_of(*until),
                })
                .collect(),
            failures: token.failures,
            last_use: token.last_use.map(|used| now.date_of(used)),
            refreshable: token.refreshable,
            refreshes: token.refreshes,
            failed_refreshes: token.failed_refreshes,
            expires: token.lifetime.map(|lifetime| now.date_of(lifetime.expires)),
            trouble: token.trouble.as_deref().map(str::to_owned),
        }
    }
}

/// What a recovery changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Recovered {
    /// Whether anything changed.
    pub(crate) changed: bool,
    /// What became of each pool.
    pub(crate) pools: Vec<RecoveredPool>,
}

/// What a recovery changed in one pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct RecoveredPool {
    /// The cluster of its endpoint.
    pub(crate) cluster: String,
    /// The name of its endpoint.
    pub(crate) endpoint: String,
    /// The short id of its endpoint.
    pub(crate) endpoint_id: String,
    /// The tokens that may be used again.
    pub(crate) recovered: Vec<String>,
    /// The same in a sentence.
    pub(crate) message: String,
}

impl PoolView {
    fn is_of(&self, member: &Member) -> bool {
        *self.cluster == *member.cluster && *self.endpoint == *member.name
    }

    fn full_name(&self) -> String {
        format!("{}/{}", self.cluster, self.endpoint)
    }

    fn has(&self, token: &str) -> bool {
        self.tokens.iter().any(|known| known.name == token)
    }

    /// Those that wait for more than the end of a limit: the one of this name, or all.
    pub(crate) fn waiting(&self, only: Option<&str>) -> Vec<String> {
        let wanted = |token: &&TokenView| {
            only.is_none_or(|only| only == token.name)
                && ["refused", "inactive"].contains(&&*token.state)
        };
        let waiting = self.tokens.iter().filter(wanted);
        waiting.map(|token| token.name.clone()).collect()
    }
}

/// Which tokens.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Which {
    /// Those of this endpoint: its name, `cluster/name`, or at least 4 digits of its id.
    endpoint: Option<String>,
    /// The one of this name.
    token: Option<String>,
}

/// Which pools.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
pub(super) struct Whose {
    /// That of this endpoint: its name, `cluster/name`, or at least 4 digits of its id.
    endpoint: Option<String>,
}

type Asked<T> = Result<Query<T>, QueryRejection>;

fn asked<T>(query: Asked<T>) -> Result<T, Refusal> {
    let refused = |rejection: QueryRejection| {
        let text = rejection.body_text();
        Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_query",
            Refusal::echo(&text),
        )
    };
    query.map(|Query(asked)| asked).map_err(refused)
}

/// The pools of `endpoint`, or all.
fn pools(admin: &Admin, endpoint: Option<&str>) -> Result<Vec<PoolView>, Refusal> {
    let mut pools = admin.operations.pools(admin.now());
    let Some(name) = endpoint else {
        return Ok(pools);
    };
    let members = resolve(&admin.operations.members(), name)?;
    let known = pools.iter().map(PoolView::full_name).collect();
    pools.retain(|pool| members.iter().any(|member| pool.is_of(member)));
    if pools.is_empty() {
        return Err(Refusal::unknown("token pool of an endpoint", name, known));
    }
    Ok(pools)
}

pub(super) async fn list(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<Page<PoolView>>, Refusal> {
    let paging = Paging::of(paging)?;
    let pools = admin.operations.pools(admin.now());
    Ok(Json(Page::of(
        pools.into_iter(),
        paging.offset,
        paging.limit(),
    )))
}

pub(super) async fn recover(
    State(admin): State<Admin>,
    which: Asked<Which>,
) -> Result<Json<Recovered>, Refusal> {
    let Which { endpoint, token } = asked(which)?;
    let mut pools = pools(&admin, endpoint.as_deref())?;
    if let Some(token) = &token {
        let all = |pool: &PoolView| {
            let names = pool.tokens.iter();
            names
                .map(|one| format!("{}/{}", pool.full_name(), one.name))
                .collect::<Vec<_>>()
        };
        let known: Vec<_> = pools.iter().flat_map(all).collect();
        pools.retain(|pool| pool.has(token));
        if pools.is_empty() {
            return Err(Refusal::unknown("token", token, known));
        }
        if endpoint.is_none() && pools.len() > 1 {
            return Err(ambiguous(token, &pools));
        }
    }
    let members = admin.operations.members();
    let recovered: Vec<_> = pools
        .iter()
        .filter_map(|pool| {
            let member = members.iter().find(|member| pool.is_of(member))?;
            let names = admin.operations.recover_tokens(member, token.as_deref())?;
            Some(told(pool, token.as_deref(), names))
        })
        .collect();
    Ok(Json(Recovered {
        changed: recovered.iter().any(|pool| !pool.recovered.is_empty()),
        pools: recovered,
    }))
}

fn ambiguous(token: &str, pools: &[PoolView]) -> Refusal {
    let candidates: Vec<_> = pools.iter().map(PoolView::full_name).collect();
    let message = format!(
        "`{}` may be a token of {}; say which endpoint.",
        Refusal::echo(token),
        candidates.join(" or ")
    );
    Refusal::new(StatusCode::CONFLICT, "ambiguous", message).with("candidates", candidates)
}

fn told(pool: &PoolView, token: Option<&str>, recovered: Vec<String>) -> RecoveredPool {
    let what = match (&*recovered, token) {
        ([], Some(token)) => format!("{token} was neither refused nor inactive; nothing changed."),
        ([], None) => "no token was refused or inactive; nothing changed.".to_owned(),
        (names, _) => format!("{} may be used again.", names.join(", ")),
    };
    if !recovered.is_empty() {
        tracing::info!(
            cluster = pool.cluster,
            endpoint = pool.endpoint_id,
            name = pool.endpoint,
            tokens = recovered.join(", "),
            "tokens recovered by the operator"
        );
    }
    RecoveredPool {
        cluster: pool.cluster.clone(),
        endpoint: pool.endpoint.clone(),
        endpoint_id: pool.endpoint_id.clone(),
        message: format!("{} ({}): {what}", pool.full_name(), pool.endpoint_id),
        recovered,
    }
}

pub(super) async fn test(
    State(admin): State<Admin>,
    whose: Asked<Whose>,
) -> Result<Json<Vec<PoolTest>>, Refusal> {
    let pools = pools(&admin, asked(whose)?.endpoint.as_deref())?;
    let members = admin.operations.members();
    let tested = pools.iter().filter_map(|pool| {
        let member = members.iter().find(|member| pool.is_of(member))?;
        admin.operations.test_tokens(member, admin.now())
    });
    Ok(Json(tested.collect()))
}
