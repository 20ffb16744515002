//! Reads a few members out of a JSON document.
//!
//! A request has up to megabytes of text and tools of which nobody asks anything, and so has an
//! answer. What is asked for is read as by serde_json; what is not is skipped from one
//! quotation mark to the next.

use std::borrow::Cow;

use serde::de::IgnoredAny;
use smallvec::SmallVec;

use super::marks::Marks;
use super::word::{check_word, number};

/// Has `read` take the value that `json` is. What serde_json refuses is refused, wherever it
/// stands.
///
/// # Errors
///
/// It is not one value, or `read` fails.
pub(super) fn whole<'a, T>(
    json: &'a [u8],
    read: impl FnOnce(&mut Reader<'a, Checked>) -> Result<T>,
) -> Result<T> {
    // Nearly none has any; a look at all of it at once is cheaper than one at each string.
    let controls = json.iter().fold(false, |any, byte| any | (*byte < b' '));
    Reader::new(json, Checked { controls }).all(read)
}

/// The same, without a look at what is skipped. That may therefore be no JSON, as long as its
/// strings and brackets are closed: good enough for facts, and for nothing else.
///
/// `string` is given the rest of the document from the beginning of each string in it on.
///
/// # Errors
///
/// As for [`whole`].
pub(super) fn outline<'a, T, F: FnMut(&'a [u8])>(
    json: &'a [u8],
    string: F,
    read: impl FnOnce(&mut Reader<'a, Outline<F>>) -> Result<T>,
) -> Result<T> {
    Reader::new(json, Outline(string)).all(read)
}

/// A document, or a part of it, is not what it has to be. Nobody asks where.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Malformed;

/// What was read, unless it is [`Malformed`].
pub(super) type Result<T, E = Malformed> = std::result::Result<T, E>;

/// How a document is read.
pub(super) trait Manner<'a> {
    /// Whether what is skipped has to be JSON.
    const CHECKED: bool;

    /// Whether `text`, which has no backslash, may be that of a string.
    fn accepts(&self, text: &[u8]) -> bool;

    /// Sees where each string begins.
    fn string(&mut self, rest: &'a [u8]);
}

pub(super) struct Checked {
    /// Whether there are control characters in the document, which no string may have.
    controls: bool,
}

impl Manner<'_> for Checked {
    const CHECKED: bool = true;

    fn accepts(&self, text: &[u8]) -> bool {
        !self.controls || text.iter().all(|byte| *byte >= b' ')
    }

    fn string(&mut self, _: &[u8]) {}
}

pub(super) struct Outline<F>(F);

impl<'a, F: FnMut(&'a [u8])> Manner<'a> for Outline<F> {
    const CHECKED: bool = false;

    fn accepts(&self, _: &[u8]) -> bool {
        true
    }

    fn string(&mut self, rest: &'a [u8]) {
        (self.0)(rest);
    }
}

/// A document and how far it was read.
pub(super) struct Reader<'a, M> {
    json: &'a [u8],
    at: usize,
    /// The marks from there on.
    marks: Marks<'a>,
    manner: M,
}

/// An object of which some members are kept.
pub(super) trait Object<'a>: Default {
    /// Takes `value`, which is that of the member `name`. Of a member that comes twice the last
    /// is believed, as most do.
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()>;
}

