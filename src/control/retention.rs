//! How long entries are kept: once a day, those that are older are rolled up into monthly sums and deleted.
//!
//! Several processes on one database may all do so; the store lets one at a time. What a kill interrupts, the next day's run
//! (or the next start's) takes up.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::time::sleep;

use super::error::ControlError;
use super::store::retention::RolledUp;
use super::{Control, blocking, now_ms};

/// Entries in one transaction: short enough for the ledger to get its turn between two.
const BATCH: i64 = 500;
/// Between two batches.
const PAUSE: Duration = Duration::from_millis(20);
const DAY: Duration = Duration::from_secs(86_400);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(600);

impl Control {
    /// Keeps entries for `keep`, for as long as it is polled; at once, and then daily.
    pub async fn retain(self: Arc<Self>, keep: Duration) {
        loop {
            let age = i64::try_from(keep.as_millis()).unwrap_or(i64::MAX);
            let pause = match self.roll_up(now_ms().saturating_sub(age)).await {
                Ok(0) => DAY,
                Ok(count) => {
                    log::info!("{count} ledger entries older than {} are rolled up into monthly sums", humantime::format_duration(keep));
                    DAY
                }
                Err(error) => {
                    log::warn!("ledger entries cannot be rolled up: {error}; trying again in 10 minutes");
                    AGAIN
                }
            };
            sleep(pause).await;
        }
    }

    /// Rolls up all entries made before `before` (Unix milliseconds) and says how many it was. Fewer than all, if another
    /// process is at it too.
    ///
    /// # Errors
    /// If the database fails. What was done until then stays done.
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
