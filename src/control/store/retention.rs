//! Retention: rolls old entries up into monthly sums and deletes them, one batch per transaction.
//!
//! The sums are computed from the rows that the deletion returns, in the same transaction. An entry
//! is therefore either a row or part of a sum, never both or neither, no matter how often or where
//! this runs or when it is killed. The schedule is decided by the caller.

use std::collections::BTreeMap;

use diesel::prelude::*;
use diesel::sql_types::{BigInt, Bool, Nullable, Text};
use orion::hazardous::hash::sha2::sha256::Sha256;

use super::connection::AnyConnection;
use super::entries::indexable;
use super::keys::object_pairs;
use super::schema::entry_tags;
use super::usage::{Totals, month_of};
use super::{Store, StoreError};

/// Result of one batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledUp {
    /// Number of entries rolled up and deleted.
    Entries(usize),
    /// Another process is rolling up.
    Elsewhere,
}

/// A deleted entry: the group it belongs to, and what it adds to the sums.
#[derive(QueryableByName)]
struct DeletedEntry {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(embed)]
    group: Group,
    #[diesel(sql_type = BigInt)]
    prompt_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cached_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cache_write_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cache_write_1h_tokens: i64,
    #[diesel(sql_type = BigInt)]
    completion_tokens: i64,
    #[diesel(sql_type = BigInt)]
    reasoning_tokens: i64,
    #[diesel(sql_type = BigInt)]
    cost_nanousd: i64,
    #[diesel(sql_type = BigInt)]
    list_cost_nanousd: i64,
}

/// Values of everything that usage can be grouped or filtered by, except time.
#[derive(QueryableByName, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Group {
    #[diesel(sql_type = Text)]
    tenant: String,
    #[diesel(sql_type = Nullable<Text>)]
    team: Option<String>,
    #[diesel(sql_type = Text)]
    key_id: String,
    #[diesel(sql_type = Text)]
    subject: String,
    #[diesel(sql_type = Text)]
    operation: String,
    #[diesel(sql_type = Text)]
    model: String,
    #[diesel(sql_type = Text)]
    provider: String,
    #[diesel(sql_type = Text)]
    kind: String,
    #[diesel(sql_type = Text)]
    billing: String,
    #[diesel(sql_type = Text)]
    outcome: String,
    #[diesel(sql_type = Text)]
    tags: String,
}

#[derive(QueryableByName)]
struct LockResult {
    #[diesel(sql_type = Bool)]
    held: bool,
}

/// The sum of a group in a month.
#[derive(Default)]
struct Sum {
    totals: Totals,
    cache_write_1h_tokens: i64,
}

/// PostgreSQL advisory lock of retention: "aigw" in ASCII, plus one.
const RETENTION_LOCK: i64 = 0x6169_6778;

const DELETE: &str = "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE created_at < $1 ORDER BY created_at, id LIMIT $2) \
     RETURNING id, created_at, tenant, team, key_id, subject, operation, model, provider, kind, billing, outcome, tags, prompt_tokens, \
     cached_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens, cost_nanousd, list_cost_nanousd";

const ADD: &str = "INSERT INTO usage_months (id, month, tenant, team, key_id, subject, operation, model, provider, kind, billing, outcome, \
     tags, requests, prompt_tokens, cached_tokens, cache_write_tokens, cache_write_1h_tokens, completion_tokens, reasoning_tokens, \
     cost_nanousd, list_cost_nanousd) \
     VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18, $19, $20, $21, $22) \
     ON CONFLICT (id) DO UPDATE SET requests = usage_months.requests + excluded.requests, \
     prompt_tokens = usage_months.prompt_tokens + excluded.prompt_tokens, \
     cached_tokens = usage_months.cached_tokens + excluded.cached_tokens, \
     cache_write_tokens = usage_months.cache_write_tokens + excluded.cache_write_tokens, \
     cache_write_1h_tokens = usage_months.cache_write_1h_tokens + excluded.cache_write_1h_tokens, \
     completion_tokens = usage_months.completion_tokens + excluded.completion_tokens, \
     reasoning_tokens = usage_months.reasoning_tokens + excluded.reasoning_tokens, \
     cost_nanousd = usage_months.cost_nanousd + excluded.cost_nanousd, \
     list_cost_nanousd = usage_months.list_cost_nanousd + excluded.list_cost_nanousd";

const TAG: &str = "INSERT INTO usage_month_tags (usage_month_id, name, value) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING";

