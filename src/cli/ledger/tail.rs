//! `aigw ledger tail`: prints the latest entries and optionally follows new ones, one line each.
//!
//! Entries are stored when a request ends but sorted by when it started, so a long stream appears
//! behind entries that were already printed. Each poll therefore looks back [`LOOKBACK_MS`] and
//! prints entries that ended after the tail started and whose id was not printed before.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::figures::{entries, figures_of};
use super::filters::Filters;
use crate::cli::client::AdminClient;
use crate::cli::error::CommandError;
use crate::cli::format::local_time;
use crate::cli::output::print;
use crate::cli::table::{escape_controls, number, text};

/// Interval between polls.
const POLL: Duration = Duration::from_secs(1);
/// Consecutive failed polls to tolerate, so that a restart of the gateway does not end the command.
const MAX_FAILURES: u32 = 30;
/// How far back each poll looks for entries of long requests.
const LOOKBACK_MS: i64 = 15 * 60 * 1_000;
/// Entries per page.
const PAGE: u32 = 200;
/// Tolerance between the end times of entries that are stored together.
const SLACK_MS: i64 = 2_000;

/// The entries that must not be printed: already printed, or older than the tail.
#[derive(Default)]
struct Seen {
    /// Printed entries: id and `created_at`.
    ids: HashMap<String, i64>,
    /// Entries that ended before this (Unix milliseconds, the gateway's clock) are not printed.
    started_at: i64,
}

pub(super) fn run(admin: &AdminClient, json: bool, filters: &Filters, limit: u32, follow: bool) -> Result<(), CommandError> {
    let mut query = filters.query(Timestamp::now());
    query.push(("limit", limit.max(1).to_string()));
    let mut seen = Seen::default();
    let mut new_entries = seen.take_new(&admin.get(&["ledger"], &query)?);
    seen.start_at(&new_entries);
    new_entries.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut failures = 0;
    loop {
        for entry in new_entries.iter().rev() {
            print(&if json { format!("{entry}\n") } else { line(entry) })?;
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(POLL);
        new_entries = match poll(admin, filters, &mut seen) {
            Err(failure) if failures >= MAX_FAILURES => return Err(failure),
            Err(_) => {
                failures += 1;
                Vec::new()
            }
            Ok(new_entries) => {
                failures = 0;
                new_entries
            }
        };
    }
}

/// Fetches new entries, newest first, page by page until one holds nothing new.
fn poll(admin: &AdminClient, filters: &Filters, seen: &mut Seen) -> Result<Vec<Value>, CommandError> {
    let now = Timestamp::now();
    let horizon = now.as_millisecond() - LOOKBACK_MS;
    seen.forget(horizon);
    let mut query: Vec<_> = filters.query(now).into_iter().filter(|(name, _)| *name != "from").collect();
    query.extend([("from", horizon.to_string()), ("limit", PAGE.to_string())]);
    let mut new_entries = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut page_query = query.clone();
        page_query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = admin.get(&["ledger"], &page_query)?;
        let new = seen.take_new(&page);
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let exhausted = new.is_empty() || cursor.is_none();
        new_entries.extend(new);
        if exhausted {
            return Ok(new_entries);
        }
    }
}

impl Seen {
    /// Returns the new entries of a page and records them as printed.
    fn take_new(&mut self, page: &Value) -> Vec<Value> {
        let fresh =
            |entry: &&Value| ended(entry) >= self.started_at && self.ids.insert(text(entry, "id"), number(entry, "created_at")).is_none();
        entries(page).filter(fresh).cloned().collect()
    }

    /// Starts the tail at the newest of these entries.
    fn start_at(&mut self, newest: &[Value]) {
        self.started_at = newest.iter().map(ended).max().map_or(0, |last| last - SLACK_MS);
    }

    fn forget(&mut self, horizon: i64) {
        self.ids.retain(|_, created_at| *created_at >= horizon);
    }
}

fn ended(entry: &Value) -> i64 {
    number(entry, "created_at").saturating_add(number(entry, "latency_ms"))
}

fn line(entry: &Value) -> String {
    let [status, prompt, completion, cost, taken] = figures_of(entry);
    let [request, tenant, model, provider, outcome] =
        ["request_id", "tenant", "model", "provider", "outcome"].map(|field| text(entry, field));
    let time = local_time(number(entry, "created_at"));
    let line =
        format!("{time}  {status} {outcome}  {tenant}  {model} by {provider}  {prompt}+{completion} tokens  {cost}  {taken}  {request}");
    escape_controls(&line) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(entries: &[(&str, i64, i64)]) -> Value {
        let data: Vec<_> = entries.iter().map(|(id, at, ms)| json!({"id": id, "created_at": at, "latency_ms": ms})).collect();
        json!({ "data": data })
    }

    fn ids(new_entries: &[Value]) -> Vec<String> {
        new_entries.iter().map(|entry| text(entry, "id")).collect()
    }

    #[test]
    fn an_entry_is_new_once() {
        let mut seen = Seen::default();
        let page = page(&[("b", 2, 0), ("a", 1, 0)]);
        assert_eq!(ids(&seen.take_new(&page)), ["b", "a"]);
        assert!(seen.take_new(&page).is_empty());
    }

    #[test]
    fn a_long_stream_that_ends_late_is_new_and_entries_from_before_the_tail_are_not() {
        let mut seen = Seen::default();
        let first = seen.take_new(&page(&[("b", 100_000, 10)]));
        seen.start_at(&first);
        let new_entries = seen.take_new(&page(&[("c", 100_500, 10), ("b", 100_000, 10), ("stream", 60_000, 41_000), ("old", 60_000, 10)]));
        assert_eq!(ids(&new_entries), ["c", "stream"]);
    }

    #[test]
    fn only_entries_beyond_the_lookback_are_forgotten() {
        let mut seen = Seen::default();
        let page = page(&[("b", 2, 0), ("a", 1, 0)]);
        seen.take_new(&page);
        seen.forget(2);
        assert_eq!(ids(&seen.take_new(&page)), ["a"]);
    }
}
