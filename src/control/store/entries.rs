//! Rows of the ledger: conversion from and to [`Entry`], and queries. [`sink`](super::sink) writes
//! them.

use std::borrow::Cow;

use diesel::prelude::*;
use diesel::query_builder::{AstPass, QueryFragment, QueryId};
use diesel::sql_types::{BigInt, Bool, Integer, Nullable, Text};
use diesel::sqlite::Sqlite;
use smol_str::SmolStr;

use super::connection::{AnyConnection, Backend};
use super::keys::{object_pairs, object_text};
use super::schema::{entries, entry_tags};
use super::unreadable;
use crate::ledger::entry::{Entry, Outcome, UsageSource};
use crate::terms::{Billing, NanoUsd, Operation, Usage};

/// Filter of ledger entries; a field that is `None` does not filter.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LedgerFilter {
    /// Tenant id.
    pub tenant: Option<String>,
    /// Key id.
    pub key_id: Option<String>,
    /// Catalog model id.
    pub model: Option<String>,
    /// Provider name.
    pub provider: Option<String>,
    /// Subject of the key.
    pub subject: Option<String>,
    /// Name of a tag, and its value; `None`: any value.
    pub tag: Option<(String, Option<String>)>,
    /// Outcome.
    pub outcome: Option<Outcome>,
    /// Unix milliseconds, inclusive.
    pub from: Option<i64>,
    /// Unix milliseconds, exclusive.
    pub to: Option<i64>,
}

/// Position of the last entry of a page. Entries are listed newest first, within a millisecond by
/// descending id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PageCursor {
    /// Unix milliseconds.
    pub created_at: i64,
    /// Id of the entry.
    pub id: String,
}

/// A row of `entries`: borrowed when written, owned when read.
#[derive(Debug, Queryable, Selectable, Insertable)]
#[diesel(table_name = entries)]
pub struct EntryRow<'a> {
    id: Cow<'a, str>,
    request_id: Cow<'a, str>,
    created_at: i64,
    tenant: Cow<'a, str>,
    team: Option<Cow<'a, str>>,
    key_id: Cow<'a, str>,
    subject: Cow<'a, str>,
    end_user: Option<Cow<'a, str>>,
    tags: String,
    operation: Cow<'a, str>,
    model: Cow<'a, str>,
    upstream_model: Cow<'a, str>,
    provider: Cow<'a, str>,
    kind: Cow<'a, str>,
    billing: Cow<'a, str>,
    stream: bool,
    status: i32,
    outcome: Cow<'a, str>,
    error_code: Option<Cow<'a, str>>,
    finish_reason: Option<Cow<'a, str>>,
    prompt_tokens: i64,
    cached_tokens: i64,
    cache_write_tokens: i64,
    cache_write_1h_tokens: i64,
    completion_tokens: i64,
    reasoning_tokens: i64,
    usage_source: Cow<'a, str>,
    cost_nanousd: i64,
    list_cost_nanousd: i64,
    attempts: String,
    latency_ms: i64,
    ttfb_ms: Option<i64>,
}

/// A row of `entry_tags`.
#[derive(Debug, Insertable)]
#[diesel(table_name = entry_tags)]
pub struct TagRow<'a> {
    entry_id: Cow<'a, str>,
    name: Cow<'a, str>,
    value: Cow<'a, str>,
}

/// Maximum length of indexed text in bytes. PostgreSQL refuses rows with an index entry over 2,700
/// bytes.
const MAX_INDEXED: usize = 512;

/// Declares an insert of exactly `ROWS` rows into an SQLite table that skips rows already stored,
/// with the type of each column.
///
/// Its text never changes, so the connection finds the prepared statement by type alone; diesel's
/// own multi-row insert would be generated each time. With `OR FAIL` SQLite keeps no statement
/// journal: a statement may fail half-way because the transaction around it is then rolled back.
macro_rules! insert_into_sqlite {
    ($(#[$doc:meta])* $insert:ident($row:ident) into $table:literal: $first:ident $first_type:ty, $($column:ident $type:ty),+) => {
        $(#[$doc])*
        pub struct $insert<'a, const ROWS: usize>(pub &'a [$row<'a>; ROWS]);

        impl<const ROWS: usize> QueryId for $insert<'_, ROWS> {
            type QueryId = $insert<'static, ROWS>;
            const HAS_STATIC_QUERY_ID: bool = true;
        }

        impl<const ROWS: usize> RunQueryDsl<SqliteConnection> for $insert<'_, ROWS> {}

        impl<const ROWS: usize> QueryFragment<Sqlite> for $insert<'_, ROWS> {
            fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
                out.push_sql(concat!("INSERT OR FAIL INTO ", $table, " (", stringify!($first), $(", ", stringify!($column)),+, ") VALUES "));
                for (nth, row) in self.0.iter().enumerate() {
                    out.push_sql(if nth == 0 { "(" } else { ", (" });
                    out.push_bind_param::<$first_type, _>(&row.$first)?;
                    $(out.push_sql(", "); out.push_bind_param::<$type, _>(&row.$column)?;)+
                    out.push_sql(")");
                }
                out.push_sql(" ON CONFLICT DO NOTHING");
                Ok(())
            }

            /// Constant, so that diesel does not visit every value to find out.
            fn is_safe_to_cache_prepared(&self, _: &Sqlite) -> QueryResult<bool> {
                Ok(true)
            }
        }
    };
}

