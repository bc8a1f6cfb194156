//! Token counts (section 7.2). Anthropic's input count excludes cached tokens; OpenAI's includes
//! them.

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::terms::Usage;

/// Counts reported by the upstream so far. Later reports replace earlier ones, member by member.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counts {
    input: u64,
    cache_write: u64,
    cache_write_1h: u64,
    cache_read: u64,
    output: u64,
    thinking: u64,
    is_reported: bool,
    /// Whether a count was negative, fractional or above the limit. Then no count is used.
    is_absurd: bool,
}

#[derive(Deserialize)]
struct Report<'a> {
    #[serde(borrow)]
    input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_read_input_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    output_tokens: Option<&'a RawValue>,
    #[serde(borrow)]
    cache_creation: Option<CacheCreation<'a>>,
    #[serde(borrow)]
    output_tokens_details: Option<OutputDetails<'a>>,
}

#[derive(Deserialize)]
struct CacheCreation<'a> {
    #[serde(borrow)]
    ephemeral_1h_input_tokens: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct OutputDetails<'a> {
    #[serde(borrow)]
    thinking_tokens: Option<&'a RawValue>,
}

/// OpenAI's `usage` object.
#[derive(Debug, Serialize)]
pub struct UsageObject {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptTokensDetails,
    completion_tokens_details: CompletionTokensDetails,
}

#[derive(Debug, Serialize)]
struct PromptTokensDetails {
    cached_tokens: u64,
    cache_write_tokens: u64,
}

#[derive(Debug, Serialize)]
struct CompletionTokensDetails {
    reasoning_tokens: u64,
}

impl Counts {
    /// Updates the counts from a `usage` object.
    pub fn update(&mut self, usage: &RawValue) {
        let Ok(report) = serde_json::from_str::<Report<'_>>(usage.get()) else {
            self.is_absurd = true;
            return;
        };
        let is_absurd = &mut self.is_absurd;
        let mut replace = |count: &mut u64, raw: Option<&RawValue>| match raw.map(|raw| raw.get().parse::<u64>()) {
            None => {}
            Some(Ok(new)) if new <= Usage::MOST => *count = new,
            Some(_) => *is_absurd = true,
        };
        replace(&mut self.input, report.input_tokens);
        replace(&mut self.cache_write, report.cache_creation_input_tokens);
        replace(&mut self.cache_read, report.cache_read_input_tokens);
        replace(&mut self.output, report.output_tokens);
        replace(&mut self.cache_write_1h, report.cache_creation.and_then(|creation| creation.ephemeral_1h_input_tokens));
        replace(&mut self.thinking, report.output_tokens_details.and_then(|details| details.thinking_tokens));
        self.is_reported = true;
    }

    /// Returns the counts in OpenAI's terms.
    pub fn usage(&self) -> Usage {
        Usage {
            prompt_tokens: self.input + self.cache_write + self.cache_read,
            cached_tokens: self.cache_read,
            cache_write_tokens: self.cache_write,
            cache_write_1h_tokens: self.cache_write_1h.min(self.cache_write),
            completion_tokens: self.output,
            reasoning_tokens: self.thinking.min(self.output),
        }
    }

    /// Whether an impossible count was reported.
    pub fn is_absurd(&self) -> bool {
        self.is_absurd
    }

    /// Returns the counts for the ledger: `None` if nothing valid was reported.
    pub fn valid_usage(&self) -> Option<Usage> {
        (self.is_reported && !self.is_absurd).then(|| self.usage())
    }
}

impl From<Usage> for UsageObject {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.prompt_tokens,
            completion_tokens: usage.completion_tokens,
            total_tokens: usage.prompt_tokens + usage.completion_tokens,
            prompt_tokens_details: PromptTokensDetails { cached_tokens: usage.cached_tokens, cache_write_tokens: usage.cache_write_tokens },
            completion_tokens_details: CompletionTokensDetails { reasoning_tokens: usage.reasoning_tokens },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(reports: &[&str]) -> Counts {
        let mut counts = Counts::default();
        for report in reports {
            counts.update(serde_json::from_str(report).unwrap());
        }
        counts
    }

    #[test]
    fn the_prompt_includes_what_the_cache_read_and_wrote() {
        let usage = counts(&[r#"{"input_tokens":11,"cache_creation_input_tokens":312,"cache_read_input_tokens":20480,"output_tokens":5,
            "cache_creation":{"ephemeral_5m_input_tokens":300,"ephemeral_1h_input_tokens":12},"output_tokens_details":{"thinking_tokens":3}}"#])
        .valid_usage();
        assert_eq!(
            usage,
            Some(Usage {
                prompt_tokens: 20_803,
                cached_tokens: 20_480,
                cache_write_tokens: 312,
                cache_write_1h_tokens: 12,
                completion_tokens: 5,
                reasoning_tokens: 3,
            })
        );
    }

    #[test]
    fn without_a_breakdown_every_cache_write_is_a_short_one() {
        let usage = counts(&[r#"{"input_tokens":1,"cache_creation_input_tokens":10,"output_tokens":1}"#]).usage();
        assert_eq!((usage.cache_write_tokens, usage.cache_write_1h_tokens), (10, 0));
    }

    #[test]
    fn a_later_report_replaces_what_it_names_and_nothing_else() {
        let usage = counts(&[
            r#"{"input_tokens":9,"cache_read_input_tokens":4096,"output_tokens":1}"#,
            r#"{"output_tokens":5,"input_tokens":null,"unknown":{}}"#,
        ])
        .usage();
        assert_eq!((usage.prompt_tokens, usage.completion_tokens), (4105, 5));
    }

    #[test]
    fn impossible_counts_are_rejected() {
        for report in [
            r#"{"input_tokens":-1}"#,
            r#"{"output_tokens":1.5}"#,
            r#"{"output_tokens":"7"}"#,
            r#"{"input_tokens":100000001}"#,
            r#"{"input_tokens":18446744073709551615}"#,
            r#"{"input_tokens":99999999999999999999999}"#,
            r#""none""#,
        ] {
            assert_eq!(counts(&[report]).valid_usage(), None, "{report}");
            assert_eq!(counts(&[report]).usage(), Usage::default(), "{report}");
        }
        assert_eq!(counts(&[]).valid_usage(), None);
    }
}
