use std::collections::{BTreeMap, BTreeSet};

use qcc_core::endpoint::Api;
use serde_json::Value;

use super::*;
use crate::config::Shown;
use crate::config::problem::Position;

/// Loads `text` as the file `/etc/qcc.yaml`.
fn load_text(text: &str, variables: &[(&str, &str)]) -> Result<Config, Problems> {
    let environment: Environment = variables.iter().copied().collect();
    from_text(
        text,
        Path::new("/etc/qcc.yaml"),
        &environment,
        &|path| match path.to_str() {
            Some("/home/ada/key") => Ok("sk-test-file-0001\n".to_owned()),
            Some("/empty") => Ok(" \n".to_owned()),
            _ => Err(io::ErrorKind::NotFound.into()),
        },
    )
}

fn good(text: &str) -> Config {
    match load_text(text, &[("KEY", "sk-test-0001-abcd"), ("HOME", "/home/ada")]) {
        Ok(config) => config,
        Err(problems) => panic!("{problems}"),
    }
}

fn problems(text: &str) -> Vec<Problem> {
    match load_text(
        text,
        &[
            ("KEY", "sk-test-0001-abcd"),
            ("EMPTY", ""),
            ("HOME", "/home/ada"),
        ],
    ) {
        Ok(_) => panic!("nothing is wrong with it:\n{text}"),
        Err(problems) => {
            assert!(!problems.to_string().contains("sk-test"), "{problems}");
            problems.problems
        }
    }
}

fn only_problem(text: &str) -> Problem {
    let mut problems = problems(text);
    assert_eq!(problems.len(), 1, "{problems:#?}");
    problems.remove(0)
}

/// A file with one cluster whose endpoint has these further lines.
fn endpoint_with(lines: &str) -> String {
    format!(
        "clusters:\n  claude:\n    endpoints:\n      - base_url: https://relay.example/api\n{lines}"
    )
}

const WHOLE: &str = r#"
listen: 127.0.0.1:8081
admin: { listen: "127.0.0.1:0", token: "${KEY}" }
shutdown: 5s
clusters:
  claude:
    kind: anthropic
    policy: p2c
    last_resort: refuse
    slow_start: off
    dynamic_weights: true
    endpoints:
      - name: official
        base_url: https://api.anthropic.com
        api_key: ${KEY}
      - name: relay
        base_url: https://relay.example/api/
        api_key: { file: ~/key }
        kind: openai
        auth: bearer
        priority: 2
        weight: 50
        max_in_flight: 20
        max_failures: 7
        timeout: 120s
        models: ["claude-*"]
        enabled: false
    breaker: { max_failures: 4, open_for: 30s, max_open_for: 5m, probes: 2 }
    affinity: { sources: [header:x-thread, body:session_id], ttl: 1h, patience: 10s, max_bindings: 10, resource_ttl: 2d }
    retry: { attempts: 3, budget: 10%, second_opinion: false, max_body: 1MiB }
    timeouts: { connect: 1s, first_byte: 20s, idle: 90s, deadline: 5m }
    connections: { max_idle: 200, idle_timeout: 2m, keepalive: 10s }
"#;

// AFF-03
#[test]
fn the_sources_of_session_ids_are_configurable_and_shared_values_are_refused() {
    let text = |source: &str| {
        format!(
            "clusters:\n  claude:\n    affinity: {{ sources: [{source}] }}\n    endpoints:\n      \
             - {{ base_url: \"https://h.example\", api_key: sk-test-1 }}\n"
        )
    };
    let config = good(&text("header:x-thread, body:session_id"));
    let sources = config.clusters[0].affinity.sources.iter();
    let sources: Vec<_> = sources.map(ToString::to_string).collect();
    assert_eq!(sources, ["header:x-thread", "body:session_id"]);
    for wrong in ["header:authorization", "body:system", "cookie"] {
        let found = problems(&text(wrong));
        assert_eq!(found.len(), 1, "{wrong}");
        assert_eq!(found[0].key, "clusters.claude.affinity.sources[0]");
    }
}