insert_into_sqlite!(
    /// Inserts `ROWS` entries.
    InsertEntries(EntryRow) into "entries":
    id Text, request_id Text, created_at BigInt, tenant Text, team Nullable<Text>, key_id Text, subject Text, end_user
    Nullable<Text>, tags Text, operation Text, model Text, upstream_model Text, provider Text, kind Text, billing Text, stream
    Bool, status Integer, outcome Text, error_code Nullable<Text>, finish_reason Nullable<Text>, prompt_tokens BigInt,
    cached_tokens BigInt, cache_write_tokens BigInt, cache_write_1h_tokens BigInt, completion_tokens BigInt, reasoning_tokens
    BigInt, usage_source Text, cost_nanousd BigInt, list_cost_nanousd BigInt, attempts Text, latency_ms BigInt, ttfb_ms
    Nullable<BigInt>
);

insert_into_sqlite!(
    /// Inserts `ROWS` tags.
    InsertTags(TagRow) into "entry_tags": entry_id Text, name Text, value Text
);

/// Up to `limit` entries, newest first, that follow `after`.
///
/// # Errors
/// If the database fails or a row cannot be read.
pub fn page(connection: &mut AnyConnection, filter: &LedgerFilter, after: Option<&PageCursor>, limit: i64) -> QueryResult<Vec<Entry>> {
    let mut query = entries::table.select(EntryRow::as_select()).into_boxed::<Backend>();
    if let Some(tenant) = &filter.tenant {
        query = query.filter(entries::tenant.eq(tenant));
    }
    if let Some(key_id) = &filter.key_id {
        query = query.filter(entries::key_id.eq(key_id));
    }
    if let Some(model) = &filter.model {
        query = query.filter(entries::model.eq(model));
    }
    if let Some(provider) = &filter.provider {
        query = query.filter(entries::provider.eq(provider));
    }
    if let Some(subject) = &filter.subject {
        query = query.filter(entries::subject.eq(subject));
    }
    if let Some(outcome) = filter.outcome {
        query = query.filter(entries::outcome.eq(outcome.as_str()));
    }
    if let Some(from) = filter.from {
        query = query.filter(entries::created_at.ge(from));
    }
    if let Some(to) = filter.to {
        query = query.filter(entries::created_at.lt(to));
    }
    match &filter.tag {
        Some((name, Some(value))) => {
            let tagged = entry_tags::table.filter(entry_tags::name.eq(name)).filter(entry_tags::value.eq(value));
            query = query.filter(entries::id.eq_any(tagged.select(entry_tags::entry_id)));
        }
        Some((name, None)) => {
            let tagged = entry_tags::table.filter(entry_tags::name.eq(name));
            query = query.filter(entries::id.eq_any(tagged.select(entry_tags::entry_id)));
        }
        None => {}
    }
    if let Some(PageCursor { created_at, id }) = after {
        // Implied by the second condition; lets the index scan start at the cursor.
        query = query.filter(entries::created_at.le(created_at));
        query = query.filter(entries::created_at.lt(created_at).or(entries::id.lt(id)));
    }
    let rows: Vec<EntryRow> = query.order((entries::created_at.desc(), entries::id.desc())).limit(limit).load(connection)?;
    rows.into_iter().map(EntryRow::read).collect()
}

/// The newest entry of a request.
///
/// # Errors
/// If the database fails or the row cannot be read.
pub fn newest_of_request(connection: &mut AnyConnection, request_id: &str) -> QueryResult<Option<Entry>> {
    let row: Option<EntryRow> = entries::table
        .filter(entries::request_id.eq(request_id))
        .order((entries::created_at.desc(), entries::id.desc()))
        .select(EntryRow::as_select())
        .first(connection)
        .optional()?;
    row.map(EntryRow::read).transpose()
}

