//! What Prometheus is told.
//!
//! [`Metrics`] counts finished requests; it is a [`RecordSink`] and knows nothing but records.
//! What is true now (requests in flight, breakers, who may be used) is no count: it is looked up
//! when somebody asks, so that it is never stale and an endpoint that left leaves no value behind.
//!
//! A label has few values: names of the configuration and closed lists. What a client can
//! invent, a model for example, is none.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock};

use http::StatusCode;
use metrics::{
    Counter, Histogram, SharedString, counter, describe_counter, describe_gauge,
    describe_histogram, gauge, histogram, with_local_recorder,
};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusRecorder};
use qcc_core::endpoint::Endpoint;
use qcc_core::exchange::SendKind;
use qcc_core::failure::{Class, Verdict};
use qcc_core::record::{Answer, Record, RecordSink, SendRecord, SendResult};
use qcc_core::time::Duration;

use crate::admin::pool::PoolView;
use crate::admin::view::{ClientView, EndpointView};
use crate::explain::name_of;
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
    known: AllKnown,
    finished: AtomicU64,
}

impl Metrics {
    /// Counters at zero. Nothing of it is global: two of them do not know each other.
    pub(crate) fn new() -> Self {
        let recorder = recorder();
        with_local_recorder(&recorder, describe_counts);
        Self {
            recorder,
            known: AllKnown::default(),
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
        let state = recorder();
        with_local_recorder(&state, || {
            describe_state();
            gauge!("qcc_build_info", "version" => env!("CARGO_PKG_VERSION")).set(1.0);
            endpoints.iter().for_each(show);
            pools.iter().for_each(show_pool);
            clients.iter().for_each(show_client);
            show_store(store);
        });
        let mut text = self.recorder.handle().render();
        text.push_str(&state.handle().render());
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

fn describe_counts() {
    describe_counter!(
        "qcc_requests_total",
        "Finished requests, by what the client got: its status, or the name of our error."
    );
    describe_histogram!(
        "qcc_request_duration_seconds",
        "How long requests took, their bodies included."
    );
    describe_histogram!(
        "qcc_commit_seconds",
        "How long it took until the client could be given the first byte."
    );
    describe_counter!(
        "qcc_failovers_total",
        "Requests that got an answer after another endpoint had failed."
    );
    describe_counter!(
        "qcc_sends_total",
        "Requests sent to upstreams, by why they were sent and what came of them."
    );
    describe_counter!(
        "qcc_failures_total",
        "Failed or broken sends, by kind, class and blame."
    );
    describe_counter!(
        "qcc_left_out_total",
        "How often an endpoint was left out of a choice, by reason."
    );
    describe_counter!("qcc_tokens_total", "Tokens, as upstreams told them.");
    describe_counter!(
        "qcc_pool_sends_total",
        "Sends with each token of a pool, by what came of them."
    );
    describe_counter!(
        "qcc_pool_limits_total",
        "Sends that a limit or a used-up quota of their token ended."
    );
    describe_counter!(
        "qcc_pool_switches_total",
        "How often a request went on with the next token."
    );
    describe_counter!(
        "qcc_bindings_total",
        "What happened to bindings of sessions."
    );
}

fn describe_state() {
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
fn show_pool(pool: &PoolView) {
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
fn show(endpoint: &EndpointView) {
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
fn show_client(client: &ClientView) {
    let labels = [("client", SharedString::from(client.name.clone()))];
    gauge!("qcc_client_in_flight", &labels).set(f64::from(client.current_load));
    if let Some(limit) = client.max_in_flight {
        gauge!("qcc_client_max_in_flight", &labels).set(f64::from(limit));
    }
}

/// Sets the figures of the store. Without one there is only the gauge that says so.
fn show_store(store: &StoreView) {
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

/// One series that counts, by what its labels are made of. What a series does not have is empty.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Series {
    name: &'static str,
    cluster: Option<Arc<str>>,
    endpoint: Option<Arc<str>>,
    token: Option<Arc<str>>,
    status: Option<StatusCode>,
    labels: [&'static str; 3],
}

/// A series that was used before.
#[derive(Clone)]
enum Known {
    Counter(Counter),
    Histogram(Histogram),
}

/// The series that were used before: finding one by the texts of its labels costs as much as all
/// else that a finished request costs here. There are no more of them than the recorder has.
#[derive(Default)]
struct AllKnown(RwLock<HashMap<Series, Known>>);

impl AllKnown {
    /// What `series` is known as; the first time what `make` gives.
    fn get(&self, series: Series, make: impl FnOnce(&Series) -> Known) -> Known {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = known.get(&series) {
            return known.clone();
        }
        drop(known);
        let new = make(&series);
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        known.entry(series).or_insert(new).clone()
    }

    fn count(&self, series: Series, times: u64, make: impl FnOnce(&Series) -> Counter) {
        if let Known::Counter(counter) = self.get(series, |series| Known::Counter(make(series))) {
            counter.increment(times);
        }
    }

    fn sample(&self, series: Series, time: Duration, make: impl FnOnce(&Series) -> Histogram) {
        let known = self.get(series, |series| Known::Histogram(make(series)));
        if let Known::Histogram(histogram) = known {
            histogram.record(time);
        }
    }
}

/// A label of which nothing may be known.
fn label(text: Option<&Arc<str>>) -> SharedString {
    text.map_or(SharedString::const_str(""), |text| {
        SharedString::from(text.clone())
    })
}

/// Counts one finished request.
fn count(known: &AllKnown, record: &Record) {
    let of_cluster = |name, labels| Series {
        name,
        cluster: record.cluster.clone(),
        labels,
        ..Series::default()
    };
    let dialect = record.dialect.map_or("", |dialect| dialect.as_str());
    let (outcome, status, code) = match record.answer {
        Answer::Relayed { status } => ("relayed", Some(status), ""),
        Answer::Interrupted { status, .. } => ("interrupted", Some(status), ""),
        Answer::Failed(kind) => ("failed", None, name_of(kind)),
        Answer::Canceled => ("canceled", None, ""),
        _ => ("pending", None, ""),
    };
    let series = Series {
        status,
        ..of_cluster("qcc_requests_total", [dialect, outcome, code])
    };
    known.count(series, 1, |series| {
        let code = match status {
            Some(status) => status.as_str().to_owned().into(),
            None => SharedString::const_str(code),
        };
        counter!(series.name, "cluster" => label(series.cluster.as_ref()), "dialect" => dialect,
            "outcome" => outcome, "code" => code)
    });
    let timed = |name, time| {
        known.sample(of_cluster(name, [dialect, "", ""]), time, |series| {
            histogram!(series.name, "cluster" => label(series.cluster.as_ref()),
                "dialect" => dialect)
        });
    };
    timed("qcc_request_duration_seconds", record.duration);
    if let Some(committed) = record.committed {
        timed("qcc_commit_seconds", committed);
    }
    // A series with one more label than the cluster.
    let counted = |name, key: &'static str, value: &'static str, times| {
        known.count(of_cluster(name, [key, value, ""]), times, |series| {
            counter!(series.name, "cluster" => label(series.cluster.as_ref()), key => value)
        });
    };
    if record.committed.is_some() && record.visits.len() > 1 {
        known.count(
            of_cluster("qcc_failovers_total", [""; 3]),
            1,
            |series| counter!(series.name, "cluster" => label(series.cluster.as_ref())),
        );
    }
    for visit in &record.visits {
        for out in &visit.left_out {
            counted("qcc_left_out_total", "reason", out.reason.as_str(), 1);
        }
        for (reason, times) in visit.others.iter() {
            counted(
                "qcc_left_out_total",
                "reason",
                reason.as_str(),
                times.into(),
            );
        }
    }
    for (endpoint, send) in record.sends() {
        sent(known, record, endpoint.map(|endpoint| &**endpoint), send);
    }
    if let Some(usage) = record.usage {
        let told = [
            ("input", usage.input),
            ("cached", usage.cached),
            ("output", usage.output),
        ];
        for (kind, tokens) in told {
            if let Some(tokens) = tokens {
                counted("qcc_tokens_total", "kind", kind, tokens);
            }
        }
    }
    if let Some(binding) = record.binding {
        counted("qcc_bindings_total", "transition", binding.as_str(), 1);
    }
}

/// Whether the credentials of `endpoint` come from a pool.
fn is_pooled(endpoint: &Endpoint) -> bool {
    endpoint.needs_credential() && endpoint.credential().is_none()
}

/// Counts one request to an upstream.
fn sent(known: &AllKnown, record: &Record, endpoint: Option<&Endpoint>, send: &SendRecord) {
    let of_endpoint = |name, labels| Series {
        name,
        cluster: record.cluster.clone(),
        endpoint: endpoint.map(|endpoint| endpoint.name().clone()),
        labels,
        ..Series::default()
    };
    let (result, verdict) = match send.result {
        SendResult::Clean => ("clean", None),
        SendResult::Failed { verdict, .. } => ("failed", Some(verdict)),
        SendResult::Broken(verdict) => ("broken", Some(verdict)),
        SendResult::Refused(_) => ("refused", None),
        SendResult::Canceled => ("canceled", None),
        _ => ("pending", None),
    };
    let kind = send.kind.as_str();
    known.count(
        of_endpoint("qcc_sends_total", [kind, result, ""]),
        1,
        |series| {
            counter!(series.name, "cluster" => label(series.cluster.as_ref()),
            "endpoint" => label(series.endpoint.as_ref()), "send" => kind, "result" => result)
        },
    );
    if let Some(token) = &send.credential
        && endpoint.is_some_and(is_pooled)
    {
        lent(known, send.kind, token, result, verdict, of_endpoint);
    }
    if let Some(verdict) = verdict {
        let (kind, class) = (verdict.kind.as_str(), verdict.kind.class().as_str());
        let blame = verdict.blame.as_str();
        let series = of_endpoint("qcc_failures_total", [kind, class, blame]);
        known.count(series, 1, |series| {
            counter!(series.name, "cluster" => label(series.cluster.as_ref()),
                "endpoint" => label(series.endpoint.as_ref()),
                "kind" => kind, "class" => class, "blame" => blame)
        });
    }
}

/// Counts one send with a credential of a pool.
fn lent(
    known: &AllKnown,
    kind: SendKind,
    token: &Arc<str>,
    result: &'static str,
    verdict: Option<Verdict>,
    of_endpoint: impl Fn(&'static str, [&'static str; 3]) -> Series,
) {
    let of_token = |name, labels| Series {
        token: Some(token.clone()),
        ..of_endpoint(name, labels)
    };
    if kind == SendKind::Rotation {
        let series = of_endpoint("qcc_pool_switches_total", [""; 3]);
        known.count(series, 1, |series| {
            counter!(series.name, "cluster" => label(series.cluster.as_ref()),
                "endpoint" => label(series.endpoint.as_ref()))
        });
    }
    if verdict.is_some_and(|verdict| verdict.kind.class() == Class::RateLimit) {
        known.count(of_token("qcc_pool_limits_total", [""; 3]), 1, |series| {
            counter!(series.name, "cluster" => label(series.cluster.as_ref()),
                "endpoint" => label(series.endpoint.as_ref()),
                "token" => label(series.token.as_ref()))
        });
    }
    let series = of_token("qcc_pool_sends_total", [result, "", ""]);
    known.count(series, 1, |series| {
        counter!(series.name, "cluster" => label(series.cluster.as_ref()),
            "endpoint" => label(series.endpoint.as_ref()),
            "token" => label(series.token.as_ref()), "result" => result)
    });
}

impl RecordSink for Metrics {
    fn finished(&self, record: Arc<Record>) {
        with_local_recorder(&self.recorder, || count(&self.known, &record));
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
