//! One request for a token: over any upstream, in time, and with an answer of bounded size.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tower::ServiceExt as _;

use super::words;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::time::Duration;
use crate::upstream::Upstream;

/// A request for a token takes at most so long, its answer included.
pub(super) const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer with a token has at most so many bytes.
const LONGEST: usize = 64 << 10;

/// The upstream that tokens are asked for at, whatever its type.
#[derive(Clone)]
pub(super) struct Asker(Arc<Ask>);

type Ask = dyn Fn(Request<RequestBody>) -> Asking + Send + Sync;
type Asking = Pin<Box<dyn Future<Output = Result<(StatusCode, Bytes), BoxError>> + Send>>;

impl Asker {
    pub(super) fn new<S: Upstream>(upstream: S) -> Self {
        Self(Arc::new(move |request| {
            let upstream = upstream.clone();
            Box::pin(async move {
                let response = upstream.oneshot(request).await.map_err(Into::into)?;
                let (head, body) = response.into_parts();
                let body = Limited::new(body, LONGEST).collect().await?.to_bytes();
                Ok((head.status, body))
            })
        }))
    }

    /// Sends `request` to `host`. An error says why there is no answer, and shows no secret.
    pub(super) async fn ask(
        &self,
        request: Request<RequestBody>,
        host: &str,
        limit: Duration,
    ) -> Result<(StatusCode, Bytes), String> {
        match tokio::time::timeout(limit, (self.0)(request)).await {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(format!(
                "the answer of {host} has more than {LONGEST} bytes"
            )),
            Ok(Err(error)) => Err(format!("no answer from {host}: {}", cause(&*error))),
            Err(_) => Err(format!("no answer from {host} in {limit:?}")),
        }
    }
}

/// What lies at the bottom of an error; what is above it names our own layers.
fn cause(mut error: &(dyn StdError + 'static)) -> String {
    while let Some(source) = error.source() {
        error = source;
    }
    words::in_one_line(&error.to_string())
}

impl fmt::Debug for Asker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Asker").finish_non_exhaustive()
    }
}
