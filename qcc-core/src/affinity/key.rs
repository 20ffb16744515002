//! The trait that finds a session in a request.

use std::borrow::Cow;
use std::fmt;

use http::request::Parts;

use crate::facts::Facts;

/// Finds the session that a request belongs to. Sync, object-safe, pure.
pub trait AffinityKey: fmt::Debug + Send + Sync + 'static {
    /// The id of the session; `None` for a request of no session, which is balanced freely.
    ///
    /// Never a value that all users share. The id is scoped by [`Facts::client`] and hashed
    /// before it is stored or shown.
    fn key<'a>(&self, head: &'a Parts, facts: &'a Facts) -> Option<Cow<'a, str>>;
}

/// Finds no session: every request is balanced freely.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoAffinity;

impl AffinityKey for NoAffinity {
    fn key<'a>(&self, _: &'a Parts, _: &'a Facts) -> Option<Cow<'a, str>> {
        None
    }
}
