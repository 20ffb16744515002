//! A token pool in the proxy, as people configure, use and look at it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

/// The tokens of these tests: nothing that anybody prints may hold one.
const SECRETS: [&str; 6] = [
    "sk-test-personal-1",
    "sk-test-personal-2",
    "sk-test-personal-3",
    "sk-test-personal-4",
    "sk-test-shared-1",
    "sk-test-anonymous-1",
];

/// A process of `qcc` that ends with its test.
struct Qcc {
    child: Child,
    /// Everything that it has logged so far.
    log: Arc<Mutex<String>>,
    /// The first JSON document, or the first line, that it printed.
    first: String,
}

impl Qcc {
    fn start(args: &[&str], variables: &[(&str, &str)]) -> Self {
        let mut child = Command::new(cargo_bin("qcc"))
            .env_clear()
            .env("HOME", "/nope")
            .envs(variables.iter().copied())
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut first = String::new();
        for line in BufReader::new(child.stdout.take().unwrap()).lines() {
            first.push_str(&line.unwrap());
            if !first.starts_with('{')
                || first.ends_with('}') && serde_json::from_str::<Value>(&first).is_ok()
            {
                break;
            }
        }
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, written) = (
            BufReader::new(child.stderr.take().unwrap()).lines(),
            log.clone(),
        );
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                *written.lock().unwrap() += &(line + "\n");
            }
        });
        Self { child, log, first }
    }

    fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Waits until a line of its log holds `text`.
    fn log_until(&self, text: &str) {
        while !self.log().contains(text) {
            thread::sleep(std::time::Duration::from_millis(5));
        }
    }
}

impl Drop for Qcc {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A proxy with one pooled endpoint, and the simulated upstream behind it.
struct World {
    proxy: Qcc,
    _simulator: Qcc,
    address: SocketAddr,
    admin: String,
    started: Value,
    file: PathBuf,
    upstream: String,
}

impl World {
    /// `tokens` is what stands behind the key.
    fn new(name: &str, behaviour: &str, tokens: &str) -> Self {
        let endpoint = format!("a={behaviour}");
        let simulator = Qcc::start(&["simulate", "--port", "0", "--endpoint", &endpoint], &[]);
        let upstream = simulator
            .first
            .trim()
            .strip_prefix("listening on ")
            .unwrap()
            .to_owned();
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("tokens-{name}.yaml"));
        fs::write(&file, Self::text(&upstream, tokens)).unwrap();
        let args = [
            "serve",
            "--json",
            "--port",
            "0",
            "--admin-port",
            "0",
            "--config",
        ];
        let args = [&args[..], &[file.to_str().unwrap()]].concat();
        let list = "'sk-test-personal-1', sk-test-personal-2,,sk-test-personal-1";
        let proxy = Qcc::start(&args, &[("POOL_TOKENS", list)]);
        let started: Value = serde_json::from_str(&proxy.first).unwrap();
        Self {
            address: started["listen"].as_str().unwrap().parse().unwrap(),
            admin: format!("http://{}", started["admin"].as_str().unwrap()),
            proxy,
            _simulator: simulator,
            started,
            file,
            upstream,
        }
    }

    fn text(upstream: &str, tokens: &str) -> String {
        format!(
            "warm_up: off\nstore: {{ enabled: false }}\nclusters: {{ c: {{ endpoints: [{{ name: pooled, kind: anthropic, \
             base_url: '{upstream}/a', tokens: {tokens} }}] }} }}\n"
        )
    }

    fn rewrite(&self, tokens: &str) {
        fs::write(&self.file, Self::text(&self.upstream, tokens)).unwrap();
    }

    /// The answer to one request of the Messages API, head and body.
    fn send(&self, stream: bool) -> String {
        let body = format!(
            r#"{{"model":"m","max_tokens":9,"stream":{stream},"messages":[{{"role":"user","content":"hi"}}]}}"#
        );
        let mut client = TcpStream::connect(self.address).unwrap();
        let head = "POST /v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json";
        let length = body.len();
        client
            .write_all(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}").as_bytes())
            .unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }

    /// Runs a command against the proxy.
    fn run(&self, args: &[&str]) -> (i32, String, String) {
        let output = Command::new(cargo_bin("qcc"))
            .env_clear()
            .env("HOME", "/nope")
            .args(args)
            .args(["--admin", &self.admin])
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        let (stdout, stderr) = (text(output.stdout), text(output.stderr));
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert_no_secret(&stdout);
        assert_no_secret(&stderr);
        (output.status.code().unwrap(), stdout, stderr)
    }

