use std::borrow::Cow;
use std::collections::HashMap;
use std::convert::Infallible;
use std::future;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response, StatusCode};
use http_body::Body;
use tokio_test::task::spawn;
use tokio_test::{assert_pending, assert_ready};
use tower::{Layer as _, Service, ServiceExt as _, service_fn};
use tower_test::mock;

use super::*;
use crate::available::Reason;
use crate::endpoint::{Endpoint, EndpointId};
use crate::error::NoEndpoint;
use crate::exchange::{Exchange, Exhausted, RequestId};
use crate::facts::{ClientId, Dialect, Facts};
use crate::failure::{Failed, Interrupted, Kind, Refused, Verdict};
use crate::record::{Fate, Tier, Transition};
use crate::testing::{Logs, Script as Pieces, drain};
use crate::time::{Duration, Instant};

// ===== what the tests are made of =====

/// A header, else what the body says.
#[derive(Debug)]
struct Header;

impl AffinityKey for Header {
    fn key<'a>(&self, head: &'a Parts, facts: &'a Facts) -> Option<Cow<'a, str>> {
        let header = head.headers.get("x-conversation-id");
        header
            .and_then(|value| value.to_str().ok())
            .or_else(|| facts.session_fields.first().map(|(_, value)| &**value))
            .map(Cow::from)
    }
}

fn endpoint(name: &str) -> Arc<Endpoint> {
    let base = format!("http://{name}.example").parse().unwrap();
    Arc::new(Endpoint::new(name, base))
}

fn id(name: &str) -> EndpointId {
    endpoint(name).id()
}

/// What becomes of one visit: the endpoint it goes to, and how it ends there.
#[derive(Clone)]
struct Script {
    /// Who answers if nobody is preferred or the preferred one is out.
    free: Option<&'static str>,
    /// Why, and until when, the preferred endpoint is out.
    out: Option<(Reason, Option<Instant>)>,
    /// Whether the preferred endpoint is no member.
    gone: bool,
    end: fn() -> Result<StatusCode, BoxError>,
}

impl Script {
    fn free(name: &'static str) -> Self {
        Self {
            free: Some(name),
            out: None,
            gone: false,
            end: || Ok(StatusCode::OK),
        }
    }

    fn out(mut self, reason: Reason, until: Option<Instant>) -> Self {
        self.out = Some((reason, until));
        self
    }

    fn gone(mut self) -> Self {
        self.gone = true;
        self
    }

    fn end(mut self, end: fn() -> Result<StatusCode, BoxError>) -> Self {
        self.end = end;
        self
    }

    /// Plays the balancer for one visit.
    fn play(&self, visit: &Visit) -> Result<Response<String>, BoxError> {
        let names = ["a", "b", "c"];
        let preferred = visit.preferred.as_ref().map(|preferred| preferred.endpoint);
        let fate = match (preferred, self.out) {
            (None, _) => None,
            (Some(_), _) if self.gone => Some(Fate::Gone),
            (Some(_), Some((reason, until))) => Some(Fate::PassedOver { reason, until }),
            (Some(_), None) => Some(Fate::Honoured),
        };
        let chosen = match (preferred, fate) {
            (Some(preferred), Some(Fate::Honoured)) => {
                names.into_iter().find(|name| id(name) == preferred)
            }
            _ => self.free,
        };
        visit
            .exchange
            .choose(chosen.map(endpoint), Tier::Ready, fate, time::now());
        let mut response = Response::new(chosen.unwrap_or_default().to_owned());
        *response.status_mut() = (self.end)()?;
        Ok(response)
    }
}

/// Sends requests of one client through affinity.
struct Client {
    sessions: Sessions,
    id: ClientId,
}

impl Client {
    fn new() -> Self {
        Self {
            sessions: Sessions::default(),
            id: ClientId::default(),
        }
    }

    /// With the session `s` bound to `a`.
    async fn bound() -> Self {
        let client = Self::new();
        assert_eq!(client.send("s", Script::free("a")).await.unwrap(), "a");
        assert_eq!(client.at("s"), Some(id("a")));
        client
    }

    fn exchange(&self) -> Exchange {
        let exchange = Exchange::new(RequestId::random());
        let facts = Facts {
            client: self.id,
            ..Facts::default()
        };
        exchange.set_facts(facts);
        exchange
    }

