//! What an answer used and what that costs, pure: from what a reader has seen to the figures of the entry.

use crate::catalog::price;
use crate::catalog::provider::Offer;
use crate::dialect::Observed;
use crate::ledger::entry::{Billing, Entry, UsageSource};
use crate::terms::{NanoUsd, Usage};

/// How far an answer got.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// To its end: the provider's own figures hold.
    Complete,
    /// Not to its end: figures are estimated from what was seen, and never below what the provider reported.
    Partial,
}

/// Fills in usage and cost. `prompt_bytes` stands in for a prompt that the provider did not count.
pub fn meter(entry: &mut Entry, offer: &Offer, observed: Observed, extent: Extent, prompt_bytes: u64) {
    let output = Usage::estimate(observed.output_bytes);
    (entry.usage, entry.usage_source) = match (observed.usage, extent) {
        (Some(usage), Extent::Complete) => (usage, UsageSource::Upstream),
        (Some(usage), Extent::Partial) => {
            let completion_tokens = usage.completion_tokens.max(output);
            (Usage { completion_tokens, ..usage }, UsageSource::Estimated)
        }
        (None, _) => {
            let prompt_tokens = Usage::estimate(prompt_bytes);
            (Usage { prompt_tokens, completion_tokens: output, ..Usage::default() }, UsageSource::Estimated)
        }
    };
    if observed.finish_reason.is_some() {
        entry.finish_reason = observed.finish_reason;
    }
    charge(entry, offer);
}

/// Prices the usage the entry holds.
fn charge(entry: &mut Entry, offer: &Offer) {
    entry.list_cost = price::cost(&offer.price, &entry.usage);
    entry.cost = match entry.billing {
        Billing::Brokered => entry.list_cost,
        Billing::Byo => NanoUsd(0),
    };
}

/// Fills in what is owed if nothing more is learnt: the prompt was sent, nothing came back.
pub fn assume_prompt(entry: &mut Entry, offer: &Offer, prompt_bytes: u64) {
    meter(entry, offer, Observed::default(), Extent::Partial, prompt_bytes);
}

/// Takes back what was assumed: no provider accepted the request, so there is nothing to count.
pub fn nothing_used(entry: &mut Entry) {
    entry.usage = Usage::default();
    entry.usage_source = UsageSource::None;
    entry.cost = NanoUsd(0);
    entry.list_cost = NanoUsd(0);
}
