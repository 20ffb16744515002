use http::StatusCode;
use http::header::RETRY_AFTER;
use http::response::Parts;

use super::{Classify, Plan, Sent};
use crate::failure::{Kind, Verdict};
use crate::time::{Duration, Instant};

/// Judges by the status alone: for HTTP services that have nothing to do with LLMs.
///
/// 401 and 403 are `auth`, 402 is `quota`, 429 is `rate_limit`, 502, 503, 504 and 529 are
/// `overloaded`, 408, 409 and other 5xx are `server`, other 4xx are `invalid_request`;
/// everything else passes. `Retry-After` in seconds, from 1 s to 1 h, is the cool-down of a
/// rate limit (30 s without it), a quota (1 h) and an overload (none).
#[derive(Clone, Copy, Debug, Default)]
pub struct ByStatus;

impl Classify for ByStatus {
    fn head(&self, _: Sent<'_>, head: &Parts) -> Plan {
        if head.status.is_client_error() || head.status.is_server_error() {
            Plan::Fail
        } else {
            Plan::Pass
        }
    }

    fn failure(&self, _: Sent<'_>, head: &Parts, _: &[u8], now: Instant) -> Verdict {
        let kind = kind(head.status);
        let usual = match kind {
            Kind::RateLimit => Some(Duration::from_secs(30)),
            Kind::Quota => Some(Duration::from_secs(60 * 60)),
            Kind::Overloaded => None,
            _ => return Verdict::new(kind),
        };
        let wait = retry_after(head).or(usual);
        Verdict::new(kind).until(wait.map(|wait| now + wait))
    }
}

fn kind(status: StatusCode) -> Kind {
    match status.as_u16() {
        401 | 403 => Kind::Auth,
        402 => Kind::Quota,
        429 => Kind::RateLimit,
        502 | 503 | 504 | 529 => Kind::Overloaded,
        408 | 409 => Kind::Server,
        400..=499 => Kind::InvalidRequest,
        _ => Kind::Server,
    }
}

fn retry_after(head: &Parts) -> Option<Duration> {
    let seconds: u64 = head.headers.get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.clamp(1, 60 * 60)))
}

#[cfg(test)]
mod tests {
    use http::Response;

    use super::*;
    use crate::facts::Facts;
    use crate::time;

    fn judge(status: u16, retry_after: Option<&str>) -> Option<Verdict> {
        let (facts, now) = (Facts::default(), time::now());
        let mut head = Response::builder().status(status);
        if let Some(value) = retry_after {
            head = head.header(RETRY_AFTER, value);
        }
        let (head, ()) = head.body(()).unwrap().into_parts();
        let sent = Sent::new(&facts, None);
        match ByStatus.head(sent, &head) {
            Plan::Fail => Some(ByStatus.failure(sent, &head, b"", now)),
            _ => None,
        }
    }

    // CLS-07, CLS-09
    #[test]
    fn the_status_decides() {
        for (status, kind) in [
            (200, None),
            (304, None),
            (400, Some(Kind::InvalidRequest)),
            (401, Some(Kind::Auth)),
            (402, Some(Kind::Quota)),
            (403, Some(Kind::Auth)),
            (404, Some(Kind::InvalidRequest)),
            (408, Some(Kind::Server)),
            (429, Some(Kind::RateLimit)),
            (500, Some(Kind::Server)),
            (503, Some(Kind::Overloaded)),
            (529, Some(Kind::Overloaded)),
        ] {
            assert_eq!(
                judge(status, None).map(|verdict| verdict.kind),
                kind,
                "{status}"
            );
        }
    }

    // CLS-13
    #[test]
    fn an_unreadable_retry_after_counts_as_absent() {
        let waits =
            |status, value| judge(status, value).is_some_and(|verdict| verdict.until.is_some());
        assert!(waits(503, Some("7")));
        assert!(!waits(503, Some("-7")) && !waits(503, Some("soon")) && !waits(503, None));
        assert!(waits(429, None));
    }
}
