//! The traits that judge answers.

use std::error::Error as StdError;
use std::fmt;
use std::io;

use bytes::Bytes;
use http::response::Parts;

use crate::credential::Credential;
use crate::facts::Facts;
use crate::failure::{Failed, Kind, Verdict, find};
use crate::record::Usage;
use crate::resource::{ResourceKind, Resources};
use crate::time::{Duration, Instant};

/// What was sent, for the one who judges the answer.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Sent<'a> {
    /// The facts of the request.
    pub facts: &'a Facts,
    /// The credential that was used. Its occurrences in error texts have to be redacted.
    pub credential: Option<&'a Credential>,
}

impl<'a> Sent<'a> {
    /// A request with these facts and this credential.
    #[must_use]
    pub const fn new(facts: &'a Facts, credential: Option<&'a Credential>) -> Self {
        Self { facts, credential }
    }
}

/// Judges the answers of upstreams. Sync, object-safe, without a clock of its own.
pub trait Classify: fmt::Debug + Send + Sync + 'static {
    /// What to do with the answer that has this head.
    fn head(&self, sent: Sent<'_>, head: &Parts) -> Plan;

    /// The verdict on an answer that [`head`](Self::head) called a failure. `body` is what could
    /// be read of it: at most 64 KiB, perhaps nothing.
    fn failure(&self, sent: Sent<'_>, head: &Parts, body: &[u8], now: Instant) -> Verdict;

    /// The kind of the resources that the request names and that are not there, if the failed
    /// answer says so. Asked only where [`Facts::resources`](crate::facts::Facts::resources)
    /// names some; `body` as for [`failure`](Self::failure). `None` by default.
    fn missing(&self, sent: Sent<'_>, head: &Parts, body: &[u8]) -> Option<ResourceKind> {
        let _ = (sent, head, body);
        None
    }

    /// The verdict on an error of the upstream service itself. By default a time-out where the
    /// chain of sources holds one of the operating system's, else what
    /// [`Failed::verdict_of`] says.
    fn error(&self, error: &(dyn StdError + 'static)) -> Verdict {
        match find::<io::Error>(error) {
            Some(io) if io.kind() == io::ErrorKind::TimedOut => Verdict::new(Kind::Timeout),
            _ => Failed::verdict_of(error),
        }
    }
}

/// What to do with an answer whose head came.
pub enum Plan {
    /// Commit it now and pass its bytes on as they come.
    Pass,
    /// It failed: read its body, then ask for the verdict.
    Fail,
    /// Hold it to its commit point and watch it to its end.
    Watch(Box<dyn Watch>),
}

impl fmt::Debug for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pass => "Pass",
            Self::Fail => "Fail",
            Self::Watch(_) => "Watch",
        })
    }
}

/// Watches one answer. It is given each piece of the body, keeps what may not go out yet, and
/// gives out what may, in order and unchanged.
///
/// While the answer is held, nothing is taken out of it. Bytes that belong to an event that has
/// not ended stay inside until it has.
pub trait Watch: Send + 'static {
    /// Takes the next piece of the body.
    fn data(&mut self, data: Bytes, now: Instant) -> Progress;

    /// The body came to its end or broke.
    ///
    /// # Errors
    ///
    /// The verdict, if what came is not a whole answer.
    fn end(&mut self, now: Instant) -> Result<(), Verdict>;

    /// Commits the answer as it is, because it may not be held any longer.
    fn commit(&mut self);

    /// The next bytes that may go out; whole events only. `None` until there are more.
    fn release(&mut self) -> Option<Bytes>;

    /// The bytes that end the answer in its dialect after an interruption: empty if the
    /// upstream has said it itself, `None` if the dialect has no such thing and the connection
    /// must be aborted. Asked once, after everything was released.
    fn closing(&mut self) -> Option<Bytes>;

    /// What a client that has heard nothing for long may be sent between two pieces, to be told
    /// that the answer still comes: it means nothing in the dialect of the answer. `None`, the
    /// default, if the dialect has no such thing.
    fn keep_alive(&self) -> Option<Bytes> {
        None
    }

    /// How long the answer may be held.
    fn hold(&self) -> Hold;

    /// What the answer said about tokens so far.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// What the answer told since this was last asked of resources that were made for it. Asked
    /// before the bytes that tell it are released, and only of answers that may make some:
    /// [`Facts::makes`](crate::facts::Facts::makes). Nothing by default.
    fn made(&mut self) -> Resources {
        Resources::new()
    }
}

/// What a piece of a body changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// Nothing: go on.
    More,
    /// The answer is committed now. Said once, unless it was committed from outside.
    Commit,
    /// The end marker came, so nothing is missing; a held answer is committed with it.
    Complete,
    /// It turned out to be a failure.
    Broken(Verdict),
}

/// How long an answer may be held before it is committed as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// At most this many bytes.
    pub bytes: usize,
    /// At most this long from the first byte of the body; `None` for as long as it takes.
    pub time: Option<Duration>,
}
