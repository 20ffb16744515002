//! The faults as a client meets them on a socket.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use qcc_core::simulate::{Behaviour, Simulator};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::*;
use crate::shutdown::Phases;

/// A simulator on a free port, with one endpoint `a`.
struct Served {
    address: SocketAddr,
    phase: watch::Sender<Phase>,
    running: JoinHandle<()>,
    simulator: Simulator,
}

impl Served {
    async fn with(script: &str) -> Self {
        Self::start(script, false).await
    }

    async fn replaying(script: &str) -> Self {
        Self::start(script, true).await
    }

    async fn start(script: &str, replaying: bool) -> Self {
        let simulator = Simulator::new().endpoint("a", parse_script(script).unwrap());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let server = SimulatorServer::bind(address, simulator.clone())
            .await
            .unwrap()
            .replaying(replaying);
        let (phase, phases) = Phases::new();
        Self {
            address: server.address().unwrap(),
            phase,
            running: tokio::spawn(server.run(phases)),
            simulator,
        }
    }

    /// What a client reads that sends `request`, and how the connection ends.
    async fn raw(&self, request: &str) -> (String, io::Result<()>) {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = Vec::new();
        let end = stream.read_to_end(&mut answer).await;
        (String::from_utf8_lossy(&answer).into_owned(), end.map(drop))
    }

    /// The same for a request for an answer of Anthropic's.
    async fn ask(&self, stream: bool) -> (String, io::Result<()>) {
        let body = json!({ "model": "m", "stream": stream, "messages": [] }).to_string();
        let length = body.len();
        self.raw(&format!(
            "POST /a/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}"
        ))
        .await
    }

    async fn post(&self, stream: bool) -> reqwest::Result<reqwest::Response> {
        let body = json!({ "model": "m", "stream": stream, "messages": [] });
        reqwest::Client::builder()
            .no_proxy()
            .retry(reqwest::retry::never())
            .build()?
            .post(format!("http://{}/a/v1/messages", self.address))
            .body(body.to_string())
            .send()
            .await
    }
}

/// Waits for what another task brings about.
async fn until(condition: impl Fn() -> bool) {
    let poll = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), poll)
        .await
        .unwrap();
}

