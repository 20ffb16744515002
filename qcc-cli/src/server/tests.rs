use std::num::NonZeroU32;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::channel::{Channel, Sender};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::service::service_fn;
use qcc_core::body::RequestBody;
use qcc_core::endpoint::{Api, Endpoint, Endpoints};
use qcc_core::error::Error;
use qcc_core::limit::Caller;
use qcc_core::time::{self, Instant};
use sha2::{Digest as _, Sha256};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tower::util::BoxCloneSyncService;

use super::*;
use crate::config::ClientKey;

type AnyBody = UnsyncBoxBody<Bytes, BoxError>;
type Upstream = BoxCloneSyncService<Request<RequestBody>, Response<AnyBody>, Error>;

/// Connections out of memory.
struct Connections(mpsc::Receiver<DuplexStream>);

impl Accept for Connections {
    type Io = DuplexStream;

    async fn accept(&mut self) -> io::Result<DuplexStream> {
        match self.0.recv().await {
            Some(stream) => Ok(stream),
            None => std::future::pending().await,
        }
    }
}

/// A server with a way to reach it and to stop it.
struct Server {
    connect: mpsc::Sender<DuplexStream>,
    phase: watch::Sender<Phase>,
    task: JoinHandle<()>,
    started: Instant,
}

const GRACE: Duration = Duration::from_secs(30);

impl Server {
    fn start(targets: Vec<Target<Upstream>>, keys: Vec<ClientKey>) -> Self {
        Self::limited(10_000, targets, keys)
    }

    fn limited(limit: usize, targets: Vec<Target<Upstream>>, keys: Vec<ClientKey>) -> Self {
        let clients = keys.into_iter().map(|key| {
            let caller = Caller::new(key.name.clone(), key.max_in_flight);
            (key, caller)
        });
        let proxy = Arc::new(Proxy::new(
            targets,
            clients,
            crate::stack::inspect([]).with_limit(1 << 20),
        ));
        let service = service_fn(move |request: Request<Incoming>| proxy.clone().answer(request));
        let (connect, connections) = mpsc::channel(8);
        let (phase, phases) = Phases::new();
        Self {
            connect,
            phase,
            task: tokio::spawn(run(Connections(connections), limit, service, phases, GRACE)),
            started: time::now(),
        }
    }

    /// A server with one cluster that answers by `answer`.
    fn answering(answer: impl Fn() -> Response<AnyBody> + Clone + Send + Sync + 'static) -> Self {
        Self::start(vec![target("claude", Api::Anthropic, answer)], Vec::new())
    }

    async fn connect(&self) -> DuplexStream {
        let (client, server) = duplex(1 << 20);
        self.connect.send(server).await.unwrap();
        client
    }

    /// Sends `request` on a connection of its own and reads all that comes.
    async fn send(&self, request: &str) -> String {
        let mut client = self.connect().await;
        client.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    }

    fn seconds(&self) -> u64 {
        time::now().duration_since(self.started).as_secs()
    }
}

fn target(
    name: &str,
    api: Api,
    answer: impl Fn() -> Response<AnyBody> + Clone + Send + Sync + 'static,
) -> Target<Upstream> {
    let endpoint = Endpoint::new("one", "https://h.example".parse().unwrap()).with_api(api);
    let named = name.to_owned();
    let service = tower::service_fn(move |request: Request<RequestBody>| {
        let mut response = answer();
        let target = request.uri().path_and_query().unwrap().as_str();
        let seen = format!("{named} {target}");
        response
            .headers_mut()
            .insert("x-seen", seen.parse().unwrap());
        async move { Ok::<_, Error>(response) }
    });
    Target {
        name: name.into(),
        endpoints: Endpoints::try_from_iter([endpoint]).unwrap(),
        service: BoxCloneSyncService::new(service),
    }
}

fn text() -> Response<AnyBody> {
    let body = Full::new(Bytes::from_static(b"hello"));
    Response::new(body.map_err(|never| match never {}).boxed_unsync())
}