// CFG-06
#[test]
fn every_setting_reaches_its_place() {
    let config = good(WHOLE);
    assert_eq!(config.listen.to_string(), "127.0.0.1:8081");
    assert_eq!(config.shutdown, Duration::from_secs(5));
    let cluster = &config.clusters[0];
    assert_eq!(cluster.policy, Policy::P2c);
    assert_eq!(cluster.last_resort, LastResort::Refuse);
    let weighing = crate::config::Weighing {
        slow_start: None,
        dynamic: true,
    };
    assert_eq!(cluster.weighing, weighing);
    assert_eq!(
        cluster.breaker,
        Breaker {
            max_failures: 4,
            open_for: Duration::from_secs(30),
            max_open_for: Duration::from_secs(300),
            probes: 2,
        }
    );
    assert_eq!(cluster.affinity.ttl, Duration::from_secs(3600));
    assert_eq!(
        cluster.affinity.resource_ttl,
        Duration::from_secs(2 * 86_400)
    );
    assert_eq!(
        cluster.retry,
        Retry {
            attempts: 3,
            budget: 0.1,
            second_opinion: false,
            max_body: 1 << 20,
        }
    );
    assert_eq!(cluster.timeouts.idle, Some(Duration::from_secs(90)));
    assert_eq!(
        cluster.connections,
        Connections {
            max_idle: 200,
            idle_timeout: Duration::from_secs(120),
            keepalive: Duration::from_secs(10),
        }
    );
    let relay = cluster.endpoints.iter().nth(1).unwrap();
    assert_eq!(relay.base_url().as_str(), "https://relay.example/api");
    assert_eq!(relay.credential().unwrap().expose(), "sk-test-file-0001");
    assert_eq!(relay.api(), Some(Api::OpenAi));
    assert_eq!((relay.weight(), relay.priority()), (50, 2));
    assert_eq!(relay.max_failures(), Some(7));
    assert_eq!(relay.max_in_flight(), Some(20));
    assert_eq!(relay.first_byte(), Some(Duration::from_secs(120)));
    assert!(!relay.enabled());
}

// CFG-06
#[test]
fn an_endpoint_needs_an_address_and_a_key_and_nothing_else() {
    let config = good(&endpoint_with("        api_key: ${KEY}\n"));
    let endpoint = config.clusters[0].endpoints.iter().next().unwrap();
    assert_eq!(&**endpoint.name(), "relay.example");
    assert_eq!((endpoint.weight(), endpoint.priority()), (100, 1));
    assert_eq!(endpoint.api(), None);

    let found = problems("clusters:\n  claude:\n    endpoints:\n      - weight: 1\n");
    let keys: Vec<_> = found.iter().map(|problem| problem.key.as_str()).collect();
    assert_eq!(
        keys,
        [
            "clusters.claude.endpoints[0].base_url",
            "clusters.claude.endpoints[0].api_key"
        ]
    );
}

// CFG-06
#[test]
fn the_defaults_are_the_documented_ones() {
    let config = good(&endpoint_with("        api_key: ${KEY}\n"));
    assert_eq!(config.listen.to_string(), "127.0.0.1:7860");
    assert_eq!(config.admin.listen.to_string(), "127.0.0.1:7861");
    assert_eq!(config.shutdown, Duration::from_secs(30));
    let shown = serde_json::to_value(Shown::of(&config)).unwrap();
    let cluster = &shown["clusters"]["claude"];
    assert_eq!(cluster["policy"], "priority");
    assert_eq!(cluster["last_resort"], "probe");
    assert_eq!(
        cluster["breaker"],
        serde_json::json!({ "max_failures": 3, "open_for": "1m", "max_open_for": "10m", "probes": 1 })
    );
    assert_eq!(
        cluster["retry"],
        serde_json::json!({
            "attempts": 5, "budget": "20%", "second_opinion": true, "max_body": "32MiB"
        })
    );
    assert_eq!(cluster["affinity"]["ttl"], "5h");
    assert_eq!(cluster["timeouts"]["deadline"], "10m");
    assert_eq!(
        cluster["connections"],
        serde_json::json!({ "max_idle": 20, "idle_timeout": "1m", "keepalive": "30s" })
    );
}

