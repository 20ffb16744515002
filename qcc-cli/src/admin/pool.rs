//! The token pools: what is known of each token, by its name.

use qcc_core::failover::EndpointHandle;
use qcc_core::token::{Tier, TokenState, TokenStatus};
use serde::{Deserialize, Serialize};

use crate::moment::{Anchor, Date};

/// The pool of an endpoint, now. A failed token is one that was refused or is inactive; one that
/// cools down is neither active nor failed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// When what is held is accepted no more.
    pub(crate) expires: Option<Date>,
    /// What is the matter with its refresh.
    pub(crate) trouble: Option<String>,
}

/// A limit of one family of models.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
            expires: token.lifetime.map(|lifetime| now.date_of(lifetime.expires)),
            trouble: token.trouble.as_deref().map(str::to_owned),
        }
    }
}