/// A stream of events, fed through the sender that goes to `feeds`.
fn stream(feeds: &mpsc::UnboundedSender<Sender<Bytes, BoxError>>) -> Response<AnyBody> {
    let (sender, body) = Channel::<Bytes, BoxError>::new(8);
    feeds.send(sender).unwrap();
    let mut response = Response::new(body.boxed_unsync());
    let kind = "text/event-stream; charset=utf-8".parse().unwrap();
    response.headers_mut().insert("content-type", kind);
    response
}

/// A server whose answers are streams, and their senders.
fn streaming() -> (Server, mpsc::UnboundedReceiver<Sender<Bytes, BoxError>>) {
    let (feeds, senders) = mpsc::unbounded_channel();
    let target = target("claude", Api::Anthropic, move || stream(&feeds));
    (Server::start(vec![target], Vec::new()), senders)
}

const REQUEST: &str = "POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 0\r\n";

fn request(headers: &str) -> String {
    format!("{REQUEST}connection: close\r\n{headers}\r\n")
}

/// The value of a header in an answer.
fn header<'a>(answer: &'a str, name: &str) -> Option<&'a str> {
    let head = answer.split("\r\n\r\n").next()?;
    head.lines()
        .filter_map(|line| line.split_once(": "))
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
        .map(|(_, value)| value)
}

/// Reads until `end` came.
async fn read_until(client: &mut DuplexStream, end: &str) -> String {
    let mut text = String::new();
    while !text.contains(end) {
        let mut buf = [0; 1024];
        let count = client.read(&mut buf).await.unwrap();
        assert!(count > 0, "the connection ended after {text}");
        text.push_str(std::str::from_utf8(&buf[..count]).unwrap());
    }
    text
}

// OPS-14
#[tokio::test(start_paused = true)]
async fn an_answer_carries_the_sane_id_of_the_client_or_one_of_ours() {
    let server = Server::answering(text);
    let answer = server.send(&request("x-request-id: req-1\r\n")).await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"),
        "{answer}"
    );
    assert_eq!(header(&answer, "x-qcc-request-id"), Some("req-1"));
    assert_eq!(header(&answer, "x-qcc-attempts"), Some("0"));
    for insane in ["", "x-request-id: a b\r\n"] {
        let answer = server.send(&request(insane)).await;
        let id = header(&answer, "x-qcc-request-id").unwrap();
        assert!(id.starts_with("qcc-"), "{answer}");
    }
}

