//! What became of all requests since the start, in numbers that people look at.
//!
//! Prometheus has more of them with more labels; these answer `qcc stats` without one.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use qcc_core::record::{Answer, Record, RecordSink, SendResult};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The numbers of all finished requests.
#[derive(Default)]
pub(crate) struct Counts(Mutex<Numbers>);

/// What was counted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Numbers {
    /// Finished requests.
    pub(crate) requests: u64,
    /// What their clients got: `relayed`, `interrupted`, `failed` or `canceled`.
    pub(crate) answers: BTreeMap<String, u64>,
    /// Requests that got an answer after another endpoint had failed.
    pub(crate) failovers: u64,
    /// Requests sent to upstreams.
    pub(crate) sends: u64,
    /// Sends that failed or broke, by kind.
    pub(crate) errors: BTreeMap<String, u64>,
    /// What happened to bindings of sessions.
    pub(crate) bindings: BTreeMap<String, u64>,
}

impl Counts {
    /// What was counted so far.
    pub(crate) fn numbers(&self) -> Numbers {
        self.change(|numbers| numbers.clone())
    }

    fn change<T>(&self, change: impl FnOnce(&mut Numbers) -> T) -> T {
        // Each number stands for itself.
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Numbers {
    fn count(&mut self, record: &Record) {
        self.requests += 1;
        let answer = match record.answer {
            Answer::Relayed { .. } => "relayed",
            Answer::Interrupted { .. } => "interrupted",
            Answer::Failed(_) => "failed",
            _ => "canceled",
        };
        add(&mut self.answers, answer);
        self.failovers += u64::from(record.committed.is_some() && record.visits.len() > 1);
        for (_, send) in record.sends() {
            match send.result {
                // It was never sent.
                SendResult::Refused(_) => continue,
                SendResult::Failed { verdict, .. } | SendResult::Broken(verdict) => {
                    add(&mut self.errors, verdict.kind.as_str());
                }
                _ => {}
            }
            self.sends += 1;
        }
        if let Some(binding) = record.binding {
            add(&mut self.bindings, binding.as_str());
        }
    }
}

/// The names are those of closed lists, so the map stays small.
fn add(numbers: &mut BTreeMap<String, u64>, name: &str) {
    match numbers.get_mut(name) {
        Some(number) => *number += 1,
        None => {
            numbers.insert(name.to_owned(), 1);
        }
    }
}

impl RecordSink for Counts {
    fn finished(&self, record: Arc<Record>) {
        self.change(|numbers| numbers.count(&record));
    }
}

impl fmt::Debug for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Counts").field(&self.numbers()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::explain::samples;

    // STO-09
    #[test]
    fn every_finished_request_is_counted_once_with_what_became_of_it() {
        let counts = Counts::default();
        assert_eq!(counts.numbers(), Numbers::default());
        let records = samples::all();
        let many = records.len() as u64;
        for record in records {
            counts.finished(Arc::new(record));
        }
        let numbers = counts.numbers();
        assert_eq!(numbers.requests, many);
        assert_eq!(numbers.answers.values().sum::<u64>(), many);
        assert!(numbers.answers["relayed"] > 0 && numbers.answers["failed"] > 0);
        assert!(numbers.failovers > 0 && numbers.failovers < many);
        assert!(numbers.errors["overloaded"] > 0, "{numbers:?}");
        assert!(numbers.errors.values().sum::<u64>() < numbers.sends);
        assert!(!numbers.bindings.is_empty());
    }
}
