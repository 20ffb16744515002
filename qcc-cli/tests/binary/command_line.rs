//! What people type, what it prints, and how it ends.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Stdio;

use crate::folder::{config, folder};
use crate::process::{KEY, qcc, run};
use crate::proxy::{Proxy, serve};

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
    let path = config("wrong", "listen: here\nclustrs: {}\n");
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
    let path = config("undefined", GOOD);
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
    let path = config("duplicates", GOOD);
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
    let path = config("show", GOOD);
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
    let path = config("open", &format!("listen: 0.0.0.0:0\n{GOOD}"));
    let (code, _, stderr) = run(&["serve", "--config", path.to_str().unwrap()], &[KEY]);
    assert_eq!(code, 3);
    assert!(stderr.contains("client_keys"), "{stderr}");
}

// OPS-01
#[test]
fn a_port_in_use_is_named_with_a_hint_and_exit_code_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let home = folder("taken");
    let variables = [("HOME", home.to_str().unwrap()), KEY];
    let (code, _, stderr) = run(&["serve", "--port", &port], &variables);
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
    let wrong = config("order", "listen: here\n");
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
    let home = wrong.parent().unwrap().to_str().unwrap();
    let (code, stdout, stderr) = run(&args[..3], &[("HOME", home), KEY]);
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

// SEC-06
#[test]
fn from_nothing_but_a_key_init_makes_a_configuration_that_serves() {
    let home = folder("init");
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
    let mut proxy = Proxy::start(serve(&file, 0).envs([KEY]));
    assert_eq!(proxy.started["source"], file.to_str().unwrap());
    assert_eq!(proxy.process.terminate().0, Some(0));
}

// SEC-06
#[test]
fn init_leaves_a_file_that_is_there_unless_it_is_forced() {
    let path = config("init-there", "# mine\n");
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
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn open_to_all(path: &Path) {
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
