use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use proptest::prelude::*;

use super::*;
use crate::dialect::quirks::Quirks;
use crate::dialect::reader::{Flow, Observed};
use crate::dialect::request::HeaderView;
use crate::json::{Document, JsonLimits};
use crate::payload::Payload;

fn ask(operation: Operation, body: &Value, quirks: &Quirks, seed: u64) -> Result<Prepared, Refused> {
    let payload = Payload::Json(Document::parse(Bytes::from(body.to_string()), JsonLimits::default()).unwrap());
    Simulator.request(&DialectRequest {
        operation,
        payload: &payload,
        stream: body["stream"] == true,
        upstream_model: body["model"].as_str().unwrap_or("sim-echo"),
        max_output_tokens: Some(10_000),
        quirks,
        headers: HeaderView::EMPTY,
        created: 1_700_000_000,
        sse: crate::dialect::sse::SseLimits::default(),
        seed,
    })
}

fn script(prepared: Prepared) -> Script {
    let Call::Scripted(script) = prepared.call else { panic!("never leaves the process") };
    script
}

/// Returns the body of an answer that is not a stream.
fn answer(operation: Operation, body: &Value) -> (Value, Observed) {
    let mut prepared = ask(operation, body, &Quirks::default(), 1).unwrap();
    let Call::Scripted(script) = &prepared.call else { panic!("never leaves the process") };
    assert_eq!((script.status, script.content_type, script.pieces.len()), (200, "application/json", 1));
    let body = prepared.reader.whole(script.pieces[0].1.clone()).unwrap();
    (serde_json::from_slice(&body).unwrap(), prepared.reader.observed())
}

/// Returns the events of a stream without `[DONE]`.
fn stream(operation: Operation, body: &Value) -> (Vec<Value>, Observed) {
    let mut prepared = ask(operation, body, &Quirks::default(), 1).unwrap();
    let Call::Scripted(script) = &prepared.call else { panic!("never leaves the process") };
    assert_eq!((script.status, script.content_type), (200, "text/event-stream"));
    let (mut out, mut flow) = (Vec::new(), Flow::Opening);
    for (_, piece) in &script.pieces {
        flow = prepared.reader.push(piece.clone(), &mut out);
    }
    assert_eq!(flow, Flow::Done);
    let text = String::from_utf8(out.concat()).unwrap();
    let events = text.strip_suffix("data: [DONE]\n\n").unwrap().split_terminator("\n\n");
    (events.map(|event| serde_json::from_str(event.strip_prefix("data: ").unwrap()).unwrap()).collect(), prepared.reader.observed())
}

fn user_message(text: &str) -> Value {
    json!([{"role": "system", "content": "be brief"}, {"role": "user", "content": text}, {"role": "assistant", "content": null}])
}

#[test]
fn echo_answers_with_the_last_user_message() {
    let (answer, observed) = answer(Operation::Chat, &json!({"model": "sim-echo", "messages": user_message("hé there")}));
    let expected = json!({
        "id": "chatcmpl-sim0000000000000001",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "sim-echo",
        "choices": [{
            "index": 0,
            "message": {"role": "assistant", "content": "hé there", "refusal": null, "annotations": []},
            "logprobs": null,
            "finish_reason": "stop",
        }],
        "usage": {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "total_tokens": 8,
            "prompt_tokens_details": {"cached_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": 0},
        },
    });
    assert_eq!(answer, expected);
    assert_eq!((observed.finish_reason.as_deref(), observed.output_bytes), (Some("stop"), 9));
}

#[test]
fn echo_reads_text_parts() {
    let parts = json!([{"type": "text", "text": "a "}, {"type": "image_url", "image_url": {"url": "x"}}, {"type": "text", "text": "b"}]);
    let body = json!({"model": "sim-echo", "messages": [{"role": "user", "content": parts}], "n": 2});
    let (answer, _) = answer(Operation::Chat, &body);
    assert_eq!([&answer["choices"][0]["message"]["content"], &answer["choices"][1]["message"]["content"]], ["a b", "a b"]);
}

