//! The binary as people run it.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use assert_cmd::cargo::cargo_bin;

/// A file of its own for the test `name`.
fn file(name: &str, text: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.yaml"));
    fs::write(&path, text).unwrap();
    path
}

/// The binary, with nothing of the environment of this test.
fn qcc(args: &[&str]) -> Command {
    let mut command = Command::new(cargo_bin("qcc"));
    command.env_clear().args(args);
    command
}

fn run(args: &[&str], variables: &[(&str, &str)]) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = qcc(args).envs(variables.iter().copied()).output().unwrap();
    let stdout = String::from_utf8(stdout).unwrap();
    let stderr = String::from_utf8(stderr).unwrap();
    assert!(!stderr.contains("panicked"), "{stderr}");
    (status.code().unwrap(), stdout, stderr)
}

/// A home directory of its own, where a store may be made.
fn own_home() -> String {
    static MADE: AtomicUsize = AtomicUsize::new(0);
    let number = MADE.fetch_add(1, Ordering::Relaxed);
    let name = format!("home-{}-{number}", std::process::id());
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let _ = fs::remove_dir_all(&home);
    home.to_str().unwrap().to_owned()
}

const KEY: (&str, &str) = ("ANTHROPIC_API_KEY", "sk-test-0001-abcd");

const GOOD: &str = "\
clusters:
  claude:
    kind: anthropic
    endpoints:
      - { name: official, base_url: https://api.anthropic.com, api_key: \"${ANTHROPIC_API_KEY}\" }
      - { name: again, base_url: https://api.anthropic.com, api_key: \"${ANTHROPIC_API_KEY}\" }
      - { name: relay, base_url: https://relay.example/api, api_key: sk-test-0002-efgh }
";

// CFG-01, CLI-06
#[test]
fn a_wrong_file_is_reported_with_its_lines_and_exit_code_3() {
    let path = file("wrong", "listen: here\nclustrs: {}\n");
    let path = path.to_str().unwrap();
    for command in [&["config", "check"][..], &["config", "show"], &["serve"]] {
        let mut args = command.to_vec();
        args.extend(["--config", path]);
        let (code, stdout, stderr) = run(&args, &[]);
        assert_eq!(code, 3, "{stderr}");
        assert_eq!(stdout, "");
        assert!(
            stderr.contains(&format!("{path}:1:9: listen: ")),
            "{stderr}"
        );
        assert!(
            stderr.contains(&format!("{path}:2:1: clustrs: ")),
            "{stderr}"
        );
        assert!(stderr.contains("did you mean `clusters`?"), "{stderr}");
        assert!(
            !stderr.contains('\u{1b}'),
            "colour without a terminal: {stderr}"
        );
    }
    let (code, stdout, _) = run(&["config", "check", "--json", "--config", path], &[]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!((code, &report["valid"]), (3, &false.into()));
    assert_eq!(report["problems"][0]["line"], 1);
}

// CFG-01
#[test]
fn a_missing_file_is_an_error_that_names_it() {
    let (code, _, stderr) = run(
        &["config", "show"],
        &[("QCC_CONFIG", "/nope/qcc.yaml"), KEY],
    );
    assert_eq!(code, 3);
    assert!(
        stderr.contains("/nope/qcc.yaml: there is no such file"),
        "{stderr}"
    );
}

// CFG-02
#[test]
fn an_undefined_variable_is_named() {
    let path = file("undefined", GOOD);
    let (code, _, stderr) = run(
        &["config", "check", "--config", path.to_str().unwrap()],
        &[],
    );
    assert_eq!(code, 3);
    assert!(
        stderr.contains("clusters.claude.endpoints[0].api_key"),
        "{stderr}"
    );
    assert!(stderr.contains("ANTHROPIC_API_KEY is not set"), "{stderr}");
    assert!(!stderr.contains("sk-test"), "{stderr}");
}

// CLI-06, SEL-02, SEC-01
#[test]
fn check_lists_endpoints_and_duplicates_and_shows_no_key() {
    let path = file("duplicates", GOOD);
    let args = ["config", "check", "--config", path.to_str().unwrap()];
    let (code, stdout, stderr) = run(&args, &[KEY]);
    assert_eq!(code, 0, "{stderr}");
    assert!(
        stdout.contains("claude/again is the same endpoint as claude/official"),
        "{stdout}"
    );
    assert!(
        stdout.contains("****efgh") && !stdout.contains("sk-test"),
        "{stdout}"
    );
    assert!(
        stdout.lines().all(|line| line.chars().count() <= 100),
        "{stdout}"
    );

    let (code, stdout, _) = run(&[&args[..], &["--json"]].concat(), &[KEY]);
    let report: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(code, 0);
    assert_eq!(report["duplicates"][0]["again"], "claude/again");
    assert_eq!(report["endpoints"].as_array().unwrap().len(), 2);
}

// CLI-06, SEC-01
#[test]
fn show_prints_the_effective_configuration_with_masked_keys() {
    let path = file("show", GOOD);
    let args = ["config", "show", "--config", path.to_str().unwrap()];
    let (code, stdout, stderr) = run(&args, &[KEY]);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("listen: 127.0.0.1:7860"), "{stdout}");
    assert!(
        stdout.contains("****abcd") && !stdout.contains("sk-test"),
        "{stdout}"
    );
    let (_, stdout, _) = run(&[&args[..], &["--json"]].concat(), &[KEY]);
    let shown: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(
        shown["clusters"]["claude"]["endpoints"][1]["api_key"],
        "****efgh"
    );
}

#[test]
fn without_a_file_the_environment_is_used_and_it_says_so() {
    let (code, stdout, _) = run(&["config", "check"], &[("HOME", "/nope"), KEY]);
    assert_eq!(code, 0);
    assert!(
        stdout.contains("no file; made from ANTHROPIC_API_KEY"),
        "{stdout}"
    );
    let (code, _, stderr) = run(&["serve"], &[("HOME", "/nope")]);
    assert_eq!(code, 3);
    assert!(stderr.contains("set ANTHROPIC_API_KEY"), "{stderr}");
}

// SEC-05
#[test]
fn serving_other_machines_without_client_keys_is_refused() {
    let path = file("open", &format!("listen: 0.0.0.0:0\n{GOOD}"));
    let (code, _, stderr) = run(&["serve", "--config", path.to_str().unwrap()], &[KEY]);
    assert_eq!(code, 3);
    assert!(stderr.contains("client_keys"), "{stderr}");
}

// OPS-01
#[test]
fn a_port_in_use_is_named_with_a_hint_and_exit_code_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = run(&["serve", "--port", &port], &[("HOME", &own_home()), KEY]);
    assert_eq!(code, 4, "{stderr}");
    for expected in [
        &format!("127.0.0.1:{port}"),
        &format!("lsof -i:{port}"),
        "--port",
    ] {
        assert!(stderr.contains(expected), "{stderr}");
    }
}

// OPS-02
#[test]
fn what_starts_first_fails_first_and_nothing_after_it_begins() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let wrong = file("order", "listen: here\n");
    // Everything is wrong: the configuration is told.
    let args = ["serve", "--port", &port, "--log", "a=loud"];
    let (code, _, stderr) = run(
        &[&args[..], &["--config", wrong.to_str().unwrap()]].concat(),
        &[],
    );
    assert_eq!(code, 3, "{stderr}");
    // Logs and port are wrong: the logs are told.
    let (code, _, stderr) = run(&args, &[("HOME", "/nope"), KEY]);
    assert_eq!(code, 2, "{stderr}");
    // Only the port is wrong: logs run, nothing was announced.
    let (code, stdout, stderr) = run(&args[..3], &[("HOME", &own_home()), KEY]);
    assert_eq!((code, stdout.as_str()), (4, ""), "{stderr}");
}

#[test]
fn a_wrong_command_line_has_exit_code_2() {
    assert_eq!(run(&["serve", "--port", "x"], &[]).0, 2);
    let (code, _, stderr) = run(&["serve", "--log", "a=loud"], &[("HOME", "/nope"), KEY]);
    assert_eq!(code, 2, "{stderr}");
    let (code, stdout, _) = run(&["--help"], &[]);
    assert_eq!(code, 0);
    assert!(stdout.contains("Exit codes:"), "{stdout}");
}

/// An empty home directory for the test `name`.
fn home(name: &str) -> PathBuf {
    let home = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("home-{name}"));
    let _ = fs::remove_dir_all(&home);
    fs::create_dir_all(&home).unwrap();
    home
}

