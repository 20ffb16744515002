//! The answer of a generation route, whatever it turns out to be.

use std::mem;

use bytes::{Bytes, BytesMut};

use super::classifier::Judge;
use super::document::Document;
use crate::classify::{Hold, Progress, Watch};
use crate::failure::{Kind, Verdict};
use crate::record::Usage;
use crate::resource::Resources;
use crate::stream::{Rules, Watcher};
use crate::time::Instant;

/// Watches an answer as the stream or the document that its first bytes show it to be. The
/// content type alone is not believed: relays send errors as `application/json` to a call that
/// streams, and documents as `text/event-stream`.
pub(super) struct Answer<R> {
    form: Form<R>,
    judge: Judge,
    limits: Limits,
    /// Whether the content type is that of a stream.
    events: bool,
    /// Whether it was committed before it was decided what it is.
    committed: bool,
}

enum Form<R> {
    /// What came so far could begin either.
    Undecided(BytesMut),
    Events(Watcher<R>),
    Document(Document),
}

/// How long answers are held.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limits {
    pub(super) events: Hold,
    pub(super) document: Hold,
}

impl<R: Rules + From<Judge>> Answer<R> {
    /// `events`: whether the content type is that of a stream.
    pub(super) fn new(judge: Judge, limits: Limits, events: bool) -> Self {
        Self {
            form: Form::Undecided(BytesMut::new()),
            judge,
            limits,
            events,
            committed: false,
        }
    }

    fn decided(&self, events: bool) -> Form<R> {
        let judge = self.judge.clone();
        if events {
            let credential = judge.credential.clone();
            Form::Events(
                Watcher::new(R::from(judge))
                    .with_hold(self.limits.events)
                    .with_credential(credential),
            )
        } else {
            Form::Document(Document::new(judge, self.limits.document))
        }
    }

    fn watch(&mut self) -> Option<&mut dyn Watch> {
        match &mut self.form {
            Form::Undecided(_) => None,
            Form::Events(watcher) => Some(watcher),
            Form::Document(document) => Some(document),
        }
    }
}

/// Whether an answer that begins so is a stream; `None` if more has to come.
fn is_stream(begin: &[u8], content_type: bool) -> Option<bool> {
    const FIELDS: [&[u8]; 5] = [b"data:", b"event:", b"id:", b"retry:", b":"];
    let begin = begin.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(begin);
    let begin = begin.trim_ascii_start();
    match begin.first()? {
        b'{' | b'[' | b'<' => Some(false),
        _ if content_type => Some(true),
        _ if FIELDS.iter().any(|field| begin.starts_with(field)) => Some(true),
        _ if FIELDS.iter().any(|field| field.starts_with(begin)) => None,
        _ => Some(false),
    }
}

impl<R: Rules + From<Judge>> Watch for Answer<R> {
    fn data(&mut self, data: Bytes, now: Instant) -> Progress {
        let mut data = data;
        if let Form::Undecided(begin) = &mut self.form {
            if !begin.is_empty() {
                begin.extend_from_slice(&data);
                data = mem::take(begin).freeze();
            }
            match is_stream(&data, self.events) {
                Some(events) => {
                    self.form = self.decided(events);
                    if self.committed {
                        self.commit();
                    }
                }
                None => begin.extend_from_slice(&data),
            }
        }
        self.watch()
            .map_or(Progress::More, |watch| watch.data(data, now))
    }

    fn end(&mut self, now: Instant) -> Result<(), Verdict> {
        match self.watch() {
            Some(watch) => watch.end(now),
            // Nothing came, or nothing but white space.
            None => Err(Verdict::new(Kind::Unknown)),
        }
    }

    fn commit(&mut self) {
        self.committed = true;
        if let Some(watch) = self.watch() {
            watch.commit();
        }
    }

    fn release(&mut self) -> Option<Bytes> {
        self.watch()?.release()
    }

    fn closing(&mut self) -> Option<Bytes> {
        self.watch()?.closing()
    }

    fn keep_alive(&self) -> Option<Bytes> {
        match &self.form {
            Form::Events(watcher) => watcher.keep_alive(),
            Form::Undecided(_) | Form::Document(_) => None,
        }
    }

    fn hold(&self) -> Hold {
        match &self.form {
            Form::Events(watcher) => watcher.hold(),
            Form::Document(document) => document.hold(),
            Form::Undecided(_) if self.events => self.limits.events,
            Form::Undecided(_) => self.limits.document,
        }
    }

    fn usage(&self) -> Option<Usage> {
        match &self.form {
            Form::Undecided(_) => None,
            Form::Events(watcher) => watcher.usage(),
            Form::Document(document) => document.usage(),
        }
    }

    fn made(&mut self) -> Resources {
        self.watch().map(|watch| watch.made()).unwrap_or_default()
    }
}
