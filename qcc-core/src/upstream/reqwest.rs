//! The adapter over `reqwest::Client`, and how the client is to be set up.
//!
//! Whoever fails over must be the only one who does: a client that follows redirects sends a
//! credential to an address that nobody configured, one that retries by itself multiplies the
//! attempts that are counted here, one that decodes changes bytes that must not change. The
//! one repetition that stays on is the pool's own: a request that met a connection which the
//! server had closed while it was idle was never read by anybody, and goes out again on a new
//! one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::Service;

use crate::body::RequestBody;
use crate::error::BoxError;
use crate::failure::{Failed, Wait};
use crate::time::Duration;
use crate::visit::Visit;

/// How connections to upstreams are made and kept.
///
/// `Display` gives the line that a program logs at start.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    connect_timeout: Duration,
    max_idle_per_host: usize,
    idle_timeout: Duration,
    tcp_keepalive: Duration,
}

/// Time-outs below this would fail every connection.
const SHORTEST: Duration = Duration::from_millis(1);

impl Settings {
    /// How long a connection may take to be made, name resolution and TLS included; 5 s by
    /// default, at least 1 ms.
    #[must_use]
    pub fn with_connect_timeout(mut self, limit: Duration) -> Self {
        self.connect_timeout = limit.max(SHORTEST);
        self
    }

    /// How many idle connections are kept for each host; 20 by default, 0 keeps none.
    #[must_use]
    pub const fn with_max_idle_per_host(mut self, limit: usize) -> Self {
        self.max_idle_per_host = limit;
        self
    }

    /// How long an idle connection is kept; 60 s by default, at least 1 ms.
    #[must_use]
    pub fn with_idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = limit.max(SHORTEST);
        self
    }

    /// How long a connection is silent before TCP asks whether the other side is still there;
    /// 30 s by default, at least 1 s, which is the finest that operating systems know.
    #[must_use]
    pub fn with_tcp_keepalive(mut self, interval: Duration) -> Self {
        self.tcp_keepalive = interval.max(Duration::from_secs(1));
        self
    }

    /// How long a connection may take to be made.
    #[must_use]
    pub const fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// How many idle connections are kept for each host.
    #[must_use]
    pub const fn max_idle_per_host(&self) -> usize {
        self.max_idle_per_host
    }

    /// How long an idle connection is kept.
    #[must_use]
    pub const fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// How long a connection is silent before TCP asks.
    #[must_use]
    pub const fn tcp_keepalive(&self) -> Duration {
        self.tcp_keepalive
    }

    /// A builder of clients with these settings, for what else a program wants to set, like
    /// root certificates. Redirects, decompression and retries are off and have to stay so. No
    /// proxy is taken from the environment; one that is wanted can be set.
    pub fn client_builder(&self) -> reqwest::ClientBuilder {
        reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .referer(false)
            .retry(reqwest::retry::never())
            .no_gzip()
            .no_brotli()
            .no_zstd()
            .no_deflate()
            .no_proxy()
            .connect_timeout(self.connect_timeout)
            .pool_max_idle_per_host(self.max_idle_per_host)
            .pool_idle_timeout(self.idle_timeout)
            .tcp_keepalive(self.tcp_keepalive)
            .tcp_nodelay(true)
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            max_idle_per_host: 20,
            idle_timeout: Duration::from_secs(60),
            tcp_keepalive: Duration::from_secs(30),
        }
    }
}

impl fmt::Display for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "connection reuse enabled: up to {} idle connections per host for {:?}, \
             connect time-out {:?}, TCP keep-alive {:?}",
            self.max_idle_per_host, self.idle_timeout, self.connect_timeout, self.tcp_keepalive
        )
    }
}

/// A `reqwest::Client` as an upstream. Clones share the client and its connections.
///
/// A body in memory is handed over as such, one that streams is streamed.
///
/// # Errors
///
/// [`Failed`] of kind `timeout` with [`Wait::Connect`] if no connection could be made in time;
/// else the client's own error, which never shows an address, because a query may hold a secret.
///
/// # Cancel safety
///
/// Dropping the future or the body of the answer gives the request up; over HTTP/1 its
/// connection is closed.
#[derive(Clone, Debug)]
pub struct Reqwest {
    client: reqwest::Client,
    /// Keeps no connection, so that each send has one of its own.
    fresh: Option<reqwest::Client>,
}

impl Reqwest {
    /// Uses `client`, which should come from [`Settings::client_builder`]: it must not follow
    /// redirects, decode bodies, retry, or have a time-out for the whole request.
    #[must_use]
    pub const fn new(client: reqwest::Client) -> Self {
        let fresh = None;
        Self { client, fresh }
    }

    /// Repeats sends whose connection failed with `client`, which should be built like the other
    /// one but with [`pool_max_idle_per_host(0)`](reqwest::ClientBuilder::pool_max_idle_per_host):
    /// then each of them has a new connection. Without it they take what the pool gives, which
    /// may be another connection that the server has just closed.
    #[must_use]
    pub fn with_fresh(mut self, client: reqwest::Client) -> Self {
        self.fresh = Some(client);
        self
    }

    /// Makes a client with `settings`, and another one for repeats.
    ///
    /// # Errors
    ///
    /// The client's, if TLS cannot be set up.
    pub fn with_settings(settings: &Settings) -> Result<Self, reqwest::Error> {
        let client = settings.client_builder().build()?;
        let fresh = settings
            .client_builder()
            .pool_max_idle_per_host(0)
            .build()?;
        Ok(Self::new(client).with_fresh(fresh))
    }