    async fn visit(
        &self,
        session: Option<&str>,
        script: Script,
        visit: Visit,
    ) -> Result<String, BoxError> {
        let layer = AffinityLayer::new(self.sessions.clone(), Arc::new(Header));
        let service = layer.layer(service_fn(move |request: Request<()>| {
            let visit = request.extensions().get::<Visit>().unwrap();
            future::ready(script.play(visit))
        }));
        let mut request = Request::new(());
        request.extensions_mut().insert(visit);
        if let Some(session) = session {
            let headers = request.headers_mut();
            headers.insert("x-conversation-id", session.parse().unwrap());
        }
        let body = service.oneshot(request).await?.into_body();
        let bytes = drain(body).await?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A request that `a` answers with this body.
    async fn answered(&self, body: Pieces) -> impl Body<Data = Bytes, Error = BoxError> {
        let body = Mutex::new(Some(body));
        let layer = AffinityLayer::new(self.sessions.clone(), Arc::new(Header));
        let service = layer.layer(service_fn(|request: Request<()>| {
            let visit = request.extensions().get::<Visit>().unwrap();
            Script::free("a").play(visit).unwrap();
            let body = body.lock().unwrap().take().unwrap();
            future::ready(Ok::<_, BoxError>(Response::new(body)))
        }));
        let mut request = Request::new(());
        request
            .headers_mut()
            .insert("x-conversation-id", "s".parse().unwrap());
        request.extensions_mut().insert(Visit::new(self.exchange()));
        service.oneshot(request).await.unwrap().into_body()
    }

    async fn send(&self, session: &str, script: Script) -> Result<String, BoxError> {
        let visit = Visit::new(self.exchange());
        self.visit(Some(session), script, visit).await
    }

    /// Where a session of any client is bound.
    fn at(&self, session: &str) -> Option<EndpointId> {
        let bound = self.sessions.get(SessionHash::of(session), time::now());
        bound.first().map(|bound| bound.endpoint)
    }

    fn bindings(&self) -> usize {
        self.sessions.stats(time::now()).total
    }
}

fn failed(kind: Kind) -> Result<StatusCode, BoxError> {
    Err(Failed::new(Verdict::new(kind)).into())
}

// ===== binding =====

// AFF-01
#[tokio::test(start_paused = true)]
async fn requests_of_a_session_go_to_its_endpoint_and_the_log_says_so() {
    let logs = Logs::capture();
    let client = Client::bound().await;
    assert!(logs.with("using session-bound endpoint").is_empty());
    for _ in 0..3 {
        assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "a");
    }
    let lines = logs.with("using session-bound endpoint");
    assert_eq!(lines.len(), 3);
    assert!(lines[0].contains(&id("a").to_string()), "{lines:?}");
}

// AFF-02
#[tokio::test(start_paused = true)]
async fn the_key_decides_what_names_a_session_and_sees_head_and_facts() {
    let client = Client::new();
    let exchange = Exchange::new(RequestId::random());
    let mut facts = Facts::default();
    let field = crate::facts::BodyField::ConversationId;
    facts.session_fields.push((field, "body".into()));
    exchange.set_facts(facts);
    let visit = Visit::new(exchange);
    let sent = client.visit(None, Script::free("a"), visit.clone()).await;
    sent.unwrap();
    assert_eq!(client.at("body"), Some(id("a")));
    let sent = client.visit(Some("header"), Script::free("b"), visit).await;
    assert_eq!(sent.unwrap(), "b");
    assert_eq!(client.at("header"), Some(id("b")));
}

// AFF-05
#[tokio::test(start_paused = true)]
async fn equal_session_ids_of_two_clients_share_no_binding() {
    let mut client = Client::bound().await;
    client.id = ClientId([7; 16]);
    assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "b");
    assert_eq!(client.send("s", Script::free("c")).await.unwrap(), "b");
    client.id = ClientId::default();
    assert_eq!(client.send("s", Script::free("c")).await.unwrap(), "a");
    let both = client.sessions.get(SessionHash::of("s"), time::now());
    assert_eq!(both.len(), 2);
}

// AFF-06
#[tokio::test(start_paused = true)]
async fn a_request_without_a_session_is_balanced_freely_and_stores_nothing() {
    let client = Client::bound().await;
    for name in ["b", "c"] {
        let visit = Visit::new(client.exchange());
        let answer = client.visit(None, Script::free(name), visit).await;
        assert_eq!(answer.unwrap(), name);
    }
    assert_eq!(client.bindings(), 1);
}

