//! The API as an OpenAPI 3.1 document, made of the [routes](mod@super::routes).

use std::borrow::Cow;

use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use super::routes::{Route, routes};
use super::signature::Operation;

/// Where the schemas stand in the document.
const SCHEMAS: &str = "/components/schemas";

/// What every path of the API begins with, but those that probes and Prometheus ask for.
const PREFIX: &str = "/admin/v1/";

/// The document.
pub(crate) fn document() -> Value {
    let mut schemas = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| {
            settings.definitions_path = Cow::Borrowed(SCHEMAS);
            settings.meta_schema = None;
        })
        .into_generator();
    let mut paths: Map<String, Value> = Map::new();
    for route in routes() {
        let operation = operation(&route, &mut schemas);
        let item = paths.entry(route.path).or_insert_with(|| json!({}));
        item[route.method.to_ascii_lowercase()] = operation;
    }
    let mut schemas = schemas.take_definitions(true);
    schemas.insert("Refusal".to_owned(), refusal());
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "qcc admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "What an operator sees of a running proxy and may change in it. Fields \
                that end in `_ms` are milliseconds, in `_s` seconds; dates are RFC 3339 in UTC; \
                what is not known is null. Operations repeated change nothing and say so.",
        },
        "servers": [{ "url": "http://127.0.0.1:7861" }],
        // Off loopback a token is wanted.
        "security": [{}, { "token": [] }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(route: &Route, schemas: &mut SchemaGenerator) -> Value {
    let Operation {
        parameters,
        mut responses,
    } = (route.describe)(schemas);
    let in_path = route.path.split('/').filter_map(parameter).map(|name| {
        json!({
            "name": name,
            "in": "path",
            "required": true,
            "schema": { "type": "string" },
        })
    });
    responses.insert(
        "default".to_owned(),
        json!({
            "description": "Refused.",
            "content": { "application/json": { "schema": { "$ref": "#/components/schemas/Refusal" } } },
        }),
    );
    json!({
        "operationId": name(route),
        "tags": [tag(route.path)],
        "summary": route.what,
        "parameters": in_path.chain(parameters).collect::<Vec<_>>(),
        "responses": responses,
    })
}

/// The name of the parameter that this segment of a path is.
fn parameter(segment: &str) -> Option<&str> {
    segment.strip_prefix('{')?.strip_suffix('}')
}

/// What generated clients call it, like `post_endpoints_endpoint_enable`.
fn name(route: &Route) -> String {
    let path = route.path.strip_prefix(PREFIX).unwrap_or(route.path);
    let words = path.split(|c: char| !c.is_ascii_alphanumeric());
    let words = words.filter(|word| !word.is_empty());
    words.fold(route.method.to_ascii_lowercase(), |name, word| {
        format!("{name}_{word}")
    })
}

/// What it is about: the first word of the path.
fn tag(path: &str) -> &str {
    match path.strip_prefix(PREFIX) {
        Some(rest) => rest.split(['/', '.']).next().unwrap_or(rest),
        None => "process",
    }
}

/// The body of every answer that is none of the route's own.
fn refusal() -> Value {
    let text = |what: &str| json!({ "type": "string", "description": what });
    json!({
        "description": "Why it was not done.",
        "type": "object",
        "required": ["error"],
        "properties": {
            "error": {
                "type": "object",
                "required": ["type", "message", "request_id"],
                "properties": {
                    "type": text("Stable, like `not_found`."),
                    "message": text("What is wrong and what to do."),
                    "request_id": text("As in `x-qcc-request-id`."),
                    "known": {
                        "type": "array",
                        "items": { "type": "string" },
                        "description": "The names that there are, if one is unknown.",
                    },
                },
            },
        },
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    // CLI-23, DOC-07
    #[test]
    fn the_document_in_docs_is_this_one() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/openapi.json");
        let there: Value = serde_json::from_str(&fs::read_to_string(path).unwrap()).unwrap();
        assert!(
            there == document(),
            "renew it: cargo run -p qcc-cli -- openapi > docs/openapi.json"
        );
    }

    // CLI-02, CLI-23
    #[test]
    fn every_route_is_in_the_document_and_everything_in_it_is_a_route() {
        let document = document();
        let operations = document["paths"].as_object().unwrap().iter();
        let described: BTreeSet<_> = operations
            .flat_map(|(path, item)| {
                let methods = item.as_object().unwrap().keys();
                methods.map(move |method| format!("{} {path}", method.to_ascii_uppercase()))
            })
            .collect();
        let all: Vec<_> = routes()
            .iter()
            .map(|route| format!("{} {}", route.method, route.path))
            .collect();
        assert_eq!(described, all.iter().cloned().collect());
        assert_eq!(described.len(), all.len(), "a route is declared twice");
    }

    #[test]
    fn names_are_told_apart_and_references_lead_somewhere() {
        let document = document();
        let mut names = BTreeSet::new();
        for route in routes() {
            assert!(names.insert(name(&route)), "{}", name(&route));
            assert!(route.what.ends_with('.'), "{}", route.what);
        }
        let text = document.to_string();
        let references = text.split("\"$ref\":\"#").skip(1);
        let mut found = 0;
        for reference in references {
            let pointer = reference.split('"').next().unwrap();
            assert!(document.pointer(pointer).is_some(), "{pointer}");
            found += 1;
        }
        assert!(found > routes().len());
    }

    #[test]
    fn what_a_route_takes_and_answers_is_read_from_its_handler() {
        let document = document();
        let mark = &document["paths"]["/admin/v1/endpoints/{endpoint}/mark"]["post"];
        let places: Vec<_> = mark["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| (one["name"].as_str().unwrap(), one["in"].as_str().unwrap()))
            .collect();
        assert_eq!(
            places,
            [
                ("endpoint", "path"),
                ("reason", "query"),
                ("seconds", "query")
            ]
        );
        let answer = &mark["responses"]["200"]["content"]["application/json"]["schema"];
        assert_eq!(answer["$ref"], "#/components/schemas/Switched");
        let paged = &document["paths"]["/admin/v1/requests"]["get"]["parameters"];
        assert_eq!(paged[0]["name"], "limit");
        assert_eq!(paged[1]["name"], "offset");
    }
}
