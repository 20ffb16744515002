//! Who may import whom in `qcc-core`, and the other rules that keep its folders apart.
//!
//! ```text
//! vocabulary        the vocabulary
//! layers            their own folder, the vocabulary
//! stream/           the vocabulary, the traits it implements
//! llm/              the vocabulary, stream/, the traits it implements
//! simulate/         the vocabulary, stream/, llm/
//! store/            the vocabulary, its own folder; sqlx in store/sqlite/ only
//! source/           the vocabulary, upstream/, the traits it implements
//! failover          all layers
//! ```
//!
//! The traits that users implement stand in files of their own (`classifier.rs`, `key.rs`,
//! `policy.rs`, `probe.rs`, `source.rs`); what those files define is open to every implementer. Pure cores
//! take `now` and return data.

use std::collections::{BTreeMap, BTreeSet};

use qcc_tests::source::{Named, Source, files};

const VOCABULARY: [&str; 15] = [
    "available",
    "body",
    "credential",
    "endpoint",
    "error",
    "exchange",
    "facts",
    "failure",
    "guard",
    "hex",
    "record",
    "resource",
    "standing",
    "time",
    "visit",
];

const LAYERS: [&str; 11] = [
    "affinity", "balance", "breaker", "classify", "health", "inspect", "limit", "recovery",
    "retry", "token", "upstream",
];

/// The files in which a layer defines the traits that users implement.
const TRAITS: [&str; 5] = ["classifier", "key", "policy", "probe", "source"];

/// The file names of pure cores, in any folder. What users implement is as pure, and so is all of
/// `stream/` and `llm/`.
const PURE: [&str; 6] = ["config", "history", "marks", "slot", "state", "totals"];

/// What a pure core does not use: no clock, lock, log, task, channel or I/O.
const IMPURE: [&str; 22] = [
    "crate::time::Timer",
    "crate::time::now",
    "hyper",
    "reqwest",
    "std::env",
    "std::fs",
    "std::net",
    "std::process",
    "std::sync::Barrier",
    "std::sync::Condvar",
    "std::sync::Mutex",
    "std::sync::MutexGuard",
    "std::sync::RwLock",
    "std::sync::mpsc",
    "std::thread",
    "std::time::Instant::elapsed",
    "std::time::Instant::now",
    "std::time::SystemTime::now",
    "tokio",
    "tower",
    "tracing",
    "crate::time::sleep",
];

/// What the library does nowhere: it reads no environment, never spawns, prints nothing.
const FOREIGN: [&str; 8] = [
    "std::env",
    "std::process",
    "std::thread::spawn",
    "tokio::process",
    "tokio::runtime",
    "tokio::spawn",
    "tokio::task::spawn",
    "tokio::task::spawn_blocking",
];

/// The one file that runs something: the command that the caller names.
const RUNS: &str = "source/command.rs";

const PRINTING: [&str; 6] = [
    "dbg",
    "eprint",
    "eprintln",
    "print",
    "println",
    "thread_local",
];

/// Names that say nothing about what is inside.
const EMPTY_NAMES: [&str; 9] = [
    "common", "helper", "helpers", "manager", "managers", "misc", "shared", "util", "utils",
];

/// Lines without tests.
const LONGEST: usize = 450;

