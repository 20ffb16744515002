//! Endpoints: a base URL, what authenticates there, and what may be sent to it.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use http::Uri;
use sha2::{Digest, Sha256};

use crate::credential::Credential;
use crate::facts::{Dialect, Facts};
use crate::time::Duration;

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

    /// All 128 bits.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }
}

impl fmt::Display for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, ..] = self.0;
        write!(f, "{a:02x}{b:02x}{c:02x}{d:02x}")
    }
}

impl fmt::Debug for EndpointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "EndpointId({self})")
    }
}

/// The address that request paths are appended to: `http` or `https`, a host, perhaps a path;
/// no user information, query or fragment. A slash at its end is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct BaseUrl {
    text: Arc<str>,
    uri: Uri,
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

    /// The host, without port.
    #[must_use]
    pub fn host(&self) -> &str {
        self.uri.host().unwrap_or_default()
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
        Ok(Self {
            text: text.into(),
            uri,
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

/// Which API an endpoint serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Api {
    /// Anthropic Messages.
    Anthropic,
    /// OpenAI: Chat Completions and Responses.
    OpenAi,
    /// OpenAI: Responses only.
    OpenAiResponses,
    /// Gemini.
    Gemini,
}

impl Api {
    /// Whether the API has `dialect`.
    #[must_use]
    pub const fn speaks(self, dialect: Dialect) -> bool {
        matches!(
            (self, dialect),
            (Self::Anthropic, Dialect::Anthropic)
                | (Self::OpenAi, Dialect::Chat | Dialect::Responses)
                | (Self::OpenAiResponses, Dialect::Responses)
                | (Self::Gemini, Dialect::Gemini)
        )
    }

    /// The name used in configuration.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Anthropic => "anthropic",
            Self::OpenAi => "openai",
            Self::OpenAiResponses => "openai-responses",
            Self::Gemini => "gemini",
        }
    }
}

impl fmt::Display for Api {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// The headers in which an endpoint expects its credential.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Auth {
    /// `x-api-key`.
    XApiKey,
    /// `authorization: Bearer …`.
    Bearer,
    /// Both of them.
    Both,
    /// `x-goog-api-key`.
    XGoogApiKey,
}

/// Where requests can go.
///
/// Everything but name and address has a default: weight 100, priority 1, any dialect, any
/// model, no limit on requests in flight, enabled.
#[derive(Clone, Debug)]
pub struct Endpoint {
    id: EndpointId,
    name: Arc<str>,
    base_url: BaseUrl,
    credential: Option<Credential>,
    pooled: bool,
    api: Option<Api>,
    auth: Option<Auth>,
    weight: u32,
    priority: u32,
    max_in_flight: Option<u32>,
    max_failures: Option<u32>,
    first_byte: Option<Duration>,
    models: Vec<ModelPattern>,
    enabled: bool,
}

impl Endpoint {
    /// An endpoint that people call `name`, at `base_url`, without a credential.
    pub fn new(name: impl Into<Arc<str>>, base_url: BaseUrl) -> Self {
        Self {
            id: EndpointId::new(base_url.as_str(), ""),
            name: name.into(),
            base_url,
            credential: None,
            pooled: false,
            api: None,
            auth: None,
            weight: 100,
            priority: 1,
            max_in_flight: None,
            max_failures: None,
            first_byte: None,
            models: Vec::new(),
            enabled: true,
        }
    }

    /// Uses one credential, which becomes part of the id.
    #[must_use]
    pub fn with_credential(mut self, credential: Credential) -> Self {
        self.id = EndpointId::new(self.base_url.as_str(), credential.expose());
        self.credential = Some(credential);
        self.pooled = false;
        self
    }

    /// Takes credentials from a pool of its own: the name takes their place in the id.
    #[must_use]
    pub fn with_token_pool(mut self) -> Self {
        self.id = EndpointId::new(self.base_url.as_str(), &self.name);
        self.credential = None;
        self.pooled = true;
        self
    }

    /// Serves one API only. Without it the endpoint takes requests of any dialect.
    #[must_use]
    pub const fn with_api(mut self, api: Api) -> Self {
        self.api = Some(api);
        self
    }

    /// Sends the credential in this form. Without it the API decides: see [`auth`](Self::auth).
    #[must_use]
    pub const fn with_auth(mut self, auth: Auth) -> Self {
        self.auth = Some(auth);
        self
    }

    /// The share of requests among equals; 100 by default, 0 allowed.
    #[must_use]
    pub const fn with_weight(mut self, weight: u32) -> Self {
        self.weight = weight;
        self
    }

    /// The rank; 1 by default, smaller is preferred.
    #[must_use]
    pub const fn with_priority(mut self, priority: u32) -> Self {
        self.priority = priority;
        self
    }

