//! One answer, back: a message read whole becomes a chat completion (section 7).

use std::borrow::Cow;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::reader::{Origin, Wanted};
use super::structured::JSON_RESPONSE;
use super::text::{Loose, compact};
use super::usage::{Counts, UsageObject};
use crate::dialect::{Failure, Observed};

/// A message, or whatever else the upstream sent.
#[derive(Deserialize)]
struct Message<'a> {
    #[serde(rename = "type", borrow, default)]
    kind: Loose<'a>,
    #[serde(borrow, default)]
    id: Loose<'a>,
    #[serde(borrow, default)]
    model: Loose<'a>,
    #[serde(borrow)]
    content: Option<Vec<Block<'a>>>,
    #[serde(borrow, default)]
    stop_reason: Loose<'a>,
    #[serde(borrow)]
    stop_details: Option<&'a RawValue>,
    #[serde(borrow)]
    usage: Option<&'a RawValue>,
}

/// A content block, of any type: whole, or as a stream begins it.
#[derive(Deserialize)]
pub struct Block<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Loose<'a>,
    #[serde(borrow, default)]
    pub text: Loose<'a>,
    #[serde(borrow, default)]
    pub thinking: Loose<'a>,
    #[serde(borrow, default)]
    pub signature: Loose<'a>,
    #[serde(borrow, default)]
    pub data: Loose<'a>,
    #[serde(borrow, default)]
    pub id: Loose<'a>,
    #[serde(borrow, default)]
    pub name: Loose<'a>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
}

/// A thinking block, for `thinking_blocks`: the client is to give it back unchanged.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Thought<'a> {
    Thinking {
        thinking: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'a, str>>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
}

#[derive(Serialize)]
struct Completion<'a> {
    id: &'a str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: [Choice<'a>; 1],
    usage: UsageObject,
    #[serde(skip_serializing_if = "Option::is_none")]
    service_tier: Option<&'static str>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    message: Reply<'a>,
    logprobs: (),
    finish_reason: &'static str,
}

#[derive(Default, Serialize)]
struct Reply<'a> {
    role: &'static str,
    content: Option<Cow<'a, str>>,
    refusal: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<Cow<'a, str>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    thinking_blocks: Vec<Thought<'a>>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call<'a>>,
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Function<'a>,
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    arguments: String,
}

/// Why a model stopped, as far as `finish_reason` tells (section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Finished,
    OutOfTokens,
    Tools,
    Refused,
}

impl Stop {
    pub fn of(stop_reason: &str) -> Self {
        match stop_reason {
            "max_tokens" | "model_context_window_exceeded" => Self::OutOfTokens,
            "tool_use" => Self::Tools,
            "refusal" => Self::Refused,
            _ => Self::Finished,
        }
    }

    /// OpenAI's word; `has_calls`: the client was given a tool call.
    pub fn finish_reason(self, has_calls: bool) -> &'static str {
        match self {
            Self::OutOfTokens => "length",
            Self::Refused => "content_filter",
            Self::Tools if has_calls => "tool_calls",
            Self::Tools | Self::Finished => "stop",
        }
    }

    /// What the client is told of a refusal.
    pub fn refusal(self, stop_details: Option<&RawValue>) -> Option<String> {
        #[derive(Deserialize)]
        struct Details<'a> {
            #[serde(borrow, default)]
            explanation: Loose<'a>,
        }
        let details = stop_details.filter(|_| self == Self::Refused)?;
        let explanation = serde_json::from_str::<Details<'_>>(details.get()).ok()?.explanation;
        explanation.into_string().filter(|text| !text.is_empty())
    }
}

