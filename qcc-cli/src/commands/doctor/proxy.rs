//! Where requests of all clients fail: configuration, port, admin API, endpoints, upstreams.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use qcc_core::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

use super::super::operate::{ALL, Operator};
use super::{Finding, kept, remedy};
use crate::admin::pool::PoolView;
use crate::admin::view::{ClusterView, EndpointView, RequestView, SessionStatsView};
use crate::client::{Client, reachable};
use crate::config::Config;
use crate::history::StoreView;
use crate::output::{Exit, Failure};

/// What is there answers in this time.
const PATIENCE: Duration = Duration::from_secs(5);

/// So many addresses of upstreams are tried.
const ADDRESSES: usize = 100;

/// So many endpoints that are out are told one by one.
const LISTED: usize = 20;

/// So many of the newest requests are looked at.
const REQUESTS: usize = 100;

/// The steps that look at what the admin API says.
const ASKED: [&str; 6] = [
    "endpoints",
    "tokens",
    "upstreams",
    "requests",
    "sessions",
    "store",
];

/// What the admin API knows.
struct Known {
    clusters: Vec<ClusterView>,
    endpoints: Vec<EndpointView>,
    requests: Vec<RequestView>,
    sessions: Vec<SessionStatsView>,
    pools: Vec<PoolView>,
    store: StoreView,
}

impl Known {
    async fn ask(client: &Client) -> Result<Self, Failure> {
        Ok(Self {
            clusters: client.list("/admin/v1/clusters", ALL).await?,
            endpoints: client.list("/admin/v1/endpoints", ALL).await?,
            requests: client.list("/admin/v1/requests", REQUESTS).await?,
            sessions: client.get("/admin/v1/session-stats").await?,
            pools: client.list("/admin/v1/tokens", ALL).await?,
            store: client.get("/admin/v1/store").await?,
        })
    }
}

/// Every step.
pub(super) async fn examine(operator: &Operator) -> Vec<Finding> {
    let named = operator.is_named;
    let mut findings = Vec::new();
    match &operator.config {
        Ok(config) => {
            findings.push(configuration(config));
            if !named {
                findings.push(port(reachable(config.listen)).await);
            }
        }
        Err(_) if named => {}
        Err(problems) => {
            let found = problems.to_string();
            findings.push(
                Finding::failed("configuration", Exit::Config, found).remedy(
                    "correct it; qcc config check tells whether it is right, qcc init writes one",
                ),
            );
        }
    }
    match Known::ask(&operator.client).await {
        Ok(known) => {
            findings.push(Finding::ok("admin", "the admin API answers"));
            findings.extend(usable(&known.clusters, &known.endpoints));
            findings.extend(kept::tokens(&known.pools));
            findings.push(connected(&known.endpoints).await);
            findings.push(requests(&known.requests));
            findings.push(sessions(&known.sessions));
            findings.push(kept::store(&known.store));
        }
        Err(failure) => {
            findings.push(unanswered("admin", &failure));
            findings.extend(ASKED.map(|step| Finding::skipped(step, "admin")));
        }
    }
    if let Ok(config) = &operator.config
        && !named
    {
        findings.push(kept::log(config));
    }
    findings
}

/// What the admin API did not answer, or nobody in its place.
pub(super) fn unanswered(step: &'static str, failure: &Failure) -> Finding {
    let finding = Finding::failed(step, failure.exit, &failure.message);
    match failure.exit {
        Exit::Unknown => finding.remedy(
            "qcc requests lists those that are kept; older ones and those of a proxy that was \
             started again are gone",
        ),
        _ => finding,
    }
}

fn configuration(config: &Config) -> Finding {
    let endpoints: usize = config
        .clusters
        .iter()
        .map(|cluster| cluster.endpoints.len())
        .sum();
    let found = format!(
        "{}: {}, {}",
        super::super::config::source(config),
        count(config.clusters.len(), "cluster"),
        count(endpoints, "endpoint"),
    );
    let dropped = config.duplicates().iter().filter(|one| one.dropped).count();
    if dropped > 0 {
        let more = count(dropped, "entry that repeats another one");
        return Finding::note("configuration", format!("{found}; {more}"))
            .remedy("qcc config check lists them");
    }
    Finding::ok("configuration", found)
}

