//! What the proxy has and keeps beside requests: tokens, history, log file.

use super::Finding;
use super::proxy::count;
use crate::admin::pool::PoolView;
use crate::config::Config;
use crate::history::StoreView;

/// So many tokens with trouble are told one by one.
const LISTED: usize = 20;

/// The pools of tokens: the empty ones, those with tokens that wait for somebody, and what the
/// refreshes of single tokens say.
pub(super) fn tokens(pools: &[PoolView]) -> Vec<Finding> {
    const STEP: &str = "tokens";
    let mut findings = Vec::new();
    for pool in pools {
        let name = format!("{}/{}", pool.cluster, pool.endpoint);
        if pool.total == 0 {
            let found = format!("{name} has no token");
            findings.push(
                Finding::note(STEP, found).remedy("list one under `tokens` in the configuration"),
            );
        } else if pool.failed > 0 {
            let found = format!(
                "{name}: {} of {} refused or inactive",
                pool.failed,
                count(pool.total, "token"),
            );
            findings.push(Finding::note(STEP, found).remedy(format!(
                "qcc token status shows which; replace what was refused, or use it again: \
                 qcc token recover --endpoint {name}"
            )));
        }
    }
    let troubled = pools.iter().flat_map(|pool| {
        let tokens = pool.tokens.iter();
        tokens.filter_map(move |token| Some((pool, token, token.trouble.as_deref()?)))
    });
    for (pool, token, trouble) in troubled.take(LISTED) {
        let (cluster, endpoint) = (&pool.cluster, &pool.endpoint);
        let found = format!("{cluster}/{endpoint}, {}: {trouble}", token.name);
        findings.push(
            Finding::note(STEP, found)
                .remedy("if it does not pass, log in again and put the new token in its place"),
        );
    }
    if findings.is_empty() {
        let active = pools.iter().map(|pool| pool.active).sum();
        let found = match pools.len() {
            0 => "no endpoint has a pool".to_owned(),
            pools => format!(
                "{} of {} can be used",
                count(active, "token"),
                count(pools, "pool")
            ),
        };
        findings.push(Finding::ok(STEP, found));
    }
    findings
}

/// The file with the history.
pub(super) fn store(store: &StoreView) -> Finding {
    const STEP: &str = "store";
    let file = store.file.as_deref().unwrap_or("no file");
    let reason = store.reason.as_deref().unwrap_or("no reason is known");
    match &*store.state {
        "off" => Finding::ok(STEP, "no history is kept"),
        "open" if store.lost > 0 => {
            let lost = count(usize::try_from(store.lost).unwrap_or(usize::MAX), "request");
            let found = format!("{file}: {lost} lost since the start");
            Finding::note(STEP, found).remedy("the log says when and why; qcc store status")
        }
        "open" => Finding::ok(STEP, format!("{file} is written")),
        "failing" => Finding::note(STEP, format!("{file} cannot be written: {reason}"))
            .remedy("make room on the disk, or end what locks it; requests do not wait for it"),
        _ => Finding::note(STEP, format!("{file} could not be opened: {reason}"))
            .remedy("mend the file, or move it away, and start the proxy again"),
    }
}

/// The log file of the configuration.
pub(super) fn log(config: &Config) -> Finding {
    const STEP: &str = "log";
    let Some(log) = &config.log else {
        return Finding::ok(
            STEP,
            "on standard error only; `log.file` has it in a file, too",
        );
    };
    let file = log.file.display();
    match std::fs::metadata(&log.file) {
        Ok(_) => Finding::ok(STEP, format!("{file}; qcc logs shows it")),
        Err(error) => Finding::note(STEP, format!("{file}: {error}"))
            .remedy("let the user of the proxy write into its folder, then start it again"),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::State;
    use super::*;
    use crate::config::{self, Environment};

    fn pool(total: usize, failed: usize) -> PoolView {
        PoolView {
            cluster: "claude".to_owned(),
            endpoint: "pooled".to_owned(),
            endpoint_id: "00000000".to_owned(),
            total,
            active: total - failed,
            failed,
            personal: total,
            shared: 0,
            anonymous: 0,
            tokens: Vec::new(),
        }
    }

    // CLI-25
    #[test]
    fn an_empty_pool_and_tokens_that_were_refused_are_worth_a_look() {
        for (pools, state) in [
            (vec![], State::Ok),
            (vec![pool(2, 0)], State::Ok),
            (vec![pool(2, 0), pool(0, 0)], State::Note),
            (vec![pool(2, 1)], State::Note),
        ] {
            let findings = tokens(&pools);
            assert_eq!(findings.len(), 1, "{findings:?}");
            assert_eq!(findings[0].state, state, "{findings:?}");
            assert_eq!(findings[0].remedy.is_some(), state == State::Note);
        }
    }

    // CLI-25, STO-05
    #[test]
    fn a_store_that_loses_or_is_not_there_says_why() {
        let view = |state: &str, lost| StoreView {
            state: state.to_owned(),
            file: Some("qcc.db".to_owned()),
            reason: Some("it is locked".to_owned()),
            since: None,
            requests: 0,
            size_bytes: 0,
            written: 0,
            pending: 0,
            lost,
        };
        assert_eq!(store(&view("open", 0)).state, State::Ok);
        assert_eq!(store(&view("off", 0)).state, State::Ok);
        for (state, lost) in [("open", 1), ("failing", 0), ("missing", 0)] {
            let finding = store(&view(state, lost));
            assert_eq!(finding.state, State::Note);
            assert!(finding.remedy.is_some(), "{finding:?}");
            assert!(finding.found.starts_with("qcc.db"), "{finding:?}");
        }
    }

    // CLI-25
    #[test]
    fn a_log_file_that_is_not_there_is_found() {
        let configured = |lines: &str| {
            let text = format!(
                "{lines}clusters: {{ c: {{ kind: anthropic, endpoints: \
                 [{{ base_url: \"http://127.0.0.1:9\", api_key: sk-test-0001 }}] }} }}\n"
            );
            let environment = Environment::from_iter([("HOME", "/nope")]);
            log(&config::from_str(&text, Path::new("qcc.yaml"), &environment).unwrap())
        };
        assert_eq!(configured("").state, State::Ok);
        let missing = configured("log: { file: /nope/app.log }\n");
        assert_eq!(missing.state, State::Note);
        assert!(missing.found.starts_with("/nope/app.log: "), "{missing:?}");
    }
}
