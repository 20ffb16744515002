use std::fmt;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::state::Decoder;
use crate::error::BoxError;
use crate::upstream::coding::Coding;

/// The body of an answer, decoded. One that is not encoded passes frame by frame as it came.
///
/// It ends with [`Undecodable`](super::Undecodable) if what came cannot be decoded.
pub struct DecodedBody<B> {
    body: B,
    state: State,
}

enum State {
    // Nothing came yet, and what comes may be gzip that does not say so. It may decode to so
    // many bytes.
    Looking { limit: u64 },
    // It is not: these bytes came first.
    Looked(Bytes),
    // No bytes came: trailers, or an error.
    Odd(Option<Box<Result<Frame<Bytes>, BoxError>>>),
    Plain,
    Decoding(Box<Decoder>),
    Ended,
}

impl<B> DecodedBody<B> {
    pub(super) const fn plain(body: B) -> Self {
        Self {
            body,
            state: State::Plain,
        }
    }

    pub(super) const fn looking(body: B, limit: u64) -> Self {
        Self {
            body,
            state: State::Looking { limit },
        }
    }

    pub(super) fn decoding(body: B, codings: &[Coding], limit: u64) -> Self {
        Self {
            body,
            state: State::Decoding(Box::new(Decoder::new(codings, limit))),
        }
    }

    pub(super) const fn is_decoding(&self) -> bool {
        matches!(self.state, State::Decoding(_))
    }
}

impl<B> DecodedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// Ready when it is known whether the body is gzip.
    pub(super) fn poll_look(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while let State::Looking { limit } = self.state {
            self.state = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) if data.is_empty() => continue,
                    Ok(data) if is_gzip(&data) => {
                        let mut decoder = Decoder::new(&[Coding::Gzip], limit);
                        decoder.push(data);
                        State::Decoding(Box::new(decoder))
                    }
                    Ok(data) => State::Looked(data),
                    Err(trailers) => State::Odd(Some(Box::new(Ok(trailers)))),
                },
                Some(Err(error)) => State::Odd(Some(Box::new(Err(error.into())))),
                None => State::Ended,
            };
        }
        Poll::Ready(())
    }
}

/// Whether a body begins like gzip. No text begins with the first byte, so where it came alone
/// it says enough.
fn is_gzip(start: &[u8]) -> bool {
    matches!(start, [0x1F] | [0x1F, 0x8B, ..])
}

impl<B> Body for DecodedBody<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        ready!(this.poll_look(cx));
        let body = Pin::new(&mut this.body);
        let last = match &mut this.state {
            State::Looking { .. } | State::Ended => None,
            State::Plain => return body.poll_frame(cx).map_err(Into::into),
            State::Looked(first) => {
                let first = Frame::data(mem::take(first));
                this.state = State::Plain;
                return Poll::Ready(Some(Ok(first)));
            }
            State::Odd(odd) => {
                let odd = odd.take();
                this.state = State::Plain;
                return Poll::Ready(odd.map(|odd| *odd));
            }
            State::Decoding(decoder) => match ready!(poll_decoded(decoder, body, cx)) {
                Some(Ok(frame)) => return Poll::Ready(Some(Ok(frame))),
                last => last,
            },
        };
        this.state = State::Ended;
        Poll::Ready(last)
    }

    fn is_end_stream(&self) -> bool {
        match &self.state {
            State::Looking { .. } | State::Plain => self.body.is_end_stream(),
            State::Looked(_) | State::Odd(_) => false,
            State::Decoding(decoder) => self.body.is_end_stream() && decoder.finish().is_ok(),
            State::Ended => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.state {
            State::Plain => self.body.size_hint(),
            State::Looked(first) => {
                let first = first.len() as u64;
                let rest = self.body.size_hint();
                let mut hint = SizeHint::new();
                hint.set_lower(first.saturating_add(rest.lower()));
                if let Some(upper) = rest.upper().and_then(|upper| upper.checked_add(first)) {
                    hint.set_upper(upper);
                }
                hint
            }
            State::Looking { .. } | State::Odd(_) | State::Decoding(_) => SizeHint::default(),
            State::Ended => SizeHint::with_exact(0),
        }
    }
}

fn poll_decoded<B>(
    decoder: &mut Decoder,
    mut body: Pin<&mut B>,
    cx: &mut Context<'_>,
) -> Poll<Option<Result<Frame<Bytes>, BoxError>>>
where
    B: Body<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    loop {
        match decoder.pull() {
            Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
            Ok(None) => {}
            Err(error) => return Poll::Ready(Some(Err(error.into()))),
        }
        match ready!(body.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => decoder.push(data),
                Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
            },
            Some(Err(error)) => return Poll::Ready(Some(Err(error.into()))),
            None => return Poll::Ready(decoder.finish().err().map(|error| Err(error.into()))),
        }
    }
}

impl<B> fmt::Debug for DecodedBody<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state: &dyn fmt::Debug = match &self.state {
            State::Looking { .. } => &"looking",
            State::Looked(_) | State::Odd(_) | State::Plain => &"plain",
            State::Decoding(decoder) => decoder,
            State::Ended => &"ended",
        };
        f.debug_tuple("DecodedBody").field(state).finish()
    }
}
