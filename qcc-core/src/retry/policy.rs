//! The decision after a failed visit.

use std::fmt;

use http::StatusCode;

use crate::facts::Facts;
use crate::failure::{Kind, Verdict};

/// Decides what follows a failed visit. Sync, pure, object-safe.
///
/// The bounds of a request (attempts, deadline, budget, excluded endpoints) hold whatever the
/// policy says.
pub trait RetryPolicy: fmt::Debug + Send + Sync + 'static {
    /// What to do after `failure`.
    fn next(&self, failure: &Failure<'_>) -> Next;
}

/// A visit that failed.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct Failure<'a> {
    /// The verdict.
    pub verdict: Verdict,
    /// The status of the answer, if there was one.
    pub status: Option<StatusCode>,
    /// The facts of the request.
    pub facts: &'a Facts,
}

/// What follows a failed visit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Try another endpoint.
    Elsewhere,
    /// Try one other endpoint; if that fails, too, this failure is the answer.
    SecondOpinion,
    /// Answer with what there is.
    Stop,
}

/// The usual decision: every failure goes elsewhere, but a request that an endpoint calls
/// invalid gets at most one second opinion.
#[derive(Clone, Copy, Debug)]
pub struct Standard {
    second_opinion: bool,
}

impl Standard {
    /// Whether a request that an endpoint calls invalid is tried on one other endpoint; on by
    /// default.
    #[must_use]
    pub const fn with_second_opinion(mut self, enabled: bool) -> Self {
        self.second_opinion = enabled;
        self
    }
}

impl Default for Standard {
    fn default() -> Self {
        Self {
            second_opinion: true,
        }
    }
}

impl RetryPolicy for Standard {
    fn next(&self, failure: &Failure<'_>) -> Next {
        match failure.verdict.kind {
            Kind::InvalidRequest if self.second_opinion => Next::SecondOpinion,
            Kind::InvalidRequest => Next::Stop,
            _ => Next::Elsewhere,
        }
    }
}
