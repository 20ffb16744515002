//! The handle of one caller, and the place that a request of it takes.

use std::fmt;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::guard::{Guard, Settled};

/// Who sends: a name, how many requests it has in flight, and how many it may have. A clone is
/// the same caller.
#[derive(Clone)]
pub struct Caller(Arc<View>);

/// The count, and the limit as this handle knows it: after a reload the same count goes on under
/// another limit.
#[derive(Clone)]
struct View {
    name: Arc<str>,
    limit: Option<NonZeroU32>,
    in_flight: Arc<AtomicU32>,
}

impl Caller {
    /// A caller with nothing in flight; without a limit its requests are counted only. The name
    /// stands in logs and listings.
    pub fn new(name: impl Into<Arc<str>>, limit: Option<NonZeroU32>) -> Self {
        Self(Arc::new(View {
            name: name.into(),
            limit,
            in_flight: Arc::default(),
        }))
    }

    /// The same caller with another limit: what it has in flight stays counted, and what goes
    /// beyond a smaller limit ends normally.
    #[must_use]
    pub fn continued(&self, limit: Option<NonZeroU32>) -> Self {
        Self(Arc::new(View {
            limit,
            ..View::clone(&self.0)
        }))
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.0.name
    }

    /// How many requests it may have in flight; `None` for any number.
    #[must_use]
    pub fn limit(&self) -> Option<NonZeroU32> {
        self.0.limit
    }

    /// How many it has. A request is in flight from before its body is read until its answer
    /// has ended.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.0.in_flight.load(Ordering::Relaxed)
    }

    /// Takes a place, if there is one.
    pub(super) fn enter(&self) -> Option<Place> {
        let most = self.0.limit.map_or(u32::MAX, NonZeroU32::get);
        self.0
            .in_flight
            .try_update(Ordering::Relaxed, Ordering::Relaxed, |count| {
                (count < most).then_some(count + 1)
            })
            .ok()?;
        Some(Place(Some(self.clone())))
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Caller")
            .field("name", &self.0.name)
            .field("in_flight", &self.in_flight())
            .field("limit", &self.0.limit)
            .finish()
    }
}

/// The place of one request, given back when it is dropped.
#[derive(Debug)]
pub struct Place(Option<Caller>);

impl Place {
    /// What a request without a caller has.
    #[must_use]
    pub const fn free() -> Self {
        Self(None)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(caller) = &self.0 {
            caller.0.in_flight.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

impl Guard for Place {
    fn settle(self, _: Settled) {}
}
