//! What happened, counted. Pure.

use std::collections::BTreeMap;

use qcc_core::available::Reason;
use qcc_core::failure::Kind;
use qcc_core::record::{Record, SendResult, Transition};
use qcc_core::time::Instant;

use super::cast::{CAST, Fault};

/// What every endpoint did, and since when.
#[derive(Debug)]
pub(super) struct Playbill(BTreeMap<&'static str, Vec<(Instant, Option<Fault>)>>);

impl Playbill {
    /// Everybody is well.
    pub(super) const fn new() -> Self {
        Self(BTreeMap::new())
    }

    /// From now on `name` does this.
    pub(super) fn change(&mut self, name: &'static str, fault: Option<Fault>, now: Instant) {
        self.0.entry(name).or_default().push((now, fault));
    }

    /// What `name` did at that time.
    fn at(&self, name: &str, at: Instant) -> Option<Fault> {
        let changes = self.0.get(name)?;
        let (_, fault) = changes.iter().rev().find(|(since, _)| *since <= at)?;
        *fault
    }
}

/// How a send ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// With an answer.
    Answered,
    /// Without one that could be passed on.
    Failed(Kind),
    /// In the middle of an answer.
    Broken(Kind),
}

/// One send of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    pub(super) endpoint: String,
    /// What the endpoint did then.
    pub(super) fault: Option<Fault>,
    pub(super) end: End,
}

/// A request that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) id: String,
    pub(super) sends: Vec<Sent>,
    /// Who was not asked, and why.
    pub(super) left_out: Vec<(String, Reason)>,
    pub(super) binding: Option<Transition>,
}

impl Seen {
    /// What a record says, which was closed `now`.
    pub(super) fn of(record: &Record, playbill: &Playbill, now: Instant) -> Self {
        let began = now.checked_sub(record.duration).unwrap_or(now);
        let sends = record.sends().filter_map(|(endpoint, send)| {
            let endpoint = endpoint?.name().to_string();
            let end = match send.result {
                SendResult::Clean | SendResult::Committed => End::Answered,
                SendResult::Failed { verdict, .. } => End::Failed(verdict.kind),
                SendResult::Broken(verdict) => End::Broken(verdict.kind),
                _ => return None,
            };
            let fault = playbill.at(&endpoint, began + send.started);
            let fault = fault.map(|fault| fault.as_met(record.stream));
            Some(Sent {
                endpoint,
                fault,
                end,
            })
        });
        let left_out = record.visits.iter().flat_map(|visit| {
            visit
                .left_out
                .iter()
                .filter(|one| one.reason != Reason::Excluded)
                .map(|one| (one.endpoint.name().to_string(), one.reason))
        });
        Self {
            id: record.id.to_string(),
            sends: sends.collect(),
            left_out: left_out.collect(),
            binding: record.binding,
        }
    }

    /// The sends that failed, and who answered in the end.
    pub(super) fn story(&self) -> Option<(&[Sent], &str)> {
        match self.sends.split_last() {
            Some((last, failed)) if last.end == End::Answered && !failed.is_empty() => {
                Some((failed, &last.endpoint))
            }
            _ => None,
        }
    }
}

/// What one endpoint did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) sends: u64,
    pub(super) answered: u64,
    pub(super) failed: BTreeMap<Kind, u64>,
    pub(super) faults: BTreeMap<Fault, u64>,
    /// How often it was not asked, and why.
    pub(super) left_out: BTreeMap<Reason, u64>,
}

impl Row {
    /// All failures.
    pub(super) fn failures(&self) -> u64 {
        self.failed.values().sum()
    }
}

/// What all of them did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub(super) requests: u64,
    pub(super) rows: BTreeMap<String, Row>,
    /// Requests that went to the endpoint of their session.
    pub(super) stayed: u64,
    /// The request that met the most failures, with their number.
    pub(super) hardest: Option<(String, usize)>,
}

impl Tally {
    /// Nothing so far.
    pub(super) fn new() -> Self {
        Self {
            rows: CAST
                .iter()
                .map(|role| (role.name.to_owned(), Row::default()))
                .collect(),
            ..Self::default()
        }
    }

