//! Where credentials come from that do not stay the same.
//!
//! A [`Credential`](crate::credential::Credential) is a source of its own: a key that never
//! changes. The others here get access tokens that live for a while:
//!
//! - [`OAuth`]: an issuer gives them for a refresh token (RFC 6749). A [`TokenStore`] keeps a
//!   refresh token that was rotated.
//! - [`Fetched`]: they come whole, each time anew, from a URL, a command, or wherever you say.
//!
//! Each implements [`TokenSource`](crate::token::TokenSource) and goes into a
//! [`Pool`](crate::token::Pool), which refreshes it when it is stale or refused, and ahead of
//! time while [`Tokens::maintenance`](crate::token::Tokens::maintenance) runs. A request looks at
//! what is held without a lock.
//!
//! Nothing here spawns a task, reads the environment, or has a client of its own: you bring the
//! [`Upstream`](crate::upstream::Upstream), and say where files are written.

mod answer;
mod ask;
#[cfg(feature = "command")]
mod command;
mod expiry;
mod fetched;
mod held;
mod jwt;
mod oauth;
mod store;
mod url;
mod words;

pub use self::fetched::Fetched;
pub use self::oauth::{Encoding, Issuer, OAuth};
pub use self::store::{TokenStore, Work};
pub use self::url::{InvalidTokenUrl, TokenUrl};
pub use self::words::last_words;
