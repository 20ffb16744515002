//! The endpoints that an operator can name.

use std::fmt::Write as _;
use std::sync::Arc;

use http::StatusCode;
use qcc_core::endpoint::EndpointId;

use super::LARGEST_PAGE;
use super::refusal::Refusal;
use super::view::SwitchedOne;

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

/// What became of `member`, in a sentence and in the log.
pub(super) fn switched(member: &Member, enabled: bool, changed: bool) -> SwitchedOne {
    let name = member.shown();
    let message = match (enabled, changed) {
        (true, true) => format!(
            "{name} is on: refused credentials are forgotten, its breaker is closed, and the next \
             request may use it."
        ),
        (false, true) => {
            format!("{name} is off for new requests; those in flight end normally.")
        }
        (true, false) => format!("{name} was on already; nothing changed."),
        (false, false) => format!("{name} was off already; nothing changed."),
    };
    if changed {
        tracing::info!(
            cluster = &*member.cluster,
            endpoint = %member.id,
            name = &*member.name,
            "{} by the operator",
            if enabled { "enabled" } else { "disabled" }
        );
    }
    SwitchedOne {
        cluster: member.cluster.to_string(),
        id: member.id.to_string(),
        name: member.name.to_string(),
        changed,
        enabled,
        message,
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
