//! `qcc session list`, `show`, `unbind` and `stats`.
//!
//! A session is named by its id or by the hash that listings show; only the hash travels.

use std::fmt::Write as _;

use clap::Subcommand;
use qcc_core::record::SessionHash;

use super::operate::{Operator, on};
use crate::admin::view::{Page, SessionStatsView, SessionView, Unbound};
use crate::client::{Client, segment};
use crate::moment::grouped;
use crate::output::{Align, Cell, DIM, Exit, Failure, STRONG, Table};

/// What to do with sessions.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum What {
    /// List the sessions that are bound, the most recently used first
    List {
        /// How many
        #[arg(long, value_name = "N", default_value_t = 20)]
        last: usize,
    },
    /// Show where one session is bound
    Show {
        /// Its id, or its hash as listed
        #[arg(value_name = "SESSION")]
        session: String,
    },
    /// Remove bindings: the next request of each session is balanced freely
    Unbind(Which),
    /// Show how many sessions are bound, and where
    Stats,
}

#[derive(Clone, Debug, clap::Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Which {
    /// The session: its id, or its hash as listed
    #[arg(value_name = "SESSION")]
    session: Option<String>,
    /// All sessions of this endpoint: its id, its name, or CLUSTER/NAME
    #[arg(long, value_name = "ENDPOINT")]
    endpoint: Option<String>,
    /// All sessions of this client key, by its name
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// All sessions of all endpoints and users
    #[arg(long)]
    all: bool,
}

/// Runs the command.
pub(super) fn run(what: &What, operator: &Operator) -> Result<Exit, Failure> {
    let client = &operator.client;
    match what {
        What::List { last } => operator.show(list(client, *last), |sessions| listed(sessions)),
        What::Show { session } => operator.show(show(client, session), |sessions| listed(sessions)),
        What::Unbind(which) => operator.show(unbind(client, which), told),
        What::Stats => operator.show(stats(client), |stats| numbers(stats)),
    }
}

/// The hash of the session that `text` names: an id goes no further than this process.
fn hash(text: &str) -> SessionHash {
    text.parse().unwrap_or_else(|_| SessionHash::of(text))
}

async fn list(client: &Client, last: usize) -> Result<Vec<SessionView>, Failure> {
    client.list("/admin/v1/sessions", last).await
}

async fn show(client: &Client, session: &str) -> Result<Vec<SessionView>, Failure> {
    let path = format!("/admin/v1/sessions/{}", hash(session));
    let page: Page<SessionView> = client.get(&path).await?;
    Ok(page.items)
}

async fn unbind(client: &Client, which: &Which) -> Result<Unbound, Failure> {
    let path = match (&which.session, &which.endpoint, &which.user) {
        (Some(session), ..) => format!("/admin/v1/sessions/{}/unbind", hash(session)),
        (None, Some(name), _) => on(name, "unbind"),
        (None, None, Some(name)) => format!("/admin/v1/clients/{}/unbind", segment(name)),
        (None, None, None) => "/admin/v1/sessions/unbind".to_owned(),
    };
    client.post(&path).await
}

async fn stats(client: &Client) -> Result<Vec<SessionStatsView>, Failure> {
    client.get("/admin/v1/session-stats").await
}

fn listed(sessions: &[SessionView]) -> String {
    if sessions.is_empty() {
        return "no session is bound\n".to_owned();
    }
    let mut table = Table::new(&[
        ("SESSION", Align::Left),
        ("ENDPOINT", Align::Left),
        ("ID", Align::Left),
        ("CLIENT", Align::Left),
        ("ENDS IN", Align::Right),
    ]);
    for session in sessions {
        let endpoint = session.endpoint.as_deref().unwrap_or("(removed)");
        table.row([
            Cell::from(&session.session),
            Cell::styled(STRONG, format_args!("{}/{endpoint}", session.cluster)),
            Cell::styled(DIM, &session.endpoint_id),
            Cell::from(session.client.as_deref().unwrap_or("-")),
            Cell::from(hours(session.remaining_s)),
        ]);
    }
    table.to_string()
}

/// So many seconds, to the minute.
fn hours(seconds: u64) -> String {
    format!("{} h {:02} min", seconds / 3600, seconds / 60 % 60)
}

fn told(unbound: &Unbound) -> String {
    match unbound.count {
        0 => "Nothing was bound there; nothing changed.".to_owned(),
        1 => "1 binding removed; its next request is balanced freely.".to_owned(),
        many => format!(
            "{} bindings removed; their next requests are balanced freely.",
            grouped(many as u64)
        ),
    }
}

