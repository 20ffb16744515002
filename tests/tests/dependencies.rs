//! Every dependency has its reason in `docs/dependencies.md`, and every reason its dependency.

use std::collections::BTreeSet;
use std::fs;

use qcc_tests::source::root;

const MANIFESTS: [&str; 5] = [
    "Cargo.toml",
    "qcc-core/Cargo.toml",
    "qcc-cli/Cargo.toml",
    "examples/Cargo.toml",
    "tests/Cargo.toml",
];

#[test]
fn every_dependency_has_its_reason() {
    let read = |path: &str| fs::read_to_string(root().join(path)).unwrap();
    let doc = read("docs/dependencies.md");
    let manifests: Vec<_> = MANIFESTS.into_iter().map(read).collect();
    let problems = problems(&doc, &manifests);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

fn problems(doc: &str, manifests: &[String]) -> Vec<String> {
    let mut reasons = BTreeSet::new();
    let mut problems = Vec::new();
    for line in doc
        .lines()
        .filter(|line| line.starts_with("| ") && *line != "| crate | why |")
    {
        let mut cells = line.trim_matches('|').split('|').map(str::trim);
        let (name, reason) = (
            cells.next().unwrap_or_default(),
            cells.next().unwrap_or_default(),
        );
        if reason.is_empty() {
            problems.push(format!("{name} has no reason"));
        }
        if !reasons.insert(name) {
            problems.push(format!("{name} is listed twice"));
        }
    }
    let used: BTreeSet<_> = manifests
        .iter()
        .flat_map(|manifest| dependencies(manifest))
        .collect();
    problems.extend(
        used.difference(&reasons)
            .map(|name| format!("{name} is not listed")),
    );
    problems.extend(
        reasons
            .difference(&used)
            .map(|name| format!("{name} is not used")),
    );
    problems
}

/// The names in all dependency tables of a manifest, without the members of the workspace.
fn dependencies(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().filter_map(move |line| {
        if let Some(table) = line.strip_prefix('[') {
            inside = table.trim_end().ends_with("dependencies]");
            return None;
        }
        let name = line.split(['=', '.']).next().unwrap_or_default().trim();
        let named = inside && line.contains('=') && !name.starts_with(['#', ' ', '"']);
        (named && !name.starts_with("qcc-")).then_some(name)
    })
}

const DOC: &str = "# Any\n\n| crate | why |\n|---|---|\n| bytes | slices |\n| tower | services |\n";

fn check(doc: &str, manifest: &str) -> Vec<String> {
    problems(doc, &[manifest.to_owned()])
}

#[test]
fn all_tables_are_read() {
    let manifest = "[package]\nname = \"x\"\n[dependencies]\nbytes = \"1\"\nqcc-core.workspace = true\n\
                    [features]\nx = []\n[target.'cfg(unix)'.dev-dependencies]\ntower.workspace = true\n";
    assert_eq!(check(DOC, manifest), [""; 0]);
}

#[test]
fn what_is_not_listed_not_used_or_without_reason_is_found() {
    let manifest = "[dependencies]\nbytes = \"1\"\nserde = \"1\"\n";
    assert_eq!(
        check(DOC, manifest),
        ["serde is not listed", "tower is not used"]
    );
    let manifest = "[dependencies]\nbytes = \"1\"\ntower = \"1\"\n";
    let twice = format!("{DOC}| bytes | again |\n");
    assert_eq!(check(&twice, manifest), ["bytes is listed twice"]);
    let empty = DOC.replace("slices", "");
    assert_eq!(check(&empty, manifest), ["bytes has no reason"]);
}
