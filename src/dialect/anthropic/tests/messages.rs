//! Roles, system prompt, earlier thinking, and order of turns (sections 1, 3.1, 3.2, 3.5, 3.6).

use super::*;

const MODEL: &str = "claude-opus-4-8";

fn call(id: &str) -> Value {
    json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}})
}

fn user(text: &str) -> Value {
    json!({"role": "user", "content": text})
}

fn text(text: &str) -> Value {
    json!({"type": "text", "text": text})
}

#[test]
fn only_chat_has_a_path() {
    assert_eq!(Anthropic.path(Operation::Chat), Some("messages"));
    assert_eq!(Anthropic.path(Operation::Completions), None);
    assert_eq!(Anthropic.path(Operation::Embeddings), None);
    assert_eq!(Anthropic.name(), "anthropic");
}

#[test]
fn the_version_is_the_newest_that_accepts_the_parameters() {
    let headers = |body: &Value, asking: &Asking<'_>| parts(&ask_with(asking, body).unwrap()).0;
    let newest = [("anthropic-version", "2026-10-21".to_owned())];
    let older = [("anthropic-version", "2023-06-01".to_owned())];
    assert_eq!(headers(&with("claude-haiku-4-5", json!({})), &Asking::default()), newest);
    for sampling in [json!({"temperature": 0.5}), json!({"top_p": 0.5}), json!({"top_k": 5})] {
        assert_eq!(headers(&with("claude-haiku-4-5", sampling.clone()), &Asking::default()), older);
        assert_eq!(headers(&with("claude-opus-5", sampling), &Asking::default()), newest);
    }
    assert_eq!(headers(&with("claude-haiku-4-5", json!({"temperature": 1})), &Asking::default()), newest);
    let pinned = Asking { version: Some("2023-06-01"), ..Asking::default() };
    assert_eq!(headers(&with("claude-haiku-4-5", json!({})), &pinned), []);
}

#[test]
fn betas_are_joined_without_duplicates_and_absent_if_there_are_none() {
    let beta = |beta: &str| {
        let asking = Asking { beta: Some(beta), ..Asking::default() };
        let headers = parts(&ask_with(&asking, &with(MODEL, json!({}))).unwrap()).0;
        headers.into_iter().find(|(name, _)| *name == "anthropic-beta").map(|(_, value)| value)
    };
    assert_eq!(beta("a-2025-01-01, b ,a-2025-01-01"), Some("a-2025-01-01,b".to_owned()));
    assert_eq!(beta(" , "), None);
}

#[test]
fn unknown_parameters_are_not_forwarded() {
    let body = sent(&with(MODEL, json!({"max_tokens": 5, "anthropic_beta": ["x"], "system": "no", "mcp_servers": []})));
    assert_eq!(body, json!({"model": MODEL, "max_tokens": 5, "messages": [{"role": "user", "content": [text("Hi")]}]}));
}

#[test]
fn quirks_of_the_kind_change_the_translated_body() {
    let quirks = Quirks {
        rename: vec![("max_tokens".into(), "max_output".into())],
        drop: vec!["metadata".into()],
        set: vec![("service_tier".into(), "\"auto\"".into())],
        ..Quirks::default()
    };
    let prepared = ask_with(&Asking { quirks, ..Asking::default() }, &with(MODEL, json!({"max_tokens": 5, "user": "u"}))).unwrap();
    let body = parts(&prepared).1;
    assert_eq!((&body["max_output"], &body["service_tier"]), (&json!(5), &json!("auto")));
    assert!(body.get("max_tokens").is_none() && body.get("metadata").is_none());
}

#[test]
fn members_are_in_documented_order() {
    let prepared = ask(&json!({
        "messages": [{"role": "user", "content": "Hi"}, {"role": "system", "content": "S"}],
        "stream": true, "stop": "x", "reasoning_effort": "low", "tools": [{"type": "function", "function": {"name": "f"}}],
        "max_tokens": 5, "model": MODEL,
    }))
    .unwrap();
    let body = parts(&prepared).1;
    let keys: Vec<&str> = body.as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(keys, ["model", "max_tokens", "system", "messages", "tools", "thinking", "output_config", "stop_sequences", "stream"]);
}

