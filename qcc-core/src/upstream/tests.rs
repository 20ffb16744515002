//! What holds for both clients.

use std::convert::Infallible;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tower::ServiceExt as _;

use super::{Settings, Upstream, warm_up};
use crate::body::RequestBody;
use crate::endpoint::Endpoint;
use crate::failure::{Failed, Kind, find};
use crate::time::{self, Duration};
use crate::visit::Visit;

/// A server on the loopback that echoes bodies, or redirects to the path of the request.
struct Server {
    address: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let server = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
        };
        let connections = server.connections.clone();
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.fetch_add(1, Ordering::Relaxed);
                tokio::spawn(
                    hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service_fn(answer)),
                );
            }
        });
        server
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let target = request.uri().to_string();
    let body = request.into_body().collect().await.unwrap().to_bytes();
    let response = match target.strip_prefix("/to/") {
        Some(location) => Response::builder().status(307).header("location", location),
        None => Response::builder(),
    };
    Ok(response.body(Full::new(body)).unwrap())
}

fn post(address: SocketAddr, path: &str, body: RequestBody) -> Request<RequestBody> {
    Request::post(format!("http://{address}{path}"))
        .body(body)
        .unwrap()
}

async fn exchange<U>(client: &U, address: SocketAddr) -> Bytes
where
    U: Upstream<Body: Body<Error: fmt::Debug>, Error: fmt::Debug>,
{
    let request = post(address, "/", RequestBody::from("ok"));
    let response = client.clone().oneshot(request).await.unwrap();
    response.into_body().collect().await.unwrap().to_bytes()
}

/// Reads one request with a body of two bytes and answers it.
async fn serve_once(stream: &mut TcpStream) {
    let mut read = Vec::new();
    while !read.ends_with(b"\r\n\r\nok") {
        assert_ne!(stream.read_buf(&mut read).await.unwrap(), 0);
    }
    stream
        .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
        .await
        .unwrap();
}

