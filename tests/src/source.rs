//! Reading Rust sources well enough to hold rules about them: which paths a file names, which of
//! its lines are code, which of its items are tests.
//!
//! A parser would know more, but also cost more: the rules of this workspace need comments and
//! literals out of the way, `use` trees spelled out, and the items under `#[cfg(test)]` cut.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

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
    const SKIPPED: [&str; 3] = ["target", "__pycache__", ".venv"];
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
        let test_modules = cut_tests(&mut code);
        Self {
            module,
            code: String::from_utf8_lossy(&code).into_owned(),
            test_modules,
        }
    }

    /// The text with spaces in place of comments, literals and tests; every line stays where it
    /// was.
    #[must_use]
    pub fn code(&self) -> &str {
        &self.code
    }

    /// How many lines hold code.
    #[must_use]
    pub fn lines_of_code(&self) -> usize {
        self.code
            .lines()
            .filter(|line| !line.trim().is_empty())
            .count()
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
        let tokens = tokens(&self.code);
        let mut reader = Paths {
            tokens: &tokens,
            module: self.module.clone(),
            aliases: HashMap::new(),
            found: Vec::new(),
        };
        reader.imports();
        reader.rest();
        reader.found
    }
}

struct Paths<'a> {
    tokens: &'a [Token<'a>],
    module: Vec<String>,
    aliases: HashMap<String, Vec<String>>,
    found: Vec<Named>,
}

impl Paths<'_> {
    fn text(&self, at: usize) -> &str {
        self.tokens.get(at).map_or("", |token| token.text)
    }

    /// Whether an import begins here, and not `use<'a>` in a bound.
    fn is_import(&self, at: usize) -> bool {
        self.text(at) == "use" && self.text(at + 1) != "<"
    }

    /// Reads all imports first, because an item may use a name before the line that imports it.
    fn imports(&mut self) {
        self.walk(|reader, at, module| {
            if reader.is_import(at) {
                reader.tree(at + 1, &[], module);
            }
        });
    }

    fn rest(&mut self) {
        let mut end = 0;
        self.walk(|reader, at, module| {
            if at < end {
                return;
            }
            if reader.is_import(at) {
                end = (at..reader.tokens.len())
                    .find(|&i| reader.text(i) == ";")
                    .unwrap_or(at);
                return;
            }
            let begins = reader.tokens[at].is_ident()
                && (at == 0 || ![".", "::"].contains(&reader.text(at - 1)));
            if !begins {
                return;
            }
            let mut segments = vec![reader.text(at).to_owned()];
            end = at + 1;
            while reader.text(end) == "::"
                && reader.tokens.get(end + 1).is_some_and(Token::is_ident)
            {
                segments.push(reader.text(end + 1).to_owned());
                end += 2;
            }
            if segments.len() > 1 {
                let path = reader.resolve(&segments, module);
                let line = reader.tokens[at].line;
                reader.found.push(Named {
                    line,
                    path: path.join("::"),
                });
            }
        });
    }

    /// Calls `each` at every token with the module it stands in.
    fn walk(&mut self, mut each: impl FnMut(&mut Self, usize, &[String])) {
        let mut module = self.module.clone();
        let (mut depth, mut opened) = (0_usize, Vec::new());
        for at in 0..self.tokens.len() {
            match self.text(at) {
                "{" => {
                    depth += 1;
                    if at >= 2 && self.text(at - 2) == "mod" {
                        module.push(self.text(at - 1).to_owned());
                        opened.push(depth);
                    }
                }
                "}" => {
                    if opened.last() == Some(&depth) {
                        opened.pop();
                        module.pop();
                    }
                    depth = depth.saturating_sub(1);
                }
                _ => {}
            }
            each(self, at, &module);
        }
    }

    /// Reads one use tree and returns where it ends.
    fn tree(&mut self, mut at: usize, prefix: &[String], module: &[String]) -> usize {
        let line = self.tokens.get(at).map_or(0, |token| token.line);
        let mut path = prefix.to_vec();
        loop {
            match self.text(at) {
                "::" => at += 1,
                "{" => {
                    at += 1;
                    while !["}", ""].contains(&self.text(at)) {
                        at = self.tree(at, &path, module);
                        if self.text(at) == "," {
                            at += 1;
                        }
                    }
                    return at + 1;
                }
                "," | "}" | ";" | "" => break,
                "as" => {
                    let alias = self.text(at + 1).to_owned();
                    return self.import(line, path, alias, module, at + 2);
                }
                segment => {
                    path.push(segment.to_owned());
                    at += 1;
                }
            }
        }
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let alias = path.last().cloned().unwrap_or_default();
        self.import(line, path, alias, module, at)
    }

    fn import(
        &mut self,
        line: usize,
        path: Vec<String>,
        alias: String,
        module: &[String],
        end: usize,
    ) -> usize {
        let path = self.resolve(&path, module);
        self.found.push(Named {
            line,
            path: path.join("::"),
        });
        self.aliases.insert(alias, path);
        end
    }

    /// The same path from the crate's root, or an external crate, on.
    fn resolve(&self, path: &[String], module: &[String]) -> Vec<String> {
        let mut base = module.to_vec();
        let mut rest = path;
        match path.first().map(String::as_str) {
            Some("crate") => return path.to_vec(),
            Some("self") => rest = &path[1..],
            Some("super") => {
                while rest.first().is_some_and(|segment| segment == "super") {
                    base.pop();
                    rest = &rest[1..];
                }
            }
            Some(first) => {
                base = match self.aliases.get(first) {
                    Some(known) => known.clone(),
                    None => vec![first.to_owned()],
                };
                rest = &path[1..];
            }
            None => {}
        }
        base.extend(rest.iter().cloned());
        base
    }
}

