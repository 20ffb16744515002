//! Records with fixed times, for tests.

use std::sync::Arc;

use qcc_core::available::Reason;
use qcc_core::credential::Credential;
use qcc_core::endpoint::Endpoint;
use qcc_core::error::ErrorKind;
use qcc_core::exchange::SendKind;
use qcc_core::facts::Dialect;
use qcc_core::failure::{Kind, Verdict, Wait};
use qcc_core::record::{
    Answer, Fate, LeftOut, PassedOver, Record, SendRecord, SendResult, SessionHash, Tier,
    Transition, Usage, VisitRecord,
};
use qcc_core::time::{Duration, Instant, SystemTime};

use crate::moment::{Anchor, Date};

use http::StatusCode;

/// When the samples are looked at: 3 min 20 s after their requests came.
pub(crate) fn now() -> Anchor {
    Anchor {
        instant: origin() + ms(200_000),
        date: Date::from(start() + ms(200_000)),
    }
}

/// The instant at which the requests came.
fn origin() -> Instant {
    static ORIGIN: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
    *ORIGIN.get_or_init(qcc_core::time::now)
}

/// 2026-01-31T08:00:00.250Z.
fn start() -> SystemTime {
    SystemTime::UNIX_EPOCH + ms(1_769_846_400_250)
}

const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// An endpoint with a key of its own.
pub(crate) fn endpoint(name: &str, base_url: &str) -> Arc<Endpoint> {
    let credential = Credential::new("main", format!("sk-test-{name}"));
    Arc::new(Endpoint::new(name, base_url.parse().unwrap()).with_credential(credential))
}

fn record(id: &str) -> Record {
    let mut record = Record::new(id.parse().unwrap(), start());
    record.cluster = Some("claude".into());
    record.dialect = Some(Dialect::Anthropic);
    record.model = Some("claude-sonnet-4-5".into());
    record.stream = true;
    record.deadline = Some(ms(600_000));
    record
}

fn visit(at: u64, endpoint: Option<&Arc<Endpoint>>, sends: Vec<SendRecord>) -> VisitRecord {
    let mut visit = VisitRecord::new(ms(at));
    visit.endpoint = endpoint.cloned();
    visit.tier = endpoint.map(|_| Tier::Ready);
    visit.sends.extend(sends);
    visit
}

fn send(kind: SendKind, at: u64, status: Option<u16>, took: u64, result: SendResult) -> SendRecord {
    let mut send = SendRecord::new(kind, ms(at));
    send.credential = Some("main".into());
    send.status = status.map(|status| StatusCode::from_u16(status).unwrap());
    send.duration = ms(took);
    send.result = result;
    send
}

fn failed(kind: Kind, until: Option<u64>, wait: Option<Wait>) -> SendResult {
    SendResult::Failed {
        verdict: Verdict::new(kind).until(until.map(|at| origin() + ms(at))),
        wait,
    }
}

