//! The file that somebody begins with.
//!
//! Its comments come from the same tables as the schema. It never holds a key, only the names of
//! the variables that do.

use std::fmt::Write as _;

use anstyle::Style;

use super::cluster::KINDS;
use super::keys::{FILE, Form, Key, Usual, plain};
use super::vendor::Vendor;
use super::{Environment, name_of};
use crate::paragraph;

const HEAD: &str = "\
# The configuration of qcc. Lines with a # and a space explain. Lines with a bare # are settings:
# remove the # to change them; those without ${…} show their defaults.
# ${NAME} stands for a variable of the environment, else of the file .env in the working directory.
# `qcc config check` validates this file; a running proxy reads it again when it changes.
";

/// A configuration to begin with.
pub(crate) struct Starter {
    /// The file.
    pub(crate) text: String,
    /// Whose keys it uses: those that the environment has, else the first one.
    pub(crate) vendors: Vec<Vendor>,
    /// Whether the environment has a key at all.
    pub(crate) ready: bool,
}

impl Starter {
    /// The one that suits `environment`.
    pub(crate) fn new(environment: &Environment) -> Self {
        let (mut vendors, mut others): (Vec<_>, Vec<_>) = Vendor::ALL
            .into_iter()
            .partition(|vendor| vendor.key(environment).is_some());
        let ready = !vendors.is_empty();
        if !ready {
            vendors.push(others.remove(0));
        }
        let mut text = HEAD.to_owned();
        for key in FILE.keys() {
            match key.form {
                Form::Named(cluster) => {
                    let _ = writeln!(text, "\n{}:", key.name);
                    clusters(&mut text, cluster, &vendors, &others, ready);
                }
                _ => setting(&mut text, 0, key),
            }
        }
        Self {
            text,
            vendors,
            ready,
        }
    }
}

/// The clusters of `vendors`, the first one with its settings, and what `others` would look like.
fn clusters(text: &mut String, keys: &[Key], vendors: &[Vendor], others: &[Vendor], ready: bool) {
    for (index, vendor) in vendors.iter().enumerate() {
        let first = index == 0;
        let _ = writeln!(text, "  {}:", vendor.cluster);
        let _ = writeln!(text, "    kind: {}", name_of(&KINDS, vendor.api));
        if first {
            for key in keys {
                setting(text, 4, key);
            }
            text.push('\n');
        }
        let variable = vendor.variable;
        text.push_str("    endpoints:\n");
        let _ = writeln!(text, "      - name: official");
        let _ = writeln!(text, "        base_url: {}", vendor.base_url);
        if !ready {
            let what = format!(
                "set {variable} in the environment or in .env, or write the key here in place of \
                 ${{{variable}}}, or {{ file: PATH }} for a file that holds it"
            );
            comment(text, 8, &what);
        }
        let _ = writeln!(text, "        api_key: ${{{variable}}}");
        if first {
            comment(
                text,
                6,
                "another key, account or relay, asked when the first one fails",
            );
        }
        let _ = writeln!(
            text,
            "      #- {{ name: spare, base_url: \"{}\", api_key: \"${{{variable}_2}}\", priority: 2 }}",
            vendor.base_url
        );
    }
    for vendor in others {
        let _ = writeln!(
            text,
            "  #{}: {{ endpoints: [{{ base_url: \"{}\", api_key: \"${{{}}}\" }}] }}",
            vendor.cluster, vendor.base_url, vendor.variable
        );
    }
}

