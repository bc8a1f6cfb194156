//! Complete answers (section 7).

use super::*;

/// Translates `message`, the answer to a request with these additional members.
fn read_as(model: &str, members: Value, message: &Value) -> Result<(Value, Observed), Failure> {
    let mut reader = ask(&with(model, members)).unwrap().reader;
    let body = reader.whole(Bytes::from(message.to_string()))?;
    Ok((serde_json::from_slice(&body).unwrap(), reader.observed()))
}

/// Translates a message with this content and stop reason.
#[track_caller]
fn read(content: Value, stop_reason: Value) -> Value {
    let message = json!({"id": "msg_1", "type": "message", "model": "m", "content": content, "stop_reason": stop_reason, "usage": {}});
    read_as("claude-opus-5", json!({}), &message).unwrap().0
}

#[track_caller]
fn reply(content: Value) -> Value {
    read(content, json!("end_turn"))["choices"][0]["message"].take()
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

fn thinking(text: &str) -> Value {
    json!({"type": "thinking", "thinking": text, "signature": format!("sig-{text}")})
}

fn tool_use(id: &str, input: Value) -> Value {
    json!({"type": "tool_use", "id": id, "name": "f", "input": input})
}

#[test]
fn a_completion_has_openais_members_in_order() {
    let message = json!({"type": "message", "id": "msg_01A", "model": "claude-x", "content": [text("Hi")], "stop_reason": "end_turn",
        "usage": {"input_tokens": 1, "output_tokens": 2}});
    let (completion, observed) = read_as("claude-opus-5", json!({}), &message).unwrap();
    assert_eq!(
        completion.to_string(),
        json!({
            "id": "chatcmpl-01A",
            "object": "chat.completion",
            "created": 1_790_000_000,
            "model": "claude-x",
            "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi", "refusal": null}, "logprobs": null, "finish_reason": "stop"}],
            "usage": {
                "prompt_tokens": 1,
                "completion_tokens": 2,
                "total_tokens": 3,
                "prompt_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "completion_tokens_details": {"reasoning_tokens": 0},
            },
        })
        .to_string()
    );
    assert_eq!((observed.output_bytes, observed.finish_reason.as_deref()), (2, Some("stop")));
    assert_eq!(observed.usage.map(|usage| (usage.prompt_tokens, usage.completion_tokens)), Some((1, 2)));
}

#[test]
fn an_answer_without_id_or_model_still_has_both() {
    let (completion, observed) = read_as("claude-opus-5", json!({}), &json!({"type": "message", "content": []})).unwrap();
    assert_eq!((&completion["id"], &completion["model"]), (&json!("chatcmpl-0000000000000007"), &json!("claude-opus-5")));
    assert_eq!(completion["usage"]["total_tokens"], 0);
    assert_eq!(observed.usage, None);
}

#[test]
fn texts_are_joined_and_their_absence_is_distinct() {
    assert_eq!(reply(json!([text("a"), text(""), text("b")]))["content"], "ab");
    assert_eq!(reply(json!([]))["content"], "");
    assert_eq!(reply(json!([thinking("t")]))["content"], "");
    assert_eq!(reply(json!([tool_use("1", json!({}))]))["content"], Value::Null);
    assert_eq!(reply(json!([text("a"), tool_use("1", json!({}))]))["content"], "a");
}

