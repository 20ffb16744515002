//! The whole stack over simulated endpoints, in memory, and a client that writes down what it
//! saw.
//!
//! A [`World`] has the endpoints `a`, `b` and `c`, best first, each with a key of its own. An
//! [`Ask`] is one request of a client, a [`Seen`] what came back for it, a [`State`] everything
//! that can be seen of an endpoint. Run them on a paused clock: nothing waits.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::{HeaderMap, Request, Response, StatusCode, header};
use http_body::Body;
use http_body_util::BodyExt as _;
use qcc_core::body::RequestBody;
use qcc_core::credential::Credential;
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::{BoxError, Error};
use qcc_core::exchange::RequestId;
use qcc_core::facts::Dialect;
use qcc_core::failover::{Builder, EndpointHandle, Failover, Handle};
use qcc_core::llm;
use qcc_core::record::{Answer, Record, RecordSink, SendResult, SessionHash};
use qcc_core::simulate::{Behaviour, Script, Simulator};
use qcc_core::time::{self, Duration, Instant};
use qcc_core::token::TokenState;
use tower::ServiceExt as _;
use tower::util::Oneshot;

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

/// One request of a client.
#[derive(Clone, Debug)]
pub struct Ask {
    dialect: Dialect,
    stream: bool,
    session: Option<String>,
}

impl Ask {
    /// A request of the session [`SESSION`].
    #[must_use]
    pub fn new(dialect: Dialect, stream: bool) -> Self {
        Self {
            dialect,
            stream,
            session: Some(SESSION.to_owned()),
        }
    }

    /// A request for a stream.
    #[must_use]
    pub fn streamed(dialect: Dialect) -> Self {
        Self::new(dialect, true)
    }

    /// A request for an answer in one piece.
    #[must_use]
    pub fn whole(dialect: Dialect) -> Self {
        Self::new(dialect, false)
    }

    /// The same of another session.
    #[must_use]
    pub fn with_session(mut self, session: impl Into<String>) -> Self {
        self.session = Some(session.into());
        self
    }

    /// The same of no session.
    #[must_use]
    pub fn without_session(mut self) -> Self {
        self.session = None;
        self
    }

    /// The request as a client sends it, with a key of its own.
    #[must_use]
    pub fn request(&self) -> Request<RequestBody> {
        self.to("")
    }

