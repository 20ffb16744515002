//! The check of an endpoint: a code that has to come back.
//!
//! A chat message asks for a new random code, and the endpoint works if the code is in the text of
//! the answer. That sees through everything that looks like an answer and is none: an error under
//! 200 in whatever form, an empty text, a plausible sentence, an echo of the question, an answer
//! out of a cache. Pure but for the random source of the code.

mod code;
mod content;
mod message;
#[cfg(test)]
mod tests;

use std::collections::BTreeSet;
use std::num::NonZeroU32;
use std::ops::RangeInclusive;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

pub use self::code::Complexity;
pub use self::message::Language;
use crate::endpoint::{Endpoint, EndpointId};
use crate::recovery::{Code, Finding, Probe};

/// Asks an LLM endpoint for a code, in the dialect of its API.
///
/// One check costs about 20 tokens of input and at most 20 of output, of a cheap model that does
/// not think first. An endpoint without an [`api`](Endpoint::api) is not asked, because it is not
/// known how.
///
/// | setting | default |
/// |---|---|
/// | [`language`](Self::with_language) | Chinese |
/// | [`length`](Self::with_length) | 6 |
/// | [`complexity`](Self::with_complexity) | letters and digits |
/// | [`model`](Self::with_model) | `claude-haiku-4-5`, `gpt-4.1-nano`, `gemini-2.5-flash-lite` |
/// | [`max_tokens`](Self::with_max_tokens) | 20 |
#[derive(Clone, Debug)]
pub struct LlmProbe {
    language: Language,
    length: usize,
    complexity: Complexity,
    model: Option<Arc<str>>,
    max_tokens: NonZeroU32,
    without: BTreeSet<EndpointId>,
}

/// How long a code may be.
const LENGTHS: RangeInclusive<usize> = 4..=32;

const MAX_TOKENS: NonZeroU32 = NonZeroU32::MIN.saturating_add(19);

/// A code of that length could be guessed, or would not come back within the limit of tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a verification code must have 4 to 32 characters")]
pub struct InvalidLength(());

impl LlmProbe {
    /// The same, asking in `language`.
    #[must_use]
    pub const fn with_language(mut self, language: Language) -> Self {
        self.language = language;
        self
    }

    /// The same with codes of `length` characters; 6 by default.
    ///
    /// # Errors
    ///
    /// [`InvalidLength`] unless there are 4 to 32.
    pub fn with_length(mut self, length: usize) -> Result<Self, InvalidLength> {
        if !LENGTHS.contains(&length) {
            return Err(InvalidLength(()));
        }
        self.length = length;
        Ok(self)
    }

    /// The same with codes of these characters.
    #[must_use]
    pub const fn with_complexity(mut self, complexity: Complexity) -> Self {
        self.complexity = complexity;
        self
    }

    /// The same, asking `model` in place of a cheap one of the dialect.
    #[must_use]
    pub fn with_model(mut self, model: impl Into<Arc<str>>) -> Self {
        self.model = Some(model.into());
        self
    }

    /// The same with so many tokens for the answer; 20 by default.
    #[must_use]
    pub const fn with_max_tokens(mut self, tokens: NonZeroU32) -> Self {
        self.max_tokens = tokens;
        self
    }

    /// The same, but `endpoints` are not asked, because they do not chat.
    #[must_use]
    pub fn without(mut self, endpoints: impl IntoIterator<Item = EndpointId>) -> Self {
        self.without.extend(endpoints);
        self
    }
}

impl Default for LlmProbe {
    fn default() -> Self {
        Self {
            language: Language::default(),
            length: 6,
            complexity: Complexity::default(),
            model: None,
            max_tokens: MAX_TOKENS,
            without: BTreeSet::new(),
        }
    }
}

impl Probe for LlmProbe {
    fn code(&self) -> Code {
        code::draw(&mut rand::rng(), self.length, self.complexity)
    }

    fn message(&self, code: &Code) -> String {
        self.language.ask(code.as_str())
    }

    fn request(&self, endpoint: &Endpoint, code: &Code) -> Option<Request<Bytes>> {
        if self.without.contains(&endpoint.id()) {
            return None;
        }
        let dialect = message::dialect(endpoint)?;
        let model = match &self.model {
            Some(model) => model,
            None => message::model(endpoint, dialect),
        };
        message::request(dialect, model, &self.message(code), self.max_tokens.get())
    }

    fn judge(&self, response: &Response<Bytes>, code: &Code) -> Finding {
        content::judge(response.body(), &self.message(code), code)
    }
}
