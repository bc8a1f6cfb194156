//! Counters and histograms of settled entries, and their labels.
//!
//! Labels come from the catalog and from fixed sets, never from requests. Tenants name their own
//! providers, so the number of model and provider pairs is bounded: further pairs are counted as
//! `other`.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ledger::entry::{Entry, Outcome};
use crate::terms::{Billing, ModelId, NanoUsd, Operation, ProviderName};

/// Maximum number of model and provider pairs with labels of their own.
const MAX_PAIRS: usize = 2_000;

/// Bucket bounds in seconds, from a local response to a long stream.
const SECONDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// All metrics of entries.
pub struct Series {
    requests: Family<ByOutcome, Counter>,
    duration: Family<ByOutcome, Histogram, fn() -> Histogram>,
    first_byte: Family<Pair, Histogram, fn() -> Histogram>,
    tokens: Family<ByType, Counter>,
    cost: Family<ByBilling, Counter<f64>>,
    retries: Family<ByError, Counter>,
    /// Counters found by entry class: finding each by its labels takes longer than counting.
    known: Mutex<KnownCounters>,
}

#[derive(Default)]
struct KnownCounters {
    pairs: HashSet<Pair>,
    counters: HashMap<EntryClass, Counters>,
}

/// The labels of entries that are counted by the same counters.
#[derive(PartialEq, Eq, Hash)]
struct EntryClass {
    model: ModelId,
    provider: ProviderName,
    operation: Operation,
    outcome: Outcome,
    billing: Billing,
}

/// The counters of a class of entries. Rarely used ones are created on first use.
struct Counters {
    pair: Pair,
    requests: Counter,
    duration: Histogram,
    first_byte: OnceLock<Histogram>,
    tokens: [OnceLock<Counter>; TYPES.len()],
    cost: OnceLock<Counter<f64>>,
}

/// Types of tokens.
const TYPES: [&str; 5] = ["prompt", "cached", "cache_write", "completion", "reasoning"];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Pair {
    model: ModelId,
    provider: ProviderName,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByOutcome {
    operation: &'static str,
    model: ModelId,
    provider: ProviderName,
    outcome: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByType {
    model: ModelId,
    provider: ProviderName,
    r#type: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByBilling {
    model: ModelId,
    provider: ProviderName,
    billing: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ByError {
    provider: ProviderName,
    error: String,
}

impl EncodeLabelValue for ModelId {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self)
    }
}

impl EncodeLabelValue for ProviderName {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        encoder.write_str(self)
    }
}

impl Series {
    /// Creates the families and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let series = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(histogram),
            first_byte: Family::new_with_constructor(histogram),
            tokens: Family::default(),
            cost: Family::default(),
            retries: Family::default(),
            known: Mutex::default(),
        };
        registry.register("aigw_requests", "Settled requests", series.requests.clone());
        registry.register("aigw_request_duration_seconds", "Time from the request to the end of the response", series.duration.clone());
        registry.register(
            "aigw_upstream_first_byte_seconds",
            "Time from the start of a successful upstream call to its response head and first event",
            series.first_byte.clone(),
        );
        registry.register(
            "aigw_tokens",
            "Tokens by type; cached and cache_write are part of prompt, reasoning is part of completion",
            series.tokens.clone(),
        );
        registry.register(
            "aigw_cost_usd",
            "Cost in US dollars: billed for brokered providers, at list price for tenants' own",
            series.cost.clone(),
        );
        registry.register("aigw_retries", "Failed upstream calls that were retried, by error", series.retries.clone());
        series
    }

    /// Counts one entry.
    pub fn count(&self, entry: &Entry) {
        let class = EntryClass {
            model: entry.model.clone(),
            provider: entry.provider.clone(),
            operation: entry.operation,
            outcome: entry.outcome,
            billing: entry.billing,
        };
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = known.counters.get(&class) {
            return self.count_by(counters, entry);
        }
        let (pair, is_known) = known.pair(entry);
        let counters = self.counters(pair, entry);
        self.count_by(&counters, entry);
        if is_known {
            known.counters.insert(class, counters);
        }
    }

    fn counters(&self, pair: Pair, entry: &Entry) -> Counters {
        let by_outcome = ByOutcome {
            operation: entry.operation.as_str(),
            model: pair.model.clone(),
            provider: pair.provider.clone(),
            outcome: entry.outcome.as_str(),
        };
        Counters {
            pair,
            requests: self.requests.get_or_create_owned(&by_outcome),
            duration: self.duration.get_or_create_owned(&by_outcome),
            first_byte: OnceLock::new(),
            tokens: Default::default(),
            cost: OnceLock::new(),
        }
    }

    fn count_by(&self, counters: &Counters, entry: &Entry) {
        let Pair { model, provider } = &counters.pair;
        counters.requests.inc();
        counters.duration.observe(entry.latency_ms as f64 / 1000.0);
        if let Some(attempt) = entry.attempts.last().filter(|attempt| attempt.error.is_none()) {
            let first_byte = counters.first_byte.get_or_init(|| self.first_byte.get_or_create_owned(&counters.pair));
            first_byte.observe(attempt.ms as f64 / 1000.0);
        }
        if let Some((_, followed)) = entry.attempts.split_last() {
            for attempt in followed {
                let error = attempt.error.as_deref().unwrap_or("unknown").to_owned();
                let provider = if *provider == entry.provider { attempt.provider.clone() } else { provider.clone() };
                self.retries.get_or_create(&ByError { provider, error }).inc();
            }
        }
        let usage = &entry.usage;
        let tokens = [usage.prompt_tokens, usage.cached_tokens, usage.cache_write_tokens, usage.completion_tokens, usage.reasoning_tokens];
        for ((r#type, tokens), counter) in TYPES.into_iter().zip(tokens).zip(&counters.tokens) {
            if tokens > 0 {
                let labels = || ByType { model: model.clone(), provider: provider.clone(), r#type };
                counter.get_or_init(|| self.tokens.get_or_create_owned(&labels())).inc_by(tokens);
            }
        }
        let cost = match entry.billing {
            Billing::Brokered => entry.cost,
            Billing::Byo => entry.list_cost,
        };
        if cost > NanoUsd(0) {
            let labels = || ByBilling { model: model.clone(), provider: provider.clone(), billing: entry.billing.as_str() };
            counters.cost.get_or_init(|| self.cost.get_or_create_owned(&labels())).inc_by(cost.0 as f64 / 1e9);
        }
    }
}

impl KnownCounters {
    /// Returns the model and provider labels of an entry. Returns `other` and `false` if there are
    /// too many pairs.
    fn pair(&mut self, entry: &Entry) -> (Pair, bool) {
        let pair = Pair { model: entry.model.clone(), provider: entry.provider.clone() };
        if self.pairs.len() >= MAX_PAIRS && !self.pairs.contains(&pair) {
            return (Pair { model: "other".into(), provider: "other".into() }, false);
        }
        self.pairs.insert(pair.clone());
        (pair, true)
    }
}
