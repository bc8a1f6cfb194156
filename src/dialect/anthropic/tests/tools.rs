//! Tools, tool choice and structured output (sections 4 and 6).

use super::*;

const MODEL: &str = "claude-opus-4-8";
/// Model that cannot be forced to call.
const FREE: &str = "claude-opus-5-5";
/// Model without structured outputs.
const LEGACY: &str = "claude-sonnet-4-20250514";

fn function(name: &str) -> Value {
    json!({"type": "function", "function": {"name": name}})
}

fn tools(names: &[&str]) -> Value {
    names.iter().map(|name| function(name)).collect()
}

/// Returns the first tool of the upstream request.
#[track_caller]
fn tool(model: &str, function: Value) -> Value {
    sent(&with(model, json!({"tools": [{"type": "function", "function": function}]})))["tools"][0].take()
}

/// Returns the upstream `tool_choice` of a request with two tools.
#[track_caller]
fn choice(model: &str, members: Value) -> Value {
    let mut body = with(model, members);
    body["tools"] = tools(&["f", "g"]);
    sent(&body).get("tool_choice").cloned().unwrap_or_default()
}

#[test]
fn a_schema_keeps_its_keys_and_gets_a_type() {
    let empty = json!({"type": "object", "properties": {}});
    for parameters in [json!(null), json!({})] {
        assert_eq!(tool(MODEL, json!({"name": "f", "parameters": parameters})), json!({"name": "f", "input_schema": empty}));
    }
    assert_eq!(tool(MODEL, json!({"name": "f", "description": null})), json!({"name": "f", "input_schema": empty}));
    let schema = json!({"$defs": {"A": {"minLength": 1}}, "type": "object", "additionalProperties": false, "x-mine": 1.50});
    assert_eq!(
        tool(MODEL, json!({"name": "f", "description": "d", "parameters": schema})),
        json!({"name": "f", "description": "d", "input_schema": schema})
    );
    assert_eq!(
        tool(MODEL, json!({"name": "f", "parameters": {"properties": {"type": {}}}}))["input_schema"],
        json!({"type": "object", "properties": {"type": {}}})
    );
}

#[test]
fn tools_that_cannot_be_sent_are_refused() {
    let refused = |tools: Value| refusal(&with(MODEL, json!({"tools": tools})));
    assert_eq!(refused(json!([function("f"), {"type": "custom", "custom": {"name": "c"}}])), ("unsupported_value", "tools[1].type".into()));
    for kind in ["web_search", "web_search_2026", "_20260318", "code_2026031x", "mcp"] {
        assert_eq!(refused(json!([{"type": kind}])), ("unsupported_value", "tools[0].type".into()), "{kind}");
    }
    assert_eq!(refused(json!([{}])), ("unsupported_value", "tools[0].type".into()));
    assert_eq!(refused(json!([{"type": "function"}])), ("invalid_value", "tools[0].function.name".into()));
    assert_eq!(
        refused(json!([{"type": "function", "function": {"name": "f", "parameters": []}}])),
        ("invalid_value", "tools[0].function.parameters".into())
    );
    assert_eq!(
        refused(json!([{"type": "function", "function": {"name": "f", "strict": "yes"}}])),
        ("invalid_value", "tools[0].function.strict".into())
    );
    assert_eq!(refused(json!({})), ("invalid_value", "tools".into()));
}

#[test]
fn strict_tools_are_strict_where_supported() {
    let parameters = json!({"properties": {"a": {"type": "string", "maxLength": 3}}});
    let strict = tool(MODEL, json!({"name": "f", "strict": true, "parameters": parameters}));
    let expected = json!({"name": "f", "strict": true, "input_schema": {
        "properties": {"a": {"type": "string", "description": "{maxLength: 3}"}}, "type": "object", "additionalProperties": false,
    }});
    assert_eq!(strict, expected);
    for loose in [json!(false), json!(null)] {
        assert_eq!(
            tool(MODEL, json!({"name": "f", "strict": loose, "parameters": parameters})),
            json!({"name": "f", "input_schema": {"type": "object", "properties": parameters["properties"]}})
        );
    }
    let prepared = ask(&with(LEGACY, json!({"tools": [{"type": "function", "function": {"name": "f", "strict": true}}]}))).unwrap();
    let (_, body, dropped) = parts(&prepared);
    assert_eq!(body["tools"][0].get("strict"), None);
    assert_eq!(dropped, ["tools.function.strict"]);
}

#[test]
fn anthropic_tools_are_passed_on_verbatim() {
    for kind in ["web_search_20260318", "bash_20250124"] {
        let own = json!({"type": kind, "name": "own", "max_uses": 3, "cache_control": {"type": "ephemeral"}});
        let body = sent(&with(MODEL, json!({"tools": [own], "tool_choice": {"type": "function", "function": {"name": "own"}}})));
        assert_eq!((&body["tools"][0], &body["tool_choice"]), (&own, &json!({"type": "tool", "name": "own"})));
    }
}