impl<'a, M: Manner<'a>> Reader<'a, M> {
    const fn new(json: &'a [u8], manner: M) -> Self {
        Self {
            json,
            at: 0,
            marks: Marks::of(json),
            manner,
        }
    }

    fn all<T>(mut self, read: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        let value = read(&mut self)?;
        match self.peek() {
            None => Ok(value),
            Some(_) => Err(Malformed),
        }
    }

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

    /// Takes the next byte that is no white space.
    fn take(&mut self) -> Option<u8> {
        let byte = self.peek()?;
        self.at += 1;
        Some(byte)
    }

    /// Takes the next byte that is no white space, which has to be `byte`.
    fn expect(&mut self, byte: u8) -> Result<()> {
        match self.take() == Some(byte) {
            true => Ok(()),
            false => Err(Malformed),
        }
    }

    /// Takes the string that is next, with its marks.
    fn string(&mut self) -> Result<&'a [u8]> {
        self.peek();
        let begin = self.at;
        if self.marks.peek() != Some(begin) {
            return Err(Malformed);
        }
        self.skip_string(begin)?;
        self.json.get(begin..self.at).ok_or(Malformed)
    }

    /// Goes behind the string between the next two marks, the first of which is at `begin`.
    #[inline]
    fn skip_string(&mut self, begin: usize) -> Result<()> {
        self.manner.string(&self.json[begin..]);
        self.marks.drop_next();
        let end = self.marks.peek().ok_or(Malformed)?;
        self.marks.drop_next();
        self.at = end + 1;
        Ok(())
    }

    /// Takes the word that is next: a number, `true`, `false` or `null`.
    fn word(&mut self) -> &'a [u8] {
        let rest = &self.json[self.at..];
        let ends = |byte: &u8| matches!(byte, b',' | b'}' | b']' | b' ' | b'\n' | b'\r' | b'\t');
        let word = &rest[..rest.iter().position(ends).unwrap_or(rest.len())];
        self.at += word.len();
        word
    }

    /// Takes the next value and has `member` take the value of each member of it, if it is an
    /// object. Says whether it is.
    #[inline]
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, &[u8]) -> Result<()>,
    ) -> Result<bool> {
        if self.peek() != Some(b'{') {
            return self.skip().map(|()| false);
        }
        self.at += 1;
        let mut is_first = true;
        while self.another(b'}', &mut is_first)? {
            let name = self.string()?;
            let plain = self.plain(name);
            self.expect(b':')?;
            match plain {
                Some(name) => member(self, name)?,
                None => member(self, unescaped(name)?.as_bytes())?,
            }
        }
        Ok(true)
    }

    /// Takes the next value and has `element` take each element of it, if it is an array.
    #[inline]
    pub(super) fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<()>,
    ) -> Result<()> {
        if self.peek() != Some(b'[') {
            return self.skip();
        }
        self.at += 1;
        let mut is_first = true;
        while self.another(b']', &mut is_first)? {
            element(self)?;
        }
        Ok(())
    }

    /// Takes the next value: an object, or anything else.
    #[inline]
    pub(super) fn object<T: Object<'a>>(&mut self) -> Result<Option<T>> {
        let mut object = T::default();
        let is_object = self.members(|value, name| object.member(name, value))?;
        Ok(is_object.then_some(object))
    }

    /// Takes the next value: null, or one that `read` takes.
    pub(super) fn unless_null<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T>,
    ) -> Result<Option<T>> {
        match self.peek() {
            Some(b'n') => self.skip().map(|()| None),
            _ => read(self).map(Some),
        }
    }

    /// Takes the next value: a text that is not empty, or anything else.
    pub(super) fn text(&mut self) -> Result<Option<Cow<'a, str>>> {
        if self.peek() != Some(b'"') {
            return self.skip().map(|()| None);
        }
        let string = self.string()?;
        let text = match self.plain(string) {
            Some(text) => Cow::Borrowed(str::from_utf8(text).map_err(other)?),
            None => Cow::Owned(unescaped(string)?),
        };
        Ok(Some(text).filter(|text| !text.is_empty()))
    }

    /// Takes the next value: an object with a text as the member `name`, or anything else.
    pub(super) fn text_of_member(&mut self, name: &[u8]) -> Result<Option<Cow<'a, str>>> {
        let mut text = None;
        self.members(|value, key| {
            match key == name {
                true => text = value.text()?,
                false => value.skip()?,
            }
            Ok(())
        })?;
        Ok(text)
    }

    /// Takes the next value: a text, an object with one as the member `name`, or anything else.
    pub(super) fn text_or_member(&mut self, name: &[u8]) -> Result<Option<Cow<'a, str>>> {
        match self.peek() {
            Some(b'{') => self.text_of_member(name),
            _ => self.text(),
        }
    }

    /// Takes the next value: a truth value, or anything else.
    pub(super) fn truth(&mut self) -> Result<Option<bool>> {
        Ok(match self.raw()? {
            b"true" => Some(true),
            b"false" => Some(false),
            _ => None,
        })
    }

    /// Takes the next value: a natural number, or anything else.
    pub(super) fn count(&mut self) -> Result<Option<u64>> {
        match self.peek() {
            Some(b'-' | b'0'..=b'9') => number(self.word()),
            _ => self.skip().map(|()| None),
        }
    }

    /// Takes the next value and says whether a client takes it for something: not null, false, 0
    /// or empty.
    pub(super) fn truthy(&mut self) -> Result<bool> {
        match self.peek() {
            Some(b'"') => self.text().map(|text| text.is_some()),
            Some(b'-' | b'0'..=b'9') => number(self.word()).map(|number| number != Some(0)),
            _ => Ok(match self.raw()? {
                b"null" | b"false" => false,
                [b'{' | b'[', content @ .., _] => !content.trim_ascii().is_empty(),
                _ => true,
            }),
        }
    }

    /// Takes the next value, and gives what stands there.
    fn raw(&mut self) -> Result<&'a [u8]> {
        self.peek();
        let begin = self.at;
        self.skip()?;
        self.json.get(begin..self.at).ok_or(Malformed)
    }

    /// Whether another item follows, up to the bracket that is `closing`; it is the next one then.
    #[inline]
    fn another(&mut self, closing: u8, is_first: &mut bool) -> Result<bool> {
        if self.peek() == Some(closing) {
            self.at += 1;
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            self.expect(b',')?;
        }
        Ok(true)
    }

    /// The text between the marks of `string`, which was taken last, if it stands there as it is.
    fn plain<'s>(&self, string: &'s [u8]) -> Option<&'s [u8]> {
        let text = string.get(1..string.len() - 1)?;
        let is_plain = self.marks.is_plain_from(self.at - string.len()) || !text.contains(&b'\\');
        (is_plain && self.manner.accepts(text)).then_some(text)
    }

    /// Takes the next value.
    pub(super) fn skip(&mut self) -> Result<()> {
        match self.peek() {
            _ if M::CHECKED => self.check(),
            Some(b'"') => self.string().map(drop),
            Some(b'{' | b'[') => self.skip_nested(),
            _ if self.word().is_empty() => Err(Malformed),
            _ => Ok(()),
        }
    }

    /// Takes an array or an object. Between two strings brackets are brackets.
    fn skip_nested(&mut self) -> Result<()> {
        let mut depth = 0_usize;
        loop {
            let mark = self.marks.peek().unwrap_or(self.json.len());
            let between = self.json.get(self.at..mark).ok_or(Malformed)?;
            for (offset, byte) in between.iter().enumerate() {
                // With this bit `[` is `{` and `]` is `}`.
                match byte | 0x20 {
                    b'{' => depth += 1,
                    b'}' if depth == 1 => {
                        self.at += offset + 1;
                        return Ok(());
                    }
                    b'}' => depth -= 1,
                    _ => {}
                }
            }
            self.skip_string(mark)?;
        }
    }

    /// Takes the string that is next, which has to be JSON.
    fn check_string(&mut self) -> Result<()> {
        let string = self.string()?;
        match self.plain(string) {
            Some(_) => Ok(()),
            None => check_by_serde(string),
        }
    }

    /// Takes the next value, which has to be JSON. It may be as deep as it is long.
    fn check(&mut self) -> Result<()> {
        let mut open = SmallVec::<[u8; 32]>::new();
        loop {
            let mut first = false;
            match self.peek() {
                Some(bracket @ (b'{' | b'[')) => {
                    self.at += 1;
                    // So far behind it in ASCII stands the one that closes.
                    open.push(bracket + 2);
                    first = true;
                }
                Some(b'"') => self.check_string()?,
                _ => check_word(self.word())?,
            }
            loop {
                let Some(&closing) = open.last() else {
                    return Ok(());
                };
                if self.peek() == Some(closing) {
                    self.at += 1;
                    open.pop();
                    first = false;
                    continue;
                }
                if !first {
                    self.expect(b',')?;
                }
                if closing == b'}' {
                    self.check_string()?;
                    self.expect(b':')?;
                }
                break;
            }
        }
    }
}

