//! `aigw ledger tail`: the last entries and, if asked, the ones that follow, a line each.
//!
//! Entries are stored when a request ends but ordered by when it began, so a long stream turns up behind entries that are
//! shown already. News is therefore looked for some way back: what ended after the tail began and was not shown by its id.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Filters, entries, figures_of};
use crate::cli::client::Admin;
use crate::cli::failure::Failure;
use crate::cli::print;
use crate::cli::table::{clean, number, text};
use crate::cli::units::local_time;

/// How often a followed ledger is asked for news.
const POLL: Duration = Duration::from_secs(1);
/// How many times in a row it may not answer: a restart is worth waiting for.
const PATIENCE: u32 = 30;
/// How far back news is looked for.
const LATECOMERS_MS: i64 = 15 * 60 * 1_000;
/// Entries asked for at a time.
const PAGE: u32 = 200;
/// How far apart entries that end together may be stored.
const SLACK_MS: i64 = 2_000;

/// What was shown or is older than the tail.
#[derive(Default)]
struct Seen {
    /// The entries that were shown, by id, each with its `created_at`.
    ids: HashMap<String, i64>,
    /// Entries that ended before it (unix milliseconds, the gateway's clock) are history.
    began: i64,
}

pub(super) fn run(admin: &Admin, json: bool, filters: &Filters, limit: u32, follow: bool) -> Result<(), Failure> {
    let mut query = filters.query(Timestamp::now());
    query.push(("limit", limit.max(1).to_string()));
    let mut seen = Seen::default();
    let mut news = seen.news(&admin.get(&["ledger"], &query)?);
    seen.begin(&news);
    news.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
    let mut failures = 0;
    loop {
        for entry in news.iter().rev() {
            print(&if json { format!("{entry}\n") } else { line(entry) })?;
        }
        if !follow {
            return Ok(());
        }
        std::thread::sleep(POLL);
        news = match poll(admin, filters, &mut seen) {
            Err(failure) if failures >= PATIENCE => return Err(failure),
            Err(_) => {
                failures += 1;
                Vec::new()
            }
            Ok(news) => {
                failures = 0;
                news
            }
        };
    }
}

/// What came since, newest first: page by page until one holds nothing new.
fn poll(admin: &Admin, filters: &Filters, seen: &mut Seen) -> Result<Vec<Value>, Failure> {
    let now = Timestamp::now();
    let horizon = now.as_millisecond() - LATECOMERS_MS;
    seen.forget(horizon);
    let mut query: Vec<_> = filters.query(now).into_iter().filter(|(name, _)| *name != "from").collect();
    query.extend([("from", horizon.to_string()), ("limit", PAGE.to_string())]);
    let mut news = Vec::new();
    let mut cursor: Option<String> = None;
    loop {
        let mut page_query = query.clone();
        page_query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let page = admin.get(&["ledger"], &page_query)?;
        let new = seen.news(&page);
        cursor = page.get("next_cursor").and_then(Value::as_str).map(str::to_owned);
        let exhausted = new.is_empty() || cursor.is_none();
        news.extend(new);
        if exhausted {
            return Ok(news);
        }
    }
}

impl Seen {
    /// The entries of a page that are news; from now on they were shown.
    fn news(&mut self, page: &Value) -> Vec<Value> {
        let fresh =
            |entry: &&Value| ended(entry) >= self.began && self.ids.insert(text(entry, "id"), number(entry, "created_at")).is_none();
        entries(page).filter(fresh).cloned().collect()
    }

    /// The tail begins with what was seen so far.
    fn begin(&mut self, newest: &[Value]) {
        self.began = newest.iter().map(ended).max().map_or(0, |last| last - SLACK_MS);
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
    clean(&line) + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn page(entries: &[(&str, i64, i64)]) -> Value {
        let data: Vec<_> = entries.iter().map(|(id, at, ms)| json!({"id": id, "created_at": at, "latency_ms": ms})).collect();
        json!({ "data": data })
    }

    fn ids(news: &[Value]) -> Vec<String> {
        news.iter().map(|entry| text(entry, "id")).collect()
    }

    #[test]
    fn an_entry_is_news_once() {
        let mut seen = Seen::default();
        let page = page(&[("b", 2, 0), ("a", 1, 0)]);
        assert_eq!(ids(&seen.news(&page)), ["b", "a"]);
        assert!(seen.news(&page).is_empty());
    }

    #[test]
    fn a_long_stream_that_ends_late_is_news_and_what_ended_before_the_tail_is_not() {
        let mut seen = Seen::default();
        let first = seen.news(&page(&[("b", 100_000, 10)]));
        seen.begin(&first);
        let news = seen.news(&page(&[("c", 100_500, 10), ("b", 100_000, 10), ("stream", 60_000, 41_000), ("old", 60_000, 10)]));
        assert_eq!(ids(&news), ["c", "stream"]);
    }

    #[test]
    fn only_what_can_no_longer_turn_up_is_forgotten() {
        let mut seen = Seen::default();
        let page = page(&[("b", 2, 0), ("a", 1, 0)]);
        seen.news(&page);
        seen.forget(2);
        assert_eq!(ids(&seen.news(&page)), ["a"]);
    }
}