/// The usual story: one endpoint is overloaded, the other rotates a credential and answers.
pub(crate) fn failed_over() -> Record {
    let official = endpoint("official", "https://api.anthropic.com");
    let relay = endpoint("relay", "https://relay.example/api");
    let spare = endpoint("spare", "https://spare.example");
    let third = endpoint("third", "https://third.example");
    let mut record = record("qcc-test-1");
    record.session = Some(SessionHash([7; 16]));

    let overloaded = failed(Kind::Overloaded, Some(60_750), None);
    let mut first = visit(
        0,
        Some(&official),
        vec![send(SendKind::First, 1, Some(529), 842, overloaded)],
    );
    first.preference = Some(Fate::Honoured);
    first.left_out.extend([
        LeftOut::new(spare, Reason::AuthFailed, None),
        LeftOut::new(third, Reason::Open, Some(origin() + ms(34_000))),
    ]);
    for reason in [Reason::Cooling, Reason::Full, Reason::Cooling] {
        first.others.add(reason);
    }

    let limited = failed(Kind::RateLimit, Some(30_852), None);
    let mut answered = send(SendKind::Rotation, 860, Some(200), 3_450, SendResult::Clean);
    answered.credential = Some("shared-2".into());
    let until = Some(origin() + ms(10_000));
    answered
        .passed_over
        .push(PassedOver::new("shared-1".into(), "cooling", until));
    answered.first_byte = Some(ms(310));
    answered.bytes = 18_637;
    let mut second = visit(
        850,
        Some(&relay),
        vec![send(SendKind::First, 851, Some(429), 9, limited), answered],
    );
    second.preference = Some(Fate::PassedOver {
        reason: Reason::Excluded,
        until: None,
    });
    second
        .left_out
        .push(LeftOut::new(official, Reason::Excluded, None));

    record.visits.extend([first, second]);
    record.committed = Some(ms(1_170));
    let mut usage = Usage::default();
    (usage.input, usage.cached, usage.output) = (Some(12_034), Some(11_000), Some(512));
    record.usage = Some(usage);
    record.binding = Some(Transition::Rebound);
    record.answer = Answer::Relayed {
        status: StatusCode::OK,
    };
    record.duration = ms(4_310);
    record
}

/// Nobody could be tried.
pub(crate) fn nobody() -> Record {
    let mut record = record("qcc-test-2");
    record.stream = false;
    let mut only = visit(0, None, Vec::new());
    only.left_out.extend([
        LeftOut::new(
            endpoint("official", "https://api.anthropic.com"),
            Reason::Cooling,
            Some(origin() + ms(86_400_000)),
        ),
        LeftOut::new(
            endpoint("relay", "https://relay.example/api"),
            Reason::Disabled,
            None,
        ),
    ]);
    record.visits.push(only);
    record.answer = Answer::Failed(ErrorKind::NoEndpoint);
    record.duration = ms(1);
    record
}

/// A stream that broke after its commit point, at an endpoint that was the last resort.
pub(crate) fn broken() -> Record {
    let relay = endpoint("relay", "https://relay.example/api");
    let mut record = record("client-7");
    record.cluster = Some("claude".into());
    let quiet = failed(Kind::Timeout, None, Some(Wait::FirstByte));
    let official = endpoint("official", "https://api.anthropic.com");
    let waited = visit(
        0,
        Some(&official),
        vec![send(SendKind::First, 0, None, 60_000, quiet)],
    );
    let mut cut = send(
        SendKind::First,
        60_001,
        Some(200),
        2_500,
        SendResult::Broken(Verdict::new(Kind::Transport)),
    );
    cut.first_byte = Some(ms(400));
    cut.bytes = 700;
    let mut last = visit(60_001, Some(&relay), vec![cut]);
    last.tier = Some(Tier::LastResort);
    record.visits.extend([waited, last]);
    record.committed = Some(ms(60_401));
    record.answer = Answer::Interrupted {
        status: StatusCode::OK,
        kind: Kind::Transport,
    };
    record.duration = ms(62_501);
    record
}

/// A client that went away while its only send was under way, before which another was refused.
pub(crate) fn canceled() -> Record {
    let relay = endpoint("relay", "https://relay.example/api");
    let mut record = record("client-8");
    let refused = visit(
        0,
        Some(&relay),
        vec![send(
            SendKind::First,
            0,
            None,
            0,
            SendResult::Refused(Reason::Probing),
        )],
    );
    let official = endpoint("official", "https://api.anthropic.com");
    let gone = visit(
        1,
        Some(&official),
        vec![send(SendKind::First, 1, None, 1_200, SendResult::Canceled)],
    );
    record.visits.extend([refused, gone]);
    record.answer = Answer::Canceled;
    record.duration = ms(1_201);
    record
}

/// Every sample.
pub(crate) fn all() -> [Record; 4] {
    [failed_over(), nobody(), broken(), canceled()]
}
