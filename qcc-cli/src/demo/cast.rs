//! Who takes part in the demo, and what goes wrong with whom: data, no code that acts.

use qcc_core::time::Duration;

/// An endpoint of the demo.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) name: &'static str,
    pub(super) priority: u32,
    /// How long to wait for its first byte, where that is short.
    pub(super) first_byte: Option<Duration>,
    /// What is wrong with it.
    pub(super) story: &'static str,
}

/// All endpoints, in the order in which they are shown.
pub(super) const CAST: [Role; 6] = [
    Role {
        name: "aurora",
        priority: 1,
        first_byte: None,
        story: "goes down: connections are reset, and comes back",
    },
    Role {
        name: "birch",
        priority: 1,
        first_byte: None,
        story: "has its key revoked",
    },
    Role {
        name: "cobalt",
        priority: 1,
        first_byte: None,
        story: "hits a rate limit, later it is overloaded",
    },
    Role {
        name: "delta",
        priority: 1,
        first_byte: None,
        story: "lies: errors and web pages under status 200, half a JSON",
    },
    Role {
        name: "ember",
        priority: 1,
        first_byte: Some(Duration::from_millis(300)),
        story: "hangs, later it cuts streams before their first word",
    },
    Role {
        name: "fallback",
        priority: 2,
        first_byte: None,
        story: "always answers; asked only while all others are out",
    },
];

/// What goes wrong. Each comes before the commit point, so that no client has to see it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Fault {
    Reset,
    Unauthorized,
    RateLimited,
    Silent,
    ErrorUnder200,
    WebPage,
    Overloaded,
    HalfJson,
    CutEarly,
    ErrorFirst,
}

impl Fault {
    /// What people read.
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::Reset => "connection reset",
            Self::Unauthorized => "401, key refused",
            Self::RateLimited => "429 with retry-after",
            Self::Silent => "silence past the first-byte limit",
            Self::ErrorUnder200 => "error body under status 200",
            Self::WebPage => "web page under status 200",
            Self::Overloaded => "503, overloaded",
            Self::HalfJson => "JSON cut off in the middle",
            Self::CutEarly => "stream cut before its first word",
            Self::ErrorFirst => "error as first event of a stream",
        }
    }

    /// What the simulated endpoint does.
    pub(super) const fn behaviour(self) -> &'static str {
        match self {
            Self::Reset => "refuse",
            Self::Unauthorized => "status:401",
            Self::RateLimited => "status:429;retry-after=1",
            Self::Silent => "hang",
            Self::ErrorUnder200 => "status:200",
            Self::WebPage => "html",
            Self::Overloaded => "status:503",
            Self::HalfJson => "truncated",
            Self::CutEarly => "cut:0",
            Self::ErrorFirst => "error:0",
        }
    }

    /// Whether it would come after the commit point of a stream, so that nobody may ask for one.
    pub(super) const fn spares_streams(self) -> bool {
        matches!(self, Self::HalfJson)
    }

    /// What it is to a request that asked for a stream, or for none.
    pub(super) const fn as_met(self, stream: bool) -> Self {
        match self {
            Self::CutEarly if !stream => Self::Reset,
            Self::ErrorFirst if !stream => Self::ErrorUnder200,
            same => same,
        }
    }
}

/// How an endpoint behaves that is well: it takes its time, so that answers overlap.
pub(super) const WELL: &str = "slow:12ms,5ms";

/// One change of what endpoints do.
#[derive(Debug)]
pub(super) struct Scene {
    pub(super) title: &'static str,
    /// Who does what from now on; `None` is well.
    pub(super) changes: &'static [(&'static str, Option<Fault>)],
    pub(super) until: Until,
}

/// What a scene waits for, beside its shortest time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Until {
    /// Nothing.
    Time,
    /// All of its faults were met.
    Met,
    /// This endpoint has answered.
    Answered(&'static str),
    /// The breakers of those that it changed are closed.
    Closed,
}

/// What happens, in order.
pub(super) const SCENES: [Scene; 11] = [
    Scene {
        title: "all is well",
        changes: &[],
        until: Until::Time,
    },
    Scene {
        title: "aurora goes down: every connection is reset",
        changes: &[("aurora", Some(Fault::Reset))],
        until: Until::Met,
    },
    Scene {
        title: "the key of birch is revoked: 401",
        changes: &[("birch", Some(Fault::Unauthorized))],
        until: Until::Met,
    },
    Scene {
        title: "cobalt is used too fast: 429, retry-after 1 s",
        changes: &[("cobalt", Some(Fault::RateLimited))],
        until: Until::Met,
    },
    Scene {
        title: "ember hangs: no first byte in 300 ms",
        changes: &[("ember", Some(Fault::Silent))],
        until: Until::Met,
    },
    Scene {
        title: "delta, the last of the first tier, puts errors under status 200",
        changes: &[("delta", Some(Fault::ErrorUnder200))],
        until: Until::Answered("fallback"),
    },
    Scene {
        title: "delta shows a web page instead, still under status 200",
        changes: &[("delta", Some(Fault::WebPage))],
        until: Until::Met,
    },
    Scene {
        title: "aurora is back; cobalt is overloaded: 503",
        changes: &[("cobalt", Some(Fault::Overloaded)), ("aurora", None)],
        until: Until::Met,
    },
    Scene {
        title: "delta breaks off in the middle of a JSON (for a moment nobody asks for streams)",
        changes: &[("delta", Some(Fault::HalfJson))],
        until: Until::Met,
    },
    Scene {
        title: "delta begins streams with an error, ember cuts them before their first word",
        changes: &[
            ("delta", Some(Fault::ErrorFirst)),
            ("ember", Some(Fault::CutEarly)),
        ],
        until: Until::Met,
    },
    Scene {
        title: "all of them recover, but a refused key waits for its operator",
        changes: &[
            ("aurora", None),
            ("birch", None),
            ("cobalt", None),
            ("delta", None),
            ("ember", None),
        ],
        until: Until::Closed,
    },
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use qcc_core::simulate::Behaviour;

    use super::*;

    fn changes() -> impl Iterator<Item = (&'static str, Option<Fault>)> {
        SCENES
            .iter()
            .flat_map(|scene| scene.changes.iter().copied())
    }

    // SIM-03
    #[test]
    fn ten_kinds_of_fault_are_played_by_endpoints_of_the_cast() {
        let names: Vec<_> = CAST.iter().map(|role| role.name).collect();
        let mut kinds = BTreeSet::new();
        for (name, fault) in changes() {
            assert!(names.contains(&name), "{name}");
            if let Some(fault) = fault {
                assert!(fault.behaviour().parse::<Behaviour>().is_ok(), "{fault:?}");
                kinds.insert(fault.label());
            }
        }
        assert_eq!(kinds.len(), 10);
        assert!(WELL.parse::<Behaviour>().is_ok());
    }

    #[test]
    fn whoever_breaks_is_mended_and_one_endpoint_never_breaks() {
        for role in &CAST {
            let last = changes().filter(|(name, _)| *name == role.name).last();
            assert!(last.is_none_or(|(_, fault)| fault.is_none()), "{role:?}");
        }
        assert!(changes().all(|(name, _)| name != "fallback"));
    }
}
