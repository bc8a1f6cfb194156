//! Figures that others keep: set just before each scrape.

use std::sync::atomic::{AtomicU64, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::ledger::backlog::Lag;
use crate::terms::ProviderName;

/// Levels of queues, and the state of the ledger and of providers.
#[derive(Default)]
pub struct Levels {
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

impl Levels {
    /// Registers them.
    pub fn register(registry: &mut Registry) -> Self {
        let levels = Self::default();
        registry.register(
            "aigw_queue_depth",
            "requests: in flight; settlements: sent upstream and not settled; ledger: entries settled and not stored; \
             ledger_memory: those of them that the journal did not take",
            levels.queues.clone(),
        );
        registry.register("aigw_ledger_journal_bytes", "Bytes of journal not yet stored", levels.journal_bytes.clone());
        registry.register("aigw_ledger_journal_max_bytes", "Bytes of journal that may wait", levels.journal_max_bytes.clone());
        registry.register(
            "aigw_ledger_oldest_timestamp_seconds",
            "When the oldest of the entries being stored was received; 0: none is",
            levels.oldest.clone(),
        );
        registry.register(
            "aigw_ledger_alarm",
            "1 when half of the journal's room is used, when entries wait in memory, or when entries were lost",
            levels.alarm.clone(),
        );
        registry.register("aigw_ledger_write_errors", "Journal records the disk did not take", levels.write_errors.clone());
        registry.register(
            "aigw_ledger_lost_entries",
            "Entries for which there was room neither on disk nor in memory",
            levels.lost.clone(),
        );
        registry.register("aigw_ledger_damaged_segments", "Journal segments kept aside because of damage", levels.damaged.clone());
        registry.register("aigw_provider_in_cooldown", "1 for a provider in cooldown", levels.in_cooldown.clone());
        levels
    }

    /// Requests in flight.
    pub fn set_in_flight(&self, requests: usize) {
        self.set_queue("requests", requests as u64);
    }

    /// The state of the ledger.
    pub fn set_ledger(&self, lag: Lag, open_settlements: usize) {
        self.set_queue("settlements", open_settlements as u64);
        self.set_queue("ledger", lag.entries);
        self.set_queue("ledger_memory", lag.in_memory);
        self.journal_bytes.set(level(lag.bytes));
        self.journal_max_bytes.set(lag.max_bytes as f64);
        self.oldest.set(lag.oldest.unwrap_or(0) as f64 / 1000.0);
        self.alarm.set(i64::from(lag.is_alarming()));
        for (counter, count) in [(&self.write_errors, lag.write_errors), (&self.lost, lag.lost), (&self.damaged, lag.damaged)] {
            // Never back, even if two scrapes cross.
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
        self.queues.get_or_create(&Queue { queue }).set(level(depth));
    }
}

fn level(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
