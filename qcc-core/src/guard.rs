//! What is held for a visit, and let go when its answer has ended.
//!
//! For a streamed answer "done" is the end of its body, not its head. So whatever a layer counts
//! or lends for a visit is a [`Guard`] that moves from the future into the body, and is settled
//! there exactly once.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use http::{Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::body::RequestBodyError;
use crate::error::BoxError;
use crate::failure::{Interrupted, Kind, Refused, find};

/// How an answer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It came to its proper end.
    Clean,
    /// It broke.
    Broken(Kind),
    /// Nobody wanted the rest of it.
    Canceled,
}

/// Something that is counted or lent for as long as a visit lasts, its answer included.
///
/// One that is dropped without having been told how the visit ended must take it as canceled.
pub trait Guard: Sized {
    /// The answer was committed with this status.
    fn commit(&mut self, status: StatusCode) {
        let _ = status;
    }

    /// A piece of the committed answer is about to go up.
    fn pass(&mut self) {}

    /// The visit failed before its commit point. Gives the error that goes up.
    fn fail(self, error: BoxError) -> BoxError {
        error
    }

    /// The committed answer ended. Must not panic.
    fn settle(self, settled: Settled);
}

pin_project! {
    /// A visit that is guarded until its answer has ended, or one that was refused.
    ///
    /// # Cancel safety
    ///
    /// Dropping it drops the guard, which takes the visit as canceled.
    #[derive(Debug)]
    pub struct GuardedFuture<F, G> {
        #[pin]
        state: State<F, G>,
    }
}

pin_project! {
    #[project = StateProj]
    #[derive(Debug)]
    enum State<F, G> {
        // The request is on its way.
        Passed {
            #[pin]
            future: F,
            guard: Option<G>,
        },
        // It was not let through.
        Refused { refused: Option<Refused> },
    }
}

impl<F, G> GuardedFuture<F, G> {
    /// Guards `future`.
    pub const fn new(future: F, guard: G) -> Self {
        let guard = Some(guard);
        Self {
            state: State::Passed { future, guard },
        }
    }

    /// Ends at once, with nothing sent.
    pub const fn refused(refused: Refused) -> Self {
        let refused = Some(refused);
        Self {
            state: State::Refused { refused },
        }
    }
}

impl<F, G, B, E> Future for GuardedFuture<F, G>
where
    F: Future<Output = Result<Response<B>, E>>,
    G: Guard,
    B: Body,
    E: Into<BoxError>,
{
    type Output = Result<Response<Guarded<B, G>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Both `Option`s are taken only where `Ready` is returned.
        const OVER: &str = "polled after completion";
        match self.project().state.project() {
            StateProj::Passed { future, guard } => {
                let result = ready!(future.poll(cx));
                let mut guard = guard.take().expect(OVER);
                Poll::Ready(match result {
                    Ok(response) => {
                        guard.commit(response.status());
                        Ok(response.map(|body| Guarded::new(body, guard)))
                    }
                    Err(error) => Err(guard.fail(error.into())),
                })
            }
            StateProj::Refused { refused } => Poll::Ready(Err(refused.take().expect(OVER).into())),
        }
    }
}

pin_project! {
    /// A response body that settles a [`Guard`] when it ends: at its last frame, at its end, at
    /// an error, or when it is dropped, whichever is first.
    #[derive(Debug)]
    pub struct Guarded<B, G: Guard> {
        #[pin]
        body: B,
        guard: Option<G>,
    }

    impl<B, G: Guard> PinnedDrop for Guarded<B, G> {
        fn drop(this: Pin<&mut Self>) {
            settle(this.project().guard, Settled::Canceled);
        }
    }
}

impl<B: Body, G: Guard> Guarded<B, G> {
    /// Guards `body`. A body that is at its end already settles the guard at once, because
    /// nobody may ever poll it.
    pub fn new(body: B, guard: G) -> Self {
        let mut guard = Some(guard);
        if body.is_end_stream() {
            settle(&mut guard, Settled::Clean);
        }
        Self { body, guard }
    }
}

fn settle<G: Guard>(guard: &mut Option<G>, settled: Settled) {
    if let Some(guard) = guard.take() {
        guard.settle(settled);
    }
}

impl<B, G> Body for Guarded<B, G>
where
    B: Body,
    B::Error: Into<BoxError>,
    G: Guard,
{
    type Data = B::Data;
    type Error = BoxError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<B::Data>, BoxError>>> {
        let mut this = self.project();
        Poll::Ready(match ready!(this.body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => {
                if let Some(guard) = this.guard {
                    guard.pass();
                }
                if this.body.is_end_stream() {
                    settle(this.guard, Settled::Clean);
                }
                Some(Ok(frame))
            }
            Some(Err(error)) => {
                let error = error.into();
                settle(this.guard, settled_by(&*error));
                Some(Err(error))
            }
            None => {
                settle(this.guard, Settled::Clean);
                None
            }
        })
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How an answer ended whose body gave this error. Without a classifier every error is a
/// transport failure; one of the client's own body is nobody's.
fn settled_by(error: &(dyn std::error::Error + 'static)) -> Settled {
    if let Some(interrupted) = Interrupted::find(error) {
        Settled::Broken(interrupted.kind())
    } else if find::<RequestBodyError>(error).is_some() {
        Settled::Canceled
    } else {
        Settled::Broken(Kind::Transport)
    }
}