macro_rules! holds_for {
    ($module:ident: $client:ty) => {
        mod $module {
            use super::*;

            fn client() -> $client {
                <$client>::with_settings(&Settings::default()).unwrap()
            }

            #[test]
            fn the_adapter_is_an_upstream() {
                fn assert_upstream<U: crate::upstream::Upstream>() {}
                assert_upstream::<$client>();
                assert_upstream::<crate::upstream::Origin<$client>>();
            }

            // UPS-01
            #[tokio::test]
            async fn two_requests_in_a_row_use_one_connection() {
                let server = Server::start().await;
                let client = client();
                for _ in 0..2 {
                    assert_eq!(exchange(&client, server.address).await, "ok");
                }
                assert_eq!(server.connections(), 1);
            }

            // RTY-03
            #[tokio::test]
            async fn a_repeat_has_a_connection_of_its_own_while_others_are_idle() {
                let server = Server::start().await;
                let client = client();
                exchange(&client, server.address).await;
                for connections in [2, 3] {
                    let mut request = post(server.address, "/", RequestBody::from("ok"));
                    Visit::of(request.extensions_mut()).fresh_connection = true;
                    let response = client.clone().oneshot(request).await.unwrap();
                    response.into_body().collect().await.unwrap();
                    assert_eq!(server.connections(), connections);
                }
                exchange(&client, server.address).await;
                assert_eq!(server.connections(), 3, "the first one is still there");
            }

            // UPS-20
            #[tokio::test]
            async fn the_first_request_after_a_warm_up_uses_the_connection_that_it_opened() {
                let server = Server::start().await;
                let client = client();
                let endpoint =
                    Endpoint::new("one", format!("http://{}", server.address).parse().unwrap());
                let limit = Duration::from_secs(5);
                warm_up(client.clone(), &endpoint, limit).await.unwrap();
                assert_eq!(server.connections(), 1);
                assert_eq!(exchange(&client, server.address).await, "ok");
                assert_eq!(server.connections(), 1);
            }

            // UPS-04
            #[tokio::test]
            async fn a_connection_that_was_closed_while_idle_is_no_error() {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let client = client();

                let (mut first, body) = tokio::join!(
                    async {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        serve_once(&mut stream).await;
                        stream
                    },
                    exchange(&client, address)
                );
                assert_eq!(body, "ok");
                first.shutdown().await.unwrap();
                drop(first);
                // A round trip on another connection, so that the event loop has heard of the end of the
                // first one. A request that leaves even before that may have been read by the server:
                // nobody here can tell, and so only the layers above repeat it.
                let (other, _) = tokio::join!(TcpStream::connect(address), listener.accept());
                drop(other);

                let (body, ()) = tokio::join!(exchange(&client, address), async {
                    let (mut stream, _) = listener.accept().await.unwrap();
                    serve_once(&mut stream).await;
                });
                assert_eq!(body, "ok");
            }

            // UPS-02
            #[tokio::test]
            async fn no_more_idle_connections_are_kept_than_allowed() {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let settings = Settings::default().with_max_idle_per_host(1);
                let client = <$client>::with_settings(&settings).unwrap();

                let serve = async {
                    let (mut one, _) = listener.accept().await.unwrap();
                    let (mut two, _) = listener.accept().await.unwrap();
                    serve_once(&mut one).await;
                    serve_once(&mut two).await;
                    (one, two)
                };
                let (mut connections, ..) = tokio::join!(
                    serve,
                    exchange(&client, address),
                    exchange(&client, address)
                );
                let (mut byte, mut other) = ([0], [0]);
                let closed = tokio::select! {
                    read = connections.0.read(&mut byte) => read,
                    read = connections.1.read(&mut other) => read,
                };
                assert_eq!(closed.unwrap(), 0);
            }

            // UPS-03
            #[tokio::test]
            async fn a_connection_is_closed_when_it_was_idle_for_its_time() {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                let client = client();
                let (mut connection, _) = tokio::join!(
                    async {
                        let (mut stream, _) = listener.accept().await.unwrap();
                        serve_once(&mut stream).await;
                        stream
                    },
                    exchange(&client, address)
                );
                tokio::time::pause();
                let idle_since = time::now();
                assert_eq!(connection.read(&mut [0]).await.unwrap(), 0);
                assert!(time::now() - idle_since >= Duration::from_secs(60));
            }

            // UPS-13, SEC-08
            #[tokio::test]
            async fn a_redirect_is_an_answer_and_nobody_follows_it() {
                let elsewhere = Server::start().await;
                let server = Server::start().await;
                let path = format!("/to/http://{}/", elsewhere.address);
                let request = post(server.address, &path, RequestBody::from("ok"));
                let response = client().oneshot(request).await.unwrap();
                assert_eq!(response.status(), 307);
                assert_eq!((server.connections(), elsewhere.connections()), (1, 0));
            }

            // UPS-12
            #[tokio::test]
            async fn bodies_in_memory_and_streamed_arrive_byte_for_byte() {
                let server = Server::start().await;
                let sent = Bytes::from_static(b"{ \"a\" : 1.0e0 }\r\n\0\xff");
                for body in [
                    RequestBody::from(sent.clone()),
                    RequestBody::new(Full::new(sent.clone())),
                ] {
                    let request = post(server.address, "/", body);
                    let response = client().oneshot(request).await.unwrap();
                    assert_eq!(
                        response.into_body().collect().await.unwrap().to_bytes(),
                        sent
                    );
                }
            }

            #[tokio::test]
            async fn an_error_keeps_its_cause_and_shows_no_address() {
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                let address = listener.local_addr().unwrap();
                drop(listener);
                let request = post(address, "/v1?key=sk-test-0001", RequestBody::empty());
                let error = client().oneshot(request).await.unwrap_err();
                let cause = find::<io::Error>(&*error).unwrap();
                assert_eq!(cause.kind(), io::ErrorKind::ConnectionRefused);
                assert!(!format!("{error:?} {error}").contains("sk-test"));
                assert_eq!(Failed::verdict_of(&*error).kind, Kind::Transport);
            }
        }
    };
}

#[cfg(feature = "reqwest")]
holds_for!(over_reqwest: crate::upstream::Reqwest);

#[cfg(feature = "hyper")]
holds_for!(over_hyper: crate::upstream::Hyper);