// OPS-08, CLI-23
#[tokio::test(start_paused = true)]
async fn a_refusal_has_code_message_and_id_in_the_form_of_the_dialect() {
    let server = Server::answering(text);
    let answer = server
        .send(&request("x-qcc-cluster: nope\r\nx-request-id: r1\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    let body: serde_json::Value =
        serde_json::from_str(answer.split("\r\n\r\n").nth(1).unwrap()).unwrap();
    assert_eq!(body["type"], "error");
    assert_eq!(body["request_id"], "r1");
    assert!(
        body["error"]["message"]
            .as_str()
            .unwrap()
            .contains("claude"),
        "{body}"
    );

    let answer = server
        .send("GET /nope HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n")
        .await;
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(
        answer.contains("unknown_route") && answer.contains("/nope"),
        "{answer}"
    );
    assert!(header(&answer, "x-qcc-request-id").is_some(), "{answer}");
}

// SEC-08
#[tokio::test(start_paused = true)]
async fn with_client_keys_nothing_is_served_without_one() {
    let key = ClientKey {
        name: "laptop".into(),
        sha256: Sha256::digest("sk-test-client").into(),
        max_in_flight: None,
    };
    let target = target("claude", Api::Anthropic, text);
    let server = Server::start(vec![target], vec![key]);
    let answer = server.send(&request("x-api-key: sk-test-other\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");
    assert!(answer.contains("invalid_client_key"), "{answer}");
    assert!(!answer.contains("sk-test"), "{answer}");
    assert_eq!(header(&answer, "x-seen"), None);
    // Neither does it tell which clusters there are.
    let answer = server.send(&request("x-qcc-cluster: nope\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 401"), "{answer}");

    let answer = server
        .send(&request("authorization: Bearer sk-test-client\r\n"))
        .await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}

// ACC-08, ACC-10, OPS-08
#[tokio::test(start_paused = true)]
async fn a_full_client_gets_429_in_its_dialect_until_one_of_its_answers_has_ended() {
    let key = |name: &str, limit| ClientKey {
        name: name.into(),
        sha256: Sha256::digest(format!("sk-test-{name}")).into(),
        max_in_flight: NonZeroU32::new(limit),
    };
    let (feeds, mut senders) = mpsc::unbounded_channel();
    let target = target("claude", Api::Anthropic, move || stream(&feeds));
    let server = Server::start(vec![target], vec![key("laptop", 1), key("server", 0)]);
    let mut client = server.connect().await;
    let of = |name: &str| request(&format!("x-api-key: sk-test-{name}\r\n"));
    client.write_all(of("laptop").as_bytes()).await.unwrap();
    let sender = senders.recv().await.unwrap();

    let refused = server.send(&of("laptop")).await;
    assert!(refused.starts_with("HTTP/1.1 429"), "{refused}");
    assert!(
        refused.contains(r#""type":"rate_limit_error""#),
        "{refused}"
    );
    assert!(refused.contains("too_many_requests_in_flight"), "{refused}");
    assert!(header(&refused, "x-qcc-request-id").is_some(), "{refused}");
    assert_eq!(header(&refused, "x-should-retry"), None, "it works later");
    assert_eq!(header(&refused, "x-seen"), None, "nobody was asked");

    let mut other = server.connect().await;
    other.write_all(of("server").as_bytes()).await.unwrap();
    drop(senders.recv().await.unwrap());
    read_until(&mut other, "200 OK").await;

    drop(sender);
    read_until(&mut client, "0\r\n\r\n").await;
    let mut next = server.connect().await;
    next.write_all(of("laptop").as_bytes()).await.unwrap();
    drop(senders.recv().await.unwrap());
    read_until(&mut next, "200 OK").await;
}

// ACC-01, ACC-04
#[tokio::test(start_paused = true)]
async fn a_request_reaches_the_cluster_that_is_named_or_that_speaks_its_dialect() {
    let targets = vec![
        target("openai", Api::OpenAi, text),
        target("claude", Api::Anthropic, text),
        target("other", Api::Anthropic, text),
    ];
    let server = Server::start(targets, Vec::new());
    for (path, headers, seen) in [
        (
            "/v1/messages?beta=true",
            "",
            "claude /v1/messages?beta=true",
        ),
        ("/v1/chat/completions", "", "openai /v1/chat/completions"),
        ("/v1/responses", "", "openai /v1/responses"),
        ("/other/v1/messages", "", "other /v1/messages"),
        (
            "/v1/messages",
            "x-qcc-cluster: other\r\n",
            "other /v1/messages",
        ),
    ] {
        let request = request(headers).replace("/v1/messages", path);
        let answer = server.send(&request).await;
        assert_eq!(header(&answer, "x-seen"), Some(seen), "{answer}");
    }
}

// STR-10
#[tokio::test(start_paused = true)]
async fn events_reach_the_client_before_the_upstream_ends() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(request("").as_bytes()).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    sender
        .send_data(Bytes::from_static(b"data: 1\n\n"))
        .await
        .unwrap();
    let answer = read_until(&mut client, "data: 1").await;
    assert_eq!(header(&answer, "cache-control"), Some("no-cache"));
    assert_eq!(header(&answer, "x-accel-buffering"), Some("no"));
    assert_eq!(server.seconds(), 0);
}

// STR-06
#[tokio::test(start_paused = true)]
async fn a_body_that_breaks_is_no_complete_answer() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(request("").as_bytes()).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    sender
        .send_data(Bytes::from_static(b"partial"))
        .await
        .unwrap();
    read_until(&mut client, "partial").await;
    sender.abort("broken".into());
    let mut rest = String::new();
    client.read_to_string(&mut rest).await.unwrap();
    assert!(
        !rest.contains("0\r\n\r\n"),
        "ended as if complete: {rest:?}"
    );
}

// STR-11
#[tokio::test(start_paused = true)]
async fn a_client_that_goes_away_takes_its_answer_along() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(request("").as_bytes()).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    sender
        .send_data(Bytes::from_static(b"data: 1\n\n"))
        .await
        .unwrap();
    read_until(&mut client, "data: 1").await;
    drop(client);
    // Nothing is sent: the upstream is cancelled because of the client alone.
    while sender.send_data(Bytes::new()).await.is_ok() {
        tokio::task::yield_now().await;
    }
    assert_eq!(server.seconds(), 0);
}

// OPS-06
#[tokio::test(start_paused = true)]
async fn an_open_stream_may_end_after_the_signal_and_then_the_server_is_gone() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(REQUEST.as_bytes()).await.unwrap();
    client.write_all(b"\r\n").await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    sender
        .send_data(Bytes::from_static(b"data: 1\n\n"))
        .await
        .unwrap();
    read_until(&mut client, "data: 1").await;

    server.phase.send(Phase::Draining).unwrap();
    tokio::time::sleep(Duration::from_secs(20)).await;
    assert!(!server.task.is_finished());
    let (refused, stream) = duplex(64);
    // Nobody accepts any more: the queue is gone.
    assert!(server.connect.send(stream).await.is_err());
    drop(refused);

    sender
        .send_data(Bytes::from_static(b"data: 2\n\n"))
        .await
        .unwrap();
    drop(sender);
    let rest = read_until(&mut client, "0\r\n\r\n").await;
    assert!(rest.contains("data: 2"), "{rest}");
    let started = server.started;
    server.task.await.unwrap();
    assert_eq!(time::now().duration_since(started).as_secs(), 20);
}