    /// One more request.
    pub(super) fn add(&mut self, seen: &Seen) {
        self.requests += 1;
        for sent in &seen.sends {
            let row = self.rows.entry(sent.endpoint.clone()).or_default();
            row.sends += 1;
            match sent.end {
                End::Answered => row.answered += 1,
                End::Failed(kind) | End::Broken(kind) => {
                    *row.failed.entry(kind).or_default() += 1;
                    if let Some(fault) = sent.fault {
                        *row.faults.entry(fault).or_default() += 1;
                    }
                }
            }
        }
        for (endpoint, reason) in &seen.left_out {
            let row = self.rows.entry(endpoint.clone()).or_default();
            *row.left_out.entry(*reason).or_default() += 1;
        }
        self.stayed += u64::from(seen.binding == Some(Transition::Refreshed));
        if let Some((failed, _)) = seen.story()
            && self
                .hardest
                .as_ref()
                .is_none_or(|(_, most)| failed.len() > *most)
        {
            self.hardest = Some((seen.id.clone(), failed.len()));
        }
    }

    /// How often an endpoint answered.
    pub(super) fn answered(&self, name: &str) -> u64 {
        self.rows.get(name).map_or(0, |row| row.answered)
    }

    /// Whether a request met this fault at that endpoint.
    pub(super) fn has_met(&self, name: &str, fault: Fault) -> bool {
        let row = self.rows.get(name);
        row.is_some_and(|row| row.faults.contains_key(&fault))
    }

    /// How often each fault was met.
    pub(super) fn faults(&self) -> BTreeMap<Fault, u64> {
        let mut faults = BTreeMap::new();
        for (fault, count) in self.rows.values().flat_map(|row| &row.faults) {
            *faults.entry(*fault).or_default() += count;
        }
        faults
    }
}

#[cfg(test)]
mod tests {
    use qcc_core::time::{self, Duration};

    use super::*;

    fn sent(endpoint: &str, fault: Option<Fault>, end: End) -> Sent {
        Sent {
            endpoint: endpoint.to_owned(),
            fault,
            end,
        }
    }

    // SIM-03
    #[test]
    fn failures_are_counted_where_they_happened_and_requests_once() {
        let mut tally = Tally::new();
        let failed = sent("aurora", Some(Fault::Reset), End::Failed(Kind::Transport));
        let seen = Seen {
            id: "r1".to_owned(),
            sends: vec![failed.clone(), failed, sent("delta", None, End::Answered)],
            left_out: vec![("birch".to_owned(), Reason::AuthFailed)],
            binding: Some(Transition::Rebound),
        };
        tally.add(&seen);
        tally.add(&Seen {
            id: "r2".to_owned(),
            sends: vec![sent("delta", None, End::Answered)],
            binding: Some(Transition::Refreshed),
            ..Seen::default()
        });
        assert_eq!((tally.requests, tally.stayed), (2, 1));
        assert_eq!(tally.rows["aurora"].failures(), 2);
        assert_eq!(tally.rows["aurora"].failed[&Kind::Transport], 2);
        assert_eq!(
            (tally.answered("delta"), tally.answered("fallback")),
            (2, 0)
        );
        assert_eq!(tally.rows["birch"].left_out[&Reason::AuthFailed], 1);
        assert_eq!(tally.faults(), BTreeMap::from([(Fault::Reset, 2)]));
        assert!(tally.has_met("aurora", Fault::Reset));
        assert!(!tally.has_met("delta", Fault::Reset));
        assert_eq!(tally.hardest, Some(("r1".to_owned(), 2)));
    }

    // SIM-03
    #[test]
    fn a_failure_is_named_after_what_the_endpoint_did_when_it_was_asked() {
        let (start, second) = (time::now(), Duration::from_secs(1));
        let mut playbill = Playbill::new();
        playbill.change("delta", Some(Fault::WebPage), start + second);
        playbill.change("delta", None, start + 3 * second);
        let at = |seconds| playbill.at("delta", start + seconds * second);
        assert_eq!(
            [at(0), at(1), at(2), at(3)],
            [None, Some(Fault::WebPage), Some(Fault::WebPage), None]
        );
        assert_eq!(playbill.at("ember", start + second), None);
    }

    #[test]
    fn only_a_request_that_was_saved_has_a_story() {
        let mut seen = Seen {
            sends: vec![sent("delta", None, End::Answered)],
            ..Seen::default()
        };
        assert_eq!(seen.story(), None);
        seen.sends.insert(
            0,
            sent("birch", Some(Fault::Unauthorized), End::Failed(Kind::Auth)),
        );
        let (failed, answered) = seen.story().unwrap();
        assert_eq!((failed.len(), answered), (1, "delta"));
        seen.sends.pop();
        assert_eq!(seen.story(), None);
    }
}
