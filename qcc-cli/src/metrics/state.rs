//! What is true when somebody asks.

use metrics::{SharedString, counter, describe_counter, describe_gauge, gauge};

use crate::admin::pool::PoolView;
use crate::admin::view::{ClientView, EndpointView};
use crate::history::StoreView;

pub(super) fn describe() {
    describe_gauge!("qcc_build_info", "1, with the version.");
    describe_gauge!(
        "qcc_endpoint_in_flight",
        "Requests in flight, bodies included."
    );
    describe_gauge!(
        "qcc_endpoint_daily_requests",
        "Requests of today, by the date in UTC."
    );
    describe_gauge!(
        "qcc_client_in_flight",
        "Requests of a client key in flight, answers included."
    );
    describe_gauge!(
        "qcc_client_max_in_flight",
        "How many it may have, where there is a limit."
    );
    describe_gauge!(
        "qcc_endpoint_eligible",
        "1 if the endpoint may be used now."
    );
    describe_gauge!(
        "qcc_endpoint_out",
        "1 for the reason for which the endpoint may not be used now."
    );
    describe_gauge!(
        "qcc_endpoint_healthy",
        "1 if the endpoint counts as healthy."
    );
    describe_gauge!(
        "qcc_breaker_state",
        "1 for the state of the breaker, else 0."
    );
    describe_gauge!("qcc_breaker_failures", "Counted failures in a row.");
    describe_gauge!(
        "qcc_endpoint_queued",
        "1 while the endpoint is in the queue of those that failed."
    );
    describe_counter!(
        "qcc_checks_total",
        "Checks of endpoints, which are no requests, by whether the endpoint passed."
    );
    describe_counter!(
        "qcc_queue_entered_total",
        "How often an endpoint entered the queue of those that failed."
    );
    describe_counter!(
        "qcc_queue_recovered_total",
        "How often an endpoint came back from there."
    );
    describe_gauge!("qcc_store_up", "1 if history is kept and can be written.");
    describe_gauge!("qcc_store_requests", "Requests in the log.");
    describe_gauge!("qcc_store_size_bytes", "Bytes of the database in use.");
    describe_gauge!(
        "qcc_store_pending",
        "Finished requests that wait to be written."
    );
    describe_counter!("qcc_store_written_total", "Requests that were written.");
    describe_counter!(
        "qcc_store_lost_total",
        "Requests that are missing in the history because too many waited."
    );
    describe_gauge!(
        "qcc_pool_token_state",
        "1 for the state of the token, else 0."
    );
    describe_counter!(
        "qcc_pool_refreshes_total",
        "Refreshes of each token since it is in the pool, by what came of them."
    );
}

/// Sets what is known of the tokens of one pool.
pub(super) fn show_pool(pool: &PoolView) {
    for token in &pool.tokens {
        let labels = |key: &'static str, value: &'static str| {
            [
                ("cluster", SharedString::from(pool.cluster.clone())),
                ("endpoint", SharedString::from(pool.endpoint.clone())),
                ("token", SharedString::from(token.name.clone())),
                (key, SharedString::const_str(value)),
            ]
        };
        for state in ["active", "cooling", "inactive", "refused"] {
            let is = f64::from(u8::from(token.state == state));
            gauge!("qcc_pool_token_state", &labels("state", state)).set(is);
        }
        for (result, count) in [("ok", token.refreshes), ("failed", token.failed_refreshes)] {
            counter!("qcc_pool_refreshes_total", &labels("result", result)).absolute(count);
        }
    }
}

/// Sets the gauges of one endpoint.
pub(super) fn show_endpoint(endpoint: &EndpointView) {
    let labels = [
        ("cluster", SharedString::from(endpoint.cluster.clone())),
        ("endpoint", SharedString::from(endpoint.name.clone())),
        ("endpoint_id", SharedString::from(endpoint.id.clone())),
    ];
    let with = |key: &'static str, value: String| {
        let [a, b, c] = labels.clone();
        [a, b, c, (key, SharedString::from(value))]
    };
    let flag = |set: bool| f64::from(u8::from(set));
    gauge!("qcc_endpoint_in_flight", &labels).set(f64::from(endpoint.in_flight));
    gauge!("qcc_endpoint_daily_requests", &labels).set(f64::from(endpoint.daily_requests));
    gauge!("qcc_endpoint_eligible", &labels).set(flag(endpoint.out.is_none()));
    gauge!("qcc_endpoint_healthy", &labels).set(flag(endpoint.is_healthy));
    gauge!("qcc_breaker_failures", &labels).set(f64::from(endpoint.breaker.failures));
    for state in ["closed", "open", "half_open"] {
        let is = flag(endpoint.breaker.state == state);
        gauge!("qcc_breaker_state", &with("state", state.to_owned())).set(is);
    }
    gauge!("qcc_endpoint_queued", &labels).set(flag(endpoint.queued));
    let place = &endpoint.recovery;
    let failed = place.verified.saturating_sub(place.valid);
    for (valid, checks) in [("true", place.valid), ("false", failed)] {
        counter!("qcc_checks_total", &with("valid", valid.to_owned())).absolute(checks);
    }
    counter!("qcc_queue_entered_total", &labels).absolute(place.failed);
    counter!("qcc_queue_recovered_total", &labels).absolute(place.recovered);
    if let Some(out) = &endpoint.out {
        gauge!("qcc_endpoint_out", &with("reason", out.reason.clone())).set(1.0);
    }
}

/// Sets the gauges of one client key.
pub(super) fn show_client(client: &ClientView) {
    let labels = [("client", SharedString::from(client.name.clone()))];
    gauge!("qcc_client_in_flight", &labels).set(f64::from(client.current_load));
    if let Some(limit) = client.max_in_flight {
        gauge!("qcc_client_max_in_flight", &labels).set(f64::from(limit));
    }
}

/// Sets the figures of the store. Without one there is only the gauge that says so.
pub(super) fn show_store(store: &StoreView) {
    let is = |state: &str| f64::from(u8::from(store.state == state));
    gauge!("qcc_store_up").set(is("open"));
    if matches!(&*store.state, "open" | "failing") {
        gauge!("qcc_store_requests").set(store.requests as f64);
        gauge!("qcc_store_size_bytes").set(store.size_bytes as f64);
        gauge!("qcc_store_pending").set(store.pending as f64);
        counter!("qcc_store_written_total").absolute(store.written);
        counter!("qcc_store_lost_total").absolute(store.lost);
    }
}
