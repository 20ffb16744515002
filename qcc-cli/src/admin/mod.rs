//! The admin API: what an operator sees of a running proxy and may change in it.
//!
//! It has a listener of its own, on loopback unless the configuration says otherwise, and is
//! JSON under `/admin/v1/`, beside `/metrics`, `/healthz` and `/readyz`. [`mod@routes`] lists it.
//!
//! - Everything is read fresh at each call; nothing is cached.
//! - Lists are paged: `?limit=` (100 unless given, at most 1,000) and `?offset=`; an empty list
//!   is `[]`.
//! - `GET` changes nothing. An operation answers with what changed; repeated, with the same and
//!   `"changed": false`.
//! - Errors are `{"error": {"type", "message", "request_id", …}}`; a name that nothing has is
//!   answered with those that there are.
//! - [`Guard`] says who may talk to it, and why a page in a browser cannot.
//!
//! The router knows the proxy through [`Operations`] alone, so it runs in memory over a fake.

mod checks;
#[cfg(test)]
pub(crate) mod fake;
mod guard;
mod history;
mod live;
mod member;
mod openapi;
mod operate;
pub(crate) mod pool;
mod refusal;
mod routes;
mod sessions;
mod signature;
mod stats;
pub(crate) mod view;

use std::collections::BTreeMap;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;

use axum::Json;
use axum::Router;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{Request, StatusCode};
use hyper::body::Incoming;
use hyper::service::service_fn;
use qcc_core::exchange::RequestId;
use qcc_core::time::{self, Duration, WallClock};
use schemars::JsonSchema;
use serde::Deserialize;
use tokio::net::TcpListener;
use tower::ServiceExt as _;

use self::checks::Checked;
use self::member::{operated, resolve};
use self::pool::{PoolTest, PoolView};
use self::refusal::{REQUEST_ID, Refusal};
use self::view::{
    ClientView, ClusterStatus, ClusterView, EndpointView, Page, Readiness, Reloaded, RequestView,
    SessionStatsView, SessionView, Switched,
};
use crate::counts::Counts;
use crate::explain::Explanation;
use crate::history::History;
use crate::metrics::Metrics;
use crate::moment::{Anchor, Date};
use crate::output::Failure;
use crate::running::Change;
use crate::server;
use crate::shutdown::Phases;

pub(crate) use self::guard::Guard;
pub(crate) use self::live::Live;
pub(crate) use self::member::{Member, Operation};
pub(crate) use self::openapi::document as openapi_document;
pub(crate) use self::routes::routes;
pub(crate) use self::sessions::Unbind;

/// So many callers at a time. Clients cannot take these places: they have a listener of their own.
const CONNECTIONS: usize = 1_000;

/// How many entries a page has unless told otherwise.
const PAGE: usize = 100;

/// And how many at most.
pub(crate) const LARGEST_PAGE: usize = 1_000;

/// How many of the newest request ids an unknown one is answered with.
const KNOWN_REQUESTS: usize = 5;

/// What can be seen of a running proxy and done to it. No call but [`reload`](Self::reload) blocks,
/// and only [`check`](Self::check) waits.
pub(crate) trait Operations: Send + Sync + 'static {
    /// Whether the proxy was asked to stop.
    fn is_stopping(&self) -> bool;
    /// The clusters, in the order of the configuration.
    fn clusters(&self) -> Vec<ClusterView>;
    /// The endpoints of all clusters, cluster by cluster, in the order of the configuration.
    fn members(&self) -> Vec<Member>;
    /// The state of `member` at `now`; `None` if it is no member any more.
    fn status(&self, member: &Member, now: Date) -> Option<EndpointView>;
    /// Does `operation` to `member`, for the next request. Whether that changed anything; `None`
    /// if it is no member any more.
    fn operate(&self, member: &Member, operation: &Operation) -> Option<bool>;
    /// Checks `members` now, several at a time, and tells what came of it in their order.
    fn check(&self, members: Vec<Member>) -> Pin<Box<dyn Future<Output = Vec<Checked>> + Send>>;
    /// The bindings of all clusters at `now`, the most recently used of each first.
    fn sessions(&self, now: Date) -> Vec<SessionView>;
    /// The numbers of the bindings of each cluster.
    fn session_stats(&self) -> Vec<SessionStatsView>;
    /// The client keys, in the order of the configuration.
    fn clients(&self) -> Vec<ClientView>;
    /// How many credentials are in each state.
    fn credentials(&self) -> BTreeMap<String, u32>;
    /// Removes bindings. How many there were.
    fn unbind(&self, what: &Unbind) -> usize;
    /// The token pools of all clusters at `now`, in the order of the configuration.
    fn pools(&self, now: Date) -> Vec<PoolView>;
    /// Uses tokens of `member` again that were refused or are inactive: the one of this name, or
    /// all. Which there were; `None` if it has no pool.
    fn recover_tokens(&self, member: &Member, token: Option<&str>) -> Option<Vec<String>>;
    /// Checks the pool of `member` without sending anything; `None` if it has none.
    fn test_tokens(&self, member: &Member, now: Date) -> Option<PoolTest>;
    /// Reads the configuration again and tells what is different now; `None` if it came from no
    /// place where it could be read again. Blocks.
    fn reload(&self) -> Option<Result<Vec<Change>, Failure>>;
}

