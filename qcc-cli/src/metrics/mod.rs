//! What Prometheus is told.
//!
//! [`Metrics`] counts finished requests; it is a [`RecordSink`] and knows nothing but records.
//! What is true now (requests in flight, breakers, who may be used) is no count: it is looked up
//! when somebody asks, so that it is never stale and an endpoint that left leaves no value behind.
//!
//! A label has few values: names of the configuration and closed lists. What a client can
//! invent, a model for example, is none.

mod counted;
mod known;
mod state;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use metrics::{gauge, with_local_recorder};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use qcc_core::record::{Record, RecordSink};

use self::known::Group;
use crate::admin::pool::PoolView;
use crate::admin::view::{ClientView, EndpointView};
use crate::history::StoreView;

/// Upper bounds of the histograms, in seconds: from a cached answer to the default deadline.
const BUCKETS: [f64; 13] = [
    0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0,
];

/// Samples wait in memory until they are sorted into buckets; this often they are, also if
/// nobody ever asks.
const UPKEEP_EVERY: u64 = 1_024;

/// Counts finished requests.
pub(crate) struct Metrics {
    recorder: PrometheusRecorder,
    known: Group,
    finished: AtomicU64,
}

impl Metrics {
    /// Counters at zero. Nothing of it is global: two of them do not know each other.
    pub(crate) fn new() -> Self {
        let recorder = recorder();
        with_local_recorder(&recorder, counted::describe);
        Self {
            recorder,
            known: Group::default(),
            finished: AtomicU64::new(0),
        }
    }

