use std::collections::BTreeSet;

use super::{document, operations};

/// The route table as it is written: `admin.rs` is the only file that lists the paths.
fn routes() -> BTreeSet<(String, String)> {
    let source = include_str!("../../admin.rs");
    let (mut scope, mut path) = (String::new(), String::new());
    let mut routes = BTreeSet::new();
    let mut rest = source;
    // Whatever comes first: a scope, a path or a method.
    while let Some((at, marker)) =
        ["web::scope(\"", "at(\"", "route(web::"].iter().filter_map(|marker| Some((rest.find(marker)?, *marker))).min()
    {
        rest = &rest[at + marker.len()..];
        let word: String = rest.chars().take_while(|c| !matches!(c, '"' | '(')).collect();
        match marker {
            "web::scope(\"" => scope = word,
            "at(\"" => path = word,
            _ => drop(routes.insert((word, format!("{scope}{path}")))),
        }
    }
    routes
}

#[test]
fn every_route_is_described_and_nothing_else() {
    let described: BTreeSet<_> =
        operations::all().iter().map(|operation| (operation.method.to_owned(), operation.path.to_owned())).collect();
    assert_eq!(described, routes());
    assert!(described.len() > 30);
    assert_eq!(described.len(), operations::all().len(), "a route is described twice");
}

#[test]
fn every_reference_resolves_and_every_operation_lists_its_errors() {
    let document = document();
    let text = document.to_string();
    let schemas = document["components"]["schemas"].as_object().unwrap();
    let mut references = 0;
    for reference in text.split("\"$ref\":\"").skip(1) {
        let reference = reference.split('"').next().unwrap();
        let name = reference.strip_prefix("#/components/schemas/").unwrap_or_else(|| panic!("{reference}"));
        assert!(schemas.contains_key(name), "{reference}");
        references += 1;
    }
    assert!(references > 100, "{references}");
    let mut ids = BTreeSet::new();
    for path in document["paths"].as_object().unwrap().values() {
        for operation in path.as_object().unwrap().values() {
            assert!(ids.insert(operation["operationId"].as_str().unwrap().to_owned()), "{operation}");
            let answer = ["200", "201"].iter().find_map(|status| operation["responses"].get(*status)).unwrap();
            assert!(answer["content"]["application/json"]["schema"].is_object());
            for status in ["400", "401", "404", "500", "503"] {
                assert_eq!(operation["responses"][status]["content"]["application/json"]["schema"]["$ref"], "#/components/schemas/Error");
            }
        }
    }
}

#[test]
fn schemas_are_those_of_the_types() {
    let document = document();
    let schema = |name: &str| document["components"]["schemas"][name]["properties"].as_object().unwrap_or_else(|| panic!("{name}")).clone();
    for field in ["id", "request_id", "tags", "prompt_tokens", "cost_nanousd", "attempts", "ttfb_ms"] {
        assert!(schema("Entry").contains_key(field), "{field}");
    }
    assert!(schema("NewTenant").contains_key("broker_fallback"));
    assert_eq!(document["components"]["schemas"]["NewTenant"]["required"], serde_json::json!(["id"]));
    assert!(schema("KeyFields").contains_key("monthly_budget_cents") && schema("Key").contains_key("rotated_from"));
    assert!(schema("TenantList").contains_key("next_cursor") && schema("CostsResultPage").contains_key("next_page"));
    assert!(schema("ErrorDetails").contains_key("param"));
}
