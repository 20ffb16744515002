//! The proxy between clients and upstreams that behave badly: whatever they do, other traffic is
//! as it was, and no client sees an error that is not its own fault.

use std::io::{Read as _, Write as _};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::client::MESSAGE;
use crate::world::World;

impl World {
    /// Sends these bytes and reads until the proxy closes the connection.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may answer and close before everything is written.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }
}

// OPS-13
#[test]
fn five_hundred_half_open_heads_leave_other_traffic_as_it_was() {
    let world = World::new("half-open", &["ok"]);
    let mut half_open: Vec<_> = (0..500).map(|_| world.connect()).collect();
    for stream in &mut half_open {
        stream
            .write_all(b"POST /v1/messages HTTP/1.1\r\nhost: h\r\nx-dripping: ")
            .unwrap();
    }
    for _ in 0..50 {
        let head = world.ask(MESSAGE);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    }
    drop(half_open);
    assert!(world.ask(MESSAGE).starts_with("HTTP/1.1 200"));
}

// RTY-15
#[test]
fn a_body_of_20_mb_reaches_the_second_endpoint_whole() {
    let world = World::new("large", &["status:503", "ok"]);
    let body = format!(
        r#"{{"model":"m","max_tokens":9,"messages":[{{"role":"user","content":"{}"}}]}}"#,
        "x".repeat(20 << 20)
    );
    let head = world.ask(&body);
    assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    assert!(head.contains("x-qcc-attempts: 2"), "{head}");
}

// UPS-04
#[test]
fn of_200_requests_to_an_upstream_that_closes_idle_connections_none_fails() {
    let world = World::new("closing", &["close-idle"]);
    let ask = || {
        for _ in 0..50 {
            let head = world.ask(MESSAGE);
            assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        }
    };
    thread::scope(|scope| {
        let clients: Vec<_> = (0..4).map(|_| scope.spawn(ask)).collect();
        for client in clients {
            client.join().unwrap();
        }
    });
}

// OPS-13
#[test]
fn malformed_and_ambiguous_requests_are_refused_and_nothing_of_them_goes_on() {
    let world = World::new("malformed", &["ok"]);
    let request = |lines: &str| format!("POST /v1/messages HTTP/1.1\r\nhost: h\r\n{lines}\r\n");
    let cases = [
        (
            "no request line",
            "\x16\x03\x01\x02garbage\r\n\r\n".to_owned(),
        ),
        (
            "another version",
            "POST /v1/messages HTTP/9.9\r\nhost: h\r\n\r\n".to_owned(),
        ),
        (
            "a space in the path",
            "POST /v1/mess ages HTTP/1.1\r\nhost: h\r\n\r\n".to_owned(),
        ),
        (
            "two lengths",
            request("content-length: 2\r\ncontent-length: 3\r\n"),
        ),
        ("a negative length", request("content-length: -1\r\n")),
        (
            "an endless length",
            request("content-length: 99999999999999999999999\r\n"),
        ),
        (
            "an unknown coding",
            request("transfer-encoding: chunked, x\r\n"),
        ),
        ("a folded line", request("x-a: 1\r\n folded\r\n")),
        (
            "a space before the colon",
            request("content-length : 2\r\n"),
        ),
        ("a NUL in a value", request("x-a: 1\x002\r\n")),
        (
            "an endless head",
            request(&format!("x-a: {}\r\n", "x".repeat(70 << 10))),
        ),
        ("too many lines", request(&"x-a: 1\r\n".repeat(500))),
        ("a carriage return alone", request("x-a: 1\rx-b: 2\r\n")),
        ("a line feed and a fold", request("x-a: 1\n x-b: 2\r\n")),
        ("no name", request(": 1\r\n")),
        ("a signed length", request("content-length: +2\r\n")),
        ("a list of lengths", request("content-length: 2, 2\r\n")),
        (
            "an old version with a coding",
            "POST /v1/messages HTTP/1.0\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n"
                .to_owned(),
        ),
        (
            "no coding that is known",
            request("transfer-encoding: identity\r\n"),
        ),
        (
            "a coding twice",
            request("transfer-encoding: chunked, chunked\r\n"),
        ),
        (
            "two codings",
            request("transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n"),
        ),
        ("no host", "POST /v1/messages HTTP/1.1\r\n\r\n".to_owned()),
        ("two hosts", request("host: h\r\n")),
        (
            "a host that is none",
            request("").replace("host: h", "host: a@b/c d"),
        ),
        (
            "another host in the first line",
            request("content-length: 0\r\n").replace("POST /", "POST http://evil.example/"),
        ),
        (
            "a tunnel",
            "CONNECT api.example.com:443 HTTP/1.1\r\nhost: api.example.com:443\r\n\r\n".to_owned(),
        ),
        ("an echo", request("").replace("POST", "TRACE")),
        (
            "a method of two words",
            request("").replace("POST", "PO ST"),
        ),
    ];
    for (what, bytes) in cases {
        // A second request behind it must not be taken for one of its own.
        let smuggled = format!("{bytes}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n");
        let answer = world.raw(smuggled.as_bytes());
        assert!(answer.starts_with("HTTP/1.1 4"), "{what}: {answer}");
        assert_eq!(answer.matches("HTTP/1.1").count(), 1, "{what}: {answer}");
    }
    assert!(world.ask(MESSAGE).starts_with("HTTP/1.1 200"));
}