#[derive(Clone, Copy)]
struct Token<'a> {
    line: usize,
    text: &'a str,
}

impl Token<'_> {
    fn is_ident(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

fn tokens(code: &str) -> Vec<Token<'_>> {
    let mut tokens = Vec::new();
    for (number, text) in code.lines().enumerate() {
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let length = if first.is_alphanumeric() || first == '_' {
                rest.find(|c: char| !c.is_alphanumeric() && c != '_')
                    .unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            let (token, after) = rest.split_at(length);
            if !first.is_whitespace() {
                tokens.push(Token {
                    line: number + 1,
                    text: token,
                });
            }
            rest = after;
        }
    }
    tokens
}

/// The text with comments and the insides of literals replaced by spaces, byte for byte.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut out = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = if bytes[at..].starts_with(b"//") {
            find(bytes, at, b"\n")
        } else if bytes[at..].starts_with(b"/*") {
            block_comment_end(bytes, at)
        } else if let Some(end) = raw_string_end(bytes, at) {
            end
        } else if bytes[at] == b'"' {
            quoted_end(bytes, at, b'"')
        } else if bytes[at] == b'\'' && is_char(bytes, at) {
            quoted_end(bytes, at, b'\'')
        } else {
            at += 1;
            continue;
        };
        let end = end.min(bytes.len());
        out[at..end]
            .iter_mut()
            .filter(|byte| **byte != b'\n')
            .for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&out).into_owned()
}

fn find(bytes: &[u8], from: usize, needle: &[u8]) -> usize {
    let found = bytes[from..]
        .windows(needle.len())
        .position(|window| window == needle);
    found.map_or(bytes.len(), |position| from + position)
}

fn block_comment_end(bytes: &[u8], at: usize) -> usize {
    let (mut end, mut depth) = (at + 2, 1);
    while depth > 0 && end < bytes.len() {
        match &bytes[end..] {
            [b'/', b'*', ..] => (depth, end) = (depth + 1, end + 2),
            [b'*', b'/', ..] => (depth, end) = (depth - 1, end + 2),
            _ => end += 1,
        }
    }
    end
}

/// The end of the raw string that begins here, if one does.
fn raw_string_end(bytes: &[u8], at: usize) -> Option<usize> {
    let part_of_name = at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_');
    if part_of_name {
        return None;
    }
    let prefix = [&b"br"[..], b"cr", b"r"]
        .into_iter()
        .find(|p| bytes[at..].starts_with(p))?;
    let hashes = bytes[at + prefix.len()..]
        .iter()
        .take_while(|&&byte| byte == b'#')
        .count();
    let open = at + prefix.len() + hashes;
    if bytes.get(open) != Some(&b'"') {
        return None;
    }
    let mut close = vec![b'"'];
    close.resize(1 + hashes, b'#');
    Some(find(bytes, open + 1, &close) + close.len())
}

fn quoted_end(bytes: &[u8], at: usize, quote: u8) -> usize {
    let mut end = at + 1;
    while end < bytes.len() && bytes[end] != quote {
        end += if bytes[end] == b'\\' { 2 } else { 1 };
    }
    end + 1
}

/// Whether the quote begins a character and no lifetime.
fn is_char(bytes: &[u8], at: usize) -> bool {
    match bytes.get(at + 1) {
        Some(b'\\') => true,
        Some(first) => {
            let width = match first {
                0xf0.. => 4,
                0xe0.. => 3,
                0xc0.. => 2,
                _ => 1,
            };
            bytes.get(at + 1 + width) == Some(&b'\'')
        }
        None => false,
    }
}

/// Blanks every item under `#[cfg(test)]` and returns the names of the modules among them that
/// have a file of their own.
fn cut_tests(code: &mut [u8]) -> Vec<String> {
    let mut modules = Vec::new();
    let mut from = 0;
    loop {
        let start = find(code, from, b"#[");
        if start >= code.len() {
            return modules;
        }
        let attribute_end = balanced_end(code, start + 1);
        from = attribute_end;
        let attribute = String::from_utf8_lossy(&code[start..attribute_end]).into_owned();
        let names = |word| tokens(&attribute).iter().any(|token| token.text == word);
        if !(attribute.starts_with("#[cfg(") && names("test") && !names("not")) {
            continue;
        }
        let end = item_end(code, attribute_end);
        let item = String::from_utf8_lossy(&code[attribute_end..end]).into_owned();
        let words = tokens(&item);
        if let Some(at) = words.iter().position(|token| token.text == "mod")
            && words.get(at + 2).is_some_and(|token| token.text == ";")
        {
            modules.push(words[at + 1].text.to_owned());
        }
        let cut = &mut code[start..end];
        cut.iter_mut()
            .filter(|byte| **byte != b'\n')
            .for_each(|byte| *byte = b' ');
        from = end;
    }
}

/// The end of the item that begins here: behind its `;` or its closing brace.
fn item_end(code: &[u8], mut at: usize) -> usize {
    while at < code.len() {
        match code[at] {
            b';' | b',' => return at + 1,
            b'{' => return balanced_end(code, at),
            b'(' | b'[' => at = balanced_end(code, at),
            _ => at += 1,
        }
    }
    at
}

/// The end of the group of brackets that opens here.
fn balanced_end(code: &[u8], at: usize) -> usize {
    let mut depth = 0_usize;
    for (offset, byte) in code[at..].iter().enumerate() {
        match byte {
            b'(' | b'[' | b'{' => depth += 1,
            b')' | b']' | b'}' => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth == 0 {
            return at + offset + 1;
        }
    }
    code.len()
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
        assert_eq!(source.lines_of_code(), 2);
    }
}
