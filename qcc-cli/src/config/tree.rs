//! YAML as a tree whose nodes know their place.
//!
//! Deserialising straight into structs stops at the first error and cannot name a key by its
//! path. The tree is small, and reading it (see [`reader`](super::reader)) finds everything that
//! is wrong in one pass.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{Location, Spanned};

use super::problem::{Position, Problem};

/// A node.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) at: Position,
    pub(super) value: Value,
}

/// What a node is. Numbers and the like stay text: what is expected of a key decides how its
/// text is read, so a key made of digits loses none of them.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// An entry of a map.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) at: Position,
    pub(super) key: String,
    pub(super) node: Node,
}

/// Reads `text`. An empty text is an empty map.
pub(super) fn parse(text: &str) -> Result<Node, Problem> {
    let options = serde_saphyr::options! {
        // A snippet shows lines of the file, and with them keys.
        with_snippet: false,
    };
    let raw: Spanned<Raw> = serde_saphyr::from_str_with_options(text, options)
        .map_err(|error| syntax_problem(text, &error))?;
    Ok(node(text, raw))
}

fn syntax_problem(text: &str, error: &serde_saphyr::Error) -> Problem {
    let at = error.location().map(position);
    if let serde_saphyr::Error::DuplicateMappingKey { key, .. } = error.without_snippet() {
        let key = key.as_deref().unwrap_or_default();
        return Problem::new(at, key, "stands here twice", "remove one of the two");
    }
    let line = at
        .and_then(|at| {
            text.lines()
                .nth(usize::try_from(at.line).ok()?.checked_sub(1)?)
        })
        .unwrap_or_default();
    let remedy = if line.contains("${") {
        "inside { … } and [ … ] put ${NAME} into quotes: \"${NAME}\""
    } else if line.contains('\t') {
        "indent with spaces; YAML allows no tabs"
    } else {
        "check the indentation, the colons and the quotes of this line and the one before"
    };
    let text = error.without_snippet().to_string();
    // The place is told apart from the reason.
    let reason = text.split(" at line ").next().unwrap_or_default();
    let reason = reason.split(": line ").next().unwrap_or_default();
    Problem::new(at, "", format!("not valid YAML: {reason}"), remedy)
}

fn position(location: Location) -> Position {
    Position {
        line: location.line(),
        column: location.column(),
    }
}

fn node(source: &str, raw: Spanned<Raw>) -> Node {
    let value = match raw.value {
        Raw::Null => Value::Null,
        Raw::Text(text) => Value::Text(text),
        Raw::Plain(text) => Value::Text(slice(source, raw.defined).unwrap_or(&text).to_owned()),
        Raw::List(items) => Value::List(items.into_iter().map(|item| node(source, item)).collect()),
        Raw::Map(entries) => Value::Map(
            entries
                .into_iter()
                .map(|(key, value)| Entry {
                    at: position(key.referenced),
                    key: key.value,
                    node: node(source, value),
                })
                .collect(),
        ),
    };
    Node {
        at: position(raw.referenced),
        value,
    }
}

/// The text at `location` as it stands in the file.
fn slice(source: &str, location: Location) -> Option<&str> {
    let span = location.span();
    let start = usize::try_from(span.byte_offset()?).ok()?;
    let len = usize::try_from(span.byte_len()?).ok()?;
    Some(source.get(start..start.checked_add(len)?)?.trim())
}

enum Raw {
    Null,
    Text(String),
    /// Something that YAML takes for a number or a truth value.
    Plain(String),
    List(Vec<Spanned<Self>>),
    Map(Vec<(Spanned<String>, Spanned<Self>)>),
}

impl<'de> Deserialize<'de> for Raw {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(RawVisitor)
    }
}

struct RawVisitor;

impl<'de> Visitor<'de> for RawVisitor {
    type Value = Raw;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_unit<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_none<E>(self) -> Result<Raw, E> {
        Ok(Raw::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_i128<E>(self, value: i128) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_u128<E>(self, value: u128) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Raw, E> {
        Ok(Raw::Plain(value.to_string()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Raw, E> {
        Ok(Raw::Text(value.to_owned()))
    }

    fn visit_string<E>(self, value: String) -> Result<Raw, E> {
        Ok(Raw::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Raw, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = seq.next_element()? {
            items.push(item);
        }
        Ok(Raw::List(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Raw, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Raw::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(node: &Node) -> &str {
        match &node.value {
            Value::Text(text) => text,
            other => panic!("{other:?} is no text"),
        }
    }

    // CFG-01
    #[test]
    fn every_node_knows_its_place() {
        let tree = parse("a: 1\nb:\n  - x\n  - c: ${N}\n").unwrap();
        let Value::Map(entries) = &tree.value else {
            panic!("no map");
        };
        assert_eq!(entries[1].key, "b");
        assert_eq!((entries[1].at.line, entries[1].at.column), (2, 1));
        let Value::List(items) = &entries[1].node.value else {
            panic!("no list");
        };
        assert_eq!((items[0].at.line, items[0].at.column), (3, 5));
        let Value::Map(inner) = &items[1].value else {
            panic!("no map");
        };
        assert_eq!((inner[0].node.at.line, inner[0].node.at.column), (4, 8));
    }

    #[test]
    fn what_looks_like_a_number_keeps_its_text() {
        for written in [
            "0123",
            "1e3",
            "1.50",
            "true",
            "0x10",
            "-7",
            "12345678901234567890123",
        ] {
            let tree = parse(&format!("ä: 'é'\nkey: {written} # why\n")).unwrap();
            let Value::Map(entries) = &tree.value else {
                panic!("no map");
            };
            assert_eq!(text(&entries[1].node), written);
        }
    }

    // CFG-01
    #[test]
    fn a_syntax_error_names_its_line_and_shows_no_text_of_the_file() {
        let problem = parse("a: 1\nkey: [sk-test-0001\n").unwrap_err();
        assert!(problem.at.unwrap().line >= 2, "{problem:?}");
        assert!(!format!("{problem:?}").contains("sk-test"), "{problem:?}");
        assert!(!problem.reason.contains(" line "), "{problem:?}");
    }

    // CFG-01
    #[test]
    fn a_key_that_stands_twice_is_named() {
        let problem = parse("a: 1\nb:\n  c: 1\n  c: 2\n").unwrap_err();
        assert_eq!(problem.at.unwrap().line, 4);
        assert_eq!(
            (problem.key.as_str(), problem.reason.as_str()),
            ("c", "stands here twice")
        );
    }

    #[test]
    fn a_bare_placeholder_inside_braces_gets_its_own_remedy() {
        let problem = parse("admin: { token: ${X}, listen: a }\n").unwrap_err();
        assert!(problem.remedy.contains("\"${NAME}\""), "{problem:?}");
    }

    #[test]
    fn an_alias_stands_for_what_it_names() {
        let tree = parse("a: &x 05\nb: *x\n").unwrap();
        let Value::Map(entries) = &tree.value else {
            panic!("no map");
        };
        assert_eq!(text(&entries[1].node), "05");
    }
}
