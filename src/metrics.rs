//! What Prometheus reads: counts and times of settled entries, and levels that are taken at each scrape.
//!
//! Entries are counted by the ledger's thread when they are settled, stored or not, so a request pays nothing for it. Money
//! here is a float for graphs; bills are made from the ledger.

mod levels;
mod series;

use prometheus_client::encoding::text;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::ledger::Observer;
use crate::ledger::backlog::Lag;
use crate::ledger::entry::Entry;
use crate::terms::ProviderName;
use levels::Levels;
use series::Series;

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    series: Series,
    levels: Levels,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// The content type of [`encode`](Self::encode).
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Every metric, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register("aigw_build", "What runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let (series, levels) = (Series::register(&mut registry), Levels::register(&mut registry));
        let refused = Family::default();
        registry.register("aigw_refused", "Requests refused before they were routed, by error code", refused.clone());
        Self { registry, series, levels, refused }
    }

    /// A request was refused before it was routed, so there is no entry for it. `code` is one of the contract's.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&[("code", code)]).inc();
    }

    /// Requests in flight at this moment.
    pub fn set_in_flight(&self, requests: usize) {
        self.levels.set_in_flight(requests);
    }

    /// What waits in the ledger, and how many requests that reached an upstream are not settled.
    pub fn set_ledger(&self, lag: Lag, open_settlements: usize) {
        self.levels.set_ledger(lag, open_settlements);
    }

    /// Replaces the set of providers that are in cooldown.
    pub fn set_in_cooldown(&self, providers: impl IntoIterator<Item = ProviderName>) {
        self.levels.set_in_cooldown(providers);
    }

    /// Everything as OpenMetrics text.
    pub fn encode(&self) -> String {
        let mut out = String::with_capacity(16 << 10);
        if let Err(error) = text::encode(&mut out, &self.registry) {
            log::error!("metrics cannot be encoded: {error}");
        }
        out
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl Observer for Metrics {
    fn settled(&self, entry: &Entry) {
        self.series.count(entry);
    }
}

#[cfg(test)]
mod tests;
