//! Every route, once: the router, the answer to an unknown route and the OpenAPI document are
//! made of this table.

use serde_json::{Map, Value, json};

/// One route.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Route {
    /// `GET` for what only looks, `POST` for what changes something.
    pub(crate) method: &'static str,
    /// The path; braces hold the name of a parameter.
    pub(crate) path: &'static str,
    /// What it does.
    pub(crate) what: &'static str,
    /// Whether it takes `limit` and `offset`.
    pub(crate) paged: bool,
}

const fn get(path: &'static str, what: &'static str) -> Route {
    Route {
        method: "GET",
        path,
        what,
        paged: false,
    }
}

const fn post(path: &'static str, what: &'static str) -> Route {
    Route {
        method: "POST",
        ..get(path, what)
    }
}

const fn list(path: &'static str, what: &'static str) -> Route {
    Route {
        paged: true,
        ..get(path, what)
    }
}

/// The routes of the admin listener.
pub(crate) const ROUTES: [Route; 25] = [
    get("/healthz", "200 as long as the process works."),
    get(
        "/readyz",
        "200 while an endpoint can be used and nobody asked the proxy to stop, else 503.",
    ),
    get("/metrics", "Counters and gauges for Prometheus."),
    get("/admin/v1/openapi.json", "This API as an OpenAPI document."),
    list(
        "/admin/v1/clusters",
        "The clusters, in the order of the configuration.",
    ),
    list(
        "/admin/v1/clusters/{cluster}",
        "One cluster with the state of its endpoints, which are paged.",
    ),
    list(
        "/admin/v1/endpoints",
        "The endpoints of all clusters with their state.",
    ),
    get(
        "/admin/v1/endpoints/{endpoint}",
        "The state of one endpoint, by name, `cluster/name` or at least 4 digits of its id; a \
         list, because clusters may share it.",
    ),
    post(
        "/admin/v1/endpoints/{endpoint}/enable",
        "Switches an endpoint on; forgets refused credentials and closes its breaker.",
    ),
    post(
        "/admin/v1/endpoints/{endpoint}/disable",
        "Switches an endpoint off for new requests; those in flight end normally.",
    ),
    post(
        "/admin/v1/endpoints/{endpoint}/clear-limit",
        "Ends the cool-downs of an endpoint and of its credentials.",
    ),
    post(
        "/admin/v1/limits/clear",
        "Ends the cool-downs of every endpoint.",
    ),
    post(
        "/admin/v1/endpoints/{endpoint}/mark",
        "Keeps new requests away for `seconds` (300), for `reason`.",
    ),
    post(
        "/admin/v1/endpoints/{endpoint}/unmark",
        "Takes the mark back.",
    ),
    post(
        "/admin/v1/endpoints/{endpoint}/reset",
        "Closes the breaker of an endpoint.",
    ),
    post("/admin/v1/breakers/reset", "Closes every breaker."),
    post(
        "/admin/v1/endpoints/{endpoint}/unbind",
        "Removes the bindings of all sessions to an endpoint.",
    ),
    list(
        "/admin/v1/sessions",
        "The sessions that are bound, the most recently used of each cluster first.",
    ),
    get(
        "/admin/v1/sessions/{session}",
        "The bindings of one session, by its id or its hash.",
    ),
    post(
        "/admin/v1/sessions/{session}/unbind",
        "Removes the bindings of one session.",
    ),
    post("/admin/v1/sessions/unbind", "Removes every binding."),
    get(
        "/admin/v1/session-stats",
        "How many sessions are bound, in each cluster.",
    ),
    post(
        "/admin/v1/reload",
        "Reads the configuration again and puts it in force, as a whole or not at all.",
    ),
    list("/admin/v1/requests", "The last requests, newest first."),
    get(
        "/admin/v1/requests/{request}",
        "Everything that was decided for one request.",
    ),
];

/// The API as an OpenAPI 3.1 document.
pub(super) fn openapi() -> Value {
    let mut paths = Map::new();
    for route in ROUTES {
        let parameter = |place: &str, name: &str, kind: &str| {
            json!({
                "name": name,
                "in": place,
                "required": place == "path",
                "schema": { "type": kind },
            })
        };
        let mut parameters: Vec<_> = route
            .path
            .split('/')
            .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
            .map(|name| parameter("path", name, "string"))
            .collect();
        if route.paged {
            parameters.push(parameter("query", "limit", "integer"));
            parameters.push(parameter("query", "offset", "integer"));
        }
        let operation = json!({
            "summary": route.what,
            "parameters": parameters,
            "responses": { "200": { "description": "Done." } },
        });
        paths.insert(
            route.path.to_owned(),
            json!({ route.method.to_ascii_lowercase(): operation }),
        );
    }
    json!({
        "openapi": "3.1.0",
        "info": { "title": "qcc admin API", "version": env!("CARGO_PKG_VERSION") },
        "paths": paths,
    })
}
