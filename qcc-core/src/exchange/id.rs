//! What a request is called.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::{HeaderMap, HeaderName, HeaderValue};

use crate::hex;

/// What every random id begins with.
const PREFIX: &str = "qcc-";

/// The id of a request: the client's own, if it is sane, or a random one.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct RequestId(IdRepr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum IdRepr {
    // Formatted only when shown.
    Random(u64),
    Given(Arc<str>),
}

/// A text that cannot be a [`RequestId`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id has 1 to 64 characters out of letters, digits and . _ : -")]
pub struct InvalidRequestId(());

impl RequestId {
    /// A new random id, like `qcc-0123456789abcdef`.
    #[must_use]
    pub fn random() -> Self {
        Self(IdRepr::Random(rand::random()))
    }

    /// The id that a client gave its request in `x-request-id`, if it is sane.
    #[must_use]
    pub fn given(headers: &HeaderMap) -> Option<Self> {
        // A constant name is looked up without being read first.
        const NAME: HeaderName = HeaderName::from_static("x-request-id");
        headers.get(NAME)?.to_str().ok()?.parse().ok()
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, InvalidRequestId> {
        let sane = |byte: u8| byte.is_ascii_alphanumeric() || b"._:-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(sane) {
            Ok(Self(IdRepr::Given(text.into())))
        } else {
            Err(InvalidRequestId(()))
        }
    }
}

/// As it is displayed.
impl From<&RequestId> for HeaderValue {
    fn from(id: &RequestId) -> Self {
        let value = match &id.0 {
            IdRepr::Random(number) => {
                let mut text = [0; PREFIX.len() + 16];
                let (prefix, digits) = text.split_at_mut(PREFIX.len());
                prefix.copy_from_slice(PREFIX.as_bytes());
                digits.copy_from_slice(hex::digits(number.to_be_bytes()).as_flattened());
                Self::from_bytes(&text)
            }
            IdRepr::Given(text) => Self::from_str(text),
        };
        #[expect(clippy::expect_used, reason = "digits, letters and . _ : - alone")]
        value.expect("a header may have these characters")
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            IdRepr::Random(number) => {
                f.write_str(PREFIX)?;
                hex::write(f, number.to_be_bytes())
            }
            IdRepr::Given(text) => f.pad(text),
        }
    }
}

impl fmt::Debug for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RequestId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_stands_in_a_header_as_it_is_displayed() {
        for id in [RequestId::random(), "req_01-a.b:c".parse().unwrap()] {
            assert_eq!(HeaderValue::from(&id), *id.to_string(), "{id}");
        }
    }

    // OPS-14
    #[test]
    fn a_sane_id_of_the_client_is_taken_and_others_are_not() {
        assert_eq!(
            "req_01-a.b:c".parse::<RequestId>().unwrap().to_string(),
            "req_01-a.b:c"
        );
        for bad in ["", "a b", "a\n", &"x".repeat(65)] {
            assert!(bad.parse::<RequestId>().is_err(), "{bad:?}");
        }
    }
}
