//! What layers note, and how a record takes it in.

use std::sync::Arc;

use http::StatusCode;
use smallvec::SmallVec;

use super::{
    Answer, Fate, LeftOut, NAMED_LEFT_OUT, PassedOver, Record, SendRecord, SendResult, SessionHash,
    Tier, Transition, Usage, VisitRecord,
};
use crate::available::{Reason, ReasonCounts};
use crate::endpoint::Endpoint;
use crate::exchange::SendKind;
use crate::failure::{Verdict, Wait};
use crate::time::{Duration, Instant};

/// Something that was decided or happened, for the record.
#[derive(Debug)]
pub(crate) enum Event {
    /// Retry began a visit.
    VisitBegan,
    /// A send of this kind began in the current visit.
    SendBegan(SendKind),
    /// Balance left endpoints out.
    LeftOut(LeftOuts),
    /// Balance chose an endpoint.
    Chosen {
        endpoint: Arc<Endpoint>,
        tier: Tier,
        preference: Option<Fate>,
    },
    /// The token pool leased a credential, or looked in vain for one.
    Leased {
        credential: Option<Arc<str>>,
        passed_over: Vec<PassedOver>,
    },
    /// The head of an answer came.
    Status(StatusCode),
    /// The first byte of a body came.
    FirstByte,
    /// The send was refused before it was sent.
    Refused(Reason),
    /// There was nobody to send to.
    Unsent,
    /// The send failed before its commit point.
    Failed {
        verdict: Verdict,
        wait: Option<Wait>,
    },
    /// The answer was committed.
    Committed,
    /// The committed answer ended after so many bytes.
    Ended { result: SendResult, bytes: u64 },
    /// The answer told its use of tokens.
    Usage(Usage),
    /// The request belongs to a session.
    Session(SessionHash),
    /// Affinity changed a binding.
    Binding(Transition),
    /// The client got this.
    Answered(Answer),
}

/// The endpoints that a choice left out.
#[derive(Clone, Debug, Default)]
pub(crate) struct LeftOuts {
    pub(crate) named: SmallVec<[LeftOut; 1]>,
    pub(crate) others: ReasonCounts,
}

impl LeftOuts {
    /// Notes that `endpoint` was looked at and left out. One that is named already is not
    /// named again.
    pub(crate) fn push(
        &mut self,
        endpoint: &Arc<Endpoint>,
        reason: Reason,
        until: Option<Instant>,
    ) {
        if self
            .named
            .iter()
            .any(|known| known.endpoint.id() == endpoint.id())
        {
            return;
        }
        if self.named.len() < NAMED_LEFT_OUT {
            let endpoint = endpoint.clone();
            self.named.push(LeftOut::new(endpoint, reason, until));
        } else {
            self.others.add(reason);
        }
    }
}

impl Record {
    /// Applies `event`, which happened `at` after the start.
    pub(crate) fn apply(&mut self, event: Event, at: Duration) {
        match event {
            Event::VisitBegan => self.visits.push(VisitRecord::new(at)),
            Event::LeftOut(left_out) => {
                if let Some(visit) = self.visits.last_mut() {
                    visit.left_out = left_out.named;
                    visit.others = left_out.others;
                }
            }
            Event::Chosen {
                endpoint,
                tier,
                preference,
            } => {
                if let Some(visit) = self.visits.last_mut() {
                    visit.endpoint = Some(endpoint);
                    visit.tier = Some(tier);
                    visit.preference = preference;
                }
            }
            Event::SendBegan(kind) => {
                // Without Retry nobody begins a visit.
                if self.visits.is_empty() {
                    self.visits.push(VisitRecord::new(at));
                }
                if let Some(visit) = self.visits.last_mut() {
                    let mut send = SendRecord::new(kind, at);
                    if kind == SendKind::Quick {
                        // The same request once more: nobody leases its credential again.
                        send.credential =
                            visit.sends.last().and_then(|last| last.credential.clone());
                    }
                    visit.sends.push(send);
                }
            }
            Event::Committed => {
                self.committed = Some(at);
                if let Some(send) = self.last_send() {
                    send.result = SendResult::Committed;
                }
            }
            Event::Leased {
                credential,
                passed_over,
            } => self.on_send(|send| {
                send.credential = credential;
                send.passed_over = passed_over;
            }),
            Event::FirstByte => self.on_send(|send| {
                send.first_byte = Some(at.saturating_sub(send.started));
            }),
            Event::Status(status) => self.on_send(|send| send.status = Some(status)),
            Event::Refused(reason) => self.end_send(at, SendResult::Refused(reason)),
            Event::Unsent => {
                if let Some(visit) = self.visits.last_mut() {
                    visit.sends.pop();
                }
            }
            Event::Failed { verdict, wait } => {
                self.end_send(at, SendResult::Failed { verdict, wait })
            }
            Event::Ended { result, bytes } => {
                self.on_send(|send| send.bytes = bytes);
                self.end_send(at, result);
            }
            Event::Usage(usage) => self.usage = Some(usage),
            Event::Session(session) => self.session = Some(session),
            Event::Binding(transition) => self.binding = Some(transition),
            Event::Answered(answer) => self.answer = answer,
        }
    }

