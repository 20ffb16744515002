//! qcc keeps LLM traffic flowing when upstreams fail.

pub mod available;
pub mod body;
pub mod credential;
pub mod endpoint;
pub mod error;
pub mod exchange;
pub mod facts;
pub mod failure;
pub mod guard;
pub mod inspect;
pub mod record;
pub mod time;
pub mod visit;

pub mod affinity;
pub mod balance;
pub mod breaker;
pub mod classify;
pub mod failover;
pub mod health;
#[cfg(feature = "llm")]
pub mod llm;
pub mod retry;
#[cfg(feature = "simulate")]
pub mod simulate;
pub mod stream;
pub mod token;
pub mod upstream;

#[cfg(test)]
pub(crate) mod testing;
