//! Shipped Anthropic file: models, prices, and the model names used in the documentation.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};

use crate::support::cases::shared;
use crate::support::gateway::Setup;

fn shipped() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config/providers/anthropic.toml")).unwrap()
}

#[test]
fn the_names_of_the_examples_resolve() {
    let gateway = Setup::new().provider("anthropic.toml", &shipped()).env("ANTHROPIC_API_KEY", "sk-ant-0123456789").start();
    let key = gateway.key();
    let model = |id: &str| gateway.get(&format!("/v1/models/{id}")).bearer(&key.secret).send().expect(200);
    assert_eq!(model("claude-sonnet-4-6")["pricing"]["input_cache_read"], "0.0000003");
    let alias = model("claude");
    assert_eq!(alias["aliases"], json!(["claude"]));
    assert_eq!(alias["id"], "claude-sonnet-5-5");
}

#[test]
fn every_current_model_is_shipped_at_its_list_price() {
    let Some(list) = shared().map(|shared| shared.join("data/model-prices.json")).filter(|list| list.is_file()) else {
        println!("SKIPPED: the list prices are not there: no ../shared/data/model-prices.json");
        return;
    };
    let list: Value = serde_json::from_slice(&std::fs::read(list).unwrap()).unwrap();
    let list = find(&list, "anthropic").unwrap();
    let toml: toml::Table = shipped().parse().unwrap();
    let shipped: BTreeMap<&str, &toml::Value> = toml["model"].as_table().unwrap().iter().map(|(id, model)| (id.as_str(), model)).collect();
    let mut missing = Vec::new();
    for listed in list.as_array().unwrap() {
        let id = listed["model"].as_str().unwrap();
        let Some(model) = shipped.get(id) else {
            // Dated names of the same models and deprecated models may be missing.
            let is_dated = shipped.keys().any(|other| id.strip_prefix(other).is_some_and(|date| date.starts_with("-20")));
            if !is_dated && listed.get("deprecated_on").is_none() {
                missing.push(id);
            }
            continue;
        };
        let price = &model["served_by"]["anthropic"]["price"];
        for field in ["input", "output", "cached_input", "cache_write", "cache_write_1h"] {
            let value = price.get(field).and_then(|value| value.as_float().or_else(|| value.as_integer().map(|value| value as f64)));
            assert_eq!(value, listed[field].as_f64(), "{id}: {field}");
        }
        for field in ["context_window", "max_output_tokens"] {
            assert_eq!(model.get(field).and_then(toml::Value::as_integer), listed[field].as_i64(), "{id}: {field}");
        }
    }
    assert!(missing.is_empty(), "not shipped: {missing:?}");
}

/// Finds the member of that name at any depth.
fn find<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    let object = value.as_object()?;
    object.get(name).or_else(|| object.values().find_map(|inner| find(inner, name)))
}
