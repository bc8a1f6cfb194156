//! Translation of `temperature`, `top_p` and `top_k` (section 5.2).

use serde_json::value::RawValue;

use super::parameters::{Dropped, number, parsed};
use super::refusal::invalid;
use crate::dialect::anthropic::profile::Profile;
use crate::dialect::request::{JsonRequest, Refused};

/// First API version that refuses all three.
pub const VERSION_WITHOUT: &str = "2026-10-21";

/// Sampling parameters to send, in the client's spelling.
#[derive(Default)]
pub struct Sampling<'a> {
    pub temperature: Option<&'a RawValue>,
    pub top_p: Option<&'a RawValue>,
    pub top_k: Option<&'a RawValue>,
}

impl<'a> Sampling<'a> {
    /// Translates the three. `is_thinking`: whether thinking is on.
    ///
    /// # Errors
    /// [`Refused`] if one of them is invalid.
    pub fn read(request: &JsonRequest<'a>, profile: &Profile, is_thinking: bool, dropped: &mut Dropped) -> Result<Self, Refused> {
        let temperature = number(request, "temperature", 2.0)?;
        let top_p = number(request, "top_p", 1.0)?;
        let top_k = parsed::<&RawValue>(request, "top_k")?;
        if top_k.is_some_and(|raw| raw.get().parse::<u64>().is_err()) {
            return Err(invalid("top_k", "must be a non-negative integer"));
        }
        let is_pinned = request.headers.fixed.get("anthropic-version").is_some_and(|version| version >= VERSION_WITHOUT);
        if !profile.sampling || is_pinned {
            for (name, is_given) in [("temperature", temperature.is_some()), ("top_p", top_p.is_some()), ("top_k", top_k.is_some())] {
                if is_given {
                    dropped.record(name);
                }
            }
            return Ok(Self::default());
        }
        if temperature.is_some_and(|(_, value)| is_thinking || value > 1.0) {
            dropped.record("temperature");
        }
        if top_k.is_some() && is_thinking {
            dropped.record("top_k");
        }
        // 1 is the default of both.
        let temperature = temperature.filter(|(_, value)| !is_thinking && *value < 1.0);
        let top_p = top_p.filter(|(_, value)| *value < 1.0);
        let is_kept = |value: f64| if is_thinking { value >= 0.95 } else { temperature.is_none() };
        if top_p.is_some_and(|(_, value)| !is_kept(value)) {
            dropped.record("top_p");
        }
        Ok(Self {
            temperature: temperature.map(|(raw, _)| raw),
            top_p: top_p.filter(|(_, value)| is_kept(*value)).map(|(raw, _)| raw),
            top_k: top_k.filter(|_| !is_thinking),
        })
    }

    /// Whether any of them is sent.
    pub fn is_used(&self) -> bool {
        self.temperature.is_some() || self.top_p.is_some() || self.top_k.is_some()
    }
}
