//! Answers that are given again as they were given first.
//!
//! An upstream that a proxy is measured with must cost less than the proxy. So nothing of a
//! request is read but its length: the first answer to each path is kept, and every later request
//! of that path gets it. Behaviours and counts stay as the first request left them.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, PoisonError, RwLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::response::Parts;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use qcc_core::body::RequestBody;
use qcc_core::error::BoxError;
use qcc_core::simulate::Simulator;
use tower::ServiceExt as _;

/// Of so many paths the answers are kept; those of others are made each time.
const PATHS: usize = 64;

/// The first answer of each path.
#[derive(Debug, Default)]
pub(super) struct Replay(RwLock<HashMap<String, Arc<Kept>>>);

/// An answer in memory.
#[derive(Debug)]
struct Kept {
    head: Parts,
    frames: Arc<[Bytes]>,
}

impl Replay {
    /// The answer of `simulator`, which is asked only the first time.
    ///
    /// # Errors
    ///
    /// The request ended early, or the simulator had a fault in place of an answer. A fault is
    /// not kept.
    pub(super) async fn answer<B>(
        &self,
        simulator: Simulator,
        request: Request<B>,
    ) -> Result<Response<Frames>, BoxError>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static,
    {
        let path = request.uri().path();
        if let Some(kept) = self.kept(path) {
            let mut body = request.into_body();
            while let Some(frame) = body.frame().await {
                frame.map_err(Into::into)?;
            }
            return Ok(kept.response());
        }
        let path = path.to_owned();
        let response = simulator.oneshot(request.map(RequestBody::new)).await?;
        let (head, mut body) = response.into_parts();
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.extend(frame?.into_data());
        }
        let frames = frames.into();
        let kept = Arc::new(Kept { head, frames });
        self.keep(path, kept.clone());
        Ok(kept.response())
    }

    fn kept(&self, path: &str) -> Option<Arc<Kept>> {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all.get(path).cloned()
    }

    fn keep(&self, path: String, kept: Arc<Kept>) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() < PATHS {
            all.entry(path).or_insert(kept);
        }
    }
}

impl Kept {
    fn response(&self) -> Response<Frames> {
        let frames = Frames {
            frames: self.frames.clone(),
            next: 0,
            paused: false,
        };
        Response::from_parts(self.head.clone(), frames)
    }
}

/// A body whose frames are there. Each goes over the socket by itself, as those of a model that
/// is still thinking do: between two of them the body is not ready once.
#[derive(Debug)]
pub(super) struct Frames {
    frames: Arc<[Bytes]>,
    next: usize,
    paused: bool,
}

impl From<Bytes> for Frames {
    fn from(whole: Bytes) -> Self {
        Self {
            frames: [whole].into(),
            next: 0,
            paused: false,
        }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let Some(frame) = self.frames.get(self.next).cloned() else {
            return Poll::Ready(None);
        };
        if self.next > 0 && !self.paused {
            self.paused = true;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.paused = false;
        self.next += 1;
        Poll::Ready(Some(Ok(Frame::data(frame))))
    }

    fn is_end_stream(&self) -> bool {
        self.next >= self.frames.len()
    }

    fn size_hint(&self) -> SizeHint {
        match &*self.frames {
            [] => SizeHint::with_exact(0),
            [whole] if self.next == 0 => SizeHint::with_exact(whole.len() as u64),
            _ => SizeHint::default(),
        }
    }
}