// OPS-06
#[tokio::test(start_paused = true)]
async fn a_stream_without_end_is_cut_off_when_the_grace_is_over() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(request("").as_bytes()).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    server.phase.send(Phase::Draining).unwrap();
    let started = server.started;
    server.task.await.unwrap();
    assert_eq!(time::now().duration_since(started), GRACE);
    // Nothing of it is left.
    assert!(sender.send_data(Bytes::new()).await.is_err());
}

// OPS-06
#[tokio::test(start_paused = true)]
async fn a_second_signal_ends_everything_at_once() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(request("").as_bytes()).await.unwrap();
    let _sender = senders.recv().await.unwrap();
    server.phase.send(Phase::Draining).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.phase.send(Phase::Aborting).unwrap();
    let started = server.started;
    server.task.await.unwrap();
    assert_eq!(time::now().duration_since(started).as_secs(), 1);
}

// OPS-06
#[tokio::test(start_paused = true)]
async fn an_idle_connection_does_not_hold_up_the_end() {
    let server = Server::answering(text);
    let mut idle = server.connect().await;
    idle.write_all(REQUEST.as_bytes()).await.unwrap();
    idle.write_all(b"\r\n").await.unwrap();
    read_until(&mut idle, "hello").await;
    let _silent = server.connect().await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    server.phase.send(Phase::Draining).unwrap();
    let started = server.started;
    server.task.await.unwrap();
    assert_eq!(time::now().duration_since(started).as_secs(), 1);
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn a_late_head_is_cut_off_and_an_idle_connection_is_kept() {
    let server = Server::answering(text);
    for late in ["", "POST /v1/mess"] {
        let from = server.seconds();
        let answer = server.send(late).await;
        assert!(!answer.contains("200"), "{answer}");
        assert_eq!(server.seconds() - from, 10, "{late:?}");
    }
    let mut client = server.connect().await;
    for pause in [0, 60, 115] {
        tokio::time::sleep(Duration::from_secs(pause)).await;
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        client.write_all(b"\r\n").await.unwrap();
        read_until(&mut client, "hello").await;
    }
    let from = server.seconds();
    assert_eq!(client.read(&mut [0; 16]).await.unwrap(), 0);
    assert_eq!(server.seconds() - from, 120);
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn an_answer_may_take_as_long_as_it_takes() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(request("").as_bytes()).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(500)).await;
        sender
            .send_data(Bytes::from_static(b"data: x\n\n"))
            .await
            .unwrap();
        read_until(&mut client, "data: x").await;
    }
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_answered_with_408_and_one_that_is_slow_is_not() {
    let server = Server::answering(text);
    let head = "POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 100\r\n\r\n";
    let stalled = server.send(&format!("{head}{{\"model\"")).await;
    assert!(stalled.starts_with("HTTP/1.1 408"), "{stalled}");
    assert!(stalled.contains("request_body_stalled"), "{stalled}");
    assert_eq!(server.seconds(), 60);

    let mut client = server.connect().await;
    let head = "POST /v1/messages HTTP/1.1\r\nhost: h\r\ncontent-length: 4\r\n\r\n";
    client.write_all(head.as_bytes()).await.unwrap();
    for byte in [b"t", b"r", b"u", b"e"] {
        tokio::time::sleep(Duration::from_secs(59)).await;
        client.write_all(byte).await.unwrap();
    }
    read_until(&mut client, "hello").await;
}

