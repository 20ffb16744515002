//! Who may use the proxy.

use http::request::Parts;
use http::{HeaderMap, header};
use sha2::{Digest as _, Sha256};
use subtle::{ConditionallySelectable as _, ConstantTimeEq as _};

use crate::config::ClientKey;

/// The headers in which the SDKs send a key, beside `authorization`.
const HEADERS: [&str; 3] = ["x-api-key", "x-goog-api-key", "api-key"];

/// Which of `keys` a request with this head brings: its place among them.
pub(super) fn client(keys: &[ClientKey], head: &Parts) -> Option<usize> {
    presented(head).find_map(|key| known(keys, key))
}

/// Everything in a head that may be a key.
fn presented(head: &Parts) -> impl Iterator<Item = &[u8]> {
    let named = HEADERS
        .into_iter()
        .flat_map(|name| head.headers.get_all(name))
        .map(|value| value.as_bytes());
    let query = head.uri.query().unwrap_or_default();
    let query = query
        .split('&')
        .filter_map(|pair| pair.strip_prefix("key="))
        .map(str::as_bytes);
    bearer(&head.headers).into_iter().chain(named).chain(query)
}

fn bearer(headers: &HeaderMap) -> Option<&[u8]> {
    let value = headers.get(header::AUTHORIZATION)?.as_bytes();
    let (scheme, key) = value.split_at_checked(7)?;
    scheme
        .eq_ignore_ascii_case(b"bearer ")
        .then(|| key.trim_ascii())
}

/// Which of `keys` is `key`. Takes the same time whichever it is and however much of it is
/// right: digests are compared, each of them, to their ends, and the place is selected without
/// a branch.
fn known(keys: &[ClientKey], key: &[u8]) -> Option<usize> {
    const NOBODY: u64 = u64::MAX;
    let digest = Sha256::digest(key);
    let known = keys.iter().zip(0..).fold(NOBODY, |known, (key, place)| {
        let is_it = key.sha256.as_slice().ct_eq(digest.as_slice());
        u64::conditional_select(&known, &place, is_it)
    });
    usize::try_from(known)
        .ok()
        .filter(|place| *place < keys.len())
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    fn keys() -> Vec<ClientKey> {
        ["sk-test-first", "sk-test-middle", "sk-test-last"]
            .into_iter()
            .map(|key| ClientKey {
                name: key.into(),
                sha256: Sha256::digest(key).into(),
                max_in_flight: None,
            })
            .collect()
    }

    fn head(uri: &str, header: Option<(&str, &str)>) -> Parts {
        let mut request = Request::builder().uri(uri);
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        request.body(()).unwrap().into_parts().0
    }

    // SEC-08
    #[test]
    fn every_key_is_accepted_and_nothing_like_one_is() {
        let keys = keys();
        for (place, key) in ["sk-test-first", "sk-test-middle", "sk-test-last"]
            .into_iter()
            .enumerate()
        {
            assert_eq!(known(&keys, key.as_bytes()), Some(place), "{key}");
        }
        for key in [
            "",
            "sk-test-",
            "sk-test-firs",
            "sk-test-first ",
            "SK-TEST-FIRST",
        ] {
            assert_eq!(known(&keys, key.as_bytes()), None, "{key}");
        }
        // The digest is no key, either: who reads the configuration cannot use the proxy.
        let digest = Sha256::digest("sk-test-first");
        assert_eq!(known(&keys, &digest), None);
    }

    // SEC-08
    #[test]
    fn a_key_is_found_wherever_an_sdk_puts_it() {
        let keys = keys();
        for (uri, header) in [
            ("/", Some(("authorization", "Bearer sk-test-last"))),
            ("/", Some(("authorization", "bearer  sk-test-last"))),
            ("/", Some(("x-api-key", "sk-test-last"))),
            ("/", Some(("x-goog-api-key", "sk-test-last"))),
            ("/", Some(("api-key", "sk-test-last"))),
            ("/?alt=sse&key=sk-test-last", None),
        ] {
            assert_eq!(
                client(&keys, &head(uri, header)),
                Some(2),
                "{uri} {header:?}"
            );
        }
        for (uri, header) in [
            ("/", None),
            ("/", Some(("authorization", "Basic sk-test-last"))),
            ("/", Some(("authorization", "sk-test-last"))),
            ("/", Some(("x-api-key", "sk-test-other"))),
            ("/?monkey=sk-test-last", None),
        ] {
            assert_eq!(client(&keys, &head(uri, header)), None, "{uri} {header:?}");
        }
    }
}
