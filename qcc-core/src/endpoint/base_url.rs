use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::uri::Authority;
use http::{HeaderValue, Uri};

/// The address that request paths are appended to: `http` or `https`, a host, perhaps a path;
/// no user information, query or fragment. A slash at its end is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: Arc<str>,
    uri: Uri,
    host: HeaderValue,
    // How much of the authority is the host.
    host_len: usize,
}

/// Why a text is no [`BaseUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidBaseUrl {
    /// It cannot be read as a URL.
    #[error("it is not a URL; write it like https://api.example.com")]
    Syntax,
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme must be http or https; write it like https://api.example.com")]
    Scheme,
    /// It holds a user name or password, which belong into the endpoint's credential.
    #[error("it must not contain a user name or password; give the key as api_key")]
    UserInfo,
    /// It has a query or a fragment.
    #[error("it must not have a query or fragment; end it after the path")]
    Query,
}

impl BaseUrl {
    /// The text, without a slash at its end.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The parsed address.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.uri
    }

    /// The path, without a slash at its end: empty for a bare host.
    #[must_use]
    pub fn path(&self) -> &str {
        self.uri.path().trim_end_matches('/')
    }

    /// The value of a `Host` header: the host, with the port if one was given.
    #[must_use]
    pub const fn host_header(&self) -> &HeaderValue {
        &self.host
    }

    /// The host, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        let authority = self.uri.authority().map_or("", Authority::as_str);
        authority.get(..self.host_len).unwrap_or_default()
    }
}

impl FromStr for BaseUrl {
    type Err = InvalidBaseUrl;

    fn from_str(text: &str) -> Result<Self, InvalidBaseUrl> {
        let text = text.trim().trim_end_matches('/');
        if text.contains(['?', '#']) {
            return Err(InvalidBaseUrl::Query);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidBaseUrl::Syntax)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(InvalidBaseUrl::Scheme),
            None => return Err(InvalidBaseUrl::Syntax),
        }
        let authority = uri.authority().ok_or(InvalidBaseUrl::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(InvalidBaseUrl::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(InvalidBaseUrl::Syntax);
        }
        let host = HeaderValue::from_str(authority.as_str()).map_err(|_| InvalidBaseUrl::Syntax)?;
        let host_len = authority.host().len();
        Ok(Self {
            text: text.into(),
            uri,
            host,
            host_len,
        })
    }
}

impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.text)
    }
}

impl fmt::Debug for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BaseUrl({})", self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_url_is_checked_and_loses_its_last_slash() {
        let base: BaseUrl = "https://h.example/api/".parse().unwrap();
        assert_eq!(
            (base.as_str(), base.path(), base.host()),
            ("https://h.example/api", "/api", "h.example")
        );
        let base: BaseUrl = "http://h.example:8080".parse().unwrap();
        assert_eq!((base.path(), base.host()), ("", "h.example"));
        let ipv6: BaseUrl = "http://[::1]:8080".parse().unwrap();
        assert_eq!(ipv6.host(), "[::1]");
        assert_eq!(base.host_header(), "h.example:8080");
        for (text, error) in [
            ("h.example", InvalidBaseUrl::Syntax),
            ("ftp://h.example", InvalidBaseUrl::Scheme),
            ("https://u:p@h.example", InvalidBaseUrl::UserInfo),
            ("https://h.example/?a=b", InvalidBaseUrl::Query),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap_err(), error, "{text}");
        }
    }
}