#[track_caller]
fn assert_reset(end: io::Result<()>) {
    assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

// SIM-01
#[tokio::test]
async fn a_refused_or_reset_connection_is_reset_without_a_byte() {
    for behaviour in ["refuse", "reset"] {
        let served = Served::with(behaviour).await;
        let (answer, end) = served.ask(false).await;
        assert_eq!(answer, "", "{behaviour}");
        assert_reset(end);
        assert!(served.post(true).await.unwrap_err().is_request());
    }
}

// SIM-01
#[tokio::test]
async fn an_endpoint_that_does_not_speak_http_sends_other_bytes() {
    let served = Served::with("not-http").await;
    let (answer, end) = served.ask(false).await;
    assert!(answer.starts_with("220 mail.example"), "{answer}");
    assert!(end.is_ok());
    let error = served.post(false).await.unwrap_err();
    assert!(error.is_request(), "{error}");
}

// SIM-01
#[tokio::test]
async fn a_truncated_body_ends_before_its_length_and_a_stream_without_its_last_chunk() {
    let served = Served::with("truncated").await;
    let (answer, end) = served.ask(false).await;
    assert!(end.is_ok());
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let length = head
        .lines()
        .find_map(|line| line.strip_prefix("content-length: "))
        .unwrap();
    assert!(body.len() < length.parse().unwrap(), "{answer}");

    let (answer, end) = served.ask(true).await;
    assert!(end.is_ok());
    assert!(answer.contains("message_start"), "{answer}");
    assert!(!answer.ends_with("0\r\n\r\n"), "{answer}");
    assert!(served.post(true).await.unwrap().bytes().await.is_err());
}

// SIM-01
#[tokio::test]
async fn what_stands_before_a_cut_arrives_and_then_the_connection_is_reset() {
    let served = Served::with("cut:4").await;
    let (answer, end) = served.ask(true).await;
    assert_reset(end);
    assert_eq!(answer.matches("\n\n").count(), 4, "{answer}");
    assert_eq!(answer.matches("event: content_block_delta").count(), 2);
    assert!(served.post(true).await.unwrap().bytes().await.is_err());
}

// SIM-01
#[tokio::test]
async fn a_connection_is_closed_after_an_answer_that_did_not_say_so() {
    let served = Served::with("close-idle").await;
    for stream in [false, true] {
        let (answer, end) = served.ask(stream).await;
        assert!(end.is_ok());
        assert!(answer.starts_with("HTTP/1.1 200 OK"), "{answer}");
        assert!(!answer.to_lowercase().contains("connection:"), "{answer}");
        assert!(
            answer.ends_with(if stream { "0\r\n\r\n" } else { "}" }),
            "{answer}"
        );
    }
}

// SIM-01
#[tokio::test]
async fn other_behaviours_are_served_as_they_are_in_memory() {
    let served = Served::with("status:429;retry-after=7 @2 ok").await;
    let answer = served.post(true).await.unwrap();
    assert_eq!(answer.status(), 429);
    assert_eq!(answer.headers()["retry-after"], "7");
    let answer = served.post(true).await.unwrap().text().await.unwrap();
    assert!(answer.contains("Hello, this i"), "{answer}");
    assert!(answer.contains("message_stop"), "{answer}");
}

// SIM-01
#[tokio::test]
async fn a_client_that_waits_for_ever_is_free_to_go() {
    let served = Served::with("hang").await;
    let asked = served.ask(false);
    let arrived = until(|| served.simulator.counts("a").requests == 1);
    tokio::select! {
        answer = asked => panic!("{answer:?}"),
        () = arrived => {}
    }
    until(|| served.simulator.counts("a").canceled == 1).await;
    assert_eq!(served.simulator.counts("a").in_flight, 0);
}

// SIM-01
#[tokio::test]
async fn behaviours_are_set_and_counts_are_read_on_the_control_path() {
    let served = Served::with("ok").await;
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = |path: &str| format!("http://{}/_simulate{path}", served.address);
    let set = |body: &'static str| client.post(url("/a")).body(body).send();

    assert_eq!(set("status:503").await.unwrap().status(), 200);
    assert_eq!(served.post(false).await.unwrap().status(), 503);
    let counts = client
        .get(url(""))
        .send()
        .await
        .unwrap()
        .text()
        .await
        .unwrap();
    let counts: Value = serde_json::from_str(&counts).unwrap();
    assert_eq!(counts["a"]["requests"], 1);

    let refused = set("odd").await.unwrap();
    assert_eq!(refused.status(), 400);
    assert!(
        refused
            .text()
            .await
            .unwrap()
            .contains("`odd` is no behaviour")
    );
    for path in ["/a", "/no/such"] {
        let answer = client.get(url(path)).send().await.unwrap();
        assert_eq!(answer.status(), 405, "{path}");
    }
    assert_eq!(served.post(false).await.unwrap().status(), 503);
}

#[tokio::test]
async fn a_replay_gives_the_first_answer_of_a_path_to_every_later_request() {
    let served = Served::replaying("ok @2 status:503").await;
    let text = async |stream| served.post(stream).await.unwrap().text().await.unwrap();
    let first = text(true).await;
    assert!(first.contains("message_stop"), "{first}");
    for stream in [true, false] {
        assert_eq!(text(stream).await, first);
    }
    assert_eq!(served.simulator.counts("a").requests, 1);
}

#[tokio::test]
async fn a_fault_is_not_replayed_but_happens_again() {
    let served = Served::replaying("reset @2 ok").await;
    let (answer, end) = served.ask(false).await;
    assert_eq!(answer, "");
    assert_reset(end);
    assert_eq!(served.post(false).await.unwrap().status(), 200);
}

// SIM-01, OPS-01
#[tokio::test]
async fn a_port_in_use_is_named() {
    let served = Served::with("ok").await;
    let failure = SimulatorServer::bind(served.address, Simulator::new())
        .await
        .unwrap_err();
    assert_eq!(failure.exit, crate::output::Exit::Listen);
    let hint = format!("lsof -i:{}", served.address.port());
    assert!(failure.message.contains(&hint), "{failure}");
}

#[tokio::test]
async fn it_stops_although_an_answer_never_ends() {
    let served = Served::with("stall:2").await;
    served.simulator.set("b", Behaviour::Ok);
    let mut stream = TcpStream::connect(served.address).await.unwrap();
    let request =
        "POST /a/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: 15\r\n\r\n{\"stream\":true}";
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut first = [0; 16];
    stream.read_exact(&mut first).await.unwrap();
    served.phase.send(Phase::Aborting).unwrap();
    served.running.await.unwrap();
    assert!(TcpStream::connect(served.address).await.is_err());
}