pub(super) fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ if what.contains(' ') => format!("{number} times an {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Who listens where clients connect.
async fn port(address: SocketAddr) -> Finding {
    const STEP: &str = "port";
    match timeout(PATIENCE, greet(address)).await {
        Ok(Ok(true)) => Finding::ok(STEP, format!("qcc answers at {address}")),
        Ok(Ok(false)) => {
            let port = address.port();
            Finding::failed(
                STEP,
                Exit::Listen,
                format!("another program answers at {address}"),
            )
            .remedy(format!(
                "see which with lsof -i:{port}, end it, or take another port: qcc serve --port N"
            ))
        }
        Ok(Err(error)) => Finding::failed(
            STEP,
            Exit::NotRunning,
            format!("nobody answers at {address}: {error}"),
        )
        .remedy("start the proxy: qcc serve, or systemctl start qcc"),
        Err(_) => Finding::failed(
            STEP,
            Exit::NotRunning,
            format!("{address} is taken, and nothing comes from there"),
        )
        .remedy("the program there is stuck: end it, or start it again"),
    }
}

/// Whether a qcc answers at `address`. It signs all its answers.
async fn greet(address: SocketAddr) -> std::io::Result<bool> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET / HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    let mut bounded = stream.take(64 << 10);
    // A program that resets the connection is none of ours either.
    let _ = bounded.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).to_ascii_lowercase();
    Ok(answer.contains("\r\nx-qcc-request-id:"))
}

/// Whether each cluster has an endpoint that can be used, and who is out.
fn usable(clusters: &[ClusterView], endpoints: &[EndpointView]) -> Vec<Finding> {
    const STEP: &str = "endpoints";
    let mut findings = Vec::new();
    let out = |cluster: &str| {
        endpoints
            .iter()
            .filter(|endpoint| endpoint.cluster == cluster && endpoint.out.is_some())
            .collect::<Vec<_>>()
    };
    for cluster in clusters {
        let name = &cluster.name;
        if cluster.eligible == 0 {
            let found = format!("no endpoint of cluster {name} can be used");
            let finding = Finding::failed(STEP, Exit::Failure, found);
            findings.push(match out(name).first() {
                Some(first) => finding.remedy(cure(first)),
                None => finding.remedy("give it an endpoint in the configuration"),
            });
        }
    }
    for endpoint in clusters.iter().flat_map(|one| out(&one.name)).take(LISTED) {
        let reason = endpoint.out.as_ref().map_or("", |out| &out.reason);
        let mut found = format!("{}/{} is out: {reason}", endpoint.cluster, endpoint.name);
        if let Some(failure) = &endpoint.last_failure {
            let status = failure
                .status
                .map_or_else(String::new, |status| format!(" with status {status}"));
            found += &format!(
                "; it failed last as {}{status} in request {}",
                failure.kind, failure.request_id
            );
        }
        findings.push(Finding::note(STEP, found).remedy(cure(endpoint)));
    }
    if findings.is_empty() {
        let eligible = clusters.iter().map(|cluster| cluster.eligible).sum();
        findings.push(Finding::ok(
            STEP,
            format!("{} can be used", count(eligible, "endpoint")),
        ));
    }
    findings
}

fn cure(endpoint: &EndpointView) -> String {
    let name = format!("{}/{}", endpoint.cluster, endpoint.name);
    let Some(out) = &endpoint.out else {
        return format!("qcc cluster status {}", endpoint.cluster);
    };
    let until = out.until.map(crate::moment::Date::in_full);
    remedy::of_reason(&out.reason, &name, until.as_deref())
}

/// Whether this machine can connect to the upstreams.
async fn connected(endpoints: &[EndpointView]) -> Finding {
    const STEP: &str = "upstreams";
    let mut addresses: BTreeMap<(String, u16), &str> = BTreeMap::new();
    for endpoint in endpoints
        .iter()
        .filter(|endpoint| endpoint.operator_enabled)
    {
        let url = endpoint.base_url.parse::<reqwest::Url>().ok();
        let address =
            url.and_then(|url| Some((url.host_str()?.to_owned(), url.port_or_known_default()?)));
        if let Some(address) = address {
            addresses.entry(address).or_insert(&endpoint.name);
        }
    }
    let total = addresses.len();
    let mut tries = JoinSet::new();
    for ((host, port), name) in addresses.into_iter().take(ADDRESSES) {
        let name = name.to_owned();
        tries.spawn(async move {
            let bare = host.trim_matches(['[', ']']);
            let refused = match timeout(PATIENCE, TcpStream::connect((bare, port))).await {
                Ok(Ok(_)) => return None,
                Ok(Err(error)) => error.to_string(),
                Err(_) => format!("nothing in {} s", PATIENCE.as_secs()),
            };
            Some(format!("{name} at {host}:{port}: {refused}"))
        });
    }
    let mut refused: Vec<_> = tries.join_all().await.into_iter().flatten().collect();
    refused.sort();
    let tried = count(total.min(ADDRESSES), "address").replace("addresss", "addresses");
    if refused.is_empty() {
        return Finding::ok(STEP, format!("{tried} can be connected to from here"));
    }
    let found = format!(
        "of {tried} these cannot be connected to:\n{}",
        refused.join("\n")
    );
    let remedy = "look at `base_url`, DNS, the network and the firewall of this machine";
    if refused.len() == total {
        Finding::failed(STEP, Exit::Failure, found).remedy(remedy)
    } else {
        Finding::note(STEP, found).remedy(remedy)
    }
}

