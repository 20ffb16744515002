//! No secret is in the tree: what looks like a key is a fake one, and there is no credential or
//! sign-up of a vendor to use.

use qcc_tests::source::{files, root};

/// How the keys of vendors begin. A line of this file is no key: too short for one.
const PREFIXES: [&str; 7] = ["sk-", "AIza", "ya29.", "ghp_", "AKIA", "eyJ", "xoxb-"];

/// Fewer characters behind the prefix are no key.
const SHORTEST: usize = 12;

/// Where vendors hand out accounts and tokens.
const SIGN_UP: [&str; 4] = [
    "/oauth/token",
    "/oauth/authorize",
    "identitytoolkit.googleapis",
    "securetoken.googleapis",
];

// SEC-02, SEC-03
#[test]
fn whatever_looks_like_a_key_is_a_fake_one() {
    let mut found = Vec::new();
    for (path, text) in tree() {
        for (number, line) in text.lines().enumerate() {
            found.extend(keys(line).map(|key| format!("{path}:{}: {key}", number + 1)));
        }
    }
    assert!(
        found.is_empty(),
        "write fake keys like sk-test-…:\n{}",
        found.join("\n")
    );
}

// SEC-03
#[test]
fn no_vendor_account_is_made_or_borrowed() {
    for folder in ["qcc-core/src", "qcc-cli/src"] {
        for (path, text) in files(folder, &["rs"]) {
            for place in SIGN_UP {
                assert!(!text.contains(place), "{path} knows {place}");
            }
        }
    }
}

#[test]
fn keys_are_told_from_fake_ones_and_from_words() {
    let long = "0123456789abcdef";
    for prefix in PREFIXES {
        let line = format!("let key = \"{prefix}{long}\";");
        assert_eq!(keys(&line).count(), 1, "{line}");
    }
    let anthropic = format!("key: {}ant-api03-{long}", "sk-");
    assert_eq!(keys(&anthropic).count(), 1);
    for line in [
        "sk-test-0123456789abcdef",
        "a task-oriented-thing-here",
        "risk-0123456789abcdef",
    ] {
        assert_eq!(keys(line).count(), 0, "{line}");
    }
}

/// All texts of the workspace that people write.
fn tree() -> impl Iterator<Item = (String, String)> {
    let extensions = ["rs", "py", "md", "toml", "yaml", "yml", "json", "txt"];
    let top = ["README.md", "CHANGELOG.md"]
        .into_iter()
        .filter_map(|name| {
            Some((
                name.to_owned(),
                std::fs::read_to_string(root().join(name)).ok()?,
            ))
        });
    let folders = ["docs", "examples", "qcc-cli", "qcc-core", "tests"];
    top.chain(
        folders
            .into_iter()
            .flat_map(move |folder| files(folder, &extensions)),
    )
}

/// What looks like a key in `line` and is not said to be a test's.
fn keys(line: &str) -> impl Iterator<Item = &str> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    line.split(move |c| !is_part(c)).filter(|word| {
        PREFIXES.iter().any(|prefix| {
            word.strip_prefix(prefix).is_some_and(|rest| {
                rest.len() >= SHORTEST && !(*prefix == "sk-" && rest.starts_with("test-"))
            })
        })
    })
}
