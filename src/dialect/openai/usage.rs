//! OpenAI's usage object, and what providers make of it, as [`Usage`].

use crate::json;
use crate::terms::Usage;

/// The counts of a usage object. `None` if it holds none, or such as cannot be: negative, fractions, over [`Usage::MOST`], a part
/// larger than its whole. Then they are estimated, as if nothing had been reported.
pub(super) fn read(json: &[u8]) -> Option<Usage> {
    let [prompt, completion, total, prompt_details, completion_details, hit] = members(
        json,
        [
            b"prompt_tokens",
            b"completion_tokens",
            b"total_tokens",
            b"prompt_tokens_details",
            b"completion_tokens_details",
            // DeepSeek's spelling of the cached tokens.
            b"prompt_cache_hit_tokens",
        ],
    )?;
    let [prompt, completion, total, hit] = counts([prompt, completion, total, hit])?;
    let [cached, cache_write] = match prompt_details {
        Some(details) => counts(members(details, [b"cached_tokens", b"cache_write_tokens"])?)?,
        None => [None; 2],
    };
    let [reasoning] = match completion_details {
        Some(details) => counts(members(details, [b"reasoning_tokens"])?)?,
        None => [None],
    };
    let mut usage = Usage {
        prompt_tokens: prompt.or(total.filter(|_| completion.is_none()))?,
        cached_tokens: cached.or(hit).unwrap_or(0),
        cache_write_tokens: cache_write.unwrap_or(0),
        cache_write_1h_tokens: 0,
        completion_tokens: completion.unwrap_or(0),
        reasoning_tokens: reasoning.unwrap_or(0),
    };
    let total = total.unwrap_or(0);
    let largest =
        [total, usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.reasoning_tokens];
    if largest.into_iter().max() > Some(Usage::MOST) {
        return None;
    }
    add_hidden_reasoning(&mut usage, total);
    let whole = usage.cached_tokens + usage.cache_write_tokens <= usage.prompt_tokens && usage.reasoning_tokens <= usage.completion_tokens;
    whole.then_some(usage)
}

/// Those members of an object, as they are spelled; `null` is as good as absent. `None` if it is no object, or names one twice.
fn members<'a, const N: usize>(object: &'a [u8], names: [&[u8]; N]) -> Option<[Option<&'a [u8]>; N]> {
    let mut found = [None; N];
    for (name, value) in json::members(object)?.filter(|(_, value)| *value != b"null") {
        let Some(nth) = names.iter().position(|other| *other == name) else { continue };
        if found[nth].replace(value).is_some() {
            return None;
        }
    }
    Some(found)
}

/// `None` if one of them is no whole number from 0 on.
fn counts<const N: usize>(values: [Option<&[u8]>; N]) -> Option<[Option<u64>; N]> {
    let mut counts = [None; N];
    for (count, value) in counts.iter_mut().zip(values) {
        if let Some(value) = value {
            *count = Some(str::from_utf8(value).ok()?.parse().ok()?);
        }
    }
    Some(counts)
}

/// Some providers (xAI, Gemini) count reasoning in `total_tokens` and leave it out of `completion_tokens`; it is billed as
/// output all the same. A difference that is just the cache's is none of it.
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

    fn read_counts(json: &str) -> Option<(u64, u64, u64, u64, u64)> {
        let usage = read(json.as_bytes())?;
        Some((usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens, usage.reasoning_tokens))
    }

    #[test]
    fn usage_is_read_with_its_details() {
        let json = r#"{"prompt_tokens":100,"completion_tokens":50,"total_tokens":150,"prompt_tokens_details":{"cached_tokens":60,"cache_write_tokens":10,
            "audio_tokens":0},"completion_tokens_details":{"reasoning_tokens":30},"cost":0.1}"#;
        assert_eq!(read_counts(json), Some((100, 60, 10, 50, 30)));
        assert_eq!(read_counts(r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_tokens_details":null}"#), Some((9, 0, 0, 4, 0)));
        assert_eq!(read_counts(r#"{"prompt_tokens":9,"completion_tokens":4,"prompt_cache_hit_tokens":8}"#), Some((9, 8, 0, 4, 0)));
        assert_eq!(read_counts(r#"{"prompt_tokens":9,"total_tokens":9}"#), Some((9, 0, 0, 0, 0)), "embeddings");
        assert_eq!(read_counts(r#"{"total_tokens":9}"#), Some((9, 0, 0, 0, 0)), "embeddings of some providers");
        assert_eq!(read_counts(r#"{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}"#), Some((0, 0, 0, 0, 0)), "zero is a count");
    }

    #[test]
    fn reasoning_that_only_the_total_counts_is_output() {
        let xai = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115,"completion_tokens_details":{"reasoning_tokens":100}}"#;
        assert_eq!(read_counts(xai), Some((10, 0, 0, 105, 100)));
        assert_eq!(read_counts(r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":115}"#), Some((10, 0, 0, 105, 100)));
        let cache = r#"{"prompt_tokens":10,"completion_tokens":5,"total_tokens":22,"prompt_tokens_details":{"cached_tokens":7}}"#;
        assert_eq!(read_counts(cache), Some((10, 7, 0, 5, 0)));
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
            r#"{"prompt_tokens":1e2,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1,"prompt_tokens":2,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":7}"#,
            r#"{"prompt_tokens":100000001,"completion_tokens":1}"#,
            r#"{"prompt_tokens":1,"completion_tokens":18446744073709551615}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1,"total_tokens":18446744073709551615}"#,
            r#"{"prompt_tokens":1,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":2}}"#,
            r#"{"prompt_tokens":5,"completion_tokens":1,"prompt_tokens_details":{"cached_tokens":3,"cache_write_tokens":3}}"#,
            r#"{"prompt_tokens":5,"completion_tokens":1,"completion_tokens_details":{"reasoning_tokens":2}}"#,
        ] {
            assert_eq!(read(json.as_bytes()), None, "{json}");
        }
    }
}
