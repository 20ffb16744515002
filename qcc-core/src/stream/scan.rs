//! Where an event ends.

use std::ops::Range;

use memchr::memchr2;

/// Finds the ends of events in bytes that come in pieces, wherever they are cut.
///
/// An event ends with a blank line. A line ends with LF, CRLF or CR, so after a CR it takes one
/// more byte to know where the line ends. Only where the line before ended with a lone CR is
/// the CR of a blank line taken for its whole end at once, because a stream of such lines has
/// no further byte to wait for; a LF that follows nevertheless is skipped. So the ends found do
/// not depend on how the bytes are cut.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scan {
    at: At,
    /// Whether the last line that ended did so with a CR and no LF.
    lone_cr: bool,
}

#[derive(Clone, Copy, Debug)]
enum At {
    LineStart,
    InLine,
    /// After a CR that may be the first half of a CRLF.
    AfterCr {
        blank: bool,
    },
    /// After an event that ended with a lone CR.
    AfterEnd,
}

impl Scan {
    pub(super) const fn new() -> Self {
        Self {
            at: At::LineStart,
            lone_cr: false,
        }
    }

    /// Goes on with `bytes`, which follow what was looked at before. Returns how many of them
    /// belong to the event that ends in them. `line` is given the place of each line with content
    /// that ends in them.
    #[inline]
    pub(super) fn find(
        &mut self,
        bytes: &[u8],
        mut line: impl FnMut(Range<usize>),
    ) -> Option<usize> {
        let mut at = 0;
        let first = *bytes.first()?;
        match self.at {
            At::AfterCr { blank } => {
                self.lone_cr = first != b'\n';
                at += usize::from(!self.lone_cr);
                self.at = At::LineStart;
                if blank {
                    return Some(at);
                }
            }
            At::AfterEnd => {
                at += usize::from(first == b'\n');
                self.at = At::LineStart;
            }
            At::LineStart | At::InLine => {}
        }
        loop {
            let rest = &bytes[at..];
            let Some(found) = memchr2(b'\n', b'\r', rest) else {
                if !rest.is_empty() {
                    self.at = At::InLine;
                }
                return None;
            };
            if found > 0 {
                line(at..at + found);
            }
            let blank = found == 0 && matches!(self.at, At::LineStart);
            let end = at + found + 1;
            self.at = At::LineStart;
            at = if rest[found] == b'\n' {
                self.lone_cr = false;
                end
            } else if blank && self.lone_cr {
                self.at = At::AfterEnd;
                return Some(end);
            } else {
                match bytes.get(end) {
                    None => {
                        self.at = At::AfterCr { blank };
                        return None;
                    }
                    Some(b'\n') => {
                        self.lone_cr = false;
                        end + 1
                    }
                    Some(_) => {
                        self.lone_cr = true;
                        end
                    }
                }
            };
            if blank {
                return Some(at);
            }
        }
    }
}
