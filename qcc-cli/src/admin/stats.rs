//! Everything at a glance: who sends, who serves, who is left out, and what came of it.

use axum::Json;
use axum::extract::State;

use super::refusal::Refusal;
use super::view::{ClientView, LoadView, Page, StatsView, UnavailableView};
use super::{Admin, Paged, Paging};

pub(super) async fn clients(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<Page<ClientView>>, Refusal> {
    let paging = Paging::of(paging)?;
    let clients = admin.operations.clients();
    let page = Page::of(clients.into_iter(), paging.offset, paging.limit());
    Ok(Json(page))
}

pub(super) async fn stats(State(admin): State<Admin>) -> Json<StatsView> {
    let now = admin.now();
    let operations = &admin.operations;
    let members = operations.members();
    let endpoints = members
        .iter()
        .filter_map(|member| operations.status(member, now));
    let mut stats = StatsView {
        as_of: now,
        requests: admin.counts.numbers(),
        breakers: Default::default(),
        credentials: operations.credentials(),
        sessions: operations.session_stats(),
        endpoints: Vec::new(),
        clients: operations.clients(),
        unavailable: Vec::new(),
    };
    stats.sessions.retain(|sessions| sessions.total > 0);
    stats.clients.retain(ClientView::is_busy);
    for endpoint in endpoints {
        *stats
            .breakers
            .entry(endpoint.breaker.state.clone())
            .or_default() += 1;
        let mut clusters = stats.sessions.iter();
        let sessions = clusters
            .find(|sessions| sessions.cluster == endpoint.cluster)
            .and_then(|sessions| sessions.endpoints.get(&endpoint.name).copied());
        let load = LoadView::of(&endpoint, sessions.unwrap_or(0));
        if load.is_busy() {
            stats.endpoints.push(load);
        }
        stats.unavailable.extend(UnavailableView::of(endpoint));
    }
    Json(stats)
}
