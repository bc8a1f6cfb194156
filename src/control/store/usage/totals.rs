//! Sums over ledger entries.

/// Sums of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[allow(missing_docs, reason = "names of ledger fields (DESIGN.md section 7)")]
pub struct Totals {
    /// Entries.
    pub requests: i64,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub completion_tokens: i64,
    pub reasoning_tokens: i64,
    pub cost_nanousd: i64,
    pub list_cost_nanousd: i64,
}

impl Totals {
    /// The sums with their names.
    pub fn named(&self) -> [(&'static str, i64); 8] {
        [
            ("requests", self.requests),
            ("prompt_tokens", self.prompt_tokens),
            ("cached_tokens", self.cached_tokens),
            ("cache_write_tokens", self.cache_write_tokens),
            ("completion_tokens", self.completion_tokens),
            ("reasoning_tokens", self.reasoning_tokens),
            ("cost_nanousd", self.cost_nanousd),
            ("list_cost_nanousd", self.list_cost_nanousd),
        ]
    }

    /// Adds `other` to these sums; saturates.
    pub fn add(&mut self, other: &Totals) {
        let sums = [
            (&mut self.requests, other.requests),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.cached_tokens, other.cached_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
            (&mut self.cost_nanousd, other.cost_nanousd),
            (&mut self.list_cost_nanousd, other.list_cost_nanousd),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
}
