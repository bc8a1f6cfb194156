//! Content parts, tool calls and results, and their caching markers (sections 3.3, 3.4, 5.5).

use super::*;

const MODEL: &str = "claude-opus-4-8";

/// Returns the blocks of a user message with these parts.
#[track_caller]
fn blocks(parts: Value) -> Value {
    sent_for(json!([{"role": "user", "content": parts}]))["messages"][0]["content"].take()
}

#[track_caller]
fn refused_part(role: &str, part: Value) -> &'static str {
    let mut message = json!({"role": role, "content": [{"type": "text", "text": "x"}, part]});
    if role == "tool" {
        message["tool_call_id"] = json!("t");
    }
    let (code, param) = refusal(&json!({"model": MODEL, "messages": [message]}));
    assert_eq!(param, "messages[0].content[1]");
    code
}

fn image(url: &str) -> Value {
    json!({"type": "image_url", "image_url": {"url": url, "detail": "high"}})
}

fn file(file: Value) -> Value {
    json!({"type": "file", "file": file})
}

#[test]
fn images_of_four_types_are_passed_on_unchanged() {
    for (given, sent) in [
        ("image/jpeg", "image/jpeg"),
        ("image/jpg", "image/jpeg"),
        ("image/png", "image/png"),
        ("image/gif", "image/gif"),
        ("image/webp", "image/webp"),
        ("IMAGE/PNG", "image/png"),
    ] {
        let expected = json!([{"type": "image", "source": {"type": "base64", "media_type": sent, "data": "AB+/"}}]);
        assert_eq!(blocks(json!([image(&format!("data:{given};base64,AB+/"))])), expected);
    }
    let url = "https://example.com/a.png?b=c#d";
    assert_eq!(blocks(json!([image(url)])), json!([{"type": "image", "source": {"type": "url", "url": url}}]));
}

#[test]
fn images_of_other_types_or_schemes_are_refused() {
    for url in [
        "http://example.com/a.png",
        "ftp://example.com/a.png",
        "file:///etc/passwd",
        "a.png",
        "",
        "data:image/svg+xml;base64,AAAA",
        "data:text/plain;base64,AAAA2",
        "data:;base64,AAAA",
        "data:image/png,AAAA",
        "data:image/png;base64",
    ] {
        let code = if url.starts_with("data:text") { "invalid_value" } else { "unsupported_value" };
        let got = refused_part("user", image(url));
        assert!(got == code || got == "unsupported_value", "{url}: {got}");
    }
}

#[test]
fn payloads_that_are_not_base64_are_refused_before_the_upload() {
    for data in ["AAA", "A A=", "AA-_", "AA\nA", "=AAA", ""] {
        assert_eq!(refused_part("user", image(&format!("data:image/png;base64,{data}"))), "invalid_value", "{data}");
        assert_eq!(
            refused_part("user", file(json!({"file_data": format!("data:application/pdf;base64,{data}")}))),
            "invalid_value",
            "{data}"
        );
        assert_eq!(refused_part("user", file(json!({"file_data": data}))), "invalid_value", "{data}");
    }
}

#[test]
fn files_become_documents() {
    let pdf = json!({"type": "base64", "media_type": "application/pdf", "data": "JVBERi0="});
    assert_eq!(
        blocks(json!([file(json!({"file_data": "data:application/pdf;base64,JVBERi0=", "filename": "a.pdf"}))])),
        json!([{"type": "document", "source": pdf, "title": "a.pdf"}])
    );
    assert_eq!(blocks(json!([file(json!({"file_data": "JVBERi0="}))])), json!([{"type": "document", "source": pdf}]));
    assert_eq!(blocks(json!([image("data:application/pdf;base64,JVBERi0=")])), json!([{"type": "document", "source": pdf}]));
    let text = json!({"type": "text", "media_type": "text/plain", "data": "héllo"});
    for given in [
        json!({"file_data": "data:text/plain;charset=utf-8;base64,aMOpbGxv", "filename": "N.TXT"}),
        json!({"file_data": "aMOpbGxv", "filename": "N.TXT", "file_id": "file-1"}),
    ] {
        assert_eq!(blocks(json!([file(given)])), json!([{"type": "document", "source": text, "title": "N.TXT"}]));
    }
}

