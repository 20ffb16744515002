//! Who gives access tokens for refresh tokens, and how it is asked.

use std::fmt;

use http::header::{ACCEPT, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use http::{Method, Request};
use secrecy::{ExposeSecret as _, SecretString};

use super::super::ask::TIMEOUT;
use super::super::expiry::MARGIN;
use super::super::url::TokenUrl;
use crate::body::RequestBody;
use crate::credential::Credential;
use crate::time::Duration;
use crate::token::SourceId;

/// How the members of a refresh request are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Encoding {
    /// As a form, which is what RFC 6749 wants.
    #[default]
    Form,
    /// As a JSON object of texts, which is what some issuers want.
    Json,
}

/// Who gives access tokens for refresh tokens, and how it is asked: a `POST` of
/// `grant_type=refresh_token`, `refresh_token`, and whatever else the issuer wants to see.
#[derive(Clone)]
pub struct Issuer {
    url: TokenUrl,
    encoding: Encoding,
    headers: HeaderMap,
    fields: Vec<(String, SecretString)>,
    timeout: Duration,
    margin: Duration,
}

const GRANT_TYPE: &str = "grant_type";
const REFRESH_TOKEN: &str = "refresh_token";

impl Issuer {
    /// The issuer at `url`, which is sent a form.
    #[must_use]
    pub fn new(url: TokenUrl) -> Self {
        Self {
            url,
            encoding: Encoding::Form,
            headers: HeaderMap::new(),
            fields: Vec::new(),
            timeout: TIMEOUT,
            margin: MARGIN,
        }
    }

    /// Writes requests like this.
    #[must_use]
    pub const fn with_encoding(mut self, encoding: Encoding) -> Self {
        self.encoding = encoding;
        self
    }

    /// Sends this header, too, which may be a secret like that of `authorization`. A header of
    /// the same name is replaced.
    #[must_use]
    pub fn with_header(mut self, name: HeaderName, mut value: HeaderValue) -> Self {
        value.set_sensitive(true);
        self.headers.insert(name, value);
        self
    }

    /// Sends this field, too, which may be a secret: `client_id`, `client_secret`, `scope`. One
    /// of the same name is replaced, also `grant_type`; `refresh_token` is always the one of the
    /// source.
    #[must_use]
    pub fn with_field(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let (name, value) = (name.into(), SecretString::from(value.into()));
        self.fields.retain(|(known, _)| *known != name);
        self.fields.push((name, value));
        self
    }

    /// How long a refresh may take, the answer included; 30 s by default.
    #[must_use]
    pub const fn with_timeout(mut self, limit: Duration) -> Self {
        self.timeout = limit;
        self
    }

    /// How long before its end an access token is refreshed; 120 s by default. One whose whole
    /// life is less than twice that is refreshed when half of it is over.
    #[must_use]
    pub const fn with_margin(mut self, margin: Duration) -> Self {
        self.margin = margin;
        self
    }

    /// Its address.
    #[must_use]
    pub const fn url(&self) -> &TokenUrl {
        &self.url
    }

    pub(super) const fn timeout(&self) -> Duration {
        self.timeout
    }

    pub(super) const fn margin(&self) -> Duration {
        self.margin
    }

    /// The id of the source that refreshes `login` here.
    pub(super) fn id(&self, login: &Credential) -> SourceId {
        let encoding = [self.encoding as u8];
        let timeout = self.timeout.as_nanos().to_le_bytes();
        let margin = self.margin.as_nanos().to_le_bytes();
        let uri = self.url.uri().to_string();
        let mut parts: Vec<&[u8]> = vec![
            b"oauth",
            login.expose().as_bytes(),
            uri.as_bytes(),
            &encoding,
            &timeout,
            &margin,
        ];
        for (name, value) in &self.headers {
            parts.extend([&b"header"[..], name.as_str().as_bytes(), value.as_bytes()]);
        }
        for (name, value) in &self.fields {
            let value = value.expose_secret().as_bytes();
            parts.extend([&b"field"[..], name.as_bytes(), value]);
        }
        SourceId::of(parts)
    }

