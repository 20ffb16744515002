//! How a credential is, for people and programs.

use std::sync::Arc;

use super::seats::Seat;
use super::slot::Slot;
use super::source::{Lifetime, Tier};
use super::state::TokenState;
use crate::time::Instant;

/// One credential of a pool at one moment, by its name.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TokenStatus {
    /// Its name.
    pub name: Arc<str>,
    /// Its tier.
    pub tier: Tier,
    /// Whether it can be used.
    pub state: TokenState,
    /// The families of models for which alone it is limited, and until when.
    pub limited: Vec<(&'static str, Instant)>,
    /// How often in a row it was limited or refused, or could not be refreshed.
    pub failures: u32,
    /// When it was last sent.
    pub last_use: Option<Instant>,
    /// Whether it is got and renewed by a refresh.
    pub refreshable: bool,
    /// How many refreshes gave a credential.
    pub refreshes: u64,
    /// How many did not.
    pub failed_refreshes: u64,
    /// How long what is held is good for, if it ages.
    pub lifetime: Option<Lifetime>,
    /// What is the matter with its refresh: why the last one failed, or else what its
    /// [source](super::TokenSource::trouble) says.
    pub trouble: Option<Arc<str>>,
}

impl TokenStatus {
    pub(super) fn of(seat: &Seat, slot: &Slot, now: Instant) -> Self {
        let source = &seat.supply.source;
        let (refreshes, failed_refreshes) = slot.refreshes();
        Self {
            name: seat.name.clone(),
            tier: seat.tier,
            state: slot.state(None, now),
            limited: slot.families(now).collect(),
            failures: slot.failures(),
            last_use: slot.last_use(),
            refreshes,
            failed_refreshes,
            refreshable: source.is_refreshable(),
            lifetime: source.lifetime(),
            trouble: slot.trouble().cloned().or_else(|| source.trouble()),
        }
    }
}
