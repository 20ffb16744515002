//! The adapter over `reqwest::Client`, for programs that have one.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use tower::Service;

use super::Settings;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::failure::{Failed, Wait};
use crate::visit::Visit;

impl Settings {
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
            .connect_timeout(self.connect_timeout())
            .pool_max_idle_per_host(self.max_idle_per_host())
            .pool_idle_timeout(self.idle_timeout())
            .tcp_keepalive(self.tcp_keepalive())
            .tcp_nodelay(true)
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
    use std::sync::Arc;

    use tower::ServiceExt as _;

    use super::*;
    use crate::failure::Kind;
    use crate::time;

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
