//! The future of the simulator.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use pin_project_lite::pin_project;
use tokio::time::Sleep;

use super::asked::Asked;
use super::body::{ConnectionFault, Pieces, SimulatedBody, SocketFault};
use super::ledger::Seat;
use super::plan::Plan;
use crate::body::{Collect, RequestBody};
use crate::error::BoxError;
use crate::failure::Kind;
use crate::guard::{Guard as _, Settled};
use crate::time;

/// Larger than what any vendor takes.
const LIMIT: usize = 64 << 20;

pin_project! {
    /// The future of [`Simulator`](super::Simulator).
    ///
    /// # Cancel safety
    ///
    /// Dropping it gives the request up, which is counted.
    pub struct SimulatorFuture {
        #[pin]
        state: State,
        seat: Option<Seat>,
    }
}

pin_project! {
    #[project = StateProjection]
    enum State {
        // The request comes in.
        Reading { head: Option<Parts>, body: Collect<RequestBody> },
        // The answer is late.
        Late { #[pin] sleep: Sleep, response: Option<Response<Pieces>> },
        // There will be no answer.
        Silent,
    }
}

impl SimulatorFuture {
    pub(super) fn new(request: Request<RequestBody>, seat: Seat) -> Self {
        let (head, body) = request.into_parts();
        Self {
            state: State::Reading {
                head: Some(head),
                body: RequestBody::collect(body, LIMIT),
            },
            seat: Some(seat),
        }
    }
}

impl Future for SimulatorFuture {
    type Output = Result<Response<SimulatedBody>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            let next = match this.state.as_mut().project() {
                StateProjection::Reading { head, body } => {
                    let body = ready!(Pin::new(body).poll(cx))?;
                    let (Some(head), Some(seat)) = (head.take(), this.seat.as_ref()) else {
                        // Polled again after it was ready, which nobody may do.
                        return Poll::Pending;
                    };
                    match plan(head, &body, seat) {
                        Plan::Fault(fault) => return Poll::Ready(Err(broken(this.seat, fault))),
                        Plan::Hang => State::Silent,
                        Plan::Answer { after, response } if after.is_zero() => {
                            return Poll::Ready(Ok(answer(this.seat, response)?));
                        }
                        Plan::Answer { after, response } => State::Late {
                            sleep: tokio::time::sleep(after),
                            response: Some(response),
                        },
                    }
                }
                StateProjection::Late { sleep, response } => {
                    ready!(sleep.poll(cx));
                    return match response.take() {
                        Some(response) => Poll::Ready(Ok(answer(this.seat, response)?)),
                        None => Poll::Pending,
                    };
                }
                StateProjection::Silent => return Poll::Pending,
            };
            this.state.set(next);
        }
    }
}

fn plan(head: Parts, body: &RequestBody, seat: &Seat) -> Plan {
    let body = body.as_bytes().cloned().unwrap_or_default();
    let asked = Asked::read(&head, &body);
    let member = &seat.member;
    let mut state = member.state();
    state.last = Some(last(head, body));
    let admitted = state.admit(asked.key.as_deref(), time::now());
    Plan::new(&member.name, &asked, &admitted, &mut state.kept)
}

fn last(mut head: Parts, body: Bytes) -> Request<Bytes> {
    head.extensions.clear();
    Request::from_parts(head, body)
}

fn broken(seat: &mut Option<Seat>, fault: SocketFault) -> BoxError {
    if let Some(seat) = seat.take() {
        seat.settle(Settled::Broken(Kind::Transport));
    }
    ConnectionFault::new(fault).into()
}

fn answer(
    seat: &mut Option<Seat>,
    response: Response<Pieces>,
) -> Result<Response<SimulatedBody>, BoxError> {
    // The seat is there until the future is ready.
    let seat = seat.take().ok_or("polled after it was ready")?;
    Ok(response.map(|pieces| SimulatedBody::new(pieces, seat)))
}

impl fmt::Debug for SimulatorFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SimulatorFuture").finish_non_exhaustive()
    }
}