/// What `key` means and its default, or those of its keys. Nothing if there is none to show.
fn setting(text: &mut String, indent: usize, key: &Key) {
    let value = match (key.usual, &key.form) {
        (Usual::Value(value), _) => value.to_owned(),
        // What must be there has no default to show.
        (_, Form::Map(keys)) if keys.iter().any(|key| matches!(key.usual, Usual::Required)) => {
            return;
        }
        (_, Form::Map(keys)) => {
            let pairs: Vec<_> = keys
                .iter()
                .filter_map(|key| match key.usual {
                    Usual::Value(value) => Some(format!("{}: {value}", key.name)),
                    _ => None,
                })
                .collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        _ => return,
    };
    let mut meaning = plain(key.meaning);
    // Where the meaning names them all, they are not listed once more.
    if let Form::Choice(names) = &key.form
        && !names().iter().all(|name| meaning.contains(name))
    {
        let _ = write!(meaning, ". One of {}", names().join(", "));
    }
    text.push('\n');
    comment(text, indent, &meaning);
    let _ = writeln!(text, "{:indent$}#{}: {value}", "", key.name);
}

/// `words` in lines that begin with a `#`.
fn comment(text: &mut String, indent: usize, words: &str) {
    let mut lines = String::new();
    paragraph::push(&mut lines, Style::new(), indent + 2, words);
    for line in lines.lines() {
        let (_, line) = line.split_at(indent + 2);
        let _ = writeln!(text, "{:indent$}# {line}", "");
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::config::{Shown, from_str};

    const ALL: [(&str, &str); 6] = [
        ("ANTHROPIC_API_KEY", "sk-test-0001"),
        ("ANTHROPIC_API_KEY_2", "sk-test-0002"),
        ("OPENAI_API_KEY", "sk-test-0003"),
        ("OPENAI_API_KEY_2", "sk-test-0004"),
        ("GEMINI_API_KEY", "sk-test-0005"),
        ("GEMINI_API_KEY_2", "sk-test-0006"),
    ];

    fn shown(text: &str) -> serde_json::Value {
        let environment = Environment::from_iter(ALL);
        match from_str(text, Path::new("f.yaml"), &environment) {
            Ok(config) => serde_json::to_value(Shown::of(&config)).unwrap(),
            Err(problems) => panic!("{problems}\n{text}"),
        }
    }

    /// `text` with the `#` removed from the settings that `which` picks.
    fn set(text: &str, which: impl Fn(&str) -> bool) -> String {
        let lines = text.lines().map(|line| match line.split_once('#') {
            Some((before, setting))
                if before.trim().is_empty() && !setting.starts_with(' ') && which(setting) =>
            {
                format!("{before}{setting}\n")
            }
            _ => format!("{line}\n"),
        });
        lines.collect()
    }

    fn starters() -> Vec<Starter> {
        let some = |range: std::ops::Range<usize>| ALL[range].iter().copied().collect();
        [some(0..0), some(0..1), some(2..6), some(0..6)]
            .iter()
            .map(Starter::new)
            .collect()
    }

    #[test]
    fn every_setting_shows_its_default_and_every_example_is_valid() {
        for Starter { text, .. } in starters() {
            let defaults = set(&text, |setting| !setting.contains("${"));
            assert_ne!(defaults, text);
            assert_eq!(shown(&defaults), shown(&text));
            let examples = set(&text, |_| true);
            let clusters = &shown(&examples)["clusters"];
            assert_eq!(clusters.as_object().unwrap().len(), 3, "{examples}");
        }
    }

    #[test]
    fn the_keys_of_the_environment_become_clusters_by_name_and_never_by_value() {
        let clusters: Vec<Vec<_>> = starters()
            .iter()
            .map(|starter| {
                assert!(!starter.text.contains("sk-test"), "{}", starter.text);
                let shown = shown(&starter.text);
                let mut names: Vec<_> = shown["clusters"].as_object().unwrap().keys().collect();
                let mut expected: Vec<_> = starter.vendors.iter().map(|v| v.cluster).collect();
                names.sort();
                expected.sort_unstable();
                assert_eq!(names, expected);
                expected
            })
            .collect();
        let expected: [&[&str]; 4] = [
            &["claude"],
            &["claude"],
            &["gemini", "openai"],
            &["claude", "gemini", "openai"],
        ];
        assert_eq!(clusters, expected);
    }

    #[test]
    fn without_a_key_the_file_says_what_to_put_in() {
        let ready: Vec<_> = starters().iter().map(|starter| starter.ready).collect();
        assert_eq!(ready, [false, true, true, true]);
        let text = &starters()[0].text;
        assert!(
            text.contains("set ANTHROPIC_API_KEY in the environment"),
            "{text}"
        );
    }

    #[test]
    fn no_line_is_wider_than_a_terminal() {
        for Starter { text, .. } in starters() {
            for line in text.lines().filter(|line| !line.contains("https://")) {
                assert!(line.chars().count() <= paragraph::WIDTH, "{line}");
            }
        }
    }
}