// OPS-13
#[test]
fn a_chunk_of_no_proper_size_is_refused_and_its_connection_ends() {
    let world = World::new("chunks", &["ok"]);
    let size = format!("{:x}", MESSAGE.len());
    let cases = [
        ("no number", format!("zz\r\n{MESSAGE}\r\n0\r\n\r\n")),
        (
            "no end",
            format!("ffffffffffffffffff\r\n{MESSAGE}\r\n0\r\n\r\n"),
        ),
        (
            "a negative one",
            format!("-{size}\r\n{MESSAGE}\r\n0\r\n\r\n"),
        ),
        ("line feeds alone", format!("{size}\n{MESSAGE}\n0\n\n")),
        (
            "one too small",
            format!("{size}\r\n{MESSAGE}more\r\n0\r\n\r\n"),
        ),
    ];
    for (what, chunks) in cases {
        let answer = world.raw(
            format!(
                "POST /v1/messages HTTP/1.1\r\nhost: h\r\ntransfer-encoding: chunked\r\n\r\n\
                 {chunks}GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
            )
            .as_bytes(),
        );
        assert!(answer.starts_with("HTTP/1.1 400"), "{what}: {answer}");
        assert!(
            answer.contains("request_body_unreadable"),
            "{what}: {answer}"
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{what}: {answer}");
    }
    assert!(world.ask(MESSAGE).starts_with("HTTP/1.1 200"));
}

// OPS-13
#[test]
fn what_is_odd_and_can_be_read_in_one_way_only_is_served() {
    let world = World::new("odd", &["ok"]);
    let length = MESSAGE.len();
    let usual = format!(
        "POST /v1/messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{MESSAGE}"
    );
    for (what, request) in [
        ("line feeds alone", usual.replace("\r\n", "\n")),
        (
            "its address in the first line",
            usual.replace("POST /", "POST http://h/"),
        ),
        (
            "the same length twice",
            usual.replace(
                "connection",
                &format!("content-length: {length}\r\nconnection"),
            ),
        ),
        (
            "an old version without a host",
            usual.replace("HTTP/1.1\r\nhost: h", "HTTP/1.0"),
        ),
    ] {
        let answer = world.raw(request.as_bytes());
        assert_eq!(answer.matches("HTTP/1.").count(), 1, "{what}: {answer}");
        assert!(answer.contains(" 200 OK"), "{what}: {answer}");
    }
}

/// A frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What an HTTP/2 connection begins with.
fn preface() -> Vec<u8> {
    [
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec(),
        frame(4, 0, 0, &[]),
    ]
    .concat()
}

/// The head of a request on `stream`: POST, http, /v1/messages, h.
fn head(stream: u32, flags: u8) -> Vec<u8> {
    let block = [&[0x83, 0x86, 4, 12][..], b"/v1/messages", &[1, 1], b"h"].concat();
    frame(1, flags, stream, &block)
}

const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// What is sent as often as the proxy takes it.
type Flood<'f> = &'f dyn Fn(u32) -> Vec<u8>;

// OPS-13
#[test]
fn floods_on_http2_end_their_own_connection_and_no_other() {
    let world = World::new("floods", &["ok"]);
    let resets = |index: u32| {
        let stream = 2 * index + 1;
        [
            head(stream, END_HEADERS),
            frame(3, 0, stream, &8_u32.to_be_bytes()),
        ]
        .concat()
    };
    let empty_heads = |index: u32| match index {
        0 => head(1, 0),
        _ => frame(9, 0, 1, &[]),
    };
    let floods: [(&str, Flood<'_>); 5] = [
        ("resets", &resets),
        ("settings", &|_| frame(4, 0, 0, &[0, 4, 0, 0, 255, 255])),
        ("pings", &|_| frame(6, 0, 0, &[0; 8])),
        ("parts of a head", &empty_heads),
        ("requests without end", &|index| {
            head(2 * index + 1, END_HEADERS)
        }),
    ];
    for (what, flood) in floods {
        let mut stream = world.connect();
        stream.write_all(&preface()).unwrap();
        // Nothing of what comes back is read. Once the proxy has enough, writing fails or waits.
        stream
            .set_write_timeout(Some(Duration::from_secs(2)))
            .unwrap();
        for index in 0..50_000 {
            if stream.write_all(&flood(index)).is_err() {
                break;
            }
        }
        assert!(world.ask(MESSAGE).starts_with("HTTP/1.1 200"), "{what}");
    }
}

// OPS-13
#[test]
fn http2_clients_that_do_not_read_leave_other_traffic_as_it_was() {
    let world = World::new("unread", &["ok"]);
    let unread: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = world.connect();
            stream.write_all(&preface()).unwrap();
            // No room for a single byte of an answer.
            stream
                .write_all(&frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]))
                .unwrap();
            for index in 0..10 {
                let id = 2 * index + 1;
                stream.write_all(&head(id, END_HEADERS)).unwrap();
                stream
                    .write_all(&frame(0, END_STREAM, id, MESSAGE.as_bytes()))
                    .unwrap();
            }
            stream
        })
        .collect();
    for _ in 0..20 {
        assert!(world.ask(MESSAGE).starts_with("HTTP/1.1 200"));
    }
    drop(unread);
}

