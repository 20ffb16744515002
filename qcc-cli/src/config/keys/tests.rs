use std::fs;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde_json::{Map, Value, json};

use super::*;
use crate::config::load::from_text;
use crate::config::tokens::TIERS;
use crate::config::{Environment, Problems, Shown};

/// Puts a value, or nothing, into the place of one key of a file that has only what it must.
type Put = Rc<dyn Fn(Option<Value>) -> Value>;

/// A key at its place.
struct Place {
    path: String,
    key: &'static Key,
    /// Whether nothing else can take its place.
    required: bool,
    put: Put,
}

/// Every key of the file.
fn places() -> Vec<Place> {
    let mut places = Vec::new();
    let whole = |file: Option<Value>| file.unwrap_or_default();
    collect(&FILE, "", Rc::new(whole), &mut places);
    assert!(places.len() > 40, "{}", places.len());
    places
}

fn collect(form: &'static Form, path: &str, put: Put, places: &mut Vec<Place>) {
    if let Form::Many(item) = form {
        return collect(item, path, put, places);
    }
    if let Form::List(item) = form {
        let list = move |item: Option<Value>| put(Some(item.into_iter().collect()));
        return collect(item, &format!("{path}[0]"), Rc::new(list), places);
    }
    let (put, path) = match form {
        Form::Named(_) => (
            Rc::new(move |map: Option<Value>| put(Some(json!({ "claude": map })))) as Put,
            format!("{path}.claude"),
        ),
        _ => (put, path.to_owned()),
    };
    for key in form.keys() {
        let put = put.clone();
        let place = Place {
            path: format!("{path}.{}", key.name)
                .trim_start_matches('.')
                .to_owned(),
            key,
            required: needed(form.keys()).contains_key(key.name),
            put: Rc::new(move |value| {
                let mut map = needed(form.keys());
                match value {
                    Some(value) => {
                        if let Usual::OneOf(with, _) = key.usual {
                            choose(&mut map, form.keys(), with);
                        }
                        map.insert(key.name.to_owned(), value);
                    }
                    None => {
                        map.remove(key.name);
                    }
                }
                put(Some(Value::Object(map)))
            }),
        };
        collect(&key.form, &place.path, place.put.clone(), places);
        places.push(place);
    }
}

/// Makes room for one of the keys of which one must be there, and adds what belongs to it.
fn choose(map: &mut Map<String, Value>, keys: &[Key], with: &[&str]) {
    for key in keys {
        match key.usual {
            Usual::OneOf(..) => {
                map.remove(key.name);
            }
            _ if with.contains(&key.name) => {
                map.insert(key.name.to_owned(), example(&key.form));
            }
            _ => {}
        }
    }
}

/// What must be there; the first of those of which one must be.
fn needed(keys: &[Key]) -> Map<String, Value> {
    let first = keys
        .iter()
        .find(|key| matches!(key.usual, Usual::OneOf(..)));
    let required = keys
        .iter()
        .filter(|key| matches!(key.usual, Usual::Required));
    required
        .chain(first)
        .map(|key| (key.name.to_owned(), example(&key.form)))
        .collect()
}

fn example(form: &Form) -> Value {
    match form {
        Form::Text | Form::TextOr(_) => json!("sk-test-0001-abcd"),
        Form::Shaped(shape) => json!(shape.example),
        Form::Whole { most, .. } => json!(most),
        Form::Flag => json!(false),
        Form::Choice(names) | Form::StatusOr(names) => json!(names().last()),
        Form::Map(keys) => Value::Object(needed(keys)),
        Form::Named(keys) => json!({ "claude": needed(keys) }),
        Form::Texts => json!({ "x-name": "sk-test-0001-abcd" }),
        Form::List(item) => json!([example(item)]),
        Form::Many(item) => example(item),
    }
}

/// Values that the form allows.
fn allowed(form: &Form) -> Vec<Value> {
    let mut values = vec![example(form)];
    match form {
        Form::Whole { least, .. } => {
            values.push(json!(least));
            if *least <= 1 {
                values.push(json!("${ONE}"));
            }
        }
        Form::Choice(names) => values.extend(names().into_iter().map(Value::from)),
        Form::StatusOr(names) => {
            values.extend(names().into_iter().map(Value::from));
            values.extend([json!(400), json!(599), json!("503")]);
        }
        Form::List(Form::StatusOr(names)) => {
            values.extend([json!([]), allowed(&Form::StatusOr(*names)).into()]);
        }
        Form::Flag => values.extend([json!(true), json!("${TRUE}")]),
        Form::Many(item) => values.push(json!([example(item), example(item)])),
        _ => {}
    }
    values
}

/// Values that it does not allow.
fn refused(form: &Form) -> Vec<Value> {
    match form {
        Form::Text => vec![json!(""), json!([]), json!({})],
        Form::Shaped(_) => vec![json!("none"), json!([]), json!({})],
        Form::Whole { least, most } => vec![
            json!(i64::from(*least) - 1),
            json!(i64::from(*most) + 1),
            json!("many"),
            json!(1.5),
        ],
        Form::Flag => vec![json!("yes"), json!(1)],
        Form::Choice(_) => vec![json!("none"), json!([])],
        Form::StatusOr(_) => vec![json!("none"), json!(399), json!(600), json!([])],
        Form::Map(_) | Form::Named(_) => vec![json!("text"), json!([]), json!({ "none": 1 })],
        Form::Texts => vec![json!("text"), json!([]), json!({ "x-name": [] })],
        Form::List(Form::StatusOr(names)) => {
            let refused = refused(&Form::StatusOr(*names)).into_iter();
            let lists = refused.map(|value| json!([value]));
            lists.chain([json!("text"), json!({})]).collect()
        }
        Form::List(_) => vec![json!("text"), json!({})],
        Form::TextOr(_) => vec![json!(""), json!([]), json!({ "none": 1 })],
        Form::Many(_) => vec![json!({ "none": 1 }), json!([{ "none": 1 }]), json!([[]])],
    }
}

