//! Adapters by which the two halves of a process see each other: snapshots go to the gateway half,
//! health and the state of the ledger come back.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::time::timeout;

use crate::catalog::snapshot::Snapshot;
use crate::clock;
use crate::control::LedgerFlush;
use crate::control::publish::{ProviderHealth, Publisher};
use crate::gateway::health::HealthStatus;
use crate::gateway::worker::Workers;
use crate::ledger::handle::LedgerHandle;
use crate::terms::{ProviderName, TenantId};

/// Time that a read of the ledger waits for entries settled just before it.
const FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

impl Publisher for Workers {
    fn adopt(&self, snapshot: Snapshot) -> BoxFuture<'static, ()> {
        Workers::adopt(self, snapshot)
    }

    fn confirmed(&self) {
        self.confirm();
    }

    fn health(&self, owner: Option<&TenantId>, provider: &ProviderName) -> ProviderHealth {
        let now = Instant::now();
        published_health(self.health.of(owner, provider).status(now), now, clock::unix_millis())
    }
}

/// Converts the health that workers share, which has monotonic times, into the one that is
/// published. `now` and `unix_now` (milliseconds) are the same moment.
fn published_health(status: HealthStatus, now: Instant, unix_now: i64) -> ProviderHealth {
    let until = |at: Instant| unix_now.saturating_add(i64::try_from((at - now).as_millis()).unwrap_or(i64::MAX));
    ProviderHealth {
        cooldown_until: status.cooldown_until.map(until),
        failures: status.failures,
        last_error: status.last_error.map(str::to_owned),
    }
}

/// Returns a function that stores what was settled a moment ago, so that the admin plane reads it.
/// With an unreachable database it returns after a bounded time and the admin plane reads what is
/// stored.
pub fn flush(ledger: &LedgerHandle) -> LedgerFlush {
    let ledger = ledger.clone();
    Arc::new(move || {
        let ledger = ledger.clone();
        async move {
            // A sink that neither stores nor refuses a batch blocks the ledger's thread for longer.
            if let Ok(Err(error)) = timeout(FLUSH_TIMEOUT * 2, ledger.flush(FLUSH_TIMEOUT)).await {
                log::warn!("{error}");
            }
        }
        .boxed()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cooldown_is_published_in_unix_milliseconds() {
        let now = Instant::now();
        let until = |wait| HealthStatus { cooldown_until: Some(now + wait), failures: 3, last_error: Some("timeout") };
        let health = published_health(until(Duration::from_millis(1_500)), now, 1_700_000_000_000);
        let expected = ProviderHealth { cooldown_until: Some(1_700_000_001_500), failures: 3, last_error: Some("timeout".to_owned()) };
        assert_eq!(health, expected);
        assert_eq!(published_health(until(Duration::ZERO), now, i64::MAX).cooldown_until, Some(i64::MAX));
        assert_eq!(published_health(HealthStatus::default(), now, 1), ProviderHealth::default());
    }
}
