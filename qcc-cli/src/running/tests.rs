//! Reloads of a proxy in this process, over an upstream on the loopback or none at all.

use std::convert::Infallible;
use std::future::{pending, poll_fn};
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::Poll;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use qcc_core::available::Reason;
use qcc_core::error::Error;
use qcc_core::limit::ConcurrencyLimitLayer;
use qcc_core::time::{self, Duration};
use qcc_core::upstream::warm_up;
use tokio::net::TcpListener;
use tower::{Layer as _, ServiceExt as _, service_fn};

use super::background::Background;
use super::reload::{Cause, Reload};
use super::{Generation, Running, Sinks};
use crate::config::{self, Environment};
use crate::output::Exit;
use crate::records::Records;

const BEFORE: &str = "
clusters:
  claude:
    endpoints:
      - { name: stays, base_url: 'https://a.example', api_key: sk-test-0001 }
      - { name: leaves, base_url: 'https://b.example', api_key: sk-test-0002 }
";

const AFTER: &str = "
clusters:
  claude:
    breaker: { max_failures: 5 }
    endpoints:
      - { name: stays, base_url: 'https://a.example', api_key: sk-test-0001, weight: 7 }
      - { name: joins, base_url: 'https://c.example', api_key: sk-test-0003 }
";

/// A proxy whose file can be rewritten.
struct Proxy {
    running: Arc<Running>,
    reload: Reload,
    background: Arc<Background>,
    file: Arc<Mutex<String>>,
}

impl Proxy {
    fn new(text: &str) -> Self {
        let file = Arc::new(Mutex::new(text.to_owned()));
        let read = {
            let file = file.clone();
            move || {
                let environment = Environment::from_iter([("", ""); 0]);
                config::from_str(&file.lock().unwrap(), Path::new("f.yaml"), &environment)
            }
        };
        let sinks = Sinks::without_store(Arc::new(Records::default()));
        let generation = Generation::new(read().unwrap(), &sinks).unwrap();
        let nowhere = "127.0.0.1:0".parse().unwrap();
        let running = Arc::new(Running::new(nowhere, nowhere, generation));
        let background = Arc::new(Background::default());
        let reload = Reload::new(running.clone(), background.clone(), sinks, Box::new(read));
        Self {
            running,
            reload,
            background,
            file,
        }
    }

    fn write(&self, text: &str) {
        text.clone_into(&mut self.file.lock().unwrap());
    }

    fn names(&self) -> Vec<String> {
        let generation = self.running.current();
        let endpoints = generation.clusters[0].handle.endpoints().iter();
        endpoints
            .map(|endpoint| endpoint.name().to_string())
            .collect()
    }
}

// CFG-07, CFG-10, SEL-03
#[tokio::test]
async fn a_reload_replaces_the_configuration_and_keeps_the_state_of_what_stays() {
    let proxy = Proxy::new(BEFORE);
    let find = |name: &str| proxy.running.current().clusters[0].handle.find(name);
    find("stays").unwrap().disable();
    proxy.write(AFTER);
    let changes = proxy.reload.reload(Cause::Asked).unwrap();
    let keys: Vec<_> = changes.iter().map(|change| &*change.key).collect();
    assert!(
        keys.contains(&"clusters.claude.breaker.max_failures"),
        "{keys:?}"
    );
    assert_eq!(proxy.names(), ["stays", "joins"]);
    let stays = find("stays").unwrap().status();
    assert!(!stays.enabled, "switched off by hand");
    assert_eq!(stays.endpoint.weight(), 7);
    assert_eq!(stays.breaker.threshold, 5);
    assert!(find("leaves").is_none());
    proxy.background.stop(pending()).await;
}

// CFG-09
#[tokio::test]
async fn a_broken_file_leaves_everything_as_it_was_and_says_where_it_is_broken() {
    let proxy = Proxy::new(BEFORE);
    let before = proxy.running.current();
    proxy.write(&AFTER.replace("weight: 7", "weigth: 7"));
    let failure = proxy.reload.reload(Cause::File).unwrap_err();
    assert_eq!(failure.exit, Exit::Config);
    assert!(failure.message.contains("f.yaml:6:"), "{failure}");
    assert!(failure.message.contains("weight"), "{failure}");
    assert!(Arc::ptr_eq(&before, &proxy.running.current()));
    proxy.write(AFTER);
    assert!(proxy.reload.reload(Cause::File).is_ok(), "mended");
}

