//! Endpoints: a base URL, what authenticates there, and what may be sent to it.

mod base_url;
mod id;
mod mark_on;
mod model;
mod set;

use std::fmt;
use std::sync::Arc;

pub use self::base_url::{BaseUrl, InvalidBaseUrl};
pub use self::id::EndpointId;
pub use self::mark_on::{InvalidMarking, MarkOn, Marking};
use self::model::ModelPattern;
pub use self::set::{AmbiguousName, Duplicate, Endpoints};
use crate::credential::Credential;
use crate::facts::{Dialect, Facts};
use crate::time::Duration;

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
/// model, no limit on requests in flight, no failure that marks it unavailable, enabled.
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
    mark_on: MarkOn,
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
            mark_on: MarkOn::default(),
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

    /// Sends every credential in this form. Without it credential and API decide: see
    /// [`auth_of`](Self::auth_of).
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

    /// Marks it unavailable for a time when it fails like this. No failure does by default.
    #[must_use]
    pub fn with_mark_on(mut self, mark_on: MarkOn) -> Self {
        self.mark_on = mark_on;
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

    /// The form in which a key is sent. By default `x-goog-api-key` for Gemini; for Anthropic
    /// `x-api-key` at `api.anthropic.com` and both forms elsewhere, because relays differ; bearer
    /// for everything else.
    #[must_use]
    pub fn auth(&self) -> Auth {
        self.auth.unwrap_or_else(|| match self.api {
            Some(Api::Gemini) => Auth::XGoogApiKey,
            Some(Api::Anthropic) if self.base_url.host() == "api.anthropic.com" => Auth::XApiKey,
            Some(Api::Anthropic) => Auth::Both,
            _ => Auth::Bearer,
        })
    }

    /// The form in which `credential` is sent: the one that the endpoint was told; without that
    /// the one that the credential [wants](Credential::sent_as); without that the one for keys.
    #[must_use]
    pub fn auth_of(&self, credential: &Credential) -> Auth {
        let told = self.auth.or_else(|| credential.auth());
        told.unwrap_or_else(|| self.auth())
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

    /// Which failures mark it unavailable.
    #[must_use]
    pub const fn mark_on(&self) -> &MarkOn {
        &self.mark_on
    }

    /// Whether the operator wants it used at start.
    #[must_use]
    pub const fn enabled(&self) -> bool {
        self.enabled
    }

    /// The patterns of the models that it serves; none means all.
    pub fn models(&self) -> impl Iterator<Item = &str> {
        self.models.iter().map(ModelPattern::as_str)
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
