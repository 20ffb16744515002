//! The traffic of the demo: clients that talk in sessions, each in a dialect of its own.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use qcc_core::facts::Dialect;
use qcc_core::time::Duration;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use tokio::task::JoinSet;

use super::client::{Ask, Heard};

/// How many clients there are: all dialects, two of them twice.
pub(super) const CLIENTS: usize = 6;

/// How many requests a session has. Each new one chooses its endpoint freely, and so may try one
/// that has been out.
const SESSION: Range<u32> = 2..5;

/// A client that waits for longer gives up, and counts as not served.
const PATIENCE: Duration = Duration::from_secs(10);

/// What all clients share.
#[derive(Debug, Default)]
struct Shared {
    stop: AtomicBool,
    /// Whether nobody may ask for a stream now.
    no_streams: AtomicBool,
    streams: AtomicUsize,
}

/// Clients at work.
pub(super) struct Traffic {
    shared: Arc<Shared>,
    clients: JoinSet<Served>,
}

/// What the clients got.
#[derive(Clone, Debug, Default)]
pub(super) struct Served {
    pub(super) requests: u64,
    pub(super) streamed: u64,
    pub(super) sessions: u64,
    /// Why a client was not content, for each time it was not.
    pub(super) failures: Vec<String>,
}

impl Traffic {
    /// Starts the clients. `pause` is the longest time between an answer and the next request.
    pub(super) fn start(
        proxy: SocketAddr,
        seed: u64,
        pause: Duration,
    ) -> Result<Self, reqwest::Error> {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(PATIENCE)
            .build()?;
        let shared = Arc::<Shared>::default();
        let mut clients = JoinSet::new();
        for number in 0..CLIENTS {
            let client = Client {
                http: http.clone(),
                proxy,
                number,
                rng: StdRng::seed_from_u64(seed.wrapping_add(number as u64)),
                shared: shared.clone(),
                served: Served::default(),
            };
            clients.spawn(client.run(pause));
        }
        Ok(Self { shared, clients })
    }

    /// Lets clients ask for streams, or not. Those that are under way go on.
    pub(super) fn allow_streams(&self, allowed: bool) {
        self.shared.no_streams.store(!allowed, Ordering::SeqCst);
    }

    /// Whether a stream may be under way.
    pub(super) fn has_streams(&self) -> bool {
        self.shared.streams.load(Ordering::SeqCst) > 0
    }

    /// Lets every client end its request, and tells what they got.
    pub(super) async fn stop(self) -> Served {
        self.shared.stop.store(true, Ordering::SeqCst);
        let mut all = Served::default();
        for served in self.clients.join_all().await {
            all.requests += served.requests;
            all.streamed += served.streamed;
            all.sessions += served.sessions;
            all.failures.extend(served.failures);
        }
        all
    }
}

/// One client.
struct Client {
    http: reqwest::Client,
    proxy: SocketAddr,
    number: usize,
    rng: StdRng,
    shared: Arc<Shared>,
    served: Served,
}

impl Client {
    async fn run(mut self, pause: Duration) -> Served {
        let dialect = Dialect::ALL[self.number % Dialect::ALL.len()];
        for session in 0_u32.. {
            let session = format!("client-{}-session-{session}", self.number);
            for request in 0..self.rng.random_range(SESSION) {
                if self.shared.stop.load(Ordering::SeqCst) {
                    return self.served;
                }
                self.served.sessions += u64::from(request == 0);
                let ask = Ask {
                    dialect,
                    stream: self.rng.random_range(0..3) > 0,
                };
                self.ask(ask, &session).await;
                let pause = pause.mul_f64(self.rng.random_range(0.3..1.0));
                tokio::time::sleep(pause).await;
            }
        }
        self.served
    }

    async fn ask(&mut self, mut ask: Ask, session: &str) {
        // Registered before the look at the flag, so that whoever sets it sees this stream.
        let shared = self.shared.clone();
        let _streaming = ask.stream.then(|| Streaming::begin(&shared));
        if shared.no_streams.load(Ordering::SeqCst) {
            ask.stream = false;
        }
        self.served.requests += 1;
        self.served.streamed += u64::from(ask.stream);
        let heard = send(&self.http, self.proxy, ask, Some(session)).await;
        if let Err(why) = heard.and_then(|heard| heard.check()) {
            let (number, dialect) = (self.number + 1, ask.dialect);
            let failure = format!("client {number} ({dialect}): {why}");
            self.served.failures.push(failure);
        }
    }
}

/// A stream that is under way, or may be.
struct Streaming<'s>(&'s AtomicUsize);

impl<'s> Streaming<'s> {
    fn begin(shared: &'s Shared) -> Self {
        shared.streams.fetch_add(1, Ordering::SeqCst);
        Self(&shared.streams)
    }
}

impl Drop for Streaming<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Sends one request to the proxy and reads the answer to its end.
///
/// # Errors
///
/// There was no answer, or it broke off.
pub(super) async fn send(
    http: &reqwest::Client,
    proxy: SocketAddr,
    ask: Ask,
    session: Option<&str>,
) -> Result<Heard, String> {
    let mut request = http
        .post(format!("http://{proxy}{}", ask.path()))
        .header("content-type", "application/json")
        .body(ask.body());
    if let Some(session) = session {
        request = request.header("x-session-id", session);
    }
    let broken = |error: reqwest::Error| format!("no whole answer: {error}");
    let response = request.send().await.map_err(broken)?;
    let status = response.status();
    let body = response.bytes().await.map_err(broken)?;
    Ok(ask.read(status, &body))
}