    /// What a route of the admin listener answers.
    fn get(&self, path: &str) -> String {
        let mut client = TcpStream::connect(self.admin.strip_prefix("http://").unwrap()).unwrap();
        let request =
            format!("GET {path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
        client.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).unwrap();
        answer
    }
}

fn assert_no_secret(text: &str) {
    for secret in SECRETS {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
}

const ALL: &str = "{ personal: ['${POOL_TOKENS}', sk-test-personal-3], shared: [sk-test-shared-1], \
                   anonymous: sk-test-anonymous-1 }";

// TOK-29
#[test]
fn the_numbers_of_a_pool_at_the_start_are_those_of_the_configuration() {
    for (name, tokens, numbers) in [
        (
            "one",
            "{ personal: sk-test-personal-1 }",
            [1, 1, 0, 1, 0, 0],
        ),
        ("five", ALL, [5, 5, 0, 3, 1, 1]),
        ("none", "{ personal: your_token_here }", [0; 6]),
    ] {
        let world = World::new(&format!("start-{name}"), "ok", tokens);
        let pool = &world.started["token_pools"][0];
        let keys = [
            "total",
            "active",
            "failed",
            "personal",
            "shared",
            "anonymous",
        ];
        assert_eq!(
            keys.map(|key| pool[key].as_u64().unwrap()),
            numbers,
            "{name}"
        );
        let [total, active, failed, personal, shared, anonymous] = numbers;
        world.proxy.log_until(&format!(
            "token pool: {total} total, {active} active, {failed} failed; {personal} personal, \
             {shared} shared, {anonymous} anonymous"
        ));
        assert_no_secret(&world.proxy.log());
    }
}

// TOK-30
#[test]
fn a_pool_without_a_token_is_warned_of_and_the_proxy_starts_all_the_same() {
    let world = World::new("empty", "ok", "{ personal: [your_token_here] }");
    for warning in [
        "has a placeholder in the place of a token",
        "the pool is empty",
    ] {
        world.proxy.log_until(warning);
    }
    let answer = world.send(false);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(
        world.get("/healthz").lines().next(),
        Some("HTTP/1.1 200 OK")
    );

    world.rewrite("{ personal: [sk-test-personal-1] }");
    world.proxy.log_until("configuration reloaded");
    assert!(world.send(false).starts_with("HTTP/1.1 200"));
}

// TOK-05, TOK-08, TOK-12, TOK-14, TOK-17, TOK-31, SEC-01
#[test]
fn streams_through_the_proxy_use_one_token_after_the_other_and_say_so_by_name_only() {
    let world = World::new("sse", "quota:2", ALL);
    for number in 1..=10 {
        let answer = world.send(number % 2 == 0);
        assert!(answer.starts_with("HTTP/1.1 200"), "{number}: {answer}");
        assert!(answer.contains("x-qcc-attempts: 1"), "{answer}");
        assert_eq!(
            answer.contains("event: message_stop"),
            number % 2 == 0,
            "{answer}"
        );
    }
    for stream in [true, false] {
        let answer = world.send(stream);
        assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
        assert!(
            answer.to_ascii_lowercase().contains("retry-after: "),
            "{answer}"
        );
    }
    let log = world.proxy.log();
    for line in [
        "429 (quota), trying next token",
        "using next token: Personal-2",
        "using next token: Shared-1",
        "using next token: Anonymous-1",
        "no token left, last resort",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    assert_no_secret(&log);
}

// TOK-33, CFG-10
#[test]
fn changed_tokens_are_used_after_a_reload_and_the_others_keep_their_limits() {
    let world = World::new(
        "reload",
        "keys:sk-test-personal-4",
        "{ personal: [sk-test-personal-1] }",
    );
    assert!(
        world.send(false).starts_with("HTTP/1.1 502"),
        "its only token is refused"
    );
    world.rewrite("{ personal: [sk-test-personal-1, sk-test-personal-4] }");
    world.proxy.log_until("configuration reloaded");
    let answer = world.send(true);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let refused = world
        .proxy
        .log()
        .matches("401 (auth), trying next token")
        .count();
    assert_eq!(refused, 0, "the refused token is not tried again");
    world.rewrite("{ personal: [sk-test-personal-1] }");
    let told = "tokens.personal: [\"****\",\"****\"] => [\"****\"]";
    world.proxy.log_until(told);
    assert!(world.send(false).starts_with("HTTP/1.1 503"));
    assert_no_secret(&world.proxy.log());
}

/// What only looks, with what it needs.
const LOOKS: [&[&str]; 8] = [
    &["cluster", "list"],
    &["cluster", "status", "c"],
    &["endpoint", "list"],
    &["breaker", "status"],
    &["session", "list"],
    &["token", "status"],
    &["requests"],
    &["explain"],
];

// SEC-01, SEC-02, SEC-07, XPL-05, TOK-18
#[test]
fn no_token_is_in_any_answer_listing_log_or_record_whatever_fails() {
    for (name, fault) in [
        ("limited", "status:429;message=too many for {credential}"),
        ("refused", "status:401;message=bad key {credential}"),
        ("echoed", "echo-credential"),
        ("broken", "cut:3"),
    ] {
        let world = World::new(&format!("secret-{name}"), fault, ALL);
        for stream in [true, false, true] {
            let answer = world.send(stream);
            assert_no_secret(&answer);
        }
        let (_, requests, _) = world.run(&["requests", "--json"]);
        let requests: Value = serde_json::from_str(&requests).unwrap();
        let id = requests[0]["id"].as_str().unwrap();
        for look in LOOKS {
            let mut look = look.to_vec();
            if look == ["explain"] {
                look.push(id);
            }
            assert_eq!(world.run(&look).0, 0, "{look:?}");
            assert_eq!(
                world.run(&[&look[..], &["--json"]].concat()).0,
                0,
                "{look:?}"
            );
        }
        for path in [
            "/metrics",
            "/admin/v1/endpoints",
            "/admin/v1/clusters/c",
            "/admin/v1/tokens",
            "/admin/v1/tokens/test",
            "/admin/v1/requests",
        ] {
            let answer = world.get(path);
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert_no_secret(&answer);
        }
        assert_no_secret(&world.proxy.first);
        assert_no_secret(&world.proxy.log());
    }
}

// CLI-13, CLI-14, CLI-20, TOK-28, XPL-02
#[test]
fn a_refused_token_is_seen_tested_explained_and_recovered() {
    let tokens =
        "{ personal: [sk-test-personal-1, sk-test-personal-2], max_failures: 7, inactive_for: 1m }";
    let world = World::new("operate", "keys:sk-test-personal-2", tokens);
    let (code, test, _) = world.run(&["token", "test", "pooled"]);
    assert_eq!(code, 0, "{test}");
    for part in [
        "2 personal, 0 shared, 0 anonymous, as configured",
        "a request would try Personal-1, Personal-2",
        "7 in a row make it inactive for 1m",
        "Nothing was sent.",
    ] {
        assert!(test.contains(part), "{part} in {test}");
    }
    assert!(world.send(false).starts_with("HTTP/1.1 200"));
    assert!(world.send(true).starts_with("HTTP/1.1 200"));

    let (code, test, _) = world.run(&["token", "test", "--json"]);
    let test: Value = serde_json::from_str(&test).unwrap();
    assert_eq!((code, &test[0]["ok"]), (1, &false.into()), "{test}");
    let (_, status, _) = world.run(&["token", "status", "--json"]);
    let status: Value = serde_json::from_str(&status).unwrap();
    assert_eq!(
        (&status[0]["active"], &status[0]["failed"]),
        (&1.into(), &1.into())
    );
    let token = &status[0]["tokens"][0];
    assert_eq!(
        (&token["name"], &token["state"]),
        (&"Personal-1".into(), &"refused".into())
    );
    let (_, requests, _) = world.run(&["requests", "--json"]);
    let requests: Value = serde_json::from_str(&requests).unwrap();
    let (_, story, _) = world.run(&["explain", requests[0]["id"].as_str().unwrap()]);
    assert!(
        story.contains("credential Personal-2 (Personal-1 is refused)"),
        "{story}"
    );
    let (_, story, _) = world.run(&["explain", requests[1]["id"].as_str().unwrap()]);
    assert!(story.contains("next credential Personal-2"), "{story}");

    let recover = ["token", "recover", "Personal-1", "--endpoint", "c/pooled"];
    let (code, told, _) = world.run(&recover);
    assert!(
        code == 0 && told.contains("Personal-1 may be used again."),
        "{told}"
    );
    let (code, told, _) = world.run(&recover);
    assert!(code == 0 && told.contains("nothing changed"), "{told}");
    assert_eq!(world.run(&["token", "recover", "Personal-9"]).0, 6);
    let metrics = world.get("/metrics");
    let switches = r#"qcc_pool_switches_total{cluster="c",endpoint="pooled"} 1"#;
    assert!(metrics.contains(switches), "{metrics}");
}
