//! Parser of OpenAI's usage object and its variations among providers.

use serde::Deserialize;

use crate::terms::Usage;

#[derive(Deserialize)]
struct ReportedUsage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
    total_tokens: Option<u64>,
    prompt_tokens_details: Option<PromptDetails>,
    completion_tokens_details: Option<CompletionDetails>,
    /// Cached tokens, as DeepSeek names them.
    prompt_cache_hit_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct PromptDetails {
    cached_tokens: Option<u64>,
    cache_write_tokens: Option<u64>,
}

#[derive(Default, Deserialize)]
struct CompletionDetails {
    reasoning_tokens: Option<u64>,
}

/// Returns the counts of a usage object. `None` if they are missing or impossible: negative,
/// fractional, above [`Usage::MOST`], or a part larger than its whole. They are then estimated.
pub(super) fn read(json: &str) -> Option<Usage> {
    if !json.starts_with('{') {
        return None;
    }
    let reported: ReportedUsage = serde_json::from_str(json).ok()?;
    let prompt_details = reported.prompt_tokens_details.unwrap_or_default();
    let completion_details = reported.completion_tokens_details.unwrap_or_default();
    let total = reported.total_tokens.unwrap_or(0);
    let prompt_tokens = reported.prompt_tokens.or(reported.total_tokens.filter(|_| reported.completion_tokens.is_none()))?;
    let mut usage = Usage {
        prompt_tokens,
        cached_tokens: prompt_details.cached_tokens.or(reported.prompt_cache_hit_tokens).unwrap_or(0),
        cache_write_tokens: prompt_details.cache_write_tokens.unwrap_or(0),
        cache_write_1h_tokens: 0,
        completion_tokens: reported.completion_tokens.unwrap_or(0),
        reasoning_tokens: completion_details.reasoning_tokens.unwrap_or(0),
    };
    let largest =
        [total, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens];
    if largest.into_iter().max() > Some(Usage::MOST) {
        return None;
    }
    add_hidden_reasoning(&mut usage, total);
    let whole = usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens && usage.reasoning_tokens <= usage.completion_tokens;
    whole.then_some(usage)
}

/// Adds reasoning that some providers (xAI, Gemini) count in `total_tokens` only; it is billed as
/// output. A difference equal to the cached tokens is not reasoning.
fn add_hidden_reasoning(usage: &mut Usage, total: u64) {
    let hidden = total.saturating_sub(usage.prompt_tokens + usage.completion_tokens);
    let cache = [usage.cached_tokens, usage.cache_write_tokens, usage.cached_tokens + usage.cache_write_tokens];
    if hidden == 0 || cache.contains(&hidden) {
        return;
    }
    usage.completion_tokens += hidden;
    usage.reasoning_tokens = usage.reasoning_tokens.max(hidden);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(json: &str) -> Option<(u64, u64, u64, u64, u64)> {
        let usage = read(json)?;
        Some((usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens, usage.reasoning_tokens))
    }

    #[test]
    fn usage_is_read_with_its_details() {
        let json = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10,
            "audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":30},"cost":0.1}"#;
        assert_eq!(counts(json), Some((100, 60, 10, 50, 30)));
        assert_eq!(counts(r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":null}"#), Some((9, 0, 0, 4, 0)));
        assert_eq!(counts(r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_cache_hit_tokens":8}"#), Some((9, 8, 0, 4, 0)));
        assert_eq!(counts(r#"{"prompt_tokens":9,"total_tokens":9}"#), Some((9, 0, 0, 0, 0)), "embeddings");
        assert_eq!(counts(r#"{"total_tokens":9}"#), Some((9, 0, 0, 0, 0)), "embeddings of some providers");
        assert_eq!(counts(r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#), Some((0, 0, 0, 0, 0)), "zero is a count");
    }

    #[test]
    fn reasoning_that_only_the_total_counts_is_output() {
        let xai = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100}}"#;
        assert_eq!(counts(xai), Some((10, 0, 0, 105, 100)));
        assert_eq!(counts(r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115}"#), Some((10, 0, 0, 105, 100)));
        let cache = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":22,"prompt_tokens_details":{"cached_tokens":7}}"#;
        assert_eq!(counts(cache), Some((10, 7, 0, 5, 0)));
    }

    #[test]
    fn absurd_usage_is_none() {
        for json in [
            "null",
            "[]",
            "[1,2,3]",
            "\"12\"",
            "{}",
            r#"{"completion_tokens":1}"#,
            r#"{"prompt_tokens":-1,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1.5,"completion_tokens":1}"#,
            r#"{"prompt_tokens":"1","completion_tokens":1}"#,
            r#"{"prompt_tokens":100000001,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1,"completion_tokens":18446744073709551615}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":18446744073709551615}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}"#,
            r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":3}}"#,
            r#"{"prompt_tokens":5,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}"#,
        ] {
            assert_eq!(read(json), None, "{json}");
        }
    }
}