// CFG-07, UPS-02
#[tokio::test]
async fn a_reload_that_changes_how_connections_are_kept_makes_new_ones_and_no_other_does() {
    let (address, made) = upstream().await;
    let text = |lines: &str| {
        format!(
            "clusters: {{ c: {{ {lines} endpoints: [{{ base_url: 'http://{address}', \
             api_key: sk-test-0001 }}] }} }}"
        )
    };
    let proxy = Proxy::new(&text(""));
    let made_after_another = async || {
        let cluster = &proxy.running.current().clusters[0];
        let endpoint = cluster.config.endpoints.iter().next().unwrap();
        let limit = Duration::from_secs(5);
        let connected = warm_up(cluster.upstream.clone(), endpoint, limit).await;
        connected.unwrap();
        made.load(Ordering::Relaxed)
    };
    assert_eq!(made_after_another().await, 1);
    for (lines, made) in [
        ("retry: { attempts: 2 },", [1, 1]),
        ("connections: { max_idle: 0 },", [2, 3]),
        ("connections: { max_idle: 1 },", [4, 4]),
    ] {
        proxy.write(&text(lines));
        proxy.reload.reload(Cause::Asked).unwrap();
        for made in made {
            assert_eq!(made_after_another().await, made, "{lines}");
        }
    }
    proxy.background.stop(pending()).await;
}

/// An upstream on the loopback, and how many connections were made to it.
async fn upstream() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let made = Arc::new(AtomicUsize::new(0));
    let counted = made.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let empty = async |_| Ok::<_, Infallible>(Response::new(Empty::<Bytes>::new()));
            let http = hyper::server::conn::http1::Builder::new();
            tokio::spawn(
                http.serve_connection(TokioIo::new(stream), hyper::service::service_fn(empty)),
            );
        }
    });
    (address, made)
}

// OPS-07
#[tokio::test(start_paused = true)]
async fn the_tasks_of_the_generation_before_end_and_none_is_left_at_the_end() {
    let proxy = Proxy::new(BEFORE);
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    assert_eq!(tasks(), 0);
    proxy.background.start(&proxy.running.current());
    assert_eq!(tasks(), 2, "maintenance and recovery");
    for text in [AFTER, BEFORE, AFTER] {
        proxy.write(text);
        proxy.reload.reload(Cause::Signal).unwrap();
    }
    tokio::task::yield_now().await;
    assert_eq!(tasks(), 2);
    proxy.background.stop(pending()).await;
    assert_eq!(tasks(), 0);
}

// ACC-06, OPS-07
#[tokio::test(start_paused = true)]
async fn what_is_over_is_swept_every_minute_from_the_start_on() {
    let proxy = Proxy::new(BEFORE);
    let handle = proxy.running.current().clusters[0].handle.clone();
    let limited = || {
        let limit = Duration::from_secs(30);
        let health = handle.find("stays").unwrap().health().clone();
        health.mark("limited", limit);
        assert_eq!(handle.status()[0].out.unwrap().0, Reason::Marked);
    };
    limited();
    tokio::time::advance(Duration::from_secs(61)).await;
    assert!(
        handle.status()[0].out.is_none(),
        "used again without a sweep"
    );
    assert_eq!(handle.sweep(time::now()), 1, "nobody has swept");

    proxy.background.start(&proxy.running.current());
    tokio::task::yield_now().await;
    limited();
    tokio::time::advance(Duration::from_secs(61)).await;
    tokio::task::yield_now().await;
    assert_eq!(handle.sweep(time::now()), 0, "the service has");
    proxy.background.stop(pending()).await;
}

#[test]
fn only_what_came_from_a_file_is_watched() {
    let proxy = Proxy::new(BEFORE);
    assert_eq!(proxy.reload.file(), Some(PathBuf::from("f.yaml")));
}

// ACC-08
#[tokio::test]
async fn what_a_client_has_in_flight_stays_counted_over_a_reload() {
    let limited = |limit: u32| {
        let digest = "ab".repeat(32);
        let key = format!("{{ name: laptop, sha256: {digest}, max_in_flight: {limit} }}");
        format!("client_keys: [{key}]\n{BEFORE}")
    };
    let proxy = Proxy::new(&limited(2));
    let caller = || proxy.running.current().callers[0].clone();
    let mut request = Request::new(());
    request.extensions_mut().insert(caller());
    let never = service_fn(|_: Request<()>| pending::<Result<Response<Empty<Bytes>>, Error>>());
    let mut under_way = Box::pin(ConcurrencyLimitLayer.layer(never).oneshot(request));
    let begun = poll_fn(|cx| Poll::Ready(under_way.as_mut().poll(cx)));
    assert!(begun.await.is_pending());
    assert_eq!(caller().in_flight(), 1);

    proxy.write(&limited(1));
    proxy.reload.reload(Cause::Asked).unwrap();
    assert_eq!(caller().limit(), NonZeroU32::new(1));
    assert_eq!(caller().in_flight(), 1);
    drop(under_way);
    assert_eq!(caller().in_flight(), 0);
    proxy.background.stop(pending()).await;
}
