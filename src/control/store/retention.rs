//! Entries that are older than they are kept: rolled up into monthly sums and deleted, a batch in a transaction.
//!
//! The sums are made of what the deletion returns, in its own transaction. So an entry is either a row or in a sum, never both and
//! never neither, however often, from wherever and at whatever moment this is run or killed. When to run is decided above.

#[cfg(test)]
mod tests;

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

/// What one batch did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RolledUp {
    /// So many entries are rolled up and gone.
    Entries(usize),
    /// Another process is at it.
    Elsewhere,
}

/// An entry on its way out: what it had in common with others, and what it adds to their sums.
#[derive(QueryableByName)]
struct Leaving {
    #[diesel(sql_type = Text)]
    id: String,
    #[diesel(sql_type = BigInt)]
    created_at: i64,
    #[diesel(embed)]
    common: Common,
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

/// Everything usage can be asked by, but time.
#[derive(QueryableByName, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Common {
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
struct Held {
    #[diesel(sql_type = Bool)]
    held: bool,
}

/// One sum of a batch.
#[derive(Default)]
struct Sum {
    totals: Totals,
    cache_write_1h_tokens: i64,
}

/// Keeps processes from rolling up together on PostgreSQL: the bytes of "aigw", and one.
const RETENTION_LOCK: i64 = 0x6169_6778;

const LEAVE: &str = "DELETE FROM entries WHERE id IN (SELECT id FROM entries WHERE created_at < $1 ORDER BY created_at, id LIMIT $2) \
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
    /// Rolls up and deletes at most `limit` of the entries made before `before` (Unix milliseconds), the oldest first.
    ///
    /// # Errors
    /// If the database fails; then nothing has changed.
    pub fn roll_up(&self, before: i64, limit: i64) -> Result<RolledUp, StoreError> {
        self.write(|connection| {
            if !is_alone(connection)? {
                return Ok(RolledUp::Elsewhere);
            }
            let leaving: Vec<Leaving> = diesel::sql_query(LEAVE).bind::<BigInt, _>(before).bind::<BigInt, _>(limit).load(connection)?;
            let ids: Vec<&str> = leaving.iter().map(|entry| entry.id.as_str()).collect();
            diesel::delete(entry_tags::table.filter(entry_tags::entry_id.eq_any(ids))).execute(connection)?;
            let count = leaving.len();
            for ((month, common), sum) in sums(leaving) {
                add(connection, month, &common, &sum)?;
            }
            Ok(RolledUp::Entries(count))
        })
    }
}

/// SQLite has one writer at a time; on PostgreSQL a lock that the transaction's end gives back decides.
fn is_alone(connection: &mut AnyConnection) -> QueryResult<bool> {
    match connection {
        AnyConnection::Sqlite(_) => Ok(true),
        AnyConnection::Postgres(_) => {
            let lock = diesel::sql_query("SELECT pg_try_advisory_xact_lock($1) AS held").bind::<BigInt, _>(RETENTION_LOCK);
            Ok(lock.get_result::<Held>(connection)?.held)
        }
    }
}

fn sums(leaving: Vec<Leaving>) -> BTreeMap<(i64, Common), Sum> {
    let mut sums: BTreeMap<(i64, Common), Sum> = BTreeMap::new();
    for entry in leaving {
        let totals = entry.totals();
        let month = month_of(entry.created_at).unwrap_or(entry.created_at);
        let sum = sums.entry((month, entry.common)).or_default();
        sum.totals.add(&totals);
        sum.cache_write_1h_tokens += entry.cache_write_1h_tokens;
    }
    sums
}

fn add(connection: &mut AnyConnection, month: i64, common: &Common, sum: &Sum) -> QueryResult<()> {
    let id = common.id(month);
    let Sum { totals, cache_write_1h_tokens } = sum;
    diesel::sql_query(ADD)
        .bind::<Text, _>(&id)
        .bind::<BigInt, _>(month)
        .bind::<Text, _>(&common.tenant)
        .bind::<Nullable<Text>, _>(&common.team)
        .bind::<Text, _>(&common.key_id)
        .bind::<Text, _>(&common.subject)
        .bind::<Text, _>(&common.operation)
        .bind::<Text, _>(&common.model)
        .bind::<Text, _>(&common.provider)
        .bind::<Text, _>(&common.kind)
        .bind::<Text, _>(&common.billing)
        .bind::<Text, _>(&common.outcome)
        .bind::<Text, _>(&common.tags)
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
    // Tags that cannot be read (edited by hand) are lost to questions by tag; the sums are not.
    for (name, value) in object_pairs(&common.tags).unwrap_or_default() {
        let tag = diesel::sql_query(TAG).bind::<Text, _>(&id).bind::<Text, _>(indexable(&name)).bind::<Text, _>(indexable(&value));
        tag.execute(connection)?;
    }
    Ok(())
}

impl Leaving {
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

impl Common {
    /// The id of the row for this combination and month: a digest, since a column that may be NULL makes no key.
    fn id(&self, month: i64) -> String {
        let Common { tenant, team, key_id, subject, operation, model, provider, kind, billing, outcome, tags } = self;
        let all = (month, tenant, team, key_id, subject, operation, model, provider, kind, billing, outcome, tags);
        let text = serde_json::to_vec(&all).unwrap_or_default();
        // Digests fail only for inputs no memory holds.
        Sha256::digest(&text).map(|digest| digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()).unwrap_or_default()
    }
}
