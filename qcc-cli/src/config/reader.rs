//! Reads typed values out of the tree and collects everything that is wrong with them.
//!
//! A read that fails notes the problem and gives `None`, so that the caller goes on with the
//! default and finds the next problem, too. Whoever asked decides at the end: a configuration
//! with one problem is not used.

use std::fmt::Display;
use std::str::FromStr;

use qcc_core::time::Duration;

use super::env::Environment;
use super::keys::{FILE, Form};
use super::problem::{Position, Problem};
use super::tree::{Entry, Node, Value};
use super::value::{self, BadPlaceholder};

/// What reading needs, and what it found.
pub(super) struct Reader<'e> {
    pub(super) environment: &'e Environment,
    pub(super) problems: Vec<Problem>,
    /// What is odd and stops nothing.
    pub(super) warnings: Vec<Problem>,
    /// Whether a pool has taken the tokens that the environment has for one.
    pub(super) environment_is_taken: bool,
}

impl<'e> Reader<'e> {
    pub(super) const fn new(environment: &'e Environment) -> Self {
        Self {
            environment,
            problems: Vec::new(),
            warnings: Vec::new(),
            environment_is_taken: false,
        }
    }

    pub(super) fn problem(
        &mut self,
        at: Position,
        key: &str,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        self.problems.push(Problem::new(at, key, reason, remedy));
    }
}

/// A map that is being read key by key.
pub(super) struct Section<'n> {
    pub(super) at: Position,
    path: String,
    entries: &'n [Entry],
    form: &'static Form,
    /// Those that were asked for.
    asked: Vec<&'static str>,
}

impl<'n> Section<'n> {
    /// The value of `key`, if it is there.
    pub(super) fn get(&mut self, key: &'static str) -> Option<Field<'n>> {
        self.asked.push(key);
        let known = self.form.keys().iter().find(|known| known.name == key);
        debug_assert!(known.is_some(), "{key} stands in no table of config::keys");
        let entry = self.entries.iter().find(|entry| entry.key == key)?;
        Some(Field {
            path: join(&self.path, key),
            key_at: entry.at,
            node: &entry.node,
            form: &known?.form,
        })
    }

    /// Notes that `key` is missing.
    pub(super) fn missing(&self, reader: &mut Reader<'_>, key: &str, remedy: &str) {
        reader.problem(self.at, &join(&self.path, key), "is missing", remedy);
    }

    /// The entries, for maps whose keys are names.
    pub(super) fn named(self) -> impl Iterator<Item = (&'n str, Field<'n>)> {
        self.entries.iter().map(move |entry| {
            let field = Field {
                path: join(&self.path, &entry.key),
                key_at: entry.at,
                node: &entry.node,
                // The names are free: each stands for the same keys.
                form: self.form,
            };
            (entry.key.as_str(), field)
        })
    }

    /// Ends the reading: each other key is unknown.
    pub(super) fn close(self, reader: &mut Reader<'_>) {
        let known: Vec<_> = self.form.keys().iter().map(|key| key.name).collect();
        debug_assert!(
            known.iter().all(|key| self.asked.contains(key)),
            "of {known:?} only {:?} are read",
            self.asked
        );
        for entry in self.entries {
            if known.contains(&entry.key.as_str()) {
                continue;
            }
            let remedy = match closest(&entry.key, &known) {
                Some(known) => format!("did you mean `{known}`?"),
                None => format!("known here: {}", known.join(", ")),
            };
            let key = join(&self.path, &entry.key);
            reader.problem(entry.at, &key, "is no known key", remedy);
        }
    }
}

/// One value that is to be read.
#[derive(Clone)]
pub(super) struct Field<'n> {
    pub(super) path: String,
    pub(super) key_at: Position,
    node: &'n Node,
    form: &'static Form,
}

impl<'n> Field<'n> {
    /// The root of a file.
    pub(super) fn root(node: &'n Node) -> Self {
        Self {
            path: String::new(),
            key_at: node.at,
            node,
            form: &FILE,
        }
    }

    /// Where the value stands.
    pub(super) const fn at(&self) -> Position {
        self.node.at
    }

    /// Notes what is wrong with the value.
    pub(super) fn problem(
        &self,
        reader: &mut Reader<'_>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        reader.problem(self.at(), &self.path, reason, remedy);
    }

