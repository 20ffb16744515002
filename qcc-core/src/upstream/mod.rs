//! The last step: from a request of ours to a request of the endpoint's.
//!
//! An upstream is any [`Service`] that takes a request with a [`RequestBody`]: this crate has no
//! HTTP client of its own. [`Origin`] stands directly above it and is the only layer that
//! rewrites the head of a request: it sets the address, takes out what belongs to the connection
//! or to the client, and puts in the endpoint's credential. [`Decode`] above it decodes what
//! comes back encoded. `Hyper` (feature `hyper`) is the client of hyper-util, set up for it;
//! `Reqwest` (feature `reqwest`) adapts a `reqwest::Client`.
//!
//! Bodies pass through unchanged in both directions, but for their encoding.

mod coding;
mod decode;
mod head;
#[cfg(feature = "hyper")]
mod hyper;
mod origin;
#[cfg(feature = "reqwest")]
mod reqwest;
mod settings;
mod target;
#[cfg(feature = "hyper")]
mod turn;
mod warm;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::body::RequestBody;
use crate::error::BoxError;

#[cfg(feature = "hyper")]
pub use self::hyper::{Hyper, HyperFuture};
#[cfg(feature = "reqwest")]
pub use self::reqwest::{Reqwest, ReqwestBody, ReqwestFuture};
pub use decode::{Decode, DecodeFuture, DecodeLayer, DecodedBody, Undecodable};
pub use origin::{MissingCredential, Origin, OriginFuture, OriginLayer, UnfitCredential};
pub use settings::Settings;
pub use target::InvalidTarget;
#[cfg(feature = "hyper")]
pub use turn::{InTurn, Turns};
pub use warm::warm_up;

/// What sends requests: the bounds of the innermost service, in one place.
///
/// Implemented by everything that meets them and by nothing else.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be used as an upstream",
    label = "is not an upstream",
    note = "an upstream is a `tower::Service<http::Request<RequestBody>, Response = http::Response<B>>` that is `Clone + Send + Sync + 'static`",
    note = "its future is `Send`, its error `Into<BoxError>`, and its body `B: Body<Data = Bytes> + Send + Unpin + 'static` with an error that is `Into<BoxError>`",
    note = "for a `reqwest::Client` there is `upstream::Reqwest::new(client)`"
)]
pub trait Upstream:
    Service<
        Request<RequestBody>,
        Response = Response<<Self as Upstream>::Body>,
        Error: Into<BoxError>,
        Future: Send,
    > + sealed::Sealed
    + Clone
    + Send
    + Sync
    + 'static
{
    /// The body of its answers.
    type Body: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static;
}

impl<S, B> Upstream for S
where
    S: Service<Request<RequestBody>, Response = Response<B>> + Clone + Send + Sync + 'static,
    S::Error: Into<BoxError>,
    S::Future: Send,
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: Into<BoxError>,
{
    type Body = B;
}

mod sealed {
    use http::{Request, Response};
    use tower::Service;

    use crate::body::RequestBody;

    pub trait Sealed {}

    impl<S, B> Sealed for S where S: Service<Request<RequestBody>, Response = Response<B>> {}
}

#[cfg(all(test, any(feature = "reqwest", feature = "hyper")))]
mod tests;