// AFF-07
#[tokio::test(start_paused = true)]
async fn only_a_success_binds_and_it_does_before_the_body_is_read() {
    let client = Client::new();
    let ends: [fn() -> Result<StatusCode, BoxError>; 4] = [
        || Ok(StatusCode::BAD_REQUEST),
        || failed(Kind::InvalidRequest),
        || failed(Kind::Server),
        || Err(NoEndpoint::new(Default::default(), None).into()),
    ];
    for end in ends {
        let _ = client.send("s", Script::free("a").end(end)).await;
        assert_eq!(client.bindings(), 0);
    }
    // `send` never reads the body: the response itself is the success.
    client.send("s", Script::free("a")).await.unwrap();
    assert_eq!(client.at("s"), Some(id("a")));
}

// AFF-08
#[tokio::test(start_paused = true)]
async fn a_binding_lives_five_hours_from_the_last_success() {
    let client = Client::bound().await;
    let almost = Duration::from_secs(18_000 - 1);
    for _ in 0..2 {
        tokio::time::advance(almost).await;
        assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "a");
    }
    tokio::time::advance(Duration::from_secs(18_000)).await;
    assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "b");
    assert_eq!(client.at("s"), Some(id("b")));
    assert_eq!(client.send("new", Script::free("c")).await.unwrap(), "c");
}

// AFF-15
#[tokio::test(start_paused = true)]
async fn every_follow_up_of_a_hundred_conversations_reaches_its_endpoint() {
    let client = Client::new();
    let mut homes: HashMap<String, String> = HashMap::new();
    for request in 0..1_000 {
        let session = format!("conversation {}", request % 100);
        let free = ["a", "b", "c"][request % 3];
        let answer = client.send(&session, Script::free(free)).await.unwrap();
        let home = homes.entry(session).or_insert_with(|| answer.clone());
        assert_eq!(*home, answer);
    }
    let stats = client.sessions.stats(time::now());
    assert_eq!(
        (stats.total, stats.active, stats.endpoints.len()),
        (100, 100, 3)
    );
}

// AFF-16
#[tokio::test(start_paused = true)]
async fn every_dialect_is_kept_together_alike() {
    for dialect in Dialect::ALL.into_iter().map(Some).chain([None]) {
        let client = Client::new();
        for free in ["a", "b", "c"] {
            let exchange = Exchange::new(RequestId::random());
            exchange.set_facts(Facts {
                dialect,
                ..Facts::default()
            });
            let visit = Visit::new(exchange);
            let answer = client.visit(Some("s"), Script::free(free), visit).await;
            assert_eq!(answer.unwrap(), "a", "{dialect:?}");
        }
    }
}

// AFF-17
#[tokio::test(start_paused = true)]
async fn each_new_binding_is_logged_once_without_the_session_id() {
    let logs = Logs::capture();
    let mut client = Client::new();
    client.id = ClientId([0xab; 16]);
    for _ in 0..3 {
        client.send("sess-1", Script::free("a")).await.unwrap();
    }
    let lines = logs.with("unbound => bound");
    assert_eq!(lines.len(), 1);
    let endpoint = id("a").to_string();
    for part in [
        "INFO",
        "session=abe633f3a47a2758174eabe9160daf36",
        endpoint.as_str(),
        "name=\"a\"",
        "client=abababab",
    ] {
        assert!(lines[0].contains(part), "{part} in {lines:?}");
    }
    assert!(logs.with("sess-1").is_empty());
}

// AFF-18
#[tokio::test(start_paused = true)]
async fn new_sessions_know_nothing_and_start_without_error() {
    let before = Client::bound().await;
    let after = Client::new();
    assert_eq!(after.bindings(), 0);
    assert_eq!(after.send("s", Script::free("b")).await.unwrap(), "b");
    assert_eq!(before.at("s"), Some(id("a")));
}

// ===== transitions =====

// AFF-20, AFF-21
#[tokio::test(start_paused = true)]
async fn a_session_escapes_from_an_endpoint_that_is_full_and_returns() {
    let client = Client::bound().await;
    let full = Script::free("b").out(Reason::Full, None);
    assert_eq!(client.send("s", full).await.unwrap(), "b");
    assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "a");
}

