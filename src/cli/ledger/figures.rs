//! The parts of an entry that every listing shows.

use serde_json::Value;

use crate::cli::format::{count, dollars, milliseconds};
use crate::cli::table::{number, text};
use crate::terms::NanoUsd;

/// Returns the entries of a page, newest first.
pub(super) fn entries(list: &Value) -> impl DoubleEndedIterator<Item = &Value> {
    list.get("data").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default().iter()
}

/// Returns status, tokens, cost and latency of an entry.
pub(super) fn figures_of(entry: &Value) -> [String; 5] {
    [
        text(entry, "status"),
        count(number(entry, "prompt_tokens")),
        count(number(entry, "completion_tokens")),
        dollars(NanoUsd(number(entry, "cost_nanousd"))),
        milliseconds(number(entry, "latency_ms")),
    ]
}
