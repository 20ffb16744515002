//! The bodies of simulated answers, and the faults of a connection.

use std::collections::VecDeque;
use std::error::Error as StdError;
use std::fmt;
use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::ledger::Seat;
use crate::error::BoxError;
use crate::failure::find;
use crate::guard::Guarded;
use crate::time::Duration;

/// What a server has to do to a connection to give a client this fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum SocketFault {
    /// Never accept it; where that is too late, reset it before a byte was read.
    Refuse,
    /// Reset it.
    Reset,
    /// Close it before the announced length of the body was sent.
    Truncate,
    /// Answer with bytes that are no HTTP, and close it.
    NotHttp,
}

/// The error of a simulated connection: that of the service before the head of an answer, that
/// of the body after it. Its source is the [`io::Error`] that a real connection would give.
#[derive(Debug)]
pub struct ConnectionFault {
    action: SocketFault,
    source: io::Error,
}

impl ConnectionFault {
    pub(super) fn new(action: SocketFault) -> Self {
        let kind = match action {
            SocketFault::Refuse => io::ErrorKind::ConnectionRefused,
            SocketFault::Reset => io::ErrorKind::ConnectionReset,
            SocketFault::Truncate => io::ErrorKind::UnexpectedEof,
            SocketFault::NotHttp => io::ErrorKind::InvalidData,
        };
        Self {
            action,
            source: kind.into(),
        }
    }

    /// What a server does in its place.
    #[must_use]
    pub const fn action(&self) -> SocketFault {
        self.action
    }

    /// The fault in the chain of `error`.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

impl fmt::Display for ConnectionFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.action {
            SocketFault::Refuse => "the simulated endpoint refused the connection",
            SocketFault::Reset => "the simulated endpoint reset the connection",
            SocketFault::Truncate => "the simulated endpoint ended the answer before its length",
            SocketFault::NotHttp => "the simulated endpoint does not speak HTTP",
        })
    }
}

impl StdError for ConnectionFault {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        Some(&self.source)
    }
}

/// Marks an answer, in its extensions, after which a server closes the connection without
/// having announced it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CloseIdle;

/// The body of a simulated answer.
#[derive(Debug)]
pub struct SimulatedBody(Guarded<Pieces, Seat>);

impl SimulatedBody {
    pub(super) fn new(pieces: Pieces, seat: Seat) -> Self {
        Self(Guarded::new(pieces, seat))
    }
}

impl Body for SimulatedBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Pin::new(&mut self.0).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.size_hint()
    }
}

/// One step of a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    Data(Bytes),
    Wait(Duration),
    Fault(SocketFault),
    Stall,
}

/// The steps of a body.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    queue: VecDeque<Piece>,
    sleep: Option<Pin<Box<Sleep>>>,
    /// The bytes that are still to come by the announced length, if one was announced.
    announced: Option<u64>,
}

impl Pieces {
    pub(super) fn push(&mut self, piece: Piece) {
        if !matches!(&piece, Piece::Data(data) if data.is_empty()) {
            self.queue.push_back(piece);
        }
    }

    pub(super) fn announce(&mut self, length: usize) {
        self.announced = Some(length as u64);
    }
}

impl Body for Pieces {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            match self.queue.pop_front() {
                Some(Piece::Data(data)) => {
                    if let Some(announced) = &mut self.announced {
                        *announced = announced.saturating_sub(data.len() as u64);
                    }
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Piece::Wait(time)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(time)));
                }
                Some(Piece::Fault(fault)) => {
                    self.queue.clear();
                    return Poll::Ready(Some(Err(ConnectionFault::new(fault).into())));
                }
                Some(Piece::Stall) => {
                    // Nothing will ever wake the task: that is what a stall is.
                    self.queue.push_front(Piece::Stall);
                    return Poll::Pending;
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.queue.is_empty() && self.sleep.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        self.announced
            .map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