#[test]
fn an_empty_tool_list_is_dropped() {
    let body = sent(&with(MODEL, json!({"tools": [], "tool_choice": "auto", "parallel_tool_calls": false})));
    assert!(body.get("tools").is_none() && body.get("tool_choice").is_none());
    for forced in [json!("required"), json!({"type": "function", "function": {"name": "f"}})] {
        for tools in [json!(null), json!([])] {
            assert_eq!(refusal(&with(MODEL, json!({"tool_choice": forced, "tools": tools}))), ("invalid_value", "tool_choice".into()));
        }
    }
}

#[test]
fn choices_are_mapped_to_anthropics() {
    let named = json!({"type": "function", "function": {"name": "g"}});
    assert_eq!(choice(MODEL, json!({})), Value::Null);
    assert_eq!(choice(MODEL, json!({"tool_choice": "auto"})), json!({"type": "auto"}));
    assert_eq!(choice(MODEL, json!({"tool_choice": "none"})), json!({"type": "none"}));
    assert_eq!(choice(MODEL, json!({"tool_choice": "required"})), json!({"type": "any"}));
    assert_eq!(choice(MODEL, json!({"tool_choice": named})), json!({"type": "tool", "name": "g"}));
}

#[test]
fn calls_in_parallel_are_forbidden_wherever_calls_are_allowed() {
    let serial = |choice_: Value| choice(MODEL, json!({"tool_choice": choice_, "parallel_tool_calls": false}));
    let named = json!({"type": "function", "function": {"name": "g"}});
    assert_eq!(serial(json!(null)), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(serial(json!("auto")), json!({"type": "auto", "disable_parallel_tool_use": true}));
    assert_eq!(serial(json!("required")), json!({"type": "any", "disable_parallel_tool_use": true}));
    assert_eq!(serial(named), json!({"type": "tool", "name": "g", "disable_parallel_tool_use": true}));
    assert_eq!(serial(json!("none")), json!({"type": "none"}));
    assert_eq!(choice(MODEL, json!({"parallel_tool_calls": true})), Value::Null);
}

#[test]
fn invalid_choices_are_refused() {
    let refused = |choice: Value| refusal(&with(MODEL, json!({"tools": tools(&["f"]), "tool_choice": choice})));
    for (choice, code) in [
        (json!("any"), "invalid_value"),
        (json!({"type": "function", "function": {"name": "nope"}}), "invalid_value"),
        (json!({"type": "function"}), "invalid_value"),
        (json!({"function": {"name": "f"}}), "invalid_value"),
        (json!({"type": "custom", "custom": {"name": "f"}}), "unsupported_value"),
        (json!({"type": "allowed_tools"}), "invalid_value"),
        (json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": []}}), "invalid_value"),
        (json!({"type": "allowed_tools", "allowed_tools": {"mode": "auto", "tools": [function("nope")]}}), "invalid_value"),
    ] {
        assert_eq!(refused(choice.clone()), (code, "tool_choice".into()), "{choice}");
    }
    assert_eq!(refused(json!(5)).0, "invalid_value");
}

#[test]
fn allowed_tools_limit_the_tools() {
    let allow = |mode: &str, names: &[&str]| {
        let choice = json!({"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": tools(names)}});
        let body = sent(&with(MODEL, json!({"tools": tools(&["f", "g", "h"]), "tool_choice": choice})));
        let names: Vec<Value> = body["tools"].as_array().unwrap().iter().map(|tool| tool["name"].clone()).collect();
        (names, body["tool_choice"].clone())
    };
    assert_eq!(allow("auto", &["h", "f"]), (vec![json!("f"), json!("h")], json!({"type": "auto"})));
    assert_eq!(allow("required", &["h", "f"]), (vec![json!("f"), json!("h")], json!({"type": "any"})));
    assert_eq!(allow("required", &["g"]), (vec![json!("g")], json!({"type": "tool", "name": "g"})));
    assert_eq!(allow("auto", &["g"]), (vec![json!("g")], json!({"type": "auto"})));
}

#[test]
fn a_model_that_cannot_be_forced_is_prompted() {
    let asked = |choice: Value| {
        let body = json!({
            "model": FREE, "tools": tools(&["f", "g"]), "tool_choice": choice, "parallel_tool_calls": false,
            "messages": [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}],
        });
        let prepared = ask(&body).unwrap();
        let (_, body, dropped) = parts(&prepared);
        assert_eq!(body["tool_choice"], json!({"type": "auto", "disable_parallel_tool_use": true}));
        assert_eq!(dropped, ["tool_choice"]);
        body["messages"][2]["content"].clone()
    };
    let says = |text: &str| json!([{"type": "text", "text": "c"}, {"type": "text", "text": text}]);
    assert_eq!(asked(json!("required")), says("Call at least one of the available tools in your next response."));
    assert_eq!(asked(json!({"type": "function", "function": {"name": "g"}})), says("Call the tool named \"g\" in your next response."));
    assert_eq!(
        asked(json!({"type": "allowed_tools", "allowed_tools": {"mode": "required", "tools": [function("f")]}})),
        says("Call the tool named \"f\" in your next response.")
    );
    assert_eq!(choice(FREE, json!({"tool_choice": "none"})), json!({"type": "none"}));
}

