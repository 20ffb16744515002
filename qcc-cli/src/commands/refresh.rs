//! `qcc refresh`.

use std::fmt::Write as _;

use anstyle::Style;

use super::operate::Operator;
use crate::admin::view::Reloaded;
use crate::client::Client;
use crate::output::{Exit, Failure, WARN, styled};
use crate::paragraph;

/// Runs the command.
pub(super) fn run((): &(), operator: &Operator) -> Result<Exit, Failure> {
    operator.show(refresh(&operator.client), page)
}

async fn refresh(client: &Client) -> Result<Reloaded, Failure> {
    client.post("/admin/v1/reload").await
}

fn page(reloaded: &Reloaded) -> String {
    let mut page = String::new();
    if !reloaded.changed {
        page.push_str("The configuration was read again; nothing in it changed.\n");
    }
    for change in &reloaded.changes {
        paragraph::push(&mut page, Style::new(), 0, &change.to_string());
    }
    let restart = reloaded
        .changes
        .iter()
        .filter(|change| change.needs_restart);
    let restart: Vec<_> = restart.map(|change| &*change.key).collect();
    if !restart.is_empty() {
        let note = styled(WARN, "in force only after a restart");
        let _ = writeln!(page, "{note}: {}", restart.join(", "));
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::fake::Fake;
    use crate::running::Change;

    fn change(key: &str, needs_restart: bool) -> Change {
        Change {
            key: key.to_owned(),
            old: Some("3".to_owned()),
            new: Some("5".to_owned()),
            needs_restart,
        }
    }

    async fn told(fake: Fake) -> Result<String, Failure> {
        let (_, router) = fake.admin();
        let client = Client::in_memory(router);
        let text = page(&refresh(&client).await?);
        Ok(anstream::adapter::strip_str(&text).to_string())
    }

    // CLI-19, CLI-20, CFG-08
    #[tokio::test]
    async fn a_refresh_tells_what_changed_and_what_waits_for_a_restart() {
        let fake = Fake::usual().with_reload(Ok(vec![
            change("clusters.claude.breaker.max_failures", false),
            change("listen", true),
        ]));
        assert_eq!(
            told(fake).await.unwrap(),
            "clusters.claude.breaker.max_failures: 3 => 5\nlisten: 3 => 5\n\
             in force only after a restart: listen\n"
        );
        let unchanged = Fake::usual().with_reload(Ok(Vec::new()));
        assert_eq!(
            told(unchanged).await.unwrap(),
            "The configuration was read again; nothing in it changed.\n"
        );
    }

    // CFG-09
    #[tokio::test]
    async fn a_refused_configuration_is_told_with_its_reason() {
        let invalid = Failure::new(Exit::Config, "f.yaml:3:1: weight: must be a number");
        let fake = Fake::usual().with_reload(Err(invalid));
        let failure = told(fake).await.unwrap_err();
        assert_eq!(failure.exit, Exit::Config);
        assert!(failure.message.contains("f.yaml:3:1"), "{failure}");
        assert!(failure.message.contains("stays in force"), "{failure}");
    }

    #[tokio::test]
    async fn a_proxy_without_a_file_says_that_there_is_nothing_to_reload() {
        let failure = told(Fake::usual()).await.unwrap_err();
        assert!(failure.message.contains("could be read again"), "{failure}");
    }
}
