//! Affinity over a balancer: conversations stay together while their endpoints can be used.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use http::request::Parts;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full};
use qcc_core::affinity::{Affinity, AffinityKey, AffinityLayer, Sessions};
use qcc_core::available::{Availability, Available, Query, Reason};
use qcc_core::balance::{Balance, Config, Member, Random};
use qcc_core::body::RequestBody;
use qcc_core::endpoint::Endpoint;
use qcc_core::facts::Facts;
use tower::util::BoxCloneSyncService;
use tower::{Layer as _, ServiceExt as _, service_fn};

#[derive(Debug)]
struct Header;

impl AffinityKey for Header {
    fn key<'a>(&self, head: &'a Parts, _: &'a Facts) -> Option<Cow<'a, str>> {
        let header = head.headers.get("x-conversation-id")?;
        header.to_str().ok().map(Cow::from)
    }
}

/// A breaker that somebody else opens.
#[derive(Debug, Default)]
struct Breaker(AtomicBool);

impl Available for Breaker {
    fn availability(&self, _: &Query<'_>) -> Availability {
        if self.0.load(Ordering::Relaxed) {
            Availability::out(Reason::Open, None)
        } else {
            Availability::Ready
        }
    }
}

type Calls = Arc<Mutex<HashMap<&'static str, usize>>>;
type Upstream =
    BoxCloneSyncService<Request<RequestBody>, Response<Full<bytes::Bytes>>, std::io::Error>;

/// Three endpoints, picked at random, under affinity.
struct Stack {
    service: Affinity<Balance<Upstream>>,
    breakers: HashMap<&'static str, Arc<Breaker>>,
    calls: Calls,
}

impl Stack {
    fn new() -> Self {
        let calls = Calls::default();
        let mut breakers = HashMap::new();
        let members = ["a", "b", "c"].map(|name| {
            let base = format!("http://{name}.example").parse().unwrap();
            let breaker = Arc::new(Breaker::default());
            breakers.insert(name, breaker.clone());
            let member = Member::new(Arc::new(Endpoint::new(name, base)), [breaker as _]);
            let calls = calls.clone();
            let upstream = service_fn(move |_| {
                *calls.lock().unwrap().entry(name).or_default() += 1;
                std::future::ready(Ok(Response::new(Full::from(name))))
            });
            (member, BoxCloneSyncService::new(upstream))
        });
        let policy = Arc::new(Random::with_seed(1));
        let balance = Balance::new(members, policy, Config::default());
        let layer = AffinityLayer::new(Sessions::default(), Arc::new(Header));
        Self {
            service: layer.layer(balance),
            breakers,
            calls,
        }
    }

    async fn send(&self, session: &str) -> String {
        let request = Request::builder()
            .header("x-conversation-id", session)
            .body(RequestBody::empty())
            .unwrap();
        let response = self.service.clone().oneshot(request).await.unwrap();
        let body = response.into_body().collect().await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }
}

// AFF-15
#[tokio::test(start_paused = true)]
async fn every_follow_up_reaches_its_bound_endpoint() {
    let stack = Stack::new();
    let mut homes: HashMap<String, String> = HashMap::new();
    for request in 0..1_000 {
        let session = format!("conversation {}", request % 100);
        let answer = stack.send(&session).await;
        let home = homes.entry(session).or_insert_with(|| answer.clone());
        assert_eq!(*home, answer);
    }
    assert_eq!(stack.calls.lock().unwrap().len(), 3);
}

// AFF-09, AFF-21
#[tokio::test(start_paused = true)]
async fn a_session_leaves_an_open_breaker_without_a_call_and_stays_where_it_went() {
    let stack = Stack::new();
    let home = stack.send("s").await;
    let breaker = &stack.breakers[&*home];
    breaker.0.store(true, Ordering::Relaxed);
    let next = stack.send("s").await;
    assert_ne!(home, next);
    assert_eq!(stack.calls.lock().unwrap()[&*home], 1);
    breaker.0.store(false, Ordering::Relaxed);
    for _ in 0..5 {
        assert_eq!(stack.send("s").await, next);
    }
}
