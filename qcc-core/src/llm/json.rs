//! Reading JSON that may hold anything.
//!
//! Relays send numbers as floats, `null` for objects and strings for errors. A field that has
//! another type than expected must not hide the rest of its event, so every field is read as
//! what it is and then asked what it can be taken for.

use std::borrow::Cow;
use std::fmt;
use std::marker::PhantomData;

use memchr::memmem::Finder;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::reader::whole;

/// Any value, as far as it is of interest.
#[derive(Debug, Default)]
pub(super) enum Peek<'a> {
    #[default]
    Null,
    Bool(bool),
    /// `None` if it is no natural number.
    Number(Option<u64>),
    Text(Cow<'a, str>),
    /// An array or an object, with or without content.
    Many(bool),
}

impl<'a> Peek<'a> {
    /// Whether a client takes the value for something: not null, false, 0 or empty.
    pub(super) fn truthy(&self) -> bool {
        match self {
            Self::Null => false,
            Self::Bool(value) | Self::Many(value) => *value,
            Self::Number(number) => *number != Some(0),
            Self::Text(text) => !text.is_empty(),
        }
    }

    /// The text; empty if it is none.
    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Text(text) => text,
            _ => "",
        }
    }

    /// The text, if it is one that is not empty.
    pub(super) fn text(self) -> Option<Cow<'a, str>> {
        match self {
            Self::Text(text) if !text.is_empty() => Some(text),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Peek<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(PeekVisitor)
    }
}

struct PeekVisitor;

impl<'de> Visitor<'de> for PeekVisitor {
    type Value = Peek<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Peek<'de>, E> {
        Ok(Peek::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Peek<'de>, E> {
        Ok(Peek::Bool(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Peek<'de>, E> {
        Ok(Peek::Number(Some(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Peek<'de>, E> {
        Ok(Peek::Number(u64::try_from(value).ok()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Peek<'de>, E> {
        // Counts are far below 2^53, up to which floats are exact.
        let natural = value >= 0.0 && value.fract() == 0.0 && value < 9e15;
        Ok(Peek::Number(natural.then_some(value as u64)))
    }

    fn visit_borrowed_str<E: Error>(self, value: &'de str) -> Result<Peek<'de>, E> {
        Ok(Peek::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Peek<'de>, E> {
        Ok(Peek::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Peek<'de>, A::Error> {
        let mut any = false;
        while seq.next_element::<IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Peek::Many(any))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Peek<'de>, A::Error> {
        let mut any = false;
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {
            any = true;
        }
        Ok(Peek::Many(any))
    }
}

/// Reads whether a field is truthy.
pub(super) fn truthy<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    Peek::deserialize(deserializer).map(|peek| peek.truthy())
}

/// Reads a natural number.
pub(super) fn count<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    Peek::deserialize(deserializer).map(|peek| match peek {
        Peek::Number(number) => number,
        _ => None,
    })
}

/// Reads a text that is not empty.
pub(super) fn text<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'de, str>>, D::Error> {
    Peek::deserialize(deserializer).map(Peek::text)
}

/// The methods of a visitor that takes every other value for nothing.
macro_rules! nothing_else {
    (scalars) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_unit<E: Error>(self) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_bool<E: Error>(self, _: bool) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_u64<E: Error>(self, _: u64) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_i64<E: Error>(self, _: i64) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_f64<E: Error>(self, _: f64) -> Result<Self::Value, E> {
            Ok(Default::default())
        }

        fn visit_str<E: Error>(self, _: &str) -> Result<Self::Value, E> {
            Ok(Default::default())
        }
    };
    (arrays) => {
        nothing_else!(scalars);

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
            while seq.next_element::<IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
    (objects) => {
        nothing_else!(scalars);

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
            while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            Ok(Default::default())
        }
    };
}

/// An object; the default where there is anything else.
#[derive(Debug, Default)]
pub(super) struct Object<T>(pub(super) T);

impl<'de, T: Deserialize<'de> + Default> Deserialize<'de> for Object<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ObjectVisitor(PhantomData))
    }
}

struct ObjectVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: Deserialize<'de> + Default> Visitor<'de> for ObjectVisitor<T> {
    type Value = Object<T>;

    nothing_else!(arrays);

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Object<T>, A::Error> {
        T::deserialize(MapAccessDeserializer::new(map)).map(Object)
    }
}

/// What is gathered from the items of an array, which is not kept.
pub(super) trait Gather<'de>: Default {
    type Item: Deserialize<'de>;

    fn add(&mut self, item: Self::Item);
}

/// An array whose items are gathered; nothing is where there is anything else.
#[derive(Debug, Default)]
pub(super) struct Each<T>(pub(super) T);

impl<'de, T: Gather<'de>> Deserialize<'de> for Each<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(EachVisitor(PhantomData))
    }
}

