//! Decodes bytes as they come. Pure.
//!
//! Everything that a piece of input decodes to is given out before the next one is asked for, so
//! an event that the server has flushed is never held back.

use std::fmt;

use bytes::{Buf as _, Bytes};
use compression_codecs::core::util::{PartialBuffer, WriteBuffer};
use compression_codecs::zstd::params::DParameter;
use compression_codecs::{
    BrotliDecoder, DecodeV2, DeflateDecoder, GzipDecoder, ZlibDecoder, ZstdDecoder,
};
use smallvec::SmallVec;

use super::error::Undecodable;
use crate::upstream::coding::Coding;

/// The longest piece that is given out.
const PIECE: usize = 16 * 1024;

/// So much may come of however little: a document of this size is held in memory anyway.
const FREE: u64 = 8 * 1024 * 1024;

/// Above it, so many bytes may come of one. A stream of nothing but pings stays below it; the
/// worst that gzip can do is 1032.
const RATIO: u64 = 200;

/// RFC 9659: a window of at most 8 MiB, or each answer could ask for 128 MiB of memory.
const ZSTD_WINDOW_LOG: u32 = 23;

/// Undoes the codings of one body.
pub(super) struct Decoder {
    // The first one undoes the coding that was applied last.
    stages: SmallVec<[Stage; 1]>,
    scratch: Box<[u8]>,
    came: u64,
    limit: u64,
}

impl Decoder {
    /// A decoder for a body to which `codings` were applied, in this order. At most `limit`
    /// bytes come out of it.
    pub(super) fn new(codings: &[Coding], limit: u64) -> Self {
        Self {
            stages: codings.iter().rev().copied().map(Stage::new).collect(),
            scratch: vec![0; PIECE].into(),
            came: 0,
            limit,
        }
    }

    /// Takes the next bytes of the body, once [`pull`](Self::pull) has nothing left.
    pub(super) fn push(&mut self, data: Bytes) {
        self.came += data.len() as u64;
        self.stages[0].push(data);
    }

    /// The next decoded bytes; `None` until more was pushed.
    pub(super) fn pull(&mut self) -> Result<Option<Bytes>, Undecodable> {
        let allowed = self.came.saturating_mul(RATIO).max(FREE).min(self.limit);
        pull(&mut self.stages, &mut self.scratch, allowed)
    }

    /// The body came to its end.
    pub(super) fn finish(&self) -> Result<(), Undecodable> {
        match self.stages.iter().find(|stage| !stage.is_at_rest()) {
            Some(stage) => Err(Undecodable::truncated(stage.coding)),
            None => Ok(()),
        }
    }
}

/// Pulls from the last of `stages`, which is fed by the others. None of them may bring more
/// than `allowed`, or a coding inside another one could multiply what it is fed with.
fn pull(
    stages: &mut [Stage],
    scratch: &mut [u8],
    allowed: u64,
) -> Result<Option<Bytes>, Undecodable> {
    let Some((last, before)) = stages.split_last_mut() else {
        return Ok(None);
    };
    loop {
        let count = last.decode(scratch)?;
        if count > 0 {
            last.brought += count as u64;
            if last.brought > allowed {
                return Err(Undecodable::too_large(last.coding));
            }
            return Ok(Some(Bytes::copy_from_slice(&scratch[..count])));
        }
        match pull(before, scratch, allowed)? {
            Some(data) => last.push(data),
            None => return Ok(None),
        }
    }
}

/// Undoes one coding.
struct Stage {
    coding: Coding,
    codec: Codec,
    input: Bytes,
    brought: u64,
    // The codec filled all the room it had, so it may hold more.
    is_full: bool,
    failed: Option<Undecodable>,
}

enum Codec {
    // Nothing came yet.
    Unopened,
    Open(Box<dyn DecodeV2 + Send + Sync>),
    // At the end of the data. Others may follow.
    Done(Box<dyn DecodeV2 + Send + Sync>),
}

impl Stage {
    fn new(coding: Coding) -> Self {
        Self {
            coding,
            codec: Codec::Unopened,
            input: Bytes::new(),
            brought: 0,
            is_full: false,
            failed: None,
        }
    }

    fn push(&mut self, data: Bytes) {
        debug_assert!(self.input.is_empty());
        self.input = data;
    }

    /// Whether nothing is missing.
    fn is_at_rest(&self) -> bool {
        !matches!(self.codec, Codec::Open(_)) && self.input.is_empty() && self.failed.is_none()
    }

    /// Decodes into `room`; 0 means that more input is needed.
    fn decode(&mut self, room: &mut [u8]) -> Result<usize, Undecodable> {
        let mut output = WriteBuffer::new_initialized(room);
        while self.failed.is_none()
            && !output.has_no_spare_space()
            && (self.is_full || !self.input.is_empty())
        {
            self.failed = self.step(&mut output).err();
        }
        // What was good goes out before what was not.
        match output.written_len() {
            0 => self.failed.take().map_or(Ok(0), Err),
            count => Ok(count),
        }
    }

    fn step(&mut self, output: &mut WriteBuffer<'_>) -> Result<(), Undecodable> {
        let coding = self.coding;
        let corrupt = |source| Undecodable::corrupt(coding, source);
        let mut codec = match std::mem::replace(&mut self.codec, Codec::Unopened) {
            Codec::Unopened => open(coding, self.input[0]).ok_or_else(|| corrupt(None))?,
            Codec::Open(codec) => codec,
            // Only of these may several stand in a row.
            Codec::Done(mut codec) if matches!(coding, Coding::Gzip | Coding::Zstd) => {
                codec.reinit().map_err(|error| corrupt(Some(error)))?;
                codec
            }
            Codec::Done(_) => return Err(corrupt(None)),
        };
        let (had, room) = (self.input.len(), output.written_len());
        let mut input = PartialBuffer::new(&self.input[..]);
        let result = codec.decode(&mut input, output);
        let taken = input.written_len();
        self.input.advance(taken);
        self.is_full = output.has_no_spare_space();
        let is_done = match result {
            Ok(is_done) => is_done,
            // A codec that was full may turn out to have held nothing more.
            Err(_) if had == 0 => false,
            Err(error) => return Err(corrupt(Some(error))),
        };
        if is_done {
            self.is_full = false;
            self.codec = Codec::Done(codec);
        } else if had > 0 && taken == 0 && output.written_len() == room {
            return Err(corrupt(None));
        } else {
            self.codec = Codec::Open(codec);
        }
        Ok(())
    }
}

/// The codec for data that begin with `first`; `None` if none does.
fn open(coding: Coding, first: u8) -> Option<Box<dyn DecodeV2 + Send + Sync>> {
    Some(match coding {
        Coding::Gzip => Box::new(GzipDecoder::new()),
        // A zlib header names its method, 8. Raw data could begin like this only with a
        // block that is not compressed, padded with something else than zeros.
        Coding::Deflate if first & 0x0F == 8 => Box::new(ZlibDecoder::new()),
        Coding::Deflate => Box::new(DeflateDecoder::new()),
        // Large windows are no part of `br` (RFC 7932, section 9.1); the codec would grant one
        // of a gibibyte.
        Coding::Brotli if first & 0x7F == 0x11 => return None,
        Coding::Brotli => Box::new(BrotliDecoder::new()),
        Coding::Zstd => {
            let window = DParameter::window_log_max(ZSTD_WINDOW_LOG);
            Box::new(ZstdDecoder::new_with_params(&[window]))
        }
    })
}

impl fmt::Debug for Decoder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let codings = self.stages.iter().rev().map(|stage| stage.coding);
        f.debug_list().entries(codings).finish()
    }
}
