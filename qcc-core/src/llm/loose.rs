//! Reading the fields of a request body, whatever stands there.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// A JSON value of any type, of which only what can be a fact is kept.
#[derive(Debug, Default)]
pub(super) struct Loose<'a> {
    pub(super) text: Option<Cow<'a, str>>,
    pub(super) truth: Option<bool>,
    pub(super) id: Option<Cow<'a, str>>,
    pub(super) user_id: Option<Cow<'a, str>>,
}

#[derive(serde::Deserialize)]
#[serde(field_identifier, rename_all = "snake_case")]
enum InnerName {
    Id,
    UserId,
    #[serde(other)]
    Other,
}

impl<'de> Deserialize<'de> for Loose<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue { inside: true })
    }
}

/// The text of a value inside an object; whatever stands deeper is ignored.
struct Inner<'a>(Option<Cow<'a, str>>);

impl<'de> Deserialize<'de> for Inner<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = deserializer.deserialize_any(AnyValue { inside: false })?;
        Ok(Self(value.text))
    }
}

struct AnyValue {
    /// Whether the fields of an object are looked at.
    inside: bool,
}

impl<'de> Visitor<'de> for AnyValue {
    type Value = Loose<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Loose<'de>, E> {
        let text = Some(Cow::Borrowed(text));
        Ok(Loose {
            text,
            ..Loose::default()
        })
    }

    fn visit_str<E>(self, text: &str) -> Result<Loose<'de>, E> {
        let text = Some(Cow::Owned(text.to_owned()));
        Ok(Loose {
            text,
            ..Loose::default()
        })
    }

    fn visit_bool<E>(self, truth: bool) -> Result<Loose<'de>, E> {
        let truth = Some(truth);
        Ok(Loose {
            truth,
            ..Loose::default()
        })
    }

    fn visit_i64<E>(self, _: i64) -> Result<Loose<'de>, E> {
        Ok(Loose::default())
    }

    fn visit_u64<E>(self, _: u64) -> Result<Loose<'de>, E> {
        Ok(Loose::default())
    }

    fn visit_f64<E>(self, _: f64) -> Result<Loose<'de>, E> {
        Ok(Loose::default())
    }

    fn visit_unit<E>(self) -> Result<Loose<'de>, E> {
        Ok(Loose::default())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Loose<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Loose::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Loose<'de>, A::Error> {
        let mut value = Loose::default();
        while let Some(key) = map.next_key()? {
            match key {
                InnerName::Id if self.inside => value.id = map.next_value::<Inner<'_>>()?.0,
                InnerName::UserId if self.inside => {
                    value.user_id = map.next_value::<Inner<'_>>()?.0;
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(value)
    }
}