// EMB-04
#[test]
fn the_library_keeps_its_shape() {
    let tree: Vec<_> = files("qcc-core/src", &["rs"])
        .into_iter()
        .map(|(path, text)| (path["qcc-core/src/".len()..].to_owned(), text))
        .collect();
    let problems = problems(&tree);
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[test]
fn the_rules_have_files_to_hold() {
    let tree = files("qcc-core/src", &["rs"]);
    let paths: BTreeSet<_> = tree.iter().map(|(path, _)| path.as_str()).collect();
    for name in VOCABULARY.into_iter().chain(LAYERS) {
        let places = [
            format!("qcc-core/src/{name}.rs"),
            format!("qcc-core/src/{name}/mod.rs"),
        ];
        assert!(
            places.iter().any(|place| paths.contains(&**place)),
            "{name}"
        );
    }
    for name in PURE {
        let file = format!("/{name}.rs");
        assert!(paths.iter().any(|path| path.ends_with(&file)), "{name}");
    }
}

#[test]
fn every_file_has_a_name_that_says_something() {
    for folder in ["qcc-core", "qcc-cli", "examples", "tests"] {
        for (path, _) in files(folder, &["rs", "py"]) {
            assert_eq!(empty_name(&path), None, "{path}");
        }
    }
}

fn problems(tree: &[(String, String)]) -> Vec<String> {
    let sources: Vec<_> = tree
        .iter()
        .map(|(path, text)| (path.as_str(), Source::new(path, text)))
        .collect();
    let tests: BTreeSet<String> = sources
        .iter()
        .flat_map(|(_, source)| source.test_modules())
        .collect();
    let traits = traits(&sources);
    let mut problems = Vec::new();
    for (path, source) in &sources {
        let module = source.module();
        if tests
            .iter()
            .any(|test| module == *test || module.starts_with(&format!("{test}::")))
        {
            continue;
        }
        let mut problem = |line: usize, text: String| {
            problems.push(format!("{path}:{line}: {text}"));
        };
        let place = place(&module);
        if matches!(place, Place::Unknown(_)) {
            problem(
                1,
                "belongs to no group: say in this test what it may import".into(),
            );
        }
        let pure = is_pure(path);
        let runs = *path == RUNS;
        for Named { line, path } in source.paths() {
            if let Some(target) = target(&path)
                && !place.may_import(target)
                && !traits.iter().any(|open| begins(&path, open))
            {
                problem(line, format!("{} imports `{path}`", place.describe()));
            }
            if pure && IMPURE.iter().any(|impure| begins(&path, impure)) {
                problem(line, format!("a pure core uses `{path}`"));
            }
            if begins(&path, "sqlx") && !begins(&module, "crate::store::sqlite") {
                problem(line, format!("{} uses `{path}`", place.describe()));
            }
            let foreign = FOREIGN.iter().any(|foreign| begins(&path, foreign));
            let process = path.contains("::process::");
            if foreign && !(runs && process) {
                problem(line, format!("the library uses `{path}`"));
            }
        }
        for Named { line, path } in source.macros() {
            if PRINTING.contains(&&*path) {
                problem(line, format!("the library uses `{path}!`"));
            }
        }
        for (number, line) in source.code().lines().enumerate() {
            if is_global_state(line) {
                problem(number + 1, "the library holds global state".into());
            }
        }
        if source.lines() > LONGEST {
            problem(1, format!("{} lines; split it", source.lines()));
        }
        if let Some(name) = empty_name(path) {
            problem(1, format!("`{name}` says nothing"));
        }
    }
    problems
}

/// Where a file of the library belongs.
enum Place<'a> {
    Root,
    Vocabulary,
    Layer(&'a str),
    Stream,
    Llm,
    Simulate,
    Store,
    Source,
    Failover,
    Unknown(&'a str),
}

fn place(module: &str) -> Place<'_> {
    let Some(name) = module.split("::").nth(1) else {
        return Place::Root;
    };
    match name {
        "stream" => Place::Stream,
        "llm" => Place::Llm,
        "simulate" => Place::Simulate,
        "store" => Place::Store,
        "source" => Place::Source,
        "failover" => Place::Failover,
        name if VOCABULARY.contains(&name) => Place::Vocabulary,
        name if LAYERS.contains(&name) => Place::Layer(name),
        name => Place::Unknown(name),
    }
}

/// The module of the library that a path leads into.
fn target(path: &str) -> Option<&str> {
    let mut segments = path.split("::");
    let first = segments.next();
    segments.next().filter(|_| first == Some("crate"))
}

impl Place<'_> {
    fn may_import(&self, module: &str) -> bool {
        match self {
            Self::Root | Self::Failover => true,
            _ if VOCABULARY.contains(&module) => true,
            Self::Vocabulary => false,
            Self::Layer(own) | Self::Unknown(own) => *own == module,
            Self::Stream => module == "stream",
            Self::Llm => ["llm", "stream"].contains(&module),
            Self::Simulate => ["llm", "simulate", "stream"].contains(&module),
            Self::Store => module == "store",
            Self::Source => ["source", "upstream"].contains(&module),
        }
    }

    fn describe(&self) -> String {
        match self {
            Self::Root => "the root".into(),
            Self::Vocabulary => "the vocabulary".into(),
            Self::Layer(name) => format!("the layer `{name}`"),
            Self::Stream => "stream/".into(),
            Self::Llm => "llm/".into(),
            Self::Simulate => "simulate/".into(),
            Self::Store => "store/".into(),
            Self::Source => "source/".into(),
            Self::Failover => "failover".into(),
            Self::Unknown(name) => format!("`{name}`"),
        }
    }
}

