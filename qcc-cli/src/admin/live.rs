//! The running proxy as the admin API sees it.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;

use qcc_core::affinity::Bound;
use qcc_core::endpoint::EndpointId;
use qcc_core::facts::ClientId;
use qcc_core::failover::{EndpointHandle, EndpointStatus};
use qcc_core::time::{self, SystemClock, WallClock as _};
use tokio::task::JoinSet;

use super::checks::Checked;
use super::pool::{PoolTest, PoolView};
use super::view::{
    BreakerView, ClientView, ClusterView, DuplicateView, EndpointView, LastFailureView, MarkView,
    OutView, RecoveryView, SessionStatsView, SessionView,
};
use super::{Member, Operation, Operations, Unbind};
use crate::config::Config;
use crate::moment::{Anchor, Date, millis};
use crate::output::Failure;
use crate::running::{Cause, Change, Cluster, Reload, Running};

/// A running proxy; each call sees the generation of its moment.
pub(crate) struct Live {
    running: Arc<Running>,
    reload: Option<Arc<Reload>>,
    stopping: Box<dyn Fn() -> bool + Send + Sync>,
}

impl Live {
    /// `running`, whose configuration `reload` reads again; `stopping` tells whether it was asked
    /// to stop.
    pub(crate) fn new(
        running: Arc<Running>,
        reload: Option<Arc<Reload>>,
        stopping: impl Fn() -> bool + Send + Sync + 'static,
    ) -> Self {
        Self {
            running,
            reload,
            stopping: Box::new(stopping),
        }
    }

    fn endpoint(&self, member: &Member) -> Option<EndpointHandle> {
        let generation = self.running.current();
        let mut clusters = generation.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.name == member.cluster)?;
        cluster.handle.endpoint(member.id)
    }
}

impl Operations for Live {
    fn is_stopping(&self) -> bool {
        (self.stopping)()
    }

    fn clusters(&self) -> Vec<ClusterView> {
        let view = |cluster: &Cluster| {
            let status = cluster.handle.status();
            let endpoints = cluster.handle.endpoints();
            ClusterView {
                name: cluster.name.to_string(),
                kind: cluster.config.kind.map(|kind| kind.to_string()),
                policy: cluster.config.policy.as_str().to_owned(),
                endpoints: status.len(),
                eligible: status.iter().filter(|status| status.out.is_none()).count(),
                duplicates: endpoints
                    .duplicates()
                    .iter()
                    .map(DuplicateView::from)
                    .collect(),
            }
        };
        self.running.current().clusters.iter().map(view).collect()
    }

    fn members(&self) -> Vec<Member> {
        self.running
            .current()
            .clusters
            .iter()
            .flat_map(|cluster| {
                cluster.handle.endpoints().iter().map(|endpoint| Member {
                    cluster: cluster.name.clone(),
                    id: endpoint.id(),
                    name: endpoint.name().clone(),
                })
            })
            .collect()
    }

    fn status(&self, member: &Member, now: Date) -> Option<EndpointView> {
        let handle = self.endpoint(member)?;
        let now = Anchor {
            instant: time::now(),
            date: now,
        };
        Some(view(&member.cluster, &handle.status(), &now))
    }

    fn check(&self, members: Vec<Member>) -> Pin<Box<dyn Future<Output = Vec<Checked>> + Send>> {
        let running = self.running.clone();
        Box::pin(async move {
            let generation = running.current();
            let mut checking = JoinSet::new();
            for cluster in generation.clusters.iter().cloned() {
                let own = |member: &&Member| member.cluster == cluster.name;
                let ids = members.iter().filter(own).map(|member| member.id);
                let found = cluster.checks.check_each(ids.collect::<Vec<_>>());
                checking.spawn(async { (cluster, found.await) });
            }
            let found = checking.join_all().await;
            let checked = |member: &Member| {
                let (cluster, found) = found.iter().find(|(one, _)| one.name == member.cluster)?;
                let (_, check) = found.iter().find(|(id, _)| *id == member.id)?;
                let queued = cluster.handle.endpoint(member.id)?.status().queued;
                Some(Checked::new(member, check.as_deref(), queued))
            };
            members.iter().filter_map(checked).collect()
        })
    }

