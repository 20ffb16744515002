//! The stack by hand, with layers of the user's own between ours; and the stack over a service
//! that has nothing to do with LLMs.

use std::error::Error as StdError;
use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::{BodyExt as _, Full};
use qcc_core::affinity::{Affinity, AffinityLayer, Sessions};
use qcc_core::available::Available;
use qcc_core::balance::{self, Balance, Load, Member, Priority};
use qcc_core::body::RequestBody;
use qcc_core::breaker::{Breaker, CircuitBreaker, CircuitBreakerLayer};
use qcc_core::classify::{ErrorClassify, ErrorClassifyLayer, Timeouts};
use qcc_core::endpoint::{Endpoint, Endpoints};
use qcc_core::error::BoxError;
use qcc_core::exchange::Exchange;
use qcc_core::failover::Failover;
use qcc_core::health::{Health, TrackHealth, TrackHealthLayer};
use qcc_core::inspect::{Inspect, InspectLayer};
use qcc_core::llm::{LlmClassifier, LlmFacts, SessionKey};
use qcc_core::retry::{
    self, Budget, QuickRetry, QuickRetryLayer, RetryWithExclusion, RetryWithExclusionLayer,
};
use qcc_core::simulate::{Behaviour, Simulator};
use qcc_core::time;
use qcc_core::token::{TokenPool, TokenPoolLayer, Tokens};
use qcc_core::upstream::{Decode, DecodeLayer, Origin, OriginLayer};
use qcc_tests::harness::{Ask, DIALECTS, ENDPOINTS, Seen, World, endpoints};
use tower::{Layer, Service, ServiceBuilder, ServiceExt as _, service_fn};

// ===== a layer of the user's own =====

/// Wraps every error and every body that passes, as layers for tracing and metrics do.
#[derive(Clone, Copy, Debug)]
struct Wrap;

impl<S> Layer<S> for Wrap {
    type Service = Wrapped<S>;

    fn layer(&self, inner: S) -> Wrapped<S> {
        Wrapped { inner }
    }
}

#[derive(Clone, Debug)]
struct Wrapped<S> {
    inner: S,
}

impl<S, R, B> Service<Request<R>> for Wrapped<S>
where
    S: Service<Request<R>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<WrappedBody>;
    type Error = Around;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Around>> + Send>>;

    fn poll_ready(
        &mut self,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Result<(), Around>> {
        self.inner.poll_ready(cx).map_err(Around::new)
    }

    fn call(&mut self, request: Request<R>) -> Self::Future {
        // A layer of the user's can tell which request it sees.
        assert!(Exchange::get(request.extensions()).is_some());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await.map_err(Around::new)?;
            Ok(answer.map(|body| body.map_err(Around::new).map_frame(same).boxed_unsync()))
        })
    }
}

type WrappedBody = http_body_util::combinators::UnsyncBoxBody<Bytes, Around>;

fn same(frame: Frame<Bytes>) -> Frame<Bytes> {
    frame
}

/// An error with another one inside.
#[derive(Debug)]
struct Around(BoxError);

impl Around {
    fn new(error: impl Into<BoxError>) -> Self {
        Self(error.into())
    }
}

impl fmt::Display for Around {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a layer of the user's own")
    }
}

impl StdError for Around {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&*self.0)
    }
}

// ===== the stack by hand =====

type Way = Wrapped<
    CircuitBreaker<
        Wrapped<
            TrackHealth<
                Wrapped<TokenPool<Wrapped<QuickRetry<Wrapped<ErrorClassify<Wrapped<Last>>>>>>>,
            >,
        >,
    >,
>;

type Last = Decode<Wrapped<Origin<Wrapped<Simulator>>>>;

/// What is seen of an endpoint and changed there.
struct ByHand {
    endpoint: Arc<Endpoint>,
    breaker: Breaker,
    health: Health,
    tokens: Tokens,
    load: Load,
}

impl ByHand {
    fn new(endpoint: Endpoint) -> Self {
        let endpoint = Arc::new(endpoint);
        Self {
            breaker: Breaker::new(endpoint.clone()),
            health: Health::new(endpoint.clone()),
            tokens: Tokens::fixed(endpoint.clone()),
            load: Load::new(),
            endpoint,
        }
    }

