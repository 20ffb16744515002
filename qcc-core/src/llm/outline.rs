//! Reads a few members out of a large JSON document.
//!
//! A request has up to megabytes of text and tools of which nobody asks anything. serde_json
//! checks each byte of what it skips; this looks for the end of it and sees quotation marks and
//! brackets only. What is skipped may therefore be no JSON, as long as its strings and brackets
//! are closed: good enough for facts, and for nothing else. What is read is read as by serde_json.

use memchr::memchr;
use serde::de::value::BorrowedStrDeserializer;
use serde::de::{
    Deserialize, DeserializeSeed, Deserializer, Error as _, IntoDeserializer as _, MapAccess,
    SeqAccess, Visitor,
};
use serde::forward_to_deserialize_any;
use serde_json::Error;

/// Reads `json`, which is one value.
///
/// # Errors
///
/// It is not, or `T` is not made of such a value.
pub(super) fn from_slice<'de, T: Deserialize<'de>>(json: &'de [u8]) -> Result<T, Error> {
    let mut reader = Reader { json, at: 0 };
    let value = T::deserialize(&mut reader)?;
    match reader.peek() {
        None => Ok(value),
        Some(_) => Err(Error::custom("more than one value")),
    }
}

/// A document and how far it was read.
struct Reader<'de> {
    json: &'de [u8],
    at: usize,
}

impl<'de> Reader<'de> {
    /// The next byte that is no white space; it stays the next one.
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes the next byte that is no white space, which has to be `byte`.
    fn take(&mut self, byte: u8) -> Result<(), Error> {
        if self.peek() == Some(byte) {
            self.at += 1;
            return Ok(());
        }
        Err(Error::custom("a delimiter is missing"))
    }

    /// Takes the next value, which is not looked at.
    fn skip(&mut self) -> Result<&'de [u8], Error> {
        let byte = self.peek().ok_or_else(ended)?;
        let start = self.at;
        match byte {
            b'"' => self.skip_string()?,
            b'{' | b'[' => self.skip_nested()?,
            _ => self.skip_word(),
        }
        if self.at == start {
            return Err(Error::custom("a value is missing"));
        }
        Ok(&self.json[start..self.at])
    }

    /// Goes behind the quotation mark that ends the string that starts here.
    fn skip_string(&mut self) -> Result<(), Error> {
        let start = self.at + 1;
        let mut from = start;
        loop {
            let end = from + quote(&self.json[from..]).ok_or_else(ended)?;
            let before = self.json[start..end].iter().rev();
            let escapes = before.take_while(|byte| **byte == b'\\').count();
            from = end + 1;
            if escapes % 2 == 0 {
                self.at = from;
                return Ok(());
            }
        }
    }

    fn skip_nested(&mut self) -> Result<(), Error> {
        let mut depth = 0_usize;
        loop {
            match self.json.get(self.at).ok_or_else(ended)? {
                b'"' => {
                    self.skip_string()?;
                    continue;
                }
                b'{' | b'[' => depth += 1,
                b'}' | b']' => depth -= 1,
                _ => {}
            }
            self.at += 1;
            if depth == 0 {
                return Ok(());
            }
        }
    }

    /// Goes behind a number, `true`, `false` or `null`.
    fn skip_word(&mut self) {
        let rest = &self.json[self.at..];
        let end = rest
            .iter()
            .position(|byte| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t'));
        self.at += end.unwrap_or(rest.len());
    }
}

#[cold]
fn ended() -> Error {
    Error::custom("the document ends too early")
}

/// Where the first quotation mark is. Code has one every few words, too close for a search that
/// has to be called: this looks at 8 bytes at a time and is inlined.
#[inline]
fn quote(bytes: &[u8]) -> Option<usize> {
    const ONES: u64 = 0x0101_0101_0101_0101;
    let mut chunks = bytes.chunks_exact(8);
    let mut at = 0;
    for chunk in chunks.by_ref() {
        let chunk: [u8; 8] = chunk.try_into().unwrap_or_default();
        // A byte becomes 0 where there is a mark, and the lowest one of those borrows first.
        let rest = u64::from_le_bytes(chunk) ^ (ONES * u64::from(b'"'));
        let found = rest.wrapping_sub(ONES) & !rest & (ONES << 7);
        if found != 0 {
            return Some(at + found.trailing_zeros() as usize / 8);
        }
        at += 8;
    }
    let last = chunks.remainder().iter().position(|byte| *byte == b'"');
    last.map(|last| at + last)
}

