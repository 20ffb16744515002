//! The body of a request, which has to keep coming.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use qcc_core::error::BoxError;
use qcc_core::time::Duration;
use tokio::time::{Sleep, sleep};

/// So long a client may be silent in the middle of its request.
pub(super) const SILENCE: Duration = Duration::from_secs(60);

/// The client fell silent in the middle of its request.
#[derive(Debug, thiserror::Error)]
#[error("the client sent nothing of its request for {} s", SILENCE.as_secs())]
pub(super) struct Stalled(());

/// A body that ends with [`Stalled`] if nothing of it comes for [`SILENCE`] while somebody waits
/// for it. One that is there at once costs no timer.
pub(super) struct Arriving<B> {
    body: B,
    timer: Option<Pin<Box<Sleep>>>,
}

impl<B> Arriving<B> {
    pub(super) const fn new(body: B) -> Self {
        Self { body, timer: None }
    }
}

impl<B> Body for Arriving<B>
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Unpin,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.body).poll_frame(cx) {
            this.timer = None;
            return Poll::Ready(frame.map(|frame| frame.map_err(Into::into)));
        }
        let timer = this.timer.get_or_insert_with(|| Box::pin(sleep(SILENCE)));
        ready!(timer.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stalled(()).into())))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
