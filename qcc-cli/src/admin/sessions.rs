//! The bindings of sessions.

use axum::Json;
use axum::extract::State;
use qcc_core::record::SessionHash;

use super::member::resolve;
use super::refusal::Refusal;
use super::view::{Page, SessionStatsView, SessionView, Unbound};
use super::{Admin, Member, Name, Paged, Paging, named};

/// Which bindings are removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Unbind {
    /// Those of one session.
    Session(SessionHash),
    /// Those to one endpoint.
    Endpoint(Member),
    /// Those of one client key, by its name.
    Client(String),
    /// All.
    All,
}

/// The session that `text` means: its hash as listings show it, or its id.
fn session(text: &str) -> SessionHash {
    text.parse().unwrap_or_else(|_| SessionHash::of(text))
}

fn unbound(count: usize) -> Json<Unbound> {
    Json(Unbound {
        changed: count > 0,
        count,
    })
}

pub(super) async fn list(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<Page<SessionView>>, Refusal> {
    let paging = Paging::of(paging)?;
    let sessions = admin.operations.sessions(admin.now());
    Ok(Json(Page::of(
        sessions.into_iter(),
        paging.offset,
        paging.limit(),
    )))
}

pub(super) async fn one(
    State(admin): State<Admin>,
    name: Name,
) -> Result<Json<Page<SessionView>>, Refusal> {
    let hash = session(&named(name)?).to_string();
    let mut sessions = admin.operations.sessions(admin.now());
    sessions.retain(|view| view.session == hash);
    if sessions.is_empty() {
        return Err(Refusal::unknown("session", &hash, Vec::new()));
    }
    let limit = sessions.len();
    Ok(Json(Page::of(sessions.into_iter(), 0, limit)))
}

pub(super) async fn stats(State(admin): State<Admin>) -> Json<Vec<SessionStatsView>> {
    Json(admin.operations.session_stats())
}

pub(super) async fn unbind(
    State(admin): State<Admin>,
    name: Name,
) -> Result<Json<Unbound>, Refusal> {
    let what = Unbind::Session(session(&named(name)?));
    Ok(unbound(admin.operations.unbind(&what)))
}

pub(super) async fn unbind_client(
    State(admin): State<Admin>,
    name: Name,
) -> Result<Json<Unbound>, Refusal> {
    let name = named(name)?;
    let clients = admin.operations.clients();
    if !clients.iter().any(|client| client.name == name) {
        let known = clients.into_iter().map(|client| client.name).collect();
        return Err(Refusal::unknown("client key", &name, known));
    }
    Ok(unbound(admin.operations.unbind(&Unbind::Client(name))))
}

pub(super) async fn unbind_all(State(admin): State<Admin>) -> Json<Unbound> {
    unbound(admin.operations.unbind(&Unbind::All))
}

pub(super) async fn unbind_endpoint(
    State(admin): State<Admin>,
    name: Name,
) -> Result<Json<Unbound>, Refusal> {
    let members = resolve(&admin.operations.members(), &named(name)?)?;
    let counts = members
        .into_iter()
        .map(|member| admin.operations.unbind(&Unbind::Endpoint(member)));
    Ok(unbound(counts.sum()))
}
