//! Llm.

mod codes;
mod cooldown;
pub(crate) mod errors;
mod facts;
mod phrases;
mod respond;
mod session;

pub use codes::{CODES, CodeList, SENTENCES, Sentence, TYPES};
pub use cooldown::{LONGEST_COOL_DOWN, QUOTA_COOL_DOWN, RATE_LIMIT_COOL_DOWN, SHORTEST_COOL_DOWN};
pub use errors::excerpt;
pub use facts::LlmFacts;
pub use phrases::PHRASES;
pub use respond::{LONGEST_RETRY_AFTER, error_response, respond};
pub use session::{InvalidSource, SessionKey, Source};
