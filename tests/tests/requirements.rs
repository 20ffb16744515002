//! `docs/requirements.md` and the tests agree: every line has a test, every test that names a
//! line is listed with it, and nothing is listed that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;

use qcc_tests::source::{files, root};

const FOLDERS: [&str; 4] = ["qcc-core", "qcc-cli", "examples", "tests"];

#[test]
fn every_requirement_has_its_tests() {
    let doc = fs::read_to_string(root().join("docs/requirements.md")).unwrap();
    let tree: Vec<_> = FOLDERS
        .iter()
        .flat_map(|folder| files(folder, &["rs", "py"]))
        .collect();
    let problems = problems(&doc, &tree);
    assert!(
        problems.is_empty(),
        "run scripts/requirements, then see:\n{}",
        problems.join("\n")
    );
}

/// A line of the document.
struct Row<'a> {
    id: &'a str,
    /// Whether the line says that it has no test yet.
    waits: bool,
    tests: BTreeSet<String>,
}

fn problems(doc: &str, tree: &[(String, String)]) -> Vec<String> {
    let mut problems = Vec::new();
    let mut found: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for (path, text) in tree {
        scan(path, text, &mut found, &mut problems);
    }

    let mut listed = BTreeSet::new();
    for row in rows(doc, &mut problems) {
        let id = row.id;
        if !listed.insert(id.to_owned()) {
            problems.push(format!("{id} is listed twice"));
        }
        let none = BTreeSet::new();
        let named = found.get(id).unwrap_or(&none);
        match (row.waits, row.tests.is_empty() && named.is_empty()) {
            (false, true) => problems.push(format!("{id} has no test")),
            (true, false) => problems.push(format!("{id} has tests and no longer waits")),
            _ => {}
        }
        for test in row.tests.difference(named) {
            problems.push(format!(
                "{id} lists {test}, which does not exist or does not name it"
            ));
        }
        for test in named.difference(&row.tests) {
            problems.push(format!("{id} does not list {test}, which names it"));
        }
    }
    for (id, tests) in &found {
        if !listed.contains(id) {
            let tests: Vec<_> = tests.iter().map(String::as_str).collect();
            problems.push(format!(
                "{id} is not listed, but named by {}",
                tests.join(", ")
            ));
        }
    }
    problems
}

/// Reads the tables that begin with `| id | behaviour | test |`.
fn rows<'a>(doc: &'a str, problems: &mut Vec<String>) -> Vec<Row<'a>> {
    let mut rows = Vec::new();
    let mut in_table = false;
    for (number, line) in doc.lines().enumerate() {
        if line == "| id | behaviour | test |" {
            in_table = true;
            continue;
        }
        in_table &= line.starts_with('|');
        if !in_table || line.starts_with("|---") {
            continue;
        }
        // A `\|` inside a cell is no border, and the behaviour is the only cell that has one.
        let cells = line
            .strip_prefix("| ")
            .and_then(|line| line.strip_suffix(" |"));
        let cells = cells
            .and_then(|line| line.split_once(" | "))
            .and_then(|(id, rest)| Some((id, rest.rsplit_once(" | ")?)));
        match cells {
            Some((id, (behaviour, tests))) if is_id(id) && !behaviour.is_empty() => {
                let tests = if ["waits", "missing"].contains(&tests) {
                    ""
                } else {
                    tests
                };
                let tests = tests.split("<br>").filter(|test| !test.is_empty());
                rows.push(Row {
                    id,
                    waits: behaviour.contains("*Waits:"),
                    tests: tests
                        .map(|test| test.trim_matches('`').to_owned())
                        .collect(),
                });
            }
            _ => problems.push(format!("line {} of the document is unreadable", number + 1)),
        }
    }
    rows
}

/// Finds the tests of one file, `path::name`, by the lines they name.
fn scan(
    path: &str,
    text: &str,
    found: &mut BTreeMap<String, BTreeSet<String>>,
    problems: &mut Vec<String>,
) {
    let python = path.ends_with(".py");
    let (comment, attribute) = if python { ("#", "@") } else { ("//", "#[") };
    let mut ids: Vec<String> = Vec::new();
    let mut is_test = python;
    let mut in_attribute = false;
    for (number, line) in text.lines().map(str::trim).enumerate() {
        if in_attribute {
            in_attribute = !line.ends_with(']');
        } else if line.starts_with(attribute) {
            is_test |=
                line.starts_with("#[test]") || line.contains("::test]") || line.contains("::test(");
            in_attribute = !python && !line.ends_with(']');
        } else if let Some(text) = line.strip_prefix(comment) {
            let text = text.strip_prefix(' ').unwrap_or(text);
            if text.split(", ").all(is_id) {
                ids.extend(text.split(", ").map(Into::into));
            }
        } else {
            match function(line).filter(|name| is_test && (!python || name.starts_with("test_"))) {
                Some(name) => {
                    for id in ids.drain(..) {
                        found
                            .entry(id)
                            .or_default()
                            .insert(format!("{path}::{name}"));
                    }
                }
                None if !ids.is_empty() => {
                    let place = format!("{path}:{}", number + 1);
                    problems.push(format!(
                        "{} is named above no test at {place}",
                        ids.join(", ")
                    ));
                    ids.clear();
                }
                None => {}
            }
            is_test = python;
        }
    }
}

fn function(line: &str) -> Option<&str> {
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("async ").unwrap_or(line);
    let name = line
        .strip_prefix("fn ")
        .or_else(|| line.strip_prefix("def "))?;
    let end = name
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    (end > 0).then_some(&name[..end])
}