impl Store {
    /// Rolls up and deletes at most `limit` entries created before `before` (Unix milliseconds),
    /// oldest first.
    ///
    /// # Errors
    /// If the database fails; nothing has changed then.
    pub fn roll_up(&self, before: i64, limit: i64) -> Result<RolledUp, StoreError> {
        self.write(|connection| {
            if !is_alone(connection)? {
                return Ok(RolledUp::Elsewhere);
            }
            let deleted: Vec<DeletedEntry> =
                diesel::sql_query(DELETE).bind::<BigInt, _>(before).bind::<BigInt, _>(limit).load(connection)?;
            let ids: Vec<&str> = deleted.iter().map(|entry| entry.id.as_str()).collect();
            diesel::delete(entry_tags::table.filter(entry_tags::entry_id.eq_any(ids))).execute(connection)?;
            let count = deleted.len();
            for ((month, group), sum) in sums(deleted) {
                add(connection, month, &group, &sum)?;
            }
            Ok(RolledUp::Entries(count))
        })
    }
}

/// Whether no other process is rolling up. SQLite has one writer at a time; PostgreSQL needs a
/// lock, released at the end of the transaction.
fn is_alone(connection: &mut AnyConnection) -> QueryResult<bool> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(true),
        AnyConnection::Postgres(_) => {
            let lock = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS held").bind::<BigInt, _>(RETENTION_LOCK);
            Ok(lock.get_result::<LockResult>(connection)?.held)
        }
    }
}

fn sums(deleted: Vec<DeletedEntry>) -> BTreeMap<(i64, Group), Sum> {
    let mut sums: BTreeMap<(i64, Group), Sum> = BTreeMap::new();
    for entry in deleted {
        let totals = entry.totals();
        let month = month_of(entry.created_at).unwrap_or(entry.created_at);
        let sum = sums.entry((month, entry.group)).or_default();
        sum.totals.add(&totals);
        sum.cache_write_1h_tokens += entry.cache_write_1h_tokens;
    }
    sums
}

fn add(connection: &mut AnyConnection, month: i64, group: &Group, sum: &Sum) -> QueryResult<()> {
    let id = group.id(month);
    let Sum { totals, cache_write_1h_tokens } = sum;
    diesel::sql_query(ADD)
        .bind::<Text, _>(&id)
        .bind::<BigInt, _>(month)
        .bind::<Text, _>(&group.tenant)
        .bind::<Nullable<Text>, _>(&group.team)
        .bind::<Text, _>(&group.key_id)
        .bind::<Text, _>(&group.subject)
        .bind::<Text, _>(&group.operation)
        .bind::<Text, _>(&group.model)
        .bind::<Text, _>(&group.provider)
        .bind::<Text, _>(&group.kind)
        .bind::<Text, _>(&group.billing)
        .bind::<Text, _>(&group.outcome)
        .bind::<Text, _>(&group.tags)
        .bind::<BigInt, _>(totals.requests)
        .bind::<BigInt, _>(totals.prompt_tokens)
        .bind::<BigInt, _>(totals.cached_tokens)
        .bind::<BigInt, _>(totals.cache_write_tokens)
        .bind::<BigInt, _>(*cache_write_1h_tokens)
        .bind::<BigInt, _>(totals.completion_tokens)
        .bind::<BigInt, _>(totals.reasoning_tokens)
        .bind::<BigInt, _>(totals.cost_nanousd)
        .bind::<BigInt, _>(totals.list_cost_nanousd)
        .execute(connection)?;
    // Unreadable tags (edited by hand) are lost to queries by tag; the sums are kept.
    for (name, value) in object_pairs(&group.tags).unwrap_or_default() {
        let tag = diesel::sql_query(TAG).bind::<Text, _>(&id).bind::<Text, _>(indexable(&name)).bind::<Text, _>(indexable(&value));
        tag.execute(connection)?;
    }
    Ok(())
}

impl DeletedEntry {
    fn totals(&self) -> Totals {
        Totals {
            requests: 1,
            prompt_tokens: self.prompt_tokens,
            cached_tokens: self.cached_tokens,
            cache_write_tokens: self.cache_write_tokens,
            completion_tokens: self.completion_tokens,
            reasoning_tokens: self.reasoning_tokens,
            cost_nanousd: self.cost_nanousd,
            list_cost_nanousd: self.list_cost_nanousd,
        }
    }
}

impl Group {
    /// Id of the row for this group and month. A digest, because nullable columns cannot be a
    /// primary key.
    fn id(&self, month: i64) -> String {
        let Group { tenant, team, key_id, subject, operation, model, provider, kind, billing, outcome, tags } = self;
        let all = (month, tenant, team, key_id, subject, operation, model, provider, kind, billing, outcome, tags);
        let text = serde_json::to_vec(&all).unwrap_or_default();
        // A digest fails only for inputs larger than memory.
        Sha256::digest(&text).map(|digest| digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests;