/// Translates a complete answer of status 200 to 299.
pub fn translate(body: &[u8], origin: &Origin, wanted: Wanted) -> Result<(Bytes, Observed), Failure> {
    let message = serde_json::from_slice::<Message<'_>>(body).ok();
    let Some(Message { id, model, content: Some(content), stop_reason, stop_details, usage, .. }) =
        message.filter(|message| matches!(message.kind.as_str(), "message" | ""))
    else {
        return Err(no_message(body));
    };
    let mut reply = Reply { role: "assistant", ..Reply::default() };
    let (mut others, mut is_prefix) = (false, true);
    for block in content {
        let is_thought = matches!(block.kind.as_str(), "thinking" | "redacted_thinking");
        is_prefix &= !(is_thought && others);
        others |= !is_thought;
        reply.add(block, wanted);
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
        usage: counts.believable(),
        has_absurd_usage: counts.is_absurd(),
        finish_reason: Some(SmolStr::new_static(finish_reason)),
        output_bytes: reply.generated_bytes(),
    };
    let completion = Completion {
        id: &origin.completion_id(id.as_str()),
        object: "chat.completion",
        created: origin.created,
        model: origin.model_or(model.as_str()),
        choices: [Choice { index: 0, message: reply, logprobs: (), finish_reason }],
        usage: counts.usage().into(),
        service_tier: usage.filter(|_| wanted.service_tier).and_then(service_tier),
    };
    let bytes = serde_json::to_vec(&completion).map_err(|_| Failure::interrupted("the provider's answer cannot be written as JSON"))?;
    Ok((bytes.into(), observed))
}

impl<'a> Reply<'a> {
    fn add(&mut self, block: Block<'a>, wanted: Wanted) {
        match block.kind.as_str() {
            "text" => append(&mut self.content, block.text.0.unwrap_or_default()),
            "thinking" => {
                let thinking = block.thinking.0.unwrap_or_default();
                if !thinking.is_empty() {
                    append(&mut self.reasoning_content, thinking.clone());
                }
                self.thinking_blocks.push(Thought::Thinking { thinking, signature: block.signature.0 });
            }
            "redacted_thinking" => {
                self.thinking_blocks.push(Thought::RedactedThinking { data: block.data.0.unwrap_or_default() });
            }
            "tool_use" if wanted.answers_by_tool && block.name.as_str() == JSON_RESPONSE => {
                append(&mut self.content, arguments(block.input).into());
            }
            "tool_use" => self.tool_calls.push(Call {
                id: block.id.0.unwrap_or_default(),
                kind: "function",
                function: Function { name: block.name.0.unwrap_or_default(), arguments: arguments(block.input) },
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

/// A tool's input as the text OpenAI's clients expect.
pub fn arguments(input: Option<&RawValue>) -> String {
    input.map_or_else(|| "{}".to_owned(), |raw| compact(raw.get()))
}

fn append<'a>(to: &mut Option<Cow<'a, str>>, text: Cow<'a, str>) {
    match to {
        None => *to = Some(text),
        Some(all) => all.to_mut().push_str(&text),
    }
}

/// OpenAI's word for the tier that served the request.
fn service_tier(usage: &RawValue) -> Option<&'static str> {
    #[derive(Deserialize)]
    struct Tier<'a> {
        #[serde(borrow, default)]
        service_tier: Loose<'a>,
    }
    match serde_json::from_str::<Tier<'_>>(usage.get()).ok()?.service_tier.as_str() {
        "standard" => Some("default"),
        "priority" => Some("priority"),
        "batch" => Some("flex"),
        _ => None,
    }
}

/// What a body means that is no message: an error under a good status, or nothing that can be read.
fn no_message(body: &[u8]) -> Failure {
    #[derive(Deserialize)]
    struct Kind<'a> {
        #[serde(rename = "type", borrow, default)]
        kind: Loose<'a>,
        error: Option<serde::de::IgnoredAny>,
    }
    match serde_json::from_slice::<Kind<'_>>(body) {
        Ok(Kind { kind, error }) if kind.as_str() == "error" || (error.is_some() && kind.as_str() != "message") => {
            super::error::failure(200, body)
        }
        _ => Failure::interrupted("the provider's answer is not a message"),
    }
}
