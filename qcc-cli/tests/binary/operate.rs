//! Every operation on a running proxy, as people and programs call it.

use std::fs;
use std::path::PathBuf;

use serde_json::Value;

use crate::client;
use crate::folder::folder;
use crate::process::{qcc, run};
use crate::proxy::Proxy;
use crate::simulator::Simulator;

/// The key of the one client, whose digest stands in the configuration.
const CLIENT_KEY: &str = "sk-test-0001";
const DIGEST: &str = "820b1c7a7f3b9722bca2bdf90fb63c8af91c71bf8e7b399efb0646163b5af643";

/// An endpoint at which nobody listens.
const NOBODY: &str = "{ name: one, base_url: 'http://127.0.0.1:9', api_key: sk-test-0002 }";

/// A proxy with a log file, and its configuration.
struct World {
    proxy: Proxy,
    config: PathBuf,
}

impl World {
    /// Before an endpoint at which nobody listens.
    fn new(name: &str) -> Self {
        Self::before(name, NOBODY)
    }

    fn before(name: &str, endpoints: &str) -> Self {
        let folder = folder(&format!("operate-{name}"));
        let config = folder.join("config.yaml");
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
            folder.join("logs/app.log").display()
        );
        fs::write(&config, text).unwrap();
        let mut serve = qcc(&["serve", "--json", "--config"]);
        Self {
            proxy: Proxy::start(serve.arg(&config).env("HOME", &folder)),
            config,
        }
    }

    /// Runs a command with its configuration, which says where the log is.
    fn run(&self, line: &str) -> (i32, String, String) {
        let mut args: Vec<_> = line.split_whitespace().collect();
        args.extend(["--config", self.config.to_str().unwrap()]);
        let admin = format!("http://{}", self.proxy.admin);
        run(&args, &[("QCC_ADMIN", &admin)])
    }

    fn json(&self, line: &str) -> Value {
        let (code, stdout, stderr) = self.run(&format!("{line} --json"));
        assert_eq!(code, 0, "{line}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{line}: {stdout}"))
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
    let world = World::new("operations");
    for (operation, changes, said) in OPERATIONS {
        let (code, stdout, stderr) = world.run(operation);
        assert_eq!(code, 0, "{operation}: {stderr}");
        assert!(stdout.contains(said), "{operation}: {stdout}");
        if changes {
            let (_, again, _) = world.run(operation);
            assert!(
                again.contains("nothing changed") || again.contains("was marked already"),
                "{operation}: {again}"
            );
        } else {
            assert!(stdout.contains("nothing changed"), "{operation}: {stdout}");
        }
        let again = world.json(operation);
        assert_eq!(again["changed"], false, "{operation}: {again}");
    }
    for operation in UNKNOWN {
        let (code, stdout, stderr) = world.run(operation);
        assert_eq!(code, 6, "{operation}: {stdout}{stderr}");
        assert!(stderr.contains("here is no"), "{operation}: {stderr}");
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
    // It answers checks as it should.
    let simulator = Simulator::start(&[("one", "echo")]);
    let endpoints = format!(
        "{{ name: one, base_url: 'http://{}/one', api_key: sk-test-0002 }}, \
         {{ name: pooled, base_url: 'http://127.0.0.1:9', \
         tokens: {{ personal: sk-test-0003, shared: sk-test-0004 }} }}",
        simulator.address
    );
    let world = World::before("questions", &endpoints);
    for (question, said) in QUESTIONS {
        let (code, stdout, stderr) = world.run(question);
        assert_eq!(code, 0, "{question}: {stdout}{stderr}");
        assert!(stdout.contains(said), "{question}: {stdout}");
        assert!(!stdout.contains("sk-test"), "{question}: {stdout}");
        world.json(question);
    }
    for (question, known) in STRANGERS {
        let (code, stdout, stderr) = world.run(question);
        assert_eq!(code, 6, "{question}: {stdout}{stderr}");
        assert!(stderr.contains("here is no"), "{question}: {stderr}");
        assert!(stderr.contains(known), "{question}: {stderr}");
    }
    // These two take no name.
    for question in ["store status", "refresh"] {
        assert_eq!(world.run(&format!("{question} nobody")).0, 2, "{question}");
    }

    assert_eq!(world.json("refresh")["changed"], false);
    let text = fs::read_to_string(&world.config).unwrap();
    // It may see a change by itself before it is told to look; then there is another one.
    let changes = [("off", "connect"), ("connect", "off")];
    let told = changes.iter().cycle().take(20).any(|(before, after)| {
        let changed = text.replace("warm_up: off", &format!("warm_up: {after}"));
        fs::write(&world.config, changed).unwrap();
        let (code, stdout, stderr) = world.run("refresh");
        assert_eq!(code, 0, "{stderr}");
        stdout.contains(&format!("warm_up: {before} => {after}"))
    });
    assert!(told, "it was never the first to see a change");
    fs::write(&world.config, "clusters: {}").unwrap();
    let (code, _, stderr) = world.run("refresh");
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("stays in force"), "{stderr}");
}

