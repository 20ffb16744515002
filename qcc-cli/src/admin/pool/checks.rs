//! What can be found out about a pool without sending anything.

use qcc_core::token::{Rehearsal, Tier};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::PoolView;
use crate::config::{Tokens, show_duration};

/// The checks of one pool. Nothing was sent for them: what they tell of the future was tried on a
/// copy of the pool.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct PoolTest {
    /// The cluster of its endpoint.
    pub(crate) cluster: String,
    /// The name of its endpoint.
    pub(crate) endpoint: String,
    /// The short id of its endpoint.
    pub(crate) endpoint_id: String,
    /// Whether nothing is wrong.
    pub(crate) ok: bool,
    /// What was checked.
    pub(crate) checks: Vec<Check>,
}

/// One check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Check {
    /// `initialisation`, `order`, `rotation`, `refresh`, `health` or `failures`.
    pub(crate) check: String,
    /// Whether it is as it should be.
    pub(crate) ok: bool,
    /// What was found.
    pub(crate) found: String,
}

impl PoolTest {
    /// What `pool` and a rehearsal of it say, beside the tokens that are configured.
    pub(crate) fn of(pool: &PoolView, rehearsal: &Rehearsal, configured: &Tokens) -> Self {
        let checks = vec![
            initialisation(pool, configured),
            order(pool, rehearsal, configured),
            rotation(pool, rehearsal),
            refresh(pool),
            health(pool),
            failures(rehearsal),
        ];
        Self {
            cluster: pool.cluster.clone(),
            endpoint: pool.endpoint.clone(),
            endpoint_id: pool.endpoint_id.clone(),
            ok: checks.iter().all(|check| check.ok),
            checks,
        }
    }
}

fn check(name: &str, ok: bool, found: impl Into<String>) -> Check {
    Check {
        check: name.to_owned(),
        ok,
        found: found.into(),
    }
}

fn initialisation(pool: &PoolView, configured: &Tokens) -> Check {
    let is = [pool.personal, pool.shared, pool.anonymous];
    let [personal, shared, anonymous] = is;
    let found = format!("{personal} personal, {shared} shared, {anonymous} anonymous");
    if Tier::ALL.map(|tier| configured.of(tier).count()) != is {
        return check(
            "initialisation",
            false,
            format!("{found}; configured are others"),
        );
    }
    match pool.total {
        0 => check(
            "initialisation",
            false,
            "the pool is empty; see `qcc config check`",
        ),
        _ => check("initialisation", true, format!("{found}, as configured")),
    }
}

/// Whether the tiers come one after the other.
fn order(pool: &PoolView, rehearsal: &Rehearsal, configured: &Tokens) -> Check {
    let rank = |name: &str| {
        let token = pool.tokens.iter().find(|token| token.name == name)?;
        let mut tiers = configured.order.iter();
        tiers.position(|tier| tier.as_str() == token.tier)
    };
    let ranks: Vec<_> = rehearsal.order.iter().map(|name| rank(name)).collect();
    let names: Vec<_> = rehearsal.order.iter().map(|name| &**name).collect();
    match &*names {
        [] => check("order", false, "no token can be used now"),
        names => {
            let found = format!("a request would try {}", names.join(", "));
            check("order", ranks.is_sorted(), found)
        }
    }
}

fn rotation(pool: &PoolView, rehearsal: &Rehearsal) -> Check {
    match (&*rehearsal.order, &rehearsal.after_limit) {
        ([], _) => check("rotation", false, "no token can be used now"),
        ([first, second, ..], Some(next)) => {
            let found = format!("were {first} limited, the same request would go on with {next}");
            check("rotation", second == next, found)
        }
        ([only], None) if pool.total == 1 => {
            check("rotation", true, format!("{only} is the only token"))
        }
        ([first, ..], _) => {
            let found = format!("were {first} limited, nobody could take its place now");
            check("rotation", false, found)
        }
    }
}

/// What the refreshes of the past say. None is made here: one would end the token that it
/// replaces.
fn refresh(pool: &PoolView) -> Check {
    let refreshable = || pool.tokens.iter().filter(|token| token.refreshable);
    if refreshable().next().is_none() {
        return check("refresh", true, "no token needs one");
    }
    let troubles: Vec<_> = refreshable()
        .filter_map(|token| Some(format!("{}: {}", token.name, token.trouble.as_ref()?)))
        .collect();
    if !troubles.is_empty() {
        return check("refresh", false, troubles.join("; "));
    }
    let held = refreshable().filter(|token| token.refreshes > 0).count();
    let found = match refreshable().count() - held {
        0 => format!("the last one of all {held} went well"),
        open => format!("{held} went well, {open} not needed so far; the first use makes them"),
    };
    check("refresh", true, found)
}

fn health(pool: &PoolView) -> Check {
    let bad: Vec<_> = pool
        .tokens
        .iter()
        .filter(|token| token.state != "active")
        .map(|token| format!("{} is {}", token.name, token.state))
        .collect();
    match &*bad {
        [] => check(
            "health",
            pool.total > 0,
            format!("{} can be used", pool.active),
        ),
        bad => check("health", false, bad.join(", ")),
    }
}

fn failures(rehearsal: &Rehearsal) -> Check {
    if rehearsal.order.is_empty() {
        return check("failures", false, "no token can be used now");
    }
    let inactive = match rehearsal.inactive {
        Some((count, time)) => format!(
            "{count} in a row make it inactive for {}",
            show_duration(time)
        ),
        None => "none makes it inactive".to_owned(),
    };
    let found = format!(
        "a limit rests a token until it ends; {inactive}; a refusal keeps it out until it is recovered"
    );
    let ok = rehearsal.limit_ends && rehearsal.refusal_waits && rehearsal.inactive.is_some();
    check("failures", ok, found)
}