// CFG-01
#[test]
fn connections_that_cannot_be_kept_as_told_are_refused_with_what_can() {
    let number = "must be a whole number from 0 to 10000";
    let duration = "must be a duration above 0 with its unit";
    let range = "must be from 1s to 9h";
    for (key, wrong, reason, remedy) in [
        ("max_idle", "10001", number, "write it like 1"),
        ("max_idle", "-1", number, "write it like 1"),
        ("idle_timeout", "0s", duration, "write it like 500ms, 60s"),
        ("idle_timeout", "60", duration, "write it like 500ms, 60s"),
        ("keepalive", "999ms", range, "write it like 30s"),
        ("keepalive", "10h", range, "write it like 30s"),
    ] {
        let endpoint = endpoint_with("        api_key: ${KEY}\n");
        let problem = only_problem(&format!(
            "{endpoint}    connections:\n      {key}: {wrong}\n"
        ));
        assert_eq!(problem.key, format!("clusters.claude.connections.{key}"));
        assert_eq!(problem.at.unwrap().line, 7, "{problem:?}");
        assert_eq!(problem.reason, reason);
        assert!(problem.remedy.starts_with(remedy), "{problem:?}");
    }
}

// CFG-01
#[test]
fn all_problems_are_found_at_once_each_with_its_place() {
    let text = "listn: 127.0.0.1:1\nclusters:\n  claude:\n    polcy: priority\n    \
                policy: prioritty\n    endpoints:\n      - base_url: ftp://h.example\n        \
                api_key: ${NOPE}\n        weight: -1\n        timeout: 60\n";
    let found = problems(text);
    let summary: Vec<_> = found
        .iter()
        .map(|problem| {
            let Position { line, column } = problem.at.unwrap();
            (line, column, problem.key.as_str())
        })
        .collect();
    assert_eq!(
        summary,
        [
            (1, 1, "listn"),
            (4, 5, "clusters.claude.polcy"),
            (5, 13, "clusters.claude.policy"),
            (7, 19, "clusters.claude.endpoints[0].base_url"),
            (8, 18, "clusters.claude.endpoints[0].api_key"),
            (9, 17, "clusters.claude.endpoints[0].weight"),
            (10, 18, "clusters.claude.endpoints[0].timeout"),
        ]
    );
    assert_eq!(found[0].remedy, "did you mean `listen`?");
    assert_eq!(found[1].remedy, "did you mean `policy`?");
    assert_eq!(found[2].remedy, "did you mean `priority`?");
    assert_eq!(found[3].reason, "the scheme must be http or https");
    assert!(found[6].remedy.contains("60s"), "{:?}", found[6]);
    assert!(found.iter().all(|problem| !problem.remedy.is_empty()));
}

// CFG-01
#[test]
fn a_problem_is_shown_with_file_line_key_reason_and_remedy() {
    let error = load_text("listen: here\n", &[]).err().unwrap();
    let expected = "/etc/qcc.yaml:1:9: listen: must be an IP address and a port\n  \
                    write it like 127.0.0.1:7860 or [::1]:7860";
    assert!(error.to_string().contains(expected), "{error}");
}

// CFG-01
#[test]
fn a_named_file_that_is_missing_is_an_error_and_the_usual_one_is_not() {
    let none: Files<'_> = &|_| Err(io::ErrorKind::NotFound.into());
    let environment = Environment::from_iter([
        ("HOME", "/home/ada"),
        ("ANTHROPIC_API_KEY", "sk-test-0001-abcd"),
    ]);
    let error = load_with(Some(Path::new("/nope.yaml")), &environment, none)
        .err()
        .unwrap();
    assert!(
        error
            .to_string()
            .starts_with("/nope.yaml: there is no such file"),
        "{error}"
    );

    let config = load_with(None, &environment, none).ok().unwrap();
    assert_eq!(
        config.source,
        Source::Environment(vec!["ANTHROPIC_API_KEY"])
    );
    assert_eq!(&*config.clusters[0].name, "claude");
    assert!(config.listen.ip().is_loopback());

    let named = Environment::from_iter([("QCC_CONFIG", "~/other.yaml"), ("HOME", "/home/ada")]);
    let error = load_with(None, &named, none).err().unwrap();
    assert!(
        error.to_string().starts_with("/home/ada/other.yaml"),
        "{error}"
    );
}

