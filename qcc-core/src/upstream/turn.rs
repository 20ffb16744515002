//! Writes that leave together.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection};

/// A write waits for its turn if so many others came since the last one of its connection. Measured:
/// four clients at full load gain nothing by waiting, eight do.
const CROWD: usize = 4;

/// Lets the writes of busy connections leave together. A clone counts with the original: give it
/// to all connections that one runtime serves.
///
/// A write to a socket wakes whoever reads at its other end, which costs as much as the write
/// itself if that one sleeps, and it throws the code of a request out of the processor's caches.
/// So where many connections write, each write waits until its task was sent once to the end of
/// the runtime's queue: whatever was ready before it is done first, and then the writes follow
/// each other. Where fewer than four others write between two writes of a connection, it does not
/// wait.
///
/// ```
/// # fn serve(io: hyper_util::rt::TokioIo<tokio::net::TcpStream>) {
/// use qcc_core::upstream::Turns;
///
/// let turns = Turns::default();
/// // For each connection, of hyper's client or its server:
/// let io = turns.watch(io);
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Turns(Arc<AtomicUsize>);

impl Turns {
    /// Lets `io` write in turn with the others.
    pub fn watch<I>(&self, io: I) -> InTurn<I> {
        InTurn {
            io,
            turns: self.clone(),
            last: 0,
            burst: Burst::Over,
        }
    }

    /// The number of a write that begins now.
    fn next(&self) -> usize {
        // It orders nothing, and may start again at 0.
        self.0.fetch_add(1, Ordering::Relaxed).wrapping_add(1)
    }
}

/// A connection that writes in turn with others. Made by [`Turns::watch`].
///
/// # Cancel safety
///
/// As of the connection inside: what was taken is written by it, and nothing is held here.
#[derive(Debug)]
pub struct InTurn<I> {
    io: I,
    turns: Turns,
    /// The number of its last burst.
    last: usize,
    burst: Burst,
}

/// What is written up to the next flush.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Burst {
    /// It was flushed.
    Over,
    /// It waits for its turn.
    Waiting,
    /// It may be written.
    Open,
}

impl<I> InTurn<I> {
    fn poll_turn(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.burst == Burst::Over {
            let number = self.turns.next();
            let others = number.wrapping_sub(self.last).wrapping_sub(1);
            self.last = number;
            if others >= CROWD {
                self.burst = Burst::Waiting;
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
        self.burst = Burst::Open;
        Poll::Ready(())
    }
}

impl<I: Write + Unpin> Write for InTurn<I> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        ready!(self.poll_turn(cx));
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        // What waits is not flushed by that, and waits once.
        if self.burst == Burst::Open {
            self.burst = Burst::Over;
        }
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<I: Read + Unpin> Read for InTurn<I> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buf)
    }
}

/// Says whether it is HTTP/2 and whether it goes to a proxy. What else a connector tells of a
/// connection, such as its addresses, is left out: hyper copies that into each answer, and nobody
/// here reads it.
impl<I: Connection> Connection for InTurn<I> {
    fn connected(&self) -> Connected {
        let inner = self.io.connected();
        let known = Connected::new().proxy(inner.is_proxied());
        match inner.is_negotiated_h2() {
            true => known.negotiated_h2(),
            false => known,
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio_test::task::spawn;
    use tokio_test::{assert_pending, assert_ready_ok};

    use super::*;

    /// A socket that takes three bytes at a time.
    #[derive(Debug, Default)]
    struct Socket(Vec<u8>);

    impl Write for Socket {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = buf.len().min(3);
            self.0.extend_from_slice(&buf[..taken]);
            Poll::Ready(Ok(taken))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Writes `text` whole, and says how often it waited.
    fn write(io: &mut InTurn<Socket>, text: &str) -> usize {
        let mut left = text.as_bytes();
        let mut waited = 0;
        while !left.is_empty() {
            let mut task = spawn(());
            match task.enter(|cx, _| Pin::new(&mut *io).poll_write(cx, left)) {
                Poll::Ready(taken) => left = &left[taken.unwrap()..],
                Poll::Pending => {
                    assert!(task.is_woken());
                    waited += 1;
                }
            }
        }
        assert_ready_ok!(spawn(()).enter(|cx, _| Pin::new(&mut *io).poll_flush(cx)));
        waited
    }

    fn crowd(turns: &Turns, count: usize) -> Vec<InTurn<Socket>> {
        let mut all: Vec<_> = (0..count).map(|_| turns.watch(Socket::default())).collect();
        // A connection that is new knows nothing of the others.
        for io in &mut all {
            write(io, "-");
        }
        all
    }

    impl Connection for Socket {
        fn connected(&self) -> Connected {
            Connected::new().negotiated_h2().proxy(true).extra("extra")
        }
    }

    #[test]
    fn of_a_connection_its_kind_is_told_and_nothing_that_each_answer_would_carry() {
        let known = Turns::default().watch(Socket::default()).connected();
        assert!(known.is_negotiated_h2() && known.is_proxied());
        let mut carried = http::Extensions::new();
        known.get_extras(&mut carried);
        assert!(carried.is_empty());
    }

    #[test]
    fn a_few_connections_write_at_once() {
        for io in &mut crowd(&Turns::default(), CROWD) {
            assert_eq!(write(io, "one"), 0);
            assert_eq!(io.io.0, b"-one");
        }
    }

    #[test]
    fn each_of_many_connections_waits_one_turn_for_all_that_it_writes_up_to_a_flush() {
        let mut all = crowd(&Turns::default(), CROWD + 1);
        for text in ["two pieces", "and again"] {
            for io in &mut all {
                assert_eq!(write(io, text), 1, "{text}");
            }
        }
        for io in &all {
            assert_eq!(io.io.0, b"-two piecesand again");
        }
    }

    #[test]
    fn a_connection_that_goes_on_alone_waits_no_more() {
        let mut all = crowd(&Turns::default(), 2 * CROWD);
        let (io, _) = all.split_first_mut().unwrap();
        assert_eq!(write(io, "late"), 1);
        assert_eq!(write(io, "alone"), 0);
    }

    #[test]
    fn the_count_may_start_again() {
        let turns = Turns(Arc::new(AtomicUsize::new(usize::MAX - 1)));
        let mut io = turns.watch(Socket::default());
        for text in ["a", "b", "c"] {
            write(&mut io, text);
        }
        assert_eq!(write(&mut io, "d"), 0);
    }

    #[test]
    fn a_write_that_waits_is_not_begun_and_waits_once() {
        let mut all = crowd(&Turns::default(), CROWD + 1);
        let io = &mut all[0];
        let mut task = spawn(());
        assert_pending!(task.enter(|cx, _| Pin::new(&mut *io).poll_write(cx, b"later")));
        assert_eq!(io.io.0, b"-");
        // Not even a flush in between makes it wait twice.
        assert_ready_ok!(spawn(()).enter(|cx, _| Pin::new(&mut *io).poll_flush(cx)));
        assert_eq!(write(io, "later"), 0);
        assert_eq!(io.io.0, b"-later");
    }
}