    /// Ends the record `at` after the start.
    pub(crate) fn close(&mut self, at: Duration) {
        self.duration = at;
        // Without a classifier nobody has told how the send ended.
        let result = match self.answer {
            Answer::Relayed { .. } => SendResult::Clean,
            Answer::Interrupted { kind, .. } => SendResult::Broken(Verdict::new(kind)),
            _ => SendResult::Canceled,
        };
        self.end_send(at, result);
    }

    fn last_send(&mut self) -> Option<&mut SendRecord> {
        self.visits.last_mut()?.sends.last_mut()
    }

    fn on_send(&mut self, change: impl FnOnce(&mut SendRecord)) {
        if let Some(send) = self.last_send() {
            change(send);
        }
    }

    /// Ends the last send, once: the layer that stands nearest to the upstream speaks first and
    /// knows best.
    fn end_send(&mut self, at: Duration, result: SendResult) {
        self.on_send(|send| {
            if matches!(send.result, SendResult::Pending | SendResult::Committed) {
                send.duration = at.saturating_sub(send.started);
                send.result = result;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::exchange::RequestId;
    use crate::failure::Kind;
    use crate::time::SystemTime;

    fn record() -> Record {
        Record::new(RequestId::random(), SystemTime::UNIX_EPOCH)
    }

    // XPL-01
    #[test]
    fn a_send_ends_once_and_the_first_to_speak_is_believed() {
        let mut record = record();
        let at = Duration::from_millis;
        record.apply(Event::VisitBegan, at(0));
        record.apply(Event::SendBegan(SendKind::First), at(1));
        let verdict = Verdict::new(Kind::Server);
        record.apply(
            Event::Failed {
                verdict,
                wait: None,
            },
            at(5),
        );
        record.apply(
            Event::Failed {
                verdict: Verdict::new(Kind::Transport),
                wait: None,
            },
            at(9),
        );
        let (_, send) = record.sends().next().unwrap();
        assert_eq!(
            send.result,
            SendResult::Failed {
                verdict,
                wait: None
            }
        );
        assert_eq!(send.duration, at(4));
    }

    // XPL-01
    #[test]
    fn a_quick_retry_has_the_credential_of_the_send_that_it_repeats() {
        let mut record = record();
        record.apply(Event::SendBegan(SendKind::First), Duration::ZERO);
        let leased = Event::Leased {
            credential: Some("Personal-1".into()),
            passed_over: Vec::new(),
        };
        record.apply(leased, Duration::ZERO);
        record.apply(Event::SendBegan(SendKind::Quick), Duration::ZERO);
        let (_, quick) = record.sends().last().unwrap();
        assert_eq!(quick.credential.as_deref(), Some("Personal-1"));
    }

    // XPL-01
    #[test]
    fn sixteen_are_left_out_by_name_and_the_others_are_counted() {
        let mut left_out = LeftOuts::default();
        for number in 0..20 {
            let base = format!("http://h{number}.example").parse().unwrap();
            let endpoint = Arc::new(Endpoint::new(format!("e{number}"), base));
            left_out.push(&endpoint, Reason::Open, None);
            left_out.push(&endpoint, Reason::Open, None);
        }
        assert_eq!(left_out.named.len(), NAMED_LEFT_OUT);
        assert!(left_out.others.get(Reason::Open) >= 4);
    }
}
