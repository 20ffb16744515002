//! What each layer costs, and the whole stack, in process and over an upstream that costs nothing.
//!
//! ```sh
//! cargo bench -p qcc-core --bench costs --features llm,simulate
//! ```

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Ready, ready};
use std::num::NonZeroU32;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use criterion::{Criterion, criterion_group, criterion_main};
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use qcc_core::affinity::{AffinityLayer, Sessions};
use qcc_core::available::Available;
use qcc_core::balance::{self, Balance, Member, PowerOfTwo};
use qcc_core::body::RequestBody;
use qcc_core::breaker::{self, Breaker, CircuitBreakerLayer};
use qcc_core::classify::ErrorClassifyLayer;
use qcc_core::endpoint::{Api, Endpoint, Endpoints};
use qcc_core::error::BoxError;
use qcc_core::facts::ReadFacts as _;
use qcc_core::failover::Failover;
use qcc_core::health::{Health, TrackHealthLayer};
use qcc_core::inspect::InspectLayer;
use qcc_core::llm::{LlmClassifier, LlmFacts, LlmProbe, SessionKey};
use qcc_core::record::{Record, RecordSink};
use qcc_core::recovery::{Code, Probe as _};
use qcc_core::retry::{self, Budget, QuickRetryLayer, RetryWithExclusionLayer};
use qcc_core::simulate::{Script, Simulator};
use qcc_core::token::{TokenPoolLayer, Tokens};
use qcc_core::upstream::{DecodeLayer, OriginLayer};
use tokio::runtime::{Builder, Runtime};
use tower::{Layer, Service, ServiceExt as _};

/// Gives the same answer again and again; at the host `down` a 503.
#[derive(Clone)]
struct Upstream {
    kind: &'static str,
    frames: Arc<[Bytes]>,
}

struct Frames(VecDeque<Bytes>);

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.0.pop_front().map(|data| Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_empty()
    }
}

impl Service<Request<RequestBody>> for Upstream {
    type Response = Response<Frames>;
    type Error = BoxError;
    type Future = Ready<Result<Response<Frames>, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> Self::Future {
        let down = request.uri().host() == Some("down.example");
        let frames = if down {
            VecDeque::new()
        } else {
            self.frames.iter().cloned().collect()
        };
        let response = Response::builder()
            .status(if down {
                StatusCode::SERVICE_UNAVAILABLE
            } else {
                StatusCode::OK
            })
            .header("content-type", self.kind)
            .body(Frames(frames));
        ready(response.map_err(Into::into))
    }
}

impl Upstream {
    /// What the simulator answers: 600 bytes, or a stream of 54 events.
    fn simulated(runtime: &Runtime, stream: bool) -> Self {
        let script = Script::default()
            .with_text("All is well. ".repeat(23))
            .with_deltas(50);
        let simulator = Simulator::new().endpoint(Simulator::DEFAULT, script);
        let request = Request::post("/v1/messages")
            .body(RequestBody::from(format!(
                r#"{{"model":"m","stream":{stream}}}"#
            )))
            .unwrap();
        let frames = runtime.block_on(async {
            let mut body = simulator.oneshot(request).await.unwrap().into_body();
            let mut frames = Vec::new();
            while let Some(frame) = body.frame().await {
                frames.extend(frame.unwrap().into_data());
            }
            frames
        });
        Self {
            kind: if stream {
                "text/event-stream"
            } else {
                "application/json"
            },
            frames: frames.into(),
        }
    }
}

/// Throws records away.
#[derive(Debug)]
struct Nowhere;

impl RecordSink for Nowhere {
    fn finished(&self, _: Arc<Record>) {}
}

/// A request of about so many bytes, in a session.
fn request(size: usize, stream: bool) -> Bytes {
    let line = r#"let answer = request.send(\"all of it\").await?; // and then\n"#;
    let text = line.repeat(size.saturating_sub(250) / line.len());
    let session = "00000000-0000-4000-8000-000000000001";
    Bytes::from(format!(
        concat!(
            r#"{{"model":"claude-sonnet-4-5","max_tokens":4096,"stream":{stream},"#,
            r#""metadata":{{"user_id":"user_0_account__session_{session}"}},"#,
            r#""messages":[{{"role":"user","content":"{text}"}}]}}"#,
        ),
        stream = stream,
        session = session,
        text = text,
    ))
}

fn head(body: &Bytes) -> Request<RequestBody> {
    Request::post("/v1/messages")
        .header("content-type", "application/json")
        .header("x-api-key", "sk-test-client")
        .body(RequestBody::from(body.clone()))
        .unwrap()
}

/// Sends one request and reads its answer to the end.
async fn send<S, B>(service: S, request: Request<RequestBody>)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>>,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    let response = service.oneshot(request).await.map_err(Into::into).unwrap();
    let mut body = response.into_body();
    while let Some(frame) = body.frame().await {
        frame.map_err(Into::into).unwrap();
    }
}

fn measure<S, B>(c: &mut Criterion, runtime: &Runtime, name: &str, body: &Bytes, service: &S)
where
    S: Service<Request<RequestBody>, Response = Response<B>, Error: Into<BoxError>> + Clone,
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    c.bench_function(name, |bencher| {
        bencher.iter(|| runtime.block_on(send(service.clone(), head(body))));
    });
}

