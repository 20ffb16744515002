//! What is special about LLM APIs: dialects, error tables, request facts, session keys, and the
//! judgement of answers.
//!
//! The four dialects are told apart and never translated. [`LlmFacts`] reads what a request is,
//! [`SessionKey`] to which session it belongs, and [`LlmClassifier`] judges what comes back: each
//! dialect has [`Rules`](crate::stream::Rules) that say what its events mean, and tables of codes
//! and phrases that say what its errors do. [`LlmProbe`] finds out whether an endpoint really
//! answers. [`respond`] tells a client in its own dialect that
//! nothing could be relayed.

mod answer;
mod anthropic;
mod chat;
mod classifier;
mod codes;
mod cooldown;
mod document;
mod errors;
mod facts;
mod gemini;
mod json;
mod marks;
mod nesting;
mod phrases;
mod reader;
mod receipt;
mod resources;
mod respond;
mod responses;
mod session;
#[cfg(test)]
mod tests;
mod usage;
mod verify;
mod word;

/// A comment, which clients of OpenAI's dialects overlook as the standard wants it.
const COMMENT: &[u8] = b": keep-alive\n\n";

pub use classifier::LlmClassifier;
pub use codes::{CODES, CodeList, SENTENCES, Sentence, TYPES};
pub use cooldown::{LONGEST_COOL_DOWN, QUOTA_COOL_DOWN, RATE_LIMIT_COOL_DOWN, SHORTEST_COOL_DOWN};
pub use facts::LlmFacts;
pub use phrases::PHRASES;
pub use respond::{LONGEST_RETRY_AFTER, error_response, respond};
pub use session::{InvalidSource, SessionKey, Source};
pub use verify::{Complexity, InvalidLength, Language, LlmProbe};