/// What the routes work on.
#[derive(Clone)]
pub(crate) struct Admin {
    /// The proxy.
    pub(crate) operations: Arc<dyn Operations>,
    /// The requests that ended.
    pub(crate) history: History,
    /// The counters.
    pub(crate) metrics: Arc<Metrics>,
    /// What became of all requests.
    pub(crate) counts: Arc<Counts>,
    /// Tells dates.
    pub(crate) clock: Arc<dyn WallClock>,
}

impl Admin {
    fn now(&self) -> Date {
        self.clock.now().into()
    }

    fn endpoints(&self, cluster: Option<&str>) -> Vec<Member> {
        let mut members = self.operations.members();
        members.retain(|member| cluster.is_none_or(|cluster| *member.cluster == *cluster));
        members
    }

    /// The states of one page of `members`.
    fn page(&self, members: &[Member], paging: Paging) -> Page<EndpointView> {
        let now = self.now();
        let page = Page::of(members.iter(), paging.offset, paging.limit());
        Page {
            items: page
                .items
                .into_iter()
                .filter_map(|member| self.operations.status(member, now))
                .collect(),
            total: page.total,
            limit: page.limit,
            offset: page.offset,
        }
    }

    /// Does `operation` to the endpoints that `name` means.
    fn operate(&self, name: &str, operation: &Operation) -> Result<Json<Switched>, Refusal> {
        Ok(self.operate_on(&resolve(&self.operations.members(), name)?, operation))
    }

    fn operate_on(&self, members: &[Member], operation: &Operation) -> Json<Switched> {
        let now = self.now();
        let mut endpoints = Vec::new();
        for member in members {
            let changed = self.operations.operate(member, operation);
            let status = self.operations.status(member, now);
            if let (Some(changed), Some(status)) = (changed, status) {
                endpoints.push(operated(member, operation, changed, status.enabled));
            }
        }
        Json(Switched {
            changed: endpoints.iter().any(|one| one.changed),
            endpoints,
        })
    }
}

impl fmt::Debug for Admin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admin").finish_non_exhaustive()
    }
}

/// Which page of a list.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
struct Paging {
    /// How many entries, 100 unless given, at most 1000.
    limit: Option<usize>,
    /// How many come before them.
    #[serde(default)]
    offset: usize,
}

impl Paging {
    fn of(query: Result<Query<Self>, QueryRejection>) -> Result<Self, Refusal> {
        match query {
            Ok(Query(paging)) => Ok(paging),
            Err(rejection) => Err(Refusal::new(
                StatusCode::BAD_REQUEST,
                "invalid_query",
                format!(
                    "{}; `limit` and `offset` are whole numbers.",
                    Refusal::echo(&rejection.body_text())
                ),
            )),
        }
    }

    fn limit(self) -> usize {
        self.limit.unwrap_or(PAGE).min(LARGEST_PAGE)
    }
}

type Name = Result<Path<String>, PathRejection>;
type Paged = Result<Query<Paging>, QueryRejection>;

fn named(name: Name) -> Result<String, Refusal> {
    match name {
        Ok(Path(name)) => Ok(name),
        Err(rejection) => Err(Refusal::new(
            StatusCode::BAD_REQUEST,
            "invalid_path",
            Refusal::echo(&rejection.body_text()),
        )),
    }
}

/// The routes over `admin`, for whom `guard` lets pass.
pub(crate) fn router(admin: Admin, guard: Guard) -> Router {
    let mut router = Router::new();
    for route in routes() {
        let refuse = move || async move { Refusal::method(route.method) };
        router = router.route(route.path, route.handler.fallback(refuse));
    }
    router
        .fallback(unknown_route)
        .with_state(admin)
        .layer(middleware::from_fn_with_state(guard, admit))
}

/// Serves `router` on `listener` until `phases` says to stop; answers that are under way may
/// take `grace` to end.
pub(crate) async fn serve(listener: TcpListener, router: Router, phases: Phases, grace: Duration) {
    let service = service_fn(move |request: Request<Incoming>| {
        router.clone().oneshot(request.map(Body::new))
    });
    server::run(listener, CONNECTIONS, service, phases, grace).await;
}

/// The outermost layer: gives every request an id, asks the guard, and writes refusals.
async fn admit(State(guard): State<Guard>, request: Request<Body>, next: Next) -> Response {
    let id = request
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok()?.parse().ok())
        .unwrap_or_else(RequestId::random);
    let mut response = match guard.check(&request) {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    if let Some(refusal) = response.extensions_mut().remove::<Refusal>() {
        response = refusal.respond(&id);
    }
    if let Ok(id) = HeaderValue::try_from(id.to_string()) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

async fn unknown_route(request: Request<Body>) -> Refusal {
    let path = Refusal::echo(request.uri().path());
    let routes: Vec<_> = routes()
        .iter()
        .map(|route| format!("{} {}", route.method, route.path))
        .collect();
    Refusal::new(
        StatusCode::NOT_FOUND,
        "unknown_route",
        format!("There is no route {path}; `routes` lists those that there are."),
    )
    .with("path", path)
    .with("routes", routes)
}

async fn healthz() -> &'static str {
    "ok\n"
}