// AFF-20, AFF-21
#[tokio::test(start_paused = true)]
async fn a_session_escapes_from_a_short_cool_down_and_moves_for_a_long_one() {
    let client = Client::bound().await;
    let cooling = |seconds| {
        let until = time::now() + Duration::from_secs(seconds);
        Script::free("b").out(Reason::Cooling, Some(until))
    };
    assert_eq!(client.send("s", cooling(29)).await.unwrap(), "b");
    assert_eq!(client.at("s"), Some(id("a")));
    assert_eq!(client.send("s", cooling(60)).await.unwrap(), "b");
    assert_eq!(client.at("s"), Some(id("b")));
}

// AFF-09
#[tokio::test(start_paused = true)]
async fn a_lost_endpoint_is_left_with_a_warning_and_without_a_call() {
    let lost = [
        Script::free("b").out(Reason::Open, None),
        Script::free("b").out(Reason::Disabled, None),
        Script::free("b").out(Reason::AuthFailed, None),
        Script::free("b").out(Reason::Queued, None),
        Script::free("b").gone(),
    ];
    for script in lost {
        let logs = Logs::capture();
        let client = Client::bound().await;
        assert_eq!(client.send("s", script.clone()).await.unwrap(), "b");
        assert_eq!(client.at("s"), Some(id("b")));
        let lines = logs.with("bound => rebound");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert!(lines[0].starts_with("WARN"), "{lines:?}");

        let logs = Logs::capture();
        let client = Client::bound().await;
        let fails = script.end(|| failed(Kind::Server));
        assert!(client.send("s", fails).await.is_err());
        assert_eq!(client.at("s"), None);
        assert_eq!(logs.with("WARN session bound => unbound").len(), 1);
    }
}

// AFF-09
#[tokio::test(start_paused = true)]
async fn a_lost_endpoint_is_left_even_if_nobody_can_be_had() {
    let client = Client::bound().await;
    let mut nobody = Script::free("b").out(Reason::Open, None);
    nobody.free = None;
    let nobody = nobody.end(|| Err(NoEndpoint::new(Default::default(), None).into()));
    assert!(client.send("s", nobody).await.is_err());
    assert_eq!(client.at("s"), None);
}

// AFF-10
#[tokio::test(start_paused = true)]
async fn a_failure_at_the_bound_endpoint_moves_the_session_to_whoever_answers() {
    let client = Client::bound().await;
    let exchange = client.exchange();
    let mut visit = Visit::new(exchange.clone());
    let fails = Script::free("b").end(|| failed(Kind::Overloaded));
    let first = client.visit(Some("s"), fails, visit.clone()).await;
    assert!(first.is_err());
    assert_eq!(client.at("s"), None);
    visit.number = 2;
    visit.excluded.insert(id("a"));
    let second = client.visit(Some("s"), Script::free("b"), visit).await;
    assert_eq!(second.unwrap(), "b");
    assert_eq!(client.at("s"), Some(id("b")));
    let record = exchange.seal(time::now()).unwrap();
    assert_eq!(record.binding, Some(Transition::Bound));
    assert_eq!(record.session, Some(SessionHash::of("s")));
}

// AFF-10
#[tokio::test(start_paused = true)]
async fn what_is_not_the_endpoints_fault_leaves_the_binding_alone() {
    let ends: [fn() -> Result<StatusCode, BoxError>; 5] = [
        || failed(Kind::InvalidRequest),
        || failed(Kind::RateLimit),
        || Ok(StatusCode::NOT_FOUND),
        || Err(Exhausted::Deadline.into()),
        || {
            let request = Request::new(crate::body::RequestBody::empty());
            Err(Refused::new(Reason::Probing, None, request).into())
        },
    ];
    for end in ends {
        let client = Client::bound().await;
        let _ = client.send("s", Script::free("b").end(end)).await;
        assert_eq!(client.at("s"), Some(id("a")));
    }
}

// AFF-20
#[tokio::test(start_paused = true)]
async fn a_request_that_is_cancelled_changes_nothing() {
    let client = Client::bound().await;
    let layer = AffinityLayer::new(client.sessions.clone(), Arc::new(Header));
    let mut service = layer.layer(service_fn(|request: Request<()>| {
        let visit = request.extensions().get::<Visit>().unwrap();
        let lost = Script::free("b").out(Reason::Open, None);
        let _ = lost.play(visit);
        future::pending::<Result<Response<String>, Infallible>>()
    }));
    let mut request = Request::new(());
    request
        .headers_mut()
        .insert("x-conversation-id", "s".parse().unwrap());
    let mut visiting = spawn(service.call(request));
    assert_pending!(visiting.poll());
    drop(visiting);
    assert_eq!(client.at("s"), Some(id("a")));
}

