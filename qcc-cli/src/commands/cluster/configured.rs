//! What can be said without a running proxy.

use std::fmt::Write as _;

use anstyle::Style;
use serde::Serialize;

use super::page::{duplicates, heading};
use crate::admin::view::DuplicateView;
use crate::config::{self, Config};
use crate::output::{Align, BAD, Cell, DIM, Exit, Failure, STRONG, Table, WARN};
use crate::paragraph;

/// What is known without a running proxy: the configuration, and nothing of health.
#[derive(Serialize)]
pub(super) struct Configured {
    running: bool,
    message: String,
    clusters: Vec<ConfiguredCluster>,
}

#[derive(Serialize)]
struct ConfiguredCluster {
    name: String,
    kind: Option<&'static str>,
    policy: &'static str,
    endpoints: Vec<ConfiguredEndpoint>,
    duplicates: Vec<DuplicateView>,
}

#[derive(Serialize)]
struct ConfiguredEndpoint {
    id: String,
    name: String,
    base_url: String,
    priority: u32,
    weight: u32,
    enabled: bool,
}

impl Configured {
    /// The cluster of this name, else all. `message` says that the proxy does not run.
    pub(super) fn of(
        config: &Config,
        name: Option<&str>,
        message: String,
    ) -> Result<Self, Failure> {
        let clusters: Vec<_> = config
            .clusters
            .iter()
            .filter(|cluster| name.is_none_or(|name| *cluster.name == *name))
            .map(|cluster| ConfiguredCluster::of(cluster))
            .collect();
        match name {
            Some(name) if clusters.is_empty() => {
                let known: Vec<_> = config
                    .clusters
                    .iter()
                    .map(|cluster| &*cluster.name)
                    .collect();
                Err(Failure::new(
                    Exit::Unknown,
                    format!(
                        "There is no cluster `{name}`; known are {}.",
                        known.join(", ")
                    ),
                ))
            }
            _ => Ok(Self {
                running: false,
                message,
                clusters,
            }),
        }
    }

    pub(super) fn page(&self) -> String {
        let mut page = String::new();
        for line in self.message.lines() {
            paragraph::push(&mut page, WARN, 0, line.trim_start());
        }
        let known = "This is the configuration; of health nothing is known.";
        paragraph::push(&mut page, Style::new(), 0, known);
        for cluster in &self.clusters {
            page.push('\n');
            heading(&mut page, &cluster.name, cluster.kind, cluster.policy);
            let mut table = Table::new(&[
                ("NAME", Align::Left),
                ("ID", Align::Left),
                ("ENABLED", Align::Left),
                ("PRIORITY", Align::Right),
                ("WEIGHT", Align::Right),
                ("URL", Align::Left),
            ]);
            for endpoint in &cluster.endpoints {
                table.row([
                    Cell::styled(STRONG, &endpoint.name),
                    Cell::styled(DIM, &endpoint.id),
                    match endpoint.enabled {
                        true => Cell::from("yes"),
                        false => Cell::styled(BAD, "no"),
                    },
                    Cell::from(endpoint.priority),
                    Cell::from(endpoint.weight),
                    Cell::from(&endpoint.base_url),
                ]);
            }
            let _ = write!(page, "{table}");
            duplicates(&mut page, &cluster.duplicates);
        }
        page
    }
}

impl ConfiguredCluster {
    fn of(cluster: &config::Cluster) -> Self {
        Self {
            name: cluster.name.to_string(),
            kind: cluster.kind.map(|kind| kind.as_str()),
            policy: cluster.policy.as_str(),
            endpoints: cluster
                .endpoints
                .iter()
                .map(|endpoint| ConfiguredEndpoint {
                    id: endpoint.id().to_string(),
                    name: endpoint.name().to_string(),
                    base_url: endpoint.base_url().to_string(),
                    priority: endpoint.priority(),
                    weight: endpoint.weight(),
                    enabled: endpoint.enabled(),
                })
                .collect(),
            duplicates: cluster
                .endpoints
                .duplicates()
                .iter()
                .map(DuplicateView::from)
                .collect(),
        }
    }
}
