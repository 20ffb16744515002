//! The keys that say when endpoints that failed are checked, and how.

use qcc_core::llm::{Complexity, Language};
use qcc_core::time::Duration;

use super::reader::{Field, Reader};

/// When members of the queue are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Recovery {
    /// Whether they are checked at all; yes.
    pub(crate) enabled: bool,
    /// So long after they entered; 60 s. Each interval after that is twice as long.
    pub(crate) first: Duration,
    /// The longest interval; 10 min.
    pub(crate) max: Duration,
    /// The interval where the credential is refused; 30 min, `None` for never.
    pub(crate) auth_every: Option<Duration>,
    /// So many endpoints at a time; 5.
    pub(crate) concurrency: u32,
    /// So many checks of one endpoint in a day; 200.
    pub(crate) daily: u32,
}

impl Default for Recovery {
    fn default() -> Self {
        Self {
            enabled: true,
            first: Duration::from_secs(60),
            max: Duration::from_secs(600),
            auth_every: Some(Duration::from_secs(1_800)),
            concurrency: 5,
            daily: 200,
        }
    }
}

/// How an endpoint is checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The model that is asked; a cheap one of the API without it.
    pub(crate) model: Option<String>,
    /// The language of the question.
    pub(crate) language: Language,
    /// How many characters the code has; 6.
    pub(crate) length: u32,
    /// Which ones.
    pub(crate) complexity: Complexity,
    /// How long a check may take; 30 s.
    pub(crate) timeout: Duration,
    /// So many tokens for the answer; 20.
    pub(crate) max_tokens: u32,
}

impl Default for Probe {
    fn default() -> Self {
        Self {
            model: None,
            language: Language::default(),
            length: 6,
            complexity: Complexity::default(),
            timeout: Duration::from_secs(30),
            max_tokens: 20,
        }
    }
}

/// The languages by their names.
pub(super) const LANGUAGES: [(&str, Language); 3] = [
    ("zh", Language::Chinese),
    ("en", Language::English),
    ("ja", Language::Japanese),
];

/// The sets of characters by their names.
pub(super) const COMPLEXITIES: [(&str, Complexity); 3] = [
    ("digits", Complexity::Digits),
    ("alphanumeric", Complexity::Alphanumeric),
    ("symbols", Complexity::Symbols),
];

pub(super) fn recovery(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Recovery> {
    let usual = Recovery::default();
    let mut section = field.section(reader, "write it like { first: 60s, max: 10m }")?;
    let enabled = section.get("enabled").and_then(|field| field.flag(reader));
    let first = section
        .get("first")
        .and_then(|field| field.duration(reader))
        .unwrap_or(usual.first);
    let longest = section.get("max");
    let max = longest
        .as_ref()
        .and_then(|field| field.duration(reader))
        .unwrap_or_else(|| usual.max.max(first));
    if let Some(field) = longest
        && max < first
    {
        field.problem(reader, "is less than first", "make it at least as long");
    }
    let auth_every = section
        .get("auth_every")
        .and_then(|field| field.duration_or_off(reader));
    let mut whole = |key| section.get(key)?.whole(reader);
    let (concurrency, daily) = (whole("concurrency"), whole("daily"));
    section.close(reader);
    Some(Recovery {
        enabled: enabled.unwrap_or(usual.enabled),
        first,
        max,
        auth_every: auth_every.unwrap_or(usual.auth_every),
        concurrency: concurrency.unwrap_or(usual.concurrency),
        daily: daily.unwrap_or(usual.daily),
    })
}

pub(super) fn probe(field: &Field<'_>, reader: &mut Reader<'_>) -> Option<Probe> {
    let usual = Probe::default();
    let mut section = field.section(reader, "write it like { language: en, timeout: 30s }")?;
    let model = section
        .get("model")
        .and_then(|field| field.text(reader, "write it like model: claude-haiku-4-5"));
    let language = section
        .get("language")
        .and_then(|field| field.choice(reader, &LANGUAGES));
    let complexity = section
        .get("complexity")
        .and_then(|field| field.choice(reader, &COMPLEXITIES));
    let timeout = section
        .get("timeout")
        .and_then(|field| field.duration(reader));
    let mut whole = |key| section.get(key)?.whole(reader);
    let (length, max_tokens) = (whole("length"), whole("max_tokens"));
    section.close(reader);
    Some(Probe {
        model,
        language: language.unwrap_or(usual.language),
        length: length.unwrap_or(usual.length),
        complexity: complexity.unwrap_or(usual.complexity),
        timeout: timeout.unwrap_or(usual.timeout),
        max_tokens: max_tokens.unwrap_or(usual.max_tokens),
    })
}