struct EachVisitor<T>(PhantomData<fn() -> T>);

impl<'de, T: Gather<'de>> Visitor<'de> for EachVisitor<T> {
    type Value = Each<T>;

    nothing_else!(objects);

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Each<T>, A::Error> {
        let mut gathered = T::default();
        while let Some(item) = seq.next_element()? {
            gathered.add(item);
        }
        Ok(Each(gathered))
    }
}

/// Whether an object has content beside the names that every piece of output has.
#[derive(Debug, Default)]
pub(super) struct Says(pub(super) bool);

impl<'de> Deserialize<'de> for Says {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(SaysVisitor)
    }
}

struct SaysVisitor;

impl<'de> Visitor<'de> for SaysVisitor {
    type Value = Says;

    nothing_else!(arrays);

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Says, A::Error> {
        let mut says = false;
        while let Some(key) = map.next_key::<Peek<'de>>()? {
            let value = map.next_value::<Peek<'de>>()?;
            says |= value.truthy() && !matches!(key.as_str(), "type" | "role" | "thought");
        }
        Ok(Says(says))
    }
}

/// `json` as a `T`; `None` if it is no object.
pub(super) fn object<'a, T: Deserialize<'a>>(json: &'a [u8]) -> Option<T> {
    // A struct would be read from an array, too.
    let is_object = json.trim_ascii_start().first() == Some(&b'{');
    is_object.then(|| whole(json).ok())?
}

/// The member `type` of an object; empty if it has none.
pub(super) fn type_of(json: &[u8]) -> Cow<'_, str> {
    #[derive(Default, serde::Deserialize)]
    #[serde(default)]
    struct Typed<'a> {
        #[serde(borrow, deserialize_with = "text")]
        r#type: Option<Cow<'a, str>>,
    }

    let typed = object::<Typed<'_>>(json).unwrap_or_default();
    typed.r#type.unwrap_or_default()
}

/// Whether in `json` the value after each occurrence of `key`, given with its quotes, is one of
/// those that `accept`s. A look at the bytes, far cheaper than a parse: inside of a text the
/// quotes of a key are escaped, so it is found only as a key or as a whole text, and the latter
/// no value follows.
pub(super) fn each_value(json: &[u8], key: &Finder<'_>, accept: impl Fn(&[u8]) -> bool) -> bool {
    key.find_iter(json).all(|found| {
        let rest = json[found + key.needle().len()..].trim_ascii_start();
        match rest.strip_prefix(b":") {
            Some(value) => accept(value.trim_ascii_start()),
            None => true,
        }
    })
}

/// The natural number after the first occurrence of `key`.
pub(super) fn number_after(json: &[u8], key: &Finder<'_>) -> Option<u64> {
    let rest = json[key.find(json)? + key.needle().len()..].trim_ascii_start();
    let value = rest.strip_prefix(b":")?.trim_ascii_start();
    let digits = value.iter().take_while(|byte| byte.is_ascii_digit());
    let mut digits = digits.peekable();
    digits.peek()?;
    digits.try_fold(0_u64, |number, digit| {
        number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))
    })
}
