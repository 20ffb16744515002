//! The table of failure kinds: what a failure means for the endpoint that failed.

use qcc_core::failure::{Blame, Kind};
use qcc_core::time::Duration;

use super::MODEL;
use super::state::{State, Token};

/// What a failure of one kind means for the endpoint that failed.
#[derive(Clone, Copy, Debug)]
pub struct Consequence {
    /// The kind.
    pub kind: Kind,
    /// How often a visit asks the endpoint.
    pub calls: u64,
    /// Whether its breaker counts it.
    pub counted: bool,
    /// Whose fault it is.
    pub blame: Blame,
    /// Who is not used for a while.
    pub cooling: Cooling,
    /// Whether it refuses the credential, and with its last one the endpoint.
    pub refused: bool,
    /// Whether the endpoint is not asked for the model any more.
    pub skips_model: bool,
    /// Whether a session that is bound there stays: its endpoint did not fail, or is not away
    /// for longer than 30 s.
    pub keeps_session: bool,
}

/// Who is not used for a while.
#[derive(Clone, Copy, Debug)]
pub enum Cooling {
    /// Nobody.
    Nobody,
    /// The endpoint, if its answer says for how long.
    Endpoint,
    /// The credential, for so many seconds unless the answer says for how long.
    Credential(u64),
}

/// A failure of the endpoint itself.
const fn endpoint(kind: Kind) -> Consequence {
    Consequence {
        kind,
        calls: 1,
        counted: true,
        blame: Blame::Endpoint,
        cooling: Cooling::Nobody,
        refused: false,
        skips_model: false,
        keeps_session: false,
    }
}

/// A failure of its credential.
const fn credential(kind: Kind) -> Consequence {
    Consequence {
        counted: false,
        blame: Blame::Credential,
        ..endpoint(kind)
    }
}

/// The table.
pub const KINDS: [Consequence; 10] = [
    Consequence {
        // Once more, at once.
        calls: 2,
        ..endpoint(Kind::Transport)
    },
    endpoint(Kind::Timeout),
    Consequence {
        cooling: Cooling::Endpoint,
        ..endpoint(Kind::Overloaded)
    },
    Consequence {
        cooling: Cooling::Credential(30),
        keeps_session: true,
        ..credential(Kind::RateLimit)
    },
    Consequence {
        cooling: Cooling::Credential(3600),
        ..credential(Kind::Quota)
    },
    Consequence {
        refused: true,
        ..credential(Kind::Auth)
    },
    Consequence {
        counted: false,
        skips_model: true,
        ..endpoint(Kind::NotFound)
    },
    Consequence {
        counted: false,
        blame: Blame::Caller,
        keeps_session: true,
        ..endpoint(Kind::InvalidRequest)
    },
    endpoint(Kind::Server),
    endpoint(Kind::Unknown),
];

/// The row of `kind`.
#[must_use]
pub fn consequence(kind: Kind) -> Consequence {
    let mut rows = KINDS.into_iter();
    rows.find(|row| row.kind == kind).expect("a row for it")
}

impl Consequence {
    /// What the record says of the sends of the visit, the first of them for this reason.
    #[must_use]
    pub fn sends(&self, first: &str) -> String {
        let kind = self.kind;
        match self.calls {
            1 => format!("{first} failed {kind}"),
            _ => format!("{first} failed {kind}, quick failed {kind}"),
        }
    }

    /// Why the next visit is made: after a failure of the credential it is no attempt.
    #[must_use]
    pub fn next(&self) -> &'static str {
        match self.blame {
            Blame::Credential => "rotation",
            _ => "first",
        }
    }
}

impl State {
    /// What becomes of an endpoint that answers well.
    #[must_use]
    pub fn answered(&self) -> Self {
        Self {
            calls: self.calls + 1,
            failures: 0,
            consecutive_failures: 0,
            status: "healthy",
            total: self.total + 1,
            ..self.clone()
        }
    }

    /// What becomes of one whose committed answer breaks.
    #[must_use]
    pub fn interrupted(&self) -> Self {
        self.failed(Kind::Unknown, None)
    }

    /// What becomes of one that fails before the commit point and says that it lasts so long.
    #[must_use]
    pub fn failed(&self, kind: Kind, asks: Option<Duration>) -> Self {
        let row = consequence(kind);
        let mut state = Self {
            calls: self.calls + row.calls,
            failures: self.failures + u32::from(row.counted),
            consecutive_failures: self.consecutive_failures + u32::from(row.counted),
            total: self.total + 1,
            failed: self.failed + u64::from(row.blame != Blame::Caller),
            ..self.clone()
        };
        let rest = match row.cooling {
            Cooling::Nobody => None,
            Cooling::Endpoint => asks,
            Cooling::Credential(seconds) => {
                let rest = asks.unwrap_or_else(|| Duration::from_secs(seconds));
                state.token = Token::Cooling(rest);
                Some(rest)
            }
        };
        if rest.is_some() {
            state.status = "degraded";
            state.is_healthy = false;
            state.out = Some(("cooling", rest));
        }
        if row.refused {
            state.status = "unhealthy";
            state.enabled = false;
            state.is_healthy = false;
            state.auth_failed = true;
            state.consecutive_failures += 1;
            state.token = Token::Refused;
            state.out = Some(("auth_failed", None));
        }
        state.token_failures += u32::from(row.blame == Blame::Credential);
        if row.skips_model {
            state.models = vec![(MODEL.to_owned(), Duration::from_secs(600))];
        }
        state
    }
}