/// The paths of everything that a layer's trait files define: under their file, and under the
/// layer, which re-exports it. A trait that a layer's own folder keeps private does not compile
/// elsewhere.
fn traits(sources: &[(&str, Source)]) -> BTreeSet<String> {
    let mut traits = BTreeSet::new();
    for (_, source) in sources {
        let module = source.module();
        let Some((layer, file)) = module.rsplit_once("::") else {
            continue;
        };
        if !TRAITS.contains(&file) {
            continue;
        }
        let words: Vec<_> = source.code().split_whitespace().collect();
        for pair in words
            .windows(2)
            .filter(|pair| ["trait", "struct", "enum", "type"].contains(&pair[0]))
        {
            let name = pair[1]
                .split(|c: char| !c.is_alphanumeric() && c != '_')
                .next();
            let name = name.unwrap_or_default();
            traits.insert(format!("{module}::{name}"));
            traits.insert(format!("{layer}::{name}"));
        }
    }
    traits
}

fn is_pure(path: &str) -> bool {
    let stem = path.strip_suffix(".rs").unwrap_or(path);
    let (folder, name) = stem.rsplit_once('/').unwrap_or(("", stem));
    ["llm", "stream"].contains(&folder) || PURE.contains(&name) || TRAITS.contains(&name)
}