#[test]
fn files_that_cannot_be_sent_are_refused() {
    assert_eq!(refused_part("user", file(json!({"file_id": "file-1"}))), "unsupported_value");
    assert_eq!(refused_part("user", file(json!({"file_data": "data:image/png;base64,AAAA"}))), "unsupported_value");
    assert_eq!(refused_part("user", file(json!({"file_data": "data:text/plain,hello"}))), "unsupported_value");
    assert_eq!(refused_part("user", file(json!({"file_data": "data:text/plain;base64,/w=="}))), "invalid_value");
    assert_eq!(refused_part("user", file(json!({"filename": "a.pdf"}))), "invalid_value");
    assert_eq!(refused_part("user", json!({"type": "file"})), "invalid_value");
    assert_eq!(refused_part("user", json!({"type": "image_url"})), "invalid_value");
}

#[test]
fn parts_without_a_counterpart_are_refused() {
    assert_eq!(refused_part("user", json!({"type": "input_audio", "input_audio": {}})), "unsupported_value");
    assert_eq!(refused_part("user", json!({"type": "video_url"})), "unsupported_value");
    assert_eq!(refused_part("user", json!({"type": "refusal", "refusal": "no"})), "unsupported_value");
    assert_eq!(refused_part("assistant", image("https://a/b")), "unsupported_value");
    assert_eq!(refused_part("tool", json!({"type": "input_audio"})), "unsupported_value");
    assert_eq!(refused_part("user", json!({"text": "x"})), "invalid_value");
    assert_eq!(refused_part("user", json!({"type": "text"})), "invalid_value");
}

#[test]
fn earlier_refusals_become_text() {
    let content = |message: Value| sent_for(json!([message, {"role": "user", "content": "x"}]))["messages"][1]["content"].take();
    let refusal = json!([{"type": "text", "text": "I will not."}]);
    assert_eq!(content(json!({"role": "assistant", "content": [{"type": "refusal", "refusal": "I will not."}]})), refusal);
    assert_eq!(content(json!({"role": "assistant", "content": null, "refusal": "I will not."})), refusal);
    assert_eq!(
        content(json!({"role": "assistant", "content": "Here.", "refusal": "I will not."})),
        json!([{"type": "text", "text": "Here."}])
    );
}

#[test]
fn invalid_arguments_are_kept_as_written() {
    for (arguments, input) in [
        (json!("{\"a\": [1, 2]}"), json!({"a": [1, 2]})),
        (json!(""), json!({})),
        (json!(" \n"), json!({})),
        (json!("null"), json!({})),
        (json!(null), json!({})),
        (json!("{\"path\": \"x"), json!({"INVALID_JSON": "{\"path\": \"x"})),
        (json!("[1]"), json!({"INVALID_JSON": "[1]"})),
        (json!("hello"), json!({"INVALID_JSON": "hello"})),
    ] {
        let call = json!({"id": "c", "type": "function", "function": {"name": "f", "arguments": arguments}});
        let body = sent_for(json!([{"role": "user", "content": "x"}, {"role": "assistant", "tool_calls": [call]}]));
        assert_eq!(body["messages"][1]["content"][0]["input"], input, "{arguments}");
    }
}

#[test]
fn calls_with_missing_members_are_refused() {
    let refused = |call: Value| refusal(&json!({"model": MODEL, "messages": [{"role": "assistant", "tool_calls": [call]}]}));
    let custom = json!({"id": "c", "type": "custom", "custom": {"name": "f", "input": "x"}});
    assert_eq!(refused(custom), ("unsupported_value", "messages[0].tool_calls[0].type".into()));
    assert_eq!(
        refused(json!({"id": "c", "type": "function", "function": {}})),
        ("invalid_value", "messages[0].tool_calls[0].function.name".into())
    );
    assert_eq!(refused(json!({"type": "function", "function": {"name": "f"}})), ("invalid_value", "messages[0].tool_calls[0].id".into()));
}

