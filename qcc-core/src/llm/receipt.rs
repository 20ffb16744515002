//! The answer to a request that makes a resource: a small document that tells its id.

use std::borrow::Cow;
use std::mem;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::response::Parts;

use super::classifier::is_encoded;
use super::json::object;
use super::nesting::Nesting;
use super::reader::{Manner, Object, Reader, Result};
use super::resources::{is_id, of_name};
use crate::classify::{Hold, Progress, Watch};
use crate::failure::{Kind, Verdict};
use crate::resource::{Resource, ResourceKind, Resources};
use crate::time::Instant;

/// One that is longer is passed on unread: it is none.
const LONGEST: usize = 64 * 1024;

/// Watches a document that tells what was made. It is committed with its first byte, because
/// nothing that was made is made a second time elsewhere; its bytes go out when it is read.
pub(super) struct Receipt {
    makes: ResourceKind,
    /// Whether the document is that of something else, which only tells what it has made.
    about_another: bool,
    /// What came and may not go out yet.
    held: BytesMut,
    out: Option<Bytes>,
    /// Whether it was read, or is too long to be.
    read: bool,
    committed: bool,
    nesting: Nesting,
    made: Resources,
}

impl Receipt {
    /// The answer to a request that makes one of this kind. `about_another`: with its path it
    /// names another resource, which the document describes.
    pub(super) fn new(makes: ResourceKind, about_another: bool) -> Self {
        Self {
            makes,
            about_another,
            held: BytesMut::new(),
            out: None,
            read: false,
            committed: false,
            nesting: Nesting::default(),
            made: Resources::new(),
        }
    }

    /// Whether an answer with this head, a successful one, can be one.
    pub(super) fn is_one(head: &Parts) -> bool {
        const JSON: &[u8] = b"application/json";
        let header = |name| head.headers.get(name).map(http::HeaderValue::as_bytes);
        let length = || str::from_utf8(header(CONTENT_LENGTH)?).ok()?.parse().ok();
        head.status.is_success()
            && !is_encoded(head)
            && header(CONTENT_TYPE)
                .and_then(|kind| kind.get(..JSON.len()))
                .is_some_and(|kind| kind.eq_ignore_ascii_case(JSON))
            && length().is_none_or(|length: usize| length <= LONGEST)
    }
}

impl Watch for Receipt {
    fn data(&mut self, data: Bytes, _now: Instant) -> Progress {
        let mut rest = &data[..];
        while let Some(end) = self.nesting.element(rest) {
            rest = &rest[end..];
        }
        if self.read {
            self.out = Some(data);
        } else {
            self.held.extend_from_slice(&data);
            self.read = self.nesting.ended() || self.held.len() > LONGEST;
            if self.read {
                let whole = mem::take(&mut self.held).freeze();
                self.made = made(self.makes, self.about_another, &whole);
                self.out = Some(whole);
            }
        }
        if mem::replace(&mut self.committed, true) {
            Progress::More
        } else {
            Progress::Commit
        }
    }

    fn end(&mut self, _now: Instant) -> Result<(), Verdict> {
        if !self.held.is_empty() {
            self.out = Some(mem::take(&mut self.held).freeze());
        }
        if self.nesting.ended() {
            return Ok(());
        }
        Err(Verdict::new(match self.committed {
            true => Kind::Transport,
            false => Kind::Unknown,
        }))
    }

    fn commit(&mut self) {
        self.committed = true;
    }

    fn release(&mut self) -> Option<Bytes> {
        self.out.take()
    }

    fn closing(&mut self) -> Option<Bytes> {
        None
    }

    fn hold(&self) -> Hold {
        Hold {
            bytes: LONGEST,
            time: None,
        }
    }

    fn made(&mut self) -> Resources {
        mem::take(&mut self.made)
    }
}

/// What the answers of all vendors say of what was made.
#[derive(Default)]
struct Made<'a> {
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
    // Of a batch that has ended.
    output_file_id: Option<Cow<'a, str>>,
    error_file_id: Option<Cow<'a, str>>,
    // Of an upload, and of Gemini's files.
    file: File<'a>,
}

impl<'a> Object<'a> for Made<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"id" => self.id = value.text()?,
            b"name" => self.name = value.text()?,
            b"output_file_id" => self.output_file_id = value.text()?,
            b"error_file_id" => self.error_file_id = value.text()?,
            b"file" => self.file = value.object()?.unwrap_or_default(),
            _ => value.skip()?,
        }
        Ok(())
    }
}

#[derive(Default)]
struct File<'a> {
    id: Option<Cow<'a, str>>,
    name: Option<Cow<'a, str>>,
}

impl<'a> Object<'a> for File<'a> {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"id" => self.id = value.text()?,
            b"name" => self.name = value.text()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

fn made(makes: ResourceKind, about_another: bool, json: &[u8]) -> Resources {
    let told: Made<'_> = object(json).unwrap_or_default();
    let file = told.file;
    let of = |kind| move |id: Cow<'_, str>| is_id(&id).then(|| Resource::new(kind, &id));
    let is_file = makes == ResourceKind::File;
    let own = |text: &Cow<'_, str>| !about_another && !text.is_empty();
    [
        told.id.filter(own).and_then(of(makes)),
        told.name.filter(own).and_then(|name| of_name(&name)),
        told.output_file_id.and_then(of(ResourceKind::File)),
        told.error_file_id.and_then(of(ResourceKind::File)),
        file.id.filter(|_| is_file).and_then(of(ResourceKind::File)),
        file.name.and_then(|name| of_name(&name)),
    ]
    .into_iter()
    .flatten()
    .collect()
}