    fn member(&self) -> Member {
        let gates: [Arc<dyn Available>; 3] = [
            Arc::new(self.health.clone()),
            Arc::new(self.tokens.clone()),
            Arc::new(self.breaker.clone()),
        ];
        Member::new(self.endpoint.clone(), gates).with_load(self.load.clone())
    }

    /// The way to the endpoint, with a layer of the user's own between any two of ours.
    fn way(&self, upstream: Simulator, budget: &Budget) -> Way {
        ServiceBuilder::new()
            .layer(Wrap)
            .layer(CircuitBreakerLayer::new(self.breaker.clone()))
            .layer(Wrap)
            .layer(TrackHealthLayer::new(self.health.clone()))
            .layer(Wrap)
            .layer(TokenPoolLayer::new(self.tokens.clone()))
            .layer(Wrap)
            .layer(QuickRetryLayer::new(budget.clone()))
            .layer(Wrap)
            .layer(
                ErrorClassifyLayer::new(Arc::new(LlmClassifier::default()))
                    .with_timeouts(Timeouts::default()),
            )
            .layer(Wrap)
            .layer(DecodeLayer)
            .layer(Wrap)
            .layer(OriginLayer::new(self.endpoint.clone()))
            .layer(Wrap)
            .service(upstream)
    }
}

/// The whole of it.
type Stack = Inspect<RetryWithExclusion<Wrapped<Affinity<Wrapped<Balance<Way>>>>>>;

fn by_hand(endpoints: &[ByHand], sessions: Sessions, simulator: &Simulator) -> Stack {
    let budget = Budget::default();
    let members = endpoints
        .iter()
        .map(|endpoint| (endpoint.member(), endpoint.way(simulator.clone(), &budget)));
    let balance = Balance::new(
        members,
        Arc::new(Priority::default()),
        balance::Config::default(),
    );
    ServiceBuilder::new()
        .layer(InspectLayer::new(LlmFacts::default()))
        .layer(RetryWithExclusionLayer::new(retry::Config::default()).with_budget(budget))
        .layer(Wrap)
        .layer(AffinityLayer::new(
            sessions,
            Arc::new(SessionKey::default()),
        ))
        .layer(Wrap)
        .service(balance)
}

// EMB-01, EMB-02
#[tokio::test(start_paused = true)]
async fn layers_of_the_user_s_own_between_ours_break_nothing() {
    for fault in Behaviour::samples() {
        for dialect in DIALECTS {
            for stream in [false, true] {
                let fault = fault.to_string();
                let cell = format!("{dialect} × stream {stream} × {fault}");
                let ask = Ask::new(dialect, stream);
                let world = World::new();
                world.set("a", &fault);

                let simulator = ENDPOINTS.into_iter().fold(Simulator::new(), |all, name| {
                    all.endpoint(name, Behaviour::Ok)
                });
                simulator.set("a", fault.parse::<Behaviour>().unwrap());
                let members: Vec<_> = endpoints().map(ByHand::new).collect();
                let sessions = Sessions::default();
                let stack = by_hand(&members, sessions.clone(), &simulator);

                for _ in 0..2 {
                    let expected = world.send(&ask).await;
                    let started = time::now();
                    let result = stack.clone().oneshot(ask.request()).await;
                    let seen = Seen::read(dialect, result, started).await;
                    assert_eq!(seen.status, expected.status, "{cell}");
                    assert_eq!(seen.end, expected.end, "{cell}");
                    assert_eq!(seen.time, expected.time, "{cell}");
                    // Errors of ours hold the id of the request.
                    if expected.error.is_none() {
                        assert_eq!(seen.text(), expected.text(), "{cell}");
                    }
                }

                let now = time::now();
                for (member, name) in members.iter().zip(ENDPOINTS) {
                    let state = world.state(name);
                    let breaker = member.breaker.snapshot(now);
                    let health = member.health.snapshot(now);
                    assert_eq!(breaker.state.as_str(), state.breaker, "{cell}");
                    assert_eq!(breaker.failures, state.failures, "{cell}");
                    assert_eq!((health.total, health.failed), (state.total, state.failed));
                    assert_eq!(health.auth_failure.is_some(), state.auth_failed, "{cell}");
                    assert_eq!(member.load.in_flight(), 0, "{cell}");
                    let calls = simulator.counts(name).requests;
                    assert_eq!(calls, state.calls, "{cell}");
                }
                let stats = sessions.stats(now);
                assert_eq!(
                    stats.total,
                    world.handle.sessions().stats(now).total,
                    "{cell}"
                );
            }
        }
    }
}

