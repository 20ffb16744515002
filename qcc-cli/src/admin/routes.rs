//! Every route, once: its address, its handler and what it does. The router, the answer to an
//! unknown route and the OpenAPI document are made of this list; what a route takes and answers
//! with is read from the signature of its handler.

use axum::handler::Handler;
use axum::routing::{self, MethodRouter};

use super::signature::{Describe, Signature};
use super::{Admin, checks, history, operate, pool, sessions, stats};

/// One route.
#[derive(Clone)]
pub(crate) struct Route {
    /// `GET` for what only looks, `POST` for what changes something.
    pub(crate) method: &'static str,
    /// The path; braces hold the name of a parameter.
    pub(crate) path: &'static str,
    /// What it does.
    pub(crate) what: &'static str,
    /// Does it.
    pub(super) handler: MethodRouter<Admin>,
    /// Tells what the handler takes and answers with.
    pub(super) describe: Describe,
}

fn get<H, T, A>(path: &'static str, handler: H, what: &'static str) -> Route
where
    H: Handler<T, Admin> + Signature<A>,
    T: 'static,
{
    Route {
        method: "GET",
        path,
        what,
        handler: routing::get(handler),
        describe: H::describe,
    }
}

fn post<H, T, A>(path: &'static str, handler: H, what: &'static str) -> Route
where
    H: Handler<T, Admin> + Signature<A>,
    T: 'static,
{
    Route {
        method: "POST",
        path,
        what,
        handler: routing::post(handler),
        describe: H::describe,
    }
}

/// The routes of the admin listener.
pub(crate) fn routes() -> Vec<Route> {
    vec![
        get(
            "/healthz",
            super::healthz,
            "200 as long as the process works.",
        ),
        get(
            "/readyz",
            super::readyz,
            "200 while an endpoint can be used and nobody asked the proxy to stop, else 503.",
        ),
        get(
            "/metrics",
            super::metrics,
            "Counters and gauges for Prometheus.",
        ),
        get(
            "/admin/v1/openapi.json",
            super::openapi,
            "This API as an OpenAPI document.",
        ),
        get(
            "/admin/v1/clusters",
            super::clusters,
            "The clusters, in the order of the configuration.",
        ),
        get(
            "/admin/v1/clusters/{cluster}",
            super::cluster,
            "One cluster with the state of its endpoints, which are paged.",
        ),
        get(
            "/admin/v1/endpoints",
            super::endpoints,
            "The endpoints of all clusters with their state.",
        ),
        get(
            "/admin/v1/endpoints/{endpoint}",
            super::endpoint,
            "The state of one endpoint, by name, `cluster/name` or at least 4 digits of its id; a \
             list, because clusters may share it.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/enable",
            operate::enable,
            "Switches an endpoint on; forgets refused credentials and closes its breaker.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/disable",
            operate::disable,
            "Switches an endpoint off for new requests; those in flight end normally.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/clear-limit",
            operate::clear_limit,
            "Ends the cool-downs of an endpoint and of its credentials.",
        ),
        post(
            "/admin/v1/limits/clear",
            operate::clear_limits,
            "Ends the cool-downs of every endpoint.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/mark",
            operate::mark,
            "Keeps new requests away for `seconds` (300), for `reason`.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/unmark",
            operate::unmark,
            "Takes the mark back.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/reset",
            operate::reset,
            "Closes the breaker of an endpoint.",
        ),
        post(
            "/admin/v1/breakers/reset",
            operate::reset_all,
            "Closes every breaker.",
        ),
        get(
            "/admin/v1/queue",
            checks::queue,
            "The queue of endpoints that failed: its members, which are paged, and what happened so \
             far.",
        ),
        post(
            "/admin/v1/queue/retry",
            checks::retry,
            "Checks every member of the queue now; those that work come back at once.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/probe",
            checks::probe,
            "Checks an endpoint now.",
        ),
        post(
            "/admin/v1/probe",
            checks::probe_all,
            "Checks every endpoint now, several at a time.",
        ),
        post(
            "/admin/v1/endpoints/{endpoint}/unbind",
            sessions::unbind_endpoint,
            "Removes the bindings of all sessions to an endpoint.",
        ),
        get(
            "/admin/v1/sessions",
            sessions::list,
            "The sessions that are bound, the most recently used of each cluster first.",
        ),
        get(
            "/admin/v1/sessions/{session}",
            sessions::one,
            "The bindings of one session, by its id or its hash.",
        ),
        post(
            "/admin/v1/sessions/{session}/unbind",
            sessions::unbind,
            "Removes the bindings of one session.",
        ),
        post(
            "/admin/v1/sessions/unbind",
            sessions::unbind_all,
            "Removes every binding.",
        ),
        get(
            "/admin/v1/clients",
            stats::clients,
            "The client keys, by name, with their requests in flight.",
        ),
        post(
            "/admin/v1/clients/{client}/unbind",
            sessions::unbind_client,
            "Removes the bindings of all sessions of a client key.",
        ),
        get(
            "/admin/v1/stats",
            stats::stats,
            "Requests, sessions, loads and who cannot be used, at a glance.",
        ),
        get(
            "/admin/v1/session-stats",
            sessions::stats,
            "How many sessions are bound, in each cluster.",
        ),
        get(
            "/admin/v1/tokens",
            pool::list,
            "The token pools with the state of each token, by its name.",
        ),
        get(
            "/admin/v1/tokens/test",
            pool::test,
            "Checks the pools without sending anything.",
        ),
        post(
            "/admin/v1/tokens/recover",
            pool::recover,
            "Uses tokens again that were refused or are inactive.",
        ),
        post(
            "/admin/v1/reload",
            super::reload,
            "Reads the configuration again and puts it in force, as a whole or not at all.",
        ),
        get(
            "/admin/v1/requests",
            super::requests,
            "The last requests, newest first, also those of before a restart.",
        ),
        get(
            "/admin/v1/requests/{request}",
            super::request,
            "Everything that was decided for one request.",
        ),
        get(
            "/admin/v1/history",
            history::figures,
            "What each endpoint did: requests, success, latency and tokens.",
        ),
        get(
            "/admin/v1/history/minutes",
            history::minutes,
            "The same minute by minute, oldest first.",
        ),
        get(
            "/admin/v1/store",
            history::store,
            "Whether the history is written, how large it is, and what was lost.",
        ),
    ]
}