// CFG-01
#[test]
fn without_a_file_and_without_a_key_the_error_says_what_to_do() {
    let none: Files<'_> = &|_| Err(io::ErrorKind::NotFound.into());
    let environment = Environment::from_iter([("HOME", "/home/ada"), ("OPENAI_API_KEY", " ")]);
    let text = load_with(None, &environment, none)
        .err()
        .unwrap()
        .to_string();
    for expected in [
        "/home/ada/.qcc/config.yaml",
        "ANTHROPIC_API_KEY",
        "--config",
    ] {
        assert!(text.contains(expected), "{text}");
    }
}

#[test]
fn each_key_of_the_environment_makes_a_cluster_of_its_vendor() {
    let none: Files<'_> = &|_| Err(io::ErrorKind::NotFound.into());
    let environment = Environment::from_iter([
        ("ANTHROPIC_API_KEY", "sk-test-a"),
        ("OPENAI_API_KEY", "sk-test-o"),
        ("GEMINI_API_KEY", "test-g"),
    ]);
    let config = load_with(None, &environment, none).ok().unwrap();
    let clusters: BTreeMap<_, _> = config
        .clusters
        .iter()
        .map(|cluster| (&*cluster.name, cluster.kind))
        .collect();
    assert_eq!(
        clusters,
        BTreeMap::from([
            ("claude", Some(Api::Anthropic)),
            ("gemini", Some(Api::Gemini)),
            ("openai", Some(Api::OpenAi)),
        ])
    );
}

// CFG-02
#[test]
fn an_undefined_variable_is_named_with_its_key() {
    let problem = only_problem(&endpoint_with("        api_key: x${NOPE}y\n"));
    assert_eq!(problem.key, "clusters.claude.endpoints[0].api_key");
    assert_eq!(problem.reason, "the environment variable NOPE is not set");
    assert_eq!(problem.at.unwrap().line, 5);
}

// CFG-02
#[test]
fn a_variable_that_is_set_to_nothing_is_no_key() {
    let problem = only_problem(&endpoint_with("        api_key: ${EMPTY}\n"));
    assert_eq!(problem.reason, "is empty");
}

#[test]
fn a_key_that_cannot_stand_in_a_header_is_refused() {
    let problem = only_problem(&endpoint_with("        api_key: \"sk-test 1\"\n"));
    assert!(problem.reason.contains("blanks"), "{problem:?}");
}

#[test]
fn a_key_file_must_exist_and_hold_something() {
    for (file, expected) in [
        ("/nope", "/nope cannot be read"),
        ("/empty", "/empty is empty"),
    ] {
        let text = endpoint_with(&format!("        api_key: {{ file: {file} }}\n"));
        let problem = only_problem(&text);
        assert!(problem.reason.starts_with(expected), "{problem:?}");
    }
}

// SEC-05
#[test]
fn off_loopback_the_proxy_needs_client_keys() {
    let endpoint = endpoint_with("        api_key: ${KEY}\n");
    let problem = only_problem(&format!("listen: 0.0.0.0:7860\n{endpoint}"));
    assert_eq!(problem.key, "listen");
    assert!(problem.remedy.contains("client_keys"), "{problem:?}");

    let digest = "a".repeat(64);
    let config = good(&format!(
        "listen: 0.0.0.0:7860\nclient_keys: [{{ name: laptop, sha256: {digest} }}]\n{endpoint}"
    ));
    assert_eq!(config.client_keys[0].sha256, [0xaa; 32]);

    let empty = format!("listen: '[::]:7860'\nclient_keys: []\n{endpoint}");
    assert_eq!(only_problem(&empty).key, "listen");
}