fn requests(newest: &[RequestView]) -> Finding {
    const STEP: &str = "requests";
    let fails = |request: &&RequestView| {
        let answer = &request.answer;
        matches!(&*answer.outcome, "failed" | "interrupted")
            || answer.status.is_some_and(|status| status >= 400)
    };
    let Some(first) = newest.iter().find(fails) else {
        return Finding::ok(STEP, format!("none of the last {} failed", newest.len()));
    };
    let failed = newest.iter().filter(fails).count();
    Finding::note(
        STEP,
        format!("{failed} of the last {} failed", newest.len()),
    )
    .remedy(format!("qcc doctor request {}", first.id))
}

fn sessions(clusters: &[SessionStatsView]) -> Finding {
    let active = clusters.iter().map(|cluster| cluster.active).sum();
    Finding::ok("sessions", format!("{} bound", count(active, "session")))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::net::TcpListener;

    use super::super::{Report, State};
    use super::*;
    use crate::admin::fake::{Fake, healthy};
    use crate::admin::view::OutView;
    use crate::config::{self, Environment};
    use crate::output::Output;

    // CLI-25
    #[tokio::test]
    async fn whoever_is_out_has_a_remedy_and_a_failed_request_a_name() {
        let (_, router) = Fake::usual().admin();
        let known = Known::ask(&Client::in_memory(router)).await.unwrap();
        let findings = usable(&known.clusters, &known.endpoints);
        assert!(!findings.is_empty());
        for finding in findings.iter().filter(|one| one.state != State::Ok) {
            assert!(finding.remedy.is_some(), "{finding:?}");
        }
        let failed = requests(&known.requests);
        let remedy = failed.remedy.unwrap();
        assert!(remedy.starts_with("qcc doctor request "), "{remedy}");
        assert_eq!(requests(&[]).state, State::Ok);
    }

    // CLI-25
    #[tokio::test]
    async fn a_wrong_configuration_comes_first_and_what_cannot_be_asked_is_skipped() {
        let environment = Environment::from_iter([("HOME", "/nope")]);
        let mut operator = Operator {
            is_named: false,
            client: Client::in_memory(axum::Router::new()),
            config: config::from_str("clusters: {}", Path::new("qcc.yaml"), &environment),
            output: Output::new(true),
        };
        let report = Report::of(examine(&operator).await);
        assert_eq!(report.first_failure, Some("configuration"));
        assert_eq!(report.exit, Exit::Config);
        let skipped = |one: &&Finding| one.state == State::Skipped;
        assert_eq!(report.findings.iter().filter(skipped).count(), ASKED.len());
        // What another proxy was started with is not known here.
        operator.is_named = true;
        let report = Report::of(examine(&operator).await);
        assert_eq!(report.first_failure, Some("admin"));
    }

    // CLI-25
    #[tokio::test]
    async fn a_port_is_free_taken_by_another_program_or_ours() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let answering = |answer: &'static str| async {
            let (mut stream, _) = listener.accept().await.unwrap();
            stream.write_all(answer.as_bytes()).await.unwrap();
        };
        let (_, finding) = tokio::join!(answering("220 mail\r\n"), port(address));
        assert_eq!(finding.exit, Exit::Listen, "{finding:?}");
        assert!(
            finding
                .remedy
                .unwrap()
                .contains(&format!("lsof -i:{}", address.port()))
        );
        let ours = "HTTP/1.1 404 Not Found\r\nX-Qcc-Request-Id: a\r\n\r\n";
        let (_, finding) = tokio::join!(answering(ours), port(address));
        assert_eq!(finding.state, State::Ok, "{finding:?}");
        drop(listener);
        let finding = port(address).await;
        assert_eq!(finding.exit, Exit::NotRunning, "{finding:?}");
    }

    // CLI-25
    #[test]
    fn a_cluster_without_a_usable_endpoint_is_the_failure() {
        let mut cluster = ClusterView {
            name: "claude".to_owned(),
            kind: None,
            policy: "priority".to_owned(),
            endpoints: 1,
            eligible: 0,
            duplicates: Vec::new(),
        };
        let mut endpoint = healthy("relay");
        endpoint.out = Some(OutView {
            reason: "auth_failed".to_owned(),
            until: None,
        });
        let findings = usable(&[cluster.clone()], &[endpoint.clone()]);
        assert_eq!(findings[0].state, State::Failed);
        assert!(
            findings[0]
                .remedy
                .as_ref()
                .unwrap()
                .contains("qcc endpoint enable claude/relay")
        );
        endpoint.out = None;
        cluster.eligible = 1;
        assert_eq!(usable(&[cluster], &[endpoint])[0].state, State::Ok);
    }
}