fn endpoint(name: &str) -> Endpoint {
    Endpoint::new(name, format!("http://{name}.example").parse().unwrap()).with_api(Api::Anthropic)
}

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().build().unwrap()
}

fn layers(c: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let upstream = Upstream::simulated(&runtime, false);
    let body = request(2_000, false);
    let one = Arc::new(endpoint("one"));
    let (breaker, health) = (Breaker::new(one.clone()), Health::new(one.clone()));
    let tokens = Tokens::fixed(one.clone());
    measure(c, &runtime, "nothing", &body, &upstream);
    macro_rules! layer {
        ($name:literal, $layer:expr) => {
            let service = $layer.layer(upstream.clone());
            measure(c, &runtime, concat!("layer/", $name), &body, &service);
        };
    }
    layer!("inspect", InspectLayer::new(LlmFacts::default()));
    layer!(
        "retry",
        RetryWithExclusionLayer::new(retry::Config::default())
    );
    layer!(
        "affinity",
        AffinityLayer::new(Sessions::default(), Arc::new(SessionKey::default()))
    );
    layer!("breaker", CircuitBreakerLayer::new(breaker.clone()));
    layer!("health", TrackHealthLayer::new(health.clone()));
    layer!("tokens", TokenPoolLayer::new(tokens.clone()));
    layer!("quick_retry", QuickRetryLayer::new(Budget::default()));
    layer!(
        "classify",
        ErrorClassifyLayer::new(Arc::new(LlmClassifier::default()))
    );
    layer!("decode", DecodeLayer);
    layer!("origin", OriginLayer::new(one));
    let members = ["one", "two"].map(|name| {
        let gates: [Arc<dyn Available>; 3] = [
            Arc::new(health.clone()),
            Arc::new(tokens.clone()),
            Arc::new(breaker.clone()),
        ];
        (
            Member::new(Arc::new(endpoint(name)), gates),
            upstream.clone(),
        )
    });
    let policy = Arc::new(PowerOfTwo::default());
    let service = Balance::new(members, policy, balance::Config::default());
    measure(c, &runtime, "layer/balance", &body, &service);
}

fn stack(c: &mut Criterion) {
    let runtime = runtime();
    let _entered = runtime.enter();
    let build = |names: [&str; 2], upstream: &Upstream| {
        let priorities = names.into_iter().zip(1..);
        let endpoints = priorities.map(|(name, priority)| endpoint(name).with_priority(priority));
        let never = breaker::Config::default().with_max_failures(NonZeroU32::MAX);
        Failover::builder(Endpoints::try_from_iter(endpoints).unwrap())
            .llm()
            .breaker(never)
            .budget(Budget::unlimited())
            .record_to(Arc::new(Nowhere))
            .build(|_endpoint| upstream.clone())
    };
    let whole = Upstream::simulated(&runtime, false);
    let stream = Upstream::simulated(&runtime, true);
    let small = request(2_000, false);
    measure(
        c,
        &runtime,
        "stack/2KB",
        &small,
        &build(["one", "two"], &whole),
    );
    let large = request(100_000, false);
    measure(
        c,
        &runtime,
        "stack/100KB",
        &large,
        &build(["one", "two"], &whole),
    );
    let streamed = request(2_000, true);
    measure(
        c,
        &runtime,
        "stack/stream",
        &streamed,
        &build(["one", "two"], &stream),
    );
    // Without a session, or the second request would go to the endpoint that works.
    let free = String::from_utf8_lossy(&small).replace("metadata", "nothing_");
    let free = Bytes::from(free);
    measure(
        c,
        &runtime,
        "stack/first_visit",
        &free,
        &build(["one", "two"], &whole),
    );
    measure(
        c,
        &runtime,
        "stack/second_visit",
        &free,
        &build(["down", "two"], &whole),
    );
}

fn reading(c: &mut Criterion) {
    for (name, size) in [("facts/2KB", 2_000), ("facts/100KB", 100_000)] {
        let body = request(size, false);
        let (head, _) = head(&body).into_parts();
        c.bench_function(name, |bencher| {
            bencher.iter(|| LlmFacts::default().facts(&head, Some(&body)));
        });
    }
    let answers = [
        ("verify/1KB", 1_000),
        ("verify/100KB", 100_000),
        ("verify/1MB", 1_000_000),
    ];
    let probe = LlmProbe::default();
    let code = Code::new("7kQ2pX");
    for (name, size) in answers {
        let text = "All is well. ".repeat(size / 13);
        let body = Bytes::from(format!(
            r#"{{"type":"message","content":[{{"type":"text","text":"{text}{}"}}]}}"#,
            code.as_str()
        ));
        let response = Response::builder()
            .header("content-type", "application/json")
            .body(body)
            .unwrap();
        c.bench_function(name, |bencher| {
            bencher.iter(|| probe.judge(&response, &code))
        });
    }
}

fn short() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1))
        .sample_size(20)
        .without_plots()
}

criterion_group! {
    name = costs;
    config = short();
    targets = layers, stack, reading
}
criterion_main!(costs);
