//! A token pool in the proxy, as people configure, use and look at it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;

use serde_json::Value;

use crate::client;
use crate::folder::folder;
use crate::proxy::{Proxy, serve};
use crate::simulator::Simulator;

/// The tokens of these tests: nothing that anybody prints may hold one.
const SECRETS: [&str; 11] = [
    "sk-test-personal-1",
    "sk-test-personal-2",
    "sk-test-personal-3",
    "sk-test-personal-4",
    "sk-test-shared-1",
    "sk-test-anonymous-1",
    "sk-test-login-1",
    "sk-test-client-1",
    "sk-test-access-1",
    "sk-test-rotated-1",
    "sk-test-fetched-1",
];

/// A proxy with one pooled endpoint, and the upstream behind it, which may be simulated.
struct World {
    proxy: Proxy,
    _simulator: Option<Simulator>,
    config: PathBuf,
    upstream: String,
}

impl World {
    /// `tokens` is what stands behind the key.
    fn new(name: &str, behaviour: &str, tokens: &str) -> Self {
        let simulator = Simulator::start(&[("a", behaviour)]);
        let upstream = format!("http://{}", simulator.address);
        Self {
            _simulator: Some(simulator),
            ..Self::at(name, upstream, tokens)
        }
    }

    /// The upstream is `upstream`, whoever that is.
    fn at(name: &str, upstream: String, tokens: &str) -> Self {
        let config = folder(&format!("tokens-{name}")).join("qcc.yaml");
        fs::write(&config, text(&config, &upstream, tokens)).unwrap();
        Self {
            proxy: start(&config),
            _simulator: None,
            config,
            upstream,
        }
    }

    /// The same once more: this proxy is gone when the next one starts.
    fn restarted(mut self) -> Self {
        self.proxy.process.kill();
        self.proxy = start(&self.config);
        self
    }

    fn rewrite(&self, tokens: &str) {
        fs::write(&self.config, text(&self.config, &self.upstream, tokens)).unwrap();
    }

    /// The answer to one request of the Messages API, head and body.
    fn send(&self, stream: bool) -> String {
        let body = if stream {
            client::STREAM
        } else {
            client::MESSAGE
        };
        client::post(self.proxy.address, "/v1/messages", body)
    }

    /// Runs a command against the proxy.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let (code, stdout, stderr) = self.proxy.run(args);
        assert_no_secret(&stdout);
        assert_no_secret(&stderr);
        (code, stdout)
    }

    /// What it prints for programs.
    fn json(&self, args: &[&str]) -> (i32, Value) {
        let (code, stdout) = self.run(&[args, &["--json"]].concat());
        (code, serde_json::from_str(&stdout).unwrap())
    }

    /// What a route of the admin listener answers.
    fn get(&self, path: &str) -> String {
        client::get(self.proxy.admin, path)
    }
}

fn start(config: &Path) -> Proxy {
    let list = "'sk-test-personal-1', sk-test-personal-2,,sk-test-personal-1";
    Proxy::start(serve(config, 0).env("POOL_TOKENS", list))
}

fn text(config: &Path, upstream: &str, tokens: &str) -> String {
    format!(
        "warm_up: off\nstore: {{ path: '{}' }}\nclusters: {{ c: {{ endpoints: [{{ name: pooled, \
         kind: anthropic, base_url: '{upstream}/a', tokens: {tokens} }}] }} }}\n",
        kept(config).join("qcc.db").display()
    )
}

/// The folder of the store of a proxy with this configuration.
fn kept(config: &Path) -> PathBuf {
    config.with_file_name("kept")
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
        let pool = &world.proxy.started["token_pools"][0];
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
        world.proxy.process.log_until(&format!(
            "token pool: {total} total, {active} active, {failed} failed; {personal} personal, \
             {shared} shared, {anonymous} anonymous"
        ));
        assert_no_secret(&world.proxy.process.log());
    }
}

