//! The future of a request behind a breaker.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::handle::Permit;
use crate::body::Guarded;
use crate::error::BoxError;
use crate::failure::Refused;

pin_project! {
    /// The future of a [`CircuitBreaker`](super::CircuitBreaker).
    ///
    /// # Cancel safety
    ///
    /// Dropping it returns the probe slot and records nothing.
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
        Admitted {
            #[pin]
            future: F,
            permit: Option<Permit>,
        },
        // It was not let through.
        Refused { refused: Option<Refused> },
    }
}

impl<F> ResponseFuture<F> {
    pub(super) const fn admitted(future: F, permit: Permit) -> Self {
        let permit = Some(permit);
        Self {
            state: State::Admitted { future, permit },
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
    type Output = Result<Response<Guarded<B, Permit>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Both `Option`s are taken only where `Ready` is returned.
        const OVER: &str = "polled after completion";
        match self.project().state.project() {
            StateProj::Admitted { future, permit } => {
                let result = ready!(future.poll(cx));
                let mut permit = permit.take().expect(OVER);
                Poll::Ready(match result {
                    Ok(response) => {
                        permit.commit();
                        Ok(response.map(|body| Guarded::new(body, permit)))
                    }
                    Err(error) => {
                        let error = error.into();
                        permit.fail_by(&*error);
                        Err(error)
                    }
                })
            }
            StateProj::Refused { refused } => Poll::Ready(Err(refused.take().expect(OVER).into())),
        }
    }
}