    fn sessions(&self, now: Date) -> Vec<SessionView> {
        let generation = self.running.current();
        let anchor = Anchor {
            instant: time::now(),
            date: now,
        };
        let of = |cluster: &Cluster| {
            let bound = cluster.handle.sessions().list(anchor.instant);
            let view = |bound: &Bound| session(cluster, &generation.config, bound, &anchor);
            bound.iter().map(view).collect::<Vec<_>>()
        };
        generation.clusters.iter().flat_map(of).collect()
    }

    fn session_stats(&self) -> Vec<SessionStatsView> {
        let stats = |cluster: &Cluster| {
            let stats = cluster.handle.sessions().stats(time::now());
            let name = |id: EndpointId| match cluster.handle.endpoint(id) {
                Some(handle) => handle.endpoint().name().to_string(),
                None => id.to_string(),
            };
            SessionStatsView {
                cluster: cluster.name.to_string(),
                total: stats.total,
                active: stats.active,
                expired: stats.expired,
                endpoints: stats
                    .endpoints
                    .iter()
                    .map(|(id, count)| (name(*id), *count))
                    .collect(),
                ttl_s: stats.ttl.as_secs(),
                resources: stats.resources,
            }
        };
        self.running.current().clusters.iter().map(stats).collect()
    }

    fn clients(&self) -> Vec<ClientView> {
        let generation = self.running.current();
        let now = time::now();
        let mut sessions: HashMap<ClientId, usize> = HashMap::new();
        for cluster in &generation.clusters {
            for bound in cluster.handle.sessions().list(now) {
                *sessions.entry(bound.client).or_default() += 1;
            }
        }
        let keys = generation.config.client_keys.iter();
        keys.zip(&generation.callers)
            .map(|(key, caller)| ClientView {
                name: key.name.to_string(),
                current_load: caller.in_flight(),
                max_in_flight: caller.limit().map(NonZeroU32::get),
                sessions: sessions.get(&key.id()).copied().unwrap_or(0),
            })
            .collect()
    }

    fn credentials(&self) -> BTreeMap<String, u32> {
        let generation = self.running.current();
        let now = time::now();
        let mut states = BTreeMap::new();
        for cluster in &generation.clusters {
            let endpoints = cluster.handle.endpoints().iter();
            let handles = endpoints.filter_map(|endpoint| cluster.handle.endpoint(endpoint.id()));
            for token in handles.flat_map(|handle| handle.tokens().snapshot(now)) {
                *states.entry(token.state.as_str().to_owned()).or_default() += 1;
            }
        }
        states
    }

    fn unbind(&self, what: &Unbind) -> usize {
        let generation = self.running.current();
        let unbind = |cluster: &Cluster| {
            let sessions = cluster.handle.sessions();
            match what {
                Unbind::Session(session) => {
                    let bound = sessions.get(*session, time::now()).len();
                    if sessions.unbind(*session) { bound } else { 0 }
                }
                Unbind::Endpoint(member) if member.cluster == cluster.name => {
                    sessions.unbind_endpoint(member.id)
                }
                Unbind::Endpoint(_) => 0,
                Unbind::Client(name) => {
                    let mut keys = generation.config.client_keys.iter();
                    let key = keys.find(|key| *key.name == **name);
                    key.map_or(0, |key| sessions.unbind_client(key.id()))
                }
                Unbind::All => sessions.unbind_all(),
            }
        };
        generation.clusters.iter().map(unbind).sum()
    }

    fn pools(&self, now: Date) -> Vec<PoolView> {
        self.running.current().pools(&Anchor {
            instant: time::now(),
            date: now,
        })
    }

    fn recover_tokens(&self, member: &Member, token: Option<&str>) -> Option<Vec<String>> {
        let handle = self.endpoint(member)?;
        // What they wait for has no date here.
        let waiting = PoolView::of(
            &member.cluster,
            &handle,
            &Anchor {
                instant: time::now(),
                date: SystemClock.now().into(),
            },
        )?
        .waiting(token);
        handle.recover_tokens(token);
        Some(waiting)
    }

