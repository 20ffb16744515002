//! The watcher of one stream.

use std::fmt;

use bytes::Bytes;

use super::{Event, Framer, Meaning, Rules, stopped};
use crate::classify::{Hold, Progress, Watch};
use crate::credential::Credential;
use crate::failure::{Kind, Verdict};
use crate::record::Usage;
use crate::resource::Resources;
use crate::time::{Duration, Instant};

/// How long a stream is held by default: 64 KiB and 15 s. Some clients give up after 20 s
/// without a byte.
pub const HOLD: Hold = Hold {
    bytes: 64 * 1024,
    time: Some(Duration::from_secs(15)),
};

/// Watches a stream of server-sent events by the rules `R` of its dialect.
///
/// It is committed by the first meaningful event. A failure in the frame that would have
/// committed it still leaves it held, because the client has seen nothing. After the upstream's
/// own error event nothing goes out but what [`Rules::afterword`] adds.
pub struct Watcher<R> {
    framer: Framer,
    rules: R,
    credential: Option<Credential>,
    hold: Hold,
    committed: bool,
    complete: bool,
    broken: Option<Broken>,
}

#[derive(Clone, Copy)]
struct Broken {
    verdict: Verdict,
    /// Whether the upstream's own error event goes out.
    told: bool,
}

impl<R: Rules> Watcher<R> {
    /// A watcher of one stream that is held as long as [`HOLD`] says.
    pub fn new(rules: R) -> Self {
        Self {
            framer: Framer::new(),
            rules,
            credential: None,
            hold: HOLD,
            committed: false,
            complete: false,
            broken: None,
        }
    }

    /// The same, held as long as `hold` says.
    #[must_use]
    pub fn with_hold(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// The same; `credential` is redacted in error events.
    #[must_use]
    pub fn with_credential(mut self, credential: Option<Credential>) -> Self {
        self.credential = credential;
        self
    }

    fn broke(&mut self, verdict: Verdict, told: bool) -> Verdict {
        self.broken = Some(Broken { verdict, told });
        verdict
    }
}

/// Whether `event` says anything: comments, blank lines and fields without data do not. JSON
/// that stands outside of a field does.
fn speaks(event: &Event<'_>) -> bool {
    event.data.is_some() || matches!(event.raw.trim_ascii_start().first(), Some(b'{' | b'['))
}

impl<R: Rules> Watch for Watcher<R> {
    fn data(&mut self, data: Bytes, now: Instant) -> Progress {
        if let Some(broken) = self.broken {
            return Progress::Broken(broken.verdict);
        }
        self.framer.push(data);
        let mut meaningful = self.committed;
        let mut ended = false;
        loop {
            let event = match self.framer.next() {
                Ok(Some(event)) => event,
                Ok(None) => break,
                Err(_too_long) => {
                    return Progress::Broken(self.broke(Verdict::new(Kind::Unknown), false));
                }
            };
            if speaks(&event) && !self.complete {
                match self.rules.read(&event, !meaningful, now) {
                    Meaning::Preamble => {}
                    Meaning::Output => meaningful = true,
                    Meaning::End => {
                        self.complete = true;
                        ended = true;
                    }
                    Meaning::Failed(verdict) => {
                        match redact(self.credential.as_ref(), event.raw) {
                            Some(clean) => self.framer.replace(clean),
                            None => self.framer.pass(),
                        }
                        return Progress::Broken(self.broke(verdict, true));
                    }
                    Meaning::Cut(verdict) => {
                        return Progress::Broken(self.broke(verdict, false));
                    }
                }
            }
            self.framer.pass();
        }
        let held = !self.committed;
        self.committed |= meaningful | ended;
        if ended {
            Progress::Complete
        } else if held && self.committed {
            Progress::Commit
        } else {
            Progress::More
        }
    }

    fn end(&mut self, now: Instant) -> Result<(), Verdict> {
        if let Some(broken) = self.broken {
            return Err(broken.verdict);
        }
        let held = !self.committed;
        if self.complete || self.rules.ended() {
            self.committed = true;
            return Ok(());
        }
        let mut verdict = stopped(held);
        if let Some(tail) = self.framer.tail()
            && speaks(&tail)
        {
            // A cut tail does not go out, so it is no evidence of an end and has no place in the
            // closing events; but it may tell what happened.
            let mut rules = self.rules.clone();
            if let Meaning::Failed(told) | Meaning::Cut(told) = rules.read(&tail, held, now) {
                verdict = told;
            }
        }
        Err(self.broke(verdict, false))
    }

    fn commit(&mut self) {
        self.committed = true;
    }

    fn release(&mut self) -> Option<Bytes> {
        if self.committed {
            self.framer.take()
        } else {
            None
        }
    }

    fn closing(&mut self) -> Option<Bytes> {
        Some(match self.broken {
            Some(Broken {
                verdict,
                told: true,
            }) => {
                let afterword = self.rules.afterword(&verdict);
                redact(self.credential.as_ref(), &afterword).unwrap_or(afterword)
            }
            None if self.complete || self.rules.ended() => Bytes::new(),
            Some(_) | None => self.rules.closing(),
        })
    }

    fn keep_alive(&self) -> Option<Bytes> {
        let alive = self.rules.keep_alive();
        (!alive.is_empty() && !self.complete && self.broken.is_none()).then_some(alive)
    }

    fn hold(&self) -> Hold {
        self.hold
    }

    fn usage(&self) -> Option<Usage> {
        self.rules.usage()
    }

    fn made(&mut self) -> Resources {
        self.rules.made()
    }
}

impl<R> fmt::Debug for Watcher<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher")
            .field("committed", &self.committed)
            .field("complete", &self.complete)
            .finish_non_exhaustive()
    }
}

fn redact(credential: Option<&Credential>, text: &[u8]) -> Option<Bytes> {
    credential?.redact(text)
}
