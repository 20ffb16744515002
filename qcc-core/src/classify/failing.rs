//! Reading the body of a failed answer.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};
use http::response::Parts;
use http_body::Body;

use crate::time::{Duration, Instant, Timer};

/// A failed answer is read up to so many bytes …
const FAILED_BYTES: usize = 64 * 1024;
/// … and for so long, so that keeping it holds no connection.
const FAILED_TIME: Duration = Duration::from_secs(5);

/// A failed answer whose body is being read.
pub(super) struct Failing<B> {
    pub(super) head: Parts,
    body: B,
    pub(super) read: BytesMut,
    until: Instant,
}

impl<B> Failing<B> {
    /// The answer of this head, which is read until its end, for its time, or until `deadline`.
    pub(super) fn new(head: Parts, body: B, now: Instant, deadline: Option<Instant>) -> Self {
        let latest = now + FAILED_TIME;
        Self {
            head,
            body,
            read: BytesMut::new(),
            until: deadline.map_or(latest, |deadline| deadline.min(latest)),
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Failing<B> {
    /// Ready when the body was read, as far as it can be and may be.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, timer: &mut Timer) -> Poll<()> {
        loop {
            match Pin::new(&mut self.body).poll_frame(cx) {
                Poll::Ready(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        let room = FAILED_BYTES - self.read.len();
                        self.read.extend_from_slice(&data[..data.len().min(room)]);
                        if data.len() >= room {
                            self.read.truncate(end_of_character(&self.read));
                            return Poll::Ready(());
                        }
                    }
                }
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(()),
                Poll::Pending => return timer.poll_until(cx, self.until),
            }
        }
    }
}

/// Where `text`, which was cut somewhere, ends if a character that was cut is left out.
fn end_of_character(text: &[u8]) -> usize {
    // A character has at most four bytes.
    let last = text.len().saturating_sub(4);
    let tail = &text[last..];
    let first = tail.iter().rposition(|byte| byte & 0xC0 != 0x80);
    match first {
        Some(first) if std::str::from_utf8(&tail[first..]).is_err() => last + first,
        _ => text.len(),
    }
}
