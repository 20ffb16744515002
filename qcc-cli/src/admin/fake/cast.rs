//! The moment at which everything stands, and an endpoint of each kind.

use qcc_core::time::{SystemTime, WallClock};

use crate::admin::checks::{CheckView, RecoveryView};
use crate::admin::view::{BreakerView, EndpointView, LastFailureView, OutView};
use crate::explain::samples;
use crate::moment::Date;

/// A clock that stands still.
#[derive(Debug)]
pub(crate) struct Standing;

impl WallClock for Standing {
    fn now(&self) -> SystemTime {
        SystemTime::UNIX_EPOCH + std::time::Duration::from_millis(1_769_846_600_250)
    }
}

/// When it stands.
pub(crate) fn date() -> Date {
    Date::from(Standing.now())
}

pub(super) fn seconds(later: u64) -> Date {
    date().after(std::time::Duration::from_secs(later))
}

/// An endpoint in good health.
pub(crate) fn healthy(name: &str) -> EndpointView {
    let endpoint = samples::endpoint(name, &format!("https://{name}.example"));
    EndpointView {
        id: endpoint.id().to_string(),
        name: name.to_owned(),
        cluster: "claude".to_owned(),
        base_url: endpoint.base_url().to_string(),
        kind: None,
        priority: 1,
        weight: 100,
        effective_weight: 100.0,
        max_in_flight: Some(20),
        enabled: true,
        operator_enabled: true,
        status: "healthy".to_owned(),
        is_healthy: true,
        auth_failed: false,
        consecutive_failures: 0,
        breaker: BreakerView {
            state: "closed".to_owned(),
            failures: 0,
            threshold: 3,
            opened_at: None,
            until: None,
        },
        queued: false,
        recovery: RecoveryView::default(),
        in_flight: 2,
        daily_requests: 120,
        latency_ms: Some(812.5),
        total: 120,
        failed: 3,
        success_rate: Some(97.5),
        average_response_ms: Some(900.0),
        out: None,
        last_failure: None,
        marked: None,
        rate_limit_reset: None,
    }
}

/// The place of a member of the queue, since so many seconds and for as many more.
pub(super) fn waiting(reason: &str, since: u64, left: u64) -> RecoveryView {
    let since = Standing.now() - std::time::Duration::from_secs(since);
    RecoveryView {
        reason: Some(reason.to_owned()),
        since: Some(Date::from(since)),
        next_check: Some(seconds(left)),
        checks: 2,
        failed: 1,
        verified: 2,
        still_failed: 2,
        ..RecoveryView::default()
    }
}

/// The check of an endpoint that is well, or that answers without the code.
pub(super) fn checked(valid: bool) -> CheckView {
    CheckView {
        id: "qcc-check-1".to_owned(),
        time: date(),
        message: "Reply with this code: ABC123".to_owned(),
        verification_code: "ABC123".to_owned(),
        result: "answered".to_owned(),
        status: Some(200),
        latency_ms: 686.0,
        content: if valid { "ABC123" } else { "" }.to_owned(),
        valid,
        verdict: if valid { "valid" } else { "invalid" }.to_owned(),
        score: if valid { 90 } else { 20 },
        error: (!valid).then(|| "an empty answer".to_owned()),
    }
}

/// An endpoint whose breaker is open.
pub(crate) fn open(name: &str) -> EndpointView {
    let last = LastFailureView {
        kind: "overloaded".to_owned(),
        status: Some(529),
        at: Date::from(Standing.now() - std::time::Duration::from_secs(26)),
        request_id: "qcc-test-1".to_owned(),
    };
    EndpointView {
        status: "unhealthy".to_owned(),
        is_healthy: false,
        consecutive_failures: 3,
        breaker: BreakerView {
            state: "open".to_owned(),
            failures: 3,
            threshold: 3,
            opened_at: Some(last.at),
            until: Some(seconds(34)),
        },
        queued: true,
        recovery: waiting("breaker opened (overloaded)", 26, 34),
        in_flight: 0,
        out: Some(OutView {
            reason: "open".to_owned(),
            until: Some(seconds(34)),
        }),
        last_failure: Some(last),
        ..healthy(name)
    }
}

/// An endpoint that answered 401.
pub(crate) fn refused(name: &str) -> EndpointView {
    let last = LastFailureView {
        kind: "auth".to_owned(),
        status: Some(401),
        at: Date::from(Standing.now() - std::time::Duration::from_secs(3_600)),
        request_id: "qcc-test-0".to_owned(),
    };
    EndpointView {
        enabled: false,
        status: "unhealthy".to_owned(),
        is_healthy: false,
        auth_failed: true,
        consecutive_failures: 1,
        queued: true,
        recovery: waiting("HTTP 401", 3_600, 1_800),
        in_flight: 0,
        max_in_flight: None,
        out: Some(OutView {
            reason: "auth_failed".to_owned(),
            until: None,
        }),
        last_failure: Some(last),
        ..healthy(name)
    }
}