// ===== no LLM in sight =====

fn two() -> Endpoints {
    let endpoints = [("one", 1), ("two", 2)].map(|(name, priority)| {
        let base = format!("http://{name}.example").parse().unwrap();
        Endpoint::new(name, base).with_priority(priority)
    });
    Endpoints::try_from_iter(endpoints).unwrap()
}

// EMB-01, EMB-04, CLS-02
#[tokio::test(start_paused = true)]
async fn any_service_function_is_an_upstream_and_its_status_decides() {
    for (status, calls, failures, out) in [
        (200, 1, 0, None),
        (204, 1, 0, None),
        (304, 1, 0, None),
        (401, 2, 0, Some("auth_failed")),
        (429, 2, 0, Some("cooling")),
        (500, 2, 1, None),
        (503, 2, 1, None),
        (400, 2, 0, None),
    ] {
        let called = Arc::new(AtomicU32::new(0));
        let upstream = service_fn({
            let called = called.clone();
            move |request: Request<RequestBody>| {
                called.fetch_add(1, Ordering::Relaxed);
                let one = request.uri().host() == Some("one.example");
                async move {
                    let mut answer = Response::new(Full::<Bytes>::from("hello"));
                    if one {
                        *answer.status_mut() = StatusCode::from_u16(status).unwrap();
                    }
                    Ok::<_, io::Error>(answer)
                }
            }
        });
        let failover = Failover::builder(two()).build(|_| upstream.clone());
        let request = Request::get("/files/a")
            .body(Full::<Bytes>::default())
            .unwrap();
        let answer = failover.clone().oneshot(request).await.unwrap();
        let expected = if calls == 1 { status } else { 200 };
        assert_eq!(answer.status(), expected);
        let body = answer.into_body().collect().await.unwrap().to_bytes();
        assert_eq!(body, "hello");
        assert_eq!(called.load(Ordering::Relaxed), calls, "{status}");
        let state = &failover.handle().status()[0];
        assert_eq!(state.breaker.failures, failures, "{status}");
        assert_eq!(
            state.out.map(|(reason, _)| reason.as_str()),
            out,
            "{status}"
        );
        assert_eq!(state.in_flight, 0);
    }
}

// RTY-03, STR-06
#[tokio::test(start_paused = true)]
async fn without_a_dialect_a_broken_answer_is_aborted_and_counted() {
    let upstream = service_fn(|request: Request<RequestBody>| async move {
        match request.uri().path() {
            "/refused" if request.uri().host() == Some("one.example") => {
                Err(io::Error::from(io::ErrorKind::ConnectionRefused))
            }
            "/cut" => Ok(Response::new(Cut(2).boxed_unsync())),
            _ => Ok(Response::new(Cut(0).boxed_unsync())),
        }
    });
    let failover = Failover::builder(two()).build(|_| upstream);
    let send = |path| {
        let request = Request::get(path).body(RequestBody::empty()).unwrap();
        failover.clone().oneshot(request)
    };
    let failures = || failover.handle().status()[0].breaker.failures;

    assert_eq!(send("/refused").await.unwrap().status(), 200);
    assert_eq!(failures(), 1);
    let mut body = send("/cut").await.unwrap().into_body();
    assert_eq!(
        body.frame().await.unwrap().unwrap().into_data().unwrap(),
        "x"
    );
    assert!(body.frame().await.unwrap().is_err());
    assert!(body.frame().await.is_none());
    assert_eq!(failures(), 2);
    let status = &failover.handle().status()[0];
    assert_eq!(status.in_flight, 0);
    assert!(
        status
            .latency
            .is_none_or(|latency| latency < Duration::from_secs(1))
    );
}

/// One byte and a break, if there are so many pieces; else nothing.
struct Cut(u8);

impl Body for Cut {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        let left = self.0;
        self.0 = left.saturating_sub(1);
        std::task::Poll::Ready(match left {
            2 => Some(Ok(Frame::data(Bytes::from_static(b"x")))),
            1 => Some(Err(io::ErrorKind::ConnectionReset.into())),
            _ => None,
        })
    }
}
