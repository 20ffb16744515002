//! A proxy that serves.

use std::net::SocketAddr;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::process::{Qcc, qcc, run};

/// Serves this configuration on a port, at home in its folder.
pub(crate) fn serve(config: &Path, port: u16) -> Command {
    let mut command = qcc(&["serve", "--json", "--admin-port", "0"]);
    command
        .args(["--port", &port.to_string()])
        .arg("--config")
        .arg(config)
        .env("HOME", config.parent().unwrap());
    command
}

pub(crate) struct Proxy {
    pub(crate) process: Qcc,
    /// What it told when it started.
    pub(crate) started: Value,
    /// Where clients connect.
    pub(crate) address: SocketAddr,
    pub(crate) admin: SocketAddr,
}

impl Proxy {
    /// Serves this configuration on a port that is free.
    pub(crate) fn new(config: &Path) -> Self {
        Self::start(&mut serve(config, 0))
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let mut process = Qcc::start(command);
        let started: Value = serde_json::from_str(&process.first)
            .unwrap_or_else(|_| panic!("{}", process.terminate().1));
        let address = |key: &str| started[key].as_str().unwrap().parse().unwrap();
        Self {
            address: address("listen"),
            admin: address("admin"),
            process,
            started,
        }
    }

    /// Runs a command against it.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String, String) {
        let admin = format!("http://{}", self.admin);
        run(&[args, &["--admin", &admin]].concat(), &[])
    }

    /// What a command that goes well prints for programs.
    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let (code, stdout, stderr) = self.run(&[args, &["--json"]].concat());
        assert_eq!(code, 0, "{args:?}: {stderr}");
        serde_json::from_str(&stdout).unwrap_or_else(|_| panic!("{args:?}: {stdout}"))
    }
}
