//! Answers that come encoded: see [`Decode`].

mod body;
mod error;
mod future;
mod layer;
mod plan;
mod state;
#[cfg(test)]
mod tests;

use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

pub use self::body::DecodedBody;
pub use self::error::Undecodable;
pub use self::future::DecodeFuture;
pub use self::layer::DecodeLayer;
use self::plan::Asked;
use crate::body::RequestBody;
use crate::error::BoxError;
use crate::visit::Visit;

/// Decodes the answers of one upstream that come encoded, whether they say so or not. Made by
/// [`DecodeLayer`].
///
/// [`Origin`](crate::upstream::Origin) asks for answers that need no decoding, because they are read on
/// their way. Some upstreams encode all the same, and some do not even say it: a gateway in
/// between compresses, or passes a compressed body on and drops its header. Without this layer
/// such an answer is no answer, and a client that got it would say `invalid character '\x1f'`.
///
/// What `content-encoding` announces is decoded: gzip, deflate (zlib or raw), br, zstd, up to
/// three in a row. Text and JSON without the header, streams among them, and bodies of no type
/// are looked at: one that begins like gzip is decoded as such. The head then loses
/// `content-encoding` and `content-length`. Everything a piece of input decodes to is passed on
/// before more is awaited, so an event that the upstream flushed goes out at once.
///
/// Left as they are: bodies that are not encoded, at no cost; answers to `HEAD`, 204, 304 and
/// ranges; codings that nobody here knows; and successful answers of routes that are not looked
/// into, in a coding that the client itself asked for.
///
/// # Bounds
///
/// Memory: one piece of at most 16 KiB is decoded at a time, and no more than the reader asks
/// for; windows are those of the standards (32 KiB, 16 MiB of br, 8 MiB of zstd). Size: however
/// little came, 8 MiB may come of it, and above that 200 bytes of each; a document of a
/// generation route or an error at most 64 MiB. Streams of any length stay far below the ratio.
///
/// # Cancel safety
///
/// Dropping the future or the body drops the upstream's.
#[derive(Clone, Copy, Debug)]
pub struct Decode<S> {
    inner: S,
}

impl<S> Decode<S> {
    /// Decodes the answers of `inner`.
    pub const fn new(inner: S) -> Self {
        Self { inner }
    }

    /// The service underneath.
    pub const fn get_ref(&self) -> &S {
        &self.inner
    }

    /// The service underneath.
    pub const fn get_mut(&mut self) -> &mut S {
        &mut self.inner
    }

    /// Gives the service underneath back.
    pub fn into_inner(self) -> S {
        self.inner
    }
}

impl<S, B> Service<Request<RequestBody>> for Decode<S>
where
    S: Service<Request<RequestBody>, Response = Response<B>>,
    S::Error: Into<BoxError>,
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    type Response = Response<DecodedBody<B>>;
    type Error = BoxError;
    type Future = DecodeFuture<S::Future, B>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, mut request: Request<RequestBody>) -> Self::Future {
        let facts = Visit::of(request.extensions_mut()).exchange.facts();
        let is_generation = facts.is_generation();
        let asked = Asked::by(&request, is_generation);
        DecodeFuture::new(self.inner.call(request), asked)
    }
}
