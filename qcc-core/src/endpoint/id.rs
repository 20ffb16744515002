use std::fmt;

use http::HeaderValue;
use sha2::{Digest, Sha256};

use crate::hex;

/// What identifies an endpoint for ever: the first 128 bits of SHA-256 over
/// `base_url|credential`. Independent of name, weight and order; shown as 8 hex digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EndpointId([u8; 16]);

impl EndpointId {
    /// The id of the endpoint at `base_url` with `credential` (or, where credentials rotate,
    /// with the endpoint's name in its place).
    #[must_use]
    pub fn new(base_url: &str, credential: &str) -> Self {
        let mut digest = Sha256::new();
        digest.update(base_url);
        digest.update("|");
        digest.update(credential);
        let digest = digest.finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        Self(id)
    }

    /// The id whose 128 bits these are, as a store kept them.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(bytes)
    }

    /// All 128 bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// What is shown of it.
    const fn short(self) -> [u8; 4] {
        let [a, b, c, d, ..] = self.0;
        [a, b, c, d]
    }
}

/// As it is displayed.
impl From<EndpointId> for HeaderValue {
    fn from(id: EndpointId) -> Self {
        let value = Self::from_bytes(hex::digits(id.short()).as_flattened());
        #[expect(clippy::expect_used, reason = "they are digits")]
        value.expect("a header may have digits")
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        hex::write(f, self.short())
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::credential::Credential;
    use crate::endpoint::{BaseUrl, Endpoint};

    fn endpoint(name: &str, key: &str) -> Endpoint {
        Endpoint::new(name, "https://api.example.com".parse().unwrap())
            .with_credential(Credential::new(name, key))
    }

    // SEL-01
    #[test]
    fn the_id_is_the_start_of_the_digest_of_address_and_key() {
        let one = endpoint("one", "sk-test-0001");
        assert_eq!(one.id().to_string(), "5101f79a");
        assert_eq!(HeaderValue::from(one.id()), "5101f79a");
        assert_eq!(one.clone().with_weight(7).with_priority(3).id(), one.id());
        assert_ne!(endpoint("one", "sk-test-0002").id(), one.id());
    }

    // SEL-01
    #[test]
    fn with_a_pool_the_name_takes_the_place_of_the_key() {
        let base: BaseUrl = "https://api.example.com".parse().unwrap();
        let pooled = Endpoint::new("pooled", base).with_token_pool();
        assert_eq!(
            pooled.id(),
            EndpointId::new("https://api.example.com", "pooled")
        );
    }
}