// SEC-06
#[test]
fn from_nothing_but_a_key_init_makes_a_configuration_that_serves() {
    let home = home("init");
    let variables = [("HOME", home.to_str().unwrap()), KEY];
    let (code, stdout, stderr) = run(&["init"], &variables);
    assert_eq!((code, stderr.as_str()), (0, ""));
    assert!(stdout.contains("ANTHROPIC_API_KEY"), "{stdout}");
    let file = home.join(".qcc/config.yaml");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("${ANTHROPIC_API_KEY}"), "{text}");
    assert!(!format!("{text}{stdout}").contains("sk-test"), "{text}");
    assert_eq!(mode(&file), 0o600);
    assert_eq!(mode(file.parent().unwrap()), 0o700);

    let (code, stdout, stderr) = run(&["config", "check"], &variables);
    assert_eq!(code, 0, "{stderr}");
    assert!(stdout.contains("official"), "{stdout}");
    // No test connects to a vendor.
    fs::write(&file, text.replace("#warm_up: connect", "warm_up: off")).unwrap();
    let proxy = Proxy::start_with(&["--port", "0", "--config", file.to_str().unwrap()]);
    assert_eq!(proxy.started["source"], file.to_str().unwrap());
    assert_eq!(proxy.terminate().0, Some(0));
}

