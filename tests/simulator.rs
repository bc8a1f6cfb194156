//! Simulator: deterministic answers without an upstream, and simulated outages.

use serde_json::{Value, json};

use crate::support::gateway::Setup;
use crate::support::test_gateway::session;

fn ask(text: &str) -> Value {
    json!({"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "first"}, {"role": "assistant", "content": "a"}, {"role": "user", "content": text}]})
}

#[test]
fn sim_echo_answers_with_the_last_user_message() {
    let session = session();
    let text = "say \"h\u{e9}llo\" \u{1F600}\n\ttwice";
    let answer = session.chat_with("sim-echo", ask(text)).send();
    let body = answer.expect(200);
    assert_eq!((&body["object"], &body["choices"][0]["message"]["content"]), (&json!("chat.completion"), &json!(text)));
    assert_eq!((&body["choices"][0]["message"]["role"], &body["choices"][0]["finish_reason"]), (&json!("assistant"), &json!("stop")));
    assert!(body["id"].is_string() && body["created"].is_u64() && body["model"].is_string());
    let usage = &body["usage"];
    assert!(usage["prompt_tokens"].as_u64() > Some(0) && usage["completion_tokens"].as_u64() > Some(0));
    assert_eq!(
        usage["total_tokens"].as_u64().unwrap(),
        usage["prompt_tokens"].as_u64().unwrap() + usage["completion_tokens"].as_u64().unwrap()
    );
    let entry = session.shared.gateway.entry_of(&answer);
    assert_eq!((&entry["prompt_tokens"], &entry["usage_source"]), (&usage["prompt_tokens"], &json!("upstream")));
    assert_eq!(entry["provider"], "50-simulator");
}

#[test]
fn a_message_of_parts_is_echoed_too() {
    let session = session();
    let messages = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]}]});
    let body = session.chat_with("sim-echo", messages).send().expect(200);
    assert!(body["choices"][0]["message"]["content"].as_str().is_some_and(|text| text.contains("one") && text.contains("two")));
}

#[test]
fn a_stream_has_the_same_text_as_the_whole_answer() {
    let session = session();
    for model in ["sim-echo", "sim-lorem"] {
        let whole = session.chat_with(model, ask("the same words in the same order")).send().expect(200);
        let mut fields = ask("the same words in the same order");
        fields["stream"] = json!(true);
        let frames = session.chat_with(model, fields).open().frames();
        assert_eq!(frames.last().map(String::as_str), Some("data: [DONE]"));
        let chunks: Vec<Value> =
            frames[..frames.len() - 1].iter().map(|frame| serde_json::from_str(frame.strip_prefix("data: ").unwrap()).unwrap()).collect();
        let text: String = chunks.iter().filter_map(|chunk| chunk["choices"][0]["delta"]["content"].as_str()).collect();
        assert_eq!(json!(text), whole["choices"][0]["message"]["content"], "{model}");
        assert!(chunks.len() > 2 && chunks.iter().all(|chunk| chunk["object"] == "chat.completion.chunk"));
        assert!(chunks.iter().all(|chunk| chunk["usage"].is_null()), "usage was not asked for");
        assert_eq!(chunks.last().unwrap()["choices"][0]["finish_reason"], "stop");
    }
}

#[test]
fn the_same_question_gets_the_same_answer() {
    let session = session();
    for model in ["sim-echo", "sim-lorem"] {
        let answers: Vec<Value> = (0..3).map(|_| session.chat_with(model, ask("again")).send().expect(200)["choices"].clone()).collect();
        assert!(answers.iter().all(|answer| *answer == answers[0]));
    }
}

#[test]
fn embeddings_are_plausible_and_stable() {
    let session = session();
    let ask = |input: Value| session.post_with("/v1/embeddings", "sim-echo", json!({"input": input})).send().expect(200);
    let (one, two) = (ask(json!("hello")), ask(json!(["hello", "world"])));
    assert_eq!(
        (&one["object"], one["data"].as_array().map(Vec::len), two["data"].as_array().map(Vec::len)),
        (&json!("list"), Some(1), Some(2))
    );
    assert_eq!(one["data"][0]["embedding"], two["data"][0]["embedding"]);
    assert_ne!(two["data"][0]["embedding"], two["data"][1]["embedding"]);
    assert_eq!(two["data"][1]["index"], 1);
    assert!(one["data"][0]["embedding"].as_array().is_some_and(|vector| vector.len() > 1 && vector.iter().all(Value::is_number)));
    assert!(one["usage"]["prompt_tokens"].as_u64() > Some(0));
}

#[test]
fn an_outage_can_be_rehearsed() {
    let broken = "[kind.broken]\ndialect = \"simulator\"\nauth = \"none\"\nsimulate = { failure_rate = 1.0 }\n[provider.\"1-broken\"]\nkind = \"broken\"\n\
                  [kind.fine]\ndialect = \"simulator\"\nauth = \"none\"\n[provider.\"2-fine\"]\nkind = \"fine\"\n\
                  [model.sim-echo.served_by.broken]\nprice = \"free\"\n[model.sim-echo.served_by.fine]\nprice = \"free\"\n\
                  [model.sim-lorem.served_by.broken]\nprice = \"free\"\n";
    let gateway = Setup::new().section("[retry]\nbackoff = \"1ms\"\nmax_backoff = \"2ms\"").provider("sim.toml", broken).start();
    let key = gateway.key();
    let answer = gateway.chat(&key, &json!({"model": "sim-echo", "messages": [{"role": "user", "content": "x"}]})).send();
    answer.expect(200);
    assert_eq!((answer.header("x-aigw-provider"), answer.header("x-aigw-attempts")), (Some("2-fine"), Some("3")));
    let answer = gateway.chat(&key, &json!({"model": "sim-lorem", "messages": []})).send();
    answer.error(503, "upstream_error", "all_providers_failed");
}
