//! A proxy in front of simulated endpoints.

use std::fmt::Write as _;
use std::net::TcpStream;
use std::path::PathBuf;

use crate::client;
use crate::folder::config;
use crate::proxy::Proxy;
use crate::simulator::Simulator;

pub(crate) struct World {
    pub(crate) proxy: Proxy,
    pub(crate) config: PathBuf,
    pub(crate) simulator: Simulator,
}

impl World {
    /// The endpoints are `e0`, `e1` and so on, best first.
    pub(crate) fn new(name: &str, behaviours: &[&str]) -> Self {
        Self::configured(name, behaviours, "")
    }

    /// With these lines in the configuration.
    pub(crate) fn configured(name: &str, behaviours: &[&str], lines: &str) -> Self {
        let names: Vec<_> = (0..behaviours.len())
            .map(|number| format!("e{number}"))
            .collect();
        let names = names.iter().map(String::as_str);
        let endpoints: Vec<_> = names.zip(behaviours.iter().copied()).collect();
        Self::with(name, &endpoints, lines, "")
    }

    /// With names of endpoints, and with `settings` of their cluster.
    pub(crate) fn with(
        name: &str,
        endpoints: &[(&str, &str)],
        lines: &str,
        settings: &str,
    ) -> Self {
        let simulator = Simulator::start(endpoints);
        let mut text = lines.to_owned();
        if !lines.contains("store:") {
            text += "store: { enabled: false }\n";
        }
        text += "clusters:\n  c:\n    kind: anthropic\n";
        text += settings;
        text += "    endpoints:\n";
        for (number, (endpoint, _)) in endpoints.iter().enumerate() {
            writeln!(
                text,
                "      - {{ name: {endpoint}, base_url: 'http://{}/{endpoint}', \
                 api_key: sk-test-0001-{number}, priority: {} }}",
                simulator.address,
                number + 1
            )
            .unwrap();
        }
        let config = config(name, &text);
        Self {
            proxy: Proxy::new(&config),
            config,
            simulator,
        }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address).unwrap()
    }

    /// One request with this body on a connection of its own: the head of its answer.
    pub(crate) fn ask(&self, body: &str) -> String {
        let answer = client::post(self.proxy.address, "/v1/messages", body);
        let (head, rest) = answer.split_once("\r\n\r\n").unwrap_or_default();
        if head.starts_with("HTTP/1.1 200") {
            assert!(rest.contains("\"type\":\"message\""), "{rest}");
        }
        head.to_owned()
    }

    /// A request that is answered well: its id.
    pub(crate) fn send(&self) -> String {
        let head = self.ask(client::MESSAGE);
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        let mut lines = head.lines();
        let id = lines.find_map(|line| line.strip_prefix("x-qcc-request-id: "));
        id.unwrap_or_else(|| panic!("{head}")).to_owned()
    }

    /// The exit code of a command, and all that it says.
    pub(crate) fn run(&self, args: &[&str]) -> (i32, String) {
        let (code, stdout, stderr) = self.proxy.run(args);
        assert!(
            stdout.lines().all(|line| line.chars().count() <= 100),
            "{stdout}"
        );
        (code, stdout + &stderr)
    }
}
