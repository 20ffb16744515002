//! The binary in front of simulated upstreams.

mod handbook;
mod hostile;
mod reload;
mod service;

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use assert_cmd::cargo::cargo_bin;

/// A request of Anthropic's dialect.
const BODY: &str = r#"{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}"#;

const KEY: &str = "sk-test-0001";

/// A process of `qcc` that ends with its test.
struct Qcc(Child);

impl Qcc {
    /// Starts it and reads its first lines: the addresses behind `markers`, in that order.
    fn start<const N: usize>(args: &[&str], markers: [&str; N]) -> (Self, [SocketAddr; N]) {
        let mut child = Command::new(cargo_bin("qcc"))
            .env_clear()
            .env("HOME", "/nope")
            .args(args)
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let addresses = markers.map(|marker| {
            let found = lines.find_map(|line| {
                let line = line.unwrap();
                let (_, rest) = line.split_once(marker)?;
                let end = rest.find(|c: char| !"0123456789.:".contains(c));
                rest[..end.unwrap_or(rest.len())].parse().ok()
            });
            found.unwrap_or_else(|| panic!("no address behind {marker}"))
        });
        (Self(child), addresses)
    }
}

impl Drop for Qcc {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Serves this configuration on a port: where clients connect, and where the admin API is.
fn serve(config: &Path, port: &str) -> (Qcc, [SocketAddr; 2]) {
    let args = ["serve", "--json", "--port", port, "--admin-port", "0"];
    let args = [&args[..], &["--config", config.to_str().unwrap()]].concat();
    Qcc::start(&args, ["\"listen\": \"", "\"admin\": \""])
}

/// A proxy in front of simulated endpoints, best first.
struct World {
    address: SocketAddr,
    admin: SocketAddr,
    config: PathBuf,
    proxy: Qcc,
    _simulator: Qcc,
}

impl World {
    fn new(name: &str, behaviours: &[&str]) -> Self {
        Self::configured(name, behaviours, "")
    }

    /// With these lines in the configuration.
    fn configured(name: &str, behaviours: &[&str], lines: &str) -> Self {
        let endpoints: Vec<_> = behaviours
            .iter()
            .enumerate()
            .map(|(index, behaviour)| format!("e{index}={behaviour}"))
            .collect();
        let mut args = vec!["simulate", "--port", "0"];
        for endpoint in &endpoints {
            args.extend(["--endpoint", endpoint]);
        }
        let (simulator, [upstream]) = Qcc::start(&args, ["listening on http://"]);
        let mut config = lines.to_owned();
        if !lines.contains("store:") {
            config.push_str("store: { enabled: false }\n");
        }
        config.push_str("clusters:\n  c:\n    kind: anthropic\n    endpoints:\n");
        for index in 0..behaviours.len() {
            config.push_str(&format!(
                "      - {{ name: e{index}, base_url: 'http://{upstream}/e{index}', \
                 api_key: {KEY}-{index}, priority: {} }}\n",
                index + 1
            ));
        }
        let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.yaml"));
        fs::write(&path, config).unwrap();
        let (proxy, [address, admin]) = serve(&path, "0");
        Self {
            address,
            admin,
            config: path,
            proxy,
            _simulator: simulator,
        }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).unwrap()
    }

    /// Sends these bytes and reads until the proxy closes the connection.
    fn raw(&self, bytes: &[u8]) -> String {
        let mut stream = self.connect();
        // It may answer and close before everything is written.
        let _ = stream.write_all(bytes);
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer);
        String::from_utf8_lossy(&answer).into_owned()
    }

    /// One request with this body on a connection of its own: the head of its answer.
    fn ask(&self, body: &str) -> String {
        let head = format!(
            "POST /v1/messages HTTP/1.1\r\nhost: h\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let answer = self.raw(&[head.as_bytes(), body.as_bytes()].concat());
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if head.starts_with("HTTP/1.1 200") {
            assert!(rest.contains("\"type\":\"message\""), "{rest}");
        }
        head.to_owned()
    }
}