/// Whether `text` has the form `ABC-01`.
fn is_id(text: &str) -> bool {
    let Some((domain, number)) = text.split_once('-') else {
        return false;
    };
    domain.len() == 3
        && domain.bytes().all(|byte| byte.is_ascii_uppercase())
        && number.len() == 2
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The margin keeps the scan of this file from taking the fixtures for tests.
fn fixture(text: &str) -> String {
    let lines = text
        .lines()
        .filter_map(|line| line.split_once('|').map(|(_, line)| line));
    lines.map(|line| format!("{line}\n")).collect()
}

fn check(rows: &[&str], rust: &str) -> Vec<String> {
    check_files(rows, &[("a.rs", rust)])
}

fn check_files(rows: &[&str], files: &[(&str, &str)]) -> Vec<String> {
    let head = "| id | behaviour | test |\n|---|---|---|\n";
    let doc = format!("# Any\n\n{head}{}\n", rows.join("\n"));
    let tree: Vec<_> = files
        .iter()
        .map(|(path, text)| ((*path).into(), fixture(text)))
        .collect();
    problems(&doc, &tree)
}

const TEST: &str = "
    |// ABC-01
    |#[test]
    |fn it_holds() {}
";

#[test]
fn a_line_and_its_test_agree() {
    assert_eq!(
        check(&["| ABC-01 | One. | `a.rs::it_holds` |"], TEST),
        [""; 0]
    );
}

#[test]
fn all_forms_of_tests_are_read() {
    let rust = "
        |    // ABC-01, ABC-02
        |    // Why it matters.
        |    #[tokio::test(start_paused = true)]
        |    #[should_panic(
        |        expected = \"x\"
        |    )]
        |    async fn it_waits() {}
        |proptest! {
        |    // ABC-01
        |    #[test]
        |    fn it_always_holds(x in 0..9) {}
        |}
    ";
    let python = "
        |    # ABC-02
        |    @skipUnless(x, \"y\")
        |    def test_it(self):
    ";
    let rows = [
        "| ABC-01 | `a\\|b`. | `a.rs::it_waits`<br>`a.rs::it_always_holds` |",
        "| ABC-02 | Two. | `a.rs::it_waits`<br>`b.py::test_it` |",
    ];
    assert_eq!(
        check_files(&rows, &[("a.rs", rust), ("b.py", python)]),
        [""; 0]
    );
}

#[test]
fn a_line_without_a_test_is_found() {
    for cell in ["missing", ""] {
        let row = format!("| ABC-01 | One. | {cell} |");
        assert_eq!(check(&[&row], ""), ["ABC-01 has no test"]);
    }
}

#[test]
fn a_line_that_waits_needs_no_test_and_must_not_have_one() {
    let row = "| ABC-01 | One. *Waits: needs more.* | waits |";
    assert_eq!(check(&[row], ""), [""; 0]);
    let found = check(&[row], TEST);
    assert!(
        found.contains(&"ABC-01 has tests and no longer waits".into()),
        "{found:?}"
    );
    let partly = "| ABC-01 | One. *In part: needs more.* | missing |";
    assert_eq!(check(&[partly], ""), ["ABC-01 has no test"]);
}

#[test]
fn a_listed_test_that_does_not_name_the_line_is_found() {
    let row = "| ABC-01 | One. | `a.rs::it_holds`<br>`a.rs::it_is_gone` |";
    let found = check(&[row], TEST);
    assert_eq!(
        found,
        ["ABC-01 lists a.rs::it_is_gone, which does not exist or does not name it"]
    );
    let unnamed = TEST.replace("ABC-01", "One");
    let found = check(&["| ABC-01 | One. | `a.rs::it_holds` |"], &unnamed);
    assert_eq!(found.len(), 1, "{found:?}");
}

#[test]
fn a_test_that_is_not_listed_is_found() {
    let more = format!("{TEST}{}", TEST.replace("it_holds", "it_holds_twice"));
    let found = check(&["| ABC-01 | One. | `a.rs::it_holds` |"], &more);
    assert_eq!(
        found,
        ["ABC-01 does not list a.rs::it_holds_twice, which names it"]
    );
}

#[test]
fn a_named_line_that_is_not_listed_is_found() {
    assert_eq!(
        check(&[], TEST),
        ["ABC-01 is not listed, but named by a.rs::it_holds"]
    );
}

#[test]
fn a_line_listed_twice_is_found() {
    let row = "| ABC-01 | One. | `a.rs::it_holds` |";
    assert_eq!(check(&[row, row], TEST), ["ABC-01 is listed twice"]);
}

#[test]
fn a_name_above_no_test_is_found() {
    let row = "| ABC-01 | One. | `a.rs::it_holds` |";
    for stray in [
        "|\n",
        "|fn helper() {}\n",
        "|#[derive(Debug)]\n |struct S;\n",
    ] {
        let text = format!("{TEST}|// ABC-01\n{stray}");
        let found = check(&[row], &text);
        assert_eq!(found.len(), 1, "{stray}: {found:?}");
        assert!(
            found[0].starts_with("ABC-01 is named above no test"),
            "{found:?}"
        );
    }
}

#[test]
fn an_unreadable_row_is_found() {
    for row in [
        "| ABC-1 | One. | `a` |",
        "| ABC-01 | `a` |",
        "| ABC-01 |  | `a` |",
    ] {
        let found = check(&[row], "");
        assert_eq!(found, ["line 5 of the document is unreadable"], "{row}");
    }
}
