//! The series that were used before.
//!
//! A finished request counts in a dozen series. To find one by the texts of all its labels costs
//! more than to count, so they stand in [`Group`]s: names of the configuration are looked at once
//! for each group, and within it a series is found by where the constants are that its labels
//! are made of. There are no more of them than the recorder has.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError, RwLock};

use foldhash::fast::RandomState;
use http::StatusCode;
use metrics::{Counter, Histogram, Label, counter, histogram};
use qcc_core::time::Duration;

/// The series of which some labels are the same. New ones are made by the local recorder.
#[derive(Default)]
pub(super) struct Group {
    labels: Vec<Label>,
    groups: Table<Arc<str>, Arc<Self>>,
    counters: Table<Id, Counter>,
    histograms: Table<Id, Histogram>,
}

// No key is of a client's making, so none is made to collide.
type Table<K, V> = RwLock<HashMap<K, V, RandomState>>;

/// The value of a label: one out of few.
#[derive(Clone, Copy)]
pub(super) enum Value {
    Word(&'static str),
    Status(StatusCode),
}

impl From<&'static str> for Value {
    fn from(word: &'static str) -> Self {
        Self::Word(word)
    }
}

/// Name and values of a series, by address and length of the constants. One that stands in the
/// program twice makes two ids of the same series.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
struct Id([(usize, usize); 4]);

impl Value {
    fn id(self) -> (usize, usize) {
        match self {
            Self::Word(word) => (word.as_ptr().addr(), word.len()),
            // There is no text at the address 0.
            Self::Status(status) => (0, status.as_u16().into()),
        }
    }
}

impl Group {
    /// Those of this group that have `key` with `value` as well; an empty one if it is not known.
    pub(super) fn of(&self, key: &'static str, value: Option<&Arc<str>>) -> Arc<Self> {
        let name = value.map_or("", |value| value);
        let groups = self.groups.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = groups.get(name) {
            return known.clone();
        }
        drop(groups);
        let mut groups = self.groups.write().unwrap_or_else(PoisonError::into_inner);
        let new = || {
            let mut labels = self.labels.clone();
            labels.push(Label::new(key, name.to_owned()));
            Arc::new(Self {
                labels,
                ..Self::default()
            })
        };
        groups.entry(name.into()).or_insert_with(new).clone()
    }

    /// Adds to the counter `name` with these labels.
    pub(super) fn count<const N: usize>(
        &self,
        name: &'static str,
        labels: [(&'static str, Value); N],
        times: u64,
    ) {
        let make = || counter!(name, self.labels_with(&labels));
        find(&self.counters, id(name, &labels), make, |counter| {
            counter.increment(times);
        });
    }

    /// Adds a sample to the histogram `name` with these labels.
    pub(super) fn sample<const N: usize>(
        &self,
        name: &'static str,
        labels: [(&'static str, Value); N],
        time: Duration,
    ) {
        let make = || histogram!(name, self.labels_with(&labels));
        find(&self.histograms, id(name, &labels), make, |histogram| {
            histogram.record(time);
        });
    }

    fn labels_with(&self, labels: &[(&'static str, Value)]) -> Vec<Label> {
        let own = labels.iter().map(|&(key, value)| match value {
            Value::Word(word) => Label::from_static_parts(key, word),
            Value::Status(status) => Label::new(key, status.as_str().to_owned()),
        });
        self.labels.iter().cloned().chain(own).collect()
    }
}

fn id<const N: usize>(name: &'static str, labels: &[(&'static str, Value); N]) -> Id {
    const { assert!(N < 4, "an id has room for three labels") };
    let mut id = [(0, 0); 4];
    id[0] = Value::Word(name).id();
    for (id, (_, value)) in id[1..].iter_mut().zip(labels) {
        *id = value.id();
    }
    Id(id)
}

/// Uses what is known as `id`; the first time what `make` gives.
fn find<T>(table: &Table<Id, T>, id: Id, make: impl FnOnce() -> T, with: impl FnOnce(&T)) {
    let known = table.read().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = known.get(&id) {
        return with(known);
    }
    drop(known);
    let mut known = table.write().unwrap_or_else(PoisonError::into_inner);
    with(known.entry(id).or_insert_with(make));
}