// TOK-30
#[test]
fn a_pool_without_a_token_is_warned_of_and_the_proxy_starts_all_the_same() {
    let world = World::new("empty", "ok", "{ personal: [your_token_here] }");
    let log = world.proxy.process.log_until("token pool: 0 total");
    for warning in [
        "has a placeholder in the place of a token",
        "the pool is empty",
    ] {
        assert!(log.contains(warning), "{warning} in {log}");
    }
    let answer = world.send(false);
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert_eq!(
        world.get("/healthz").lines().next(),
        Some("HTTP/1.1 200 OK")
    );

    world.rewrite("{ personal: [sk-test-personal-1] }");
    world.proxy.process.log_until("configuration reloaded");
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
    let log = world
        .proxy
        .process
        .log_until("using next token: Anonymous-1");
    for line in [
        "429 (quota), trying next token",
        "using next token: Personal-2",
        "using next token: Shared-1",
        "no token left, last resort",
    ] {
        assert!(log.contains(line), "{line} in {log}");
    }
    assert_no_secret(&world.proxy.process.log());
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
    world.proxy.process.log_until("configuration reloaded");
    let answer = world.send(true);
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let refused = world
        .proxy
        .process
        .log()
        .matches("401 (auth), trying next token")
        .count();
    assert_eq!(refused, 0, "the refused token is not tried again");
    world.rewrite("{ personal: [sk-test-personal-1] }");
    let told = "tokens.personal: [\"****\",\"****\"] => [\"****\"]";
    world.proxy.process.log_until(told);
    assert!(world.send(false).starts_with("HTTP/1.1 503"));
    assert_no_secret(&world.proxy.process.log());
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
        let (_, requests) = world.json(&["requests"]);
        let id = requests[0]["id"].as_str().unwrap();
        for look in LOOKS {
            let mut look = look.to_vec();
            if look == ["explain"] {
                look.push(id);
            }
            assert_eq!(world.run(&look).0, 0, "{look:?}");
            assert_eq!(world.json(&look).0, 0, "{look:?}");
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
        assert_no_secret(&world.proxy.process.first);
        assert_no_secret(&world.proxy.process.log());
        let kept = fs::read_dir(kept(&world.config)).unwrap();
        let files: Vec<_> = kept.map(|file| file.unwrap().path()).collect();
        assert!(!files.is_empty(), "nothing is kept");
        for file in files {
            assert_no_secret(&String::from_utf8_lossy(&fs::read(file).unwrap()));
        }
    }
}

// CLI-13, CLI-14, CLI-20, TOK-28, XPL-02
#[test]
fn a_refused_token_is_seen_tested_explained_and_recovered() {
    let tokens =
        "{ personal: [sk-test-personal-1, sk-test-personal-2], max_failures: 7, inactive_for: 1m }";
    let world = World::new("operate", "keys:sk-test-personal-2", tokens);
    let (code, test) = world.run(&["token", "test", "pooled"]);
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

    let (code, test) = world.json(&["token", "test"]);
    assert_eq!((code, &test[0]["ok"]), (1, &false.into()), "{test}");
    let (_, status) = world.json(&["token", "status"]);
    assert_eq!(
        (&status[0]["active"], &status[0]["failed"]),
        (&1.into(), &1.into())
    );
    let token = &status[0]["tokens"][0];
    assert_eq!(
        (&token["name"], &token["state"]),
        (&"Personal-1".into(), &"refused".into())
    );
    let (_, requests) = world.json(&["requests"]);
    let (_, story) = world.run(&["explain", requests[0]["id"].as_str().unwrap()]);
    assert!(
        story.contains("credential Personal-2 (Personal-1 is refused)"),
        "{story}"
    );
    let (_, story) = world.run(&["explain", requests[1]["id"].as_str().unwrap()]);
    assert!(story.contains("next credential Personal-2"), "{story}");

    let recover = ["token", "recover", "Personal-1", "--endpoint", "c/pooled"];
    let (code, told) = world.run(&recover);
    assert!(
        code == 0 && told.contains("Personal-1 may be used again."),
        "{told}"
    );
    let (code, told) = world.run(&recover);
    assert!(code == 0 && told.contains("nothing changed"), "{told}");
    assert_eq!(world.run(&["token", "recover", "Personal-9"]).0, 6);
    let metrics = world.get("/metrics");
    let switches = r#"qcc_pool_switches_total{cluster="c",endpoint="pooled"} 1"#;
    assert!(metrics.contains(switches), "{metrics}");
}

/// An issuer of tokens, and an API that takes them as bearer alone.
struct Vendor {
    url: String,
    /// The requests for tokens, and those of the API, with their heads.
    seen: Arc<Mutex<[Vec<String>; 2]>>,
}

const MESSAGE: &str = r#"{"type":"message","id":"m","role":"assistant","model":"m","content":[{"type":"text","text":"hello"}],"stop_reason":"end_turn","usage":{"input_tokens":1,"output_tokens":1}}"#;

