use std::fmt;
use std::io;

use crate::upstream::coding::Coding;

/// The error of a body that cannot be decoded.
///
/// Before the commit point it is the source of a [`Failed`](crate::failure::Failed), after it
/// that of an [`Interrupted`](crate::failure::Interrupted).
#[derive(Debug, thiserror::Error)]
#[error("the {coding} data {fault}")]
pub struct Undecodable {
    coding: Coding,
    fault: Fault,
    source: Option<io::Error>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    Corrupt,
    Truncated,
    TooLarge,
}

impl Undecodable {
    pub(super) const fn corrupt(coding: Coding, source: Option<io::Error>) -> Self {
        Self {
            coding,
            fault: Fault::Corrupt,
            source,
        }
    }

    pub(super) const fn truncated(coding: Coding) -> Self {
        Self {
            coding,
            fault: Fault::Truncated,
            source: None,
        }
    }

    pub(super) const fn too_large(coding: Coding) -> Self {
        Self {
            coding,
            fault: Fault::TooLarge,
            source: None,
        }
    }

    /// Whether it is not what it should be, or is followed by something else.
    #[must_use]
    pub fn is_corrupt(&self) -> bool {
        self.fault == Fault::Corrupt
    }

    /// Whether it ended early.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.fault == Fault::Truncated
    }

    /// Whether it decodes to more than is allowed.
    #[must_use]
    pub fn is_too_large(&self) -> bool {
        self.fault == Fault::TooLarge
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Corrupt => "is corrupt",
            Self::Truncated => "ends early",
            Self::TooLarge => "decodes to more than is allowed",
        })
    }
}