#[test]
fn arguments_are_compact_json_in_the_models_order() {
    let body = r#"{"type":"message","content":[{"type":"tool_use","id":"t","name":"f",
        "input": { "z" : [ 1 , 2.50 ], "a" : "caf\u00e9 \"q\"", "n": 12345678901234567890123 } }],"stop_reason":"tool_use"}"#;
    let mut reader = ask(&with("claude-opus-5", json!({}))).unwrap().reader;
    let completion: Value = serde_json::from_slice(&reader.whole(Bytes::from(body)).unwrap()).unwrap();
    let call = &completion["choices"][0]["message"]["tool_calls"][0];
    let arguments = r#"{"z":[1,2.50],"a":"café \"q\"","n":12345678901234567890123}"#;
    assert_eq!(*call, json!({"id": "t", "type": "function", "function": {"name": "f", "arguments": arguments}}));
    assert_eq!(reply(json!([tool_use("1", json!({}))]))["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(reply(json!([tool_use("1", json!(null))]))["tool_calls"][0]["function"]["arguments"], "{}");
    assert_eq!(reply(json!([text("a")])).get("tool_calls"), None);
}

#[test]
fn thinking_is_shown_and_kept_for_the_next_request_if_it_came_first() {
    let redacted = json!({"type": "redacted_thinking", "data": "d", "extra": 1});
    let shown = reply(json!([thinking("a"), redacted, thinking("b"), text("x")]));
    assert_eq!(shown["reasoning_content"], "ab");
    assert_eq!(shown["thinking_blocks"], json!([thinking("a"), {"type": "redacted_thinking", "data": "d"}, thinking("b")]));
    // Thinking after other content: the order could not be restored.
    for content in [
        json!([thinking("a"), text("x"), thinking("b")]),
        json!([text("x"), thinking("ab")]),
        json!([{"type": "fallback"}, thinking("a"), thinking("b")]),
        json!([thinking("a"), {"type": "server_tool_use", "name": "web_search"}, thinking("b"), text("x")]),
    ] {
        let shown = reply(content);
        assert_eq!((&shown["reasoning_content"], shown.get("thinking_blocks")), (&json!("ab"), None));
    }
    let empty = reply(json!([{"type": "thinking", "thinking": "", "signature": "s"}, text("x")]));
    assert_eq!(empty.get("reasoning_content"), None);
    assert_eq!(empty["thinking_blocks"], json!([{"type": "thinking", "thinking": "", "signature": "s"}]));
    assert_eq!(reply(json!([redacted, text("x")])).get("reasoning_content"), None);
}

#[test]
fn blocks_of_unknown_types_are_ignored() {
    let shown = reply(json!([
        {"type": "server_tool_use", "id": "s", "name": "web_search", "input": {}},
        {"type": "web_search_tool_result", "tool_use_id": "s", "content": []},
        {"type": "compaction", "text": {"not": "text"}, "id": 5},
        {"text": "no type"},
        {"type": "text", "text": "x", "citations": [{"type": "char_location"}]},
    ]));
    assert_eq!(shown, json!({"role": "assistant", "content": "x", "refusal": null}));
}

#[test]
fn stop_reasons_are_mapped_to_openais() {
    let finish = |content: &Value, reason: Value| read(content.clone(), reason)["choices"][0]["finish_reason"].take();
    let (spoken, called) = (json!([text("x")]), json!([tool_use("1", json!({}))]));
    for reason in [json!("end_turn"), json!("stop_sequence"), json!("pause_turn"), json!(null), json!("something_new"), json!(5)] {
        assert_eq!(finish(&spoken, reason.clone()), "stop");
        assert_eq!(finish(&called, reason), "stop");
    }
    for reason in ["max_tokens", "model_context_window_exceeded"] {
        assert_eq!(finish(&spoken, json!(reason)), "length");
        assert_eq!(finish(&called, json!(reason)), "length");
    }
    assert_eq!(finish(&called, json!("tool_use")), "tool_calls");
    assert_eq!(finish(&json!([{"type": "server_tool_use"}]), json!("tool_use")), "stop");
    assert_eq!(finish(&spoken, json!("refusal")), "content_filter");
}

#[test]
fn a_refusal_is_explained_if_the_upstream_explains_it() {
    let refused = |content: Value, reason: &str, details: Value| {
        let message = json!({"type": "message", "content": content, "stop_reason": reason, "stop_details": details});
        let reply = read_as("claude-opus-5", json!({}), &message).unwrap().0["choices"][0]["message"].take();
        (reply["content"].clone(), reply["refusal"].clone())
    };
    let explained = json!({"type": "refusal", "explanation": "No."});
    assert_eq!(refused(json!([]), "refusal", explained.clone()), (json!(null), json!("No.")));
    assert_eq!(refused(json!([text("So")]), "refusal", explained.clone()), (json!("So"), json!("No.")));
    assert_eq!(refused(json!([]), "end_turn", explained), (json!(""), json!(null)));
    for silent in [json!(null), json!({"explanation": null}), json!({"explanation": ""}), json!("x")] {
        assert_eq!(refused(json!([]), "refusal", silent), (json!(""), json!(null)));
    }
}

#[test]
fn the_tier_is_reported_only_on_request() {
    let tier = |asked: Value, served: &str| {
        let message = json!({"type": "message", "content": [], "usage": {"service_tier": served}});
        read_as("claude-opus-5", json!({"service_tier": asked}), &message).unwrap().0.get("service_tier").cloned()
    };
    assert_eq!(tier(json!("auto"), "standard"), Some(json!("default")));
    assert_eq!(tier(json!("auto"), "priority"), Some(json!("priority")));
    assert_eq!(tier(json!("default"), "batch"), Some(json!("flex")));
    assert_eq!(tier(json!("auto"), "galactic"), None);
    assert_eq!(tier(json!(null), "standard"), None);
}

#[test]
fn every_kind_of_token_is_observed() {
    let message = json!({"type": "message", "content": [thinking("tt"), text("xxx"), tool_use("1", json!({"a": 1}))], "usage": {
        "input_tokens": 10, "cache_creation_input_tokens": 20, "cache_read_input_tokens": 30, "output_tokens": 40,
        "cache_creation": {"ephemeral_5m_input_tokens": 5, "ephemeral_1h_input_tokens": 15},
        "output_tokens_details": {"thinking_tokens": 7},
    }});
    let observed = read_as("claude-opus-5", json!({}), &message).unwrap().1;
    let usage = observed.usage.unwrap();
    assert_eq!((usage.prompt_tokens, usage.cached_tokens, usage.completion_tokens), (60, 30, 40));
    assert_eq!((usage.cache_write_tokens, usage.cache_write_1h_tokens, usage.reasoning_tokens), (20, 15, 7));
    assert_eq!(observed.output_bytes, 2 + 3 + 7);
    let absurd = json!({"type": "message", "content": [], "usage": {"input_tokens": 10, "output_tokens": -4}});
    assert_eq!(read_as("claude-opus-5", json!({}), &absurd).unwrap().1.usage, None);
}

#[test]
fn an_answer_in_a_tool_call_becomes_content() {
    let format = json!({"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"type": "object"}}}});
    let message = |name: &str| json!({"type": "message", "stop_reason": "tool_use", "content": [{"type": "tool_use", "id": "t", "name": name, "input": {"é": [1, 2]}}]});
    let choice = |model: &str, message: Value| read_as(model, format.clone(), &message).unwrap().0["choices"][0].take();
    let answered = choice("claude-3-5-haiku-latest", message("json_response"));
    assert_eq!(answered["message"], json!({"role": "assistant", "content": "{\"é\":[1,2]}", "refusal": null}));
    assert_eq!(answered["finish_reason"], "stop");
    assert_eq!(choice("claude-3-5-haiku-latest", message("other"))["finish_reason"], "tool_calls");
    // Without that declaration it is a tool like any other.
    assert_eq!(choice("claude-opus-5", message("json_response"))["finish_reason"], "tool_calls");
}

#[test]
fn an_error_with_a_success_status_is_an_error() {
    let failure = |body: Value| read_as("claude-opus-5", json!({}), &body).unwrap_err();
    let overloaded = failure(json!({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}));
    assert_eq!((overloaded.status, &*overloaded.kind), (503, "service_unavailable_error"));
    assert_eq!(failure(json!({"error": {"type": "invalid_request_error", "message": "no"}})).status, 400);
    let unknown = failure(json!({"type": "error", "error": {"type": "new_error", "message": "Hm"}}));
    assert_eq!((unknown.status, &*unknown.kind, unknown.message.as_str()), (502, "server_error", "Hm"));
    assert_eq!(unknown.ledger_code(), Some("new_error"));
}

#[test]
fn a_body_that_is_not_a_message_is_an_interruption_and_is_not_shown() {
    for body in [
        "",
        "<html>secret</html>",
        "null",
        "[]",
        "5",
        "{}",
        r#"{"type":"message"}"#,
        r#"{"type":"message","content":"secret"}"#,
        r#"{"type":"completion","content":[]}"#,
        r#"{"type":"message","content":[{"type":"text","text":"sec"#,
    ] {
        let mut reader = ask(&with("claude-opus-5", json!({}))).unwrap().reader;
        let failure = reader.whole(Bytes::from(body)).unwrap_err();
        assert_eq!((failure.status, failure.code.as_deref()), (502, Some("upstream_interrupted")), "{body}");
        assert!(!failure.message.contains("secret"));
        assert_eq!(reader.observed(), Observed::default());
    }
}
