//! Real responses match their schemas in the API description and have no other fields.

use super::*;

/// Checks `value` against `schema`; returns the first mismatch.
fn fits(schema: &Value, value: &Value, document: &Value) -> Result<(), String> {
    if let Some(name) = schema["$ref"].as_str() {
        let known = document.pointer(name.trim_start_matches('#')).ok_or_else(|| format!("no {name}"))?;
        return fits(known, value, document);
    }
    if let Some(any) = schema["anyOf"].as_array() {
        return any.iter().map(|one| fits(one, value, document)).reduce(Result::or).unwrap_or(Ok(()));
    }
    let is = |kind: &str| match kind {
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => value.is_null(),
    };
    let fits_type = match &schema["type"] {
        Value::String(kind) => is(kind),
        Value::Array(kinds) => kinds.iter().filter_map(Value::as_str).any(is),
        _ => true,
    };
    if !fits_type {
        return Err(format!("{value} is not of type {}", schema["type"]));
    }
    value.as_array().into_iter().flatten().try_for_each(|item| fits(&schema["items"], item, document))?;
    let Some(fields) = value.as_object() else { return Ok(()) };
    for required in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        fields.get(required).ok_or_else(|| format!("no {required} in {value}"))?;
    }
    for (name, field) in fields {
        match (schema["properties"].get(name), schema.get("additionalProperties")) {
            (Some(declared), _) | (None, Some(declared)) => fits(declared, field, document)?,
            (None, None) if schema.get("properties").is_some() => return Err(format!("{name} of {value} is not described")),
            (None, None) => {}
        }
    }
    Ok(())
}

#[test]
fn responses_match_the_description() {
    on_each(async |fixture: ControlFixture| {
        let document = get(&fixture, "/openapi.json").await.ok(200);
        let check = |method: &str, path: &str, answer: &Answer| {
            let responses = &document["paths"][path][method]["responses"];
            let schema = &responses[answer.status.as_str()]["content"]["application/json"]["schema"];
            assert!(schema.is_object(), "{method} {path}: {} is not described", answer.status);
            fits(schema, &answer.json(), &document).unwrap_or_else(|wrong| panic!("{method} {path}: {wrong}"));
        };
        store(&fixture, 6);
        let key = json!({"name": "k", "subject": "ada", "tags": {"a": "b"}, "rpm": 5, "allowed_models": ["m"]});
        let tenant = json!({"id": "acme", "name": "Acme"});
        let posted = ask(&fixture, "POST", "/tenants", Some(tenant.clone())).await;
        check("post", "/admin/v1/tenants", &posted);
        check("post", "/admin/v1/tenants", &ask(&fixture, "POST", "/tenants", Some(tenant)).await);
        check("patch", "/admin/v1/tenants/{tenant}", &ask(&fixture, "PATCH", "/tenants/acme", Some(json!({"name": "A"}))).await);
        let made = ask(&fixture, "POST", "/tenants/acme/keys", Some(key)).await;
        check("post", "/admin/v1/tenants/{tenant}/keys", &made);
        let id = made.json()["id"].as_str().unwrap().to_owned();
        for (path, given) in [
            ("/tenants", String::new()),
            ("/tenants/{tenant}", "/tenants/acme".to_owned()),
            ("/tenants/{tenant}", "/tenants/nobody".to_owned()),
            ("/tenants/{tenant}/keys", "/tenants/acme/keys".to_owned()),
            ("/tenants/{tenant}/keys/{key}", format!("/tenants/acme/keys/{id}")),
            ("/tenants/{tenant}/providers", "/tenants/acme/providers".to_owned()),
            ("/edges", String::new()),
            ("/providers", String::new()),
            ("/catalog", String::new()),
            ("/ledger", String::new()),
            ("/ledger", "/ledger?limit=2".to_owned()),
            ("/ledger", "/ledger?limit=-2".to_owned()),
            ("/ledger/{request_id}", "/ledger/req-1".to_owned()),
            ("/usage", String::new()),
            ("/usage", "/usage?group_by=team,tag:project&bucket_width=1mo&limit=1".to_owned()),
        ] {
            let given = if given.is_empty() { path } else { &given };
            check("get", &format!("/admin/v1{path}"), &get(&fixture, given).await);
        }
        for (path, query) in [
            ("usage/completions", "start_time=0&limit=2&group_by[]=model&group_by[]=batch&group_by[]=project_id"),
            ("usage/embeddings", "start_time=0&end_time=10"),
            ("costs", "start_time=0&limit=1&group_by[]=line_item"),
            ("costs", "start_time=x"),
        ] {
            let request = TestRequest::get().uri(&format!("/v1/organization/{path}?{query}"));
            let answer = send(&fixture, request.insert_header(("authorization", format!("Bearer {TOKEN}")))).await;
            check("get", &format!("/v1/organization/{path}"), &answer);
        }
    });
}
