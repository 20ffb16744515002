//! Upstreams that are simulated.

use std::net::SocketAddr;

use crate::process::{Qcc, qcc};

pub(crate) struct Simulator {
    pub(crate) process: Qcc,
    pub(crate) address: SocketAddr,
}

impl Simulator {
    /// Each endpoint has a name, and does something.
    pub(crate) fn start(endpoints: &[(&str, &str)]) -> Self {
        let mut command = qcc(&["simulate", "--port", "0"]);
        for (name, behaviour) in endpoints {
            command.args(["--endpoint", &format!("{name}={behaviour}")]);
        }
        let process = Qcc::start(&mut command);
        let address = process.first.strip_prefix("listening on http://").unwrap();
        Self {
            address: address.parse().unwrap(),
            process,
        }
    }
}
