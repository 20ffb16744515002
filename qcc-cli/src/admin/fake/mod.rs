//! A proxy of a few fields, for tests.

mod cast;
mod operations;

use std::collections::BTreeMap;
use std::num::NonZeroUsize;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};

use qcc_core::record::{RecordSink as _, SessionHash};

use self::cast::seconds;
pub(crate) use self::cast::{Standing, date, healthy, open, refused};
use super::pool::{PoolView, TokenView};
use super::view::{ClientView, EndpointView, SessionView};
use super::{Admin, Guard, Member, router};
use crate::counts::Counts;
use crate::explain::samples;
use crate::history::{History, Kept, Store};
use crate::metrics::Metrics;
use crate::output::Failure;
use crate::records::Records;
use crate::running::Change;

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
