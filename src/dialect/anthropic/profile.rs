//! Capabilities of each model family: the table of section 2. No other file of the dialect looks at
//! a model's name.

/// Capabilities of a model that the translation depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Profile {
    /// Whether `temperature`, `top_p` and `top_k` are honored.
    pub sampling: bool,
    /// How thinking is requested.
    pub thinking: Thinking,
    /// Translation of `reasoning_effort: "none"`.
    pub none: NoThinking,
    /// Translation of the effort `xhigh`.
    pub xhigh: &'static str,
    /// Whether `tool_choice` may force a call.
    pub forced_tool: bool,
    /// Whether structured outputs and strict tools are supported.
    pub structured: bool,
    /// Whether thinking blocks are bound to their original request.
    pub bound: bool,
    /// Maximum number of output tokens, where the catalog has none.
    pub max_output: Option<u64>,
}

/// Way to request thinking.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Thinking {
    /// By a token budget.
    Manual,
    /// By an effort.
    Adaptive,
}

/// Way to turn thinking off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoThinking {
    /// By omitting `thinking`.
    Omit,
    /// By `thinking {"type":"disabled"}`.
    Disabled,
    /// By `thinking {"type":"between_tools"}`.
    BetweenTools,
    /// Not possible; the lowest effort is the closest.
    LowEffort,
}

const LEGACY: Profile = Profile {
    sampling: true,
    thinking: Thinking::Manual,
    none: NoThinking::Omit,
    xhigh: "high",
    forced_tool: true,
    structured: false,
    bound: false,
    max_output: Some(32_000),
};
const V4_5: Profile = Profile { structured: true, max_output: Some(64_000), ..LEGACY };
const V4_6: Profile = Profile { thinking: Thinking::Adaptive, max_output: Some(128_000), ..V4_5 };
const V4_7: Profile = Profile { sampling: false, xhigh: "xhigh", ..V4_6 };
const V5: Profile = Profile { none: NoThinking::Disabled, ..V4_7 };
const HAIKU_5_5: Profile = Profile { bound: true, ..V5 };
const SONNET_5_5: Profile = Profile { none: NoThinking::BetweenTools, forced_tool: false, ..HAIKU_5_5 };
const FABLE_5: Profile = Profile { none: NoThinking::LowEffort, ..V4_7 };
/// Also for a Claude that is not in the table: the row with the fewest assumptions.
const ALWAYS_ON: Profile = Profile { none: NoThinking::LowEffort, ..SONNET_5_5 };
const MYTHOS_PREVIEW: Profile = Profile { xhigh: "high", bound: false, ..ALWAYS_ON };
/// Model other than Claude behind an Anthropic-compatible server.
const COMPAT: Profile = Profile { max_output: None, ..LEGACY };

/// Model ids with their profile. A trailing `*` matches any suffix; other ids match as in
/// [`is_release`].
const TABLE: [(&[&str], Profile); 10] = [
    (
        &[
            "claude-3*",
            "claude-2*",
            "claude-instant*",
            "claude-opus-4",
            "claude-opus-4-0",
            "claude-opus-4-1",
            "claude-sonnet-4",
            "claude-sonnet-4-0",
        ],
        LEGACY,
    ),
    (&["claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5"], V4_5),
    (&["claude-opus-4-6", "claude-sonnet-4-6"], V4_6),
    (&["claude-opus-4-7", "claude-opus-4-8"], V4_7),
    (&["claude-opus-5", "claude-sonnet-5"], V5),
    (&["claude-haiku-5-5"], HAIKU_5_5),
    (&["claude-sonnet-5-5"], SONNET_5_5),
    (&["claude-fable-5", "claude-mythos-5"], FABLE_5),
    (&["claude-opus-5-5", "claude-fable-5-1", "claude-fable-5-2", "claude-mythos-5-1", "claude-mythos-5-2"], ALWAYS_ON),
    (&["claude-mythos-preview"], MYTHOS_PREVIEW),
];

impl Profile {
    /// Returns the profile of an upstream model.
    pub fn of(model: &str) -> Self {
        let Some(start) = model.find("claude-") else { return COMPAT };
        let id = &model[start..];
        let is_meant = |known: &&str| match known.strip_suffix('*') {
            Some(family) => id.starts_with(family),
            None => id.strip_prefix(known).is_some_and(is_release),
        };
        TABLE.iter().find(|(ids, _)| ids.iter().any(is_meant)).map_or(ALWAYS_ON, |(_, profile)| *profile)
    }
}

