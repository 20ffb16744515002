//! The one request body below Retry.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use sync_wrapper::SyncWrapper;

use crate::error::BoxError;

/// The body of a request on its way to an upstream: bytes in memory, which can be cloned and so
/// be sent again, or a stream that is larger than the limit, which cannot.
///
/// Trailers of a body that was collected are dropped.
pub struct RequestBody(Repr);

enum Repr {
    Full(Bytes),
    Stream(SyncWrapper<UnsyncBoxBody<Bytes, BoxError>>),
}

impl RequestBody {
    /// A body of no bytes.
    #[must_use]
    pub const fn empty() -> Self {
        Self(Repr::Full(Bytes::new()))
    }

    /// Any body. One that is a `RequestBody` already is taken as it is.
    pub fn new<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        match downcast(body) {
            Ok(body) => body,
            Err(body) => Self::stream(body),
        }
    }

    fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = body.map_err(|error| Box::new(RequestBodyError(error.into())) as BoxError);
        Self(Repr::Stream(SyncWrapper::new(body.boxed_unsync())))
    }

    /// The bytes, if they are in memory.
    #[must_use]
    pub const fn as_bytes(&self) -> Option<&Bytes> {
        match &self.0 {
            Repr::Full(bytes) => Some(bytes),
            Repr::Stream(_) => None,
        }
    }

    /// A second body of the same bytes, if they are in memory. Copies nothing.
    #[must_use]
    pub fn try_clone(&self) -> Option<Self> {
        self.as_bytes().cloned().map(Self::from)
    }

    /// Reads `body` into memory, if it has at most `limit` bytes; else what was read so far is
    /// put back in front of the rest.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops the body.
    pub fn collect<B>(body: B, limit: usize) -> Collect<B>
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Into<BoxError>,
    {
        match downcast(body) {
            Ok(body @ Self(Repr::Full(_))) => Collect::done(body),
            Ok(Self(Repr::Stream(stream))) => Collect {
                state: CollectState::Boxed(Read::new(stream.into_inner(), limit)),
            },
            Err(body) if body.size_hint().lower() > limit as u64 => {
                Collect::done(Self::stream(body))
            }
            Err(body) => Collect {
                state: CollectState::Plain(Read::new(body, limit)),
            },
        }
    }
}

/// `body` as a [`RequestBody`], if that is what it is.
fn downcast<B: 'static>(body: B) -> Result<RequestBody, B> {
    let mut slot = Some(body);
    match (&mut slot as &mut dyn Any).downcast_mut::<Option<RequestBody>>() {
        Some(same) => Ok(same.take().unwrap_or_default()),
        // `slot` is of another type, so nothing was taken from it.
        None => slot.map_or_else(|| Ok(RequestBody::default()), Err),
    }
}

impl Default for RequestBody {
    fn default() -> Self {
        Self::empty()
    }
}

impl<T: Into<Bytes>> From<T> for RequestBody {
    fn from(bytes: T) -> Self {
        Self(Repr::Full(bytes.into()))
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match &mut self.0 {
            Repr::Full(bytes) if bytes.is_empty() => Poll::Ready(None),
            Repr::Full(bytes) => Poll::Ready(Some(Ok(Frame::data(mem::take(bytes))))),
            Repr::Stream(stream) => Pin::new(stream.get_mut()).poll_frame(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(&self.0, Repr::Full(bytes) if bytes.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            Repr::Full(bytes) => SizeHint::with_exact(bytes.len() as u64),
            // A stream behind a `SyncWrapper` cannot be asked through `&self`.
            Repr::Stream(_) => SizeHint::default(),
        }
    }
}

impl fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Full(bytes) => write!(f, "RequestBody({} bytes)", bytes.len()),
            Repr::Stream(_) => f.write_str("RequestBody(stream)"),
        }
    }
}

/// The client's own body could not be read to its end. Nobody else is to blame.
#[derive(Debug, thiserror::Error)]
#[error("the body of the request could not be read")]
pub struct RequestBodyError(#[source] BoxError);

/// The future of [`RequestBody::collect`].
#[derive(Debug)]
pub struct Collect<B> {
    state: CollectState<B>,
}

enum CollectState<B> {
    Plain(Read<B>),
    Boxed(Read<UnsyncBoxBody<Bytes, BoxError>>),
    Done(Option<RequestBody>),
}

impl<B> Collect<B> {
    fn done(body: RequestBody) -> Self {
        Self {
            state: CollectState::Done(Some(body)),
        }
    }
}

impl<B> Future for Collect<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Output = Result<RequestBody, RequestBodyError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match &mut self.state {
            CollectState::Plain(read) => read.poll(cx),
            CollectState::Boxed(read) => read.poll(cx),
            CollectState::Done(body) => Poll::Ready(Ok(body.take().unwrap_or_default())),
        }
    }
}

impl<B> fmt::Debug for CollectState<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Plain(_) | Self::Boxed(_) => "Reading",
            Self::Done(_) => "Done",
        })
    }
}

/// A body that is being read into memory.
struct Read<B> {
    body: Option<B>,
    limit: usize,
    // A body that came in one frame is not copied.
    first: Bytes,
    rest: BytesMut,
}

impl<B> Read<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    fn new(body: B, limit: usize) -> Self {
        Self {
            body: Some(body),
            limit,
            first: Bytes::new(),
            rest: BytesMut::new(),
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<RequestBody, RequestBodyError>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(Ok(RequestBody::empty()));
        };
        loop {
            let Some(frame) = ready!(Pin::new(&mut *body).poll_frame(cx)) else {
                return Poll::Ready(Ok(self.take().into()));
            };
            let frame = match frame {
                Ok(frame) => frame,
                Err(error) => return Poll::Ready(Err(RequestBodyError(error.into()))),
            };
            let Ok(data) = frame.into_data() else {
                continue;
            };
            if self.first.is_empty() {
                self.first = data;
            } else {
                if self.rest.is_empty() {
                    let expected = body.size_hint().lower().min(self.limit as u64) as usize;
                    self.rest.reserve(self.first.len() + data.len() + expected);
                    self.rest.extend_from_slice(&self.first);
                }
                self.rest.extend_from_slice(&data);
            }
            if self.first.len().max(self.rest.len()) > self.limit {
                let front = Some(self.take());
                let body = self.body.take();
                return Poll::Ready(Ok(RequestBody::stream(Stitched { front, body })));
            }
        }
    }

    fn take(&mut self) -> Bytes {
        if self.rest.is_empty() {
            mem::take(&mut self.first)
        } else {
            mem::take(&mut self.rest).freeze()
        }
    }
}

/// What was read of a body, then the rest of it.
struct Stitched<B> {
    front: Option<Bytes>,
    body: Option<B>,
}

impl<B: Body<Data = Bytes> + Unpin> Body for Stitched<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        if let Some(front) = self.front.take() {
            return Poll::Ready(Some(Ok(Frame::data(front))));
        }
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }
}