impl Vendor {
    /// `refusal` is what the issuer answers, if it does not give tokens.
    fn start(refusal: Option<&'static str>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let seen = Arc::new(Mutex::new([Vec::new(), Vec::new()]));
        let shared = seen.clone();
        thread::spawn(move || {
            for mut client in listener.incoming().map_while(Result::ok) {
                let Some(request) = read(&mut client) else {
                    continue;
                };
                let is_api = !request.contains(" /token ");
                let mut seen = shared.lock().unwrap();
                let seen = &mut seen[usize::from(is_api)];
                seen.push(request);
                let number = seen.len();
                let last = seen[number - 1].to_ascii_lowercase();
                let token = format!(
                    r#"{{"access_token":"sk-test-access-{number}","refresh_token":"sk-test-rotated-{number}","expires_in":3600}}"#
                );
                let (status, body) = match (is_api, refusal) {
                    (true, _)
                        if last.contains("\r\nauthorization: bearer sk-test-access-1\r\n") =>
                    {
                        ("200 OK", MESSAGE)
                    }
                    (true, _) => ("401 Unauthorized", "{}"),
                    (false, Some(refusal)) => ("400 Bad Request", refusal),
                    (false, None) => ("200 OK", &*token),
                };
                let length = body.len();
                let answer = format!(
                    "HTTP/1.1 {status}\r\ncontent-type: application/json\r\n\
                     content-length: {length}\r\nconnection: close\r\n\r\n{body}"
                );
                // Whoever gave up has its reasons.
                let _ = client.write_all(answer.as_bytes());
            }
        });
        Self { url, seen }
    }

    fn refreshes(&self) -> Vec<String> {
        self.seen.lock().unwrap()[0].clone()
    }

    fn requests(&self) -> Vec<String> {
        self.seen.lock().unwrap()[1].clone()
    }
}

/// A request with its body; `None` if it does not come.
fn read(client: &mut TcpStream) -> Option<String> {
    let mut lines = BufReader::new(client);
    let (mut request, mut length) = (String::new(), 0);
    loop {
        let begin = request.len();
        lines
            .read_line(&mut request)
            .ok()
            .filter(|read| *read > 0)?;
        let line = request[begin..].to_ascii_lowercase();
        if let Some(text) = line.strip_prefix("content-length:") {
            length = text.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    lines.read_exact(&mut body).ok()?;
    Some(request + &String::from_utf8(body).ok()?)
}

/// The only token of the only pool, as `qcc token status --json` tells.
fn status(world: &World) -> Value {
    let (code, status) = world.json(&["token", "status"]);
    assert_eq!(code, 0);
    status[0]["tokens"][0].clone()
}

// TOK-09, TOK-10, TOK-22, TOK-24, TOK-26, UPS-09, SEC-01, SEC-02
#[test]
fn a_refresh_token_is_refreshed_once_and_what_came_is_good_after_a_restart() {
    use std::os::unix::fs::PermissionsExt as _;

    let vendor = Vendor::start(None);
    let store = folder("token-store-refresh").join("kept");
    let tokens = format!(
        "{{ personal: sk-test-login-1, store: '{}', refresh: {{ url: '{}/token', \
         fields: {{ client_secret: sk-test-client-1 }} }} }}",
        store.display(),
        vendor.url
    );
    let world = World::at("refresh", vendor.url.clone(), &tokens);
    assert_eq!(status(&world)["expires"], Value::Null);
    thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                let answer = world.send(false);
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                assert_no_secret(&answer);
            });
        }
    });
    let [refresh] = &vendor.refreshes()[..] else {
        panic!("{:#?}", vendor.refreshes());
    };
    let body =
        "grant_type=refresh_token&refresh_token=sk-test-login-1&client_secret=sk-test-client-1";
    assert!(refresh.ends_with(body), "{refresh}");
    for request in vendor.requests() {
        assert!(
            !request.to_ascii_lowercase().contains("x-api-key"),
            "{request}"
        );
    }

    let token = status(&world);
    assert_eq!(
        (
            &token["state"],
            &token["refreshable"],
            &token["refreshes"],
            &token["trouble"]
        ),
        (&"active".into(), &true.into(), &1.into(), &Value::Null)
    );
    assert!(!token["expires"].is_null(), "{token}");
    assert_no_secret(&world.proxy.process.log());

    let files = fs::read_dir(&store).unwrap().map(|file| file.unwrap());
    let mut kept = String::new();
    for file in files {
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        kept += &fs::read_to_string(file.path()).unwrap();
    }
    assert!(
        kept.contains("sk-test-rotated-1"),
        "the rotated one is kept"
    );

    let world = world.restarted();
    assert!(world.send(false).starts_with("HTTP/1.1 200"));
    assert_eq!(
        vendor.refreshes().len(),
        1,
        "the access token was kept, too"
    );
    assert_eq!(vendor.requests().len(), 5);
    assert_no_secret(&world.proxy.process.log());
}

