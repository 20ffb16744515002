//! The errors that carry a failure between layers.

use std::error::Error as StdError;
use std::fmt;
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::{Request, Response, StatusCode};

use super::{Blame, Kind, Verdict, Wait, find};
use crate::available::Reason;
use crate::body::{RequestBody, RequestBodyError};
use crate::error::BoxError;
use crate::exchange::Exhausted;
use crate::time::Instant;

/// A send that failed before its answer was committed.
///
/// The answer, where there was one, is detached: its body is in memory, and it holds no
/// connection, lease or slot.
#[derive(Debug)]
pub struct Failed {
    verdict: Verdict,
    wait: Option<Wait>,
    response: Option<Box<Response<Bytes>>>,
    source: Option<BoxError>,
}

impl Failed {
    /// A failure without an answer.
    #[must_use]
    pub fn new(verdict: Verdict) -> Self {
        Self {
            verdict,
            wait: None,
            response: None,
            source: None,
        }
    }

    /// A wait that ran out.
    #[must_use]
    pub fn timed_out(wait: Wait) -> Self {
        Self {
            wait: Some(wait),
            ..Self::new(Verdict::new(Kind::Timeout))
        }
    }

    /// The same with the answer that was judged.
    #[must_use]
    pub fn with_response(mut self, response: Response<Bytes>) -> Self {
        self.response = Some(Box::new(response));
        self
    }

    /// The same with the error underneath.
    #[must_use]
    pub fn with_source(mut self, source: BoxError) -> Self {
        self.source = Some(source);
        self
    }

    /// The same with another verdict.
    #[must_use]
    pub fn with_verdict(mut self, verdict: Verdict) -> Self {
        self.verdict = verdict;
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.verdict.kind
    }

    /// Whose fault it is.
    #[must_use]
    pub fn blame(&self) -> Blame {
        self.verdict.blame
    }

    /// Until when the blamed one is not to be used.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.verdict.until
    }

    /// The whole verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// Which wait ran out, if the kind is [`Kind::Timeout`] and no upstream said so.
    #[must_use]
    pub fn wait(&self) -> Option<Wait> {
        self.wait
    }

    /// The answer that was judged.
    #[must_use]
    pub fn response(&self) -> Option<&Response<Bytes>> {
        self.response.as_deref()
    }

    /// The status of the answer that was judged.
    #[must_use]
    pub fn status(&self) -> Option<StatusCode> {
        self.response.as_ref().map(|response| response.status())
    }

    /// The `Failed` in the chain of `error`.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find(error)
    }

    /// The verdict on any error of a send. An error that nobody classified is a
    /// [`Kind::Transport`]; one of the client's own body blames the caller.
    #[must_use]
    pub fn verdict_of(error: &(dyn StdError + 'static)) -> Verdict {
        if let Some(failed) = Self::find(error) {
            failed.verdict
        } else if find::<RequestBodyError>(error).is_some() {
            Verdict::new(Kind::InvalidRequest)
        } else {
            Verdict::new(Kind::Transport)
        }
    }

    /// The verdict on the error of a visit; `None` if nothing was sent, because then the error
    /// says nothing of credential or endpoint.
    #[must_use]
    pub(crate) fn verdict_if_sent(error: &(dyn StdError + 'static)) -> Option<Verdict> {
        let unsent = find::<Refused>(error).is_some() || find::<Exhausted>(error).is_some();
        (!unsent).then(|| Self::verdict_of(error))
    }
}

impl fmt::Display for Failed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = self.verdict.kind;
        match (self.wait, self.status()) {
            (Some(wait), _) => write!(f, "{kind}: {wait} time-out"),
            (None, Some(status)) => write!(f, "{kind}: upstream answered {}", status.as_u16()),
            (None, None) => write!(f, "{kind}: no answer"),
        }
    }
}

impl StdError for Failed {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}

/// A visit that was refused before anything was sent. It costs nothing, and it gives the
/// request back, so that one that cannot be cloned may still go elsewhere.
pub struct Refused {
    reason: Reason,
    until: Option<Instant>,
    request: Mutex<Option<Box<Request<RequestBody>>>>,
}

impl Refused {
    /// A refusal of `request` for `reason`, which ends at `until` if that is known.
    #[must_use]
    pub fn new(reason: Reason, until: Option<Instant>, request: Request<RequestBody>) -> Self {
        Self {
            reason,
            until,
            request: Mutex::new(Some(Box::new(request))),
        }
    }

    /// Why.
    #[must_use]
    pub fn reason(&self) -> Reason {
        self.reason
    }

    /// Until when.
    #[must_use]
    pub fn until(&self) -> Option<Instant> {
        self.until
    }

    /// The unsent request, the first time it is asked for.
    #[must_use]
    pub fn take_request(&self) -> Option<Request<RequestBody>> {
        self.request
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take()
            .map(|request| *request)
    }

    /// The `Refused` in the chain of `error`.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

impl fmt::Debug for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Refused")
            .field("reason", &self.reason)
            .field("until", &self.until)
            .finish_non_exhaustive()
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "not sent: {}", self.reason)
    }
}

impl StdError for Refused {}

/// A committed answer that ended abnormally: the error of its body.
#[derive(Debug)]
pub struct Interrupted {
    verdict: Verdict,
    closing: Option<Bytes>,
    source: Option<BoxError>,
}

impl Interrupted {
    /// An interruption. `closing` is the event that tells the client in its own dialect; without
    /// one the connection has to be aborted for the client to notice.
    #[must_use]
    pub fn new(verdict: Verdict, closing: Option<Bytes>) -> Self {
        Self {
            verdict,
            closing,
            source: None,
        }
    }

    /// The same with the error underneath.
    #[must_use]
    pub fn with_source(mut self, source: BoxError) -> Self {
        self.source = Some(source);
        self
    }

    /// What went wrong.
    #[must_use]
    pub fn kind(&self) -> Kind {
        self.verdict.kind
    }

    /// The whole verdict.
    #[must_use]
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// The bytes that close the stream in its dialect.
    #[must_use]
    pub fn closing(&self) -> Option<&Bytes> {
        self.closing.as_ref()
    }

    /// The `Interrupted` in the chain of `error`.
    #[must_use]
    pub fn find<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a Self> {
        find(error)
    }
}

impl fmt::Display for Interrupted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "answer interrupted: {}", self.verdict.kind)
    }
}

impl StdError for Interrupted {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.source.as_ref().map(|source| &**source as _)
    }
}