#[test]
fn a_result_is_text_or_blocks_or_nothing() {
    let result =
        |content: Value| sent_for(json!([{"role": "tool", "tool_call_id": "c:1", "content": content}]))["messages"][0]["content"][0].take();
    assert_eq!(result(json!("ok")), json!({"type": "tool_result", "tool_use_id": "c_1", "content": "ok"}));
    assert_eq!(
        result(json!([{"type": "text", "text": "ok"}, image("https://a/b")])),
        json!({"type": "tool_result", "tool_use_id": "c_1", "content": [
            {"type": "text", "text": "ok"}, {"type": "image", "source": {"type": "url", "url": "https://a/b"}},
        ]})
    );
    for blank in [json!(""), json!("  "), json!([]), json!([{"type": "text", "text": " "}]), json!(null)] {
        assert_eq!(result(blank), json!({"type": "tool_result", "tool_use_id": "c_1"}));
    }
}

#[test]
fn a_result_needs_the_id_of_its_call() {
    for id in [json!(null), json!("")] {
        let message = json!({"role": "tool", "tool_call_id": id, "content": "x"});
        assert_eq!(refusal(&json!({"model": MODEL, "messages": [message]})), ("invalid_value", "messages[0].tool_call_id".into()));
    }
}

#[test]
fn ids_are_cleaned_alike_in_calls_and_results() {
    let call = |id: &str| json!({"id": id, "type": "function", "function": {"name": "f", "arguments": "{}"}});
    let body = sent_for(json!([
        {"role": "user", "content": "x"},
        {"role": "assistant", "tool_calls": [call("fn:0"), call("fn.0")]},
        {"role": "tool", "tool_call_id": "fn.0", "content": "b"},
        {"role": "tool", "tool_call_id": "fn:0", "content": "a"},
    ]));
    let ids = |turn: usize, key: &str| [0, 1].map(|block| body["messages"][turn]["content"][block][key].clone());
    assert_eq!(ids(1, "id"), ["fn_0", "fn_0_2"]);
    assert_eq!(ids(2, "tool_use_id"), ["fn_0_2", "fn_0"]);
}

#[test]
fn caching_markers_stay_with_their_parts() {
    let marker = json!({"type": "ephemeral", "ttl": "1h"});
    let other = json!({"type": "ephemeral"});
    let body = sent(&json!({
        "model": MODEL,
        "cache_control": marker,
        "messages": [
            {"role": "user", "cache_control": marker, "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": "https://a/b"}, "cache_control": other},
                {"type": "file", "file": {"file_data": "AAAA"}},
                {"type": "text", "text": " ", "cache_control": other},
            ]},
            {"role": "assistant", "content": "x", "cache_control": marker, "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}, "cache_control": other},
                {"id": "2", "type": "function", "function": {"name": "f", "arguments": "{}"}},
            ]},
            {"role": "tool", "tool_call_id": "1", "content": [{"type": "text", "text": "r", "cache_control": other}], "cache_control": marker},
            {"role": "tool", "tool_call_id": "2", "content": "r"},
            {"role": "assistant", "content": "y", "cache_control": marker},
            {"role": "user", "content": "z", "cache_control": null},
        ],
        "tools": [
            {"type": "function", "function": {"name": "f", "cache_control": marker}},
            {"type": "function", "function": {"name": "g"}, "cache_control": other},
        ],
    }));
    assert_eq!(body["cache_control"], marker);
    let at = |turn: usize, block: usize| body["messages"][turn]["content"][block]["cache_control"].clone();
    assert_eq!([at(0, 0), at(0, 1), at(0, 2)], [Value::Null, other.clone(), marker.clone()]);
    assert_eq!(body["messages"][0]["content"].as_array().unwrap().len(), 3);
    assert_eq!([at(1, 0), at(1, 1), at(1, 2)], [Value::Null, other.clone(), marker.clone()]);
    assert_eq!([at(2, 0), at(2, 1)], [marker.clone(), Value::Null]);
    assert_eq!(body["messages"][2]["content"][0]["content"][0]["cache_control"], other);
    assert_eq!(at(3, 0), marker);
    assert_eq!(body["messages"][4]["content"][0].get("cache_control"), None);
    assert_eq!((&body["tools"][0]["cache_control"], &body["tools"][1]["cache_control"]), (&marker, &other));
}
