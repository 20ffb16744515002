//! Token counts of all dialects, made alike.

use super::reader::{Manner, Object, Reader, Result};
use crate::record::Usage;

/// The usage object of any dialect. The names of the dialects differ, so one type reads all.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tokens {
    // Anthropic and Responses. Anthropic's three inputs are disjoint.
    input_tokens: Option<u64>,
    cache_creation_input_tokens: Option<u64>,
    cache_read_input_tokens: Option<u64>,
    output_tokens: Option<u64>,
    input_tokens_details: Details,
    // Chat.
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    prompt_tokens_details: Details,
    // Gemini. Thoughts are not part of the candidates.
    prompt: Option<u64>,
    tool_use_prompt: Option<u64>,
    cached_content: Option<u64>,
    candidates: Option<u64>,
    thoughts: Option<u64>,
}

impl<'a> Object<'a> for Tokens {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        let count = match name {
            b"input_tokens" => &mut self.input_tokens,
            b"cache_creation_input_tokens" => &mut self.cache_creation_input_tokens,
            b"cache_read_input_tokens" => &mut self.cache_read_input_tokens,
            b"output_tokens" => &mut self.output_tokens,
            b"prompt_tokens" => &mut self.prompt_tokens,
            b"completion_tokens" => &mut self.completion_tokens,
            b"promptTokenCount" => &mut self.prompt,
            b"toolUsePromptTokenCount" => &mut self.tool_use_prompt,
            b"cachedContentTokenCount" => &mut self.cached_content,
            b"candidatesTokenCount" => &mut self.candidates,
            b"thoughtsTokenCount" => &mut self.thoughts,
            b"input_tokens_details" => {
                self.input_tokens_details = value.object()?.unwrap_or_default();
                return Ok(());
            }
            b"prompt_tokens_details" => {
                self.prompt_tokens_details = value.object()?.unwrap_or_default();
                return Ok(());
            }
            _ => return value.skip(),
        };
        *count = value.count()?;
        Ok(())
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Details {
    cached_tokens: Option<u64>,
}

impl<'a> Object<'a> for Details {
    fn member<M: Manner<'a>>(&mut self, name: &[u8], value: &mut Reader<'a, M>) -> Result<()> {
        match name {
            b"cached_tokens" => self.cached_tokens = value.count()?,
            _ => value.skip()?,
        }
        Ok(())
    }
}

impl Tokens {
    /// The same with what `newer` says in the place of what was said before. Anthropic's totals
    /// at the end of a stream leave out what its start has said.
    pub(super) fn updated(self, newer: Self) -> Self {
        if newer.usage().is_none() {
            return self;
        }
        Self {
            input_tokens: newer.input_tokens.or(self.input_tokens),
            cache_creation_input_tokens: newer
                .cache_creation_input_tokens
                .or(self.cache_creation_input_tokens),
            cache_read_input_tokens: newer
                .cache_read_input_tokens
                .or(self.cache_read_input_tokens),
            output_tokens: newer.output_tokens.or(self.output_tokens),
            ..newer
        }
    }

    /// The same without output, where the count is but a placeholder.
    pub(super) fn without_output(self) -> Self {
        Self {
            output_tokens: None,
            ..self
        }
    }

    /// The counts in the form of all dialects; `None` if there are none.
    pub(super) fn usage(&self) -> Option<Usage> {
        let candidates = sum([self.candidates, self.thoughts, None]);
        let prompt = sum([self.prompt, self.tool_use_prompt, None]);
        let disjoint = sum([
            self.input_tokens,
            self.cache_creation_input_tokens,
            self.cache_read_input_tokens,
        ]);
        let usage = Usage {
            input: self.prompt_tokens.or(prompt).or(disjoint),
            cached: self
                .prompt_tokens_details
                .cached_tokens
                .or(self.input_tokens_details.cached_tokens)
                .or(self.cached_content)
                .or(self.cache_read_input_tokens),
            output: self.completion_tokens.or(candidates).or(self.output_tokens),
        };
        (usage != Usage::default()).then_some(usage)
    }
}

/// The sum of those that are known; `None` if none is.
fn sum(counts: [Option<u64>; 3]) -> Option<u64> {
    counts.into_iter().flatten().reduce(u64::saturating_add)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::llm::json::object;

    fn usage(json: &str) -> [Option<u64>; 3] {
        let tokens: Tokens = object(json.as_bytes()).unwrap();
        let usage = tokens.usage().unwrap_or_default();
        [usage.input, usage.cached, usage.output]
    }

    #[test]
    fn counts_of_all_dialects_mean_the_same() {
        for json in [
            r#"{"input_tokens":10,"cache_creation_input_tokens":2,"cache_read_input_tokens":8,
                "output_tokens":5,"cache_creation":{"ephemeral_5m_input_tokens":2}}"#,
            r#"{"prompt_tokens":20,"completion_tokens":5,"total_tokens":25,
                "prompt_tokens_details":{"cached_tokens":8},
                "completion_tokens_details":{"reasoning_tokens":3}}"#,
            r#"{"input_tokens":20,"input_tokens_details":{"cached_tokens":8},"output_tokens":5}"#,
            r#"{"promptTokenCount":18,"toolUsePromptTokenCount":2,"cachedContentTokenCount":8,
                "candidatesTokenCount":2,"thoughtsTokenCount":3,"totalTokenCount":25}"#,
        ] {
            assert_eq!(usage(json), [Some(20), Some(8), Some(5)], "{json}");
        }
    }

    #[test]
    fn what_is_not_told_is_unknown_and_odd_counts_hide_nothing() {
        assert_eq!(usage("{}"), [None; 3]);
        assert_eq!(
            usage(r#"{"prompt_tokens":12.0,"completion_tokens":"?","prompt_tokens_details":null}"#),
            [Some(12), None, None]
        );
        assert_eq!(
            usage(&format!(
                r#"{{"input_tokens":{},"cache_read_input_tokens":1,"output_tokens":-1}}"#,
                u64::MAX
            )),
            [Some(u64::MAX), Some(1), None]
        );
    }
}