// TOK-02, TOK-13, SEC-01
#[test]
fn a_command_is_the_last_resort_and_runs_only_when_the_rest_is_exhausted() {
    let runs = folder("token-runs").join("runs");
    let tokens = format!(
        "{{ personal: sk-test-personal-1, anonymous: {{ command: [/bin/sh, -c, \
         'echo run >> {}; echo sk-test-fetched-1'] }} }}",
        runs.display()
    );
    let world = World::new("command", "quota:2", &tokens);
    for stream in [true, false] {
        assert!(world.send(stream).starts_with("HTTP/1.1 200"));
    }
    assert!(!runs.exists(), "a personal token is left");
    for stream in [true, false] {
        let answer = world.send(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(fs::read_to_string(&runs).unwrap(), "run\n");
    let answer = world.send(false);
    assert!(answer.starts_with("HTTP/1.1 429"), "{answer}");
    world
        .proxy
        .process
        .log_until("using next token: Anonymous-1");
    assert_no_secret(&world.proxy.process.log());
}

// TOK-02, TOK-11, TOK-13, SEC-01
#[test]
fn a_refused_refresh_leads_to_the_next_token_and_is_told() {
    let vendor = Vendor::start(Some(r#"{"error":"invalid_grant"}"#));
    let tokens = format!(
        "{{ personal: sk-test-login-1, store: '{}', refresh: {{ url: '{}/token' }}, \
         anonymous: {{ command: [/bin/sh, -c, 'echo sk-test-fetched-1'] }} }}",
        folder("token-store-refused").join("kept").display(),
        vendor.url
    );
    let world = World::new("refused", "keys:sk-test-fetched-1", &tokens);
    for stream in [true, false] {
        let answer = world.send(stream);
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    }
    assert_eq!(vendor.refreshes().len(), 1, "it is not asked again");
    let token = status(&world);
    let trouble = token["trouble"].as_str().unwrap();
    assert!(trouble.contains("invalid_grant"), "{trouble}");
    assert_eq!(token["failed_refreshes"], 1);
    let (_, human) = world.run(&["token", "status"]);
    assert!(human.contains("invalid_grant"), "{human}");
    assert_no_secret(&world.proxy.process.log());
}

// TOK-02, SEC-01
#[test]
fn a_url_gives_the_token_to_whoever_brings_its_headers() {
    let vendor = Vendor::start(None);
    let tokens = format!(
        "{{ anonymous: {{ url: '{}/token', headers: {{ x-vault: sk-test-client-1 }} }} }}",
        vendor.url
    );
    let world = World::at("url", vendor.url.clone(), &tokens);
    for _ in 0..2 {
        assert!(world.send(false).starts_with("HTTP/1.1 200"));
    }
    let [asked] = &vendor.refreshes()[..] else {
        panic!("{:#?}", vendor.refreshes());
    };
    assert!(asked.starts_with("GET /token "), "{asked}");
    assert!(
        asked.contains("\r\nx-vault: sk-test-client-1\r\n"),
        "{asked}"
    );
    assert!(!status(&world)["expires"].is_null());
    assert_no_secret(&world.proxy.process.log());
}

// TOK-33
#[test]
fn a_token_that_stays_is_not_refreshed_again_by_a_reload() {
    let vendor = Vendor::start(None);
    let store = folder("token-store-stays").join("kept");
    let tokens = |more: &str| {
        format!(
            "{{ personal: [sk-test-login-1{more}], store: '{}', refresh: {{ url: '{}/token' }} }}",
            store.display(),
            vendor.url
        )
    };
    let world = World::at("stays", vendor.url.clone(), &tokens(""));
    assert!(world.send(false).starts_with("HTTP/1.1 200"));
    world.rewrite(&tokens(", sk-test-personal-2"));
    world.proxy.process.log_until("configuration reloaded");
    assert_eq!(status(&world)["refreshes"], 1);
    assert_eq!(vendor.refreshes().len(), 1);
}