/// Whether `path` is `prefix` or inside it.
fn begins(path: &str, prefix: &str) -> bool {
    path.strip_prefix(prefix)
        .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

fn is_global_state(line: &str) -> bool {
    let line = line.trim_start();
    let line = line.strip_prefix("pub ").unwrap_or(line);
    let line = line.strip_prefix("pub(crate) ").unwrap_or(line);
    line.strip_prefix("static ").is_some_and(|item| {
        // A value computed once and never changed is a constant, not state.
        let cells = ["Atomic", "Mutex", "RefCell", "RwLock"];
        item.starts_with("mut ") || cells.iter().any(|cell| item.contains(cell))
    })
}

fn empty_name(path: &str) -> Option<&str> {
    let path = path
        .strip_suffix(".rs")
        .or_else(|| path.strip_suffix(".py"))
        .unwrap_or(path);
    path.split(['/', '_'])
        .find(|part| EMPTY_NAMES.contains(part))
}

fn check(files: &[(&str, &str)]) -> Vec<String> {
    let tree: Vec<_> = files
        .iter()
        .map(|(path, text)| ((*path).into(), (*text).into()))
        .collect();
    problems(&tree)
}

/// What a file at `path` with this text is told.
fn told(path: &str, text: &str) -> BTreeMap<usize, String> {
    let found = check(&[(path, text)]);
    let strip = |problem: String| {
        let rest = problem.strip_prefix(&format!("{path}:"))?.to_owned();
        let (line, text) = rest.split_once(": ")?;
        Some((line.parse().ok()?, text.to_owned()))
    };
    found.into_iter().filter_map(strip).collect()
}

#[test]
fn a_layer_that_imports_another_is_found() {
    for text in [
        "use crate::retry::Config;",
        "use crate::{retry::Config, time};",
        "use super::super::retry::Config;",
        "fn f() -> crate::retry::Config { todo!() }",
        "use crate as x; fn f(c: x::retry::Config) {}",
    ] {
        let told = told("breaker/state.rs", text);
        assert_eq!(
            told[&1], "the layer `breaker` imports `crate::retry::Config`",
            "{text}"
        );
    }
    let own = "use super::config::Config; use crate::breaker::layer; use crate::failure::Kind;";
    assert!(told("breaker/state.rs", own).is_empty());
}

#[test]
fn only_failover_imports_layers() {
    let text = "use crate::breaker::Breaker;";
    for path in [
        "visit.rs",
        "stream/sse.rs",
        "llm/mod.rs",
        "simulate/mod.rs",
        "source/mod.rs",
        "balance/mod.rs",
    ] {
        assert_eq!(told(path, text).len(), 1, "{path}");
    }
    assert!(told("failover.rs", text).is_empty());
    assert!(told("failover/builder.rs", text).is_empty());
}

#[test]
fn only_the_store_in_a_file_speaks_sql() {
    let text = "use sqlx::SqliteConnection; use crate::record::Record; use crate::standing;";
    assert!(told("store/sqlite/writer.rs", text).is_empty());
    for path in ["store/memory.rs", "health/handle.rs"] {
        assert_eq!(told(path, text).len(), 1, "{path}");
    }
    assert_eq!(
        told("health/handle.rs", "use crate::store::Memory;").len(),
        1
    );
    assert_eq!(
        told("store/memory.rs", "use crate::health::Health;").len(),
        1
    );
}

#[test]
fn the_vocabulary_imports_the_vocabulary_only() {
    assert!(told("visit.rs", "use crate::exchange::Exchange;").is_empty());
    assert_eq!(told("visit.rs", "use crate::stream::Event;").len(), 1);
}

#[test]
fn traits_are_open_to_their_implementers() {
    let classifier = (
        "classify/classifier.rs",
        "pub trait Watch: Send {}\npub struct Plan<'a>(u8);",
    );
    let state = ("classify/config.rs", "pub struct Timeouts;");
    let imports = "use crate::classify::{Plan, Timeouts, Watch};";
    let found = check(&[classifier, state, ("llm/watch.rs", imports)]);
    assert_eq!(
        found,
        ["llm/watch.rs:1: llm/ imports `crate::classify::Timeouts`"]
    );
}

#[test]
fn an_impure_core_is_found() {
    for text in [
        "use std::sync::Mutex;",
        "use std::sync::{Arc, Mutex};",
        "use tokio::time::sleep;",
        "use crate::time; fn f() { time::now(); }",
        "use crate::time::{self, Instant}; fn f() { time::now(); }",
        "fn f() { tracing::info!(\"x\"); }",
    ] {
        for path in [
            "breaker/state.rs",
            "retry/history.rs",
            "stream/sse.rs",
            "llm/phrases.rs",
        ] {
            assert_eq!(told(path, text).len(), 1, "{path}: {text}");
        }
        assert!(told("breaker/handle.rs", text).is_empty(), "{text}");
    }
    let pure = "use std::sync::Arc; use crate::time::{Duration, Instant};";
    assert!(told("breaker/state.rs", pure).is_empty());
}

#[test]
fn the_environment_tasks_and_printing_are_found() {
    for text in [
        "use std::env;",
        "fn f() { std::env::var(\"X\"); }",
        "fn f() { tokio::spawn(g()); }",
        "use tokio::task; fn f() { task::spawn(g()); }",
        "fn f() { println!(\"x\"); }",
        "static mut COUNT: u32 = 0;",
        "pub static COUNT: AtomicU64 = AtomicU64::new(0);",
        "thread_local! { static X: u8 = 0; }",
    ] {
        assert!(!told("breaker/handle.rs", text).is_empty(), "{text}");
    }
    assert!(told("breaker/handle.rs", "static NAMES: [&str; 1] = [\"a\"];").is_empty());
}

#[test]
fn tests_may_do_what_the_library_may_not() {
    let inline = "#[cfg(test)]\nmod tests { use crate::retry::Config; use std::env; }";
    assert!(told("breaker/state.rs", inline).is_empty());
    let parent = ("breaker/mod.rs", "#[cfg(test)]\nmod tests;");
    let file = ("breaker/tests.rs", "use crate::retry::Config;");
    assert_eq!(check(&[parent, file]), [""; 0]);
    assert_eq!(check(&[("breaker/mod.rs", "mod tests;"), file]).len(), 1);
}

#[test]
fn a_long_file_is_found() {
    let code = |lines| "fn f() {}\n".repeat(lines);
    assert!(told("breaker/mod.rs", &code(LONGEST)).is_empty());
    assert_eq!(told("breaker/mod.rs", &code(LONGEST + 1)).len(), 1);
    let tests = format!(
        "{}#[cfg(test)]\nmod tests {{\n{}}}\n",
        code(LONGEST),
        code(9)
    );
    assert!(told("breaker/mod.rs", &tests).is_empty());
}

#[test]
fn empty_names_and_unknown_places_are_found() {
    for path in [
        "utils.rs",
        "breaker/helpers.rs",
        "common/mod.rs",
        "retry/state_manager.rs",
    ] {
        assert!(
            told(path, "")
                .values()
                .any(|text| text.contains("says nothing") || text.contains("no group")),
            "{path}"
        );
        assert!(empty_name(path).is_some(), "{path}");
    }
    assert_eq!(empty_name("breaker/handle.rs"), None);
    assert!(told("gadget.rs", "")[&1].contains("belongs to no group"));
}
