//! The JSON Schema of the configuration, for editors and for checks before a roll-out.
//!
//! Draft 7, because that is what editors of YAML read. It is looser than the reader where a
//! schema cannot say more (two endpoints of one name, an address off loopback without keys).

use serde_json::{Map, Value, json};

use super::{FILE, Form, Key, Usual};

/// A placeholder stands for any text, so it may stand for every value.
const PLACEHOLDER: &str = r"\$\{[A-Za-z0-9_]+\}";

/// The schema as it is published.
pub(crate) fn schema() -> Value {
    let mut schema = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "Configuration of qcc",
    });
    if let (Value::Object(schema), Value::Object(file)) = (&mut schema, form(&FILE)) {
        schema.extend(file);
    }
    schema
}

fn form(form: &Form) -> Value {
    match form {
        Form::Text => json!({ "type": "string", "minLength": 1 }),
        Form::Shaped(shape) => json!({
            "type": "string",
            "pattern": format!("^{}$|{PLACEHOLDER}", shape.pattern),
            "examples": [shape.example],
        }),
        Form::Whole { least, most } => {
            or_placeholder(&json!({ "type": "integer", "minimum": least, "maximum": most }))
        }
        Form::Flag => or_placeholder(&json!({ "type": "boolean" })),
        Form::Choice(names) => or_placeholder(&json!({ "enum": names() })),
        Form::StatusOr(names) => json!({
            "anyOf": [
                { "type": "integer", "minimum": 400, "maximum": 599 },
                { "enum": names() },
                { "type": "string", "pattern": format!("^[45][0-9]{{2}}$|{PLACEHOLDER}") },
            ],
        }),
        Form::Map(keys) => map(keys),
        Form::Named(keys) => json!({
            "type": "object",
            "additionalProperties": map(keys),
            "minProperties": 1,
        }),
        Form::Texts => json!({
            "type": "object",
            "additionalProperties": self::form(&Form::Text),
        }),
        Form::List(item) => json!({ "type": "array", "items": self::form(item) }),
        Form::Many(item) => {
            let item = self::form(item);
            json!({ "anyOf": [item, { "type": "array", "items": item }] })
        }
        Form::TextOr(keys) => json!({ "anyOf": [self::form(&Form::Text), map(keys)] }),
    }
}

fn or_placeholder(schema: &Value) -> Value {
    json!({ "anyOf": [schema, { "type": "string", "pattern": PLACEHOLDER }] })
}

fn map(keys: &[Key]) -> Value {
    let properties: Map<_, _> = keys
        .iter()
        .map(|key| (key.name.to_owned(), property(key)))
        .collect();
    let required: Vec<_> = keys
        .iter()
        .filter(|key| matches!(key.usual, Usual::Required))
        .map(|key| key.name)
        .collect();
    let mut map = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        map["required"] = json!(required);
    }
    let one_of = one_of(keys);
    if !one_of.is_empty() {
        map["anyOf"] = json!(one_of);
    }
    map
}

/// For each key of which one must be there: it is, with what belongs to it, and no other is.
fn one_of(keys: &[Key]) -> Vec<Value> {
    let of = |key: &Key| match key.usual {
        Usual::OneOf(with, _) => Some((key.name, with)),
        _ => None,
    };
    let choices: Vec<_> = keys.iter().filter_map(of).collect();
    let alone = |name: &str| -> Map<_, _> {
        let others = choices.iter().filter(|(other, _)| *other != name);
        others
            .map(|(other, _)| ((*other).to_owned(), json!(false)))
            .collect()
    };
    let choice = |(name, with): &(&str, &[&str])| {
        let required: Vec<_> = std::iter::once(name).chain(*with).collect();
        json!({ "required": required, "properties": alone(name) })
    };
    choices.iter().map(choice).collect()
}

fn property(key: &Key) -> Value {
    let mut property = form(&key.form);
    let mut description = plain(key.meaning);
    match key.usual {
        Usual::Required | Usual::Words("") => {}
        Usual::OneOf(_, words) => description.push_str(&format!("; {}", plain(words))),
        Usual::Words(words) => description.push_str(&format!(". Without it: {}", plain(words))),
        Usual::Value(text) => {
            property["default"] = match key.form {
                Form::Whole { .. } => text.parse::<u32>().map_or(Value::Null, Value::from),
                Form::Flag => json!(text == "true"),
                _ => json!(text),
            };
        }
    }
    property["description"] = json!(description);
    property
}

/// A meaning without the marks of Markdown, and without what only the document has below.
pub(in crate::config) fn plain(markdown: &str) -> String {
    let mut text = String::with_capacity(markdown.len());
    let mut rest = markdown;
    while let Some((before, link)) = rest.split_once('[') {
        let Some((label, after)) = link.split_once("](") else {
            break;
        };
        let Some((_, after)) = after.split_once(')') else {
            break;
        };
        text.push_str(before);
        text.push_str(label);
        rest = after;
    }
    text.push_str(rest);
    text.replace('`', "")
        .replace("\\|", "|")
        .replace(", see below", "")
}