    /// Notes what is odd about the value.
    pub(super) fn warning(
        &self,
        reader: &mut Reader<'_>,
        reason: impl Into<String>,
        remedy: impl Into<String>,
    ) {
        let warning = Problem::new(self.at(), &*self.path, reason, remedy);
        reader.warnings.push(warning);
    }

    /// Whether the value is a map.
    pub(super) const fn is_map(&self) -> bool {
        matches!(self.node.value, Value::Map(_))
    }

    /// The value as a map.
    pub(super) fn section(&self, reader: &mut Reader<'_>, remedy: &str) -> Option<Section<'n>> {
        match &self.node.value {
            Value::Map(entries) => Some(Section {
                at: self.key_at,
                path: self.path.clone(),
                entries,
                form: self.form,
                asked: Vec::new(),
            }),
            Value::Null => {
                self.problem(reader, "is empty", remedy);
                None
            }
            Value::Text(_) | Value::List(_) => {
                self.problem(reader, "must be a map of keys", remedy);
                None
            }
        }
    }

    /// The value as a list.
    pub(super) fn items(&self, reader: &mut Reader<'_>, remedy: &str) -> Option<Vec<Self>> {
        match &self.node.value {
            Value::List(items) => Some(
                items
                    .iter()
                    .enumerate()
                    .map(|(index, node)| Self {
                        path: format!("{}[{index}]", self.path),
                        key_at: node.at,
                        node,
                        form: self.form.inner(),
                    })
                    .collect(),
            ),
            Value::Null => {
                self.problem(reader, "is empty", remedy);
                None
            }
            Value::Text(_) | Value::Map(_) => {
                self.problem(reader, "must be a list", remedy);
                None
            }
        }
    }

    /// The values, where one may stand for a list of one.
    pub(super) fn each(&self) -> Vec<Self> {
        let field = |path: String, node: &'n Node| Self {
            path,
            key_at: node.at,
            node,
            form: self.form.inner(),
        };
        match &self.node.value {
            Value::List(items) => {
                let items = items.iter().enumerate();
                let items =
                    items.map(|(index, node)| field(format!("{}[{index}]", self.path), node));
                items.collect()
            }
            _ => vec![field(self.path.clone(), self.node)],
        }
    }

    /// The value as text that is not empty, with placeholders replaced.
    pub(super) fn text(&self, reader: &mut Reader<'_>, remedy: &str) -> Option<String> {
        let text = self.text_or_empty(reader, remedy)?;
        if text.trim().is_empty() {
            // The usual cause is a variable that is set to nothing.
            self.problem(reader, "is empty", remedy);
            return None;
        }
        Some(text)
    }

    /// The value as text, with placeholders replaced. It may be empty if a variable is.
    pub(super) fn text_or_empty(&self, reader: &mut Reader<'_>, remedy: &str) -> Option<String> {
        let text = match &self.node.value {
            Value::Text(text) => text,
            Value::Null => {
                self.problem(reader, "is empty", remedy);
                return None;
            }
            Value::List(_) | Value::Map(_) => {
                self.problem(reader, "must be a single value", remedy);
                return None;
            }
        };
        match value::substitute(text, reader.environment) {
            Ok(text) => Some(text),
            Err(BadPlaceholder::Undefined(name)) => {
                self.problem(
                    reader,
                    format!("the environment variable {name} is not set"),
                    format!("set it (export {name}=…) or write another value"),
                );
                None
            }
            Err(BadPlaceholder::Open) => {
                self.problem(
                    reader,
                    "has `${` without `}`",
                    "write ${NAME}; $${ stands for ${",
                );
                None
            }
            Err(BadPlaceholder::Name) => {
                self.problem(
                    reader,
                    "has a placeholder whose name is no name",
                    "write ${NAME} with letters, digits and _ only; $${ stands for ${",
                );
                None
            }
        }
    }

    /// The value read by `read`; what it does not take is not `expected`.
    fn parsed<T>(
        &self,
        reader: &mut Reader<'_>,
        expected: &str,
        remedy: &str,
        read: impl FnOnce(&str) -> Option<T>,
    ) -> Option<T> {
        let text = self.text(reader, remedy)?;
        let value = read(text.trim());
        if value.is_none() {
            self.problem(reader, format!("must be {expected}"), remedy);
        }
        value
    }

