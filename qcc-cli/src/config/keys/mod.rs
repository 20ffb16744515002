//! The keys of the configuration, each declared once.
//!
//! [`FILE`] describes the whole file: what each key is called, how its value is written, what
//! stands in for it and what it means. The readers take ranges from here and know no key that is
//! not here, and from here come the JSON Schema and the tables of `docs/configuration.md`.
//!
//! A new key is a line in the table of its section in [`file`](mod@file) or below it, a `get` in the reader
//! of that section, a field of the configuration and of what `config show` prints. The tests of
//! this module say what is forgotten: they try every key with its default, with values that its
//! form allows and with values that it does not, on the readers and on the schema alike.

mod cluster;
mod endpoint;
mod file;
mod forms;
mod recovery;
mod schema;
#[cfg(test)]
mod tests;
mod tokens;

pub(super) use file::FILE;
pub(super) use schema::plain;
pub(crate) use schema::schema;

/// A key of a section.
#[derive(Debug)]
pub(super) struct Key {
    pub(super) name: &'static str,
    pub(super) form: Form,
    pub(super) usual: Usual,
    /// What it means, as Markdown: the row of the document.
    pub(super) meaning: &'static str,
}

/// What is there if a key is not.
#[derive(Clone, Copy, Debug)]
pub(super) enum Usual {
    /// Nothing: the key must be there.
    Required,
    /// This value, as it is written in a file.
    Value(&'static str),
    /// What cannot be said in a value, in words.
    Words(&'static str),
    /// Nothing: exactly one of the keys of its section that are like this must be there, and with
    /// it these others. In words.
    OneOf(&'static [&'static str], &'static str),
}

/// How a value is written.
#[derive(Debug)]
pub(super) enum Form {
    /// Any text that is not empty.
    Text,
    /// Text of one shape.
    Shaped(&'static Shape),
    /// A whole number.
    Whole { least: u32, most: u32 },
    /// `true` or `false`.
    Flag,
    /// One of these names.
    Choice(fn() -> Vec<&'static str>),
    /// The status of an error, or one of these names.
    StatusOr(fn() -> Vec<&'static str>),
    /// A map with these keys.
    Map(&'static [Key]),
    /// A map from names to maps with these keys.
    Named(&'static [Key]),
    /// A map from names to texts.
    Texts,
    /// A list of such values.
    List(&'static Self),
    /// Such a value, or a list of them.
    Many(&'static Self),
    /// Text, or a map with these keys.
    TextOr(&'static [Key]),
}

/// A shape of text.
#[derive(Debug)]
pub(super) struct Shape {
    /// A regular expression for all of it. Where it is looser than the reader, the reader
    /// decides.
    pub(super) pattern: &'static str,
    /// How it is written.
    pub(super) example: &'static str,
}

impl Form {
    /// The keys of a map.
    pub(super) const fn keys(&self) -> &'static [Key] {
        match self {
            Self::Map(keys) | Self::Named(keys) | Self::TextOr(keys) => keys,
            Self::Many(item) => item.keys(),
            _ => &[],
        }
    }

    /// The form of what a list holds, or may hold.
    pub(super) fn inner(&'static self) -> &'static Self {
        match self {
            Self::List(item) | Self::Many(item) => item,
            _ => self,
        }
    }

    /// The least and the most that a whole number may be.
    pub(super) const fn range(&self) -> (u32, u32) {
        match self {
            Self::Whole { least, most } => (*least, *most),
            _ => (0, u32::MAX),
        }
    }
}

/// The names of a choice.
fn names<T>(choices: &[(&'static str, T)]) -> Vec<&'static str> {
    choices.iter().map(|(name, _)| *name).collect()
}
