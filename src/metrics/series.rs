//! The families that settled entries are counted in, and their labels.
//!
//! Labels come from the catalog and the contract, never from what a client sent; names of BYO providers are tenants' own,
//! so the number of pairs of model and provider is bounded here: what is beyond it is counted as `other`.

use std::collections::{HashMap, HashSet};
use std::fmt::{self, Write};
use std::sync::{Mutex, OnceLock, PoisonError};

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::ledger::entry::{Billing, Entry, Outcome};
use crate::terms::{ModelId, NanoUsd, Operation, ProviderName};

/// Pairs of model and provider that are counted apart.
const PAIRS: usize = 2_000;

/// Upper bounds in seconds: from a local answer to a long stream.
const SECONDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 180.0, 600.0];

/// Everything that is counted of entries.
pub struct Series {
    requests: Family<ByOutcome, Counter>,
    duration: Family<ByOutcome, Histogram, fn() -> Histogram>,
    first_byte: Family<Pair, Histogram, fn() -> Histogram>,
    tokens: Family<ByType, Counter>,
    cost: Family<ByBilling, Counter<f64>>,
    retries: Family<ByError, Counter>,
    /// Found once for all entries of a sort: finding each by its labels takes longer than counting.
    sorts: Mutex<Sorts>,
}

#[derive(Default)]
struct Sorts {
    pairs: HashSet<Pair>,
    known: HashMap<Sort, Counters>,
}

/// What entries have in common that are counted by the same counters.
#[derive(PartialEq, Eq, Hash)]
struct Sort {
    model: ModelId,
    provider: ProviderName,
    operation: Operation,
    outcome: Outcome,
    billing: Billing,
}

/// The counters of a sort. Those that may never count are looked for when they first do.
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
    /// Makes the families and registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let series = Self {
            requests: Family::default(),
            duration: Family::new_with_constructor(histogram),
            first_byte: Family::new_with_constructor(histogram),
            tokens: Family::default(),
            cost: Family::default(),
            retries: Family::default(),
            sorts: Mutex::default(),
        };
        registry.register("aigw_requests", "Settled requests", series.requests.clone());
        registry.register("aigw_request_duration_seconds", "From the request to the end of the answer", series.duration.clone());
        registry.register(
            "aigw_upstream_first_byte_seconds",
            "From an upstream call that succeeded to its head and first event",
            series.first_byte.clone(),
        );
        registry.register(
            "aigw_tokens",
            "Tokens; cached and cache_write are part of prompt, reasoning of completion",
            series.tokens.clone(),
        );
        registry.register("aigw_cost_usd", "US dollars: owed where brokered, at list price where byo", series.cost.clone());
        registry.register("aigw_retries", "Upstream calls that failed and were followed by another", series.retries.clone());
        series
    }

    /// Counts one entry.
    pub fn count(&self, entry: &Entry) {
        let sort = Sort {
            model: entry.model.clone(),
            provider: entry.provider.clone(),
            operation: entry.operation,
            outcome: entry.outcome,
            billing: entry.billing,
        };
        let mut sorts = self.sorts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(counters) = sorts.known.get(&sort) {
            return self.count_by(counters, entry);
        }
        let (pair, is_known) = sorts.pair(entry);
        let counters = self.counters(pair, entry);
        self.count_by(&counters, entry);
        if is_known {
            sorts.known.insert(sort, counters);
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

impl Sorts {
    /// The labels of an entry's model and provider, or `other`, and `false`, once there are too many.
    fn pair(&mut self, entry: &Entry) -> (Pair, bool) {
        let pair = Pair { model: entry.model.clone(), provider: entry.provider.clone() };
        if self.pairs.len() >= PAIRS && !self.pairs.contains(&pair) {
            return (Pair { model: "other".into(), provider: "other".into() }, false);
        }
        self.pairs.insert(pair.clone());
        (pair, true)
    }
}