#[test]
fn lorem_respects_the_token_limit() {
    for name in ["max_tokens", "max_completion_tokens"] {
        let (short, observed) = answer(Operation::Chat, &json!({"model": "sim-lorem", "messages": user_message("x"), name: 3}));
        assert_eq!(short["choices"][0]["message"]["content"], "Lorem ipsum ");
        assert_eq!((short["choices"][0]["finish_reason"].as_str(), observed.usage.unwrap().completion_tokens), (Some("length"), 3));
    }
    let (long, _) = answer(Operation::Chat, &json!({"model": "sim-lorem", "messages": user_message("x"), "max_tokens": 5000}));
    assert_eq!(long["choices"][0]["finish_reason"], "stop");
}

#[test]
fn a_stream_has_the_same_text_word_by_word() {
    let body = json!({"model": "sim-echo", "stream": true, "messages": user_message("one two three")});
    let (events, observed) = stream(Operation::Chat, &body);
    assert_eq!(events[0]["choices"][0]["delta"], json!({"role": "assistant", "content": "", "refusal": null}));
    let words: Vec<&str> = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
    assert_eq!(words, ["", "one ", "two ", "three"]);
    assert_eq!(events[4]["choices"][0], json!({"index": 0, "delta": {}, "logprobs": null, "finish_reason": "stop"}));
    assert_eq!((events.len(), events[0]["object"].as_str()), (5, Some("chat.completion.chunk")));
    assert_eq!((observed.usage.unwrap().completion_tokens, observed.output_bytes), (4, 13));

    let mut asking = body;
    asking["stream_options"] = json!({"include_usage": true});
    let (events, _) = stream(Operation::Chat, &asking);
    assert_eq!((events.len(), &events[5]["choices"], events[5]["usage"]["completion_tokens"].as_u64()), (6, &json!([]), Some(4)));
}

#[test]
fn completions_answer_each_prompt() {
    let (whole, _) = answer(Operation::Completions, &json!({"model": "sim-echo", "prompt": ["a", "b c"]}));
    assert_eq!(whole["object"], "text_completion");
    assert_eq!(whole["choices"][1], json!({"index": 1, "text": "b c", "logprobs": null, "finish_reason": "stop"}));
    let (events, _) = stream(Operation::Completions, &json!({"model": "sim-echo", "prompt": "b c", "stream": true}));
    let text: String = events.iter().filter_map(|event| event["choices"][0]["text"].as_str()).collect();
    assert_eq!((text.as_str(), events[2]["choices"][0]["finish_reason"].as_str()), ("b c", Some("stop")));
}

#[test]
fn embeddings_are_unit_vectors_that_only_the_text_decides() {
    let embed = |body: Value| answer(Operation::Embeddings, &body).0["data"].clone();
    let data = embed(json!({"model": "m", "input": ["a", "b", "a"], "dimensions": 8}));
    assert_eq!(data[0]["embedding"], data[2]["embedding"]);
    assert_ne!(data[0]["embedding"], data[1]["embedding"]);
    let vector: Vec<f64> = serde_json::from_value(data[1]["embedding"].clone()).unwrap();
    let length = vector.iter().map(|number| number * number).sum::<f64>();
    assert!(vector.len() == 8 && (length - 1.0).abs() < 1e-5);

    let encoded = embed(json!({"model": "m", "input": "b", "dimensions": 8, "encoding_format": "base64"}));
    let bytes = STANDARD.decode(encoded[0]["embedding"].as_str().unwrap()).unwrap();
    let decoded: Vec<f64> = bytes.chunks(4).map(|four| f64::from(f32::from_le_bytes(four.try_into().unwrap()))).collect();
    assert!(decoded.iter().zip(&vector).all(|(a, b)| (a - b).abs() < 1e-6), "{decoded:?} {vector:?}");
    assert_eq!(embed(json!({"model": "m", "input": [1, 2, 3]})).as_array().unwrap().len(), 1);
    assert_eq!(embed(json!({"model": "m", "input": [[1, 2], [3]]})).as_array().unwrap().len(), 2);
}

