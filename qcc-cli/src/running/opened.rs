//! From a configuration to a proxy that serves.

use std::sync::Arc;

use hyper::service::service_fn;
use qcc_core::record::RecordSink;
use qcc_core::store::Work;
use qcc_core::time::{Duration, SystemClock};
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::background::Background;
use super::claim::{self, Claim};
use super::reload::{Load, Reload};
use super::{Generation, Running, Sinks, triggers, warm_up};
use crate::admin::{self, Admin, Guard, Live};
use crate::config::{Config, Secret, WarmUp};
use crate::counts::Counts;
use crate::history::History;
use crate::metrics::Metrics;
use crate::output::Failure;
use crate::records::{DEFAULT_CAPACITY, FanOut, Records};
use crate::server;
use crate::shutdown::{Phase, Phases};

/// What a refresh of a credential gets even if everything is to stop at once: its answer may
/// bring the only token that is valid from now on.
const LAST_MOMENT: Duration = Duration::from_secs(2);

/// A proxy that is ready: its clusters are built, and clients may connect.
pub(crate) struct Opened {
    pub(crate) running: Arc<Running>,
    listener: TcpListener,
    admin_listener: TcpListener,
    sinks: Sinks,
    work: Option<Work>,
    claim: Option<Claim>,
    load: Option<Load>,
    records: Arc<Records>,
    metrics: Arc<Metrics>,
    counts: Arc<Counts>,
}

impl Opened {
    /// Opens the store, builds the clusters and takes the addresses. The record of each finished request goes to
    /// `sinks`, too.
    ///
    /// # Errors
    ///
    /// The store cannot be used though it is required, a cluster cannot be built, or an address cannot be listened on.
    pub(crate) async fn new(
        config: Config,
        sinks: impl IntoIterator<Item = Arc<dyn RecordSink>>,
    ) -> Result<Self, Failure> {
        let records = Arc::new(Records::new(DEFAULT_CAPACITY));
        let metrics = Arc::new(Metrics::new());
        let counts = Arc::new(Counts::default());
        // What it kept is needed before the first request is.
        let (claim, store, work) = claim::open(&config.store).await?;
        let own: [Arc<dyn RecordSink>; 3] = [records.clone(), metrics.clone(), counts.clone()];
        let all = sinks.into_iter().chain(own).chain(store.sink());
        let sinks = Sinks {
            records: Arc::new(FanOut::new(all)),
            store,
        };
        let generation = Generation::new(config, &sinks)?;
        let config = generation.config.clone();
        let listener = server::bind(config.listen, "choose another one with --port N").await?;
        let remedy = "choose another one with --admin-port N";
        let admin_listener = server::bind(config.admin.listen, remedy).await?;
        let (listen, admin) = (listener.local_addr()?, admin_listener.local_addr()?);
        Ok(Self {
            running: Arc::new(Running::new(listen, admin, generation)),
            listener,
            admin_listener,
            sinks,
            work,
            claim,
            load: None,
            records,
            metrics,
            counts,
        })
    }

    /// The same, with a configuration that `load` reads again when there is a cause to.
    #[must_use]
    pub(crate) fn reloading(mut self, load: Load) -> Self {
        self.load = Some(load);
        self
    }

    /// Serves requests and the admin API until the phases say to stop.
    pub(crate) async fn run(self, phases: Phases) {
        let (running, sinks) = (self.running, self.sinks);
        // It ends after everybody who writes.
        let mut working = JoinSet::new();
        if let Some(work) = self.work {
            working.spawn(async {
                work.run().await;
            });
        }
        let generation = running.current();
        let background = Arc::new(Background::default());
        background.start(&generation);
        let reload = self.load.map(|load| {
            let (running, background) = (running.clone(), background.clone());
            Arc::new(Reload::new(running, background, sinks.clone(), load))
        });
        let mut tasks = JoinSet::new();
        match generation.config.warm_up {
            WarmUp::Connect => {
                tasks.spawn(warm_up::run(generation.clone(), false));
            }
            WarmUp::Verify => {
                tasks.spawn(warm_up::run(generation.clone(), true));
            }
            WarmUp::Off => {}
        }
        if let Some(reload) = &reload {
            tasks.spawn(triggers::run(reload.clone()));
        }
        let stopping = phases.clone();
        let admin = Admin {
            operations: Arc::new(Live::new(running.clone(), reload, move || {
                stopping.has_reached(Phase::Draining)
            })),
            history: History::new(self.records, sinks.store.clone()),
            metrics: self.metrics,
            counts: self.counts,
            clock: Arc::new(SystemClock),
        };
        let token = generation.config.admin.token.as_ref().map(Secret::expose);
        let router = admin::router(admin, Guard::new(generation.config.admin.listen, token));
        let grace = generation.config.shutdown;
        let limit = generation.config.max_connections as usize;
        // An answer that is under way keeps its own generation.
        let service = service_fn(move |request| running.current().proxy.clone().answer(request));
        tokio::join!(
            server::run(self.listener, limit, service, phases.clone(), grace),
            admin::serve(self.admin_listener, router, phases.clone(), grace),
        );
        tasks.shutdown().await;
        background.stop(end(phases, grace)).await;
        sinks.store.flush().await;
        working.shutdown().await;
        drop(self.claim);
    }
}

/// Ready when what is under way has had its time: the grace, or after a second signal a moment.
async fn end(mut phases: Phases, grace: Duration) {
    let aborted = async {
        phases.reached(Phase::Aborting).await;
        sleep(LAST_MOMENT).await;
    };
    tokio::select! {
        () = sleep(grace) => {}
        () = aborted => {}
    }
}
