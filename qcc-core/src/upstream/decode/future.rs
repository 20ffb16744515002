use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH};
use http::response::Parts;
use http_body::Body;
use pin_project_lite::pin_project;

use super::body::DecodedBody;
use super::plan::{Asked, Plan};
use crate::error::BoxError;

pin_project! {
    /// The future of [`Decode`](super::Decode): ready with the head of the answer, once it is
    /// known how its body comes.
    pub struct DecodeFuture<F, B> {
        #[pin]
        state: State<F, B>,
        asked: Asked,
    }
}

pin_project! {
    #[project = StateProj]
    enum State<F, B> {
        // The head of the answer is awaited.
        Sending { #[pin] future: F },
        // The first bytes of an answer whose length is known are awaited.
        Looking { answer: Option<(Parts, DecodedBody<B>)> },
    }
}

impl<F, B> DecodeFuture<F, B> {
    pub(super) const fn new(future: F, asked: Asked) -> Self {
        Self {
            state: State::Sending { future },
            asked,
        }
    }
}

impl<F, B, E> Future for DecodeFuture<F, B>
where
    F: Future<Output = Result<Response<B>, E>>,
    E: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Output = Result<Response<DecodedBody<B>>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            match this.state.as_mut().project() {
                StateProj::Sending { future } => {
                    let response = ready!(future.poll(cx)).map_err(Into::into)?;
                    let (mut head, body) = response.into_parts();
                    let limit = this.asked.limit(&head);
                    let body = match this.asked.plan(&head) {
                        Plan::Leave => DecodedBody::plain(body),
                        // Its length is another one if it is gzip.
                        Plan::Look if head.headers.contains_key(CONTENT_LENGTH) => {
                            let answer = Some((head, DecodedBody::looking(body, limit)));
                            this.state.set(State::Looking { answer });
                            continue;
                        }
                        Plan::Look => DecodedBody::looking(body, limit),
                        Plan::Decode(codings) => {
                            head.headers.remove(CONTENT_ENCODING);
                            head.headers.remove(CONTENT_LENGTH);
                            DecodedBody::decoding(body, &codings, limit)
                        }
                    };
                    return Poll::Ready(Ok(Response::from_parts(head, body)));
                }
                StateProj::Looking { answer } => {
                    // It is there until the future is ready.
                    let Some((_, body)) = answer else {
                        return Poll::Pending;
                    };
                    ready!(body.poll_look(cx));
                    let Some((mut head, body)) = answer.take() else {
                        return Poll::Pending;
                    };
                    if body.is_decoding() {
                        head.headers.remove(CONTENT_LENGTH);
                    }
                    return Poll::Ready(Ok(Response::from_parts(head, body)));
                }
            }
        }
    }
}

impl<F, B> fmt::Debug for DecodeFuture<F, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DecodeFuture").finish_non_exhaustive()
    }
}
