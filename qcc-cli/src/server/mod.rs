//! The listener and its connections: HTTP/1 and HTTP/2 on one port, ended gracefully.
//!
//! A connection may hurt nobody else: its head has to come in time and may not be endless, the
//! body of a request has to keep coming and an answer has to be read, one that idles is closed,
//! and there is a limit on how many there are.

mod access;
mod ambiguous;
mod arriving;
mod connection;
mod proxy;
mod route;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use http::Request;
use http_body::Body;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use qcc_core::error::BoxError;
use qcc_core::time::Duration;
use qcc_core::upstream::Turns;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::output::{Exit, Failure};
use crate::shutdown::{Phase, Phases};

pub(crate) use proxy::{Proxy, Target};

/// A head may have so many bytes.
const HEAD_BYTES: usize = 64 << 10;

/// At most so many requests at a time on one HTTP/2 connection.
const STREAMS: u32 = 250;

/// After a failure to accept, which is usually a lack of file descriptors, wait so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Where connections come from.
pub(crate) trait Accept: Send {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Unpin + Send + 'static;

    /// The next one.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;
}

impl Accept for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = Self::accept(self).await?;
        // Events are small, and each has to leave at once.
        stream.set_nodelay(true)?;
        Ok(stream)
    }
}

/// Takes `address`. `flag` names what chooses another port, for the hint.
///
/// # Errors
///
/// The address is in use, not allowed or not there.
pub(crate) async fn bind(address: SocketAddr, remedy: &str) -> Result<TcpListener, Failure> {
    TcpListener::bind(address).await.map_err(|error| {
        let port = address.port();
        let text = match error.kind() {
            io::ErrorKind::AddrInUse => format!(
                "{address} cannot be listened on: port {port} is in use\n  \
                 see who has it with lsof -i:{port}, or {remedy}"
            ),
            io::ErrorKind::PermissionDenied => format!(
                "{address} cannot be listened on: permission denied\n  \
                 ports below 1024 are the system's; {remedy}"
            ),
            io::ErrorKind::AddrNotAvailable => format!(
                "{address} cannot be listened on: this machine does not have the address\n  \
                 listen on 127.0.0.1, or on an address of this machine"
            ),
            _ => format!("{address} cannot be listened on: {error}\n  {remedy}"),
        };
        Failure::new(Exit::Listen, text)
    })
}

/// Serves at most `limit` connections at a time, until `phases` says to stop, then lets open
/// answers end for at most `grace`. Nothing is left when it returns.
///
/// Nobody is refused beyond the limit: a connection waits in the queue of the operating system
/// until another one ends.
pub(crate) async fn run<A, S, B>(
    mut accept: A,
    limit: usize,
    service: S,
    mut phases: Phases,
    grace: Duration,
) where
    A: Accept,
    S: Service<Request<Incoming>, Response = http::Response<B>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + 'static,
    B: Body + Send + 'static,
    B::Data: Send,
    B::Error: Into<BoxError>,
{
    let builder = builder();
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS)));
    let turns = Turns::default();
    let mut full = false;
    let mut connections = JoinSet::new();
    loop {
        if !std::mem::replace(&mut full, places.available_permits() == 0) && full {
            tracing::warn!(
                limit,
                "no more connections; further clients wait for one to end"
            );
        }
        let next = async {
            let permit = places.clone().acquire_owned().await;
            (accept.accept().await, permit)
        };
        let (accepted, permit) = tokio::select! {
            biased;
            () = phases.reached(Phase::Draining) => break,
            Some(_) = connections.join_next() => continue,
            next = next => next,
        };
        let io = match accepted {
            Ok(io) => io,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let watcher = graceful.watcher();
        let (io, service) = connection::watch(io, service.clone());
        let io = turns.watch(TokioIo::new(io));
        let builder = builder.clone();
        connections.spawn(async move {
            let connection = builder.serve_connection(io, service);
            if let Err(error) = watcher.watch(connection.into_owned()).await {
                tracing::debug!(error, "a connection ended early");
            }
            drop(permit);
        });
    }
    // Whoever connects from now on is refused, so that a successor can listen.
    drop(accept);
    tokio::select! {
        () = graceful.shutdown() => {}
        () = tokio::time::sleep(grace) => {
            tracing::warn!(connections = connections.len(), "answers were cut off: they did not end in time");
        }
        () = phases.reached(Phase::Aborting) => {}
    }
    connections.shutdown().await;
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        // The connection itself knows when a head is late and when it merely idles.
        .header_read_timeout(None)
        .max_buf_size(HEAD_BYTES);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(STREAMS)
        .max_header_list_size(HEAD_BYTES as u32)
        .adaptive_window(true);
    builder
}

#[cfg(test)]
mod tests;
