//! What a proxy costs that does nothing: hyper in front, hyper-util's client behind, and every
//! body passed on as it comes. `scripts/bench` compares `qcc serve` with it.
//!
//! ```sh
//! cargo run --release -p qcc-examples --example bare_proxy -- 127.0.0.1:7870 http://127.0.0.1:7862
//! ```
use std::convert::Infallible;

use http::uri::{Authority, Parts, Scheme, Uri};
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{Either, Empty};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use qcc_core::error::BoxError;
use tokio::net::TcpListener;

// That of qcc, so that the two differ in nothing else.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Where all requests go: the address, and what stands before their paths.
struct Upstream {
    scheme: Scheme,
    authority: Authority,
    host: HeaderValue,
    base: String,
    client: Client<HttpConnector, Incoming>,
}

impl Upstream {
    fn new(base_url: &str) -> Result<Self, BoxError> {
        let parts = base_url.parse::<Uri>()?.into_parts();
        let authority = parts.authority.ok_or("the base URL names no host")?;
        let path = parts.path_and_query.map(|path| path.to_string());
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        Ok(Self {
            scheme: parts.scheme.unwrap_or(Scheme::HTTP),
            host: HeaderValue::from_str(authority.as_str())?,
            authority,
            base: path.unwrap_or_default().trim_end_matches('/').to_owned(),
            client: Client::builder(TokioExecutor::new()).build(connector),
        })
    }

    async fn send(&self, mut request: Request<Incoming>) -> Result<Response<Incoming>, BoxError> {
        let path = request.uri().path_and_query();
        let path = path.map_or("/", |path| path.as_str());
        let mut parts = Parts::default();
        parts.scheme = Some(self.scheme.clone());
        parts.authority = Some(self.authority.clone());
        parts.path_and_query = Some(format!("{}{path}", self.base).parse()?);
        *request.uri_mut() = Uri::from_parts(parts)?;
        let headers = request.headers_mut();
        headers.insert(header::HOST, self.host.clone());
        headers.remove(header::CONNECTION);
        Ok(self.client.request(request).await?)
    }

    /// Every failure is a 502.
    async fn answer(
        &'static self,
        request: Request<Incoming>,
    ) -> Result<Response<Either<Incoming, Empty<Bytes>>>, Infallible> {
        Ok(match self.send(request).await {
            Ok(response) => response.map(Either::Left),
            Err(error) => {
                eprintln!("{error}");
                let mut response = Response::new(Either::Right(Empty::new()));
                *response.status_mut() = StatusCode::BAD_GATEWAY;
                response
            }
        })
    }
}

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let mut arguments = std::env::args().skip(1);
    let (Some(listen), Some(base_url)) = (arguments.next(), arguments.next()) else {
        return Err("usage: bare_proxy LISTEN BASE_URL".into());
    };
    let upstream: &'static _ = Box::leak(Box::new(Upstream::new(&base_url)?));
    let listener = TcpListener::bind(listen).await?;
    println!("listening on http://{}", listener.local_addr()?);
    loop {
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        tokio::spawn(async move {
            let service = service_fn(move |request| upstream.answer(request));
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .serve_connection(TokioIo::new(stream), service);
            if let Err(error) = connection.await {
                eprintln!("{error}");
            }
        });
    }
}
