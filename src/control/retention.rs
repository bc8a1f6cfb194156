//! Retention of ledger entries: once a day, older entries are rolled up into monthly totals and
//! deleted.
//!
//! Several processes on one database may run it; the store admits one at a time. The next run, at
//! the next start or a day later, continues after an interruption.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::sleep;

use super::Control;
use super::blocking::blocking;
use super::error::ControlError;
use super::store::retention::RolledUp;
use crate::clock;

/// Entries per transaction: small enough for the ledger to write between two of them.
const BATCH: i64 = 500;
/// Pause between two batches.
const PAUSE: Duration = Duration::from_millis(20);
const DAY: Duration = Duration::from_secs(86_400);
/// Pause after a failure.
const RETRY: Duration = Duration::from_secs(600);

impl Control {
    /// Rolls up entries older than `keep`, now and then daily. Never returns.
    pub async fn retain(self: Arc<Self>, keep: Duration) {
        loop {
            let age = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            let pause = match self.roll_up(clock::unix_millis().saturating_sub(age)).await {
                Ok(0) => DAY,
                Ok(count) => {
                    log::info!("rolled up {count} ledger entries older than {} into monthly totals", humantime::format_duration(keep));
                    DAY
                }
                Err(error) => {
                    log::warn!("cannot roll up ledger entries: {error}; retrying in 10 minutes");
                    RETRY
                }
            };
            sleep(pause).await;
        }
    }

    /// Rolls up all entries created before `before` (Unix milliseconds). Returns their number,
    /// which is lower if another process rolls up too.
    ///
    /// # Errors
    /// If the database fails. Batches already committed stay committed.
    pub async fn roll_up(&self, before: i64) -> Result<usize, ControlError> {
        let mut all = 0;
        loop {
            let store = self.store.clone();
            match blocking(move || store.roll_up(before, BATCH)).await?? {
                RolledUp::Elsewhere | RolledUp::Entries(0) => return Ok(all),
                RolledUp::Entries(count) => all += count,
            }
            sleep(PAUSE).await;
        }
    }
}
