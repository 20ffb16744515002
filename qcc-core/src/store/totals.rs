//! What one request adds to the figures of the endpoints that it visited.

use std::sync::Arc;

use crate::endpoint::Endpoint;
use crate::failure::{Blame, Verdict};
use crate::record::{Record, SendRecord, SendResult, VisitRecord};
use crate::time::Duration;

/// Figures of one endpoint over some time. They count as its health does: a visit that came to an
/// end is a request, one that the client gave up is none, and one that failed through the
/// caller's own fault did not fail.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Totals {
    /// Visits that came to an end.
    pub requests: u64,
    /// Those of them that failed through the fault of endpoint or credential.
    pub failed: u64,
    /// How many have a latency: those that were answered, well or not.
    pub timed: u64,
    /// The sum of these latencies, up to the commit point or the failed answer.
    pub latency_sum: Duration,
    /// The shortest of them.
    pub latency_min: Option<Duration>,
    /// The longest of them.
    pub latency_max: Option<Duration>,
    /// Input tokens, as its answers told them.
    pub input_tokens: u64,
    /// Those of them that were read from a cache.
    pub cached_tokens: u64,
    /// Output tokens.
    pub output_tokens: u64,
}

impl Totals {
    /// The mean latency of those that have one.
    #[must_use]
    pub fn latency_average(&self) -> Option<Duration> {
        (self.timed > 0).then(|| self.latency_sum.div_f64(self.timed as f64))
    }

    /// The share of requests that did not fail, in percent; `None` without a request.
    #[must_use]
    pub fn success_rate(&self) -> Option<f64> {
        let good = self.requests.saturating_sub(self.failed);
        (self.requests > 0).then(|| good as f64 / self.requests as f64 * 100.0)
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.requests += other.requests;
        self.failed += other.failed;
        self.timed += other.timed;
        self.latency_sum = self.latency_sum.saturating_add(other.latency_sum);
        self.latency_min = match (self.latency_min, other.latency_min) {
            (Some(one), Some(other)) => Some(one.min(other)),
            (one, other) => one.or(other),
        };
        self.latency_max = self.latency_max.max(other.latency_max);
        self.input_tokens = self.input_tokens.saturating_add(other.input_tokens);
        self.cached_tokens = self.cached_tokens.saturating_add(other.cached_tokens);
        self.output_tokens = self.output_tokens.saturating_add(other.output_tokens);
    }
}

/// What `record` adds, endpoint by endpoint.
pub(super) fn added(record: &Record) -> impl Iterator<Item = (&Arc<Endpoint>, Totals)> {
    record.visits.iter().filter_map(|visit| {
        let endpoint = visit.endpoint.as_ref()?;
        let send = visit.sends.last()?;
        Some((endpoint, visited(record, visit, send)?))
    })
}

/// What a visit adds that ended with `send`; `None` if it came to no end.
fn visited(record: &Record, visit: &VisitRecord, send: &SendRecord) -> Option<Totals> {
    let failed = |verdict: Verdict| verdict.blame != Blame::Caller;
    let (failed, ended) = match send.result {
        SendResult::Clean => (false, record.committed),
        SendResult::Broken(verdict) => (failed(verdict), record.committed),
        SendResult::Failed { verdict, .. } => {
            let answered = send.status.map(|_| send.started + send.duration);
            (failed(verdict), answered)
        }
        _ => return None,
    };
    let latency = ended.map(|ended| ended.saturating_sub(visit.started));
    let is_answer = matches!(send.result, SendResult::Clean | SendResult::Broken(_));
    let usage = record.usage.filter(|_| is_answer).unwrap_or_default();
    Some(Totals {
        requests: 1,
        failed: failed.into(),
        timed: latency.is_some().into(),
        latency_sum: latency.unwrap_or_default(),
        latency_min: latency,
        latency_max: latency,
        input_tokens: usage.input.unwrap_or(0),
        cached_tokens: usage.cached.unwrap_or(0),
        output_tokens: usage.output.unwrap_or(0),
    })
}

#[cfg(test)]
mod tests {
    use http::StatusCode;

    use super::*;
    use crate::exchange::{RequestId, SendKind};
    use crate::failure::Kind;
    use crate::record::Usage;
    use crate::time::SystemTime;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn visit(name: &str, started: u64, took: u64, result: SendResult) -> VisitRecord {
        let base = format!("https://{name}.example").parse().unwrap();
        let mut visit = VisitRecord::new(MS(started));
        visit.endpoint = Some(Arc::new(Endpoint::new(name, base)));
        let mut send = SendRecord::new(SendKind::First, MS(started));
        send.duration = MS(took);
        send.result = result;
        visit.sends.push(send);
        visit
    }

    fn failed(kind: Kind) -> SendResult {
        SendResult::Failed {
            verdict: Verdict::new(kind),
            wait: None,
        }
    }

    // STO-03
    #[test]
    fn each_endpoint_gets_its_own_share_of_a_request() {
        let mut record = Record::new(RequestId::random(), SystemTime::UNIX_EPOCH);
        let mut answered = visit("slow", 0, 40, failed(Kind::Overloaded));
        answered.sends[0].status = Some(StatusCode::SERVICE_UNAVAILABLE);
        record.visits.push(answered);
        record
            .visits
            .push(visit("gone", 40, 10, failed(Kind::Transport)));
        record
            .visits
            .push(visit("good", 50, 500, SendResult::Clean));
        record.committed = Some(MS(80));
        let mut usage = Usage::default();
        (usage.input, usage.output) = (Some(12), Some(3));
        record.usage = Some(usage);
        let all: Vec<_> = added(&record)
            .map(|(endpoint, totals)| (&**endpoint.name(), totals))
            .collect();
        let [("slow", slow), ("gone", gone), ("good", good)] = all[..] else {
            panic!("{all:?}")
        };
        assert_eq!((slow.requests, slow.failed), (1, 1));
        assert_eq!(slow.latency_average(), Some(MS(40)));
        assert_eq!(
            (gone.failed, gone.timed, gone.latency_average()),
            (1, 0, None)
        );
        assert_eq!((good.requests, good.failed), (1, 0));
        assert_eq!(good.latency_max, Some(MS(30)));
        assert_eq!((good.input_tokens, good.output_tokens), (12, 3));
        assert_eq!(slow.input_tokens, 0);
        let mut both = slow;
        both.add(&good);
        both.add(&gone);
        assert_eq!((both.requests, both.failed, both.timed), (3, 2, 2));
        assert_eq!(
            (both.latency_min, both.latency_max),
            (Some(MS(30)), Some(MS(40)))
        );
        assert_eq!(both.latency_average(), Some(MS(35)));
    }

    // STO-03
    #[test]
    fn what_nobody_waited_for_is_no_request_and_the_callers_fault_no_failure() {
        let mut record = Record::new(RequestId::random(), SystemTime::UNIX_EPOCH);
        record.visits.push(visit("a", 0, 5, SendResult::Canceled));
        record
            .visits
            .push(visit("b", 5, 5, failed(Kind::InvalidRequest)));
        let all: Vec<_> = added(&record).map(|(_, totals)| totals).collect();
        assert_eq!(all.len(), 1);
        assert_eq!((all[0].requests, all[0].failed), (1, 0));
        assert_eq!(all[0].success_rate(), Some(100.0));
        assert_eq!(Totals::default().success_rate(), None);
    }
}
