//! What is special about LLM APIs: dialects, error tables, and the judgement of answers.
//!
//! The four dialects are told apart and never translated. What the events of each mean is told by
//! [`Rules`](crate::stream::Rules) of its own; [`LlmClassifier`] picks those of the route.

mod answer;
mod anthropic;
mod chat;
mod classifier;
mod document;
mod errors;
mod gemini;
mod json;
mod nesting;
mod responses;
mod usage;

#[cfg(test)]
mod tests;

pub use classifier::LlmClassifier;
