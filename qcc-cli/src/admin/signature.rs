//! What a handler takes and answers with, read from its signature, so that the OpenAPI document
//! cannot say anything else than the program does.
//!
//! A handler with an argument or an answer of a kind that is not known here does not compile as
//! a route: say below what a caller has to know of it.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use http::{HeaderName, HeaderValue, StatusCode};
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::Admin;
use super::refusal::Refusal;

/// The parameters and answers of a route, as OpenAPI writes them.
#[derive(Debug, Default)]
pub(super) struct Operation {
    /// Those that stand in the query.
    pub(super) parameters: Vec<Value>,
    /// By status.
    pub(super) responses: Map<String, Value>,
}

/// Describes a handler; types with a name go to the generator.
pub(super) type Describe = fn(&mut SchemaGenerator) -> Operation;

/// A handler that can be described.
#[diagnostic::on_unimplemented(
    message = "the OpenAPI document cannot describe this handler",
    note = "every argument has to be `Takes`, the answer `Answers`, and types in them `JsonSchema`"
)]
pub(super) trait Signature<Arguments> {
    /// Describes it.
    fn describe(schemas: &mut SchemaGenerator) -> Operation;
}

/// An argument of a handler.
#[diagnostic::on_unimplemented(
    message = "the OpenAPI document does not know what a caller has to send for `{Self}`",
    note = "say it in `qcc-cli/src/admin/signature.rs`"
)]
pub(super) trait Takes {
    /// Adds what a caller has to know of it.
    fn take(operation: &mut Operation, schemas: &mut SchemaGenerator);
}

/// What a handler answers with.
#[diagnostic::on_unimplemented(
    message = "the OpenAPI document does not know what the answer `{Self}` looks like",
    note = "derive `JsonSchema` for the type inside, or say it in \
            `qcc-cli/src/admin/signature.rs`"
)]
pub(super) trait Answers {
    /// Adds its answers.
    fn answer(operation: &mut Operation, schemas: &mut SchemaGenerator);
}

macro_rules! signatures {
    ($(($($argument:ident),*))*) => {$(
        impl<F, Answer, $($argument),*> Signature<($($argument,)*)> for F
        where
            F: Fn($($argument),*) -> Answer,
            Answer: Future,
            Answer::Output: Answers,
            $($argument: Takes,)*
        {
            fn describe(schemas: &mut SchemaGenerator) -> Operation {
                let mut operation = Operation::default();
                $($argument::take(&mut operation, schemas);)*
                Answer::Output::answer(&mut operation, schemas);
                operation
            }
        }
    )*};
}
signatures! { () (A) (A, B) (A, B, C) }

impl Takes for State<Admin> {
    fn take(_operation: &mut Operation, _schemas: &mut SchemaGenerator) {}
}

/// What stands in the path is described by the path.
impl<T> Takes for Result<Path<T>, PathRejection> {
    fn take(_operation: &mut Operation, _schemas: &mut SchemaGenerator) {}
}

impl<T: JsonSchema> Takes for Result<Query<T>, QueryRejection> {
    fn take(operation: &mut Operation, _schemas: &mut SchemaGenerator) {
        // Written out: a parameter has no name that another route could refer to.
        let schema = schemars::schema_for!(T);
        let of = |key: &str| schema.get(key).cloned().unwrap_or_default();
        let (fields, required) = (of("properties"), of("required"));
        for (name, schema) in fields.as_object().into_iter().flatten() {
            let mut schema = schema.clone();
            let description = schema
                .as_object_mut()
                .and_then(|schema| schema.remove("description"));
            // What is left out of a query is not there; there is no null.
            let kinds = schema["type"].as_array().cloned().unwrap_or_default();
            if let Some(kind) = kinds.into_iter().find(|kind| *kind != "null") {
                schema["type"] = kind;
            }
            operation.parameters.push(json!({
                "name": name,
                "in": "query",
                "description": description,
                "required": required.as_array().is_some_and(|all| all.contains(&json!(name))),
                "schema": schema,
            }));
        }
    }
}

impl Operation {
    fn answers(&mut self, status: &str, description: &str, kind: &str, schema: &Value) {
        let response = json!({
            "description": description,
            "content": { kind: { "schema": schema } },
        });
        self.responses.insert(status.to_owned(), response);
    }
}

fn json_of<T: JsonSchema>(schemas: &mut SchemaGenerator) -> Value {
    schemas.subschema_for::<T>().to_value()
}

impl<T: JsonSchema> Answers for Json<T> {
    fn answer(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        let schema = json_of::<T>(schemas);
        operation.answers("200", "Done.", "application/json", &schema);
    }
}

/// The status of this one tells as much as its body.
impl<T: JsonSchema> Answers for (StatusCode, Json<T>) {
    fn answer(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        let schema = json_of::<T>(schemas);
        operation.answers("200", "Yes.", "application/json", &schema);
        operation.answers("503", "No.", "application/json", &schema);
    }
}

impl<T: Answers> Answers for Result<T, Refusal> {
    fn answer(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        T::answer(operation, schemas);
    }
}

impl Answers for &'static str {
    fn answer(operation: &mut Operation, _schemas: &mut SchemaGenerator) {
        let schema = json!({ "type": "string" });
        operation.answers("200", "Done.", "text/plain", &schema);
    }
}

/// A text with its content type.
impl Answers for ([(HeaderName, HeaderValue); 1], String) {
    fn answer(operation: &mut Operation, schemas: &mut SchemaGenerator) {
        <&'static str>::answer(operation, schemas);
    }
}
