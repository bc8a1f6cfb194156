//! Invalid input from the client or the upstream ends in a clean error.

use serde_json::{Value, json};

use super::{good, message, message_start, shared_gateway};
use crate::support::cases::payloads;
use crate::support::upstream::Answer;

const IMAGE: &str = "iVBORw0KGgo=";

fn image(url: &str) -> Value {
    json!([{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
}

fn calls(arguments: &str) -> Value {
    json!({"role": "assistant", "content": null, "tool_calls": [
        {"id": "call_1", "type": "function", "function": {"name": "weather", "arguments": arguments}}
    ]})
}

#[test]
fn an_unsupported_request_is_refused_with_its_param_and_not_sent() {
    let provider = shared_gateway().provider();
    let user = json!({"role": "user", "content": "Hi"});
    let refused = [
        (json!({"messages": []}), "invalid_value", "messages"),
        (json!({"messages": null}), "invalid_value", "messages"),
        (json!({"messages": "Hi"}), "invalid_value", "messages"),
        (json!({"messages": [user, {"role": "user", "content": " \n"}]}), "invalid_value", "messages[1].content"),
        (json!({"messages": [user, {"role": "wizard", "content": "Hi"}]}), "invalid_value", "messages[1].role"),
        (json!({"messages": [user, {"role": "", "content": "Hi"}]}), "invalid_value", "messages[1].role"),
        (json!({"messages": [{"content": "Hi"}]}), "invalid_value", "messages[0].role"),
        (json!({"messages": [user, {"role": "function", "name": "f", "content": "4"}]}), "unsupported_parameter", "messages[1].role"),
        (json!({"messages": [user, calls("{}"), {"role": "tool", "content": "4"}]}), "invalid_value", "messages[2].tool_call_id"),
        (json!({"messages": image("data:image/png;base64,not base64!")}), "invalid_value", "messages[0].content[0]"),
        (json!({"messages": image(&format!("data:image/png;base64,{}", &IMAGE[1..]))}), "invalid_value", "messages[0].content[0]"),
        (json!({"messages": image("data:image/png,rawbytes")}), "unsupported_value", "messages[0].content[0]"),
        (json!({"messages": image("http://169.254.169.254/latest.png")}), "unsupported_value", "messages[0].content[0]"),
        (json!({"n": 2}), "unsupported_value", "n"),
        (json!({"temperature": 3}), "invalid_value", "temperature"),
        (json!({"tools": [{"type": "custom", "custom": {"name": "x"}}]}), "unsupported_value", "tools[0].type"),
        (json!({"tool_choice": "required"}), "invalid_value", "tool_choice"),
        (json!({"web_search_options": {}}), "unsupported_parameter", "web_search_options"),
    ];
    for (members, code, param) in refused {
        for stream in [false, true] {
            let mut members = members.clone();
            members["stream"] = json!(stream);
            let answer = provider.ask(&members).send();
            let error = answer.error(400, "invalid_request_error", code);
            assert_eq!(error["param"], param, "{members}");
            assert!(!answer.text().contains("not base64!") && !answer.text().contains("wizard"), "quotes the prompt: {}", answer.text());
        }
    }
    assert!(provider.script.calls().is_empty());
}

#[test]
fn invalid_tool_arguments_are_marked_as_invalid() {
    let provider = shared_gateway().provider();
    let provider = provider.answers([good()]);
    let tools = json!([{"type": "function", "function": {"name": "weather"}}]);
    for (arguments, input) in [
        (r#"{"city":"Par"#, json!({"INVALID_JSON": r#"{"city":"Par"#})),
        ("[1]", json!({"INVALID_JSON": "[1]"})),
        ("\"text\"", json!({"INVALID_JSON": "\"text\""})),
        ("", json!({})),
        (" ", json!({})),
        ("null", json!({})),
    ] {
        let result = json!({"role": "tool", "tool_call_id": "call_1", "content": "4"});
        let messages = json!([{"role": "user", "content": "Hi"}, calls(arguments), result]);
        provider.ask(&json!({"messages": messages, "tools": tools})).send().expect(200);
        let sent = provider.script.calls().pop().unwrap().json();
        assert_eq!(sent["messages"][1]["content"][0]["input"], input, "{arguments:?}");
    }
}

#[test]
fn a_result_without_its_call_is_left_to_the_provider() {
    let provider = shared_gateway().provider();
    let message = "messages.0.content.0: unexpected `tool_use_id` found in `tool_result` blocks: call_9";
    provider.answers([Answer::json(400, &json!({"type": "error", "error": {"type": "invalid_request_error", "message": message}}))]);
    let answer = provider.ask(&json!({"messages": [{"role": "tool", "tool_call_id": "call_9", "content": "4"}]})).send();
    assert_eq!(answer.expect(400)["error"], json!({"message": message, "type": "invalid_request_error", "param": null, "code": null}));
    assert_eq!(provider.script.call().json()["messages"][0]["content"][0]["tool_use_id"], "call_9");
}

#[test]
fn an_answer_that_is_not_a_message_is_retried_and_not_shown() {
    for body in ["<html>canary-4711</html>", "", "null", "[]", "{}", r#""canary-4711""#, r#"{"type":"message","content":"canary-4711"}"#] {
        for stream in [false, true] {
            let provider = shared_gateway().provider();
            provider.answers([Answer::text(200, "application/json", body)]);
            let answer = provider.ask(&json!({"stream": stream})).send();
            answer.error(502, "upstream_error", "all_providers_failed");
            assert!(!answer.text().contains("canary"), "{}", answer.text());
            assert_eq!(provider.script.calls().len(), 2, "{body}");
            assert_eq!(provider.entry(&answer)["outcome"], "upstream_error");
        }
    }
}

#[test]
fn a_valid_second_answer_is_used() {
    let provider = shared_gateway().provider();
    provider.answers([Answer::text(200, "application/json", "<html>"), good()]);
    let answer = provider.ask(&json!({})).send();
    assert_eq!(answer.expect(200)["choices"][0]["message"]["content"], "Hello.");
    assert_eq!(answer.header("x-aigw-attempts"), Some("2"));
}

#[test]
fn an_error_without_json_is_described_by_its_status() {
    for status in [400, 413, 422] {
        let provider = shared_gateway().provider();
        provider.answers([Answer::text(status, "text/html", "<html>canary-4711</html>")]);
        let answer = provider.ask(&json!({})).send();
        let error = answer.expect(status)["error"].clone();
        assert_eq!((&error["type"], &error["param"]), (&json!("invalid_request_error"), &Value::Null));
        assert!(error["message"].as_str().unwrap().contains(&status.to_string()) && !answer.text().contains("canary"), "{error}");
        assert_eq!(provider.script.calls().len(), 1);
    }
}

/// Error under status 200: its type, then the client's status, type and code, and the number of
/// calls.
const UNDER_200: [(&str, u16, &str, Option<&str>, usize); 4] = [
    ("invalid_request_error", 400, "invalid_request_error", None, 1),
    ("authentication_error", 502, "upstream_error", Some("upstream_auth_failed"), 1),
    ("overloaded_error", 503, "upstream_error", Some("all_providers_failed"), 2),
    ("api_error", 502, "upstream_error", Some("all_providers_failed"), 2),
];

#[test]
fn an_error_under_status_200_is_handled_as_that_error() {
    for (theirs, status, kind, code, calls) in UNDER_200 {
        let error = json!({"type": "error", "error": {"type": theirs, "message": "no"}});
        let event = format!("event: ping\ndata: {{\"type\":\"ping\"}}\n\nevent: error\ndata: {error}\n\n");
        let answers =
            [(false, Answer::json(200, &error)), (true, Answer::json(200, &error)), (true, Answer::stream().piece(event.as_bytes()))];
        for (stream, answer) in answers {
            let provider = shared_gateway().provider();
            provider.answers([answer]);
            let answer = provider.ask(&json!({"stream": stream})).send();
            let error = answer.expect(status)["error"].clone();
            assert_eq!((error["type"].as_str(), error["code"].as_str()), (Some(kind), code), "{theirs}");
            assert_eq!(provider.script.calls().len(), calls, "{theirs}");
        }
    }
}

/// Events over the limit of a line or of an event.
fn gigantic() -> [String; 3] {
    let text = "x".repeat(400 << 10);
    let delta = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let lines = format!("data: {}\n", "x".repeat(32 << 10));
    [format!("data: {delta}\n\n"), format!("data: {text}"), format!("{}\n", lines.repeat(12))]
}

#[test]
fn a_gigantic_event_before_the_first_one_fails_the_attempt() {
    for event in gigantic() {
        let provider = shared_gateway().provider();
        provider.answers([Answer::stream().piece(event.as_bytes())]);
        let answer = provider.ask(&json!({"stream": true})).send();
        answer.error(502, "upstream_error", "all_providers_failed");
        assert!(!answer.text().contains("xxx"));
    }
}

#[test]
fn a_gigantic_event_later_ends_the_stream_with_an_error() {
    let start = message_start(&json!({"input_tokens": 1, "output_tokens": 1}));
    let begun = format!(
        "data: {start}\n\ndata: {}\n\ndata: {}\n\n",
        json!({"type": "content_block_start", "index": 0, "content_block": {"type": "text", "text": ""}}),
        json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": "Hello"}})
    );
    for event in gigantic() {
        let provider = shared_gateway().provider();
        provider.answers([Answer::stream().piece(begun.as_bytes()).piece(event.as_bytes())]);
        let answer = provider.ask(&json!({"stream": true})).send();
        let chunks = payloads(&answer.text()).unwrap();
        assert_eq!(chunks[1]["choices"][0]["delta"]["content"], "Hello");
        let error = &chunks.last().unwrap()["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!("upstream_error"), &json!("upstream_interrupted")));
        assert_eq!(chunks.len(), 3, "{chunks:?}");
        assert_eq!(provider.entry(&answer)["outcome"], "interrupted");
        assert_eq!(provider.script.calls().len(), 1);
    }
}

#[test]
fn the_upstreams_id_is_read_from_an_error_body_too() {
    let provider = shared_gateway().provider();
    let error = json!({"type": "error", "error": {"type": "invalid_request_error", "message": "no"}, "request_id": "req_7"});
    provider.answers([Answer::json(400, &error)]);
    let answer = provider.ask(&json!({})).send();
    answer.expect(400);
    assert_eq!(answer.header("x-upstream-request-id"), Some("req_7"));
    assert_eq!(provider.entry(&answer)["attempts"][0]["request_id"], "req_7");
}

#[test]
fn dropped_parameters_are_named_and_unknown_ones_not_sent() {
    let provider = shared_gateway().provider();
    provider.answers([good()]);
    let answer = provider.ask(&json!({"seed": 7, "frequency_penalty": 1, "made_up": true})).send();
    answer.expect(200);
    assert_eq!(answer.header("x-aigw-dropped-params"), Some("frequency_penalty,seed"));
    let sent = provider.script.call().json();
    let mut members: Vec<&String> = sent.as_object().unwrap().keys().collect();
    members.sort();
    assert_eq!(members, ["max_tokens", "messages", "model"]);
}

#[test]
fn an_operation_the_dialect_does_not_support_is_refused_at_once() {
    let provider = shared_gateway().provider();
    let body = json!({"model": provider.model("claude-sonnet-4-6"), "input": "Hi", "prompt": "Hi"});
    for target in ["/v1/embeddings", "/v1/completions"] {
        let answer = provider.shared.gateway.post(target, &provider.shared.key, &body).send();
        answer.error(400, "invalid_request_error", "unsupported_operation");
    }
    assert!(provider.script.calls().is_empty());
}

#[test]
fn a_message_of_unknown_blocks_alone_is_an_empty_answer() {
    let provider = shared_gateway().provider();
    let content = json!([{"type": "server_tool_use", "id": "x", "name": "y", "input": {}}, {"type": "hologram"}]);
    provider.answers([Answer::json(200, &message(&content, "pause_turn", &json!({"input_tokens": 1, "output_tokens": 1})))]);
    let answer = provider.ask(&json!({})).send().expect(200);
    assert_eq!((&answer["choices"][0]["message"]["content"], &answer["choices"][0]["finish_reason"]), (&json!(""), &json!("stop")));
}
