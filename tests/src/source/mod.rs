//! Reading Rust sources well enough to hold rules about them: which paths a file names, which of
//! its lines are code, which of its items are tests.
//!
//! A parser would know more, but also cost more: the rules of this workspace need comments and
//! literals out of the way, `use` trees spelled out, and the items under `#[cfg(test)]` cut.

mod cut;
mod paths;

use std::fs;
use std::path::{Path, PathBuf};

use self::cut::{blank, cut_tests};
use self::paths::{Paths, tokens};

/// The folder that holds the workspace.
#[must_use]
pub fn root() -> PathBuf {
    let mut root = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    root.pop();
    root
}

/// Every file under `folder` of the workspace with one of these extensions: its path from the
/// workspace on, with `/` between its parts, and its text. Sorted by path.
///
/// # Panics
///
/// If the folder or a file in it cannot be read: no rule could be checked.
#[must_use]
pub fn files(folder: &str, extensions: &[&str]) -> Vec<(String, String)> {
    const SKIPPED: [&str; 4] = ["target", "__pycache__", ".venv", "node_modules"];
    fn visit(folder: &Path, extensions: &[&str], found: &mut Vec<(String, String)>) {
        let entries = fs::read_dir(folder).unwrap_or_else(|error| panic!("{folder:?}: {error}"));
        for entry in entries {
            let path = entry.expect("a readable entry").path();
            let extension = path.extension().unwrap_or_default().to_string_lossy();
            if path.is_dir() {
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                if !SKIPPED.contains(&&*name) {
                    visit(&path, extensions, found);
                }
            } else if extensions.contains(&&*extension) {
                let relative = path.strip_prefix(root()).expect("a file of the workspace");
                let parts: Vec<_> = relative.iter().map(|part| part.to_string_lossy()).collect();
                let text =
                    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"));
                found.push((parts.join("/"), text));
            }
        }
    }
    let mut found = Vec::new();
    visit(&root().join(folder), extensions, &mut found);
    found.sort();
    found
}

/// A file of a crate, without its comments, its literals and its tests.
#[derive(Clone, Debug)]
pub struct Source {
    module: Vec<String>,
    code: String,
    lines: usize,
    test_modules: Vec<String>,
}

/// A path that a file names, from its crate's root or an external crate on: `crate::time::now`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// Counted from 1.
    pub line: usize,
    /// With `::` between its segments; `*` at the end of a glob import.
    pub path: String,
}

impl Source {
    /// Reads `text`, the file at `path` below its crate's `src` folder (`breaker/state.rs`).
    #[must_use]
    pub fn new(path: &str, text: &str) -> Self {
        let mut module: Vec<String> = vec!["crate".into()];
        let stem = path.strip_suffix(".rs").unwrap_or(path);
        module.extend(stem.split('/').map(Into::into));
        if ["mod", "lib", "main"]
            .iter()
            .any(|name| module.last().is_some_and(|last| last == name))
        {
            module.pop();
        }
        let mut code = blank(text).into_bytes();
        let cut = cut_tests(&mut code);
        Self {
            module,
            code: String::from_utf8_lossy(&code).into_owned(),
            lines: text.lines().count() - cut.lines,
            test_modules: cut.modules,
        }
    }

    /// The text with spaces in place of comments, literals and tests; every line stays where it
    /// was.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// How many lines it has, those of tests left out.
    #[must_use]
    pub fn lines(&self) -> usize {
        self.lines
    }

    /// The modules that exist only in tests and have a file of their own: `crate::balance::tests`.
    pub fn test_modules(&self) -> impl Iterator<Item = String> {
        let module = self.module.join("::");
        self.test_modules
            .iter()
            .map(move |name| format!("{module}::{name}"))
    }

    /// This file's own module: `crate::breaker::state`.
    #[must_use]
    pub fn module(&self) -> String {
        self.module.join("::")
    }

