//! Prometheus metrics: counters and histograms of settled entries, and gauges that are set at each
//! scrape.
//!
//! The ledger's thread counts entries when they are settled, stored or not, so that requests pay
//! nothing for it. Money is a float here, for graphs; bills are made from the ledger.

mod gauges;
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
use gauges::Gauges;
use series::Series;

/// The metrics of one process.
pub struct Metrics {
    registry: Registry,
    series: Series,
    gauges: Gauges,
    refused: Family<[(&'static str, &'static str); 1], Counter>,
}

impl Metrics {
    /// The content type of [`encode`](Self::encode).
    pub const CONTENT_TYPE: &'static str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

    /// Registers every metric, at zero.
    pub fn new() -> Self {
        let mut registry = Registry::default();
        registry.register("aigw_build", "Version of the running gateway", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        let (series, gauges) = (Series::register(&mut registry), Gauges::register(&mut registry));
        let refused = Family::default();
        registry.register("aigw_refused", "Requests refused before they were routed, by error code", refused.clone());
        Self { registry, series, gauges, refused }
    }

    /// Counts a request that was refused before it was routed and so has no entry. `code` is a
    /// documented error code.
    pub fn refused(&self, code: &'static str) {
        self.refused.get_or_create(&[("code", code)]).inc();
    }

    /// Sets the number of requests in flight.
    pub fn set_in_flight(&self, requests: usize) {
        self.gauges.set_in_flight(requests);
    }

    /// Sets the state of the ledger and the number of requests sent upstream and not settled.
    pub fn set_ledger(&self, lag: Lag, open_settlements: usize) {
        self.gauges.set_ledger(lag, open_settlements);
    }

    /// Replaces the set of providers that are in cooldown.
    pub fn set_in_cooldown(&self, providers: impl IntoIterator<Item = ProviderName>) {
        self.gauges.set_in_cooldown(providers);
    }

    /// Encodes all metrics as OpenMetrics text.
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