// SEC-05
#[test]
fn off_loopback_the_admin_api_needs_a_token() {
    let endpoint = endpoint_with("        api_key: ${KEY}\n");
    let problem = only_problem(&format!("admin: {{ listen: '0.0.0.0:7861' }}\n{endpoint}"));
    assert_eq!(problem.key, "admin.listen");
    assert!(problem.remedy.contains("token"), "{problem:?}");
    let config = good(&format!(
        "admin: {{ listen: '0.0.0.0:7861', token: \"${{KEY}}\" }}\n{endpoint}"
    ));
    assert_eq!(config.admin.token.unwrap().expose(), "sk-test-0001-abcd");
}

// SEC-04
#[test]
fn there_is_no_default_admin_token() {
    let config = good(&endpoint_with("        api_key: ${KEY}\n"));
    assert!(config.admin.token.is_none());
    assert!(config.admin.listen.ip().is_loopback());
    let empty = endpoint_with("        api_key: ${KEY}\n");
    let problem = only_problem(&format!("admin: {{ token: \"${{EMPTY}}\" }}\n{empty}"));
    assert_eq!(
        (problem.key.as_str(), problem.reason.as_str()),
        ("admin.token", "is empty")
    );
}

#[test]
fn client_keys_are_digests_and_have_names_of_their_own() {
    let endpoint = endpoint_with("        api_key: ${KEY}\n");
    let problem = only_problem(&format!(
        "client_keys: [{{ name: a, sha256: sk-test-plain }}]\n{endpoint}"
    ));
    assert_eq!(problem.key, "client_keys[0].sha256");
    assert!(problem.remedy.contains("sha256sum"), "{problem:?}");
    let digest = "0".repeat(64);
    let one = format!("{{ name: a, sha256: '{digest}' }}");
    let problem = only_problem(&format!("client_keys: [{one}, {one}]\n{endpoint}"));
    assert_eq!(problem.key, "client_keys[1].name");
}

// SEL-02
#[test]
fn equal_entries_are_reported_within_and_across_clusters() {
    let entry = "      - { base_url: https://h.example, api_key: sk-test-0001 }\n";
    let config = good(&format!(
        "clusters:\n  a:\n    endpoints:\n{entry}{entry}  b:\n    endpoints:\n{entry}"
    ));
    let found: Vec<_> = config
        .duplicates()
        .into_iter()
        .map(|duplicate| (duplicate.first, duplicate.again, duplicate.dropped))
        .collect();
    assert_eq!(
        found,
        [
            ("a/h.example".to_owned(), "a/h.example-2".to_owned(), true),
            ("a/h.example".to_owned(), "b/h.example".to_owned(), false),
        ]
    );
    assert_eq!(config.clusters[0].endpoints.len(), 1);
}

#[test]
fn two_endpoints_of_a_cluster_cannot_share_a_name() {
    let problem = only_problem(
        "clusters:\n  a:\n    endpoints:\n      \
         - { name: x, base_url: https://h.example, api_key: sk-test-0001 }\n      \
         - { name: x, base_url: https://h.example, api_key: sk-test-0002 }\n",
    );
    assert_eq!(problem.key, "clusters.a.endpoints[1]");
    assert_eq!(problem.at.unwrap().line, 5);
}

#[test]
fn a_cluster_cannot_have_the_name_of_a_route() {
    for (name, part) in [
        ("v1", "API paths"),
        ("Claude", "no name"),
        ("a/b", "no name"),
    ] {
        let text = format!(
            "clusters:\n  {name}:\n    endpoints:\n      \
             - {{ base_url: https://h.example, api_key: sk-test-0001 }}\n"
        );
        let problem = only_problem(&text);
        assert!(problem.reason.contains(part), "{problem:?}");
        assert_eq!(problem.at.unwrap().line, 2);
    }
}

