//! What a check asks and how its answer is judged: the trait that users implement.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use http::{Request, Response};

use crate::endpoint::Endpoint;

/// A question that only an endpoint that works can answer.
///
/// A status says little: there are relays that answer 200 when a key is disabled, repeat what they
/// were sent, or give everybody the same answer out of a cache. So each check has a [`Code`] of its
/// own, asks for it, and looks for it in the answer.
///
/// Pure but for the random source of [`code`](Self::code). Sync and object-safe.
pub trait Probe: fmt::Debug + Send + Sync + 'static {
    /// The code of a new check, which nobody can foresee.
    fn code(&self) -> Code;

    /// The question in words, for people who look at the check later.
    fn message(&self, code: &Code) -> String;

    /// What is sent to `endpoint`: its path is appended to the endpoint's address, and its
    /// credential is added. `None` if the endpoint cannot be asked like this.
    fn request(&self, endpoint: &Endpoint, code: &Code) -> Option<Request<Bytes>>;

    /// What an answer of status 2xx, whole and decoded, says.
    fn judge(&self, response: &Response<Bytes>, code: &Code) -> Finding;
}

/// What a working endpoint repeats: new for each check.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Code(Arc<str>);

impl Code {
    /// The code `text`. An empty one is in no answer.
    pub fn new(text: impl Into<Arc<str>>) -> Self {
        Self(text.into())
    }

    /// The code itself.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

/// What an answer turned out to be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Whether the endpoint works.
    pub validity: Validity,
    /// The text of the answer, as far as people are to see it. Keep it short.
    pub content: String,
    /// What is wrong with it, in a few words.
    pub problem: Option<&'static str>,
}

/// Whether an answer shows that the endpoint works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Validity {
    /// It does: the code is there.
    Valid,
    /// It does not.
    Invalid,
    /// It cannot be told.
    Inconclusive,
}

impl Validity {
    /// The name used in listings, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Valid => "valid",
            Self::Invalid => "invalid",
            Self::Inconclusive => "inconclusive",
        }
    }
}

impl fmt::Display for Validity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