// XPL-01
#[tokio::test(start_paused = true)]
async fn the_record_holds_the_session_and_what_became_of_its_binding() {
    let client = Client::new();
    for (script, transition) in [
        (Script::free("a"), Transition::Bound),
        (Script::free("b"), Transition::Refreshed),
        (
            Script::free("b").out(Reason::Full, None),
            Transition::Escaped,
        ),
        (
            Script::free("b").out(Reason::Open, None),
            Transition::Rebound,
        ),
        (
            Script::free("c").end(|| failed(Kind::Timeout)),
            Transition::Invalidated,
        ),
    ] {
        let exchange = client.exchange();
        let _ = client
            .visit(Some("sess-1"), script, Visit::new(exchange.clone()))
            .await;
        let record = exchange.seal(time::now()).unwrap();
        assert_eq!(record.binding, Some(transition));
        let session = record.session.unwrap().to_string();
        assert_eq!(session, "abe633f3a47a2758174eabe9160daf36");
    }
}

// ===== the handle =====

// AFF-11
#[tokio::test(start_paused = true)]
async fn maintenance_sweeps_every_five_minutes_and_never_ends() {
    let sessions = Sessions::new(Config::default().with_ttl(Duration::from_secs(299)));
    let client = Client {
        sessions: sessions.clone(),
        id: ClientId::default(),
    };
    let mut maintenance = spawn(sessions.maintenance());
    assert_pending!(maintenance.poll());
    for _ in 0..3 {
        client.send("s", Script::free("a")).await.unwrap();
        tokio::time::advance(Duration::from_secs(299)).await;
        assert_pending!(maintenance.poll());
        let stats = sessions.stats(time::now());
        assert_eq!((stats.total, stats.active, stats.expired), (1, 0, 1));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_pending!(maintenance.poll());
        assert_eq!(client.bindings(), 0);
    }
}

// AFF-11
#[tokio::test(start_paused = true)]
async fn a_panic_elsewhere_does_not_end_the_sessions() {
    let client = Client::bound().await;
    let sessions = client.sessions.clone();
    let poisoned = std::thread::spawn(move || sessions.while_locked(|| panic!("on purpose")));
    assert!(poisoned.join().is_err());
    assert_eq!(client.sessions.sweep(time::now()), 0);
    assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "a");
}

// AFF-12
#[tokio::test(start_paused = true)]
async fn a_session_can_be_unbound_by_hand() {
    let client = Client::bound().await;
    let session = SessionHash::of("s");
    assert!(client.sessions.unbind(session));
    assert!(!client.sessions.unbind(session));
    assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "b");

    client.send("t", Script::free("b")).await.unwrap();
    client.send("u", Script::free("c")).await.unwrap();
    assert_eq!(client.sessions.unbind_endpoint(id("b")), 2);
    assert_eq!(client.sessions.unbind_endpoint(id("b")), 0);
    assert_eq!(client.at("u"), Some(id("c")));
}

// AFF-13
#[tokio::test(start_paused = true)]
async fn one_session_all_of_them_and_their_numbers_can_be_read() {
    let client = Client::bound().await;
    let seconds = Duration::from_secs;
    tokio::time::advance(seconds(17_000)).await;
    client.send("t", Script::free("b")).await.unwrap();
    client.send("u", Script::free("b")).await.unwrap();
    tokio::time::advance(seconds(900)).await;
    let (now, session) = (time::now(), SessionHash::of("s"));
    let one = client.sessions.get(session, now)[0];
    assert_eq!((one.session, one.endpoint), (session, id("a")));
    assert_eq!(one.remaining, seconds(100));
    assert_eq!(one.expires, Some(now + seconds(100)));
    assert!(client.sessions.get(SessionHash::of("x"), now).is_empty());
    assert_eq!(client.sessions.list(now).len(), 3);

    let stats = client.sessions.stats(now + seconds(100));
    assert_eq!((stats.total, stats.active, stats.expired), (3, 2, 1));
    assert_eq!(stats.endpoints, [(id("b"), 2)].into());
    assert_eq!(stats.ttl, seconds(18_000));
}

