//! Where a request goes: base address and request target, put together. Pure.

use http::uri::{InvalidUriParts, PathAndQuery};
use http::{Uri, uri};

use crate::endpoint::BaseUrl;

/// The target of a request cannot be appended to an endpoint's address.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTarget {
    /// It has no path that begins with a slash.
    #[error("the target of the request has no absolute path")]
    NoPath,
    /// It has a segment `..`, which would leave the path of the base address.
    #[error("the path of the request has a segment `..`")]
    DotSegment,
    /// Both together are no URI, most likely because they are too long.
    #[error("base address and path together are no URI")]
    Uri(#[source] http::Error),
}

impl From<uri::InvalidUri> for InvalidTarget {
    fn from(error: uri::InvalidUri) -> Self {
        Self::Uri(error.into())
    }
}

impl From<InvalidUriParts> for InvalidTarget {
    fn from(error: InvalidUriParts) -> Self {
        Self::Uri(error.into())
    }
}

/// The path of `base` with the path and query of `target` behind it: concatenated and never
/// resolved, because `https://h/api` with `/v1/messages` has to give `/api/v1/messages`. A
/// version that stands in both is kept once, as some clients have it in their base address and
/// others in their paths. A credential in the query is dropped; else the query stays as it is.
pub(super) fn join(base: &BaseUrl, target: &Uri) -> Result<Uri, InvalidTarget> {
    let path = target.path();
    if !path.starts_with('/') {
        return Err(InvalidTarget::NoPath);
    }
    if path.split('/').any(is_parent) {
        return Err(InvalidTarget::DotSegment);
    }
    let prefix = base.path();
    let repeated = prefix.ends_with("/v1") && (path == "/v1" || path.starts_with("/v1/"));
    let suffix = if repeated { &path["/v1".len()..] } else { path };
    let query = target.query();
    let has_credential = query.is_some_and(|query| query.split('&').any(is_credential));

    let mut parts = uri::Parts::default();
    parts.scheme = base.uri().scheme().cloned();
    parts.authority = base.uri().authority().cloned();
    parts.path_and_query = Some(match target.path_and_query() {
        Some(same) if prefix.is_empty() && !has_credential => same.clone(),
        _ => {
            let capacity = prefix.len() + suffix.len() + 1 + query.map_or(0, str::len);
            let mut text = String::with_capacity(capacity);
            text.push_str(prefix);
            text.push_str(suffix);
            push_query(&mut text, query);
            PathAndQuery::try_from(text)?
        }
    });
    Ok(Uri::from_parts(parts)?)
}

fn push_query(text: &mut String, query: Option<&str>) {
    let Some(query) = query else { return };
    let mut separator = '?';
    for pair in query.split('&').filter(|pair| !is_credential(pair)) {
        text.push(separator);
        text.push_str(pair);
        separator = '&';
    }
}

/// Whether a `name=value` of a query authenticates: `key` as Gemini takes it, or
/// `access_token`, which Google's servers take in its place.
fn is_credential(pair: &str) -> bool {
    let name = pair.split_once('=').map_or(pair, |(name, _)| name);
    ["key", "access_token"]
        .into_iter()
        .any(|known| decoded(name).eq(known.bytes()))
}

fn is_parent(segment: &str) -> bool {
    // The shortest spelling is `..`, the longest `%2e%2e`.
    (2..=6).contains(&segment.len()) && decoded(segment).eq(*b"..")
}

/// The bytes of `text` in lower case, with percent escapes resolved, as a server would read
/// them.
fn decoded(text: &str) -> impl Iterator<Item = u8> + '_ {
    let mut rest = text.as_bytes();
    std::iter::from_fn(move || {
        let (byte, tail) = match *rest {
            [b'%', high, low, ref tail @ ..] => match (digit(high), digit(low)) {
                (Some(high), Some(low)) => (high * 16 + low, tail),
                _ => (b'%', &rest[1..]),
            },
            [byte, ref tail @ ..] => (byte, tail),
            [] => return None,
        };
        rest = tail;
        Some(byte.to_ascii_lowercase())
    })
}

fn digit(byte: u8) -> Option<u8> {
    // A hexadecimal digit is below 16.
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn joined(base: &str, target: &str) -> String {
        join(&base.parse().unwrap(), &target.parse().unwrap())
            .unwrap()
            .to_string()
    }

    // UPS-13
    #[test]
    fn base_path_and_request_path_are_concatenated() {
        for (base, target, expected) in [
            ("https://h", "/v1/messages", "https://h/v1/messages"),
            ("https://h/api", "/v1/messages", "https://h/api/v1/messages"),
            (
                "https://h/api/",
                "/v1/messages",
                "https://h/api/v1/messages",
            ),
            ("http://h:8080/a/b", "/c?d=e", "http://h:8080/a/b/c?d=e"),
            ("https://h/v1", "/v1/messages", "https://h/v1/messages"),
            (
                "https://h/api/v1",
                "/v1/models?a",
                "https://h/api/v1/models?a",
            ),
            ("https://h/v1", "/responses", "https://h/v1/responses"),
            ("https://h/v1", "/v1", "https://h/v1"),
            (
                "https://h/v1",
                "/v1beta/models",
                "https://h/v1/v1beta/models",
            ),
        ] {
            assert_eq!(joined(base, target), expected, "{base} {target}");
        }
    }

    // UPS-13
    #[test]
    fn query_escapes_and_colons_stay_as_they_came() {
        for target in [
            "/v1/messages?beta=true",
            "/v1beta/models/m:streamGenerateContent?alt=sse",
            "/v1/files/a%2Fb?x=%20&&y",
            "/v1/messages?",
        ] {
            assert_eq!(joined("https://h", target), format!("https://h{target}"));
        }
    }

    // UPS-08
    #[test]
    fn a_credential_in_the_query_is_dropped_however_it_is_written() {
        for query in [
            "?key=k",
            "?KEY=k",
            "?%6bey=k",
            "?k%45y=k",
            "?key",
            "?access_token=k",
        ] {
            let target = format!("/v1beta/models{query}");
            assert_eq!(joined("https://h", &target), "https://h/v1beta/models");
        }
        assert_eq!(
            joined("https://h/api", "/m?alt=sse&key=k&monkey=1"),
            "https://h/api/m?alt=sse&monkey=1"
        );
    }

    #[test]
    fn a_path_cannot_leave_the_base_path() {
        let base = "https://h/api".parse().unwrap();
        for path in ["/../admin", "/v1/..", "/%2e%2E/admin", "/.%2e/admin"] {
            assert!(
                matches!(
                    join(&base, &path.parse().unwrap()),
                    Err(InvalidTarget::DotSegment)
                ),
                "{path}"
            );
        }
        assert_eq!(joined("https://h", "/a..b/...c"), "https://h/a..b/...c");
    }

    #[test]
    fn a_target_without_a_path_is_an_error() {
        let base = "https://h/api".parse().unwrap();
        assert!(matches!(
            join(&base, &Uri::from_static("*")),
            Err(InvalidTarget::NoPath)
        ));
    }
}