// CFG-01
#[test]
fn keys_of_the_wrong_form_say_what_form_is_right() {
    for (text, key, reason) in [
        ("clusters: []\n", "clusters", "must be a map of keys"),
        ("clusters: {}\n", "clusters", "is empty"),
        ("clusters:\n", "clusters", "is empty"),
        ("", "", "is empty"),
        ("- a\n", "", "must be a map of keys"),
        (
            "clusters: { a: { endpoints: {} } }\n",
            "clusters.a.endpoints",
            "must be a list",
        ),
        (
            "clusters: { a: { endpoints: [] } }\n",
            "clusters.a.endpoints",
            "is empty",
        ),
        (
            "clusters: { a: {} }\n",
            "clusters.a.endpoints",
            "is missing",
        ),
        ("listen: 127.0.0.1:1\n", "clusters", "is missing"),
    ] {
        let problem = only_problem(text);
        assert_eq!(
            (problem.key.as_str(), problem.reason.as_str()),
            (key, reason),
            "{text}"
        );
    }
}

// STO-01, STO-04
#[test]
fn the_store_is_in_the_home_directory_and_settings_that_keep_nothing_are_refused() {
    let environment = Environment::from_iter([("HOME", "/home/ada"), ("KEY", "sk-test-0001")]);
    let read = |text: &str| {
        let text = format!("{text}{}", endpoint_with("        api_key: ${KEY}\n"));
        from_str(&text, Path::new("f.yaml"), &environment)
    };
    let usual = read("").ok().unwrap().store;
    assert_eq!(usual.path, Path::new("/home/ada/.qcc/qcc.db"));
    assert!(usual.enabled && !usual.required);
    let named = read("store: { path: ~/x.db, required: true }\n")
        .ok()
        .unwrap();
    assert_eq!(named.store.path, Path::new("/home/ada/x.db"));
    assert!(named.store.required);
    for (setting, reason) in [
        ("retention: 59s", "must be at least a minute"),
        ("max_size: 1000KiB", "must be at least 1MiB"),
    ] {
        let problems = read(&format!("store: {{ {setting} }}\n")).err().unwrap();
        assert_eq!(problems.problems[0].reason, reason);
        assert!(problems.problems[0].remedy.contains("enabled: false"));
    }
}

// CLI-06, SEC-01
#[test]
fn the_shown_configuration_has_no_secret() {
    let config = good(WHOLE);
    let shown = serde_saphyr::to_string(&Shown::of(&config)).unwrap();
    assert!(!shown.contains("sk-test"), "{shown}");
    assert!(shown.contains("****abcd"), "{shown}");
    assert!(shown.contains("****0001"), "{shown}");
    // Of the admin token not even the end: it stands once, as the key of the endpoint.
    assert_eq!(shown.matches("abcd").count(), 1, "{shown}");
    // What was written is what is shown.
    for line in [
        "policy: p2c",
        "budget: 10%",
        "max_body: 1MiB",
        "timeout: 2m",
        "auth: bearer",
    ] {
        assert!(shown.contains(line), "{line} in {shown}");
    }
}