    /// At most this many requests at a time, bodies included. No limit by default.
    #[must_use]
    pub const fn with_max_in_flight(mut self, limit: u32) -> Self {
        self.max_in_flight = Some(limit);
        self
    }

    /// How many failures in a row open the breaker, in place of the breaker's own setting.
    #[must_use]
    pub const fn with_max_failures(mut self, failures: u32) -> Self {
        self.max_failures = Some(failures);
        self
    }

    /// How long to wait for the first byte of any answer, in place of the classifier's setting.
    #[must_use]
    pub const fn with_first_byte(mut self, limit: Duration) -> Self {
        self.first_byte = Some(limit);
        self
    }

    /// Serves only models that match one of these patterns: `*` stands for anything, letters
    /// match in any case, and a pattern without `*` matches as a prefix. None means all.
    #[must_use]
    pub fn with_models<I: IntoIterator<Item: Into<String>>>(mut self, patterns: I) -> Self {
        self.models = patterns
            .into_iter()
            .map(|pattern| ModelPattern::new(&pattern.into()))
            .collect();
        self
    }

    /// Whether the operator wants it used at start; `true` by default.
    #[must_use]
    pub const fn with_enabled(mut self, enabled: bool) -> Self {
        self.enabled = enabled;
        self
    }

    /// The id.
    #[must_use]
    pub const fn id(&self) -> EndpointId {
        self.id
    }

    /// The name.
    #[must_use]
    pub const fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// The address.
    #[must_use]
    pub const fn base_url(&self) -> &BaseUrl {
        &self.base_url
    }

    /// The one credential, if it has one.
    #[must_use]
    pub const fn credential(&self) -> Option<&Credential> {
        self.credential.as_ref()
    }

    /// Whether a request must carry a credential of ours to be let out.
    #[must_use]
    pub const fn needs_credential(&self) -> bool {
        self.pooled || self.credential.is_some()
    }

    /// The API, if it serves one only.
    #[must_use]
    pub const fn api(&self) -> Option<Api> {
        self.api
    }

    /// The form in which the credential is sent. By default `x-goog-api-key` for Gemini; for
    /// Anthropic `x-api-key` at `api.anthropic.com` and both forms elsewhere, because relays
    /// differ; bearer for everything else.
    #[must_use]
    pub fn auth(&self) -> Auth {
        self.auth.unwrap_or_else(|| match self.api {
            Some(Api::Gemini) => Auth::XGoogApiKey,
            Some(Api::Anthropic) if self.base_url.host() == "api.anthropic.com" => Auth::XApiKey,
            Some(Api::Anthropic) => Auth::Both,
            _ => Auth::Bearer,
        })
    }

    /// The share of requests among equals.
    #[must_use]
    pub const fn weight(&self) -> u32 {
        self.weight
    }

    /// The rank; smaller is preferred.
    #[must_use]
    pub const fn priority(&self) -> u32 {
        self.priority
    }

    /// The limit on requests in flight.
    #[must_use]
    pub const fn max_in_flight(&self) -> Option<u32> {
        self.max_in_flight
    }

    /// How many failures in a row open the breaker, if the endpoint has a say of its own.
    #[must_use]
    pub const fn max_failures(&self) -> Option<u32> {
        self.max_failures
    }

    /// How long to wait for a first byte, if the endpoint has a say of its own.
    #[must_use]
    pub const fn first_byte(&self) -> Option<Duration> {
        self.first_byte
    }

    /// Whether the operator wants it used at start.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    /// The patterns of the models that it serves; none means all.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(|pattern| &*pattern.0)
    }

    /// Whether it speaks the dialect of the request. A request without dialect goes anywhere.
    #[must_use]
    pub fn speaks(&self, facts: &Facts) -> bool {
        match (self.api, facts.dialect) {
            (Some(api), Some(dialect)) => api.speaks(dialect),
            _ => true,
        }
    }

    /// Whether it is configured to serve the model of the request.
    #[must_use]
    pub fn serves(&self, facts: &Facts) -> bool {
        match &facts.model {
            Some(model) if !self.models.is_empty() => {
                self.models.iter().any(|pattern| pattern.matches(model))
            }
            _ => true,
        }
    }
}

/// A pattern of model names, in lower case.
#[derive(Clone, Debug)]
struct ModelPattern(Box<str>);

impl ModelPattern {
    fn new(pattern: &str) -> Self {
        Self(pattern.to_ascii_lowercase().into())
    }

    fn matches(&self, model: &str) -> bool {
        let model = model.to_ascii_lowercase();
        let Some((first, rest)) = self.0.split_once('*') else {
            return model.starts_with(&*self.0);
        };
        let Some(mut left) = model.strip_prefix(first) else {
            return false;
        };
        let mut parts = rest.split('*').peekable();
        while let Some(part) = parts.next() {
            if parts.peek().is_none() {
                return left.ends_with(part);
            }
            match left.find(part) {
                Some(at) => left = &left[at + part.len()..],
                None => return false,
            }
        }
        true
    }
}

