//! What the fake does when it is operated.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::Ordering;

use super::cast::checked;
use super::{Fake, date};
use crate::admin::checks::Checked;
use crate::admin::pool::{Check, PoolTest, PoolView};
use crate::admin::view::{
    ClientView, ClusterView, EndpointView, MarkView, OutView, SessionStatsView, SessionView,
};
use crate::admin::{Member, Operation, Operations, Unbind};
use crate::moment::Date;
use crate::output::Failure;
use crate::running::Change;

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
