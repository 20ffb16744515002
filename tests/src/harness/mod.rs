//! The whole stack over simulated endpoints, in memory, and a client that writes down what it
//! saw.
//!
//! A [`World`] has the endpoints `a`, `b` and `c`, best first, each with a key of its own. An
//! [`Ask`] is one request of a client, a [`Seen`] what came back for it, a [`State`] everything
//! that can be seen of an endpoint. Run them on a paused clock: nothing waits.

mod ask;
mod kinds;
mod seen;
mod state;

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use http::Request;
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::exchange::RequestId;
use qcc_core::facts::Dialect;
use qcc_core::failover::{Builder, EndpointHandle, Failover, Handle};
use qcc_core::record::{Record, RecordSink, SessionHash};
use qcc_core::simulate::{Behaviour, Script, Simulator};
use qcc_core::time;
use tower::ServiceExt as _;
use tower::util::Oneshot;

pub use self::ask::Ask;
pub use self::kinds::{Consequence, Cooling, KINDS, consequence};
pub use self::seen::{End, Seen, answer, visits};
pub use self::state::{State, Token, differences};

/// The endpoints, best first.
pub const ENDPOINTS: [&str; 3] = ["a", "b", "c"];

/// The model that every request names.
pub const MODEL: &str = "model-1";

/// The prompt of every request. It ends with a code that can be echoed.
pub const PROMPT: &str = "Reply with this code: A1B2C3";

/// The session of a request that is given none.
pub const SESSION: &str = "session-1";

/// Every dialect.
pub const DIALECTS: [Dialect; 4] = [
    Dialect::Anthropic,
    Dialect::Chat,
    Dialect::Responses,
    Dialect::Gemini,
];

/// Three simulated endpoints behind the stack.
#[derive(Debug)]
pub struct World {
    /// The upstreams. A test changes what they do while requests go on.
    pub simulator: Simulator,
    /// The stack.
    pub failover: Failover<Simulator>,
    /// What operates it.
    pub handle: Handle,
    records: Arc<Records>,
    sent: AtomicU64,
}

/// A request that is under way.
pub type Call = Oneshot<Failover<Simulator>, Request<RequestBody>>;

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Everything by default; all endpoints answer.
    #[must_use]
    pub fn new() -> Self {
        Self::with(|builder| builder)
    }

    /// The same with other settings.
    #[must_use]
    pub fn with(set: impl FnOnce(Builder) -> Builder) -> Self {
        Self::of(endpoints(), set)
    }

    /// Other endpoints with other settings.
    #[must_use]
    pub fn of(
        endpoints: impl IntoIterator<Item = Endpoint>,
        set: impl FnOnce(Builder) -> Builder,
    ) -> Self {
        let endpoints = Endpoints::try_from_iter(endpoints).expect("names differ");
        let simulator = endpoints.iter().fold(Simulator::new(), |all, endpoint| {
            all.endpoint(endpoint.name().clone(), Behaviour::Ok)
        });
        let records = Arc::new(Records::default());
        let builder = Failover::builder(endpoints).llm();
        let failover = set(builder)
            .record_to(records.clone())
            .build(|_| simulator.clone());
        Self {
            simulator,
            handle: failover.handle(),
            failover,
            records,
            sent: AtomicU64::new(0),
        }
    }

    /// Lets an endpoint do this from now on: see [`Behaviour`] for the text.
    pub fn set(&self, name: &str, behaviour: &str) {
        let behaviour: Behaviour = behaviour.parse().expect("a behaviour");
        self.simulator.set(name, behaviour);
    }

    /// The same for each of the three.
    pub fn set_all(&self, behaviour: &str) {
        ENDPOINTS.iter().for_each(|name| self.set(name, behaviour));
    }

    /// Lets an endpoint follow a script from now on.
    pub fn script(&self, name: &str, script: impl Into<Script>) {
        self.simulator.set(name, script);
    }

    /// Sends a request and reads the answer to its end.
    pub async fn send(&self, ask: &Ask) -> Seen {
        let id = format!("test-{}", self.sent.fetch_add(1, Ordering::Relaxed));
        let mut request = ask.request();
        let value = id.parse().expect("a header");
        request.headers_mut().insert("x-request-id", value);
        let started = time::now();
        let result = self.failover.clone().oneshot(request).await;
        let mut seen = Seen::read(ask.dialect, result, started).await;
        seen.record = self.records.of(&id.parse().expect("an id"));
        seen
    }

    /// Sends a request; the body of the answer is the caller's.
    pub fn call(&self, ask: &Ask) -> Call {
        self.failover.clone().oneshot(ask.request())
    }

    /// One endpoint.
    #[must_use]
    pub fn endpoint(&self, name: &str) -> EndpointHandle {
        self.handle.find(name).expect("an endpoint of that name")
    }

    /// Everything that can be seen of an endpoint.
    #[must_use]
    pub fn state(&self, name: &str) -> State {
        State::of(self, name)
    }

    /// How many requests each of the three has had.
    #[must_use]
    pub fn calls(&self) -> [u64; 3] {
        ENDPOINTS.map(|name| self.simulator.counts(name).requests)
    }

    /// The endpoint that a session is bound to.
    #[must_use]
    pub fn bound(&self, session: &str) -> Option<String> {
        let bound = self
            .handle
            .sessions()
            .get(SessionHash::of(session), time::now());
        let id = bound.first()?.endpoint;
        let handle = self.handle.endpoint(id)?;
        Some(handle.endpoint().name().to_string())
    }

    /// The records of all finished requests, oldest first.
    #[must_use]
    pub fn records(&self) -> Vec<Arc<Record>> {
        self.records.all()
    }

    /// What is left over of requests: nothing, once all have ended. Of each endpoint the places
    /// in flight and what the upstream still works on.
    #[must_use]
    pub fn left_over(&self) -> Vec<(String, u32, u64)> {
        let status = self.handle.status();
        let all = status.iter().map(|status| {
            let name = status.endpoint.name().to_string();
            let upstream = self.simulator.counts(&name).in_flight;
            (name, status.in_flight, upstream)
        });
        all.filter(|(_, ours, upstream)| *ours > 0 || *upstream > 0)
            .collect()
    }
}

/// The endpoints `a`, `b` and `c`, best first, each with a key of its own.
pub fn endpoints() -> impl Iterator<Item = Endpoint> {
    (1..).zip(ENDPOINTS).map(|(priority, name)| {
        let base = format!("http://{name}.sim").parse().expect("an address");
        Endpoint::new(name, base)
            .with_credential(Credential::new(name, format!("sk-test-{name}")))
            .with_priority(priority)
    })
}

/// The records of all finished requests.
#[derive(Debug, Default)]
struct Records(Mutex<Vec<Arc<Record>>>);

impl Records {
    fn all(&self) -> Vec<Arc<Record>> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn of(&self, id: &RequestId) -> Option<Arc<Record>> {
        let records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        records.iter().rfind(|record| record.id == *id).cloned()
    }
}

impl RecordSink for Records {
    fn finished(&self, record: Arc<Record>) {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(record);
    }
}
