//! A proxy of a few fields, for tests.

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use qcc_core::record::{RecordSink as _, SessionHash};
use qcc_core::time::{SystemTime, WallClock};

use super::checks::{CheckView, Checked, RecoveryView};
use super::pool::{Check, PoolTest, PoolView, TokenView};
use super::view::{
    BreakerView, ClientView, ClusterView, EndpointView, LastFailureView, MarkView, OutView,
    SessionStatsView, SessionView,
};
use super::{Admin, Guard, Member, Operation, Operations, Unbind, router};
use crate::counts::Counts;
use crate::explain::samples;
use crate::history::{History, Kept, Store};
use crate::metrics::Metrics;
use crate::moment::Date;
use crate::output::Failure;
use crate::records::Records;
use crate::running::Change;

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

fn seconds(later: u64) -> Date {
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
fn waiting(reason: &str, since: u64, left: u64) -> RecoveryView {
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
fn checked(valid: bool) -> CheckView {
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

/// Clusters of views.
#[derive(Default)]
pub(crate) struct Fake {
    clusters: Vec<String>,
    views: Mutex<BTreeMap<(String, String), EndpointView>>,
    members: Vec<Member>,
    pub(crate) stopping: AtomicBool,
    clients: Vec<ClientView>,
    /// What is bound.
    pub(crate) sessions: Mutex<Vec<SessionView>>,
    /// The token pools.
    pools: Mutex<Vec<PoolView>>,
    /// What a reload answers; without it there is nothing to reload.
    reload: Option<Result<Vec<Change>, Failure>>,
}

impl Fake {
    /// A proxy with one cluster, `claude`: one endpoint is well, one is open, one is refused.
    pub(crate) fn usual() -> Self {
        Self::default().with(
            "claude",
            [healthy("official"), open("relay"), refused("spare")],
        )
    }

    /// The same with another cluster.
    pub(crate) fn with(
        mut self,
        cluster: &str,
        endpoints: impl IntoIterator<Item = EndpointView>,
    ) -> Self {
        self.clusters.push(cluster.to_owned());
        for mut view in endpoints {
            view.cluster = cluster.to_owned();
            let endpoint = samples::endpoint(&view.name, &view.base_url);
            self.members.push(Member {
                cluster: cluster.into(),
                id: endpoint.id(),
                name: view.name.clone().into(),
            });
            let key = (cluster.to_owned(), view.name.clone());
            self.views.lock().unwrap().insert(key, view);
        }
        self
    }

    /// The same with a session that is bound to `endpoint` of the first cluster.
    pub(crate) fn with_session(self, id: &str, endpoint: &str) -> Self {
        let of = samples::endpoint(endpoint, &format!("https://{endpoint}.example"));
        self.sessions.lock().unwrap().push(SessionView {
            session: SessionHash::of(id).to_string(),
            cluster: self.clusters[0].clone(),
            client: Some("laptop".to_owned()),
            endpoint_id: of.id().to_string(),
            endpoint: Some(endpoint.to_owned()),
            expires: Some(seconds(18_000)),
            remaining_s: 18_000,
        });
        self
    }

    /// The same with a client key of this name.
    pub(crate) fn with_client(mut self, name: &str, load: u32, limit: Option<u32>) -> Self {
        let sessions = self.sessions.lock().unwrap();
        let bound = sessions
            .iter()
            .filter(|view| view.client.as_deref() == Some(name));
        self.clients.push(ClientView {
            name: name.to_owned(),
            current_load: load,
            max_in_flight: limit,
            sessions: bound.count(),
        });
        drop(sessions);
        self
    }

    /// The same with a pool of three tokens at `endpoint` of the first cluster: one is well, one
    /// cools down, one was refused.
    pub(crate) fn with_pool(self, endpoint: &str) -> Self {
        let of = samples::endpoint(endpoint, &format!("https://{endpoint}.example"));
        let token = |name: &str, state: &str, until: Option<u64>| TokenView {
            name: name.to_owned(),
            tier: "personal".to_owned(),
            state: state.to_owned(),
            until: until.map(seconds),
            limited: Vec::new(),
            failures: u32::from(state != "active"),
            last_use: Some(date()),
            refreshable: true,
            refreshes: 2,
            failed_refreshes: 1,
            expires: Some(seconds(3_600)),
            trouble: (state == "refused").then(|| "invalid_grant: log in again".to_owned()),
        };
        self.pools.lock().unwrap().push(PoolView {
            cluster: self.clusters[0].clone(),
            endpoint: endpoint.to_owned(),
            endpoint_id: of.id().to_string(),
            total: 3,
            active: 1,
            failed: 1,
            personal: 3,
            shared: 0,
            anonymous: 0,
            tokens: vec![
                token("Personal-1", "active", None),
                token("Personal-2", "cooling", Some(30)),
                token("Personal-3", "refused", None),
            ],
        });
        self
    }

    /// The same with this answer to a reload.
    pub(crate) fn with_reload(mut self, reload: Result<Vec<Change>, Failure>) -> Self {
        self.reload = Some(reload);
        self
    }

    /// The admin API over it and the samples, as it listens on loopback.
    pub(crate) fn admin(self) -> (Arc<Self>, axum::Router) {
        self.admin_over(Store::Off)
    }

    /// The same over a store that has the samples, too.
    pub(crate) async fn with_history(self) -> (Arc<Self>, axum::Router, Kept) {
        let kept = Kept::samples().await;
        let (fake, router) = self.admin_over(kept.store.clone());
        (fake, router, kept)
    }

    fn admin_over(self, store: Store) -> (Arc<Self>, axum::Router) {
        let fake = Arc::new(self);
        let records = Records::new(NonZeroUsize::new(100).unwrap());
        for record in samples::all() {
            records.finished(Arc::new(record));
        }
        let counts = Counts::default();
        for record in samples::all() {
            counts.finished(Arc::new(record));
        }
        let admin = Admin {
            operations: fake.clone(),
            history: History::new(Arc::new(records), store),
            counts: Arc::new(counts),
            metrics: Arc::new(Metrics::new()),
            clock: Arc::new(Standing),
        };
        let guard = Guard::new("127.0.0.1:7861".parse().unwrap(), None);
        (fake, router(admin, guard))
    }
}

impl Operations for Fake {
    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }

    fn clusters(&self) -> Vec<ClusterView> {
        let views = self.views.lock().unwrap();
        let view = |name: &String| {
            let of: Vec<_> = views
                .values()
                .filter(|view| view.cluster == *name)
                .collect();
            ClusterView {
                name: name.clone(),
                kind: Some("anthropic".to_owned()),
                policy: "priority".to_owned(),
                endpoints: of.len(),
                eligible: of.iter().filter(|view| view.out.is_none()).count(),
                duplicates: Vec::new(),
            }
        };
        self.clusters.iter().map(view).collect()
    }

    fn members(&self) -> Vec<Member> {
        self.members.clone()
    }

    fn status(&self, member: &Member, _: Date) -> Option<EndpointView> {
        let key = (member.cluster.to_string(), member.name.to_string());
        self.views.lock().unwrap().get(&key).cloned()
    }

    fn check(&self, members: Vec<Member>) -> Pin<Box<dyn Future<Output = Vec<Checked>> + Send>> {
        let mut views = self.views.lock().unwrap();
        let checked = members.into_iter().filter_map(|member| {
            let key = (member.cluster.to_string(), member.name.to_string());
            let view = views.get_mut(&key)?;
            let off = !view.operator_enabled;
            let check = (!off).then(|| checked(!view.auth_failed));
            view.queued &= check.as_ref().is_none_or(|check| !check.valid);
            Some(Checked {
                cluster: member.cluster.to_string(),
                id: member.id.to_string(),
                name: member.name.to_string(),
                not_checked: off.then(|| "it is switched off".to_owned()),
                check,
                queued: view.queued,
            })
        });
        Box::pin(std::future::ready(checked.collect()))
    }

    fn sessions(&self, _: Date) -> Vec<SessionView> {
        self.sessions.lock().unwrap().clone()
    }

    fn session_stats(&self) -> Vec<SessionStatsView> {
        let total = self.sessions.lock().unwrap().len();
        let stats = |cluster: &String| SessionStatsView {
            cluster: cluster.clone(),
            total,
            active: total,
            expired: 0,
            endpoints: [("official".to_owned(), total)].into(),
            ttl_s: 18_000,
            resources: 2,
        };
        self.clusters.iter().map(stats).collect()
    }

    fn clients(&self) -> Vec<ClientView> {
        self.clients.clone()
    }

    fn credentials(&self) -> BTreeMap<String, u32> {
        let endpoints = u32::try_from(self.members.len()).unwrap();
        let states = [("active", endpoints), ("cooling", 1)];
        let states = states.map(|(state, count)| (state.to_owned(), count));
        states.into_iter().filter(|_| endpoints > 0).collect()
    }

    fn unbind(&self, what: &Unbind) -> usize {
        let mut sessions = self.sessions.lock().unwrap();
        let before = sessions.len();
        sessions.retain(|view| match what {
            Unbind::Session(session) => view.session != session.to_string(),
            Unbind::Endpoint(member) => view.endpoint.as_deref() != Some(&*member.name),
            Unbind::Client(name) => view.client.as_ref() != Some(name),
            Unbind::All => false,
        });
        before - sessions.len()
    }

    fn pools(&self, _: Date) -> Vec<PoolView> {
        self.pools.lock().unwrap().clone()
    }

    fn recover_tokens(&self, member: &Member, token: Option<&str>) -> Option<Vec<String>> {
        let mut pools = self.pools.lock().unwrap();
        let of = |pool: &&mut PoolView| pool.endpoint == *member.name;
        let pool = pools.iter_mut().find(of)?;
        let waiting = pool.waiting(token);
        for token in &mut pool.tokens {
            if waiting.contains(&token.name) {
                "active".clone_into(&mut token.state);
            }
        }
        Some(waiting)
    }

    fn test_tokens(&self, member: &Member, _: Date) -> Option<PoolTest> {
        let check = |name: &str, ok: bool| Check {
            check: name.to_owned(),
            ok,
            found: "what was found, in words that may take more than one line of a terminal that \
                    is as narrow as this one"
                .to_owned(),
        };
        let pool = self.pools.lock().unwrap();
        let pool = pool.iter().find(|pool| pool.endpoint == *member.name)?;
        Some(PoolTest {
            cluster: pool.cluster.clone(),
            endpoint: pool.endpoint.clone(),
            endpoint_id: pool.endpoint_id.clone(),
            ok: pool.failed == 0,
            checks: vec![check("order", true), check("health", pool.failed == 0)],
        })
    }

    fn reload(&self) -> Option<Result<Vec<Change>, Failure>> {
        self.reload.clone()
    }

    fn operate(&self, member: &Member, operation: &Operation) -> Option<bool> {
        let key = (member.cluster.to_string(), member.name.to_string());
        let mut views = self.views.lock().unwrap();
        let view = views.get_mut(&key)?;
        let before = view.clone();
        let out = |reason: &str| {
            Some(OutView {
                reason: reason.to_owned(),
                until: None,
            })
        };
        match operation {
            Operation::Enable | Operation::Disable => {
                view.enabled = *operation == Operation::Enable;
                view.operator_enabled = view.enabled;
                view.out = if view.enabled { None } else { out("disabled") };
                return Some(before.enabled != view.enabled);
            }
            Operation::ClearLimit => view.rate_limit_reset = None,
            Operation::Mark { reason, time } => {
                view.marked = Some(MarkView {
                    reason: reason.clone(),
                    until: date().after(*time),
                });
                view.out = out("marked");
            }
            Operation::Unmark if view.marked.take().is_some() => view.out = None,
            Operation::Unmark => {}
            Operation::ResetBreaker => {
                "closed".clone_into(&mut view.breaker.state);
                view.breaker.failures = 0;
            }
        }
        Some(before != *view)
    }
}