#[test]
fn the_prompt_to_call_follows_results_and_precedes_a_prefill() {
    let call = json!({"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let body = sent(&json!({
        "model": FREE, "tools": tools(&["f"]), "tool_choice": "required",
        "messages": [
            {"role": "user", "content": "a"},
            {"role": "assistant", "tool_calls": [call]},
            {"role": "tool", "tool_call_id": "1", "content": "r"},
            {"role": "assistant", "content": "So"},
        ],
    }));
    let kinds: Vec<&Value> = body["messages"][2]["content"].as_array().unwrap().iter().map(|block| &block["type"]).collect();
    assert_eq!(kinds, ["tool_result", "text"]);
}

#[test]
fn text_needs_no_format() {
    let body = sent(&with(MODEL, json!({"response_format": {"type": "text"}})));
    assert!(body.get("output_config").is_none() && body.get("system").is_none());
}

#[test]
fn a_schema_is_enforced_where_supported() {
    let format = |json_schema: Value| {
        sent(&with(MODEL, json!({"response_format": {"type": "json_schema", "json_schema": json_schema}, "tools": tools(&["f"])})))["output_config"].take()
    };
    assert_eq!(
        format(json!({"name": "n", "strict": true, "description": "D", "schema": {"type": "object", "minProperties": 1}})),
        json!({"format": {"type": "json_schema", "schema": {
            "type": "object", "description": "D\n\n{minProperties: 1}", "properties": {}, "additionalProperties": false,
        }}})
    );
    assert_eq!(
        format(json!({"name": "n", "description": "D", "schema": {"type": "string", "description": "own"}}))["format"]["schema"],
        json!({"type": "string", "description": "own"})
    );
    let both = sent(&with(
        MODEL,
        json!({"reasoning_effort": "high", "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "string"}}}}),
    ));
    assert_eq!(both["output_config"], json!({"effort": "high", "format": {"type": "json_schema", "schema": {"type": "string"}}}));
}

#[test]
fn a_model_without_schemas_answers_by_calling_a_tool() {
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": schema}});
    let body = sent(&with(LEGACY, json!({"response_format": format, "reasoning_effort": "high", "parallel_tool_calls": false})));
    assert_eq!(
        body["tools"],
        json!([{"name": "json_response", "description": "Return the final answer by calling this tool.", "input_schema": schema}])
    );
    assert_eq!(body["tool_choice"], json!({"type": "tool", "name": "json_response"}));
    // A forced call and thinking exclude each other.
    assert_eq!(body.get("thinking"), None);
}

#[test]
fn json_without_enforcement_is_requested_by_an_instruction() {
    let instruction = "Respond with a single valid JSON object and nothing else: no prose, no Markdown code fences.";
    let schema = json!({"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}});
    for (model, members) in [
        (MODEL, json!({"response_format": {"type": "json_object"}})),
        (LEGACY, json!({"response_format": {"type": "json_object"}})),
        (MODEL, json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n"}}})),
        (MODEL, json!({"response_format": {"type": "json_schema"}})),
        (LEGACY, json!({"response_format": schema, "tools": tools(&["f"])})),
    ] {
        let prepared = ask(&with(model, members)).unwrap();
        let (_, body, dropped) = parts(&prepared);
        assert_eq!(body["system"], json!([{"type": "text", "text": instruction}]));
        assert_eq!(dropped, ["response_format"]);
        assert!(body.get("output_config").is_none() && body.get("tool_choice").is_none());
    }
    let system = |content: Value| {
        let messages = json!([{"role": "system", "content": content}, {"role": "user", "content": "x"}]);
        sent(&json!({"model": MODEL, "messages": messages, "response_format": {"type": "json_object"}}))["system"].take()
    };
    assert_eq!(system(json!("S")), json!([{"type": "text", "text": format!("S\n{instruction}")}]));
    let marked = json!({"type": "text", "text": "S", "cache_control": {"type": "ephemeral"}});
    assert_eq!(system(json!([marked])), json!([marked, {"type": "text", "text": instruction}]));
}

#[test]
fn other_formats_are_refused() {
    let refused = |format: Value| refusal(&with(MODEL, json!({"response_format": format})));
    assert_eq!(refused(json!({"type": "grammar"})), ("unsupported_value", "response_format".into()));
    assert_eq!(refused(json!("json")), ("invalid_value", "response_format".into()));
    assert_eq!(
        refused(json!({"type": "json_schema", "json_schema": {"schema": "x"}})),
        ("invalid_value", "response_format.json_schema.schema".into())
    );
}
