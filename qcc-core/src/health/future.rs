//! The future of a call that is recorded.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::handle::Call;
use crate::body::Guarded;
use crate::error::BoxError;

pin_project! {
    /// The future of a [`TrackHealth`](super::TrackHealth).
    ///
    /// # Cancel safety
    ///
    /// Dropping it records nothing.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        future: F,
        call: Option<Call>,
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn new(future: F, call: Call) -> Self {
        let call = Some(call);
        Self { future, call }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<Guarded<B, Call>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let result = ready!(this.future.poll(cx));
        // Taken only here, where `Ready` is returned.
        let mut call = this.call.take().expect("polled after completion");
        Poll::Ready(match result {
            Ok(response) => {
                call.commit(response.status());
                Ok(response.map(|body| Guarded::new(body, call)))
            }
            Err(error) => {
                let error = error.into();
                call.fail_by(&*error);
                Err(error)
            }
        })
    }
}