    /// The client.
    #[must_use]
    pub const fn get_ref(&self) -> &reqwest::Client {
        &self.client
    }
}

impl Service<Request<RequestBody>> for Reqwest {
    type Response = Response<ReqwestBody>;
    type Error = BoxError;
    type Future = ReqwestFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.client.poll_ready(cx).map_err(error)
    }

    fn call(&mut self, request: Request<RequestBody>) -> ReqwestFuture {
        let (mut head, body) = request.into_parts();
        let visit = head.extensions.get::<Visit>();
        let fresh = visit.is_some_and(|visit| visit.fresh_connection);
        // They concern the layers above, and would live as long as the client's own request.
        head.extensions.clear();
        let body = match body.as_bytes() {
            Some(bytes) => reqwest::Body::from(bytes.clone()),
            None => reqwest::Body::wrap(body),
        };
        let request = reqwest::Request::try_from(Request::from_parts(head, body));
        ReqwestFuture(match request {
            Ok(request) => Ok(match &mut self.fresh {
                Some(client) if fresh => client.call(request),
                _ => self.client.call(request),
            }),
            Err(error) => Err(Some(error)),
        })
    }
}

/// The future of [`Reqwest`].
pub struct ReqwestFuture(Result<Sending, Option<reqwest::Error>>);

type Sending = <reqwest::Client as Service<reqwest::Request>>::Future;

impl Future for ReqwestFuture {
    type Output = Result<Response<ReqwestBody>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.0 {
            Ok(sending) => {
                let response = ready!(Pin::new(sending).poll(cx)).map_err(error)?;
                let response: Response<reqwest::Body> = response.into();
                Poll::Ready(Ok(response.map(ReqwestBody)))
            }
            Err(invalid) => match invalid.take() {
                Some(invalid) => Poll::Ready(Err(error(invalid))),
                // Polled again after it was ready, which nobody may do.
                None => Poll::Pending,
            },
        }
    }
}

impl fmt::Debug for ReqwestFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ReqwestFuture").finish_non_exhaustive()
    }
}

/// The body of an answer that came over a `reqwest::Client`.
#[derive(Debug)]
pub struct ReqwestBody(reqwest::Body);

impl Body for ReqwestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0)
            .poll_frame(cx)
            .map(|frame| frame.map(|frame| frame.map_err(error)))
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

fn error(error: reqwest::Error) -> BoxError {
    let error = error.without_url();
    if error.is_connect() && error.is_timeout() {
        Failed::timed_out(Wait::Connect)
            .with_source(error.into())
            .into()
    } else {
        error.into()
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::io;
    use std::net::SocketAddr;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use http_body_util::{BodyExt as _, Full};
    use hyper::body::Incoming;
    use hyper::service::service_fn;
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::{TcpListener, TcpStream};
    use tower::ServiceExt as _;

    use super::*;
    use crate::endpoint::Endpoint;
    use crate::failure::{Kind, find};
    use crate::time;
    use crate::upstream::warm_up;

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

    fn client() -> Reqwest {
        Reqwest::with_settings(&Settings::default()).unwrap()
    }

    fn post(address: SocketAddr, path: &str, body: RequestBody) -> Request<RequestBody> {
        Request::post(format!("http://{address}{path}"))
            .body(body)
            .unwrap()
    }

    async fn exchange(client: &Reqwest, address: SocketAddr) -> Bytes {
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

    #[test]
    fn the_adapter_is_an_upstream() {
        fn assert_upstream<U: crate::upstream::Upstream>() {}
        assert_upstream::<Reqwest>();
        assert_upstream::<crate::upstream::Origin<Reqwest>>();
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
        let endpoint = Endpoint::new("one", format!("http://{}", server.address).parse().unwrap());
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
        let client = Reqwest::with_settings(&settings).unwrap();

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

    // UPS-02, UPS-03, UPS-05
    #[test]
    fn the_settings_have_the_promised_defaults_and_say_so() {
        let settings = Settings::default();
        assert_eq!(settings.max_idle_per_host(), 20);
        assert_eq!(settings.idle_timeout(), Duration::from_secs(60));
        assert_eq!(settings.connect_timeout(), Duration::from_secs(5));
        assert_eq!(
            settings.to_string(),
            "connection reuse enabled: up to 20 idle connections per host for 60s, \
             connect time-out 5s, TCP keep-alive 30s"
        );
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

    // UPS-06
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_made_in_time_is_a_connect_time_out() {
        struct Silent;

        impl reqwest::dns::Resolve for Silent {
            fn resolve(&self, _: reqwest::dns::Name) -> reqwest::dns::Resolving {
                Box::pin(std::future::pending())
            }
        }

        let client = Settings::default()
            .client_builder()
            .dns_resolver(Arc::new(Silent))
            .build()
            .unwrap();
        let request = Request::post("http://upstream.example/v1?key=sk-test-0001")
            .body(RequestBody::empty())
            .unwrap();
        let began = time::now();
        let error = Reqwest::new(client).oneshot(request).await.unwrap_err();
        let failed = Failed::find(&*error).unwrap();
        assert_eq!(
            (failed.kind(), failed.wait()),
            (Kind::Timeout, Some(Wait::Connect))
        );
        assert_eq!((time::now() - began).as_secs(), 5);
        assert!(!format!("{error:?}").contains("sk-test"));
    }
}
