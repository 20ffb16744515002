//! What the tests of layers share: the readiness probe, scripted bodies, captured logs.

mod logs;

use std::collections::VecDeque;
use std::fmt;
use std::future::{Future, Ready, poll_fn, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::mpsc::UnboundedReceiver;
use tower::Service;

pub(crate) use self::logs::Logs;
use crate::body::RequestBody;
use crate::credential::Credential;
use crate::endpoint::Endpoint;
use crate::error::BoxError;
use crate::failure::{Failed, Kind, Verdict};

/// An upstream that holds a layer to the contract of [`Service`]: it is pending once before it
/// is ready, a clone of it is not ready, and it panics when it is called without being ready.
#[derive(Debug)]
pub(crate) struct ReadinessProbe<F> {
    readiness: Readiness,
    answer: F,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Readiness {
    Unknown,
    Asked,
    Ready,
}

impl<F> ReadinessProbe<F> {
    /// An upstream that gives the answers of `answer`.
    pub(crate) const fn new(answer: F) -> Self {
        Self {
            readiness: Readiness::Unknown,
            answer,
        }
    }
}

impl<F: Clone> Clone for ReadinessProbe<F> {
    fn clone(&self) -> Self {
        Self::new(self.answer.clone())
    }
}

impl<F, A, B, E> Service<Request<RequestBody>> for ReadinessProbe<F>
where
    F: FnMut(Request<RequestBody>) -> A,
    A: Future<Output = Result<Response<B>, E>>,
{
    type Response = Response<B>;
    type Error = E;
    type Future = A;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), E>> {
        if self.readiness == Readiness::Unknown {
            self.readiness = Readiness::Asked;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.readiness = Readiness::Ready;
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<RequestBody>) -> A {
        assert_eq!(self.readiness, Readiness::Ready, "called without readiness");
        self.readiness = Readiness::Unknown;
        (self.answer)(request)
    }
}

/// Waits until `service` is ready and calls it.
pub(crate) async fn send<S>(
    service: &mut S,
    request: Request<RequestBody>,
) -> Result<S::Response, S::Error>
where
    S: Service<Request<RequestBody>>,
{
    poll_fn(|cx| service.poll_ready(cx)).await?;
    service.call(request).await
}

/// Asserts that a layer around a [`ReadinessProbe`] calls the inner service that it readied,
/// also when it is cloned between readiness and call, and that its clones ask anew.
pub(crate) async fn assert_keeps_readiness<S>(mut service: S)
where
    S: Service<Request<RequestBody>, Error: fmt::Debug> + Clone,
{
    for _ in 0..2 {
        poll_fn(|cx| service.poll_ready(cx)).await.unwrap();
        let mut fresh = service.clone();
        assert!(service.call(request()).await.is_ok());
        assert!(send(&mut fresh, request()).await.is_ok());
    }
}

/// A request with an empty body.
pub(crate) fn request() -> Request<RequestBody> {
    Request::new(RequestBody::empty())
}

/// An endpoint of that name, with a credential of its own.
pub(crate) fn endpoint(name: &str) -> Endpoint {
    let base = format!("https://{name}.example").parse().unwrap();
    Endpoint::new(name, base).with_credential(Credential::new(name, format!("sk-test-{name}")))
}

/// An answer that is whole.
pub(crate) fn answer(text: &'static str) -> Answer {
    ready(Ok(Response::new(Script::new([Ok(text)]))))
}

/// An answer that breaks after `text`.
pub(crate) fn broken(text: &'static str, error: impl Into<BoxError>) -> Answer {
    ready(Ok(Response::new(Script::new([
        Ok(text),
        Err(error.into()),
    ]))))
}

/// A send that failed like this.
pub(crate) fn failed(verdict: Verdict, status: u16) -> Answer {
    let mut response = Response::new(Bytes::from_static(b"{}"));
    *response.status_mut() = StatusCode::from_u16(status).unwrap();
    ready(Err(Failed::new(verdict).with_response(response).into()))
}

/// A send that failed with this kind and without an answer.
pub(crate) fn failed_with(kind: Kind) -> Answer {
    ready(Err(Failed::new(Verdict::new(kind)).into()))
}

/// What a scripted upstream answers.
pub(crate) type Answer = Ready<Result<Response<Script>, BoxError>>;

/// Reads a body to its end or its error.
pub(crate) async fn drain<B>(body: B) -> Result<Bytes, B::Error>
where
    B: Body<Data = Bytes>,
{
    Ok(body.collect().await?.to_bytes())
}

/// A body of given pieces.
#[derive(Debug)]
pub(crate) struct Script(VecDeque<Result<Bytes, BoxError>>);

impl Script {
    pub(crate) fn new(pieces: impl IntoIterator<Item = Result<&'static str, BoxError>>) -> Self {
        Self(
            pieces
                .into_iter()
                .map(|piece| piece.map(|text| Bytes::from_static(text.as_bytes())))
                .collect(),
        )
    }
}

impl Body for Script {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Ready(self.0.pop_front().map(|piece| piece.map(Frame::data)))
    }
}

/// A body that the test feeds.
#[derive(Debug)]
pub(crate) struct Feed(pub(crate) UnboundedReceiver<Result<Bytes, BoxError>>);

impl Body for Feed {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let piece = self.0.poll_recv(cx);
        piece.map(|piece| piece.map(|piece| piece.map(Frame::data)))
    }
}
