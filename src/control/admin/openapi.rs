//! `/openapi.json`: OpenAPI 3.1 description of the admin API. Schemas are derived from the request
//! and response types; summaries and errors come from the table in `operations`.

mod operations;

#[cfg(test)]
mod tests;

use std::sync::LazyLock;

use actix_web::{HttpRequest, HttpResponse};
use schemars::generate::SchemaSettings;
use schemars::{Schema, SchemaGenerator};
use serde_json::{Map, Value, json};

use super::error::{AdminError, AdminErrorJson};
use super::input::Parameters;
use operations::{Parameter, RouteDescription};

/// Error statuses of every route; 404 also if the admin API is off.
const ALWAYS: [u16; 5] = [400, 401, 404, 500, 503];

pub async fn show(request: HttpRequest) -> Result<HttpResponse, AdminError> {
    static TEXT: LazyLock<String> = LazyLock::new(|| document().to_string());
    Parameters::of(&request).finish()?;
    Ok(HttpResponse::Ok().content_type("application/json").body(TEXT.as_str()))
}

/// Builds the whole description.
fn document() -> Value {
    let settings = SchemaSettings::draft2020_12().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut answers = settings.clone().for_serialize().into_generator();
    let mut bodies = settings.for_deserialize().into_generator();
    let error_schema = answers.subschema_for::<AdminErrorJson<'static>>();
    let mut paths = Map::new();
    for operation in operations::all() {
        let described = describe(&operation, &error_schema, &mut answers, &mut bodies);
        let path = paths.entry(operation.path).or_insert_with(|| json!({}));
        path[operation.method] = described;
    }
    let mut schemas = answers.take_definitions(true);
    schemas.extend(bodies.take_definitions(true));
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "aigw admin API",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Administration of an aigw gateway: tenants, virtual keys, providers, and the ledger of usage and costs.",
            "license": {"name": "Apache-2.0", "identifier": "Apache-2.0"}
        },
        "security": [{"adminToken": []}],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {"adminToken": {"type": "http", "scheme": "bearer", "description": "The admin token (AIGW_ADMIN_TOKEN)."}}
        }
    })
}

fn describe(operation: &RouteDescription, error_schema: &Schema, answers: &mut SchemaGenerator, bodies: &mut SchemaGenerator) -> Value {
    let mut responses = Map::new();
    let mut content = json!({"application/json": {"schema": (operation.answer)(answers)}});
    if operation.is_csv_too {
        content["text/csv"] = json!({"schema": {"type": "string"}});
    }
    responses.insert(operation.status.to_string(), json!({"description": "Success.", "content": content}));
    let mut statuses: Vec<u16> = ALWAYS.iter().chain(&operation.errors).copied().collect();
    if operation.body.is_some() {
        statuses.push(413);
    }
    statuses.sort_unstable();
    for status in statuses {
        responses
            .insert(status.to_string(), json!({"description": meaning(status), "content": {"application/json": {"schema": error_schema}}}));
    }
    let of_path = operation.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
    let of_path = of_path.map(|name| json!({"name": name, "in": "path", "required": true, "schema": {"type": "string"}}));
    let parameters: Vec<Value> = of_path.chain(operation.parameters.iter().map(parameter)).collect();
    let mut described = json!({
        "operationId": operation.id(), "summary": operation.summary, "parameters": parameters, "responses": responses
    });
    if let Some(body) = operation.body {
        described["requestBody"] = json!({"content": {"application/json": {"schema": body(bodies)}}});
    }
    described
}

fn parameter(parameter: &Parameter) -> Value {
    let Parameter { name, location, description, r#type, is_required } = parameter;
    let schema = match *r#type {
        "array" => json!({"type": "array", "items": {"type": "string"}}),
        other => json!({"type": other}),
    };
    json!({"name": name, "in": location, "required": is_required, "description": description, "schema": schema})
}

fn meaning(status: u16) -> &'static str {
    match status {
        400 => "Invalid value; `param` names it.",
        401 => "Missing or invalid admin token.",
        403 => "Missing or invalid tenant key.",
        404 => "Not found, or the admin API is off.",
        409 => "Conflict with an existing object or its state; `code` names the reason.",
        413 => "Request body too large.",
        503 => "Database unavailable.",
        _ => "Internal error; see the log of the gateway.",
    }
}