/// What `config show` prints of `file`.
fn shown(file: &Value) -> Result<Value, Problems> {
    let environment = Environment::from_iter([("ONE", "1"), ("TRUE", "true")]);
    // JSON is YAML.
    let text = file.to_string();
    let path = Path::new("/etc/qcc.yaml");
    let config = from_text(
        &text,
        path,
        &environment,
        &|_| Ok("sk-test-file".to_owned()),
    )?;
    Ok(serde_json::to_value(Shown::of(&config)).unwrap())
}

fn published() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/config.schema.json")
}

// CFG-04
#[test]
fn the_published_schema_is_that_of_the_code() {
    let text = fs::read_to_string(published()).unwrap();
    assert!(
        text == serde_json::to_string_pretty(&schema()).unwrap() + "\n",
        "renew it: cargo run -p qcc-cli -- config schema > docs/config.schema.json"
    );
}

// CFG-04
#[test]
fn every_default_is_the_one_that_a_file_without_the_key_has() {
    for Place { path, key, put, .. } in places() {
        let Usual::Value(text) = key.usual else {
            continue;
        };
        let without = shown(&put(None)).unwrap_or_else(|problems| panic!("{path}: {problems}"));
        let with = shown(&put(Some(json!(text)))).unwrap_or_else(|problems| panic!("{problems}"));
        assert_eq!(with, without, "{path}");
    }
}

// CFG-04
#[test]
fn reader_and_schema_allow_the_same_values() {
    let schema = jsonschema::draft7::new(&schema()).unwrap();
    for Place { path, key, put, .. } in places() {
        for value in allowed(&key.form) {
            let file = put(Some(value));
            if let Err(problems) = shown(&file) {
                panic!("{path}: the reader refuses {file}: {problems}");
            }
            assert!(schema.is_valid(&file), "{path}: the schema refuses {file}");
        }
        for value in refused(&key.form) {
            let file = put(Some(value));
            let problems = shown(&file).err();
            let problems = problems.unwrap_or_else(|| panic!("{path}: the reader takes {file}"));
            let told = problems.problems[0].key.as_str();
            assert!(told.starts_with(&path), "{path}: {told} is told of {file}");
            assert!(!schema.is_valid(&file), "{path}: the schema takes {file}");
        }
    }
}

// CFG-04
#[test]
fn what_must_be_there_is_missed_by_reader_and_schema() {
    let schema = jsonschema::draft7::new(&schema()).unwrap();
    for place in places() {
        let Place { path, required, .. } = place;
        let file = (place.put)(None);
        assert_eq!(shown(&file).is_err(), required, "{path}");
        assert_eq!(schema.is_valid(&file), !required, "{path}");
    }
}

// CLI-06
#[test]
fn every_key_that_is_set_is_shown() {
    for Place { path, key, put, .. } in places() {
        // A key out of a file is shown as the key that it is, and no header goes with a file.
        let of_tier = |(tier, _): &(&str, _)| path.ends_with(&format!(".{tier}.headers"));
        if path.ends_with(".file") || TIERS.iter().any(of_tier) {
            continue;
        }
        let shown = shown(&put(Some(example(&key.form)))).ok().unwrap();
        let path = path.replace("[0]", "");
        assert!(is_in(&shown, path.split('.')), "{path}");
    }
}

/// Whether there is something at `path`, by way of the first entry of each list.
fn is_in<'p>(value: &Value, mut path: impl Iterator<Item = &'p str>) -> bool {
    let mut value = value;
    path.all(|key| {
        while let Some(first) = value.get(0) {
            value = first;
        }
        let below = value.get(key);
        value = below.unwrap_or(&Value::Null);
        below.is_some()
    })
}

// CFG-06
#[test]
fn the_document_has_a_row_for_every_key() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    let document = fs::read_to_string(path).unwrap();
    for Place { path, key, .. } in places() {
        if path.ends_with(".file") {
            continue;
        }
        let usual = match key.usual {
            Usual::Required => "required".to_owned(),
            Usual::Words(words) | Usual::OneOf(_, words) => words.to_owned(),
            Usual::Value(value) if value.parse::<u32>().is_ok() => value.to_owned(),
            Usual::Value(value) => format!("`{value}`"),
        };
        let gap = if usual.is_empty() { "" } else { " " };
        let row = format!("| `{}` |{gap}{usual} | {} |", key.name, key.meaning);
        assert!(document.lines().any(|line| line == row), "{path}:\n{row}");
    }
}

#[test]
fn a_description_has_no_marks() {
    assert_eq!(
        plain("see [`a`](b.md#c), `x \\| y` and [1, 2]"),
        "see a, x | y and [1, 2]"
    );
}
