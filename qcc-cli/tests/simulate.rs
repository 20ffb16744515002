//! `qcc simulate` as people and scripts run it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, Stdio};

use assert_cmd::cargo::cargo_bin;

/// Ends the process whatever becomes of the test.
struct Simulator {
    child: Child,
    stdout: BufReader<ChildStdout>,
}

impl Simulator {
    fn start(args: &[&str]) -> Self {
        let mut child = Command::new(cargo_bin("qcc"))
            .env_clear()
            .args(["simulate", "--port", "0"])
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        Self { child, stdout }
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

// SIM-01
#[cfg(unix)]
#[test]
fn a_simulator_says_where_it_listens_answers_and_stops_on_a_signal() {
    let mut simulator = Simulator::start(&["--endpoint", "a=status:503;retry-after=3"]);
    let mut first = String::new();
    simulator.stdout.read_line(&mut first).unwrap();
    let address = first.trim().strip_prefix("listening on http://").unwrap();

    let mut client = TcpStream::connect(address).unwrap();
    client
        .write_all(b"POST /a/v1/messages HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}")
        .unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 3"), "{answer}");

    let id = simulator.child.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-TERM", &id])
            .status()
            .unwrap()
            .success()
    );
    assert!(simulator.child.wait().unwrap().success());
}

// OPS-01
#[test]
fn a_port_in_use_ends_it_with_exit_code_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let output = Command::new(cargo_bin("qcc"))
        .env_clear()
        .args(["simulate", "--port", &port])
        .output()
        .unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(4), "{stderr}");
    assert!(stderr.contains(&format!("lsof -i:{port}")), "{stderr}");
    assert!(!stderr.contains("panicked"), "{stderr}");
}

// SIM-01
#[test]
fn all_behaviours_are_listed_a_line_each() {
    let output = Command::new(cargo_bin("qcc"))
        .env_clear()
        .args(["simulate", "--list"])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    for name in ["ok", "refuse", "not-http", "cut:3", "close-idle", "keys:"] {
        let listed = text.lines().filter(|line| line.starts_with(name)).count();
        assert!(listed > 0, "{name} in {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}