    /// Every macro that is called, without its path: `println`.
    #[must_use]
    pub fn macros(&self) -> Vec<Named> {
        let tokens = tokens(&self.code);
        let calls = tokens.windows(3).filter(|w| {
            w[0].is_ident() && w[1].text == "!" && ["(", "[", "{"].contains(&w[2].text)
        });
        calls
            .map(|w| Named {
                line: w[0].line,
                path: w[0].text.into(),
            })
            .collect()
    }

    /// Every path of at least two segments, imported or spelled out, with imported names
    /// resolved.
    #[must_use]
    pub fn paths(&self) -> Vec<Named> {
        Paths::read(&tokens(&self.code), &self.module)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn paths(path: &str, text: &str) -> Vec<String> {
        Source::new(path, text)
            .paths()
            .into_iter()
            .map(|named| named.path)
            .collect()
    }

    #[test]
    fn use_trees_are_spelled_out() {
        let text = "use a::{self, b::{C, D as E}, f::*};\npub use ::g::h;";
        assert_eq!(
            paths("x.rs", text),
            ["a", "a::b::C", "a::b::D", "a::f::*", "g::h"]
        );
    }

    #[test]
    fn relative_paths_begin_at_the_crate() {
        let text = "use super::sibling::A; use self::child::B; fn f() { super::super::x::y() }";
        assert_eq!(
            paths("layer/part.rs", text),
            [
                "crate::layer::sibling::A",
                "crate::layer::part::child::B",
                "crate::x::y"
            ]
        );
        assert_eq!(paths("layer/mod.rs", "use super::x;"), ["crate::x"]);
        let inline = "mod inner { use super::a::B; } use super::c;";
        assert_eq!(
            paths("layer/mod.rs", inline),
            ["crate::layer::a::B", "crate::c"]
        );
    }

    #[test]
    fn imported_names_are_resolved() {
        let text = "fn f() { task::spawn(g); time::now() } use tokio::task; use crate::time;";
        let found = paths("x.rs", text);
        assert!(found.contains(&"tokio::task::spawn".into()), "{found:?}");
        assert!(found.contains(&"crate::time::now".into()), "{found:?}");
    }

    #[test]
    fn comments_and_literals_name_nothing() {
        let text = r####"
            //! use a::b;
            /* use a::b; /* nested */ use a::b; */
            const S: &str = "use a::b; \" use a::b;";
            const R: &str = r#"use "a::b";"#;
            const C: [char; 3] = ['"', '\'', 'ä'];
            fn f<'a>(x: &'a str) -> impl Sized + use<'a> { x }
        "####;
        assert_eq!(paths("x.rs", text), [""; 0]);
    }

    #[test]
    fn tests_are_cut_and_their_files_named() {
        let text = "use a::b;\n#[cfg(test)]\nmod tests {\n    use c::d;\n}\n\
                    #[cfg(test)]\npub(crate) mod support;\n\
                    #[cfg(all(test, feature = \"x\"))]\n#[path = \"y.rs\"]\nmod more;\n\
                    #[cfg(not(test))]\nuse e::f;";
        let source = Source::new("layer/mod.rs", text);
        let found: Vec<_> = source.paths().into_iter().map(|named| named.path).collect();
        assert_eq!(found, ["a::b", "e::f"]);
        assert_eq!(source.lines(), 3);
        let modules: Vec<_> = source.test_modules().collect();
        assert_eq!(modules, ["crate::layer::support", "crate::layer::more"]);
    }

    #[test]
    fn lines_stay_where_they_were() {
        let text = "// one\nuse a::b; /* two\n three */ fn f() { println!(\"{}\", c::D) }\n";
        let source = Source::new("x.rs", text);
        let lines: Vec<_> = source.paths().into_iter().map(|named| named.line).collect();
        assert_eq!(lines, [2, 3]);
        assert_eq!(
            source.macros(),
            [Named {
                line: 3,
                path: "println".into()
            }]
        );
        assert_eq!(source.lines(), 3);
    }
}
