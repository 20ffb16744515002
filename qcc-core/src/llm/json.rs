//! A look at JSON that may hold anything.
//!
//! Relays send numbers as floats, `null` for objects and strings for errors. A field that has
//! another type than expected must not hide the rest of its event, so every field is read as
//! what it is and then asked what it can be taken for.

use std::borrow::Cow;

use memchr::memmem::Finder;

use super::reader::{Manner, Object, Reader, Result, whole};

/// Whether an object has content beside the names that every piece of output has.
pub(super) fn says<'a, M: Manner<'a>>(value: &mut Reader<'a, M>) -> Result<bool> {
    let mut says = false;
    value.members(|value, name| {
        says |= value.truthy()? && !matches!(name, b"type" | b"role" | b"thought");
        Ok(())
    })?;
    Ok(says)
}

/// `json` as a `T`; `None` if it is no object.
pub(super) fn object<'a, T: Object<'a>>(json: &'a [u8]) -> Option<T> {
    whole(json, Reader::object).ok()?
}

/// The member `type` of an object; empty if it has none.
pub(super) fn type_of(json: &[u8]) -> Cow<'_, str> {
    let kind = whole(json, |value| value.text_of_member(b"type"));
    kind.ok().flatten().unwrap_or_default()
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