#[test]
fn deprecated_and_unknown_roles_are_refused() {
    let messages = |message: Value| json!({"model": MODEL, "messages": [user("Hi"), message]});
    assert_eq!(
        refusal(&messages(json!({"role": "function", "name": "f", "content": "x"}))),
        ("unsupported_parameter", "messages[1].role".into())
    );
    assert_eq!(
        refusal(&messages(json!({"role": "assistant", "content": null, "function_call": {"name": "f", "arguments": "{}"}}))),
        ("unsupported_parameter", "messages[1].function_call".into())
    );
    for role in [json!("critic"), json!("User"), json!(""), json!(null)] {
        assert_eq!(refusal(&messages(json!({"role": role, "content": "x"}))), ("invalid_value", "messages[1].role".into()));
    }
    assert_eq!(refusal(&messages(json!({"role": 5, "content": "x"}))), ("invalid_value", "messages[1].role".into()));
    assert_eq!(refusal(&messages(json!({"content": "x"}))), ("invalid_value", "messages[1].role".into()));
}

#[test]
fn invalid_messages_are_refused_by_position() {
    let refused = |messages: Value| refusal(&json!({"model": MODEL, "messages": messages}));
    assert_eq!(refused(json!(null)), ("invalid_value", "messages".into()));
    assert_eq!(refused(json!("Hi")), ("invalid_value", "messages".into()));
    assert_eq!(refused(json!([])), ("invalid_value", "messages".into()));
    assert_eq!(refused(json!([user("a"), "Hi"])), ("invalid_value", "messages[1]".into()));
    assert_eq!(refused(json!([user("a"), {"role": "user", "content": 5}])), ("invalid_value", "messages[1].content".into()));
    assert_eq!(refused(json!([user("a"), {"role": "user", "content": {"text": "x"}}])), ("invalid_value", "messages[1].content".into()));
    assert_eq!(
        refused(json!([user("a"), {"role": "user", "content": [{"type": "text", "text": 5}]}])),
        ("invalid_value", "messages[1].content[0]".into())
    );
    assert_eq!(
        refused(json!([{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": 5}}]}])),
        ("invalid_value", "messages[0].content[1]".into())
    );
    assert_eq!(
        refused(json!([{"role": "assistant", "tool_calls": [call("a"), {"id": "b", "function": {"name": []}}]}])),
        ("invalid_value", "messages[0].tool_calls[1].function.name".into())
    );
    assert_eq!(refusal(&json!({"model": MODEL})), ("invalid_value", "messages".into()));
}

#[test]
fn a_refusal_does_not_quote_the_prompt() {
    let secret = "my-secret-prompt";
    for message in
        [json!({"role": secret, "content": secret}), json!({"role": "user", "content": [{"type": "text", "text": {"x": secret}}]})]
    {
        let refused = ask(&json!({"model": MODEL, "messages": [message]})).err().unwrap();
        assert!(!refused.message.contains(secret), "{}", refused.message);
    }
}

#[test]
fn system_units_are_joined_unless_one_has_a_marker() {
    let system = |messages: Value| sent_for(messages)["system"].clone();
    let marker = json!({"type": "ephemeral"});
    assert_eq!(
        system(json!([{"role": "system", "content": [{"type": "text", "text": " A "}, {"type": "text", "text": "B"}]}, user("x")])),
        json!([text(" A \nB")])
    );
    assert_eq!(
        system(json!([
            {"role": "system", "content": "A"},
            {"role": "developer", "content": [{"type": "text", "text": "B"}, {"type": "text", "text": "C"}], "cache_control": marker},
            user("x"),
            {"role": "system", "content": "D"},
        ])),
        json!([text("A"), text("B"), {"type": "text", "text": "C", "cache_control": marker}, text("D")])
    );
    // A marker on a blank message is dropped with it.
    assert_eq!(
        system(json!([
            {"role": "system", "content": [{"type": "text", "text": "A"}, {"type": "text", "text": " ", "cache_control": marker}]},
            {"role": "system", "content": "B"},
            user("x"),
        ])),
        json!([text("A\nB")])
    );
    assert_eq!(system(json!([{"role": "system", "content": "  "}, user("x")])), Value::Null);
}

#[test]
fn system_messages_accept_text_only() {
    let message =
        json!({"role": "system", "content": [{"type": "text", "text": "x"}, {"type": "image_url", "image_url": {"url": "https://a/b"}}]});
    assert_eq!(refusal(&json!({"model": MODEL, "messages": [message, user("x")]})), ("unsupported_value", "messages[0].content[1]".into()));
}

#[test]
fn system_messages_alone_become_the_user_turn() {
    let marker = json!({"type": "ephemeral"});
    let body = sent_for(json!([
        {"role": "system", "content": "A"},
        {"role": "developer", "content": [{"type": "text", "text": "B", "cache_control": marker}, {"type": "text", "text": " "}]},
    ]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text("A"), {"type": "text", "text": "B", "cache_control": marker}]}]));
    assert_eq!(body.get("system"), None);
    let blank = json!({"model": MODEL, "messages": [{"role": "system", "content": " "}], "response_format": {"type": "json_object"}});
    assert_eq!(refusal(&blank), ("invalid_value", "messages".into()));
}

#[test]
fn blank_messages_are_dropped_except_the_last_of_the_user() {
    let body = sent_for(json!([user("a"), {"role": "assistant", "content": " "}, {"role": "user", "content": []}, user("b")]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text("a"), text("b")]}]));
    for blank in [json!(""), json!(" \n\t"), json!([]), json!([{"type": "text", "text": " "}]), json!(null)] {
        let messages = json!([user("a"), {"role": "assistant", "content": "b"}, {"role": "user", "content": blank}]);
        assert_eq!(refusal(&json!({"model": MODEL, "messages": messages})), ("invalid_value", "messages[2].content".into()));
        let messages = json!([{"role": "user", "content": blank}, {"role": "system", "content": "s"}]);
        assert_eq!(refusal(&json!({"model": MODEL, "messages": messages})), ("invalid_value", "messages[0].content".into()));
    }
    let silent = json!({"model": MODEL, "messages": [{"role": "assistant", "content": ""}]});
    assert_eq!(refusal(&silent), ("invalid_value", "messages".into()));
}

