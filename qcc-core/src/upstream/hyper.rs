//! The client of hyper-util with rustls: nothing between a request and its connection.
//!
//! It sends what it is given and adds only what HTTP demands, `Host` and the length of the body.
//! A client for general use does more, which costs as much again: it parses the address twice,
//! looks for redirects, merges default headers.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, ResponseFuture};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use tower::Service;

use super::Settings;
use super::turn::{InTurn, Turns};
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::failure::{Failed, Wait};
use crate::time::Duration;
use crate::visit::Visit;

/// The client of hyper-util as an upstream, over HTTP/1 and HTTP/2, with the certificates that
/// the platform trusts. Clones share its connections, which write [in turn](Turns). No proxy is
/// used.
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
#[derive(Clone)]
pub struct Hyper(Arc<Clients>);

// Behind one pointer, because services are cloned for each request, and a client is a dozen of
// them.
struct Clients {
    pooled: Pooled,
    /// Keeps no connection, so that each send has one of its own.
    fresh: Pooled,
}

type Pooled = Client<Connector<HttpsConnector<HttpConnector>>, RequestBody>;

impl Hyper {
    /// Makes a client with `settings`, and another one for sends whose connection failed.
    ///
    /// # Errors
    ///
    /// TLS cannot be set up: the platform's certificates cannot be read.
    pub fn with_settings(settings: &Settings) -> Result<Self, BoxError> {
        let provider = CryptoProvider::get_default()
            .cloned()
            .unwrap_or_else(|| Arc::new(aws_lc_rs::default_provider()));
        let mut tcp = HttpConnector::new();
        // The scheme is looked at above it.
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_keepalive(Some(settings.tcp_keepalive()));
        // Several addresses of a host share the time.
        tcp.set_connect_timeout(Some(settings.connect_timeout()));
        let connector = Connector {
            inner: HttpsConnectorBuilder::new()
                .with_provider_and_platform_verifier(provider)?
                .https_or_http()
                .enable_all_versions()
                .wrap_connector(tcp),
            limit: settings.connect_timeout(),
            turns: Turns::default(),
        };
        let client = |idle| {
            Client::builder(TokioExecutor::new())
                .timer(TokioTimer::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(settings.idle_timeout())
                .pool_max_idle_per_host(idle)
                .build(connector.clone())
        };
        Ok(Self(Arc::new(Clients {
            pooled: client(settings.max_idle_per_host()),
            fresh: client(0),
        })))
    }
}

impl fmt::Debug for Hyper {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Hyper").finish_non_exhaustive()
    }
}

impl Service<Request<RequestBody>> for Hyper {
    type Response = Response<Incoming>;
    type Error = BoxError;
    type Future = HyperFuture;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> HyperFuture {
        let visit = request.extensions().get::<Visit>();
        let client = match visit.is_some_and(|visit| visit.fresh_connection) {
            true => &self.0.fresh,
            false => &self.0.pooled,
        };
        // They concern the layers above, and would live as long as the client's own request.
        request.extensions_mut().clear();
        HyperFuture(client.request(request))
    }
}

/// The future of [`Hyper`].
pub struct HyperFuture(ResponseFuture);

impl Future for HyperFuture {
    type Output = Result<Response<Incoming>, BoxError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map_err(Into::into)
    }
}

impl fmt::Debug for HyperFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HyperFuture").finish_non_exhaustive()
    }
}

/// Makes connections that write in turn, in a limited time, name resolution and TLS included.
#[derive(Clone, Debug)]
struct Connector<C> {
    inner: C,
    limit: Duration,
    turns: Turns,
}

impl<C> Service<Uri> for Connector<C>
where
    C: Service<Uri, Error: Into<BoxError>, Future: Send + 'static>,
{
    type Response = InTurn<C::Response>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<InTurn<C::Response>, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let connecting = tokio::time::timeout(self.limit, self.inner.call(target));
        let turns = self.turns.clone();
        Box::pin(async move {
            match connecting.await {
                Ok(Ok(io)) => Ok(turns.watch(io)),
                Ok(Err(error)) => Err(error.into()),
                Err(_) => Err(Failed::timed_out(Wait::Connect).into()),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use std::future::{Pending, pending};
    use std::io;

    use hyper_util::rt::TokioIo;
    use tokio::net::TcpStream;
    use tower::{ServiceExt as _, service_fn};

    use super::*;
    use crate::failure::Kind;
    use crate::time;

    // UPS-06
    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_not_made_in_time_is_a_connect_time_out() {
        let silent = |_: Uri| -> Pending<io::Result<TokioIo<TcpStream>>> { pending() };
        let connector = Connector {
            inner: service_fn(silent),
            limit: Duration::from_secs(5),
            turns: Turns::default(),
        };
        let client: Client<_, RequestBody> = Client::builder(TokioExecutor::new()).build(connector);
        let request = Request::post("http://upstream.example/v1?key=sk-test-0001")
            .body(RequestBody::empty())
            .unwrap();
        let began = time::now();
        let error: BoxError = client.oneshot(request).await.unwrap_err().into();
        let failed = Failed::find(&*error).unwrap();
        assert_eq!(
            (failed.kind(), failed.wait()),
            (Kind::Timeout, Some(Wait::Connect))
        );
        assert_eq!((time::now() - began).as_secs(), 5);
        assert!(!format!("{error:?}").contains("sk-test"));
    }
}