    fn to(&self, origin: &str) -> Request<RequestBody> {
        let stream = self.stream;
        let path = match (self.dialect, stream) {
            (Dialect::Anthropic, _) => "/v1/messages".to_owned(),
            (Dialect::Chat, _) => "/v1/chat/completions".to_owned(),
            (Dialect::Responses, _) => "/v1/responses".to_owned(),
            (_, false) => format!("/v1beta/models/{MODEL}:generateContent"),
            (_, true) => format!("/v1beta/models/{MODEL}:streamGenerateContent?alt=sse"),
        };
        let body = match self.dialect {
            Dialect::Anthropic | Dialect::Chat => format!(
                r#"{{"model":"{MODEL}","max_tokens":64,"stream":{stream},"messages":[{{"role":"user","content":"{PROMPT}"}}]}}"#
            ),
            Dialect::Responses => {
                format!(r#"{{"model":"{MODEL}","stream":{stream},"input":"{PROMPT}"}}"#)
            }
            _ => format!(r#"{{"contents":[{{"parts":[{{"text":"{PROMPT}"}}]}}]}}"#),
        };
        let mut request = Request::post(format!("{origin}{path}"))
            .header(header::CONTENT_TYPE, "application/json")
            .header(header::AUTHORIZATION, "Bearer sk-test-client");
        if let Some(session) = &self.session {
            request = request.header("x-session-id", session);
        }
        request.body(body.into()).expect("a request")
    }

    /// What an endpoint that follows `script` says to its request number `number`, in the
    /// pieces in which it comes: the measure of what the client has to see.
    pub async fn answer_of(
        &self,
        name: &str,
        script: impl Into<Script>,
        number: u64,
    ) -> Vec<Bytes> {
        let simulator = Simulator::new().endpoint(name, script);
        let request = || self.to(&format!("http://{name}.sim"));
        for _ in 1..number {
            drop(simulator.clone().oneshot(request()).await);
        }
        let response = simulator.oneshot(request()).await.expect("an answer");
        let mut body = response.into_body();
        let mut pieces = Vec::new();
        while let Some(Ok(frame)) = body.frame().await {
            pieces.extend(frame.into_data());
        }
        pieces
    }
}

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Properly.
    Clean,
    /// With an error, for which a server aborts the connection.
    Aborted,
}

/// What came back for a request.
#[derive(Debug)]
pub struct Seen {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, in the pieces in which it came, each with the time since the request began.
    pub pieces: Vec<(Duration, Bytes)>,
    /// How it ended.
    pub end: End,
    /// How long everything took.
    pub time: Duration,
    /// The error, if it is an answer of ours.
    pub error: Option<Error>,
    /// The record of the request, if it was sealed.
    pub record: Option<Arc<Record>>,
}

impl Seen {
    /// Reads an answer to its end, as a client does: an error becomes the answer of ours.
    pub async fn read<B>(
        dialect: Dialect,
        result: Result<Response<B>, Error>,
        started: Instant,
    ) -> Self
    where
        B: Body<Data = Bytes, Error = BoxError>,
    {
        let since = || time::now().saturating_duration_since(started);
        let (head, body, error) = match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                (head, Ok(body), None)
            }
            Err(error) => {
                let answer = llm::respond(&error, Some(dialect), time::now());
                let (head, body) = answer.into_parts();
                (head, Err(body), Some(error))
            }
        };
        let mut pieces = Vec::new();
        let mut end = End::Clean;
        match body {
            Ok(body) => {
                let mut body = std::pin::pin!(body);
                while let Some(frame) = body.frame().await {
                    match frame.map(http_body::Frame::into_data) {
                        Ok(Ok(data)) => pieces.push((since(), data)),
                        Ok(Err(_trailers)) => {}
                        Err(_) => {
                            end = End::Aborted;
                            break;
                        }
                    }
                }
            }
            Err(body) => pieces.push((since(), body)),
        }
        Self {
            status: head.status,
            headers: head.headers,
            pieces,
            end,
            time: since(),
            error,
            record: None,
        }
    }

    /// The whole body.
    #[must_use]
    pub fn body(&self) -> Vec<u8> {
        self.pieces
            .iter()
            .flat_map(|(_, piece)| piece.to_vec())
            .collect()
    }

    /// The whole body as text.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body()).into_owned()
    }

    /// The body as JSON; null if it is none.
    #[must_use]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body()).unwrap_or_default()
    }

    /// Whether a proper answer with status 200 came to its proper end.
    #[must_use]
    pub fn is_answer(&self) -> bool {
        self.status == StatusCode::OK && self.end == End::Clean && self.error.is_none()
    }
}

/// Everything that can be seen of an endpoint. Times are what is left of them.
#[derive(Clone, PartialEq, Eq)]
pub struct State {
    /// Requests that the upstream got.
    pub calls: u64,
    /// Those that it still works on.
    pub unfinished: u64,
    /// The keys that it was shown.
    pub keys: Vec<String>,
    /// The state of its breaker.
    pub breaker: &'static str,
    /// The failures that its breaker counts.
    pub failures: u32,
    /// What its requests say of it.
    pub status: &'static str,
    /// Whether it is switched on.
    pub enabled: bool,
    /// Whether it is healthy.
    pub is_healthy: bool,
    /// Whether its credential was refused.
    pub auth_failed: bool,
    /// The failures in a row, that of the credential included.
    pub consecutive_failures: u32,
    /// Visits that came to an end.
    pub total: u64,
    /// Those that failed.
    pub failed: u64,
    /// Its places taken.
    pub in_flight: u32,
    /// Why it is left out.
    pub out: Option<(&'static str, Option<Duration>)>,
    /// The state of its credential.
    pub token: Token,
    /// The failures of its credential in a row.
    pub token_failures: u32,
    /// The models that it is not asked for.
    pub models: Vec<(String, Duration)>,
}

/// The state of a credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Token {
    /// It can be used.
    Active,
    /// It is limited for so long.
    Cooling(Duration),
    /// It was refused.
    Refused,
    /// There is none.
    Missing,
}

impl State {
    /// An endpoint that nothing was asked of yet.
    #[must_use]
    pub const fn untouched() -> Self {
        Self {
            calls: 0,
            unfinished: 0,
            keys: Vec::new(),
            breaker: "closed",
            failures: 0,
            status: "unknown",
            enabled: true,
            is_healthy: true,
            auth_failed: false,
            consecutive_failures: 0,
            total: 0,
            failed: 0,
            in_flight: 0,
            out: None,
            token: Token::Active,
            token_failures: 0,
            models: Vec::new(),
        }
    }