#[test]
fn invalid_requests_are_refused_by_field() {
    let chat = |body: Value| (Operation::Chat, body);
    for ((operation, body), param) in [
        (chat(json!({})), "messages"),
        (chat(json!({"messages": []})), "messages"),
        (chat(json!({"messages": "hi"})), "messages"),
        (chat(json!({"messages": [1]})), "messages[0].role"),
        (chat(json!({"messages": [{"role": "user", "content": 1}]})), "messages[0].content"),
        (chat(json!({"messages": user_message("x"), "max_tokens": "many"})), "max_tokens"),
        (chat(json!({"messages": user_message("x"), "n": 0})), "n"),
        ((Operation::Completions, json!({})), "prompt"),
        ((Operation::Embeddings, json!({"input": []})), "input"),
        ((Operation::Embeddings, json!({"input": [{}]})), "input"),
        ((Operation::Embeddings, json!({"input": "x", "dimensions": 0})), "dimensions"),
        ((Operation::Embeddings, json!({"input": "x", "encoding_format": "hex"})), "encoding_format"),
    ] {
        let refused = ask(operation, &body, &Quirks::default(), 0).err().unwrap();
        assert_eq!((refused.code, refused.param.as_deref()), ("invalid_value", Some(param)), "{body}");
    }
}

#[test]
fn a_model_it_does_not_have_is_not_found() {
    let script = script(ask(Operation::Chat, &json!({"model": "gpt", "messages": user_message("x")}), &Quirks::default(), 0).unwrap());
    let failure = Simulator.failure(script.status, &script.pieces[0].1);
    assert_eq!((failure.status, failure.code.as_deref()), (404, Some("model_not_found")));
}

#[test]
fn delays_are_configurable() {
    let (latency, chunk_delay) = (Duration::from_millis(300), Duration::from_millis(20));
    let quirks = Quirks { simulate: Simulate { latency, chunk_delay, ..Simulate::default() }, ..Quirks::default() };
    let delays = |body: Value| -> Vec<Duration> {
        script(ask(Operation::Chat, &body, &quirks, 0).unwrap()).pieces.iter().map(|(delay, _)| *delay).collect()
    };
    assert_eq!(delays(json!({"messages": user_message("a b")})), [latency]);
    let streamed = delays(json!({"messages": user_message("a b"), "stream": true}));
    assert_eq!((streamed[0], streamed[1]), (latency, chunk_delay));
}

#[test]
fn failures_follow_the_rate_and_the_seed() {
    let body = json!({"messages": user_message("x")});
    let status = |rate: f64, failure_status: u16, seed: u64| {
        let simulate = Simulate { failure_rate: rate, failure_status, ..Simulate::default() };
        let script = script(ask(Operation::Chat, &body, &Quirks { simulate, ..Quirks::default() }, seed).unwrap());
        (script.status, script)
    };
    let failed = (0..1000).filter(|seed| status(0.3, 0, *seed).0 == 503).count();
    assert!((250..350).contains(&failed), "{failed}");
    for seed in 0..50 {
        assert_eq!(status(0.3, 0, seed).1, status(0.3, 0, seed).1);
        assert_eq!((status(0.0, 0, seed).0, status(1.0, 429, seed).0), (200, 429));
    }
    let failure = Simulator.failure(429, &status(1.0, 429, 0).1.pieces[0].1);
    assert_eq!((&*failure.kind, failure.code.as_deref()), ("rate_limit_error", Some("simulated_failure")));
}

proptest! {
    #[test]
    fn a_stream_and_a_whole_answer_have_the_same_text(text in "(?s).{0,60}", limit in 0..20_u64, model in "sim-echo|sim-lorem") {
        let body = json!({"model": model, "messages": user_message(&text), "max_tokens": limit});
        let (answer, whole) = answer(Operation::Chat, &body);
        let mut streamed = body;
        streamed["stream"] = json!(true);
        let (events, seen) = stream(Operation::Chat, &streamed);
        let text: String = events.iter().filter_map(|event| event["choices"][0]["delta"]["content"].as_str()).collect();
        prop_assert_eq!(&answer["choices"][0]["message"]["content"], &text);
        prop_assert_eq!(&whole, &seen);
        prop_assert!(whole.usage.unwrap().completion_tokens <= limit);
    }
}
