//! The simulator behind a socket: faults that clients and proxies meet for real.
//!
//! The endpoint `a` of the simulator has the base URL `http://127.0.0.1:PORT/a`. What is a fault
//! of the connection in memory is one here: it is reset, closed too early, or carries bytes that
//! are no HTTP. One listener serves all endpoints, so a connection is accepted before anybody
//! knows for which; one that should have been refused is reset before a byte of an answer.
//!
//! Tests change the endpoints while they run: see [`control`].

mod catalogue;
mod connection;
mod control;
mod replay;
mod script;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use qcc_core::simulate::Simulator;
use qcc_core::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinSet;

use crate::output::Failure;
use crate::server;
use crate::shutdown::{Phase, Phases};

use connection::Shared;
use replay::Replay;

pub(crate) use catalogue::BEHAVIOURS;
pub(crate) use control::is_name;
pub(crate) use script::{InvalidScript, parse_script};

/// How long answers may take to end after a signal to stop. Many are meant never to end.
const GRACE: Duration = Duration::from_secs(1);

/// After a failure to accept, which is usually a lack of file descriptors, wait so long.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A simulator behind a socket that was taken.
#[derive(Debug)]
pub(crate) struct SimulatorServer {
    listener: TcpListener,
    shared: Shared,
}

impl SimulatorServer {
    /// Takes `address`; port 0 takes a free one. Clients may connect at once and are served by
    /// [`run`](Self::run).
    ///
    /// # Errors
    ///
    /// The address is in use, not allowed or not there.
    pub(crate) async fn bind(address: SocketAddr, simulator: Simulator) -> Result<Self, Failure> {
        let listener = server::bind(address, "choose another one with --port N").await?;
        let replay = None;
        Ok(Self {
            listener,
            shared: Shared { simulator, replay },
        })
    }

    /// The same, if `replaying` with the first answer to each path given again to every later
    /// request: cheap, for measuring proxies.
    #[must_use]
    pub(crate) fn replaying(mut self, replaying: bool) -> Self {
        self.shared.replay = replaying.then(|| Arc::new(Replay::default()));
        self
    }

    /// The address that was really taken.
    ///
    /// # Errors
    ///
    /// What the operating system reports.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }

    /// Serves until `phases` says to stop, then lets answers end for a second. Nothing is left
    /// when it returns.
    ///
    /// # Cancel safety
    ///
    /// Dropping it closes every connection.
    pub(crate) async fn run(self, mut phases: Phases) {
        let mut connections = JoinSet::new();
        loop {
            let accepted = tokio::select! {
                biased;
                () = phases.reached(Phase::Draining) => break,
                Some(_) = connections.join_next() => continue,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let served = connection::serve(
                        stream,
                        self.shared.clone(),
                        peer.ip().is_loopback(),
                        phases.clone(),
                    );
                    connections.spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        tokio::select! {
            () = async { while connections.join_next().await.is_some() {} } => {}
            () = tokio::time::sleep(GRACE) => {}
            () = phases.reached(Phase::Aborting) => {}
        }
        connections.shutdown().await;
    }
}

#[cfg(test)]
mod tests;
