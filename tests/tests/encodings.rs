//! An upstream that encodes whatever it says: every route, streamed, not streamed and errors, in
//! every dialect, reads as if it did not.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt as _, Full};
use qcc_core::body::RequestBody;
use qcc_core::endpoint::Endpoints;
use qcc_core::error::BoxError;
use qcc_core::facts::Dialect;
use qcc_core::failover::Failover;
use qcc_core::simulate::{Behaviour, Simulator};
use qcc_core::time;
use qcc_tests::harness::{Ask, DIALECTS, Seen, endpoints};
use tower::{ServiceExt as _, service_fn};

/// How an upstream spoils its answers.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Spoilt {
    Not,
    /// gzip, with its header or without.
    Gzip {
        announced: bool,
    },
    /// gzip that ends in the middle.
    Half,
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(plain).expect("a vector takes every byte");
    encoder.finish().expect("a vector takes every byte")
}

/// Sends `ask` to `a`, which behaves and spoils like this; `b` is fine.
async fn send(dialect: Dialect, ask: &Ask, behaviour: &str, spoilt: Spoilt, alone: bool) -> Seen {
    let behaviour: Behaviour = behaviour.parse().expect("a behaviour");
    let simulator = Simulator::new()
        .endpoint("a", behaviour)
        .endpoint("b", Behaviour::Ok);
    let upstream = service_fn(move |request: Request<RequestBody>| {
        let spoilt = match request.uri().host() {
            Some("a.sim") => spoilt,
            _ => Spoilt::Not,
        };
        let simulator = simulator.clone();
        async move {
            let response = simulator.oneshot(request).await?;
            let (mut head, body) = response.into_parts();
            let mut body = body.collect().await?.to_bytes();
            if spoilt != Spoilt::Not {
                let encoded = gzip(&body);
                let length = match spoilt {
                    Spoilt::Half => encoded.len() / 2,
                    _ => encoded.len(),
                };
                body = encoded[..length].to_vec().into();
                if spoilt != (Spoilt::Gzip { announced: false }) {
                    let coding = HeaderValue::from_static("gzip");
                    head.headers.insert(CONTENT_ENCODING, coding);
                }
                if head.headers.contains_key(CONTENT_LENGTH) {
                    head.headers.insert(CONTENT_LENGTH, length.into());
                }
            }
            Ok::<_, BoxError>(Response::from_parts(head, Full::new(body)))
        }
    });
    let count = if alone { 1 } else { 2 };
    let endpoints = Endpoints::try_from_iter(endpoints().take(count)).expect("names");
    let failover = Failover::builder(endpoints)
        .llm()
        .build(move |_| upstream.clone());
    let started = time::now();
    let mut request = ask.request();
    // The one thing in an answer of ours that would differ.
    let id = HeaderValue::from_static("test-1");
    request.headers_mut().insert("x-request-id", id);
    let result = failover.oneshot(request).await;
    Seen::read(dialect, result, started).await
}

fn headers_agree(seen: &Seen) -> bool {
    let length = seen.headers.get(CONTENT_LENGTH);
    !seen.headers.contains_key(CONTENT_ENCODING)
        && length.is_none_or(|length| length == &seen.body().len().to_string()[..])
}

// UPS-14, UPS-15, UPS-17
#[tokio::test(start_paused = true)]
async fn an_encoded_answer_reads_like_a_plain_one_on_every_route() {
    for dialect in DIALECTS {
        for stream in [false, true] {
            let ask = Ask::new(dialect, stream);
            for behaviour in ["ok", "status:400", "status:429", "status:500", "error:5"] {
                let plain = send(dialect, &ask, behaviour, Spoilt::Not, true).await;
                for announced in [false, true] {
                    let cell = format!("{dialect} × stream {stream} × {behaviour} × {announced}");
                    let seen =
                        send(dialect, &ask, behaviour, Spoilt::Gzip { announced }, true).await;
                    assert_eq!(seen.status, plain.status, "{cell}");
                    assert_eq!(seen.text(), plain.text(), "{cell}");
                    assert!(headers_agree(&seen), "{cell}: {:?}", seen.headers);
                }
            }
        }
    }
}

// UPS-16, UPS-17
#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_inside_its_encoding_fails_over_on_every_route() {
    for dialect in DIALECTS {
        let ask = Ask::new(dialect, false);
        let seen = send(dialect, &ask, "ok", Spoilt::Half, false).await;
        assert!(seen.is_answer(), "{dialect}: {}", seen.text());
        assert!(
            seen.text().contains("endpoint b"),
            "{dialect}: {}",
            seen.text()
        );

        let alone = send(dialect, &ask, "ok", Spoilt::Half, true).await;
        assert_eq!(alone.status, 502, "{dialect}");
        assert!(alone.error.is_some(), "{dialect}: {}", alone.text());
    }
}