/// A set of endpoints, each id once.
#[derive(Clone, Debug, Default)]
pub struct Endpoints {
    members: Vec<Arc<Endpoint>>,
    duplicates: Vec<Duplicate>,
}

/// An entry that is the same endpoint as an earlier one and was dropped.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Duplicate {
    /// The id of both.
    pub id: EndpointId,
    /// The name of the entry that stays.
    pub kept: Arc<str>,
    /// The name of the entry that was dropped.
    pub dropped: Arc<str>,
}

/// Two different endpoints have one name, so nobody could tell which is meant.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("two different endpoints are named `{name}`; give one of them another name")]
pub struct AmbiguousName {
    name: Arc<str>,
}

impl Endpoints {
    /// Collects endpoints. Entries with one id are one endpoint: the first is kept, the others
    /// are listed in [`duplicates`](Self::duplicates).
    ///
    /// # Errors
    ///
    /// [`AmbiguousName`] if two endpoints that differ have the same name.
    pub fn try_from_iter<I>(endpoints: I) -> Result<Self, AmbiguousName>
    where
        I: IntoIterator<Item = Endpoint>,
    {
        let mut set = Self::default();
        let mut ids = std::collections::HashMap::new();
        let mut names = std::collections::HashSet::new();
        for endpoint in endpoints {
            if let Some(&kept) = ids.get(&endpoint.id) {
                let kept: &Arc<Endpoint> = &set.members[kept];
                set.duplicates.push(Duplicate {
                    id: endpoint.id,
                    kept: kept.name.clone(),
                    dropped: endpoint.name,
                });
                continue;
            }
            if !names.insert(endpoint.name.clone()) {
                return Err(AmbiguousName {
                    name: endpoint.name,
                });
            }
            ids.insert(endpoint.id, set.members.len());
            set.members.push(Arc::new(endpoint));
        }
        Ok(set)
    }

    /// The endpoints, in the order in which they were given.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Arc<Endpoint>> {
        self.members.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// The entries that were dropped because they repeat another one.
    #[must_use]
    pub fn duplicates(&self) -> &[Duplicate] {
        &self.duplicates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(name: &str, key: &str) -> Endpoint {
        Endpoint::new(name, "https://api.example.com".parse().unwrap())
            .with_credential(Credential::new(name, key))
    }

    // SEL-01
    #[test]
    fn the_id_is_the_start_of_the_digest_of_address_and_key() {
        let one = endpoint("one", "sk-test-0001");
        assert_eq!(one.id().to_string(), "5101f79a");
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

    // SEL-02
    #[test]
    fn equal_entries_are_one_endpoint_with_the_weight_of_the_first() {
        let set = Endpoints::try_from_iter([
            endpoint("one", "sk-test-0001").with_weight(5),
            endpoint("again", "sk-test-0001").with_weight(9),
        ])
        .unwrap();
        assert_eq!(set.len(), 1);
        assert_eq!(set.iter().next().unwrap().weight(), 5);
        assert_eq!(&*set.duplicates()[0].dropped, "again");
    }

    #[test]
    fn two_endpoints_cannot_share_a_name() {
        let error =
            Endpoints::try_from_iter([endpoint("a", "sk-test-1"), endpoint("a", "sk-test-2")])
                .unwrap_err();
        assert!(error.to_string().contains("`a`"));
    }

    #[test]
    fn a_base_url_is_checked_and_loses_its_last_slash() {
        let base: BaseUrl = "https://h.example/api/".parse().unwrap();
        assert_eq!(
            (base.as_str(), base.path()),
            ("https://h.example/api", "/api")
        );
        for (text, error) in [
            ("h.example", InvalidBaseUrl::Syntax),
            ("ftp://h.example", InvalidBaseUrl::Scheme),
            ("https://u:p@h.example", InvalidBaseUrl::UserInfo),
            ("https://h.example/?a=b", InvalidBaseUrl::Query),
        ] {
            assert_eq!(text.parse::<BaseUrl>().unwrap_err(), error, "{text}");
        }
    }

    #[test]
    fn a_model_pattern_matches_as_prefix_or_glob_in_any_case() {
        for (pattern, model, expected) in [
            ("claude-", "Claude-opus", true),
            ("claude-*", "claude-opus", true),
            ("*-mini", "gpt-5-mini", true),
            ("*-mini", "gpt-5-mini-x", false),
            ("gpt-*-mini", "gpt-5-mini", true),
            ("gpt-", "claude-opus", false),
        ] {
            assert_eq!(
                ModelPattern::new(pattern).matches(model),
                expected,
                "{pattern} {model}"
            );
        }
    }
}
