//! Everything that the demo runs on: simulated endpoints and a proxy in front of them, each on a
//! socket, put together as `qcc serve` does it.

use std::collections::{BTreeSet, HashMap};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use qcc_core::credential::Credential;
use qcc_core::endpoint::{BaseUrl, Endpoint, Endpoints, MarkOn};
use qcc_core::failover::{EndpointStatus, Handle};
use qcc_core::record::{Record, RecordSink};
use qcc_core::simulate::{Behaviour, Script, Simulator};
use qcc_core::time::{self, Duration};
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use super::cast::{CAST, Fault, Role, WELL};
use super::client::TEXT;
use super::tally::{Playbill, Seen, Tally};
use crate::config;
use crate::output::{Exit, Failure};
use crate::running::Opened;
use crate::shutdown::Phases;
use crate::simulator::SimulatorServer;

/// The name of the only cluster.
const CLUSTER: &str = "demo";

/// With breakers that open for so short a time, several endpoints may be tried and found broken
/// within one request, each with a quick retry.
pub(super) const ATTEMPTS: u32 = 12;

/// The whole set-up. Everything ends when it is dropped.
pub(super) struct Stage {
    /// Where clients connect.
    pub(super) proxy: SocketAddr,
    /// Where `qcc cluster status` and others connect.
    pub(super) admin: SocketAddr,
    /// Where the simulated endpoints are.
    pub(super) simulator: SocketAddr,
    pub(super) audience: Arc<Audience>,
    endpoints: Simulator,
    handle: Handle,
    tasks: JoinSet<()>,
}

impl Stage {
    /// Starts everything. The proxy takes the usual ports if `usual_ports` and if they are free,
    /// else free ones. Breakers open for `open_for`, and for twice as long when a probe fails.
    pub(super) async fn open(
        usual_ports: bool,
        open_for: Duration,
        phases: Phases,
    ) -> Result<Self, Failure> {
        let endpoints = CAST.iter().fold(Simulator::new(), |simulator, role| {
            simulator.endpoint(role.name, script(None))
        });
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let simulator = SimulatorServer::bind(free, endpoints.clone()).await?;
        let simulator_address = simulator.address()?;

        let audience = Arc::new(Audience::new());
        let (mut listen, mut admin) = (free, free);
        if usual_ports {
            listen = free_or(config::LISTEN).await;
            admin = free_or(config::ADMIN_LISTEN).await;
        }
        let config = configuration(simulator_address, listen, admin, open_for)?;
        let opened = Opened::new(config, [audience.clone() as Arc<dyn RecordSink>]).await?;
        let handle = opened.running.current().clusters[0].handle.clone();
        let (proxy, admin) = (opened.running.listen, opened.running.admin);
        let mut tasks = JoinSet::new();
        tasks.spawn(simulator.run(phases.clone()));
        tasks.spawn(opened.run(phases));
        Ok(Self {
            proxy,
            admin,
            simulator: simulator_address,
            audience,
            endpoints,
            handle,
            tasks,
        })
    }

    /// From now on the endpoint `name` does this.
    pub(super) fn change(&self, name: &'static str, fault: Option<Fault>) {
        self.endpoints.set(name, script(fault));
        let mut house = self.audience.house();
        house.playbill.change(name, fault, time::now());
    }

    /// From now on every endpoint behaves like this.
    pub(super) fn change_all(&self, behaviour: &Behaviour) {
        for role in &CAST {
            self.endpoints.set(role.name, scripted(behaviour.clone()));
        }
    }

    /// The states of the endpoints, in the order of the cast.
    pub(super) fn status(&self) -> Vec<EndpointStatus> {
        self.handle.status()
    }

    /// Waits until everything has ended, after the phases said so.
    pub(super) async fn ended(mut self) {
        while self.tasks.join_next().await.is_some() {}
    }
}

/// `usual`, or a free port if that is taken.
async fn free_or(usual: SocketAddr) -> SocketAddr {
    match TcpListener::bind(usual).await {
        Ok(_) => usual,
        Err(_) => SocketAddr::from((usual.ip(), 0)),
    }
}

