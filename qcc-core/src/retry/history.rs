//! What a request went through, and the answer that follows from it: the pure core.

use bytes::Bytes;
use http::Response;

use crate::available::ReasonCounts;
use crate::error::{ErrorKind, OwnerUnavailable};
use crate::failure::{Failed, Kind, Verdict, Wait};
use crate::time::Instant;

/// The failures of one request so far.
#[derive(Debug, Default)]
pub(super) struct History {
    failures: usize,
    refused_credentials: usize,
    last: Option<Last>,
    invalid: Option<Response<Bytes>>,
    relayable: Option<Response<Bytes>>,
    reset: Option<Instant>,
    reasons: ReasonCounts,
    recovery: Option<Instant>,
    owner: Option<OwnerUnavailable>,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    verdict: Verdict,
    wait: Option<Wait>,
}

/// The answer to a request that nobody answered well.
#[derive(Debug)]
pub(super) enum Conclusion {
    /// Relay this answer as it came.
    Relay(Response<Bytes>),
    /// An error of ours.
    Fail {
        kind: ErrorKind,
        retry_at: Option<Instant>,
        reasons: ReasonCounts,
        owner: Option<OwnerUnavailable>,
    },
}

impl History {
    /// Adds a failed visit. `failed` is what the classifier knew of it.
    pub(super) fn failed(&mut self, verdict: Verdict, failed: Option<&Failed>) {
        self.failures += 1;
        self.last = Some(Last {
            verdict,
            wait: failed.and_then(Failed::wait),
        });
        match verdict.kind {
            Kind::Auth => self.refused_credentials += 1,
            Kind::RateLimit | Kind::Quota => self.reset = earliest(self.reset, verdict.until),
            _ => {}
        }
        let Some(response) = failed.and_then(Failed::response) else {
            return;
        };
        if verdict.kind == Kind::InvalidRequest {
            self.invalid.get_or_insert_with(|| response.clone());
        } else if verdict.kind != Kind::Auth && !response.status().is_success() {
            self.relayable = Some(response.clone());
        }
    }

    /// No endpoint was left to try.
    pub(super) fn none_left(&mut self, reasons: ReasonCounts, until: Option<Instant>) {
        self.reasons = reasons;
        self.recovery = until;
    }

    /// The one endpoint that can answer cannot be used, or has failed: nobody else is asked.
    pub(super) fn owner_lost(&mut self, owner: OwnerUnavailable) {
        if let Some(reason) = owner.reason() {
            self.reasons.add(reason);
        }
        self.recovery = owner.until();
        self.owner = Some(owner);
    }

    /// The answer. `expired` says that the deadline passed during or before the last visit.
    pub(super) fn conclude(self, expired: bool) -> Conclusion {
        // A client's mistake is told by the first who saw it, whatever came later.
        if let Some(invalid) = self.invalid {
            return Conclusion::Relay(invalid);
        }
        let kind = match self.last {
            _ if expired => ErrorKind::Deadline,
            Some(Last {
                wait: Some(Wait::Deadline),
                ..
            }) => ErrorKind::Deadline,
            Some(last) if matches!(last.verdict.kind, Kind::RateLimit | Kind::Quota) => {
                match self.owner {
                    Some(_) => ErrorKind::OwnerUnavailable,
                    None => ErrorKind::RateLimited,
                }
            }
            Some(_) => {
                if let Some(response) = self.relayable {
                    return Conclusion::Relay(response);
                }
                if self.owner.is_some() {
                    ErrorKind::OwnerUnavailable
                } else if self.refused_credentials == self.failures {
                    ErrorKind::AuthFailed
                } else {
                    ErrorKind::AllFailed
                }
            }
            None if self.owner.is_some() => ErrorKind::OwnerUnavailable,
            None => ErrorKind::NoEndpoint,
        };
        Conclusion::Fail {
            kind,
            retry_at: earliest(self.reset, self.recovery),
            reasons: self.reasons,
            owner: self.owner,
        }
    }
}