// OPS-13
#[test]
fn a_client_beyond_the_limit_is_served_when_another_one_leaves() {
    let world = World::configured("limit", &["ok"], "max_connections: 3\n");
    let three: Vec<_> = (0..3).map(|_| world.connect()).collect();
    // The three are accepted before it: they came first.
    let (sender, served) = mpsc::channel();
    thread::scope(|scope| {
        scope.spawn(|| sender.send(world.ask(MESSAGE)).unwrap());
        assert!(served.recv_timeout(Duration::from_millis(500)).is_err());
        drop(three);
        let head = served.recv_timeout(Duration::from_secs(10)).unwrap();
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
    });
}

// OPS-13
#[test]
fn a_chunked_body_with_a_length_beside_it_is_one_request_and_its_connection_ends() {
    let world = World::new("smuggling", &["ok"]);
    let chunk = format!("{:x}\r\n{MESSAGE}\r\n0\r\n\r\n", MESSAGE.len());
    let (length, coding) = ("content-length: 4", "transfer-encoding: chunked");
    for lines in [
        format!("{length}\r\n{coding}"),
        format!("{coding}\r\n{length}"),
    ] {
        let answer = world.raw(
            format!(
                "POST /v1/messages HTTP/1.1\r\nhost: h\r\n{lines}\r\n\r\n{chunk}\
                 GET /smuggled HTTP/1.1\r\nhost: h\r\n\r\n"
            )
            .as_bytes(),
        );
        assert_eq!(answer.matches("HTTP/1.1 ").count(), 1, "{answer}");
    }
}
