//! How hard the model is to think (sections 5.3 and 3.6).

use serde_json::{Value, json};

use super::body::{BlockBinding, Thinking};
use super::parameters::{Dropped, parsed};
use super::refusal::invalid;
use crate::dialect::anthropic::profile::{self, NoThinking, Profile};
use crate::dialect::anthropic::text::Text;
use crate::dialect::{Ask, Refused};

/// The beta that lets a request say what becomes of thinking blocks which are not its own.
pub const BINDING_BETA: &str = "thinking-binding-controls-2026-08-01";

/// Smaller budgets are refused.
const LEAST_BUDGET: u64 = 1024;

/// What is sent.
#[derive(Default)]
pub struct Reasoning {
    pub thinking: Option<Thinking>,
    pub effort: Option<&'static str>,
}

/// What of the rest of the request bears on thinking.
pub struct ThinkingContext {
    pub max_tokens: u64,
    /// A tool call is forced, or one is being answered that was begun without thinking.
    pub rules_out_budget: bool,
}

impl Reasoning {
    /// Reads `reasoning_effort` and the extension `thinking`.
    pub fn read(ask: &Ask<'_>, profile: &Profile, context: &ThinkingContext, dropped: &mut Dropped) -> Result<Self, Refused> {
        let effort = parsed::<Text<'_>>(ask, "reasoning_effort")?;
        if let Some(thinking) = parsed::<Value>(ask, "thinking")? {
            if !thinking.is_object() {
                return Err(invalid("thinking", "must be an object"));
            }
            if effort.is_some() {
                dropped.record("reasoning_effort");
            }
            return Ok(Self { thinking: Some(Thinking::Client(thinking)), effort: None });
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
                let thinking = Thinking::Adaptive { display: Some("summarized"), block_binding: None };
                Ok(Self { thinking: Some(thinking), effort: Some(effort) })
            }
            profile::Thinking::Manual => {
                // Half keeps room for the answer.
                let budget_tokens = budget.min(context.max_tokens / 2);
                if budget_tokens < LEAST_BUDGET || context.rules_out_budget {
                    dropped.record("reasoning_effort");
                    return Ok(Self::default());
                }
                Ok(Self { thinking: Some(Thinking::Enabled { budget_tokens }), effort: None })
            }
        }
    }

    fn off(profile: &Profile, dropped: &mut Dropped) -> Self {
        match profile.none {
            NoThinking::Omit => Self::default(),
            NoThinking::Disabled => Self { thinking: Some(Thinking::Disabled), effort: None },
            NoThinking::BetweenTools => Self { thinking: Some(Thinking::BetweenTools), effort: None },
            NoThinking::LowEffort => {
                dropped.record("reasoning_effort");
                Self { thinking: None, effort: Some("low") }
            }
        }
    }

    /// Whether thinking is switched on by what is sent.
    pub fn is_on(&self) -> bool {
        match &self.thinking {
            None | Some(Thinking::Disabled) => false,
            Some(Thinking::Client(object)) => object.get("type").is_none_or(|kind| kind != "disabled"),
            Some(_) => true,
        }
    }

    /// Lets the upstream drop thinking blocks of the history that do not belong to this request, instead of refusing it.
    /// `true`: that was said, and takes [`BINDING_BETA`].
    pub fn bind(&mut self) -> bool {
        const DROP: &str = "drop_block";
        let binding = || Some(BlockBinding { prefix_mismatch_behavior: DROP });
        match &mut self.thinking {
            None => self.thinking = Some(Thinking::Adaptive { display: None, block_binding: binding() }),
            Some(Thinking::Adaptive { block_binding, .. }) => *block_binding = binding(),
            Some(Thinking::Client(Value::Object(object))) if object.get("type").is_some_and(|kind| kind == "adaptive") => {
                object.entry("block_binding").or_insert_with(|| json!({"prefix_mismatch_behavior": DROP}));
            }
            Some(_) => return false,
        }
        true
    }
}