    /// Everything in the text format of Prometheus, with the state of `endpoints`, `pools`,
    /// `clients` and `store` as it is now.
    pub(crate) fn render(
        &self,
        endpoints: &[EndpointView],
        pools: &[PoolView],
        clients: &[ClientView],
        store: &StoreView,
    ) -> String {
        let of_now = recorder();
        with_local_recorder(&of_now, || {
            state::describe();
            gauge!("qcc_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            endpoints.iter().for_each(state::show_endpoint);
            pools.iter().for_each(state::show_pool);
            clients.iter().for_each(state::show_client);
            state::show_store(store);
        });
        let mut text = self.recorder.handle().render();
        text.push_str(&of_now.handle().render());
        text
    }
}

fn recorder() -> PrometheusRecorder {
    let builder = PrometheusBuilder::new();
    match builder.set_buckets(&BUCKETS) {
        Ok(builder) => builder.build_recorder(),
        // Only an empty list of buckets is refused.
        Err(_) => PrometheusBuilder::new().build_recorder(),
    }
}

impl RecordSink for Metrics {
    fn finished(&self, record: Arc<Record>) {
        with_local_recorder(&self.recorder, || counted::count(&self.known, &record));
        let finished = self.finished.fetch_add(1, Ordering::Relaxed) + 1;
        if finished.is_multiple_of(UPKEEP_EVERY) {
            self.recorder.handle().run_upkeep();
        }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics")
            .field("finished", &self.finished)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use qcc_core::endpoint::Endpoint;

    use super::*;
    use crate::admin::{Operations as _, fake};
    use crate::explain::samples;
    use crate::history::Store;

    fn off() -> StoreView {
        Store::Off.view(fake::date())
    }

    fn lines(metrics: &Metrics, endpoints: &[EndpointView]) -> Vec<String> {
        let text = metrics.render(endpoints, &[], &[], &off());
        text.lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_has(lines: &[String], line: &str) {
        assert!(
            lines.iter().any(|known| known == line),
            "{line} in {lines:#?}"
        );
    }

    // XPL-04
    #[test]
    fn a_record_is_counted_by_what_it_tells() {
        let metrics = Metrics::new();
        metrics.finished(Arc::new(samples::failed_over()));
        metrics.finished(Arc::new(samples::nobody()));
        let lines = lines(&metrics, &[]);
        for line in [
            r#"qcc_requests_total{cluster="claude",dialect="anthropic",outcome="relayed",code="200"} 1"#,
            r#"qcc_requests_total{cluster="claude",dialect="anthropic",outcome="failed",code="no_endpoint"} 1"#,
            r#"qcc_failovers_total{cluster="claude"} 1"#,
            r#"qcc_sends_total{cluster="claude",endpoint="relay",send="rotation",result="clean"} 1"#,
            r#"qcc_failures_total{cluster="claude",endpoint="relay",kind="rate_limit",class="rate_limit",blame="credential"} 1"#,
            r#"qcc_left_out_total{cluster="claude",reason="cooling"} 3"#,
            r#"qcc_tokens_total{cluster="claude",kind="output"} 512"#,
            r#"qcc_bindings_total{cluster="claude",transition="rebound"} 1"#,
            r#"qcc_request_duration_seconds_count{cluster="claude",dialect="anthropic"} 2"#,
            r#"qcc_request_duration_seconds_bucket{cluster="claude",dialect="anthropic",le="5"} 2"#,
        ] {
            assert_has(&lines, line);
        }
    }

    // TOK-32
    #[test]
    fn limits_switches_and_refreshes_of_tokens_are_counted_by_their_names() {
        let metrics = Metrics::new();
        let mut record = samples::failed_over();
        let pooled = Endpoint::new("relay", "https://relay.example".parse().unwrap());
        record.visits[1].endpoint = Some(Arc::new(pooled.with_token_pool()));
        metrics.finished(Arc::new(record));
        let (fake, _) = fake::Fake::usual().with_pool("official").admin();
        let text = metrics.render(&[], &fake.pools(fake::date()), &[], &off());
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let relay = r#"cluster="claude",endpoint="relay""#;
        let token = r#"cluster="claude",endpoint="official",token="Personal-2""#;
        for line in [
            format!("qcc_pool_switches_total{{{relay}}} 1"),
            format!(r#"qcc_pool_limits_total{{{relay},token="main"}} 1"#),
            format!(r#"qcc_pool_sends_total{{{relay},token="main",result="failed"}} 1"#),
            format!(r#"qcc_pool_sends_total{{{relay},token="shared-2",result="clean"}} 1"#),
            format!(r#"qcc_pool_refreshes_total{{{token},result="ok"}} 2"#),
            format!(r#"qcc_pool_refreshes_total{{{token},result="failed"}} 1"#),
            format!(r#"qcc_pool_token_state{{{token},state="cooling"}} 1"#),
            format!(r#"qcc_pool_token_state{{{token},state="active"}} 0"#),
        ] {
            assert_has(&lines, &line);
        }
        assert!(
            !text.contains(r#"endpoint="official",token="main""#),
            "one key is no pool"
        );
    }

    // XPL-05
    #[test]
    fn what_a_client_can_invent_is_no_label() {
        let metrics = Metrics::new();
        for record in samples::all() {
            metrics.finished(Arc::new(record));
        }
        let text = metrics.render(&[], &[], &[], &off());
        assert!(text.contains("qcc_requests_total"), "{text}");
        for invented in ["claude-sonnet", "client-7", "0707", "sk-test"] {
            assert!(!text.contains(invented), "{invented} in {text}");
        }
    }

    #[test]
    fn the_state_is_what_it_is_now_and_leaves_nothing_behind() {
        let metrics = Metrics::new();
        let shown = lines(&metrics, &[fake::healthy("official"), fake::open("relay")]);
        for (name, line) in [
            ("official", r#"qcc_endpoint_in_flight{ENDPOINT} 2"#),
            ("official", r#"qcc_endpoint_eligible{ENDPOINT} 1"#),
            (
                "official",
                r#"qcc_breaker_state{ENDPOINT,state="closed"} 1"#,
            ),
            ("relay", r#"qcc_endpoint_eligible{ENDPOINT} 0"#),
            ("relay", r#"qcc_endpoint_out{ENDPOINT,reason="open"} 1"#),
            ("relay", r#"qcc_breaker_state{ENDPOINT,state="closed"} 0"#),
            ("relay", r#"qcc_breaker_state{ENDPOINT,state="open"} 1"#),
            ("official", r#"qcc_endpoint_queued{ENDPOINT} 0"#),
            ("relay", r#"qcc_endpoint_queued{ENDPOINT} 1"#),
            ("relay", r#"qcc_checks_total{ENDPOINT,valid="true"} 0"#),
            ("relay", r#"qcc_checks_total{ENDPOINT,valid="false"} 2"#),
            ("relay", r#"qcc_queue_entered_total{ENDPOINT} 1"#),
        ] {
            let id = fake::healthy(name).id;
            let labels = format!(r#"cluster="claude",endpoint="{name}",endpoint_id="{id}""#);
            assert_has(&shown, &line.replace("ENDPOINT", &labels));
        }
        assert!(!metrics.render(&[], &[], &[], &off()).contains("relay"));
    }

    // STO-05
    #[test]
    fn what_the_store_lost_is_shown() {
        let metrics = Metrics::new();
        let mut store = off();
        assert!(
            metrics
                .render(&[], &[], &[], &store)
                .contains("qcc_store_up 0")
        );
        assert!(
            !metrics
                .render(&[], &[], &[], &store)
                .contains("qcc_store_lost_total")
        );
        "failing".clone_into(&mut store.state);
        (store.lost, store.pending) = (7, 256);
        let text = metrics.render(&[], &[], &[], &store);
        for line in [
            "qcc_store_up 0",
            "qcc_store_lost_total 7",
            "qcc_store_pending 256",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in {text}");
        }
    }

    #[test]
    fn samples_do_not_pile_up_when_nobody_asks() {
        let metrics = Metrics::new();
        let record = Arc::new(samples::nobody());
        for _ in 0..UPKEEP_EVERY {
            metrics.finished(record.clone());
        }
        let lines = lines(&metrics, &[]);
        let count = r#"qcc_request_duration_seconds_count{cluster="claude",dialect="anthropic"}"#;
        assert_has(&lines, &format!("{count} {UPKEEP_EVERY}"));
    }
}
