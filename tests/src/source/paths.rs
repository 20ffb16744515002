//! The paths that a file names: its words, its imports, and what it spells out.

use std::collections::HashMap;

use super::Named;

/// Reads the paths that a file names.
pub(super) struct Paths<'a> {
    tokens: &'a [Token<'a>],
    module: Vec<String>,
    aliases: HashMap<String, Vec<String>>,
    found: Vec<Named>,
}

impl<'a> Paths<'a> {
    pub(super) fn read(tokens: &'a [Token<'a>], module: &[String]) -> Vec<Named> {
        let mut reader = Self {
            tokens,
            module: module.to_vec(),
            aliases: HashMap::new(),
            found: Vec::new(),
        };
        reader.imports();
        reader.rest();
        reader.found
    }

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
                    return self.import(line, &path, alias, module, at + 2);
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
        self.import(line, &path, alias, module, at)
    }

    fn import(
        &mut self,
        line: usize,
        path: &[String],
        alias: String,
        module: &[String],
        end: usize,
    ) -> usize {
        let path = self.resolve(path, module);
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
pub(super) struct Token<'a> {
    pub(super) line: usize,
    pub(super) text: &'a str,
}

impl Token<'_> {
    pub(super) fn is_ident(&self) -> bool {
        self.text
            .starts_with(|c: char| c.is_alphabetic() || c == '_')
    }
}

pub(super) fn tokens(code: &str) -> Vec<Token<'_>> {
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