    fn test_tokens(&self, member: &Member, now: Date) -> Option<PoolTest> {
        let generation = self.running.current();
        let mut clusters = generation.clusters.iter();
        let cluster = clusters.find(|cluster| cluster.name == member.cluster)?;
        let configured = cluster.config.tokens.get(&member.id)?;
        let handle = cluster.handle.endpoint(member.id)?;
        let instant = time::now();
        let pool = PoolView::of(&member.cluster, &handle, &Anchor { instant, date: now })?;
        Some(PoolTest::of(
            &pool,
            &handle.tokens().rehearse(instant),
            configured,
        ))
    }

    fn reload(&self) -> Option<Result<Vec<Change>, Failure>> {
        let reload = self.reload.as_ref()?;
        Some(reload.reload(Cause::Asked))
    }

    fn operate(&self, member: &Member, operation: &Operation) -> Option<bool> {
        let handle = self.endpoint(member)?;
        Some(match operation {
            Operation::Enable => handle.enable(),
            Operation::Disable => handle.disable(),
            Operation::ClearLimit => handle.clear_limits(),
            Operation::Mark { reason, time } => handle.health().mark(&**reason, *time),
            Operation::Unmark => handle.health().unmark(),
            Operation::ResetBreaker => handle.breaker().reset(),
        })
    }
}

impl fmt::Debug for Live {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Live").finish_non_exhaustive()
    }
}

/// `bound` as the admin API shows it.
fn session(cluster: &Cluster, config: &Config, bound: &Bound, now: &Anchor) -> SessionView {
    let endpoint = cluster.handle.endpoint(bound.endpoint);
    let mut keys = config.client_keys.iter();
    let key = keys.find(|key| key.id() == bound.client);
    SessionView {
        session: bound.session.to_string(),
        cluster: cluster.name.to_string(),
        client: key.map(|key| key.name.to_string()),
        endpoint_id: bound.endpoint.to_string(),
        endpoint: endpoint.map(|handle| handle.endpoint().name().to_string()),
        expires: bound.expires.map(|expires| now.date_of(expires)),
        remaining_s: bound.remaining.as_secs(),
    }
}