/// Whether `rest`, the text after a known id, only names a release or a platform's copy of the
/// model.
fn is_release(rest: &str) -> bool {
    if rest.is_empty() || rest.starts_with(['@', ':']) || rest.starts_with("-v1") {
        return true;
    }
    if let Some(rest) = rest.strip_prefix("-latest") {
        return is_release(rest);
    }
    let dated = rest.strip_prefix('-').and_then(|rest| rest.split_at_checked(8));
    dated.is_some_and(|(date, rest)| date.bytes().all(|byte| byte.is_ascii_digit()) && is_release(rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_id_of_the_table_has_its_row() {
        let rows: [(&str, Profile); 43] = [
            ("claude-3-haiku-20240307", LEGACY),
            ("claude-3-7-sonnet-latest", LEGACY),
            ("claude-3-5-sonnet-20241022-v2:0", LEGACY),
            ("claude-2.1", LEGACY),
            ("claude-instant-1.2", LEGACY),
            ("claude-opus-4", LEGACY),
            ("claude-opus-4-20250514", LEGACY),
            ("claude-opus-4-0", LEGACY),
            ("claude-opus-4-1-20250805", LEGACY),
            ("claude-sonnet-4", LEGACY),
            ("claude-sonnet-4-0", LEGACY),
            ("claude-sonnet-4@20250514", LEGACY),
            ("claude-opus-4-5", V4_5),
            ("claude-sonnet-4-5-20250929", V4_5),
            ("claude-haiku-4-5-latest", V4_5),
            ("claude-opus-4-6", V4_6),
            ("claude-sonnet-4-6", V4_6),
            ("claude-opus-4-7", V4_7),
            ("claude-opus-4-8", V4_7),
            ("claude-opus-5", V5),
            ("claude-sonnet-5", V5),
            ("claude-haiku-5-5", HAIKU_5_5),
            ("claude-sonnet-5-5", SONNET_5_5),
            ("claude-fable-5", FABLE_5),
            ("claude-mythos-5", FABLE_5),
            ("claude-opus-5-5", ALWAYS_ON),
            ("claude-fable-5-1", ALWAYS_ON),
            ("claude-fable-5-2", ALWAYS_ON),
            ("claude-mythos-5-1", ALWAYS_ON),
            ("claude-mythos-5-2", ALWAYS_ON),
            ("claude-mythos-preview", MYTHOS_PREVIEW),
            // Any other Claude.
            ("claude-sonnet-9", ALWAYS_ON),
            ("claude-haiku-5", ALWAYS_ON),
            ("claude-opus-4-9", ALWAYS_ON),
            ("claude-opus-4-2025051", ALWAYS_ON),
            ("anthropic/claude-sonnet-4.5", ALWAYS_ON),
            // Not a Claude.
            ("deepseek-chat", COMPAT),
            ("kimi-k2", COMPAT),
            // Other platforms' spellings.
            ("anthropic.claude-sonnet-4-5-20250929-v1:0", V4_5),
            ("us.anthropic.claude-opus-4-6-v1", V4_6),
            ("claude-haiku-4-5@20251001", V4_5),
            ("vertex/claude-opus-4-8@default", V4_7),
            ("claude-sonnet-5-5:thinking", SONNET_5_5),
        ];
        for (id, profile) in rows {
            assert_eq!(Profile::of(id), profile, "{id}");
        }
    }

    /// The table of section 2 in full, so that a row that inherits from another cannot drift with
    /// it.
    #[test]
    fn every_row_matches_the_specification() {
        use NoThinking::{BetweenTools, Disabled, LowEffort, Omit};
        use Thinking::{Adaptive, Manual};
        let rows = [
            (LEGACY, true, Manual, Omit, "high", true, false, false, Some(32_000)),
            (V4_5, true, Manual, Omit, "high", true, true, false, Some(64_000)),
            (V4_6, true, Adaptive, Omit, "high", true, true, false, Some(128_000)),
            (V4_7, false, Adaptive, Omit, "xhigh", true, true, false, Some(128_000)),
            (V5, false, Adaptive, Disabled, "xhigh", true, true, false, Some(128_000)),
            (HAIKU_5_5, false, Adaptive, Disabled, "xhigh", true, true, true, Some(128_000)),
            (SONNET_5_5, false, Adaptive, BetweenTools, "xhigh", false, true, true, Some(128_000)),
            (FABLE_5, false, Adaptive, LowEffort, "xhigh", true, true, false, Some(128_000)),
            (ALWAYS_ON, false, Adaptive, LowEffort, "xhigh", false, true, true, Some(128_000)),
            (MYTHOS_PREVIEW, false, Adaptive, LowEffort, "high", false, true, false, Some(128_000)),
            (COMPAT, true, Manual, Omit, "high", true, false, false, None),
        ];
        for (profile, sampling, thinking, none, xhigh, forced_tool, structured, bound, max_output) in rows {
            assert_eq!(profile, Profile { sampling, thinking, none, xhigh, forced_tool, structured, bound, max_output });
        }
    }
}
