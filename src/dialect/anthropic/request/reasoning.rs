//! Reasoning effort and thinking (sections 5.3 and 3.6).

use serde_json::{Value, json};

use super::body::{BlockBinding, ThinkingParameter};
use super::parameters::{Dropped, parsed};
use super::refusal::invalid;
use crate::dialect::anthropic::profile::{self, NoThinking, Profile};
use crate::dialect::anthropic::text::Text;
use crate::dialect::request::{JsonRequest, Refused};

/// Beta flag of `block_binding`, which controls thinking blocks that belong to another request.
pub const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";

/// Smallest thinking budget that the API accepts, in tokens.
const MIN_BUDGET: u64 = 1024;

/// Thinking parameters to send.
#[derive(Default)]
pub struct Reasoning {
    pub thinking: Option<ThinkingParameter>,
    pub effort: Option<&'static str>,
}

/// Other parameters of the request that limit thinking.
pub struct ThinkingContext {
    pub max_tokens: u64,
    /// Whether a tool call is forced, or one that began without thinking is being answered.
    pub rules_out_budget: bool,
}

impl Reasoning {
    /// Translates `reasoning_effort` and the extension `thinking`.
    ///
    /// # Errors
    /// [`Refused`] if one of them is invalid.
    pub fn read(request: &JsonRequest<'_>, profile: &Profile, context: &ThinkingContext, dropped: &mut Dropped) -> Result<Self, Refused> {
        let effort = parsed::<Text<'_>>(request, "reasoning_effort")?;
        if let Some(thinking) = parsed::<Value>(request, "thinking")? {
            if !thinking.is_object() {
                return Err(invalid("thinking", "must be an object"));
            }
            if effort.is_some() {
                dropped.record("reasoning_effort");
            }
            return Ok(Self { thinking: Some(ThinkingParameter::Client(thinking)), effort: None });
        }
        let Some(Text(effort)) = effort else { return Ok(Self::default()) };
        let (effort, budget) = match &*effort {
            "none" => return Ok(Self::off(profile, dropped)),
            "minimal" => ("low", 1024),
            "low" => ("low", 2048),
            "medium" => ("medium", 8192),
            "high" => ("high", 16_000),
            "xhigh" => (profile.xhigh, 32_000),
            "max" => ("max", 32_000),
            _ => return Err(invalid("reasoning_effort", "must be none, minimal, low, medium, high, xhigh or max")),
        };
        match profile.thinking {
            profile::Thinking::Adaptive => {
                let thinking = ThinkingParameter::Adaptive { display: Some("summarized"), block_binding: None };
                Ok(Self { thinking: Some(thinking), effort: Some(effort) })
            }
            profile::Thinking::Manual => {
                // The other half is left for the answer.
                let budget_tokens = budget.min(context.max_tokens / 2);
                if budget_tokens < MIN_BUDGET || context.rules_out_budget {
                    dropped.record("reasoning_effort");
                    return Ok(Self::default());
                }
                Ok(Self { thinking: Some(ThinkingParameter::Enabled { budget_tokens }), effort: None })
            }
        }
    }

    fn off(profile: &Profile, dropped: &mut Dropped) -> Self {
        match profile.none {
            NoThinking::Omit => Self::default(),
            NoThinking::Disabled => Self { thinking: Some(ThinkingParameter::Disabled), effort: None },
            NoThinking::BetweenTools => Self { thinking: Some(ThinkingParameter::BetweenTools), effort: None },
            NoThinking::LowEffort => {
                dropped.record("reasoning_effort");
                Self { thinking: None, effort: Some("low") }
            }
        }
    }

    /// Whether the parameters to send turn thinking on.
    pub fn is_on(&self) -> bool {
        match &self.thinking {
            None | Some(ThinkingParameter::Disabled) => false,
            Some(ThinkingParameter::Client(object)) => object.get("type").is_none_or(|kind| kind != "disabled"),
            Some(_) => true,
        }
    }

    /// Asks the upstream to drop thinking blocks that belong to another request instead of refusing
    /// the request. Returns whether that was possible; it needs [`BINDING_BETA`].
    pub fn drop_unbound(&mut self) -> bool {
        const DROP: &str = "drop_block";
        let binding = || Some(BlockBinding { prefix_mismatch_behavior: DROP });
        match &mut self.thinking {
            None => self.thinking = Some(ThinkingParameter::Adaptive { display: None, block_binding: binding() }),
            Some(ThinkingParameter::Adaptive { block_binding, .. }) => *block_binding = binding(),
            Some(ThinkingParameter::Client(Value::Object(object))) if object.get("type").is_some_and(|kind| kind == "adaptive") => {
                object.entry("block_binding").or_insert_with(|| json!({"prefix_mismatch_behavior": DROP}));
            }
            Some(_) => return false,
        }
        true
    }
}
