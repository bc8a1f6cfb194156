//! Queries of the ledger. Results include entries settled just before the query.

use super::Control;
use super::error::ControlError;
use super::store::entries::{self, LedgerFilter, PageCursor};
use super::store::usage::{self, MAX_ROWS, UsageQuery, UsageRow};
use crate::ledger::entry::Entry;

impl Control {
    /// Returns up to `limit` entries, newest first.
    ///
    /// # Errors
    /// If the database fails; so for every function here.
    pub async fn entries(&self, filter: LedgerFilter, after: Option<PageCursor>, limit: usize) -> Result<Vec<Entry>, ControlError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        self.read_ledger(move |connection| Ok(entries::page(connection, &filter, after.as_ref(), limit)?)).await
    }

    /// Returns the newest entry of a request.
    ///
    /// # Errors
    /// If there is none.
    pub async fn entry(&self, request_id: String) -> Result<Entry, ControlError> {
        self.read_ledger(move |connection| {
            entries::newest_of_request(connection, &request_id)?.ok_or_else(|| ControlError::not_found("entry for the request", request_id))
        })
        .await
    }

    /// Returns usage totals.
    ///
    /// # Errors
    /// If the result has too many rows.
    pub async fn usage(&self, query: UsageQuery) -> Result<Vec<UsageRow>, ControlError> {
        self.read_ledger(move |connection| {
            let too_many = || {
                ControlError::invalid(
                    "group_by",
                    format!("result exceeds {MAX_ROWS} rows; query a shorter period, fewer groups or wider buckets"),
                )
            };
            usage::usage(connection, &query)?.ok_or_else(too_many)
        })
        .await
    }
}