fn numbers(stats: &[SessionStatsView]) -> String {
    let mut text = String::new();
    for cluster in stats {
        let _ = writeln!(
            text,
            "{}: {} sessions bound, {} expired and not yet swept; a binding lives {}",
            cluster.cluster,
            grouped(cluster.active as u64),
            grouped(cluster.expired as u64),
            hours(cluster.ttl_s)
        );
        for (endpoint, count) in &cluster.endpoints {
            let _ = writeln!(text, "  {endpoint}: {}", grouped(*count as u64));
        }
        if cluster.resources > 0 {
            let _ = writeln!(
                text,
                "  files, batches, responses and the like whose account is known: {}",
                grouped(cluster.resources as u64)
            );
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;

    /// The hash of `sess-1`.
    const HASH: &str = "abe633f3a47a2758174eabe9160daf36";

    fn client() -> Client {
        let fake = Fake::usual()
            .with_session("sess-1", "official")
            .with_session("sess-2", "relay")
            .with_session("sess-3", "relay");
        Client::in_memory(fake.admin().1)
    }

    fn which(session: Option<&str>, endpoint: Option<&str>) -> Which {
        Which {
            session: session.map(str::to_owned),
            endpoint: endpoint.map(str::to_owned),
            user: None,
            all: session.is_none() && endpoint.is_none(),
        }
    }

    fn of_user(name: &str) -> Which {
        Which {
            user: Some(name.to_owned()),
            all: false,
            ..which(None, None)
        }
    }

    // CLI-08, AFF-13
    #[tokio::test]
    async fn sessions_are_listed_and_one_is_shown_by_its_id_or_its_hash() {
        let client = client();
        assert_eq!(list(&client, 2).await.unwrap().len(), 2);
        for name in ["sess-1", HASH] {
            let sessions = show(&client, name).await.unwrap();
            assert_eq!(sessions[0].session, HASH);
            let text = listed(&sessions);
            let text = anstream::adapter::strip_str(&text).to_string();
            assert!(
                text.contains("claude/official") && text.contains("5 h 00 min"),
                "{text}"
            );
            assert!(
                text.lines().all(|line| line.chars().count() <= 100),
                "{text}"
            );
        }
        let unknown = show(&client, "sess-9").await.unwrap_err();
        assert_eq!(unknown.exit, Exit::Unknown);
        assert!(!unknown.message.contains("sess-9"), "{unknown}");
        assert_eq!(listed(&[]), "no session is bound\n");
    }

    // CLI-08, CLI-09, CLI-20
    #[tokio::test]
    async fn bindings_of_one_session_one_endpoint_or_all_are_removed_and_counted() {
        let client = client();
        let count = async |which: &Which| unbind(&client, which).await.unwrap().count;
        assert_eq!(count(&which(Some("sess-1"), None)).await, 1);
        assert_eq!(count(&which(Some("sess-1"), None)).await, 0);
        assert_eq!(count(&which(None, Some("claude/relay"))).await, 2);
        assert_eq!(count(&which(None, None)).await, 0);
        let unknown = unbind(&client, &which(None, Some("nobody"))).await;
        assert_eq!(unknown.unwrap_err().exit, Exit::Unknown);
    }

    // CLI-09, CLI-20
    #[tokio::test]
    async fn bindings_of_one_user_are_removed_and_counted() {
        let fake = Fake::usual()
            .with_session("sess-1", "official")
            .with_session("sess-2", "relay");
        let fake = fake.with_client("laptop", 0, None);
        let fake = fake.with_client("phone", 0, None);
        let client = Client::in_memory(fake.admin().1);
        let count = async |which: &Which| unbind(&client, which).await.unwrap().count;
        assert_eq!(count(&of_user("phone")).await, 0);
        assert_eq!(count(&of_user("laptop")).await, 2);
        assert_eq!(count(&of_user("laptop")).await, 0);
        let unknown = unbind(&client, &of_user("nobody")).await.unwrap_err();
        assert_eq!(unknown.exit, Exit::Unknown);
        assert!(unknown.message.contains("laptop, phone"), "{unknown}");
    }

    // CLI-08
    #[tokio::test]
    async fn the_numbers_are_told_for_each_cluster_and_endpoint() {
        let text = numbers(&stats(&client()).await.unwrap());
        assert!(text.starts_with("claude: 3 sessions bound"), "{text}");
        assert!(text.contains("  official: 3\n"), "{text}");
        assert!(text.contains("whose account is known: 2\n"), "{text}");
        assert!(
            text.lines().all(|line| line.chars().count() <= 100),
            "{text}"
        );
    }
}
