//! Where tokens are asked for.

use std::fmt;
use std::str::FromStr;

use http::Uri;

/// An address that tokens are got from: `http` or `https`, a host, no user information and no
/// fragment. A query is allowed and, since it may hold a secret, never shown.
///
/// Over `http` everybody on the way reads the tokens: use it on the loopback only.
#[derive(Clone, PartialEq, Eq)]
pub struct TokenUrl(Uri);

/// Why a text is no [`TokenUrl`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum InvalidTokenUrl {
    /// It cannot be read as a URL.
    #[error("it is not a URL; write it like https://auth.example.com/token")]
    Syntax,
    /// The scheme is neither `http` nor `https`.
    #[error("the scheme must be http or https; write it like https://auth.example.com/token")]
    Scheme,
    /// It holds a user name or password.
    #[error("it must not contain a user name or password; give them as a header")]
    UserInfo,
    /// It has a fragment.
    #[error("it must not have a fragment; leave out what begins with #")]
    Fragment,
}

impl TokenUrl {
    /// The address, with its query.
    #[must_use]
    pub const fn uri(&self) -> &Uri {
        &self.0
    }

    /// The host, to be named in errors.
    #[must_use]
    pub fn host(&self) -> &str {
        self.0.host().unwrap_or_default()
    }
}

impl FromStr for TokenUrl {
    type Err = InvalidTokenUrl;

    fn from_str(text: &str) -> Result<Self, InvalidTokenUrl> {
        let text = text.trim();
        if text.contains('#') {
            return Err(InvalidTokenUrl::Fragment);
        }
        let uri: Uri = text.parse().map_err(|_| InvalidTokenUrl::Syntax)?;
        match uri.scheme_str() {
            Some("http" | "https") => {}
            Some(_) => return Err(InvalidTokenUrl::Scheme),
            None => return Err(InvalidTokenUrl::Syntax),
        }
        let authority = uri.authority().ok_or(InvalidTokenUrl::Syntax)?;
        if authority.as_str().contains('@') {
            return Err(InvalidTokenUrl::UserInfo);
        }
        if authority.host().is_empty() {
            return Err(InvalidTokenUrl::Syntax);
        }
        Ok(Self(uri))
    }
}

impl fmt::Display for TokenUrl {
    /// Without the query.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.0.scheme_str().unwrap_or_default();
        let authority = self
            .0
            .authority()
            .map_or("", |authority| authority.as_str());
        write!(f, "{scheme}://{authority}{}", self.0.path())
    }
}

impl fmt::Debug for TokenUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TokenUrl({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_url_is_checked_and_shown_without_its_query() {
        let url: TokenUrl = " https://auth.example:8443/token?key=sk-test-1 "
            .parse()
            .unwrap();
        assert_eq!(
            format!("{url} {url:?}"),
            "https://auth.example:8443/token TokenUrl(https://auth.example:8443/token)"
        );
        assert_eq!(url.uri().query(), Some("key=sk-test-1"));
        assert_eq!(url.host(), "auth.example");
        for (text, error) in [
            ("auth.example/token", InvalidTokenUrl::Syntax),
            ("ftp://auth.example", InvalidTokenUrl::Scheme),
            (
                "https://me:sk-test-1@auth.example",
                InvalidTokenUrl::UserInfo,
            ),
            ("https://auth.example/#x", InvalidTokenUrl::Fragment),
            ("", InvalidTokenUrl::Syntax),
        ] {
            assert_eq!(text.parse::<TokenUrl>(), Err(error), "{text}");
        }
    }
}
