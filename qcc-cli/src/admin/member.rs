//! The endpoints that an operator can name.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use qcc_core::endpoint::EndpointId;
use qcc_core::time::Duration;

use super::LARGEST_PAGE;
use super::refusal::Refusal;
use super::view::SwitchedOne;
use crate::config::show_duration;

/// Fewer digits of an id are a name that nobody has.
const SHORTEST_PREFIX: usize = 4;

/// An endpoint in a cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    /// The cluster.
    pub(crate) cluster: Arc<str>,
    /// The id.
    pub(crate) id: EndpointId,
    /// The name, which no other member of the cluster has.
    pub(crate) name: Arc<str>,
}

impl Member {
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.cluster, self.name)
    }

    pub(super) fn shown(&self) -> String {
        format!("{} ({})", self.full_name(), self.id)
    }
}

/// What an operator does to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Lets requests go there again.
    Enable,
    /// Lets no new request go there.
    Disable,
    /// Ends what rate limits cause.
    ClearLimit,
    /// Lets no new request go there for a time.
    Mark {
        /// Why.
        reason: String,
        /// How long.
        time: Duration,
    },
    /// Takes the mark back.
    Unmark,
    /// Closes its breaker.
    ResetBreaker,
}

impl Operation {
    /// What it did, in a sentence after the name of the endpoint.
    fn told(&self, changed: bool) -> String {
        match (self, changed) {
            (Self::Enable, true) => "is on: refused credentials are forgotten, its breaker is \
                                     closed, and the next request may use it."
                .to_owned(),
            (Self::Disable, true) => {
                "is off for new requests; those in flight end normally.".to_owned()
            }
            (Self::ClearLimit, true) => {
                "cools down no longer; the next request may use it.".to_owned()
            }
            (Self::Mark { time, .. }, true) => format!(
                "is marked unavailable for {}; requests in flight end normally.",
                show_duration(*time)
            ),
            (Self::Unmark, true) => "is no longer marked; the next request may use it.".to_owned(),
            (Self::ResetBreaker, true) => {
                "has a closed breaker; the next request may use it.".to_owned()
            }
            (Self::Enable, false) => "was on already; nothing changed.".to_owned(),
            (Self::Disable, false) => "was off already; nothing changed.".to_owned(),
            (Self::ClearLimit, false) => "was not cooling down; nothing changed.".to_owned(),
            (Self::Mark { time, .. }, false) => format!(
                "was marked already; now for {} from here.",
                show_duration(*time)
            ),
            (Self::Unmark, false) => "was not marked; nothing changed.".to_owned(),
            (Self::ResetBreaker, false) => {
                "had a closed breaker without a failure already; nothing changed.".to_owned()
            }
        }
    }

    fn as_str(&self) -> &'static str {
        match self {
            Self::Enable => "enabled",
            Self::Disable => "disabled",
            Self::ClearLimit => "limits cleared",
            Self::Mark { .. } => "marked unavailable",
            Self::Unmark => "unmarked",
            Self::ResetBreaker => "breaker reset",
        }
    }
}

/// What became of `member`, in a sentence and in the log.
pub(super) fn operated(
    member: &Member,
    operation: &Operation,
    changed: bool,
    enabled: bool,
) -> SwitchedOne {
    if changed {
        tracing::info!(
            cluster = &*member.cluster,
            endpoint = %member.id,
            name = &*member.name,
            "{} by the operator",
            operation.as_str()
        );
    }
    SwitchedOne {
        cluster: member.cluster.to_string(),
        id: member.id.to_string(),
        name: member.name.to_string(),
        changed,
        enabled,
        message: format!("{} {}", member.shown(), operation.told(changed)),
    }
}

/// The members that `text` means: by name, `cluster/name`, or a prefix of the id. A name goes
/// before an id, and what is found has to be one endpoint, though perhaps in several clusters.
pub(super) fn resolve(members: &[Member], text: &str) -> Result<Vec<Member>, Refusal> {
    let matching = |test: &dyn Fn(&Member) -> bool| -> Vec<Member> {
        members
            .iter()
            .filter(|member| test(member))
            .cloned()
            .collect()
    };
    let mut found = matching(&|member| *member.name == *text || member.full_name() == text);
    if found.is_empty() && text.len() >= SHORTEST_PREFIX {
        let prefix = text.to_ascii_lowercase();
        found = matching(&|member| member.id.to_string() == prefix);
        if found.is_empty() {
            found = matching(&|member| hex(member.id).starts_with(&prefix));
        }
    }
    let Some(first) = found.first() else {
        let known = members
            .iter()
            .take(LARGEST_PAGE)
            .map(Member::shown)
            .collect();
        return Err(Refusal::unknown("endpoint", text, known));
    };
    if found.iter().all(|member| member.id == first.id) {
        return Ok(found);
    }
    let candidates: Vec<_> = found.iter().map(Member::shown).collect();
    Err(Refusal::new(
        StatusCode::CONFLICT,
        "ambiguous",
        format!(
            "`{}` may be {}; say which by `cluster/name` or by its id.",
            Refusal::echo(text),
            candidates.join(" or ")
        ),
    )
    .with("candidates", candidates))
}

fn hex(id: EndpointId) -> String {
    id.as_bytes().iter().fold(String::new(), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}
