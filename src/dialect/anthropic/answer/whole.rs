//! Translation of a complete message into a chat completion (section 7).

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::block::{ContentBlock, Stop, ThinkingBlock, arguments};
use super::error;
use super::expected::{AnswerOrigin, Expected, JSON_RESPONSE};
use super::usage::{Counts, UsageObject};
use crate::dialect::anthropic::text::Lenient;
use crate::dialect::failure::Failure;
use crate::dialect::reader::Observed;

/// Message, or any other object the upstream sent.
#[derive(Deserialize)]
struct AnthropicMessage<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Lenient<'a>,
    #[serde(borrow, default)]
    id: Lenient<'a>,
    #[serde(borrow, default)]
    model: Lenient<'a>,
    #[serde(borrow)]
    content: Option<Vec<ContentBlock<'a>>>,
    #[serde(borrow, default)]
    stop_reason: Lenient<'a>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [CompletionChoice<'a>; 1],
    usage: UsageObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct CompletionChoice<'a> {
    index: u32,
    message: AssistantMessage<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Default, Serialize)]
struct AssistantMessage<'a> {
    role: &'static str,
    content: Option<Cow<'a, str>>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thinking_blocks: Vec<ThinkingBlock<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<CompletionToolCall<'a>>,
}

#[derive(Serialize)]
struct CompletionToolCall<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: FunctionCall<'a>,
}

#[derive(Serialize)]
struct FunctionCall<'a> {
    name: Cow<'a, str>,
    arguments: String,
}

/// Translates a complete answer of status 200 to 299.
///
/// # Errors
/// [`Failure`] if the body is an error or not a message.
pub fn translate(body: &[u8], origin: &AnswerOrigin, expected: Expected) -> Result<(Bytes, Observed), Failure> {
    let message = serde_json::from_slice::<AnthropicMessage<'_>>(body).ok();
    let Some(AnthropicMessage { id, model, content: Some(content), stop_reason, stop_details, usage, .. }) =
        message.filter(|message| matches!(message.kind.as_str(), "message" | ""))
    else {
        return Err(no_message(body));
    };
    let mut reply = AssistantMessage { role: "assistant", ..AssistantMessage::default() };
    let (mut others, mut is_prefix) = (false, true);
    for block in content {
        let is_thought = matches!(block.kind.as_str(), "thinking" | "redacted_thinking");
        is_prefix &= !(is_thought && others);
        others |= !is_thought;
        reply.add(block, expected);
    }
    if !is_prefix {
        reply.thinking_blocks.clear();
    }
    let stop = Stop::of(stop_reason.as_str());
    reply.refusal = stop.refusal(stop_details);
    if reply.content.is_none() && reply.refusal.is_none() && reply.tool_calls.is_empty() {
        reply.content = Some(Cow::Borrowed(""));
    }
    let mut counts = Counts::default();
    if let Some(usage) = usage {
        counts.update(usage);
    }
    let finish_reason = stop.finish_reason(!reply.tool_calls.is_empty());
    let observed = Observed {
        usage: counts.valid_usage(),
        has_absurd_usage: counts.is_absurd(),
        finish_reason: Some(SmolStr::new_static(finish_reason)),
        output_bytes: reply.generated_bytes(),
    };
    let completion = Completion {
        id: &origin.completion_id(id.as_str()),
        object: "chat.completion",
        created: origin.created,
        model: origin.model_or(model.as_str()),
        choices: [CompletionChoice { index: 0, message: reply, logprobs: (), finish_reason }],
        usage: counts.usage().into(),
        service_tier: usage.filter(|_| expected.service_tier).and_then(service_tier),
    };
    let bytes = serde_json::to_vec(&completion).map_err(|_| Failure::interrupted("the provider's answer cannot be serialized"))?;
    Ok((bytes.into(), observed))
}

impl<'a> AssistantMessage<'a> {
    fn add(&mut self, block: ContentBlock<'a>, expected: Expected) {
        match block.kind.as_str() {
            "text" => append(&mut self.content, block.text.0.unwrap_or_default()),
            "thinking" => {
                let thinking = block.thinking.0.unwrap_or_default();
                if !thinking.is_empty() {
                    append(&mut self.reasoning_content, thinking.clone());
                }
                self.thinking_blocks.push(ThinkingBlock::Thinking { thinking, signature: block.signature.0 });
            }
            "redacted_thinking" => {
                self.thinking_blocks.push(ThinkingBlock::RedactedThinking { data: block.data.0.unwrap_or_default() });
            }
            "tool_use" if expected.answers_by_tool && block.name.as_str() == JSON_RESPONSE => {
                append(&mut self.content, arguments(block.input).into());
            }
            "tool_use" => self.tool_calls.push(CompletionToolCall {
                id: block.id.0.unwrap_or_default(),
                kind: "function",
                function: FunctionCall { name: block.name.0.unwrap_or_default(), arguments: arguments(block.input) },
            }),
            _ => {}
        }
    }

    fn generated_bytes(&self) -> u64 {
        let text = self.content.as_ref().map_or(0, |text| text.len()) + self.reasoning_content.as_ref().map_or(0, |text| text.len());
        let arguments: usize = self.tool_calls.iter().map(|call| call.function.arguments.len()).sum();
        (text + arguments) as u64
    }
}

fn append<'a>(to: &mut Option<Cow<'a, str>>, text: Cow<'a, str>) {
    match to {
        None => *to = Some(text),
        Some(all) => all.to_mut().push_str(&text),
    }
}

/// Returns OpenAI's name of the tier that served the request.
fn service_tier(usage: &RawValue) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Tier<'a> {
        #[serde(borrow, default)]
        service_tier: Lenient<'a>,
    }
    match serde_json::from_str::<Tier<'_>>(usage.get()).ok()?.service_tier.as_str() {
        "standard" => Some("default"),
        "priority" => Some("priority"),
        "batch" => Some("flex"),
        _ => None,
    }
}

/// Classifies a body that is not a message: an error with a success status, or unreadable.
fn no_message(body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct BodyKind<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Lenient<'a>,
        error: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<BodyKind<'_>>(body) {
        Ok(BodyKind { kind, error }) if kind.as_str() == "error" || (error.is_some() && kind.as_str() != "message") => {
            error::failure(200, body)
        }
        _ => Failure::interrupted("the provider's answer is not a message"),
    }
}
