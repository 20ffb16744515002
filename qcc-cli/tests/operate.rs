//! Every operation on a running proxy, as people and programs call it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// The key of the one client, whose digest stands in the configuration.
const CLIENT_KEY: &str = "sk-test-0001";
const DIGEST: &str = "820b1c7a7f3b9722bca2bdf90fb63c8af91c71bf8e7b399efb0646163b5af643";

/// An endpoint at which nobody listens.
const NOBODY: &str = "{ name: one, base_url: 'http://127.0.0.1:9', api_key: sk-test-0002 }";

/// A proxy with a log file.
struct Proxy {
    child: Child,
    config: PathBuf,
    folder: PathBuf,
    listen: SocketAddr,
    admin: SocketAddr,
}

impl Proxy {
    /// Before an endpoint at which nobody listens.
    fn start(name: &str) -> Self {
        Self::before(name, NOBODY)
    }

    fn before(name: &str, endpoints: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).unwrap();
        let config = folder.join("config.yaml");
        let log = folder.join("logs/app.log");
        let text = format!(
            "listen: 127.0.0.1:0
admin: {{ listen: 127.0.0.1:0 }}
warm_up: off
log: {{ file: {} }}
client_keys: [{{ name: laptop, sha256: {DIGEST}, max_in_flight: 3 }}]
clusters:
  claude:
    kind: anthropic
    endpoints: [{endpoints}]
",
            log.display()
        );
        fs::write(&config, text).unwrap();
        let mut child = Command::new(cargo_bin("qcc"))
            .env_clear()
            .env("HOME", &folder)
            .args(["serve", "--json", "--config"])
            .arg(&config)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut started = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            started.push_str(&line.unwrap());
            if serde_json::from_str::<Value>(&started).is_ok() {
                break;
            }
        }
        let started: Value = serde_json::from_str(&started).unwrap();
        let address = |key: &str| started[key].as_str().unwrap().parse().unwrap();
        Self {
            config,
            listen: address("listen"),
            admin: address("admin"),
            folder,
            child,
        }
    }

    /// Runs a command against it.
    fn run(&self, line: &str) -> (i32, String, String) {
        let admin = format!("http://{}", self.admin);
        let output = Command::new(cargo_bin("qcc"))
            .env_clear()
            .env("QCC_ADMIN", admin)
            .args(line.split_whitespace())
            .arg("--config")
            .arg(&self.config)
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains("panicked"), "{line}: {stderr}");
        (output.status.code().unwrap(), stdout, stderr)
    }

    fn json(&self, line: &str) -> Value {
        let (code, stdout, stderr) = self.run(&format!("{line} --json"));
        assert_eq!(code, 0, "{line}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{line}: {stdout}"))
    }

    /// Sends the head of a request and reads all that comes.
    fn ask(&self, address: SocketAddr, head: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        let end = "connection: close\r\ncontent-length: 0\r\n\r\n";
        stream
            .write_all(format!("{head}\r\nhost: {address}\r\n{end}").as_bytes())
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn terminate(&mut self) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
        assert!(sent.success());
        assert_eq!(self.child.wait().unwrap().code(), Some(0));
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Each operation, whether it changes something the first time, and what it says then.
const OPERATIONS: [(&str, bool, &str); 11] = [
    ("endpoint disable one", true, "is off"),
    ("endpoint enable one", true, "is on"),
    ("endpoint mark one --for 10m", true, "is marked"),
    ("endpoint unmark one", true, "is no longer marked"),
    ("endpoint clear-limit one", false, "was not cooling down"),
    ("endpoint clear-limit --all", false, "was not cooling down"),
    ("breaker reset one", false, "had a closed breaker"),
    ("breaker reset --all", false, "had a closed breaker"),
    ("session unbind sess-1", false, "Nothing was bound there"),
    (
        "session unbind --user laptop",
        false,
        "Nothing was bound there",
    ),
    ("session unbind --all", false, "Nothing was bound there"),
];

/// The same with a name that nothing has.
const UNKNOWN: [&str; 11] = [
    "endpoint disable nobody",
    "endpoint enable nobody",
    "endpoint mark nobody",
    "endpoint unmark nobody",
    "endpoint clear-limit nobody",
    "breaker reset nobody",
    "session unbind --endpoint nobody",
    "session unbind --user nobody",
    "session show nobody",
    "cluster status nobody",
    "explain nobody",
];

/// Every list, without traffic, and whether it is empty then.
const LISTS: [(&str, bool); 5] = [
    ("endpoint list", false),
    ("breaker status", false),
    ("session list", true),
    ("session stats", false),
    ("requests", true),
];

// CLI-20
#[test]
fn every_operation_says_what_changed_and_changes_nothing_the_second_time() {
    let proxy = Proxy::start("operations");
    for (operation, changes, said) in OPERATIONS {
        let (code, stdout, stderr) = proxy.run(operation);
        assert_eq!(code, 0, "{operation}: {stderr}");
        assert!(stdout.contains(said), "{operation}: {stdout}");
        if changes {
            let (_, again, _) = proxy.run(operation);
            assert!(
                again.contains("nothing changed") || again.contains("was marked already"),
                "{operation}: {again}"
            );
        } else {
            assert!(stdout.contains("nothing changed"), "{operation}: {stdout}");
        }
        let again = proxy.json(operation);
        assert_eq!(again["changed"], false, "{operation}: {again}");
    }
    for operation in UNKNOWN {
        let (code, stdout, stderr) = proxy.run(operation);
        assert_eq!(code, 6, "{operation}: {stdout}{stderr}");
        assert!(stderr.contains("here is no"), "{operation}: {stderr}");
    }
}

/// Simulated upstreams, of which `one` answers checks as it should.
struct Simulator(Child, SocketAddr);

impl Simulator {
    fn start() -> Self {
        let mut child = Command::new(cargo_bin("qcc"))
            .env_clear()
            .args(["simulate", "--port", "0", "--endpoint", "one=echo"])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(child.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("listening on http://").unwrap();
        let address = address.parse().unwrap();
        Self(child, address)
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// What else is asked of a proxy whose `one` works and whose `pooled` has two tokens, and what it
/// says.
const QUESTIONS: [(&str, &str); 14] = [
    ("token status", "claude/pooled"),
    ("token recover", "nothing changed"),
    ("token recover Personal-1", "nothing changed"),
    (
        "token recover Shared-1 --endpoint pooled",
        "nothing changed",
    ),
    ("token test", "Nothing was sent."),
    ("token test pooled", "ok  order"),
    ("metrics show", "no request in the last 24h"),
    ("metrics show --endpoint one", "no request in the last 24h"),
    ("metrics export --endpoint one", "minute,cluster,endpoint"),
    ("store status", "open"),
    ("queue status", "The queue is empty."),
    ("queue retry", "nothing was checked"),
    ("queue retry one", "answered  valid"),
    ("probe one", "answered  valid"),
];

/// The same with a name that nothing has, and one of those that the answer names.
const STRANGERS: [(&str, &str); 7] = [
    ("token recover Personal-9", "claude/pooled/Personal-1"),
    ("token recover --endpoint nobody", "claude/pooled"),
    ("token test nobody", "claude/pooled"),
    ("metrics show --endpoint nobody", "claude/one"),
    ("metrics export --endpoint nobody", "claude/one"),
    ("queue retry nobody", "claude/one"),
    ("probe nobody", "claude/one"),
];

// CLI-11, CLI-12, CLI-13, CLI-14, CLI-19, STO-05, STO-08
#[test]
fn every_question_is_answered_and_a_stranger_is_told_who_is_known() {
    let simulator = Simulator::start();
    let endpoints = format!(
        "{{ name: one, base_url: 'http://{}/one', api_key: sk-test-0002 }}, \
         {{ name: pooled, base_url: 'http://127.0.0.1:9', \
         tokens: {{ personal: sk-test-0003, shared: sk-test-0004 }} }}",
        simulator.1
    );
    let proxy = Proxy::before("questions", &endpoints);
    for (question, said) in QUESTIONS {
        let (code, stdout, stderr) = proxy.run(question);
        assert_eq!(code, 0, "{question}: {stdout}{stderr}");
        assert!(stdout.contains(said), "{question}: {stdout}");
        assert!(!stdout.contains("sk-test"), "{question}: {stdout}");
        proxy.json(question);
    }
    for (question, known) in STRANGERS {
        let (code, stdout, stderr) = proxy.run(question);
        assert_eq!(code, 6, "{question}: {stdout}{stderr}");
        assert!(stderr.contains("here is no"), "{question}: {stderr}");
        assert!(stderr.contains(known), "{question}: {stderr}");
    }
    // These two take no name.
    for question in ["store status", "refresh"] {
        assert_eq!(proxy.run(&format!("{question} nobody")).0, 2, "{question}");
    }

    assert_eq!(proxy.json("refresh")["changed"], false);
    let text = fs::read_to_string(&proxy.config).unwrap();
    fs::write(
        &proxy.config,
        text.replace("warm_up: off", "warm_up: connect"),
    )
    .unwrap();
    let (code, stdout, stderr) = proxy.run("refresh");
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("warm_up: off => connect"), "{stdout}");
    fs::write(&proxy.config, "clusters: {}").unwrap();
    let (code, _, stderr) = proxy.run("refresh");
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("stays in force"), "{stderr}");
}

// CLI-24, CLI-10
#[test]
fn every_list_is_an_array_read_fresh_and_paged() {
    let proxy = Proxy::start("lists");
    for (list, is_empty) in LISTS {
        let items = proxy.json(list);
        let items = items
            .as_array()
            .unwrap_or_else(|| panic!("{list}: {items}"));
        assert_eq!(items.is_empty(), is_empty, "{list}: {items:?}");
        let (code, text, _) = proxy.run(list);
        assert_eq!(code, 0, "{list}");
        let width = text.lines().map(|line| line.chars().count()).max();
        assert!(width <= Some(100), "{list}: {text}");
    }
    let stats = proxy.json("stats");
    for list in ["sessions", "endpoints", "clients", "unavailable"] {
        assert_eq!(stats[list], Value::Array(Vec::new()), "{list}");
    }

    proxy.run("endpoint disable one");
    assert_eq!(proxy.json("endpoint list")[0]["enabled"], false);
    assert_eq!(proxy.json("stats")["unavailable"][0]["reason"], "disabled");
    proxy.run("endpoint enable one");
    assert_eq!(proxy.json("endpoint list")[0]["enabled"], true);

    let lists = ["clusters", "endpoints", "sessions", "clients", "requests"];
    for (list, total) in lists.into_iter().zip([1, 1, 0, 1, 0]) {
        let get = format!("GET /admin/v1/{list}?limit=1&offset=1 HTTP/1.1");
        let answer = proxy.ask(proxy.admin, &get);
        let (_, body) = answer.split_once("\r\n\r\n").unwrap();
        let page: Value = serde_json::from_str(body).unwrap();
        assert_eq!(page["items"], Value::Array(Vec::new()), "{list}");
        assert_eq!(page["total"], total, "{list}");
        assert_eq!((&page["limit"], &page["offset"]), (&1.into(), &1.into()));
    }
}

// CLI-21, OPS-10, OPS-11, ACC-11, SEC-01
#[test]
fn a_request_is_found_in_the_log_by_its_id_and_its_user() {
    let mut proxy = Proxy::start("logs");
    let key = format!("x-api-key: {CLIENT_KEY}");
    for id in ["mine-1", "mine-2"] {
        let head = format!("POST /v1/messages HTTP/1.1\r\n{key}\r\nx-request-id: {id}");
        let answer = proxy.ask(proxy.listen, &head);
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    let endpoint = &proxy.json("endpoint list")[0];
    assert_eq!(endpoint["current_load"], 0);
    assert_eq!(endpoint["daily_requests"], 2);
    let stats = proxy.json("stats");
    assert_eq!(stats["requests"]["answers"]["failed"], 2, "{stats}");
    assert_eq!(proxy.json("requests")[0]["client"], "laptop");
    // At its end everything is in the file.
    proxy.terminate();

    let lines = |filter: &str| {
        let (code, stdout, stderr) = proxy.run(&format!("logs -n 1000 --json {filter}"));
        assert_eq!(code, 0, "{stderr}");
        let parse = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        stdout.lines().map(parse).collect::<Vec<_>>()
    };
    let all = lines("");
    assert!(
        all.iter().all(|line| line["target"].is_string()),
        "{all:#?}"
    );
    let one = lines("--request mine-1");
    assert!(!one.is_empty() && one.len() < all.len());
    assert!(one.iter().all(|line| line["request_id"] == "mine-1"));
    let of_user = lines("--user laptop --request mine-2");
    assert_eq!(of_user.len(), 1, "{of_user:#?}");
    assert_eq!(of_user[0]["target"], "qcc::request");
    assert_eq!(of_user[0]["user_id"], "laptop");
    assert!(lines("--user nobody").is_empty());
    assert!(lines("--level error").len() < all.len());
    let (_, text, _) = proxy.run("logs -n 1000");
    assert!(text.contains("request_id=mine-1"), "{text}");
    assert!(!text.contains("sk-test"), "{text}");
}