// SEC-06
#[test]
fn init_leaves_a_file_that_is_there_unless_it_is_forced() {
    let path = file("init-there", "# mine\n");
    let config = path.to_str().unwrap();
    let (code, stdout, stderr) = run(&["init", "--config", config], &[KEY]);
    assert_eq!((code, stdout.as_str()), (1, ""));
    assert!(stderr.contains("is there already"), "{stderr}");
    assert!(stderr.contains("--force"), "{stderr}");
    assert_eq!(fs::read_to_string(&path).unwrap(), "# mine\n");

    open_to_all(&path);
    let args = ["init", "--force", "--json", "--config", config];
    let (code, stdout, stderr) = run(&args, &[]);
    assert_eq!(code, 0, "{stderr}");
    let written: serde_json::Value = serde_json::from_str(&stdout).unwrap();
    assert_eq!(written["file"], config);
    assert_eq!(written["ready"], false);
    assert_eq!(written["clusters"][0]["variable"], "ANTHROPIC_API_KEY");
    assert_eq!(mode(&path), 0o600);
    // Without a key a check says which one it is about, and with it all is well.
    let check = ["config", "check", "--config", config];
    let (code, _, stderr) = run(&check, &[]);
    assert_eq!(code, 3);
    assert!(stderr.contains("ANTHROPIC_API_KEY is not set"), "{stderr}");
    assert_eq!(run(&check, &[KEY]).0, 0);
}

#[test]
fn init_that_cannot_write_says_so() {
    let (code, _, stderr) = run(&["init", "--config", "/dev/null/qcc.yaml"], &[KEY]);
    assert_eq!(code, 1);
    assert!(stderr.contains("cannot be written"), "{stderr}");
    let (code, _, stderr) = run(&["init"], &[KEY]);
    assert_eq!(code, 1);
    assert!(stderr.contains("no home directory"), "{stderr}");
}

fn mode(path: &Path) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_to_all(path: &Path) {
    use std::os::unix::fs::PermissionsExt as _;
    fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
}