fn script(fault: Option<Fault>) -> Script {
    let text = fault.map_or(WELL, Fault::behaviour);
    // A test reads all of these constants.
    scripted(text.parse().unwrap_or(Behaviour::Ok))
}

fn scripted(behaviour: Behaviour) -> Script {
    Script::new(behaviour).with_text(TEXT).with_deltas(6)
}

fn configuration(
    simulator: SocketAddr,
    listen: SocketAddr,
    admin: SocketAddr,
    open_for: Duration,
) -> Result<config::Config, Failure> {
    let internal = |error: &dyn std::fmt::Display| Failure::new(Exit::Failure, error.to_string());
    let endpoints = CAST
        .iter()
        .map(|role| endpoint(simulator, role))
        .collect::<Result<Vec<_>, _>>()
        .map_err(|error| internal(&error))?;
    let cluster = config::Cluster {
        name: CLUSTER.into(),
        kind: None,
        policy: config::Policy::default(),
        last_resort: config::LastResort::default(),
        weighing: config::Weighing::default(),
        mark_on: MarkOn::default(),
        endpoints: Endpoints::try_from_iter(endpoints).map_err(|error| internal(&error))?,
        tokens: HashMap::new(),
        breaker: config::Breaker {
            open_for,
            max_open_for: 2 * open_for,
            ..config::Breaker::default()
        },
        affinity: config::Affinity::default(),
        retry: config::Retry {
            attempts: ATTEMPTS,
            ..config::Retry::default()
        },
        timeouts: config::Timeouts::default(),
        connections: config::Connections::default(),
        // The simulated endpoints that are well answer with a text of their own, not with a code.
        recovery: config::Recovery {
            enabled: false,
            ..config::Recovery::default()
        },
        probe: config::Probe::default(),
        unprobed: BTreeSet::new(),
    };
    Ok(config::Config {
        store: config::Store::off(),
        source: config::Source::Environment(Vec::new()),
        listen,
        admin: config::Admin {
            listen: admin,
            token: None,
        },
        client_keys: Vec::new(),
        max_connections: config::MAX_CONNECTIONS,
        log: None,
        shutdown: Duration::from_secs(1),
        // Some of the endpoints refuse connections; that belongs into the show.
        warm_up: config::WarmUp::Off,
        clusters: vec![Arc::new(cluster)],
        warnings: config::Problems::new(None, Vec::new()),
    })
}

fn endpoint(
    simulator: SocketAddr,
    role: &Role,
) -> Result<Endpoint, qcc_core::endpoint::InvalidBaseUrl> {
    let base: BaseUrl = format!("http://{simulator}/{}", role.name).parse()?;
    let key = Credential::new(role.name, format!("sk-test-{}", role.name));
    let endpoint = Endpoint::new(role.name, base)
        .with_credential(key)
        .with_priority(role.priority);
    Ok(match role.first_byte {
        Some(limit) => endpoint.with_first_byte(limit),
        None => endpoint,
    })
}

/// Sees every record.
#[derive(Debug)]
pub(super) struct Audience(Mutex<House>);

/// What the audience knows.
#[derive(Debug)]
pub(super) struct House {
    playbill: Playbill,
    pub(super) tally: Tally,
    /// The requests that failed somewhere and were answered, since somebody took them.
    pub(super) saved: Vec<Seen>,
    is_open: bool,
}

impl Audience {
    fn new() -> Self {
        Self(Mutex::new(House {
            playbill: Playbill::new(),
            tally: Tally::new(),
            saved: Vec::new(),
            is_open: true,
        }))
    }

    /// Counts nothing more, and gives what was counted.
    pub(super) fn close(&self) -> Tally {
        let mut house = self.house();
        house.is_open = false;
        house.tally.clone()
    }

    pub(super) fn house(&self) -> MutexGuard<'_, House> {
        // The critical sections add to counts; at worst one is missing.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl RecordSink for Audience {
    fn finished(&self, record: Arc<Record>) {
        let now = time::now();
        let mut house = self.house();
        if !house.is_open {
            return;
        }
        let seen = Seen::of(&record, &house.playbill, now);
        house.tally.add(&seen);
        if seen.story().is_some() {
            house.saved.push(seen);
        }
    }
}
