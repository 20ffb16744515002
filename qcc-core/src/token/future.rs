//! The future of a request with a leased credential.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::handle::Lease;
use crate::body::Guarded;
use crate::error::BoxError;
use crate::failure::Refused;

pin_project! {
    /// The future of a [`TokenPool`](super::TokenPool).
    ///
    /// # Cancel safety
    ///
    /// Dropping it says nothing about the credential.
    #[derive(Debug)]
    pub struct ResponseFuture<F> {
        #[pin]
        state: State<F>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F> {
        // The request is on its way.
        Leased {
            #[pin]
            future: F,
            lease: Option<Lease>,
        },
        // No credential can be used.
        Refused { refused: Option<Refused> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn leased(future: F, lease: Lease) -> Self {
        let lease = Some(lease);
        Self {
            state: State::Leased { future, lease },
        }
    }

    pub(super) const fn refused(refused: Refused) -> Self {
        let refused = Some(refused);
        Self {
            state: State::Refused { refused },
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<Guarded<B, Lease>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Both `Option`s are taken only where `Ready` is returned.
        const OVER: &str = "polled after completion";
        match self.project().state.project() {
            StateProj::Leased { future, lease } => {
                let result = ready!(future.poll(cx));
                let lease = lease.take().expect(OVER);
                Poll::Ready(match result {
                    Ok(response) => Ok(response.map(|body| Guarded::new(body, lease))),
                    Err(error) => Err(lease.fail_by(error.into())),
                })
            }
            StateProj::Refused { refused } => Poll::Ready(Err(refused.take().expect(OVER).into())),
        }
    }
}
