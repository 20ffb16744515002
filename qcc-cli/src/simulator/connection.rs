//! One connection, and what becomes of it.

use std::future::Future as _;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Method, Request, Response};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Either;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use qcc_core::body::RequestBody;
use qcc_core::error::BoxError;
use qcc_core::simulate::{CloseIdle, ConnectionFault, SimulatedBody, Simulator, SocketFault};
use qcc_core::time::Duration;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Sleep;
use tower::ServiceExt as _;

use super::control;
use super::replay::{Frames, Replay};
use crate::shutdown::{Phase, Phases};

/// What an endpoint that does not speak HTTP sends: the greeting of a mail server.
const NOT_HTTP: &[u8] = b"220 mail.example ESMTP ready\r\n";

/// So long the events before a fault have to leave and to be read: a reset may take back what
/// its receiver has not read yet.
const PAUSE: Duration = Duration::from_millis(10);

/// What all connections share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) simulator: Simulator,
    /// Answers are given again, if there is one.
    pub(super) replay: Option<Arc<Replay>>,
}

/// Serves a connection until its end. The control path is served if `control`.
pub(super) async fn serve(stream: TcpStream, shared: Shared, control: bool, mut phases: Phases) {
    // Events are small, and each has to leave at once.
    if stream.set_nodelay(true).is_err() {
        return;
    }
    let closing = Arc::new(Notify::new());
    let service = service_fn({
        let closing = closing.clone();
        move |request| answer(shared.clone(), request, control, closing.clone())
    });
    let mut connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service);
    let ended = {
        let mut draining = pin!(phases.reached(Phase::Draining));
        let mut is_draining = false;
        loop {
            tokio::select! {
                ended = &mut connection => break ended,
                () = closing.notified() => Pin::new(&mut connection).graceful_shutdown(),
                () = &mut draining, if !is_draining => {
                    is_draining = true;
                    Pin::new(&mut connection).graceful_shutdown();
                }
            }
        }
    };
    let Err(error) = ended else { return };
    let mut stream = connection.into_parts().io.into_inner();
    let done = match ConnectionFault::find(&error).map(ConnectionFault::action) {
        Some(SocketFault::Refuse | SocketFault::Reset) => stream.set_zero_linger(),
        Some(SocketFault::NotHttp) => stream.write_all(NOT_HTTP).await,
        // Closing the connection is the fault.
        _ => Ok(()),
    };
    if let Err(error) = done {
        tracing::debug!(%error, "the client was gone before its fault");
    }
}

async fn answer(
    Shared { simulator, replay }: Shared,
    request: Request<Incoming>,
    control: bool,
    closing: Arc<Notify>,
) -> Result<Response<Either<SocketBody, Frames>>, BoxError> {
    if control && control::is_meant(request.uri().path()) {
        let response = control::answer(&simulator, request).await?;
        return Ok(response.map(|body| Either::Right(body.into())));
    }
    // Whoever only wants a connection gets one; no behaviour is used up.
    if request.method() == Method::HEAD {
        return Ok(Response::new(Either::Right(Bytes::new().into())));
    }
    if let Some(replay) = replay {
        let response = replay.answer(simulator, request).await?;
        return Ok(response.map(Either::Right));
    }
    let mut response = simulator.oneshot(request.map(RequestBody::new)).await?;
    let closing = response
        .extensions_mut()
        .remove::<CloseIdle>()
        .map(|_| CloseAtEnd(closing));
    Ok(response.map(|body| Either::Left(SocketBody::new(body, closing))))
}

/// The body of a simulated answer, whose faults come after what stands before them.
struct SocketBody {
    body: SimulatedBody,
    fault: Option<(Pin<Box<Sleep>>, BoxError)>,
    _closing: Option<CloseAtEnd>,
}

impl SocketBody {
    fn new(body: SimulatedBody, closing: Option<CloseAtEnd>) -> Self {
        Self {
            body,
            fault: None,
            _closing: closing,
        }
    }
}

impl Body for SocketBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let this = &mut *self;
        loop {
            if let Some((pause, _)) = &mut this.fault {
                ready!(pause.as_mut().poll(cx));
                return Poll::Ready(this.fault.take().map(|(_, error)| Err(error)));
            }
            match ready!(Pin::new(&mut this.body).poll_frame(cx)) {
                Some(Err(error)) => {
                    this.fault = Some((Box::pin(tokio::time::sleep(PAUSE)), error));
                }
                frame => return Poll::Ready(frame),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.fault.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Closes the connection when the body that holds it has ended: the head, which would have
/// announced it, has been sent by then.
struct CloseAtEnd(Arc<Notify>);

impl Drop for CloseAtEnd {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}
