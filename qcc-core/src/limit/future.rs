//! The future.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::Response;
use http_body::Body;
use pin_project_lite::pin_project;

use super::handle::Place;
use crate::guard::Guarded;

pin_project! {
    /// The future of [`ConcurrencyLimit`](super::ConcurrencyLimit).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the place back.
    #[derive(Debug)]
    pub struct ResponseFuture<F, E> {
        #[pin]
        state: State<F, E>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, E> {
        // On its way, with its place.
        Passed {
            #[pin]
            future: F,
            place: Option<Place>,
        },
        // There was no place.
        Refused { error: Option<E> },
    }
}

impl<F, E> ResponseFuture<F, E> {
    pub(super) const fn passed(future: F, place: Place) -> Self {
        let place = Some(place);
        Self {
            state: State::Passed { future, place },
        }
    }

    pub(super) const fn refused(error: E) -> Self {
        let error = Some(error);
        Self {
            state: State::Refused { error },
        }
    }
}

impl<F, B, E> Future for ResponseFuture<F, E>
where
    F: Future<Output = Result<Response<B>, E>>,
    B: Body,
{
    type Output = Result<Response<Guarded<B, Place>>, E>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Both `Option`s are taken only where `Ready` is returned.
        const OVER: &str = "polled after completion";
        Poll::Ready(match self.project().state.project() {
            StateProj::Passed { future, place } => {
                let result = ready!(future.poll(cx));
                let place = place.take().expect(OVER);
                result.map(|response| response.map(|body| Guarded::new(body, place)))
            }
            StateProj::Refused { error } => Err(error.take().expect(OVER)),
        })
    }
}
