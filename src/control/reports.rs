//! What can be asked of the ledger. What was just settled is in every answer.

use super::Control;
use super::error::ControlError;
use super::store::entries::{self, LedgerFilter, Place};
use super::store::usage::{self, MAX_ROWS, UsageQuery, UsageRow};
use crate::ledger::entry::Entry;

impl Control {
    /// Up to `limit` entries, the newest first.
    ///
    /// # Errors
    /// If the database fails; so for every function here.
    pub async fn entries(&self, filter: LedgerFilter, after: Option<Place>, limit: usize) -> Result<Vec<Entry>, ControlError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read_ledger(move |connection| Ok(entries::page(connection, &filter, after.as_ref(), limit)?)).await
    }

    /// The newest entry of a request; none is an error.
    pub async fn entry(&self, request_id: String) -> Result<Entry, ControlError> {
        self.read_ledger(move |connection| {
            entries::newest_of_request(connection, &request_id)?.ok_or_else(|| ControlError::not_found("entry for the request", request_id))
        })
        .await
    }

    /// Sums; an answer that would be too long is an error.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, ControlError> {
        self.read_ledger(move |connection| {
            let too_many =
                || ControlError::invalid("group_by", format!("over {MAX_ROWS} rows; ask for less time, fewer groups or wider buckets"));
            usage::usage(connection, &query)?.ok_or_else(too_many)
        })
        .await
    }
}
