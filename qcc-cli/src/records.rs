//! The last requests, in memory.

use std::collections::VecDeque;
use std::fmt;
use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qcc_core::record::{Record, RecordSink};

/// How many records are kept unless told otherwise.
pub(crate) const DEFAULT_CAPACITY: NonZeroUsize = NonZeroUsize::new(10_000).unwrap();

/// A ring of the last records. Its room is taken at start, so that keeping a record allocates
/// nothing.
pub(crate) struct Records {
    capacity: usize,
    ring: Mutex<VecDeque<Arc<Record>>>,
}

impl Records {
    /// A ring that keeps so many.
    pub(crate) fn new(capacity: NonZeroUsize) -> Self {
        Self {
            capacity: capacity.get(),
            ring: Mutex::new(VecDeque::with_capacity(capacity.get())),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.ring().len()
    }

    /// At most `limit` records, newest first, without the newest `offset`.
    pub(crate) fn newest(&self, offset: usize, limit: usize) -> Vec<Arc<Record>> {
        self.ring()
            .iter()
            .rev()
            .skip(offset)
            .take(limit)
            .cloned()
            .collect()
    }

    /// The record that has been there longest.
    pub(crate) fn oldest(&self) -> Option<Arc<Record>> {
        self.ring().front().cloned()
    }

    /// The newest record of the request with this id. A client that chooses its ids may use one
    /// twice.
    pub(crate) fn find(&self, id: &str) -> Option<Arc<Record>> {
        // Compared outside the lock: finished requests wait for it.
        self.newest(0, self.capacity)
            .into_iter()
            .find(|record| record.id.to_string() == id)
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<Record>>> {
        // Each critical section changes one end of the queue or nothing.
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Records {
    fn default() -> Self {
        Self::new(DEFAULT_CAPACITY)
    }
}

impl RecordSink for Records {
    fn finished(&self, record: Arc<Record>) {
        let mut ring = self.ring();
        let oldest = (ring.len() == self.capacity).then(|| ring.pop_front());
        ring.push_back(record);
        drop(ring);
        // Its memory is given back outside the lock.
        drop(oldest);
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records")
            .field("len", &self.len())
            .field("capacity", &self.capacity)
            .finish()
    }
}

/// Hands each record to several sinks, in order.
#[derive(Clone, Debug)]
pub(crate) struct FanOut(Arc<[Arc<dyn RecordSink>]>);

impl FanOut {
    /// A sink that hands on to `sinks`.
    pub(crate) fn new(sinks: impl IntoIterator<Item = Arc<dyn RecordSink>>) -> Self {
        Self(sinks.into_iter().collect())
    }
}

impl RecordSink for FanOut {
    fn finished(&self, record: Arc<Record>) {
        for sink in &*self.0 {
            sink.finished(record.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use qcc_core::time::SystemTime;

    use super::*;

    fn record(id: &str) -> Arc<Record> {
        Arc::new(Record::new(id.parse().unwrap(), SystemTime::UNIX_EPOCH))
    }

    fn ids(records: &[Arc<Record>]) -> Vec<String> {
        records.iter().map(|record| record.id.to_string()).collect()
    }

    // XPL-03
    #[test]
    fn the_ring_keeps_the_newest_records_and_never_grows() {
        let records = Records::new(NonZeroUsize::new(3).unwrap());
        let room = records.ring().capacity();
        for number in 0..10 {
            records.finished(record(&format!("r{number}")));
        }
        assert_eq!(records.len(), 3);
        assert_eq!(records.ring().capacity(), room);
        assert_eq!(ids(&records.newest(0, 10)), ["r9", "r8", "r7"]);
        assert!(records.find("r6").is_none());
        assert_eq!(Records::default().capacity, 10_000);
    }

    // XPL-03
    #[test]
    fn every_sink_gets_the_same_record() {
        let sinks = [Arc::new(Records::default()), Arc::new(Records::default())];
        let all = FanOut::new(sinks.clone().map(|sink| sink as Arc<dyn RecordSink>));
        let record = record("one");
        all.finished(record.clone());
        for sink in sinks {
            assert!(Arc::ptr_eq(&sink.find("one").unwrap(), &record));
        }
    }

    // CLI-22, CLI-24
    #[test]
    fn a_page_starts_at_its_offset_and_ends_at_the_last_record() {
        let records = Records::default();
        assert!(records.newest(0, 20).is_empty());
        for number in 0..5 {
            records.finished(record(&format!("r{number}")));
        }
        assert_eq!(ids(&records.newest(1, 2)), ["r3", "r2"]);
        assert_eq!(ids(&records.newest(4, 2)), ["r0"]);
        assert!(records.newest(9, 2).is_empty());
    }

    // XPL-02
    #[test]
    fn an_id_that_was_used_twice_finds_the_newer_record() {
        let records = Records::default();
        let newer = record("same");
        records.finished(record("same"));
        records.finished(newer.clone());
        records.finished(record("other"));
        assert!(Arc::ptr_eq(&records.find("same").unwrap(), &newer));
    }
}
