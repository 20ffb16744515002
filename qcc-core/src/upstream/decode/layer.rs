use tower::Layer;

use super::Decode;

/// Puts [`Decode`] around the way to one upstream.
#[derive(Clone, Copy, Debug, Default)]
pub struct DecodeLayer;

impl<S> Layer<S> for DecodeLayer {
    type Service = Decode<S>;

    fn layer(&self, inner: S) -> Decode<S> {
        Decode::new(inner)
    }
}
