//! Parts of an upstream message that a whole answer and a stream have in common: content blocks,
//! their deltas, and the reason why the model stopped.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::dialect::anthropic::text::{Lenient, compact};

/// Content block of any type: whole, or the start of one in a stream.
#[derive(Deserialize)]
pub struct ContentBlock<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Lenient<'a>,
    #[serde(borrow, default)]
    pub text: Lenient<'a>,
    #[serde(borrow, default)]
    pub thinking: Lenient<'a>,
    #[serde(borrow, default)]
    pub signature: Lenient<'a>,
    #[serde(borrow, default)]
    pub data: Lenient<'a>,
    #[serde(borrow, default)]
    pub id: Lenient<'a>,
    #[serde(borrow, default)]
    pub name: Lenient<'a>,
    #[serde(borrow)]
    pub input: Option<&'a RawValue>,
}

/// Thinking block, for `thinking_blocks`. The client sends it back unchanged.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum ThinkingBlock<'a> {
    Thinking {
        thinking: Cow<'a, str>,
        #[serde(skip_serializing_if = "Option::is_none")]
        signature: Option<Cow<'a, str>>,
    },
    RedactedThinking {
        data: Cow<'a, str>,
    },
}

/// Delta of a block or of the message.
#[derive(Default, Deserialize)]
pub struct EventDelta<'a> {
    #[serde(rename = "type", borrow, default)]
    pub kind: Lenient<'a>,
    #[serde(borrow, default)]
    pub text: Lenient<'a>,
    #[serde(borrow, default)]
    pub partial_json: Lenient<'a>,
    #[serde(borrow, default)]
    pub thinking: Lenient<'a>,
    #[serde(borrow, default)]
    pub signature: Lenient<'a>,
    #[serde(borrow, default)]
    pub stop_reason: Lenient<'a>,
    #[serde(borrow)]
    pub stop_details: Option<&'a RawValue>,
}

/// Reason why a model stopped, as fine as `finish_reason` distinguishes it (section 7.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stop {
    Finished,
    OutOfTokens,
    Tools,
    Refused,
}

impl Stop {
    /// Maps Anthropic's `stop_reason`. An unknown one counts as finished.
    pub fn of(stop_reason: &str) -> Self {
        match stop_reason {
            "max_tokens" | "model_context_window_exceeded" => Self::OutOfTokens,
            "tool_use" => Self::Tools,
            "refusal" => Self::Refused,
            _ => Self::Finished,
        }
    }

    /// Returns OpenAI's `finish_reason`. `has_calls`: whether the client got a tool call.
    pub fn finish_reason(self, has_calls: bool) -> &'static str {
        match self {
            Self::OutOfTokens => "length",
            Self::Refused => "content_filter",
            Self::Tools if has_calls => "tool_calls",
            Self::Tools | Self::Finished => "stop",
        }
    }

    /// Returns the explanation of a refusal, if there is one.
    pub fn refusal(self, stop_details: Option<&RawValue>) -> Option<String> {
        #[derive(Deserialize)]
        struct StopDetails<'a> {
            #[serde(borrow, default)]
            explanation: Lenient<'a>,
        }
        let details = stop_details.filter(|_| self == Self::Refused)?;
        let explanation = serde_json::from_str::<StopDetails<'_>>(details.get()).ok()?.explanation;
        explanation.into_string().filter(|text| !text.is_empty())
    }
}

/// Returns a tool's input as the text that OpenAI's clients expect.
pub fn arguments(input: Option<&RawValue>) -> String {
    input.map_or_else(|| "{}".to_owned(), |raw| compact(raw.get()))
}
