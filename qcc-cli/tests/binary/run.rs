//! `qcc run`: a command that finds a proxy in its environment.

use std::net::TcpStream;

use crate::folder::config;
use crate::process::{KEY, Qcc, qcc, run};

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
    let path = config("run-keys", text);
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
    let script = "trap 'exit 9' TERM; echo ready; while :; do sleep 0.1; done";
    let mut command = qcc(&["run", "--", "/bin/sh", "-c", script]);
    command.envs([("HOME", "/nope"), KEY, ("PATH", "/usr/bin:/bin")]);
    let mut running = Qcc::start(&mut command);
    assert_eq!(running.first, "ready");
    let (code, log) = running.terminate();
    assert_eq!(code, Some(9), "{log}");
}
