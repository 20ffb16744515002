//! The quotation marks of a JSON document.

use wide::u8x64;

/// As many bytes are looked at together as a word has bits.
const BLOCK: usize = 64;

/// Finds the quotation marks that begin and end the strings of a document, in their order.
///
/// Each block of bytes becomes two words, with a bit for each mark and for each backslash. Which
/// marks are escaped then takes a few operations for the whole block: text that consists of code
/// has an escape every few words, too close for a search from one to the next.
#[derive(Debug)]
pub(super) struct Marks<'a> {
    /// The blocks that come next.
    blocks: &'a [[u8; BLOCK]],
    /// What is left of the document behind them.
    tail: &'a [u8],
    /// Where the first of them begins.
    next: usize,
    /// The marks of the block before it that were not taken yet.
    found: u64,
    /// 1 if the first byte of the next block is escaped.
    escaped: u64,
    /// The end of the last block so far that has a backslash.
    slashed: usize,
}

impl<'a> Marks<'a> {
    pub(super) const fn of(json: &'a [u8]) -> Self {
        let (blocks, tail) = json.as_chunks();
        Self {
            blocks,
            tail,
            next: 0,
            found: 0,
            escaped: 0,
            slashed: 0,
        }
    }

    /// Whether there is surely no backslash from `begin` on to the mark that was taken last.
    #[inline]
    pub(super) const fn is_plain_from(&self, begin: usize) -> bool {
        begin >= self.slashed
    }

    /// Takes the next mark, which was looked at.
    #[inline]
    pub(super) const fn drop_next(&mut self) {
        self.found &= self.found.wrapping_sub(1);
    }

    /// Where the next mark is; it stays the next one.
    #[inline]
    pub(super) fn peek(&mut self) -> Option<usize> {
        let found = match self.found {
            0 => self.find()?,
            found => found,
        };
        Some(self.next - BLOCK + found.trailing_zeros() as usize)
    }

    /// Goes on to the next block that has marks, and gives them; `None` if there is none.
    #[inline(never)]
    fn find(&mut self) -> Option<u64> {
        let (mut blocks, mut next, mut escaped, mut found) =
            (self.blocks, self.next, self.escaped, 0);
        while found == 0 {
            let (marks, backslashes) = match blocks {
                [block, rest @ ..] => {
                    blocks = rest;
                    bits(block)
                }
                [] if self.tail.is_empty() => return None,
                [] => {
                    let mut block = [0; BLOCK];
                    block[..self.tail.len()].copy_from_slice(self.tail);
                    self.tail = &[];
                    bits(&block)
                }
            };
            next += BLOCK;
            if backslashes != 0 {
                self.slashed = next;
            }
            found = marks & !escapes(backslashes, &mut escaped);
        }
        (self.blocks, self.next, self.escaped, self.found) = (blocks, next, escaped, found);
        Some(found)
    }
}

/// Which bytes of `block` are quotation marks, and which are backslashes.
#[inline]
fn bits(block: &[u8; BLOCK]) -> (u64, u64) {
    let block = u8x64::new(*block);
    let bits = |byte| block.simd_eq(u8x64::splat(byte)).to_bitmask();
    (bits(b'"'), bits(b'\\'))
}

/// Which bytes of a block are escaped, by its backslashes. `escaped`: 1 if the first one is, and
/// then if the first one of the next block is.
///
/// Of a row of backslashes every second one escapes. A subtraction carries through a row and so
/// tells whether it began at an odd or an even bit.
#[inline]
fn escapes(backslashes: u64, escaped: &mut u64) -> u64 {
    const ODD: u64 = 0xAAAA_AAAA_AAAA_AAAA;
    if backslashes == 0 {
        return std::mem::take(escaped);
    }
    let begin = backslashes & !*escaped;
    let rows = (begin << 1 | ODD).wrapping_sub(begin) ^ ODD;
    let escapes = rows ^ (backslashes | *escaped);
    *escaped = (rows & backslashes) >> (BLOCK - 1);
    escapes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn take(marks: &mut Marks<'_>) -> Option<usize> {
        let mark = marks.peek();
        marks.drop_next();
        mark
    }

    proptest! {
        #[test]
        fn a_mark_behind_an_odd_number_of_backslashes_is_none(
            bytes in prop::collection::vec(prop::sample::select(br#"\\\"x"#.as_slice()), 0..300),
        ) {
            let mut marks = Marks::of(&bytes);
            let found: Vec<_> = std::iter::from_fn(|| take(&mut marks)).collect();
            let mut expected = Vec::new();
            let mut escaped = false;
            for (at, byte) in bytes.iter().enumerate() {
                if *byte == b'"' && !escaped {
                    expected.push(at);
                }
                escaped = *byte == b'\\' && !escaped;
            }
            prop_assert_eq!(found, expected);
        }

        #[test]
        fn no_other_byte_is_taken_for_a_mark(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let mut marks = Marks::of(&bytes);
            while let Some(mark) = take(&mut marks) {
                prop_assert_eq!(bytes[mark], b'"');
            }
        }
    }

    #[test]
    fn the_next_mark_stays_until_it_is_taken() {
        let mut marks = Marks::of(br#"ab"c\"d"e"#);
        assert_eq!([marks.peek(), marks.peek()], [Some(2); 2]);
        assert_eq!([take(&mut marks), take(&mut marks)], [Some(2), Some(7)]);
        assert_eq!([marks.peek(), take(&mut marks)], [None; 2]);
    }
}