#[test]
fn turns_of_one_role_are_merged() {
    let body = sent_for(json!([
        user("a"),
        {"role": "assistant", "content": "b"},
        {"role": "assistant", "content": "c", "tool_calls": [call("1")]},
        {"role": "tool", "tool_call_id": "1", "content": "d"},
    ]));
    let tool_use = json!({"type": "tool_use", "id": "1", "name": "f", "input": {}});
    assert_eq!(
        body["messages"],
        json!([
            {"role": "user", "content": [text("a")]},
            {"role": "assistant", "content": [text("b"), text("c"), tool_use]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "content": "d"}]},
        ])
    );
}

#[test]
fn results_come_first_in_their_turn_in_their_order() {
    let body = sent_for(json!([
        user("a"),
        {"role": "assistant", "tool_calls": [call("1"), call("2")]},
        user("b"),
        {"role": "tool", "tool_call_id": "2", "content": "r2"},
        user("c"),
        {"role": "tool", "tool_call_id": "1", "content": "r1"},
    ]));
    assert_eq!(
        body["messages"][2]["content"],
        json!([
            {"type": "tool_result", "tool_use_id": "2", "content": "r2"},
            {"type": "tool_result", "tool_use_id": "1", "content": "r1"},
            text("b"),
            text("c"),
        ])
    );
}

#[test]
fn a_conversation_begins_with_the_user() {
    let body = sent_for(json!([{"role": "user", "content": " "}, {"role": "assistant", "content": "Hello"}, user("x")]));
    assert_eq!(body["messages"][0], json!({"role": "user", "content": [text(".")]}));
    assert_eq!(body["messages"][1], json!({"role": "assistant", "content": [text("Hello")]}));
}

#[test]
fn a_prefill_loses_its_trailing_space() {
    let body = sent_for(
        json!([user("a"), {"role": "assistant", "content": [{"type": "text", "text": "x "}, {"type": "text", "text": "é \n\t"}]}]),
    );
    assert_eq!(body["messages"][1]["content"], json!([text("x "), text("é")]));
    let body = sent_for(json!([user("a"), {"role": "assistant", "content": "x "}, user("b")]));
    assert_eq!(body["messages"][1]["content"], json!([text("x ")]));
}

