//! Opening a connection before the first request needs it.

use std::future::Future;

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use http_body::Body;
use http_body_util::BodyExt as _;
use tower::ServiceExt as _;

use super::Upstream;
use crate::body::RequestBody;
use crate::endpoint::Endpoint;
use crate::error::BoxError;
use crate::failure::{Failed, Wait};
use crate::time::Duration;

/// Has `upstream` connect to `endpoint`, so that the first request finds a connection that is
/// open: name resolution, TCP and TLS are done. At most `limit` is waited for; 5 s is a good
/// value.
///
/// What is sent is a `HEAD` of the endpoint's address without a credential, the cheapest request
/// that there is. Any answer is good, whatever its status: it says nothing of the endpoint but
/// that somebody listens, and nothing is recorded. Give it the same client that the requests go
/// through, and run one for each endpoint, all at once.
///
/// # Errors
///
/// What the client says if there is no answer; [`Failed`] of kind `timeout` if there is none in
/// time.
///
/// # Cancel safety
///
/// Dropping it gives the connection up.
pub fn warm_up<S: Upstream>(
    upstream: S,
    endpoint: &Endpoint,
    limit: Duration,
) -> impl Future<Output = Result<StatusCode, BoxError>> + Send + use<S> {
    let request = Request::builder()
        .method(Method::HEAD)
        .uri(endpoint.base_url().uri().clone())
        .body(RequestBody::from(Bytes::new()));
    async move {
        let answered = async {
            let response = upstream.oneshot(request?).await.map_err(Into::into)?;
            let (head, body) = response.into_parts();
            // A connection whose answer was not read to its end cannot be used again.
            drain(body).await?;
            Ok(head.status)
        };
        match tokio::time::timeout(limit, answered).await {
            Ok(result) => result,
            Err(_) => Err(Failed::timed_out(Wait::FirstByte).into()),
        }
    }
}

async fn drain<B>(mut body: B) -> Result<(), BoxError>
where
    B: Body<Error: Into<BoxError>> + Unpin,
{
    while let Some(frame) = body.frame().await {
        frame.map_err(Into::into)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::pending;
    use std::sync::{Arc, Mutex};

    use http::Response;
    use http_body_util::{Empty, Full};
    use tower::service_fn;

    use super::*;
    use crate::failure::Kind;
    use crate::testing::endpoint;

    const LIMIT: Duration = Duration::from_secs(5);

    // UPS-18, SEC-01
    #[tokio::test(start_paused = true)]
    async fn any_answer_to_a_head_without_a_credential_is_good() {
        let seen = Arc::new(Mutex::new(None));
        let upstream = service_fn({
            let seen = seen.clone();
            move |request: Request<RequestBody>| {
                *seen.lock().unwrap() = Some((request.method().clone(), request.headers().len()));
                let mut response = Response::new(Full::<Bytes>::from("no"));
                *response.status_mut() = StatusCode::UNAUTHORIZED;
                std::future::ready(Ok::<_, Infallible>(response))
            }
        });
        let status = warm_up(upstream, &endpoint("one"), LIMIT).await.unwrap();
        assert_eq!(status, StatusCode::UNAUTHORIZED);
        assert_eq!(*seen.lock().unwrap(), Some((Method::HEAD, 0)));
    }

    // UPS-19
    #[tokio::test(start_paused = true)]
    async fn an_endpoint_that_does_not_answer_is_waited_for_five_seconds() {
        let upstream = service_fn(|_: Request<RequestBody>| {
            pending::<Result<Response<Empty<Bytes>>, Infallible>>()
        });
        let start = crate::time::now();
        let error = warm_up(upstream, &endpoint("one"), LIMIT)
            .await
            .unwrap_err();
        assert_eq!(Failed::find(&*error).unwrap().kind(), Kind::Timeout);
        assert_eq!(crate::time::now() - start, LIMIT);
    }
}