fn unescaped(string: &[u8]) -> Result<String> {
    serde_json::from_slice(string).map_err(other)
}

pub(super) fn check_by_serde(json: &[u8]) -> Result<()> {
    serde_json::from_slice::<IgnoredAny>(json)
        .map(drop)
        .map_err(other)
}

pub(super) fn other(_: impl std::error::Error) -> Malformed {
    Malformed
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let scalar = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
            "[ -~]{0,80}".prop_map(Value::from),
            r#"[\\"\n{}\[\],:é]{0,80}"#.prop_map(Value::from),
        ];
        scalar.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
                prop::collection::hash_map(r#"[a-c\\"{]{0,3}"#, inner, 0..4)
                    .prop_map(|map| map.into_iter().collect::<Value>()),
            ]
        })
    }

    fn unseen(_: &[u8]) {}

    fn written(value: &Value, pretty: bool) -> String {
        match pretty {
            true => serde_json::to_string_pretty(value).unwrap(),
            false => value.to_string(),
        }
    }

    /// All of a value that can be told.
    fn told<'a, M: Manner<'a>>(reader: &mut Reader<'a, M>) -> Result<Value> {
        match reader.peek() {
            Some(b'{') => {
                let mut map = Map::new();
                reader.members(|value, name| {
                    let name = str::from_utf8(name).map_err(other)?.to_owned();
                    told(value).map(|value| map.insert(name, value)).map(drop)
                })?;
                Ok(map.into())
            }
            Some(b'[') => {
                let mut elements = Vec::new();
                reader.elements(|element| told(element).map(|element| elements.push(element)))?;
                Ok(elements.into())
            }
            Some(b'"') => Ok(reader.text()?.map(Cow::into_owned).into()),
            Some(b't' | b'f') => Ok(reader.truth()?.into()),
            _ => Ok(reader.count()?.into()),
        }
    }

    /// The same of what serde_json has read.
    fn tellable(value: Value) -> Value {
        match value {
            Value::Number(number) => {
                let natural = |float: &f64| *float >= 0.0 && *float < 9e15 && float.fract() == 0.0;
                let float = number.as_f64().filter(natural).map(|float| float as u64);
                number.as_u64().or(float).into()
            }
            Value::String(text) if text.is_empty() => Value::Null,
            Value::Array(elements) => elements.into_iter().map(tellable).collect(),
            Value::Object(members) => members
                .into_iter()
                .map(|(name, value)| (name, tellable(value)))
                .collect(),
            other => other,
        }
    }

    /// What may stand in a document, and what may not.
    fn bytes() -> impl Strategy<Value = Vec<u8>> {
        const PIECES: [&[u8]; 26] = [
            b"{",
            b"}",
            b"[",
            b"]",
            b":",
            b",",
            b" ",
            b"\n",
            b"\"",
            b"\\",
            b"\"a\"",
            b"\"a\":",
            b"\"\\\"\"",
            b"\"\\u00e9\"",
            b"\"\\ud800\"",
            b"\"\\x\"",
            b"\"\x1f\"",
            b"\"\xff\"",
            b"0",
            b"01",
            b"-1.5e3",
            b"1e999",
            b"null",
            b"true",
            b"fals",
            b"\xc3\xa9",
        ];
        prop::collection::vec(prop::sample::select(PIECES.as_slice()), 0..12)
            .prop_map(|pieces| pieces.concat())
    }

    proptest! {
        #[test]
        fn a_document_is_read_as_by_serde_json(value in value(), pretty in any::<bool>()) {
            let json = written(&value, pretty);
            let json = json.as_bytes();
            prop_assert!(whole(json, Reader::skip).is_ok());
            prop_assert!(outline(json, unseen, Reader::skip).is_ok());
            let is_something = match &value {
                Value::Null => false,
                Value::Bool(truth) => *truth,
                Value::Number(number) => number.as_f64() != Some(0.0),
                Value::String(text) => !text.is_empty(),
                Value::Array(elements) => !elements.is_empty(),
                Value::Object(members) => !members.is_empty(),
            };
            prop_assert_eq!(whole(json, Reader::truthy), Ok(is_something));
            let expected = Ok(tellable(value));
            prop_assert_eq!(&whole(json, told), &expected);
            prop_assert_eq!(&outline(json, unseen, told), &expected);
        }

        #[test]
        fn each_string_is_seen_once(value in value(), pretty in any::<bool>()) {
            let json = written(&value, pretty);
            let mut strings = 0;
            outline(json.as_bytes(), |_| strings += 1, told).unwrap();
            let mut skipped = 0;
            let see = |rest: &[u8]| {
                assert_eq!(rest[0], b'"');
                skipped += 1;
            };
            outline(json.as_bytes(), see, Reader::skip).unwrap();
            prop_assert_eq!(strings, skipped);
        }

        #[test]
        fn a_part_of_a_document_is_none(value in value(), part in 0.0..1.0) {
            let json = Value::from(vec![value]).to_string();
            let end = (json.len() as f64 * part) as usize;
            let json = &json.as_bytes()[..end];
            prop_assert!(whole(json, told).is_err());
            prop_assert!(whole(json, Reader::skip).is_err());
            prop_assert!(outline(json, unseen, told).is_err());
            prop_assert!(outline(json, unseen, Reader::skip).is_err());
        }

        #[test]
        fn what_serde_json_refuses_is_refused(bytes in bytes()) {
            let read = serde_json::from_slice::<Value>(&bytes).map(tellable).ok();
            prop_assert_eq!(whole(&bytes, told).ok(), read);
            let is_json = serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
            prop_assert_eq!(whole(&bytes, Reader::skip).is_ok(), is_json);
            if is_json {
                prop_assert!(outline(&bytes, unseen, Reader::skip).is_ok());
            }
            let _ = outline(&bytes, unseen, told);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let read = serde_json::from_slice::<Value>(&bytes).map(tellable).ok();
            prop_assert_eq!(whole(&bytes, told).ok(), read);
            let _ = outline(&bytes, unseen, told);
            let _ = outline(&bytes, unseen, Reader::skip);
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
            assert!(whole(bad.as_bytes(), told).is_err(), "{bad}");
            assert!(whole(bad.as_bytes(), Reader::skip).is_err(), "{bad}");
        }
    }

    #[test]
    fn it_does_not_matter_where_a_document_has_its_escapes() {
        for before in 0..200 {
            let name = " ".repeat(before);
            let json = format!(r#"{{"{name}":1,"\\n" :"\"","b":"\\","c": "d"}}"#);
            let expected = serde_json::from_str(&json).map(tellable).unwrap();
            assert_eq!(
                outline(json.as_bytes(), unseen, told).as_ref(),
                Ok(&expected)
            );
            assert_eq!(whole(json.as_bytes(), told), Ok(expected));
        }
    }

    #[test]
    fn a_document_may_be_as_deep_as_it_is_long() {
        let deep = ["[".repeat(100_000), "]".repeat(100_000)].concat();
        assert!(whole(deep.as_bytes(), Reader::skip).is_ok());
        assert!(whole(&deep.as_bytes()[1..], Reader::skip).is_err());
        assert!(outline(deep.as_bytes(), unseen, Reader::skip).is_ok());
    }
}