    /// The request that refreshes with this refresh token.
    pub(super) fn request(&self, refresh_token: &str) -> Request<RequestBody> {
        let members = self.members(refresh_token);
        let (content_type, body) = match self.encoding {
            Encoding::Form => {
                let mut form = form_urlencoded::Serializer::new(String::new());
                form.extend_pairs(members);
                ("application/x-www-form-urlencoded", form.finish())
            }
            Encoding::Json => {
                let object: serde_json::Map<_, _> = members
                    .map(|(name, value)| (name.to_owned(), value.into()))
                    .collect();
                (
                    "application/json",
                    serde_json::Value::from(object).to_string(),
                )
            }
        };
        let mut request = Request::new(RequestBody::from(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.uri().clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        for (name, value) in &self.headers {
            headers.insert(name, value.clone());
        }
        request
    }

    fn members<'a>(&'a self, refresh_token: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        let has = |name| self.fields.iter().any(|(known, _)| known == name);
        let grant_type = (!has(GRANT_TYPE)).then_some((GRANT_TYPE, "refresh_token"));
        let fields = self.fields.iter();
        let fields = fields.filter(|(name, _)| name != REFRESH_TOKEN);
        let fields = fields.map(|(name, value)| (&**name, value.expose_secret()));
        let refresh_token = (REFRESH_TOKEN, refresh_token);
        grant_type.into_iter().chain([refresh_token]).chain(fields)
    }
}

impl fmt::Debug for Issuer {
    /// Names, and no value of a header or field.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let headers: Vec<_> = self.headers.keys().map(HeaderName::as_str).collect();
        let fields: Vec<_> = self.fields.iter().map(|(name, _)| name).collect();
        f.debug_struct("Issuer")
            .field("url", &self.url)
            .field("encoding", &self.encoding)
            .field("headers", &headers)
            .field("fields", &fields)
            .field("timeout", &self.timeout)
            .field("margin", &self.margin)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn issuer() -> Issuer {
        Issuer::new("https://auth.example/token?key=sk-test-k".parse().unwrap())
    }

    fn body(issuer: &Issuer) -> String {
        let request = issuer.request("sk-test/r 1");
        String::from_utf8(request.body().as_bytes().unwrap().to_vec()).unwrap()
    }

    #[test]
    fn a_refresh_is_a_form_or_json_with_what_the_issuer_wants() {
        let issuer = issuer();
        let request = issuer.request("sk-test-r1");
        assert_eq!(request.method(), Method::POST);
        assert_eq!(request.uri(), "https://auth.example/token?key=sk-test-k");
        let form = "application/x-www-form-urlencoded";
        assert_eq!(request.headers()["content-type"], form);
        assert_eq!(
            body(&issuer),
            "grant_type=refresh_token&refresh_token=sk-test%2Fr+1"
        );
        let issuer = issuer
            .with_encoding(Encoding::Json)
            .with_field("client_id", "me")
            .with_field("refresh_token", "another")
            .with_header(
                HeaderName::from_static("x-beta"),
                HeaderValue::from_static("oauth"),
            );
        let request = issuer.request("sk-test-r1");
        assert_eq!(request.headers()["content-type"], "application/json");
        assert_eq!(request.headers()["x-beta"], "oauth");
        let json: serde_json::Value = serde_json::from_str(&body(&issuer)).unwrap();
        let expected = serde_json::json!({
            "grant_type": "refresh_token",
            "refresh_token": "sk-test/r 1",
            "client_id": "me",
        });
        assert_eq!(json, expected);
        let issuer = issuer.with_field("grant_type", "odd");
        assert!(body(&issuer).contains(r#""grant_type":"odd""#));
    }

    // TOK-33
    #[test]
    fn another_setting_is_another_source() {
        let login = Credential::new("me", "sk-test-r1");
        let name = HeaderName::from_static("x-beta");
        let ids = [
            issuer().id(&login),
            issuer().id(&Credential::new("me", "sk-test-r2")),
            issuer().with_encoding(Encoding::Json).id(&login),
            issuer().with_timeout(Duration::from_secs(1)).id(&login),
            issuer().with_margin(Duration::from_secs(1)).id(&login),
            issuer().with_field("a", "b").id(&login),
            issuer()
                .with_header(name, HeaderValue::from_static("b"))
                .id(&login),
        ];
        for (index, id) in ids.iter().enumerate() {
            assert!(!ids[..index].contains(id), "{index}");
        }
        let renamed = Credential::new("you", "sk-test-r1");
        assert!(issuer().id(&renamed) == ids[0], "a name is no setting");
    }

    // SEC-01, SEC-02
    #[test]
    fn debug_shows_names_and_no_values() {
        let name = HeaderName::from_static("authorization");
        let shown = format!(
            "{:?}",
            issuer()
                .with_field("client_secret", "sk-test-s")
                .with_header(name, HeaderValue::from_static("Basic sk-test-b"))
        );
        assert!(shown.contains("client_secret") && shown.contains("authorization"));
        assert!(!shown.contains("sk-test"), "{shown}");
    }
}