    fn of(world: &World, name: &str) -> Self {
        let now = time::now();
        let handle = world.endpoint(name);
        let status = handle.status();
        let counts = world.simulator.counts(name);
        let token = handle.tokens().snapshot(now).into_iter().next();
        let left = |until: Instant| until.saturating_duration_since(now);
        Self {
            calls: counts.requests,
            unfinished: counts.in_flight,
            keys: counts.keys.keys().map(ToString::to_string).collect(),
            breaker: status.breaker.state.as_str(),
            failures: status.breaker.failures,
            status: status.status.as_str(),
            enabled: status.enabled,
            is_healthy: status.is_healthy,
            auth_failed: status.auth_failed,
            consecutive_failures: status.consecutive_failures,
            total: status.total,
            failed: status.failed,
            in_flight: status.in_flight,
            out: status.out.map(|(reason, left)| (reason.as_str(), left)),
            token_failures: token.as_ref().map_or(0, |token| token.failures),
            token: match token.map(|token| token.state) {
                Some(TokenState::Active) => Token::Active,
                Some(TokenState::Cooling { until }) => Token::Cooling(left(until)),
                Some(TokenState::Refused { .. }) => Token::Refused,
                _ => Token::Missing,
            },
            models: handle
                .health()
                .snapshot(now)
                .models
                .into_iter()
                .map(|(model, until)| (model.to_string(), left(until)))
                .collect(),
        }
    }
}

/// One line for each field, so that two states can be compared line by line.
impl fmt::Debug for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            calls,
            unfinished,
            keys,
            breaker,
            failures,
            status,
            enabled,
            is_healthy,
            auth_failed,
            consecutive_failures,
            total,
            failed,
            in_flight,
            out,
            token,
            token_failures,
            models,
        } = self;
        writeln!(f, "calls {calls}, unfinished {unfinished}, keys {keys:?}")?;
        writeln!(f, "breaker {breaker}, failures {failures}")?;
        writeln!(
            f,
            "status {status}, enabled {enabled}, is_healthy {is_healthy}"
        )?;
        writeln!(
            f,
            "auth_failed {auth_failed}, consecutive_failures {consecutive_failures}"
        )?;
        writeln!(f, "total {total}, failed {failed}, in_flight {in_flight}")?;
        writeln!(f, "out {out:?}")?;
        writeln!(f, "token {token:?}, token_failures {token_failures}")?;
        writeln!(f, "models {models:?}")
    }
}

/// The visits of a record, in short: `a: first failed transport, quick failed transport; b:
/// first clean`.
#[must_use]
pub fn visits(record: &Record) -> String {
    let visit = |visit: &qcc_core::record::VisitRecord| {
        let name = visit
            .endpoint
            .as_ref()
            .map_or("nobody", |endpoint| endpoint.name());
        let sends: Vec<_> = visit
            .sends
            .iter()
            .map(|send| format!("{} {}", send.kind, result(send.result)))
            .collect();
        format!("{name}: {}", sends.join(", "))
    };
    let visits: Vec<_> = record.visits.iter().map(visit).collect();
    visits.join("; ")
}

fn result(result: SendResult) -> String {
    match result {
        SendResult::Failed { verdict, .. } => format!("failed {}", verdict.kind),
        SendResult::Broken(verdict) => format!("broken {}", verdict.kind),
        SendResult::Refused(reason) => format!("refused {reason}"),
        SendResult::Clean => "clean".to_owned(),
        SendResult::Canceled => "canceled".to_owned(),
        SendResult::Committed => "committed".to_owned(),
        _ => "pending".to_owned(),
    }
}

/// What a record says that the client got, in short: `relayed 200`.
#[must_use]
pub fn answer(record: &Record) -> String {
    match record.answer {
        Answer::Relayed { status } => format!("relayed {}", status.as_u16()),
        Answer::Interrupted { status, kind } => {
            format!("interrupted {} {kind}", status.as_u16())
        }
        Answer::Failed(kind) => format!("failed {kind:?}"),
        Answer::Canceled => "canceled".to_owned(),
        _ => "pending".to_owned(),
    }
}

/// What differs, as lines of `-` what should be and `+` what is.
#[must_use]
pub fn differences(what: &str, expected: &impl fmt::Debug, got: &impl fmt::Debug) -> Vec<String> {
    let (expected, got) = (format!("{expected:?}"), format!("{got:?}"));
    let (mut expected, mut got) = (expected.lines(), got.lines());
    let mut found = Vec::new();
    loop {
        match (expected.next(), got.next()) {
            (None, None) => return found,
            (one, other) if one == other => {}
            (one, other) => {
                let (one, other) = (one.unwrap_or_default(), other.unwrap_or_default());
                found.push(format!("{what}\n      - {one}\n      + {other}"));
            }
        }
    }
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
