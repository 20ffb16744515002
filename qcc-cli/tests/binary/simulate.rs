//! `qcc simulate` as people and scripts run it.

use std::net::TcpListener;

use crate::client;
use crate::process::run;
use crate::simulator::Simulator;

// SIM-01
#[test]
fn a_simulator_says_where_it_listens_answers_and_stops_on_a_signal() {
    let mut simulator = Simulator::start(&[("a", "status:503;retry-after=3")]);
    let answer = client::post(simulator.address, "/a/v1/messages", "{}");
    assert!(answer.starts_with("HTTP/1.1 503"), "{answer}");
    assert!(answer.contains("retry-after: 3"), "{answer}");
    assert_eq!(simulator.process.terminate().0, Some(0));
}

// OPS-01
#[test]
fn a_port_in_use_ends_it_with_exit_code_4() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    let (code, _, stderr) = run(&["simulate", "--port", &port], &[]);
    assert_eq!(code, 4, "{stderr}");
    assert!(stderr.contains(&format!("lsof -i:{port}")), "{stderr}");
}

// SIM-01
#[test]
fn all_behaviours_are_listed_a_line_each() {
    let (_, text, _) = run(&["simulate", "--list"], &[]);
    for name in ["ok", "refuse", "not-http", "cut:3", "close-idle", "keys:"] {
        let listed = text.lines().filter(|line| line.starts_with(name)).count();
        assert!(listed > 0, "{name} in {text}");
    }
    assert!(
        text.lines().all(|line| line.chars().count() <= 100),
        "{text}"
    );
}