// ACC-07
#[test]
fn what_marks_an_endpoint_is_its_own_rule_or_that_of_its_cluster() {
    let config = good(
        "
clusters:
  claude:
    mark_on: [503, overloaded]
    unavailable_ttl: 2m
    endpoints:
      - { name: a, base_url: 'https://a.example', api_key: sk-test-0001 }
      - { name: b, base_url: 'https://b.example', api_key: sk-test-0002, mark_on: [\"529\", timeout] }
      - { name: c, base_url: 'https://c.example', api_key: sk-test-0003, unavailable_ttl: 1h }
      - { name: d, base_url: 'https://d.example', api_key: sk-test-0004, mark_on: [] }
  other:
    endpoints:
      - { name: e, base_url: 'https://e.example', api_key: sk-test-0005 }
",
    );
    let endpoints = config.clusters.iter().flat_map(|c| c.endpoints.iter());
    let rules: Vec<_> = endpoints
        .map(|endpoint| {
            let rule = endpoint.mark_on();
            let failures: Vec<_> = rule.failures().iter().map(ToString::to_string).collect();
            (failures.join(" "), rule.ttl().as_secs())
        })
        .collect();
    let expected = [
        ("503 overloaded", 120),
        ("529 timeout", 120),
        ("503 overloaded", 3600),
        ("", 120),
        ("", 300),
    ];
    assert_eq!(
        rules,
        expected.map(|(failures, ttl)| (failures.to_owned(), ttl))
    );
}

// ACC-07
#[test]
fn what_cannot_mark_an_endpoint_is_refused_with_what_can() {
    for (wrong, key, reason) in [
        ("[200]", "mark_on[0]", "is no failure"),
        ("[503, overlaoded]", "mark_on[1]", "is no failure"),
        ("[invalid_request]", "mark_on[0]", "is no failure"),
        ("[\"\"]", "mark_on[0]", "is empty"),
        ("[[503]]", "mark_on[0]", "must be a single value"),
        ("503", "mark_on", "must be a list"),
    ] {
        let lines = format!("        api_key: ${{KEY}}\n        mark_on: {wrong}\n");
        let found = only_problem(&endpoint_with(&lines));
        assert_eq!(found.key, format!("clusters.claude.endpoints[0].{key}"));
        assert!(found.reason.starts_with(reason), "{wrong}: {found:?}");
        if reason == "is no failure" {
            assert!(found.remedy.contains("400 to 599"), "{found:?}");
            assert!(found.remedy.contains("overloaded, rate_limit"), "{found:?}");
        }
    }
    let found = only_problem(&endpoint_with(
        "        api_key: ${KEY}\n        unavailable_ttl: 5\n",
    ));
    assert_eq!(found.key, "clusters.claude.endpoints[0].unavailable_ttl");
}

// CFG-05
#[test]
fn what_a_version_loads_every_later_one_loads() {
    let config = good(include_str!("../kept/0.1.yaml"));
    let names = config.clusters[0].endpoints.iter().map(|one| &**one.name());
    assert_eq!(names.collect::<Vec<_>>(), ["official", "kept", "pooled"]);
    assert!(config.warnings.problems.is_empty(), "{:?}", config.warnings);
}

// CFG-05
#[test]
fn nothing_but_an_address_and_a_key_is_needed_whatever_else_there_is() {
    let config = good(&endpoint_with("        api_key: ${KEY}\n"));
    assert_eq!(config.clusters.len(), 1);
    assert!(config.warnings.problems.is_empty(), "{:?}", config.warnings);
}

// CFG-05
#[test]
fn the_file_of_this_version_has_every_key() {
    let kept: Value = serde_saphyr::from_str(include_str!("../kept/0.1.yaml")).unwrap();
    let mut used = BTreeSet::new();
    keys_of(&kept, &mut used);
    let schema: Value =
        serde_json::from_str(include_str!("../../../../docs/config.schema.json")).unwrap();
    let mut known = BTreeSet::new();
    properties_of(&schema, &mut known);
    let missing: Vec<_> = known.difference(&used).collect();
    assert!(missing.is_empty(), "add a file with {missing:?}");
}

/// The keys of all maps in `value`.
fn keys_of(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| {
            found.insert(key.clone());
            keys_of(value, found);
        }),
        Value::Array(list) => list.iter().for_each(|value| keys_of(value, found)),
        _ => {}
    }
}

/// The names of all properties that a schema describes.
fn properties_of(schema: &Value, found: &mut BTreeSet<String>) {
    match schema {
        Value::Object(map) => {
            if let Some(Value::Object(properties)) = map.get("properties") {
                found.extend(properties.keys().cloned());
            }
            map.values().for_each(|value| properties_of(value, found));
        }
        Value::Array(list) => {
            list.iter().for_each(|value| properties_of(value, found));
        }
        _ => {}
    }
}
