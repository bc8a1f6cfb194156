//! Formatting of the simulator's replies as OpenAI objects, whole or as stream events.

use serde_json::{Value, json};

use super::text::{SimulatedChoice, SimulatedReply, tokens};
use crate::dialect::request::JsonRequest;
use crate::terms::Operation;

/// Returns the whole answer.
pub(super) fn whole(request: &JsonRequest<'_>, reply: &SimulatedReply) -> Value {
    let chat = request.operation == Operation::Chat;
    let choices = reply.choices.iter().enumerate().map(|(index, SimulatedChoice { text, finish_reason })| {
        if chat {
            let message = json!({"role": "assistant", "content": text, "refusal": null, "annotations": []});
            json!({"index": index, "message": message, "logprobs": null, "finish_reason": finish_reason})
        } else {
            json!({"index": index, "text": text, "logprobs": null, "finish_reason": finish_reason})
        }
    });
    let object = if chat { "chat.completion" } else { "text_completion" };
    object_of(request, object, choices.collect(), Some(usage(reply)))
}

/// Returns the answer as events of about one word each, usage last, without `[DONE]`.
pub(super) fn events(request: &JsonRequest<'_>, reply: &SimulatedReply) -> Vec<String> {
    let chat = request.operation == Operation::Chat;
    let object = if chat { "chat.completion.chunk" } else { "text_completion" };
    let event = |choices, usage| format!("data: {}\n\n", object_of(request, object, choices, usage));
    let chunk = |index: usize, delta: Value, finish_reason: Value| {
        let member = if chat { "delta" } else { "text" };
        event(vec![json!({"index": index, member: delta, "logprobs": null, "finish_reason": finish_reason})], None)
    };
    let word = |text: &str| if chat { json!({"content": text}) } else { json!(text) };
    let nothing = || if chat { json!({}) } else { json!("") };
    let mut events = Vec::new();
    for (index, choice) in reply.choices.iter().enumerate() {
        if chat {
            events.push(chunk(index, json!({"role": "assistant", "content": "", "refusal": null}), Value::Null));
        }
        events.extend(choice.text.split_inclusive(' ').map(|text| chunk(index, word(text), Value::Null)));
        events.push(chunk(index, nothing(), json!(choice.finish_reason)));
    }
    events.push(event(Vec::new(), Some(usage(reply))));
    events
}

fn object_of(request: &JsonRequest<'_>, object: &str, choices: Vec<Value>, usage: Option<Value>) -> Value {
    let prefix = if request.operation == Operation::Chat { "chatcmpl" } else { "cmpl" };
    let mut answer = json!({
        "id": format!("{prefix}-sim{:016x}", request.seed),
        "object": object,
        "created": request.created,
        "model": request.upstream_model,
        "choices": choices,
    });
    if let Some(usage) = usage {
        answer["usage"] = usage;
    }
    answer
}

fn usage(reply: &SimulatedReply) -> Value {
    let completion_tokens: u64 = reply.choices.iter().map(|choice| tokens(choice.text.len())).sum();
    json!({
        "prompt_tokens": reply.prompt_tokens,
        "completion_tokens": completion_tokens,
        "total_tokens": reply.prompt_tokens + completion_tokens,
        "prompt_tokens_details": {"cached_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": 0},
    })
}
