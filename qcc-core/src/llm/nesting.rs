//! Where the parts of a JSON document end.

use memchr::memchr2;

/// Follows the brackets of a document that comes in pieces, without keeping or checking it.
#[derive(Debug, Default)]
pub(super) struct Nesting {
    depth: u32,
    in_text: bool,
    escaped: bool,
    begun: bool,
    array: bool,
}

impl Nesting {
    /// Reads on to the first place in `bytes` where an element of an outermost array ends, and
    /// returns its offset; to be called again with the rest. `None`: all of `bytes` was read.
    pub(super) fn element(&mut self, bytes: &[u8]) -> Option<usize> {
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            if self.escaped {
                self.escaped = false;
            } else if self.in_text {
                at += memchr2(b'"', b'\\', &bytes[at..])?;
                self.in_text = bytes[at] != b'"';
                self.escaped = self.in_text;
            } else {
                match byte {
                    b'"' => self.in_text = true,
                    b'{' | b'[' => {
                        self.array |= !self.begun && byte == b'[';
                        self.begun = true;
                        self.depth += 1;
                    }
                    b'}' | b']' => {
                        self.depth = self.depth.saturating_sub(1);
                        if self.array && self.depth == 1 {
                            return Some(at + 1);
                        }
                    }
                    _ => {}
                }
            }
            at += 1;
        }
        None
    }

    /// Whether the outermost bracket is closed.
    pub(super) fn ended(&self) -> bool {
        self.begun && self.depth == 0
    }

    /// Whether the outermost bracket is that of an array.
    pub(super) fn is_array(&self) -> bool {
        self.array
    }
}

/// The elements of a whole array of objects.
pub(super) fn elements(array: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut nesting = Nesting::default();
    let mut rest = array;
    std::iter::from_fn(move || {
        let (element, after) = rest.split_at(nesting.element(rest)?);
        rest = after;
        let begin = memchr2(b'{', b'[', element.get(1..)?);
        // The first element stands behind the bracket of the array, the others behind a comma.
        Some(&element[begin? + 1..])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ARRAY: &str = r#"[{"a":"]}\"\\"},
{"b":[{}]} , {"c":{"d":"{"}}]"#;

    #[test]
    fn elements_of_an_array_are_told_apart() {
        let found: Vec<_> = elements(ARRAY.as_bytes()).collect();
        let expected: [&[u8]; 3] = [
            br#"{"a":"]}\"\\"}"#,
            br#"{"b":[{}]}"#,
            br#"{"c":{"d":"{"}}"#,
        ];
        assert_eq!(found, expected);
        assert_eq!(elements(b"[]").count(), 0);
    }

    #[test]
    fn it_does_not_matter_how_a_document_is_cut() {
        for cut in 0..=ARRAY.len() {
            let mut nesting = Nesting::default();
            let mut ends = Vec::new();
            for (offset, piece) in [(0, &ARRAY[..cut]), (cut, &ARRAY[cut..])] {
                let mut from = 0;
                while let Some(end) = nesting.element(&piece.as_bytes()[from..]) {
                    from += end;
                    ends.push(offset + from);
                }
            }
            assert_eq!(ends, [15, 27, ARRAY.len() - 1], "cut at {cut}");
            assert!(nesting.ended());
        }
    }

    #[test]
    fn a_document_has_not_ended_before_its_last_bracket() {
        let object = r#"{"a":{"b":"}"}}"#;
        for cut in 0..object.len() {
            let mut nesting = Nesting::default();
            assert_eq!(nesting.element(&object.as_bytes()[..cut]), None);
            assert!(!nesting.ended(), "cut at {cut}");
        }
    }
}