#[test]
fn completions_and_manual_page_are_printed_and_a_closed_pipe_is_no_error() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, stdout, stderr) = run(&["completions", shell], &[]);
        assert_eq!((code, stderr.as_str()), (0, ""));
        for word in ["explain", "admin-port", "simulate"] {
            assert!(stdout.contains(word), "{shell}: {stdout}");
        }
    }
    let (code, stdout, _) = run(&["man"], &[]);
    assert_eq!(code, 0);
    assert!(stdout.contains(".TH qcc"), "{stdout}");
    assert!(stdout.contains("the configuration is wrong"), "{stdout}");

    let mut child = qcc(&["completions", "zsh"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert!(
        output.status.success() && output.stderr.is_empty(),
        "{output:?}"
    );
}

/// A proxy that runs.
struct Proxy {
    child: Child,
    address: SocketAddr,
    started: serde_json::Value,
}

impl Proxy {
    /// One that connects to nobody by itself.
    fn start(port: &str) -> Self {
        let text = "warm_up: off\nclusters: { c: { kind: anthropic, endpoints: [{ base_url: \
                    'http://127.0.0.1:9', api_key: sk-test-0001 }] } }\n";
        // Each has a file of its own: a proxy reads it again when somebody writes it.
        static STARTED: AtomicUsize = AtomicUsize::new(0);
        let number = STARTED.fetch_add(1, Ordering::Relaxed);
        let path = file(&format!("started-{number}"), text);
        Self::start_with(&["--port", port, "--config", path.to_str().unwrap()])
    }

    fn start_with(args: &[&str]) -> Self {
        let mut child = qcc(&["serve", "--json", "--admin-port", "0"])
            .args(args)
            .envs([("HOME", &*own_home()), KEY])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        let mut text = String::new();
        for line in stdout.lines() {
            let line = line.unwrap();
            text.push_str(&line);
            if line == "}" {
                break;
            }
        }
        let started: serde_json::Value = serde_json::from_str(&text).unwrap();
        let address = started["listen"].as_str().unwrap().parse().unwrap();
        Self {
            child,
            address,
            started,
        }
    }

    fn send(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(self.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Reads its log up to a line that holds `text`.
    fn log_until(&mut self, text: &str) -> String {
        let stderr = self.child.stderr.as_mut().unwrap();
        let mut log = Vec::new();
        let mut byte = [0];
        while !String::from_utf8_lossy(&log)
            .lines()
            .any(|line| line.contains(text) && log.ends_with(b"\n"))
        {
            assert_eq!(stderr.read(&mut byte).unwrap(), 1, "it ended before {text}");
            log.push(byte[0]);
        }
        String::from_utf8(log).unwrap()
    }

    /// Asks it to stop, and waits.
    fn terminate(mut self) -> (Option<i32>, String) {
        self.signal("-TERM");
        let mut log = String::new();
        self.child
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut log)
            .unwrap();
        (self.child.wait().unwrap().code(), log)
    }
}

// CLI-01, OPS-06, UPS-05
#[test]
fn it_serves_until_it_is_asked_to_stop() {
    let proxy = Proxy::start("0");
    assert_ne!(proxy.address.port(), 0);
    let value = format!("http://{}", proxy.address);
    assert_eq!(
        proxy.started["environment"][0]["name"],
        "ANTHROPIC_BASE_URL"
    );
    assert_eq!(proxy.started["environment"][0]["value"], value.as_str());

    let answer = proxy.send("GET /nope HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
    assert!(answer.contains("unknown_route"), "{answer}");

    // A connection that idles does not keep it from stopping.
    let _idle = TcpStream::connect(proxy.address).unwrap();
    let (code, log) = proxy.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(
        log.contains("connection reuse enabled: up to 20 idle connections"),
        "{log}"
    );
    assert!(log.contains("stopped"), "{log}");
    assert!(
        !log.contains("sk-test") && !log.contains("panicked"),
        "{log}"
    );
}

// OPS-06
#[test]
fn after_a_kill_it_starts_again_on_the_same_port() {
    let mut first = Proxy::start("0");
    let port = first.address.port().to_string();
    // An open connection leaves the port in a state in which it must be taken all the same.
    let _open = TcpStream::connect(first.address).unwrap();
    first.child.kill().unwrap();
    first.child.wait().unwrap();
    let second = Proxy::start(&port);
    assert_eq!(second.address.port().to_string(), port);
    assert_eq!(second.terminate().0, Some(0));
}

// CFG-07, CFG-08, CFG-09, CFG-10, CLI-19
#[test]
fn a_changed_file_is_in_force_without_a_restart_and_a_broken_one_is_not() {
    let text = |weight: &str| {
        format!(
            "clusters: {{ c: {{ endpoints: [{{ name: a, base_url: 'http://127.0.0.1:9', \
             api_key: sk-test-0001, weight: {weight} }}] }} }}\n"
        )
    };
    let path = file("reloaded", &text("1"));
    let config = path.to_str().unwrap();
    let mut proxy = Proxy::start_with(&["--port", "0", "--config", config]);
    let admin = format!("http://{}", proxy.started["admin"].as_str().unwrap());
    let refresh = || run(&["refresh", "--admin", &admin], &[("HOME", "/nope")]);

    // An editor writes beside it and renames.
    let beside = file("reloaded-new", &text("2"));
    fs::rename(beside, &path).unwrap();
    let log = proxy.log_until("configuration reloaded");
    assert!(
        log.contains("clusters.c.endpoints.a.weight: 1 => 2"),
        "{log}"
    );
    assert!(log.contains("the file changed"), "{log}");

    fs::write(&path, text("many")).unwrap();
    let log = proxy.log_until("configuration not reloaded");
    assert!(log.contains("reloaded.yaml:1:"), "{log}");
    let (code, _, stderr) = refresh();
    assert_eq!(code, 3, "{stderr}");
    assert!(stderr.contains("weight"), "{stderr}");

    fs::write(&path, text("3")).unwrap();
    proxy.log_until("configuration reloaded");
    proxy.signal("-HUP");
    proxy.log_until("SIGHUP");
    let (code, stdout, _) = refresh();
    assert_eq!(
        (code, &*stdout),
        (
            0,
            "The configuration was read again; nothing in it changed.\n"
        )
    );
    let (code, log) = proxy.terminate();
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("sk-test"), "{log}");
}

// CFG-07
#[cfg(unix)]
#[test]
fn a_configuration_behind_a_link_is_followed_to_where_the_link_leads() {
    let text = |weight: u32| {
        format!(
            "store: {{ enabled: false }}\nwarm_up: off\nclusters: {{ c: {{ endpoints: [{{ \
             name: a, base_url: 'http://127.0.0.1:9', api_key: sk-test-0001, \
             weight: {weight} }}] }} }}\n"
        )
    };
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("linked");
    let _ = fs::remove_dir_all(&folder);
    let [first, second] = ["first", "second"].map(|name| folder.join(name).join("qcc.yaml"));
    for target in [&first, &second] {
        fs::create_dir_all(target.parent().unwrap()).unwrap();
    }
    fs::write(&first, text(1)).unwrap();
    let (link, next) = (folder.join("qcc.yaml"), folder.join("next"));
    std::os::unix::fs::symlink(&first, &link).unwrap();
    let mut proxy = Proxy::start_with(&["--port", "0", "--config", link.to_str().unwrap()]);

    fs::write(&first, text(2)).unwrap();
    proxy.log_until("weight: 1 => 2");
    fs::write(&second, text(3)).unwrap();
    std::os::unix::fs::symlink(&second, &next).unwrap();
    fs::rename(&next, &link).unwrap();
    proxy.log_until("weight: 2 => 3");
    fs::write(&second, text(4)).unwrap();
    proxy.log_until("weight: 3 => 4");
    assert_eq!(proxy.terminate().0, Some(0));
    fs::remove_dir_all(folder).unwrap();
}

// UPS-18, UPS-19, UPS-21
#[test]
fn at_the_start_every_enabled_endpoint_is_connected_to_and_nobody_waits_for_it() {
    let there = TcpListener::bind("127.0.0.1:0").unwrap();
    let disabled = TcpListener::bind("127.0.0.1:0").unwrap();
    disabled.set_nonblocking(true).unwrap();
    let gone = {
        let closed = TcpListener::bind("127.0.0.1:0").unwrap();
        closed.local_addr().unwrap()
    };
    let (to, off) = (there.local_addr().unwrap(), disabled.local_addr().unwrap());
    let text = format!(
        "clusters:\n  c:\n    endpoints:\n      \
         - {{ name: there, base_url: 'http://{to}/api', api_key: sk-test-0001 }}\n      \
         - {{ name: gone, base_url: 'http://{gone}', api_key: sk-test-0002 }}\n      \
         - {{ name: off, base_url: 'http://{off}', api_key: sk-test-0003, enabled: false }}\n"
    );
    let path = file("warm", &text);
    let mut proxy = Proxy::start_with(&["--port", "0", "--config", path.to_str().unwrap()]);
    // It serves before anybody has answered.
    let answer = proxy.send("GET /nope HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");

    let (mut stream, _) = there.accept().unwrap();
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") {
        assert_eq!(stream.read(&mut byte).unwrap(), 1);
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HEAD /api HTTP/1.1"), "{head}");
    assert!(!head.contains("sk-test"), "{head}");
    stream
        .write_all(b"HTTP/1.1 405 Method Not Allowed\r\ncontent-length: 0\r\n\r\n")
        .unwrap();
    let log = proxy.log_until("warm-up: 1/2");
    assert!(
        log.contains("warm-up: no connection") && log.contains("gone"),
        "{log}"
    );
    assert!(
        disabled.accept().is_err(),
        "a disabled endpoint is not touched"
    );
    assert_eq!(proxy.terminate().0, Some(0));
}

/// Runs `script` in a shell under `qcc run`, with the keys of the environment there.
fn run_script(script: &str) -> (i32, String, String) {
    run(
        &["run", "--", "/bin/sh", "-c", script],
        &[("HOME", "/nope"), KEY],
    )
}

// SIM-04
#[test]
fn a_command_finds_a_proxy_in_its_environment_and_no_key() {
    let (code, stdout, stderr) = run_script(
        "echo $ANTHROPIC_BASE_URL; echo $OPENAI_BASE_URL; echo $GOOGLE_GEMINI_BASE_URL; \
         echo $ANTHROPIC_AUTH_TOKEN; echo ${ANTHROPIC_API_KEY-unset}; exit 7",
    );
    assert_eq!((code, &*stderr), (7, ""), "{stdout}");
    let lines: Vec<_> = stdout.lines().collect();
    let [anthropic, openai, gemini, token, hidden] = lines[..] else {
        panic!("{stdout}")
    };
    let address = anthropic.strip_prefix("http://127.0.0.1:").unwrap();
    assert_ne!(address, "7860");
    assert_eq!(openai, format!("{anthropic}/v1"));
    assert_eq!(gemini, anthropic);
    assert!(token.starts_with("qcc-run-") && token.len() > 30, "{token}");
    assert_eq!(hidden, "unset");
    assert!(!stdout.contains("sk-test"), "{stdout}");
    // Nothing is left behind.
    let port: u16 = address.parse().unwrap();
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

// SIM-04, SEC-01
#[test]
fn a_key_stays_with_the_proxy_whatever_its_variable_is_called() {
    let text = "warm_up: off\nadmin: { token: '${MY_TOKEN}' }\nclusters: { c: { endpoints: \
                [{ base_url: 'http://127.0.0.1:9', api_key: '${CLAUDE_KEY_1}' }] } }\n";
    let path = file("run-keys", text);
    let args = [
        "run",
        "--config",
        path.to_str().unwrap(),
        "--",
        "/usr/bin/env",
    ];
    let variables = [
        ("HOME", "/nope"),
        ("CLAUDE_KEY_1", "sk-test-0001"),
        ("MY_TOKEN", "admin-test-0001"),
        ("QCC_ADMIN_TOKEN", "admin-test-0002"),
        ("NO_PROXY", "example.com"),
        ("OTHER", "stays"),
    ];
    let (code, stdout, stderr) = run(&args, &variables);
    assert_eq!(code, 0, "{stderr}");
    for hidden in ["CLAUDE_KEY_1", "MY_TOKEN", "QCC_ADMIN_TOKEN", "-test-"] {
        assert!(!stdout.contains(hidden), "{hidden}: {stdout}");
    }
    assert!(stdout.contains("OTHER=stays"), "{stdout}");
    assert!(
        stdout.contains("NO_PROXY=example.com,127.0.0.1"),
        "{stdout}"
    );
}

// SIM-04
#[test]
fn the_end_of_a_command_is_told_as_shells_do() {
    assert_eq!(run_script("exit 0").0, 0);
    assert_eq!(run_script("kill -9 $$").0, 137);
    let (code, _, stderr) = run(
        &["run", "--", "/no/such/command"],
        &[("HOME", "/nope"), KEY],
    );
    assert_eq!(code, 127);
    assert!(stderr.contains("there is no such command"), "{stderr}");
    let args = ["run", "--cluster", "nobody", "--", "true"];
    let (code, _, stderr) = run(&args, &[("HOME", "/nope"), KEY]);
    assert_eq!(code, 6);
    assert!(stderr.contains("known are claude"), "{stderr}");
}

// SIM-04
#[test]
fn a_signal_goes_on_to_the_command() {
    let mut child = qcc(&["run", "--", "/bin/sh", "-c"])
        .arg("trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done")
        .envs([("HOME", "/nope"), KEY, ("PATH", "/usr/bin:/bin")])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut ready = String::new();
    BufReader::new(child.stdout.as_mut().unwrap())
        .read_line(&mut ready)
        .unwrap();
    let pid = child.id().to_string();
    let sent = Command::new("kill").args(["-TERM", &pid]).status().unwrap();
    assert!(sent.success());
    assert_eq!(child.wait().unwrap().code(), Some(9));
}