// OPS-13, STR-11
#[tokio::test(start_paused = true)]
async fn an_answer_that_nobody_reads_is_given_up_and_what_it_held_is_free() {
    let (server, mut senders) = streaming();
    let (mut client, theirs) = duplex(1 << 10);
    server.connect.send(theirs).await.unwrap();
    client.write_all(request("").as_bytes()).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    // More than the connection holds, of which the client reads a little once.
    let event = || Bytes::from(vec![b'x'; 1 << 10]);
    let feeding = tokio::spawn(async move {
        while sender.send_data(event()).await.is_ok() {}
        time::now()
    });
    tokio::time::sleep(Duration::from_secs(100)).await;
    client.read_exact(&mut [0; 512]).await.unwrap();
    let ended = feeding.await.unwrap();
    let seconds = ended.duration_since(server.started).as_secs();
    assert_eq!(seconds, 220, "the upstream is let go");
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let head = [&length[1..], &[kind, flags, 0, 0, 0, stream]].concat();
    [&head, payload].concat()
}

/// How a client begins that leaves room for so many bytes of each answer, and its one request.
fn request_with_window(window: u8) -> Vec<u8> {
    let mut head = vec![0x83, 0x86]; // POST, http
    for (name, value) in [(4, "/v1/messages"), (1, "h")] {
        head.extend([name, u8::try_from(value.len()).unwrap()]);
        head.extend(value.as_bytes());
    }
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[0, 4, 0, 0, 0, window]),
        frame(1, 0x05, 1, &head),
    ]
    .concat()
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn an_http2_client_that_leaves_no_room_for_its_answer_is_given_up() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(&request_with_window(8)).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    let event = || Bytes::from_static(b"data: x\n\n");
    let feeding = tokio::spawn(async move { while sender.send_data(event()).await.is_ok() {} });
    // It is alive, and takes nothing all the same.
    let pinging = async {
        for _ in 0..10 {
            tokio::time::sleep(Duration::from_secs(60)).await;
            client.write_all(&frame(6, 0, 0, &[0; 8])).await?;
        }
        io::Result::Ok(())
    };
    tokio::select! {
        fed = feeding => fed.unwrap(),
        sent = pinging => panic!("the upstream is held for ever: {sent:?}"),
    }
    assert!(
        (120..=250).contains(&server.seconds()),
        "{}",
        server.seconds()
    );
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn an_http2_client_may_wait_for_an_upstream_as_long_as_it_takes() {
    let (server, mut senders) = streaming();
    let mut client = server.connect().await;
    client.write_all(&request_with_window(255)).await.unwrap();
    let mut sender = senders.recv().await.unwrap();
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_secs(500)).await;
        sender
            .send_data(Bytes::from_static(b"data: x\n\n"))
            .await
            .unwrap();
        let mut seen = Vec::new();
        while !String::from_utf8_lossy(&seen).contains("data: x") {
            assert_ne!(client.read_buf(&mut seen).await.unwrap(), 0);
        }
    }
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn beyond_the_limit_a_client_waits_and_is_served_when_another_one_leaves() {
    let target = target("claude", Api::Anthropic, text);
    let server = Server::limited(2, vec![target], Vec::new());
    let mut busy = Vec::new();
    for _ in 0..2 {
        let mut client = server.connect().await;
        client.write_all(REQUEST.as_bytes()).await.unwrap();
        client.write_all(b"\r\n").await.unwrap();
        read_until(&mut client, "hello").await;
        busy.push(client);
    }
    let mut third = server.connect().await;
    third.write_all(request("").as_bytes()).await.unwrap();
    let mut answer = String::new();
    let waiting = third.read_to_string(&mut answer);
    tokio::pin!(waiting);
    let early = tokio::time::timeout(Duration::from_secs(60), &mut waiting).await;
    assert!(early.is_err(), "it is not served, and not refused either");
    drop(busy.pop());
    waiting.await.unwrap();
    assert!(answer.ends_with("hello"), "{answer}");
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn half_open_heads_leave_other_traffic_as_it_was() {
    let server = Server::answering(text);
    let mut half_open = Vec::new();
    for _ in 0..500 {
        let mut client = server.connect().await;
        client
            .write_all(b"POST /v1/messages HTTP/1.1\r\nhost:")
            .await
            .unwrap();
        half_open.push(client);
    }
    let answer = server.send(&request("")).await;
    assert!(answer.ends_with("hello"), "{answer}");
    assert_eq!(server.seconds(), 0);
}

// OPS-13
#[tokio::test(start_paused = true)]
async fn ambiguous_and_endless_heads_are_answered_with_a_4xx() {
    let server = Server::answering(text);
    let endless = format!("{REQUEST}x: {}\r\n\r\n", "y".repeat(HEAD_BYTES));
    let both = format!("{REQUEST}transfer-encoding: chunked, x\r\n\r\n");
    for bad in [endless.as_str(), both.as_str(), "POST\r\n\r\n"] {
        let answer = server.send(bad).await;
        assert!(answer.starts_with("HTTP/1.1 4"), "{answer}");
    }
}

// OPS-01
#[tokio::test]
async fn a_port_in_use_is_named_with_a_hint() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let failure = bind(address, "choose another one").await.unwrap_err();
    assert_eq!(failure.exit, Exit::Listen);
    let port = address.port();
    for expected in [
        address.to_string(),
        format!("lsof -i:{port}"),
        "choose".to_owned(),
    ] {
        assert!(failure.message.contains(&expected), "{failure}");
    }
}

// RTY-13
#[tokio::test(start_paused = true)]
async fn clients_are_told_not_to_repeat_what_was_repeated_here() {
    for (status, told) in [(200, false), (400, false), (408, true), (503, true)] {
        let server = Server::answering(move || {
            let mut response = text();
            *response.status_mut() = http::StatusCode::from_u16(status).unwrap();
            response
        });
        let answer = server.send(&request("")).await;
        let line = "x-should-retry: false\r\n";
        assert_eq!(answer.contains(line), told, "{answer}");
    }
}