fn earliest(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::available::Reason;
    use crate::time::{self, Duration};

    fn answered(kind: Kind, status: u16) -> Failed {
        let response = Response::builder()
            .status(status)
            .body(Bytes::from(status.to_string()))
            .unwrap();
        Failed::new(Verdict::new(kind)).with_response(response)
    }

    fn conclude(failures: &[Failed]) -> Conclusion {
        let mut history = History::default();
        for failed in failures {
            history.failed(failed.verdict(), Some(failed));
        }
        history.conclude(false)
    }

    fn relayed(failures: &[Failed]) -> Option<u16> {
        match conclude(failures) {
            Conclusion::Relay(response) => Some(response.status().as_u16()),
            Conclusion::Fail { .. } => None,
        }
    }

    fn error(failures: &[Failed]) -> Option<ErrorKind> {
        match conclude(failures) {
            Conclusion::Relay(_) => None,
            Conclusion::Fail { kind, .. } => Some(kind),
        }
    }

    // RTY-13
    #[test]
    fn the_last_answer_that_is_no_auth_failure_is_relayed() {
        let transport = || Failed::new(Verdict::new(Kind::Transport));
        assert_eq!(
            relayed(&[
                answered(Kind::Server, 500),
                answered(Kind::Overloaded, 503),
                answered(Kind::Auth, 401),
                transport(),
            ]),
            Some(503)
        );
        assert_eq!(
            error(&[transport(), transport()]),
            Some(ErrorKind::AllFailed)
        );
    }

    // RTY-13
    #[test]
    fn a_success_that_was_an_error_is_never_relayed() {
        assert_eq!(
            error(&[answered(Kind::Unknown, 200)]),
            Some(ErrorKind::AllFailed)
        );
    }

    // RTY-12
    #[test]
    fn refused_credentials_alone_are_an_auth_failure() {
        let auth = || answered(Kind::Auth, 401);
        assert_eq!(
            error(&[auth(), auth(), auth()]),
            Some(ErrorKind::AuthFailed)
        );
        assert_eq!(
            error(&[auth(), Failed::new(Verdict::new(Kind::Transport))]),
            Some(ErrorKind::AllFailed)
        );
    }

    // RTY-08
    #[test]
    fn the_first_invalid_request_is_the_answer_whatever_came_later() {
        assert_eq!(
            relayed(&[
                answered(Kind::Server, 500),
                answered(Kind::InvalidRequest, 400),
                answered(Kind::InvalidRequest, 422),
            ]),
            Some(400)
        );
    }

    // RTY-13, TOK-14
    #[test]
    fn rate_limits_at_the_end_are_ours_with_the_earliest_reset() {
        let now = time::now();
        let limit = |seconds| {
            let until = Some(now + Duration::from_secs(seconds));
            Verdict::new(Kind::RateLimit).until(until)
        };
        let mut history = History::default();
        history.failed(limit(30), None);
        history.failed(limit(20), None);
        let Conclusion::Fail { kind, retry_at, .. } = history.conclude(false) else {
            panic!("a limit is not relayed");
        };
        assert_eq!(kind, ErrorKind::RateLimited);
        assert_eq!(retry_at, Some(now + Duration::from_secs(20)));
    }

    // RTY-14
    #[test]
    fn without_a_visit_the_reasons_are_the_answer() {
        let mut reasons = ReasonCounts::default();
        reasons.add(Reason::Open);
        let mut history = History::default();
        history.none_left(reasons, None);
        assert!(matches!(
            history.conclude(false),
            Conclusion::Fail { kind: ErrorKind::NoEndpoint, reasons, .. } if reasons.get(Reason::Open) == 1
        ));
    }

    // RTY-10
    #[test]
    fn a_deadline_is_told_as_such() {
        let last = Failed::timed_out(Wait::Deadline);
        assert_eq!(
            error(&[answered(Kind::Server, 500), last]),
            Some(ErrorKind::Deadline)
        );
    }

    // AFF-19
    #[test]
    fn an_owner_that_failed_answers_itself_or_is_named() {
        use crate::endpoint::Endpoint;

        let id = Endpoint::new("main", "http://main.example".parse().unwrap()).id();
        let until = Some(time::now() + Duration::from_secs(9));
        let conclude = |failed: Option<Failed>, reason| {
            let mut history = History::default();
            if let Some(failed) = &failed {
                history.failed(failed.verdict(), Some(failed));
            }
            let owner = OwnerUnavailable::new(id, Some("main".into()), Some(reason), until);
            history.owner_lost(owner);
            history.conclude(false)
        };
        for kind in [Kind::Server, Kind::InvalidRequest] {
            let relayed = conclude(Some(answered(kind, 418)), Reason::Excluded);
            assert!(matches!(relayed, Conclusion::Relay(response) if response.status() == 418));
        }
        for (failed, reason) in [
            (None, Reason::Open),
            (
                Some(Failed::new(Verdict::new(Kind::Transport))),
                Reason::Excluded,
            ),
            (Some(answered(Kind::RateLimit, 429)), Reason::Excluded),
            (Some(answered(Kind::Auth, 401)), Reason::Excluded),
        ] {
            let Conclusion::Fail {
                kind,
                retry_at,
                reasons,
                owner,
            } = conclude(failed, reason)
            else {
                panic!("an answer was relayed for {reason}");
            };
            assert_eq!(kind, ErrorKind::OwnerUnavailable);
            assert_eq!(retry_at, until);
            assert!(reasons.only(reason));
            assert_eq!(owner.and_then(|owner| owner.reason()), Some(reason));
        }
    }
}
