//! Reduction of JSON schemas to the keywords that structured outputs and strict tools accept
//! (section 6.1). Removed keywords are added to the description, so that the model still sees them.

use serde_json::{Map, Value, json};

/// String formats that are enforced.
const FORMATS: [&str; 10] = ["date-time", "time", "date", "duration", "email", "hostname", "uri", "ipv4", "ipv6", "uuid"];

/// Returns `schema` without the keywords that Anthropic refuses.
pub fn restrict(schema: Value) -> Value {
    match schema {
        Value::Object(keywords) => Value::Object(restrict_object(keywords)),
        other => other,
    }
}

fn restrict_object(keywords: Map<String, Value>) -> Map<String, Value> {
    let (is_reference, is_object) = (keywords.contains_key("$ref"), is_object(&keywords));
    let has_any_of = keywords.contains_key("anyOf");
    let mut kept = Map::with_capacity(keywords.len() + 2);
    let mut cut = Vec::new();
    for (keyword, value) in keywords {
        match keyword.as_str() {
            "$schema" | "$id" | "$comment" => {}
            "$defs" | "definitions" => {
                kept.insert(keyword, restrict_members(value));
            }
            _ if is_reference => {
                kept.insert(keyword, value);
            }
            "properties" => {
                kept.insert(keyword, restrict_members(value));
            }
            "items" | "anyOf" | "allOf" => {
                kept.insert(keyword, restrict_each(value));
            }
            "oneOf" if !has_any_of => {
                kept.insert("anyOf".to_owned(), restrict_each(value));
            }
            "type" | "enum" | "const" | "title" | "default" | "required" | "description" => {
                kept.insert(keyword, value);
            }
            "format" if value.as_str().is_some_and(|format| FORMATS.contains(&format)) => {
                kept.insert(keyword, value);
            }
            "minItems" if matches!(value.as_u64(), Some(0 | 1)) => {
                kept.insert(keyword, value);
            }
            "additionalProperties" if is_object => {}
            _ => cut.push((keyword, value)),
        }
    }
    if is_object && !is_reference {
        kept.entry("properties").or_insert_with(|| json!({}));
        kept.insert("additionalProperties".to_owned(), Value::Bool(false));
    }
    if !cut.is_empty() {
        cut.sort_by(|(a, _), (b, _)| a.cmp(b));
        let cut: Vec<String> = cut.into_iter().map(|(keyword, value)| format!("{keyword}: {value}")).collect();
        let note = format!("{{{}}}", cut.join(", "));
        let description = match kept.get("description").and_then(Value::as_str) {
            Some(text) if !text.is_empty() => format!("{text}\n\n{note}"),
            _ => note,
        };
        kept.insert("description".to_owned(), Value::String(description));
    }
    kept
}

/// Whether the schema describes objects.
fn is_object(keywords: &Map<String, Value>) -> bool {
    match keywords.get("type") {
        Some(Value::String(kind)) => kind == "object",
        Some(Value::Array(kinds)) => kinds.iter().any(|kind| kind == "object"),
        _ => keywords.contains_key("properties"),
    }
}

/// Restricts a map from names to schemas.
fn restrict_members(value: Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(members.into_iter().map(|(name, schema)| (name, restrict(schema))).collect()),
        other => other,
    }
}

/// Restricts one schema or an array of schemas.
fn restrict_each(value: Value) -> Value {
    match value {
        Value::Array(schemas) => Value::Array(schemas.into_iter().map(restrict).collect()),
        one => restrict(one),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn becomes(schema: Value, expected: Value) {
        assert_eq!(restrict(schema).to_string(), expected.to_string());
    }

    #[test]
    fn identifying_keywords_are_removed() {
        becomes(json!({"$schema": "x", "$id": "y", "$comment": "z", "type": "string"}), json!({"type": "string"}));
    }

    #[test]
    fn every_object_is_closed_at_every_depth() {
        let open = json!({"type": "object"});
        let closed = json!({"type": "object", "properties": {}, "additionalProperties": false});
        becomes(open.clone(), closed.clone());
        becomes(json!({"type": "array", "items": open}), json!({"type": "array", "items": closed}));
        becomes(json!({"anyOf": [open, {"type": "null"}]}), json!({"anyOf": [closed, {"type": "null"}]}));
        becomes(json!({"allOf": [open]}), json!({"allOf": [closed]}));
        becomes(
            json!({"type": "object", "additionalProperties": true, "properties": {"a": open}, "$defs": {"D": open}, "definitions": {"E": open}}),
            json!({"type": "object", "properties": {"a": closed}, "$defs": {"D": closed}, "definitions": {"E": closed}, "additionalProperties": false}),
        );
        becomes(json!({"type": ["object", "null"]}), json!({"type": ["object", "null"], "properties": {}, "additionalProperties": false}));
        becomes(json!({"properties": {}}), json!({"properties": {}, "additionalProperties": false}));
    }

    #[test]
    fn references_stay_as_they_are() {
        becomes(json!({"$ref": "#/$defs/A"}), json!({"$ref": "#/$defs/A"}));
        becomes(
            json!({"$ref": "#/definitions/A", "$schema": "x", "definitions": {"A": {"type": "object"}}}),
            json!({"$ref": "#/definitions/A", "definitions": {"A": {"type": "object", "properties": {}, "additionalProperties": false}}}),
        );
    }

    #[test]
    fn one_of_is_called_any_of() {
        becomes(json!({"oneOf": [{"type": "string"}, {"type": "null"}]}), json!({"anyOf": [{"type": "string"}, {"type": "null"}]}));
    }

    #[test]
    fn what_describes_a_value_is_kept() {
        let schema = json!({"type": "string", "enum": ["a"], "const": "a", "title": "T", "default": "a", "description": "D"});
        becomes(schema.clone(), schema);
    }

    #[test]
    fn only_known_formats_and_small_minimums_are_kept() {
        for format in FORMATS {
            becomes(json!({"type": "string", "format": format}), json!({"type": "string", "format": format}));
        }
        becomes(json!({"type": "string", "format": "regex"}), json!({"type": "string", "description": "{format: \"regex\"}"}));
        for few in [0, 1] {
            becomes(json!({"type": "array", "minItems": few}), json!({"type": "array", "minItems": few}));
        }
        becomes(json!({"type": "array", "minItems": 2}), json!({"type": "array", "description": "{minItems: 2}"}));
    }

    #[test]
    fn cut_keywords_are_sorted_into_the_description() {
        becomes(
            json!({"minLength": 2, "type": "string", "pattern": "^\"é", "maximum": 5}),
            json!({"type": "string", "description": "{maximum: 5, minLength: 2, pattern: \"^\\\"é\"}"}),
        );
        becomes(
            json!({"description": "A year.", "type": "integer", "minimum": 1450}),
            json!({"description": "A year.\n\n{minimum: 1450}", "type": "integer"}),
        );
        becomes(
            json!({"type": "object", "patternProperties": {"^a": {"type": "string"}}}),
            json!({"type": "object", "properties": {}, "additionalProperties": false, "description": "{patternProperties: {\"^a\":{\"type\":\"string\"}}}"}),
        );
    }

    #[test]
    fn a_property_may_bear_the_name_of_a_keyword() {
        becomes(
            json!({"type": "object", "properties": {"pattern": {"type": "string"}, "$id": {"type": "string"}}}),
            json!({"type": "object", "properties": {"pattern": {"type": "string"}, "$id": {"type": "string"}}, "additionalProperties": false}),
        );
    }
}