/// `status` as the admin API shows it.
fn view(cluster: &str, status: &EndpointStatus, now: &Anchor) -> EndpointView {
    let endpoint = &status.endpoint;
    let breaker = &status.breaker;
    EndpointView {
        id: endpoint.id().to_string(),
        name: endpoint.name().to_string(),
        cluster: cluster.to_owned(),
        base_url: endpoint.base_url().to_string(),
        kind: endpoint.api().map(|api| api.to_string()),
        priority: endpoint.priority(),
        weight: endpoint.weight(),
        effective_weight: (status.weight * 100.0).round() / 100.0,
        max_in_flight: endpoint.max_in_flight(),
        enabled: status.enabled,
        operator_enabled: status.operator_enabled,
        status: status.status.as_str().to_owned(),
        is_healthy: status.is_healthy,
        auth_failed: status.auth_failed,
        consecutive_failures: status.consecutive_failures,
        breaker: BreakerView {
            state: breaker.state.as_str().to_owned(),
            failures: breaker.failures,
            threshold: breaker.threshold,
            opened_at: breaker.opened_at.map(|opened| now.date_of(opened)),
            until: breaker.remaining.map(|remaining| now.date.after(remaining)),
        },
        queued: status.queued,
        recovery: RecoveryView::of(&status.recovery, now),
        in_flight: status.in_flight,
        daily_requests: status.daily_requests,
        latency_ms: status.latency.map(millis),
        total: status.total,
        failed: status.failed,
        success_rate: status.success_rate,
        average_response_ms: status.average_response.map(millis),
        out: status.out.map(|(reason, remaining)| OutView {
            reason: reason.to_string(),
            until: remaining.map(|remaining| now.date.after(remaining)),
        }),
        last_failure: status.last_failure.as_ref().map(|failure| LastFailureView {
            kind: failure.kind.to_string(),
            status: failure.status.map(|status| status.as_u16()),
            at: now.date_of(failure.at),
            request_id: failure.request.to_string(),
        }),
        marked: status.marked.as_ref().map(|(reason, remaining)| MarkView {
            reason: reason.to_string(),
            until: now.date.after(*remaining),
        }),
        rate_limit_reset: status
            .rate_limit_reset_in
            .map(|remaining| now.date.after(remaining)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::admin::fake;
    use crate::config::{self, Environment};
    use crate::records::Records;
    use crate::running::{Generation, Sinks};

    fn live(stopping: Arc<AtomicBool>) -> Live {
        let environment = Environment::from_iter([("ANTHROPIC_API_KEY", "sk-test-0001")]);
        let config = config::load(None, &environment).unwrap();
        let sinks = Sinks::without_store(Arc::new(Records::default()));
        let (listen, admin) = (config.listen, config.admin.listen);
        let generation = Generation::new(config, &sinks).unwrap();
        let running = Arc::new(Running::new(listen, admin, generation));
        Live::new(running, None, move || stopping.load(Ordering::Relaxed))
    }

    // CLI-15, CLI-20, SEL-06, SEL-08
    #[test]
    fn a_switched_endpoint_shows_it_at_once_and_keeps_the_rest() {
        let live = live(Arc::default());
        let member = &live.members()[0];
        let before = live.status(member, fake::date()).unwrap();
        assert!(before.enabled && before.is_healthy);
        assert_eq!(before.status, "unknown");
        assert_eq!(before.out, None);

        assert_eq!(live.operate(member, &Operation::Disable), Some(true));
        assert_eq!(live.operate(member, &Operation::Disable), Some(false));
        let off = live.status(member, fake::date()).unwrap();
        assert!(!off.enabled && !off.operator_enabled && !off.is_healthy);
        assert_eq!(off.out.unwrap().reason, "disabled");
        assert_eq!(live.clusters()[0].eligible, 0);

        assert_eq!(live.operate(member, &Operation::Enable), Some(true));
        assert_eq!(live.status(member, fake::date()), Some(before));
    }

    // CLI-16, CLI-17, CLI-20, ACC-07
    #[test]
    fn a_mark_shows_with_its_reason_and_is_gone_when_it_is_taken_back() {
        let live = live(Arc::default());
        let member = &live.members()[0];
        let mark = Operation::Mark {
            reason: "maintenance".to_owned(),
            time: std::time::Duration::from_secs(300),
        };
        assert_eq!(live.operate(member, &mark), Some(true));
        assert_eq!(live.operate(member, &mark), Some(false));
        let marked = live.status(member, fake::date()).unwrap();
        assert_eq!(marked.out.unwrap().reason, "marked");
        assert_eq!(marked.marked.unwrap().reason, "maintenance");
        assert_eq!(live.operate(member, &Operation::Unmark), Some(true));
        assert_eq!(live.operate(member, &Operation::Unmark), Some(false));
        assert_eq!(live.operate(member, &Operation::ClearLimit), Some(false));
        let free = live.status(member, fake::date()).unwrap();
        assert_eq!((free.out, free.marked), (None, None));
    }

    // CLI-20
    #[test]
    fn an_endpoint_that_is_no_member_has_no_state() {
        let live = live(Arc::default());
        let mut gone = live.members()[0].clone();
        gone.cluster = "elsewhere".into();
        assert_eq!(live.status(&gone, fake::date()), None);
        assert_eq!(live.operate(&gone, &Operation::Disable), None);
    }

    #[test]
    fn stopping_is_asked_each_time() {
        let stopping = Arc::new(AtomicBool::new(false));
        let live = live(stopping.clone());
        assert!(!live.is_stopping());
        stopping.store(true, Ordering::Relaxed);
        assert!(live.is_stopping());
    }

    // SEC-01
    #[test]
    fn a_shown_endpoint_has_no_key() {
        let live = live(Arc::default());
        let view = live.status(&live.members()[0], fake::date()).unwrap();
        assert!(!serde_json::to_string(&view).unwrap().contains("sk-test"));
    }
}
