//! What a dialect says about its events.

use bytes::Bytes;

use crate::failure::{Kind, Verdict};
use crate::record::Usage;
use crate::resource::Resources;
use crate::stream::Event;
use crate::time::Instant;

/// The rules of one dialect, for one answer. A clone goes on from where the answer is.
pub trait Rules: Clone + Send + 'static {
    /// What the next event means. Asked once for each event with data, and for JSON
    /// that stands outside of a field, in order, up to [`Meaning::End`], [`Meaning::Failed`] or
    /// [`Meaning::Cut`].
    ///
    /// While `held` is false, a preamble and output need not be told apart.
    fn read(&mut self, event: &Event<'_>, held: bool, now: Instant) -> Meaning;

    /// Whether the events so far are the evidence of a whole answer, so that the stream may end
    /// here.
    fn ended(&self) -> bool;

    /// The events that tell the client of an interruption. They begin where an event may begin
    /// and end with a blank line.
    fn closing(&self) -> Bytes;

    /// What is still to be said after [`Meaning::Failed`], because clients overlook the
    /// upstream's own event.
    fn afterword(&self, verdict: &Verdict) -> Bytes {
        let _ = verdict;
        Bytes::new()
    }

    /// What says nothing but that the stream is alive. It begins where an event may begin. Empty,
    /// the default, if clients of the dialect understand nothing of the kind.
    fn keep_alive(&self) -> Bytes {
        Bytes::new()
    }

    /// What the events said about tokens so far.
    fn usage(&self) -> Option<Usage> {
        None
    }

    /// What the events told since this was last asked of resources that were made.
    fn made(&mut self) -> Resources {
        Resources::new()
    }
}

/// What an event means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Meaning {
    /// Nothing that a client could show: after it, the answer may still come from elsewhere.
    Preamble,
    /// Output, or something unknown.
    Output,
    /// The end marker, with nothing missing.
    End,
    /// The upstream says that it failed. The event goes out and nothing after it.
    Failed(Verdict),
    /// The answer is over without having ended: an end marker that comes too early, or an error
    /// in a form that clients overlook. The event does not go out; the closing events do.
    Cut(Verdict),
}

/// The verdict on a stream that stopped without having ended. Held, it was no answer, and the
/// same endpoint is not asked to generate it again, as it would be after a failure of the
/// transport.
#[must_use]
pub const fn stopped(held: bool) -> Verdict {
    Verdict::new(if held { Kind::Unknown } else { Kind::Transport })
}