    /// The value as a type whose errors say what is wrong and, after a semicolon, what to write.
    pub(super) fn typed<T: FromStr<Err: Display>>(
        &self,
        reader: &mut Reader<'_>,
        remedy: &str,
    ) -> Option<T> {
        let text = self.text(reader, remedy)?;
        match text.trim().parse() {
            Ok(value) => Some(value),
            Err(error) => {
                let error = T::Err::to_string(&error);
                let (reason, remedy) = error.split_once("; ").unwrap_or((&error, remedy));
                self.problem(reader, reason, remedy);
                None
            }
        }
    }

    /// A whole number in the range of its key.
    pub(super) fn whole(&self, reader: &mut Reader<'_>) -> Option<u32> {
        let (least, most) = self.form.range();
        let expected = if most == u32::MAX {
            format!("a whole number from {least}")
        } else {
            format!("a whole number from {least} to {most}")
        };
        let remedy = format!("write it like {}", least.max(1));
        self.parsed(reader, &expected, &remedy, |text| {
            let value = text.parse().ok()?;
            (least..=most).contains(&value).then_some(value)
        })
    }

    /// A duration of at least a millisecond.
    pub(super) fn duration(&self, reader: &mut Reader<'_>) -> Option<Duration> {
        let remedy = "write it like 500ms, 60s, 5m, 5h or 30d";
        self.parsed(reader, "a duration above 0 with its unit", remedy, |text| {
            value::duration(text).filter(|duration| !duration.is_zero())
        })
    }

    /// A duration above 0, or `None` in it for `off`.
    pub(super) fn duration_or_off(&self, reader: &mut Reader<'_>) -> Option<Option<Duration>> {
        let expected = "a duration above 0 with its unit, or off";
        self.parsed(
            reader,
            expected,
            "write it like 15s or off",
            |text| match text {
                "off" => Some(None),
                text => value::duration(text)
                    .filter(|duration| !duration.is_zero())
                    .map(Some),
            },
        )
    }

    /// A share of a whole.
    pub(super) fn percent(&self, reader: &mut Reader<'_>) -> Option<f64> {
        let expected = "a percentage from 0% to 100%";
        self.parsed(reader, expected, "write it like 20%", value::percent)
    }

    /// A number of bytes.
    pub(super) fn size(&self, reader: &mut Reader<'_>) -> Option<u64> {
        let remedy = "write it like 32MiB or 64KiB";
        self.parsed(reader, "a size with its unit", remedy, value::size)
    }

    /// Yes or no.
    pub(super) fn flag(&self, reader: &mut Reader<'_>) -> Option<bool> {
        self.choice(reader, &[("true", true), ("false", false)])
    }

    /// One of `choices`.
    pub(super) fn choice<T: Copy>(
        &self,
        reader: &mut Reader<'_>,
        choices: &[(&'static str, T)],
    ) -> Option<T> {
        let names: Vec<_> = choices.iter().map(|(name, _)| *name).collect();
        let listed = names.join(", ");
        let text = self.text(reader, &format!("write one of: {listed}"))?;
        let text = text.trim();
        let known = choices.iter().find(|(name, _)| *name == text);
        if let Some((_, value)) = known {
            return Some(*value);
        }
        let remedy = match closest(text, &names) {
            Some(name) => format!("did you mean `{name}`?"),
            None => format!("write one of: {listed}"),
        };
        self.problem(reader, format!("must be one of: {listed}"), remedy);
        None
    }
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The one of `known` that `text` was probably meant to be.
pub(crate) fn closest<'k>(text: &str, known: &[&'k str]) -> Option<&'k str> {
    known
        .iter()
        .map(|known| (strsim::jaro_winkler(text, known), *known))
        // Below that, suggestions are guesses: `policy` and `priority` are at 0.79.
        .filter(|(likeness, _)| *likeness > 0.8)
        .max_by(|(a, _), (b, _)| a.total_cmp(b))
        .map(|(_, known)| known)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_pen_is_recognised_and_a_stranger_is_not() {
        let known = ["endpoints", "policy", "kind", "max_failures"];
        assert_eq!(closest("endpoint", &known), Some("endpoints"));
        assert_eq!(closest("polcy", &known), Some("policy"));
        assert_eq!(closest("max_failure", &known), Some("max_failures"));
        assert_eq!(closest("tokens", &known), None);
    }
}
