//! When to stop.
//!
//! A first SIGTERM or SIGINT drains: nothing new is accepted and what is open may come to its
//! end. A second one aborts. Whoever has to stop holds a [`Phases`] and awaits the phase that it
//! cares about, so tests move the phases without a signal.

use std::io;

use tokio::sync::watch;

/// How far the stopping has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Phase {
    /// Not asked to stop.
    Running,
    /// Asked to stop: end what is open, begin nothing.
    Draining,
    /// Asked twice: stop now.
    Aborting,
}

/// Tells the phase. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Phases(watch::Receiver<Phase>);

impl Phases {
    /// Phases that `sender` moves.
    pub(crate) fn new() -> (watch::Sender<Phase>, Self) {
        let (sender, receiver) = watch::channel(Phase::Running);
        (sender, Self(receiver))
    }

    /// Waits until `phase` or a later one is reached. A sender that is gone stops everything.
    ///
    /// # Cancel safety
    ///
    /// Nothing is lost: the phase stays reached.
    pub(crate) async fn reached(&mut self, phase: Phase) {
        let _ = self.0.wait_for(|current| *current >= phase).await;
    }

    /// Whether `phase` or a later one is reached.
    pub(crate) fn has_reached(&self, phase: Phase) -> bool {
        *self.0.borrow() >= phase
    }
}

/// Phases that the signals of the operating system move.
///
/// # Errors
///
/// The signals cannot be listened for.
pub(crate) fn on_signals() -> io::Result<Phases> {
    let mut signals = Signals::new()?;
    let (sender, phases) = Phases::new();
    tokio::spawn(async move {
        signals.next().await;
        tracing::info!("stopping: open answers may end; signal again to stop at once");
        let _ = sender.send(Phase::Draining);
        signals.next().await;
        tracing::warn!("stopping at once");
        let _ = sender.send(Phase::Aborting);
        // The phases stay what they are until nobody looks at them any more.
        sender.closed().await;
    });
    Ok(phases)
}

#[cfg(unix)]
struct Signals {
    terminate: tokio::signal::unix::Signal,
    interrupt: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

#[cfg(not(unix))]
struct Signals;

#[cfg(not(unix))]
impl Signals {
    fn new() -> io::Result<Self> {
        Ok(Self)
    }

    async fn next(&mut self) {
        // Without the signal there is no way to ask; then the process is killed.
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}
