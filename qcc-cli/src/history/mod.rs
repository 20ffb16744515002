//! What is known of requests that ended: the last records in memory, and behind them the store.
//!
//! The ring is asked first. What it does not have, because it was turned over or the proxy was
//! restarted, comes from the store. Both hold the same: an [`Explanation`] that is made of a record
//! now and one that was kept tell the same.

mod figures;
mod store;

use std::sync::Arc;

use qcc_core::record::Record;
use qcc_core::store::ReadError;
use qcc_core::time::{SystemClock, SystemTime, WallClock as _};

use crate::admin::view::RequestView;
use crate::explain::{self, Explanation};
use crate::moment::Anchor;
use crate::records::Records;

pub(crate) use self::figures::{Figures, Minute, csv};
pub(crate) use self::store::{Store, StoreView};
#[cfg(test)]
pub(crate) use self::tests::Kept;

/// The requests that ended.
#[derive(Clone)]
pub(crate) struct History {
    records: Arc<Records>,
    store: Store,
}

impl History {
    /// The last requests are in `records`, older ones in `store`.
    pub(crate) const fn new(records: Arc<Records>, store: Store) -> Self {
        Self { records, store }
    }

    /// What is behind the ring.
    pub(crate) const fn store(&self) -> &Store {
        &self.store
    }

    /// At most `limit` requests, the one that ended last first, without the first `offset`; and
    /// how many there are.
    pub(crate) async fn page(&self, offset: usize, limit: usize) -> (Vec<RequestView>, usize) {
        let held = self.records.len();
        let recent = self.records.newest(offset, limit);
        let mut page: Vec<_> = recent
            .iter()
            .map(|record| RequestView::from(&**record))
            .collect();
        let Store::Open(open) = &self.store else {
            return (page, held);
        };
        let status = open.sqlite.status();
        let stored = usize::try_from(status.requests + status.pending).unwrap_or(usize::MAX);
        let total = stored.max(held);
        if page.len() < limit {
            let before = self.records.oldest().map(|record| ended(&record));
            let skip = offset.saturating_sub(held);
            let older = open.sqlite.requests(before, skip, limit - page.len());
            match older.await {
                Ok(older) => page.extend(older.iter().filter_map(|text| {
                    let read = read(text)?;
                    Some(RequestView::from(&read))
                })),
                Err(error) => {
                    tracing::warn!(%error, "store: older requests are missing in a list");
                    return (page, held);
                }
            }
        }
        (page, total)
    }

    /// The newest request with this id; `None` if it is not known.
    ///
    /// # Errors
    ///
    /// It is not among the last ones, and the store cannot be asked.
    pub(crate) async fn find(
        &self,
        id: &str,
        now: &Anchor,
    ) -> Result<Option<Explanation>, ReadError> {
        if let Some(record) = self.records.find(id) {
            return Ok(Some(Explanation::of(&record, now)));
        }
        match &self.store {
            Store::Open(open) => Ok(open.sqlite.request(id).await?.as_deref().and_then(read)),
            Store::Off | Store::Missing { .. } => Ok(None),
        }
    }
}

/// A kept request. One that this version cannot read is left out, and the log says so.
fn read(text: &str) -> Option<Explanation> {
    match explain::read(text) {
        Ok(explanation) => Some(explanation),
        Err(error) => {
            tracing::warn!(%error, "store: a kept request cannot be read");
            None
        }
    }
}

/// When the request of `record` ended.
fn ended(record: &Record) -> SystemTime {
    record.started_at + record.duration
}

/// A record as it is kept.
fn describe(record: &Record) -> String {
    let now = Anchor {
        instant: qcc_core::time::now(),
        date: SystemClock.now().into(),
    };
    explain::write(record, &now)
}

#[cfg(test)]
mod tests;
