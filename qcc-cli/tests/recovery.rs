//! Checks and the queue, as people operate them: a proxy over simulated upstreams on loopback.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStderr, Command, Stdio};

use assert_cmd::cargo::cargo_bin;
use serde_json::Value;

fn qcc(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("qcc"));
    command.env_clear().args(args);
    command
}

/// Ends the process whatever becomes of the test.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Simulated upstreams, and a proxy in front of them.
struct World {
    simulator: SocketAddr,
    proxy: SocketAddr,
    admin: String,
    log: BufReader<ChildStderr>,
    _running: [Running; 2],
}

impl World {
    /// `cluster` are the settings of the cluster, `first` those of the file.
    fn start(name: &str, first: &str, cluster: &str, behaviours: &[(&str, &str)]) -> Self {
        let mut args = vec!["simulate".to_owned(), "--port".to_owned(), "0".to_owned()];
        for (endpoint, behaviour) in behaviours {
            args.extend(["--endpoint".to_owned(), format!("{endpoint}={behaviour}")]);
        }
        let args: Vec<_> = args.iter().map(String::as_str).collect();
        let mut simulator = qcc(&args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        let mut stdout = BufReader::new(simulator.stdout.take().unwrap());
        stdout.read_line(&mut line).unwrap();
        let address: SocketAddr = line
            .trim()
            .strip_prefix("listening on http://")
            .unwrap()
            .parse()
            .unwrap();

        let mut text = format!(
            "{first}\nstore: {{ enabled: false }}\nclusters:\n  c:\n    kind: anthropic\n{cluster}\n    endpoints:\n"
        );
        for (number, (endpoint, _)) in behaviours.iter().enumerate() {
            text += &format!(
                "      - {{ name: {endpoint}, base_url: 'http://{address}/{endpoint}', \
                 api_key: sk-test-000{number}, priority: {number} }}\n"
            );
        }
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.yaml"));
        fs::write(&path, text).unwrap();
        let args = [
            "serve",
            "--json",
            "--port",
            "0",
            "--admin-port",
            "0",
            "--config",
        ];
        let mut proxy = qcc(&args)
            .arg(&path)
            .env("HOME", "/nope")
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut started = String::new();
        for line in BufReader::new(proxy.stdout.take().unwrap()).lines() {
            let line = line.unwrap();
            started.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let started: Value = serde_json::from_str(&started).unwrap();
        Self {
            simulator: address,
            proxy: started["listen"].as_str().unwrap().parse().unwrap(),
            admin: format!("http://{}", started["admin"].as_str().unwrap()),
            log: BufReader::new(proxy.stderr.take().unwrap()),
            _running: [Running(simulator), Running(proxy)],
        }
    }

    /// Reads the log up to a line that holds `text`.
    fn log_until(&mut self, text: &str) -> String {
        let mut log = String::new();
        loop {
            let before = log.len();
            assert_ne!(self.log.read_line(&mut log).unwrap(), 0, "{text} in {log}");
            if log[before..].contains(text) {
                return log;
            }
        }
    }

    /// Lets a simulated endpoint do something else.
    fn set(&self, endpoint: &str, behaviour: &str) {
        post(self.simulator, &format!("/_simulate/{endpoint}"), behaviour);
    }

    /// Sends a request of a client, and tells the id that it has.
    fn send(&self) -> String {
        let body = r#"{"model":"m","max_tokens":9,"messages":[]}"#;
        let answer = post(self.proxy, "/v1/messages", body);
        let mut lines = answer.lines();
        let id = lines.find_map(|line| line.strip_prefix("x-qcc-request-id: "));
        id.unwrap_or_else(|| panic!("{answer}")).to_owned()
    }

    /// Runs a command on the proxy.
    fn run(&self, args: &[&str]) -> (i32, String) {
        let output = qcc(args).args(["--admin", &self.admin]).output().unwrap();
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!stderr.contains("panicked"), "{stderr}");
        assert!(
            stdout.lines().all(|line| line.chars().count() <= 100),
            "{stdout}"
        );
        (output.status.code().unwrap(), stdout + &stderr)
    }

    /// The line about `endpoint` in what a command prints.
    fn line(&self, args: &[&str], endpoint: &str) -> String {
        let (_, text) = self.run(args);
        let line = text
            .lines()
            .find(|line| line.contains(&format!("c/{endpoint}")));
        line.unwrap_or_else(|| panic!("{endpoint} in {text}"))
            .to_owned()
    }
}

/// Posts `body`, and gives the answer, which has to be a good one.
fn post(to: SocketAddr, path: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(to).unwrap();
    let length = body.len();
    let request = format!(
        "POST {path} HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
         content-length: {length}\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    answer
}

const THREE: [(&str, &str); 3] = [
    ("well", "echo"),
    ("plausible", "ok"),
    ("refused", "status:401"),
];

// UPS-18, UPS-21, REC-01, PRB-11, CLI-03
#[test]
fn a_verifying_warm_up_finds_out_who_works_and_a_401_counts_as_one_of_traffic() {
    let mut world = World::start("verify", "warm_up: verify", "", &THREE);
    let log = world.log_until("warm-up: 1/3");
    assert!(log.contains("recognised as invalid endpoint"), "{log}");
    assert!(log.contains("enabled => disabled (auth_failed)"), "{log}");

    let (code, page) = world.run(&["cluster", "status"]);
    assert_eq!(code, 0, "{page}");
    assert!(page.contains("1 of 3 endpoints can be used"), "{page}");
    for text in [
        "in the queue, invalid response (no code): checked next at",
        "in the queue, HTTP 401: checked next at",
        "no code in the answer",
    ] {
        assert!(page.contains(text), "{text} in {page}");
    }
}

// CLI-11, CLI-12, CLI-20, PRB-16, REC-12
#[test]
fn endpoints_are_checked_by_hand_and_come_back_with_the_queue() {
    let world = World::start("by-hand", "warm_up: off", "", &THREE);
    // Alone, the one that works.
    let (code, page) = world.run(&["probe", "well"]);
    assert_eq!(code, 0, "{page}");
    let (code, page) = world.run(&["queue", "status"]);
    assert_eq!(code, 0, "{page}");
    assert!(page.starts_with("The queue is empty."), "{page}");
    let (code, page) = world.run(&["queue", "retry"]);
    assert_eq!(
        (code, &*page),
        (0, "The queue is empty; nothing was checked.\n")
    );

    // All of them.
    let (code, page) = world.run(&["probe", "--all"]);
    assert_eq!(code, 1, "{page}");
    for (endpoint, verdict, queued) in [
        ("well", " valid", "no"),
        ("plausible", "invalid", "yes"),
        ("refused", "auth_failed", "yes"),
    ] {
        let line = page.lines().find(|line| line.contains(endpoint)).unwrap();
        assert!(line.contains(verdict) && line.contains(queued), "{page}");
    }
    let (code, data) = world.run(&["probe", "plausible", "--json"]);
    assert_eq!(code, 1, "{data}");
    let data: Value = serde_json::from_str(&data).unwrap();
    let check = &data["endpoints"][0]["check"];
    for field in [
        "id",
        "time",
        "message",
        "verification_code",
        "latency_ms",
        "score",
    ] {
        assert!(!check[field].is_null(), "{field}: {check}");
    }
    assert_eq!(
        (&check["result"], &check["valid"]),
        (&"answered".into(), &false.into())
    );
    assert_eq!(check["error"], "no code in the answer");
    assert!(!check["content"].as_str().unwrap().is_empty());

    let queue = ["queue", "status"];
    assert!(
        world
            .line(&queue, "plausible")
            .contains("invalid response (no code)")
    );
    assert!(world.line(&queue, "refused").contains("HTTP 401"));

    // One is mended.
    world.set("plausible", "echo");
    let (code, page) = world.run(&["queue", "retry"]);
    assert_eq!(code, 1, "one is still refused: {page}");
    let line = world.line(&["endpoint", "list"], "plausible");
    assert!(
        line.contains("healthy") && !line.contains("unhealthy"),
        "{line}"
    );
    // The other one, too.
    world.set("refused", "echo");
    let (code, page) = world.run(&["queue", "retry", "refused"]);
    assert_eq!(code, 0, "{page}");
    let (_, page) = world.run(&queue);
    assert!(page.starts_with("The queue is empty."), "{page}");
    assert!(page.contains("2 entered and 2 came back"), "{page}");

    let (code, page) = world.run(&["probe", "nobody"]);
    assert_eq!(code, 6, "{page}");
    assert!(page.contains("c/well"), "{page}");
}

// PRB-22, PRB-23, PRB-13
#[test]
fn the_settings_of_checks_are_those_of_the_file() {
    let settings = "    recovery: { enabled: false, daily: 2 }\n    \
                    probe: { timeout: 50ms, model: mine, language: en, length: 8 }";
    let behaviours = [("silent", "hang"), ("well", "echo")];
    let world = World::start("settings", "warm_up: off", settings, &behaviours);
    let (code, page) = world.run(&["probe", "silent"]);
    assert_eq!(code, 1, "{page}");
    assert!(page.contains("timeout"), "{page}");
    let (_, data) = world.run(&["probe", "well", "--json"]);
    let data: Value = serde_json::from_str(&data).unwrap();
    let check = &data["endpoints"][0]["check"];
    let code = check["verification_code"].as_str().unwrap();
    assert_eq!(code.len(), 8);
    assert_eq!(check["message"], format!("Reply with this code: {code}"));
    // The budget of the day.
    assert_eq!(world.run(&["probe", "well"]).0, 0);
    let (code, page) = world.run(&["probe", "well"]);
    assert_eq!(code, 1, "{page}");
    assert!(page.contains("not checked"), "{page}");
}

// XPL-02, REC-04, SEL-17
#[test]
fn the_story_of_a_request_tells_who_waits_in_the_queue() {
    let behaviours = [("plausible", "ok"), ("well", "echo")];
    let world = World::start("story", "warm_up: off", "", &behaviours);
    let (_, before) = world.run(&["explain", &world.send()]);
    assert!(!before.contains("queue"), "{before}");
    assert_eq!(world.run(&["probe", "plausible"]).0, 1);
    let (code, story) = world.run(&["explain", &world.send()]);
    assert_eq!(code, 0, "{story}");
    assert!(story.contains("plausible"), "{story}");
    assert!(story.contains("it waits in the recovery queue"), "{story}");
    assert!(story.contains("well"), "{story}");
}