#[tokio::test(start_paused = true)]
async fn new_settings_count_for_bindings_that_exist() {
    let client = Client::bound().await;
    tokio::time::advance(Duration::from_secs(60)).await;
    let shorter = Config::default().with_ttl(Duration::from_secs(60));
    client.sessions.configure(shorter);
    assert_eq!(client.send("s", Script::free("b")).await.unwrap(), "b");
}

// ===== the end of an answer =====

// AFF-10
#[tokio::test(start_paused = true)]
async fn an_answer_that_breaks_by_the_fault_of_its_endpoint_ends_the_binding() {
    for (kind, bound) in [
        (Kind::Transport, None),
        (Kind::Overloaded, None),
        (Kind::RateLimit, Some(id("a"))),
        (Kind::InvalidRequest, Some(id("a"))),
    ] {
        let client = Client::bound().await;
        let interrupted = Interrupted::new(Verdict::new(kind), None);
        let body = Pieces::new([Ok("some"), Err(interrupted.into())]);
        let body = client.answered(body).await;
        assert_eq!(client.at("s"), Some(id("a")), "{kind}");
        assert!(drain(body).await.is_err());
        assert_eq!(client.at("s"), bound, "{kind}");
    }
}

// AFF-07
#[tokio::test(start_paused = true)]
async fn an_answer_that_the_client_gives_up_leaves_the_binding() {
    let client = Client::bound().await;
    drop(client.answered(Pieces::new([Ok("some")])).await);
    assert_eq!(client.at("s"), Some(id("a")));
}

// ===== standing alone =====

// EMB-01
#[tokio::test(start_paused = true)]
async fn it_passes_everything_on_where_there_is_no_balancer() {
    let sessions = Sessions::default();
    let service = service_fn(|request: Request<&'static str>| {
        let text = request.into_body().to_owned();
        future::ready(Ok::<_, Infallible>(Response::new(text)))
    });
    let affinity = AffinityLayer::new(sessions.clone(), Arc::new(Header)).layer(service);
    let mut request = Request::new("hello");
    request
        .headers_mut()
        .insert("x-conversation-id", "s".parse().unwrap());
    let response = affinity.oneshot(request).await.unwrap();
    assert_eq!(drain(response.into_body()).await.unwrap(), "hello");
    assert_eq!(sessions.stats(time::now()).total, 0);
}

#[tokio::test(start_paused = true)]
async fn a_preference_from_above_is_left_alone() {
    let client = Client::bound().await;
    let mut visit = Visit::new(client.exchange());
    visit.preferred = Some(Preferred::soft(id("c")));
    let answer = client.visit(Some("s"), Script::free("b"), visit).await;
    assert_eq!(answer.unwrap(), "c");
    assert_eq!(client.at("s"), Some(id("a")));
}

// EMB-02
#[tokio::test(start_paused = true)]
async fn readiness_is_that_of_the_inner_service() {
    let (mock, mut handle) = mock::pair::<Request<()>, Response<String>>();
    handle.allow(0);
    let layer = AffinityLayer::new(Sessions::default(), Arc::new(Header));
    let mut affinity = layer.layer(mock);
    let mut cx = Context::from_waker(std::task::Waker::noop());
    assert!(affinity.poll_ready(&mut cx).is_pending());
    handle.allow(1);
    assert!(matches!(affinity.poll_ready(&mut cx), Poll::Ready(Ok(()))));
    let mut visiting = spawn(affinity.call(Request::new(())));
    assert_pending!(visiting.poll());
    let (_, send) = assert_ready!(spawn(handle.next_request()).poll()).unwrap();
    send.send_response(Response::new(String::new()));
    assert!(assert_ready!(visiting.poll()).is_ok());
}

// CLI-09
#[tokio::test(start_paused = true)]
async fn the_bindings_of_one_client_can_be_removed() {
    let mine = Client::bound().await;
    let theirs = Client {
        id: ClientId([7; 16]),
        sessions: mine.sessions.clone(),
    };
    for session in ["s", "t"] {
        theirs.send(session, Script::free("b")).await.unwrap();
    }
    assert_eq!(mine.sessions.unbind_client(theirs.id), 2);
    assert_eq!(mine.sessions.unbind_client(theirs.id), 0);
    assert_eq!(mine.at("s"), Some(id("a")));
}