/// The text between the quotation marks of `string`, if it stands there as it is.
fn plain(string: &[u8]) -> Option<&str> {
    let text = string.get(1..string.len() - 1)?;
    memchr(b'\\', text)
        .is_none()
        .then(|| std::str::from_utf8(text).ok())?
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.peek() {
            Some(b'{') => {
                self.at += 1;
                let mut members = Items::of(self, b'}');
                let value = visitor.visit_map(&mut members)?;
                members.end().map(|()| value)
            }
            Some(b'[') => {
                self.at += 1;
                let mut elements = Items::of(self, b']');
                let value = visitor.visit_seq(&mut elements)?;
                elements.end().map(|()| value)
            }
            _ => {
                let scalar = self.skip()?;
                match plain(scalar).filter(|_| scalar[0] == b'"') {
                    Some(text) => visitor.visit_borrowed_str(text),
                    None => serde_json::Deserializer::from_slice(scalar).deserialize_any(visitor),
                }
            }
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        if self.peek() == Some(b'n') {
            self.skip()?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier
    }
}

/// The members of an object or the elements of an array.
struct Items<'r, 'de> {
    reader: &'r mut Reader<'de>,
    closing: u8,
    is_first: bool,
    ended: bool,
}

impl<'r, 'de> Items<'r, 'de> {
    const fn of(reader: &'r mut Reader<'de>, closing: u8) -> Self {
        Self {
            reader,
            closing,
            is_first: true,
            ended: false,
        }
    }

    /// Whether another one follows, which is then the next to be read.
    fn another(&mut self) -> Result<bool, Error> {
        if self.reader.peek() == Some(self.closing) {
            self.reader.at += 1;
            self.ended = true;
            return Ok(false);
        }
        if !std::mem::take(&mut self.is_first) {
            self.reader.take(b',')?;
        }
        Ok(true)
    }

    fn end(&mut self) -> Result<(), Error> {
        if self.ended || !self.another()? {
            return Ok(());
        }
        Err(Error::custom("there are more items than expected"))
    }
}

impl<'de> MapAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Error> {
        if !self.another()? {
            return Ok(None);
        }
        if self.reader.peek() != Some(b'"') {
            return Err(Error::custom("a key is no string"));
        }
        let key = self.reader.skip()?;
        let name: BorrowedStrDeserializer<'de, Error> = match plain(key) {
            Some(text) => BorrowedStrDeserializer::new(text),
            None => {
                let text: String = serde_json::from_slice(key)?;
                return seed.deserialize(text.into_deserializer()).map(Some);
            }
        };
        seed.deserialize(name).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        self.reader.take(b':')?;
        seed.deserialize(&mut *self.reader)
    }
}

impl<'de> SeqAccess<'de> for Items<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Error> {
        if !self.another()? {
            return Ok(None);
        }
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde::de::IgnoredAny;
    use serde_json::Value;

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            "[ -~]{0,8}".prop_map(Value::from),
            r#"[\\"\n{}\[\],:é]{0,8}"#.prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(r#"[a-c\\"{]{0,3}"#, inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_first_mark_is_found(
            bytes in prop::collection::vec(prop::sample::select(b"\0!\"#\xa2\xff".as_slice()), 0..40),
        ) {
            let first = bytes.iter().position(|byte| *byte == b'"');
            prop_assert_eq!(quote(&bytes), first);
        }

        #[test]
        fn a_document_is_read_as_by_serde_json(value in value(), pretty in any::<bool>()) {
            let json = match pretty {
                true => serde_json::to_string_pretty(&value).unwrap(),
                false => value.to_string(),
            };
            prop_assert_eq!(from_slice::<Value>(json.as_bytes()).unwrap(), value);
            prop_assert!(from_slice::<IgnoredAny>(json.as_bytes()).is_ok());
        }

        #[test]
        fn a_part_of_a_document_is_none(value in value(), part in 0.0..1.0) {
            let json = Value::from(vec![value]).to_string();
            let end = (json.len() as f64 * part) as usize;
            prop_assert!(from_slice::<Value>(&json.as_bytes()[..end]).is_err());
            prop_assert!(from_slice::<IgnoredAny>(&json.as_bytes()[..end]).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in r#"[\\"{}\[\],: 1n]{0,24}"#) {
            let _ = from_slice::<Value>(bytes.as_bytes());
            let _ = from_slice::<IgnoredAny>(bytes.as_bytes());
        }
    }

    #[test]
    fn what_is_no_document_is_an_error() {
        for bad in [
            "",
            " ",
            "{",
            "{]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\" 1}",
            "{a:1}",
            "[1 2]",
            "[1,]",
            "{\"a\":1,}",
            "1 2",
            "{} {}",
            "\"",
            "\"\\\"",
            "\"a\\",
            "tru",
            "[01]",
        ] {
            assert!(from_slice::<Value>(bad.as_bytes()).is_err(), "{bad}");
        }
    }
}