async fn readyz(State(admin): State<Admin>) -> (StatusCode, Json<Readiness>) {
    let eligible: usize = admin
        .operations
        .clusters()
        .iter()
        .map(|cluster| cluster.eligible)
        .sum();
    let (ready, message) = match (admin.operations.is_stopping(), eligible) {
        (true, _) => (false, "The proxy was asked to stop.".to_owned()),
        (false, 0) => (false, "No endpoint can be used now.".to_owned()),
        (false, 1) => (true, "1 endpoint can be used.".to_owned()),
        (false, many) => (true, format!("{many} endpoints can be used.")),
    };
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(Readiness { ready, message }))
}

async fn metrics(State(admin): State<Admin>) -> ([(HeaderName, HeaderValue); 1], String) {
    let now = admin.now();
    let endpoints: Vec<_> = admin
        .operations
        .members()
        .iter()
        .filter_map(|member| admin.operations.status(member, now))
        .collect();
    let pools = admin.operations.pools(now);
    let text = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    let clients = admin.operations.clients();
    let store = admin.history.store().view(now);
    let rendered = admin.metrics.render(&endpoints, &pools, &clients, &store);
    ([(CONTENT_TYPE, text)], rendered)
}

async fn openapi() -> Json<serde_json::Value> {
    Json(openapi::document())
}

async fn clusters(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<Page<ClusterView>>, Refusal> {
    let paging = Paging::of(paging)?;
    let clusters = admin.operations.clusters();
    Ok(Json(Page::of(
        clusters.into_iter(),
        paging.offset,
        paging.limit(),
    )))
}

async fn cluster(
    State(admin): State<Admin>,
    name: Name,
    paging: Paged,
) -> Result<Json<ClusterStatus>, Refusal> {
    let (name, paging) = (named(name)?, Paging::of(paging)?);
    let mut clusters = admin.operations.clusters();
    let Some(found) = clusters.iter().position(|cluster| cluster.name == name) else {
        let known = clusters.into_iter().map(|cluster| cluster.name).collect();
        return Err(Refusal::unknown("cluster", &name, known));
    };
    Ok(Json(ClusterStatus {
        cluster: clusters.swap_remove(found),
        as_of: admin.now(),
        endpoints: admin.page(&admin.endpoints(Some(&name)), paging),
    }))
}

async fn endpoints(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<Page<EndpointView>>, Refusal> {
    let paging = Paging::of(paging)?;
    Ok(Json(admin.page(&admin.endpoints(None), paging)))
}

async fn endpoint(
    State(admin): State<Admin>,
    name: Name,
) -> Result<Json<Page<EndpointView>>, Refusal> {
    let members = resolve(&admin.operations.members(), &named(name)?)?;
    let paging = Paging {
        limit: None,
        offset: 0,
    };
    Ok(Json(admin.page(&members, paging)))
}

async fn reload(State(admin): State<Admin>) -> Result<Json<Reloaded>, Refusal> {
    let operations = admin.operations.clone();
    match tokio::task::spawn_blocking(move || operations.reload()).await {
        Ok(Some(Ok(changes))) => Ok(Json(Reloaded::from(changes))),
        Ok(Some(Err(failure))) => Err(Refusal::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            "invalid_configuration",
            format!("The configuration before stays in force:\n{failure}"),
        )),
        Ok(None) => Err(Refusal::new(
            StatusCode::CONFLICT,
            "nothing_to_reload",
            "This proxy was started without a configuration that could be read again.",
        )),
        Err(_) => Err(Refusal::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "reload_failed",
            "The reload broke off; the log says why. The configuration before stays in force.",
        )),
    }
}

async fn requests(
    State(admin): State<Admin>,
    paging: Paged,
) -> Result<Json<Page<RequestView>>, Refusal> {
    let paging = Paging::of(paging)?;
    let (offset, limit) = (paging.offset, paging.limit());
    let (items, total) = admin.history.page(offset, limit).await;
    Ok(Json(Page {
        items,
        total,
        limit,
        offset,
    }))
}

async fn request(State(admin): State<Admin>, name: Name) -> Result<Json<Explanation>, Refusal> {
    let name = named(name)?;
    let now = Anchor {
        instant: time::now(),
        date: admin.now(),
    };
    match admin.history.find(&name, &now).await? {
        Some(explanation) => Ok(Json(explanation)),
        None => {
            let (newest, _) = admin.history.page(0, KNOWN_REQUESTS).await;
            let known = newest.into_iter().map(|request| request.id).collect();
            Err(Refusal::unknown("request", &name, known))
        }
    }
}

#[cfg(test)]
mod tests;
