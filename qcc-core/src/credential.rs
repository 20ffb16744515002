//! What authenticates a request at an endpoint.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use secrecy::{ExposeSecret, SecretString};

use crate::endpoint::Auth;

/// A secret with a name. The name may be shown; the secret never is.
///
/// `Debug` prints the name only, and nothing serialises it. A clone shares the secret.
#[derive(Clone)]
pub struct Credential {
    name: Arc<str>,
    secret: Arc<SecretString>,
    auth: Option<Auth>,
}

/// What stands in the place of a secret that an upstream echoed.
const REDACTED: &[u8] = b"[redacted]";

/// A secret shorter than this is not searched for: it would blank out ordinary words.
const SHORTEST_SEARCHED: usize = 6;

impl Credential {
    /// A credential with the name `name` that people see and the value `secret` that they do not.
    pub fn new(name: impl Into<Arc<str>>, secret: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            secret: Arc::new(SecretString::from(secret.into())),
            auth: None,
        }
    }

    /// Has it sent in this form, unless the endpoint names one: an access token is sent as
    /// [`Auth::Bearer`] also where keys have a header of their own.
    #[must_use]
    pub const fn sent_as(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The form that it wants to be sent in, if it has a say.
    #[must_use]
    pub const fn auth(&self) -> Option<Auth> {
        self.auth
    }

    /// The name, for logs, records and listings.
    #[must_use]
    pub fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The secret itself, to be put into a header that is marked sensitive and nowhere else.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.secret.expose_secret()
    }

    /// `text` with each occurrence of the secret replaced by `[redacted]`; `None` if there is
    /// none, so that the usual case copies nothing.
    #[must_use]
    pub fn redact(&self, text: &[u8]) -> Option<Bytes> {
        let secret = self.expose().as_bytes();
        if secret.len() < SHORTEST_SEARCHED {
            return None;
        }
        let mut hits = memchr::memmem::find_iter(text, secret).peekable();
        hits.peek()?;
        let mut clean = Vec::with_capacity(text.len());
        let mut rest = 0;
        for hit in hits {
            clean.extend_from_slice(&text[rest..hit]);
            clean.extend_from_slice(REDACTED);
            rest = hit + secret.len();
        }
        clean.extend_from_slice(&text[rest..]);
        Some(clean.into())
    }
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Credential").field(&self.name).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // SEC-02
    #[test]
    fn debug_shows_the_name_and_never_the_secret() {
        let credential = Credential::new("Personal-1", "sk-test-0001");
        assert_eq!(format!("{credential:?}"), r#"Credential("Personal-1")"#);
    }

    // SEC-07
    #[test]
    fn an_echoed_secret_is_replaced_wherever_it_stands() {
        let credential = Credential::new("k", "sk-test-0001");
        assert_eq!(
            credential
                .redact(b"bad key sk-test-0001 (sk-test-0001)")
                .as_deref(),
            Some(&b"bad key [redacted] ([redacted])"[..])
        );
        assert_eq!(credential.redact(b"bad key"), None);
    }
}