#[test]
fn undefined_tools_of_earlier_turns_are_declared_and_forbidden() {
    let named = |id: &str, name: &str| json!({"id": id, "type": "function", "function": {"name": name, "arguments": "{}"}});
    let messages = json!([
        user("a"),
        {"role": "assistant", "tool_calls": [named("1", "second"), named("2", "first"), named("3", "second")]},
        {"role": "tool", "tool_call_id": "1", "content": "r"},
        user("Title?"),
    ]);
    let stub = |name: &str| json!({"name": name, "input_schema": {"type": "object", "properties": {}}});
    for extra in [json!({}), json!({"tools": []}), json!({"tool_choice": "auto", "parallel_tool_calls": false})] {
        let mut body = json!({"model": MODEL, "messages": messages});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let body = sent(&body);
        assert_eq!(body["tools"], json!([stub("second"), stub("first")]));
        assert_eq!(body["tool_choice"], json!({"type": "none"}));
    }
}

#[test]
fn thinking_goes_back_first_and_verbatim() {
    let thinking = json!([{"type": "thinking", "thinking": "t", "signature": "s"}, {"type": "redacted_thinking", "data": "d"}]);
    let message =
        json!({"role": "assistant", "content": "x", "reasoning_content": "t", "thinking_blocks": thinking, "tool_calls": [call("1")]});
    let body = sent_for(json!([user("a"), message, {"role": "tool", "tool_call_id": "1", "content": "r"}]));
    let content = &body["messages"][1]["content"];
    assert_eq!(content[0], thinking[0]);
    assert_eq!(content[1], thinking[1]);
    assert_eq!((&content[2], &content[3]["type"]), (&text("x"), &json!("tool_use")));
    assert_eq!(body.get("thinking"), None);
}

#[test]
fn an_assistant_message_of_thinking_only_is_dropped() {
    let thinking = json!([{"type": "thinking", "thinking": "t", "signature": "s"}]);
    let body = sent_for(json!([user("a"), {"role": "assistant", "content": "", "thinking_blocks": thinking}, user("b")]));
    assert_eq!(body["messages"], json!([{"role": "user", "content": [text("a"), text("b")]}]));
}

#[test]
fn thinking_blocks_of_another_type_are_refused() {
    let message = json!({"role": "assistant", "content": "x", "thinking_blocks": [{"type": "thinking"}, {"type": "server_tool_use"}]});
    assert_eq!(
        refusal(&json!({"model": MODEL, "messages": [user("a"), message, user("b")]})),
        ("invalid_value", "messages[1].thinking_blocks[1]".into())
    );
}

#[test]
fn bound_models_are_asked_to_drop_foreign_thinking() {
    let ask_bound = |model: &str, extra: Value, thinking: Value| {
        let mut body =
            json!({"model": model, "messages": [user("a"), {"role": "assistant", "content": "x", "thinking_blocks": thinking}, user("b")]});
        body.as_object_mut().unwrap().extend(extra.as_object().unwrap().clone());
        let prepared = ask_with(&Asking { beta: Some("mine"), ..Asking::default() }, &body).unwrap();
        let (headers, body, _) = parts(&prepared);
        let beta = headers.into_iter().find(|(name, _)| *name == "anthropic-beta").map(|(_, value)| value).unwrap_or_default();
        (body["thinking"].clone(), beta)
    };
    let thinking = json!([{"type": "thinking", "thinking": "t", "signature": "s"}]);
    let binding = json!({"prefix_mismatch_behavior": "drop_block"});
    let both = "mine,thinking-binding-controls-2026-08-01".to_owned();
    for model in ["claude-haiku-5-5", "claude-sonnet-5-5", "claude-opus-5-5"] {
        assert_eq!(
            ask_bound(model, json!({}), thinking.clone()),
            (json!({"type": "adaptive", "block_binding": binding}), both.clone()),
            "{model}"
        );
    }
    assert_eq!(
        ask_bound("claude-opus-5-5", json!({"reasoning_effort": "low"}), thinking.clone()),
        (json!({"type": "adaptive", "display": "summarized", "block_binding": binding}), both.clone())
    );
    assert_eq!(
        ask_bound("claude-haiku-5-5", json!({"reasoning_effort": "none"}), thinking.clone()),
        (json!({"type": "disabled"}), "mine".into())
    );
    assert_eq!(
        ask_bound("claude-opus-5-5", json!({"thinking": {"type": "adaptive", "block_binding": "own"}}), thinking.clone()),
        (json!({"type": "adaptive", "block_binding": "own"}), both)
    );
    assert_eq!(ask_bound("claude-opus-5-5", json!({}), json!([])), (Value::Null, "mine".into()));
    assert_eq!(ask_bound("claude-opus-5", json!({}), thinking), (Value::Null, "mine".into()));
}
