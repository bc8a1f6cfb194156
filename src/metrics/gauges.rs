//! Gauges of state that other parts keep; set before each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::ledger::backlog::Lag;
use crate::terms::ProviderName;

/// Gauges of queues, the ledger and providers.
#[derive(Default)]
pub struct Gauges {
    queues: Family<Queue, Gauge>,
    journal_bytes: Gauge,
    journal_max_bytes: Gauge<f64, AtomicU64>,
    oldest: Gauge<f64, AtomicU64>,
    alarm: Gauge,
    write_errors: Counter,
    lost: Counter,
    damaged: Counter,
    in_cooldown: Family<InCooldown, Gauge>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Queue {
    queue: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct InCooldown {
    provider: ProviderName,
}

impl Gauges {
    /// Registers all gauges.
    pub fn register(registry: &mut Registry) -> Self {
        let gauges = Self::default();
        registry.register(
            "aigw_queue_depth",
            "requests: in flight; settlements: sent upstream and not settled; ledger: entries settled and not stored; \
             ledger_memory: those of them that are only in memory because the journal is full or failed",
            gauges.queues.clone(),
        );
        registry.register("aigw_ledger_journal_bytes", "Bytes of the journal not yet stored in the database", gauges.journal_bytes.clone());
        registry.register("aigw_ledger_journal_max_bytes", "Limit of the journal in bytes", gauges.journal_max_bytes.clone());
        registry.register(
            "aigw_ledger_oldest_timestamp_seconds",
            "Unix time of the oldest entry not yet stored; 0 if there is none",
            gauges.oldest.clone(),
        );
        registry.register(
            "aigw_ledger_alarm",
            "1 if the journal is half full, entries are only in memory, or entries were lost",
            gauges.alarm.clone(),
        );
        registry.register("aigw_ledger_write_errors", "Failed writes of journal records", gauges.write_errors.clone());
        registry.register("aigw_ledger_lost_entries", "Entries lost because disk and memory were full", gauges.lost.clone());
        registry.register("aigw_ledger_damaged_segments", "Damaged journal segments moved to quarantine", gauges.damaged.clone());
        registry.register("aigw_provider_in_cooldown", "1 for a provider in cooldown", gauges.in_cooldown.clone());
        gauges
    }

    /// Sets the number of requests in flight.
    pub fn set_in_flight(&self, requests: usize) {
        self.set_queue("requests", requests as u64);
    }

    /// Sets the state of the ledger.
    pub fn set_ledger(&self, lag: Lag, open_settlements: usize) {
        self.set_queue("settlements", open_settlements as u64);
        self.set_queue("ledger", lag.entries);
        self.set_queue("ledger_memory", lag.in_memory);
        self.journal_bytes.set(gauge_value(lag.bytes));
        self.journal_max_bytes.set(lag.max_bytes as f64);
        self.oldest.set(lag.oldest.unwrap_or(0) as f64 / 1000.0);
        self.alarm.set(i64::from(lag.is_alarming()));
        for (counter, count) in [(&self.write_errors, lag.write_errors), (&self.lost, lag.lost), (&self.damaged, lag.damaged)] {
            // A counter never decreases, even if two scrapes overlap.
            counter.inner().fetch_max(count, Ordering::Relaxed);
        }
    }

    /// Replaces the set of providers that are in cooldown.
    pub fn set_in_cooldown(&self, providers: impl IntoIterator<Item = ProviderName>) {
        self.in_cooldown.clear();
        for provider in providers {
            self.in_cooldown.get_or_create(&InCooldown { provider }).set(1);
        }
    }

    fn set_queue(&self, queue: &'static str, depth: u64) {
        self.queues.get_or_create(&Queue { queue }).set(gauge_value(depth));
    }
}

fn gauge_value(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