// CLI-24, CLI-10
#[test]
fn every_list_is_an_array_read_fresh_and_paged() {
    let world = World::new("lists");
    for (list, is_empty) in LISTS {
        let items = world.json(list);
        let items = items
            .as_array()
            .unwrap_or_else(|| panic!("{list}: {items}"));
        assert_eq!(items.is_empty(), is_empty, "{list}: {items:?}");
        let (code, text, _) = world.run(list);
        assert_eq!(code, 0, "{list}");
        let width = text.lines().map(|line| line.chars().count()).max();
        assert!(width <= Some(100), "{list}: {text}");
    }
    let stats = world.json("stats");
    for list in ["sessions", "endpoints", "clients", "unavailable"] {
        assert_eq!(stats[list], Value::Array(Vec::new()), "{list}");
    }

    world.run("endpoint disable one");
    assert_eq!(world.json("endpoint list")[0]["enabled"], false);
    assert_eq!(world.json("stats")["unavailable"][0]["reason"], "disabled");
    world.run("endpoint enable one");
    assert_eq!(world.json("endpoint list")[0]["enabled"], true);

    let lists = ["clusters", "endpoints", "sessions", "clients", "requests"];
    for (list, total) in lists.into_iter().zip([1, 1, 0, 1, 0]) {
        let path = format!("/admin/v1/{list}?limit=1&offset=1");
        let answer = client::get(world.proxy.admin, &path);
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
    let mut world = World::new("logs");
    let key = format!("x-api-key: {CLIENT_KEY}");
    for id in ["mine-1", "mine-2"] {
        let head = format!("POST /v1/messages HTTP/1.1\r\n{key}\r\nx-request-id: {id}");
        let answer = client::ask(world.proxy.address, &head, "");
        assert!(answer.starts_with("HTTP/1.1 502"), "{answer}");
    }
    let endpoint = &world.json("endpoint list")[0];
    assert_eq!(endpoint["current_load"], 0);
    assert_eq!(endpoint["daily_requests"], 2);
    let stats = world.json("stats");
    assert_eq!(stats["requests"]["answers"]["failed"], 2, "{stats}");
    assert_eq!(world.json("requests")[0]["client"], "laptop");
    // At its end everything is in the file.
    let (code, log) = world.proxy.process.terminate();
    assert_eq!(code, Some(0), "{log}");

    let lines = |filter: &str| {
        let (code, stdout, stderr) = world.run(&format!("logs -n 1000 --json {filter}"));
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
    let (_, text, _) = world.run("logs -n 1000");
    assert!(text.contains("request_id=mine-1"), "{text}");
    assert!(!text.contains("sk-test"), "{text}");
}

// AFF-01
#[test]
fn the_log_names_the_session_of_a_request_and_says_when_that_chose_the_endpoint() {
    let upstream = Simulator::start(&[("one", "ok")]);
    let url = format!("http://{}/one", upstream.address);
    let endpoint = format!("{{ name: one, base_url: '{url}', api_key: sk-test-0002 }}");
    let mut world = World::before("session", &endpoint);
    let head =
        format!("POST /v1/messages HTTP/1.1\r\nx-api-key: {CLIENT_KEY}\r\nx-conversation-id: talk");
    for _ in 0..2 {
        let answer = client::ask(world.proxy.address, &head, client::MESSAGE);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    // At its end everything is in the file.
    world.proxy.process.terminate();
    let (_, log, _) = world.run("logs -n 1000 --json");
    let lines: Vec<Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .filter(|line: &Value| line["target"] == "qcc::request")
        .collect();
    let [first, second] = &lines[..] else {
        panic!("{log}")
    };
    assert_eq!(first["session"].as_str().unwrap().len(), 32, "{first}");
    assert_eq!(first["session"], second["session"]);
    assert_eq!(first["affinity"], Value::Null);
    assert_eq!(second["affinity"], "using session-bound endpoint");
    assert!(!log.contains("talk"), "{log}");
}