impl<'a> EntryRow<'a> {
    /// The row of an entry.
    pub fn of(entry: &'a Entry) -> Self {
        Self {
            id: storable(&entry.id),
            request_id: indexable(&entry.request_id),
            created_at: entry.created_at,
            tenant: indexable(&entry.tenant),
            team: entry.team.as_deref().map(storable),
            key_id: indexable(&entry.key_id),
            subject: storable(&entry.subject),
            end_user: entry.user.as_deref().map(storable),
            tags: object_text(&entry.tags),
            operation: entry.operation.as_str().into(),
            model: storable(&entry.model),
            upstream_model: storable(&entry.upstream_model),
            provider: storable(&entry.provider),
            kind: storable(&entry.kind),
            billing: entry.billing.as_str().into(),
            stream: entry.stream,
            status: entry.status.into(),
            outcome: entry.outcome.as_str().into(),
            error_code: entry.error_code.as_deref().map(storable),
            finish_reason: entry.finish_reason.as_deref().map(storable),
            prompt_tokens: signed(entry.usage.prompt_tokens),
            cached_tokens: signed(entry.usage.cached_tokens),
            cache_write_tokens: signed(entry.usage.cache_write_tokens),
            cache_write_1h_tokens: signed(entry.usage.cache_write_1h_tokens),
            completion_tokens: signed(entry.usage.completion_tokens),
            reasoning_tokens: signed(entry.usage.reasoning_tokens),
            usage_source: entry.usage_source.as_str().into(),
            cost_nanousd: entry.cost.0,
            list_cost_nanousd: entry.list_cost.0,
            attempts: serde_json::to_string(&entry.attempts).unwrap_or_else(|_| "[]".to_owned()),
            latency_ms: signed(entry.latency_ms),
            ttfb_ms: entry.ttfb_ms.map(signed),
        }
    }

    fn read(self) -> QueryResult<Entry> {
        let Some(operation) = Operation::from_name(&self.operation) else { return unreadable("operation", &self.id) };
        let Some(billing) = Billing::from_name(&self.billing) else { return unreadable("billing", &self.id) };
        let Some(outcome) = Outcome::from_name(&self.outcome) else { return unreadable("outcome", &self.id) };
        let Some(usage_source) = UsageSource::from_name(&self.usage_source) else { return unreadable("usage_source", &self.id) };
        let Ok(tags) = object_pairs(&self.tags) else { return unreadable("tags", &self.id) };
        let Ok(attempts) = serde_json::from_str(&self.attempts) else { return unreadable("attempts", &self.id) };
        let Ok(status) = self.status.try_into() else { return unreadable("status", &self.id) };
        Ok(Entry {
            id: self.id.into_owned(),
            request_id: self.request_id.as_ref().into(),
            created_at: self.created_at,
            tenant: self.tenant.as_ref().into(),
            team: self.team.map(|team| team.as_ref().into()),
            key_id: self.key_id.as_ref().into(),
            subject: self.subject.as_ref().into(),
            user: self.end_user.map(SmolStr::from),
            tags,
            operation,
            model: self.model.as_ref().into(),
            upstream_model: self.upstream_model.as_ref().into(),
            provider: self.provider.as_ref().into(),
            kind: self.kind.as_ref().into(),
            billing,
            stream: self.stream,
            status,
            outcome,
            error_code: self.error_code.map(SmolStr::from),
            finish_reason: self.finish_reason.map(SmolStr::from),
            usage: Usage {
                prompt_tokens: unsigned(self.prompt_tokens),
                cached_tokens: unsigned(self.cached_tokens),
                cache_write_tokens: unsigned(self.cache_write_tokens),
                cache_write_1h_tokens: unsigned(self.cache_write_1h_tokens),
                completion_tokens: unsigned(self.completion_tokens),
                reasoning_tokens: unsigned(self.reasoning_tokens),
            },
            usage_source,
            cost: NanoUsd(self.cost_nanousd),
            list_cost: NanoUsd(self.list_cost_nanousd),
            attempts,
            latency_ms: unsigned(self.latency_ms),
            ttfb_ms: self.ttfb_ms.map(unsigned),
        })
    }
}

impl<'a> TagRow<'a> {
    /// The tag rows of an entry.
    pub fn all_of(entry: &'a Entry) -> impl Iterator<Item = TagRow<'a>> {
        entry.tags.iter().map(|(name, value)| TagRow { entry_id: storable(&entry.id), name: indexable(name), value: indexable(value) })
    }
}

/// Replaces NUL, which PostgreSQL cannot store but a client's JSON may contain: such a row would
/// block the ledger forever.
fn storable(text: &str) -> Cow<'_, str> {
    if text.contains('\0') { text.replace('\0', "\u{fffd}").into() } else { text.into() }
}

/// Like [`storable`], truncated to fit an index.
pub(super) fn indexable(text: &str) -> Cow<'_, str> {
    storable(&text[..text.floor_char_boundary(MAX_INDEXED)])
}

fn signed(count: u64) -> i64 {
    count.try_into().unwrap_or(i64::MAX)
}

fn unsigned(count: i64) -> u64 {
    count.try_into().unwrap_or(0)
}
