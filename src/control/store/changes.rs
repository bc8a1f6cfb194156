//! Mutations: each one appends to the change log, for other processes, and to the admin events, for
//! operators, in its own transaction.
//!
//! All mutations go through [`Store::mutate`]. It locks the only row of `change_head` from its
//! first statement to its commit, so mutations are serialized across all processes, a check before
//! a write is safe, and no reader of the log misses an id.

use std::sync::Arc;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{admin_events, change_head, change_log};
use super::{Store, StoreError};
use crate::credential::Credential;
use crate::terms::{KeyId, RequestId, TenantId};

/// A row that processes that serve traffic must read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A tenant and everything that depends on it.
    Tenant(TenantId),
    /// One virtual key.
    Key(KeyId),
}

/// Originator of a mutation.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `admin` for the admin token; otherwise the command, such as `quickstart`.
    pub who: &'static str,
    /// Id of the request, if there is one.
    pub request_id: Option<RequestId>,
    /// Tenant key sent with the request; opens the secrets of a tenant with custody of its own
    /// root.
    pub tenant_key: Option<Arc<Credential>>,
}

/// Result of a mutation, and what is recorded about it.
#[derive(Debug)]
pub struct Mutation<T> {
    /// Result for the caller.
    pub answer: T,
    /// Action, such as `key.create`.
    pub action: &'static str,
    /// Target, such as `acme/key_…`. Never a secret.
    pub target: String,
    /// Changes for other processes; empty if none concerns them.
    pub changes: Vec<Change>,
}

/// Rows of the change log that are kept. A process that is further behind reads everything again.
const MAX_LOG_ROWS: i64 = 10_000;

impl Store {
    /// Runs a mutation and records it, in one transaction. `at` is in Unix milliseconds.
    ///
    /// # Errors
    /// If the database fails; errors of `statements`. Nothing has changed then.
    pub fn mutate<T, E>(
        &self,
        actor: &Actor,
        at: i64,
        statements: impl FnOnce(&mut AnyConnection) -> Result<Mutation<T>, E>,
    ) -> Result<T, E>
    where
        E: From<StoreError> + From<diesel::result::Error>,
    {
        self.write(|connection| {
            lock_change_head(connection)?;
            let mutation = statements(connection)?;
            for change in &mutation.changes {
                append(connection, change, at)?;
            }
            record(connection, actor, mutation.action, &mutation.target, at)?;
            Ok(mutation.answer)
        })
    }
}

impl Change {
    /// The tenant, if a tenant changed.
    pub fn tenant(&self) -> Option<&TenantId> {
        if let Change::Tenant(id) = self { Some(id) } else { None }
    }

    /// The key, if a key changed.
    pub fn key(&self) -> Option<&KeyId> {
        if let Change::Key(id) = self { Some(id) } else { None }
    }

    fn kind(&self) -> &'static str {
        match self {
            Change::Tenant(_) => "tenant",
            Change::Key(_) => "key",
        }
    }

    fn reference(&self) -> &str {
        match self {
            Change::Tenant(id) => id,
            Change::Key(id) => id,
        }
    }

    /// `None` for a kind unknown to this version, which therefore does not depend on it.
    fn read(kind: &str, reference: String) -> Option<Self> {
        match kind {
            "tenant" => Some(Change::Tenant(reference.into())),
            "key" => Some(Change::Key(reference.into())),
            _ => None,
        }
    }
}

/// Id of the newest change.
///
/// # Errors
/// If the database fails.
pub fn position(connection: &mut AnyConnection) -> QueryResult<i64> {
    change_head::table.select(change_head::position).first(connection)
}

/// All changes after `position`, oldest first; `None` if the log no longer reaches back that far.
///
/// # Errors
/// If the database fails.
pub fn after(connection: &mut AnyConnection, position: i64) -> QueryResult<Option<Vec<Change>>> {
    let rows: Vec<(i64, String, String)> = change_log::table
        .filter(change_log::id.gt(position))
        .order(change_log::id)
        .select((change_log::id, change_log::kind, change_log::reference))
        .load(connection)?;
    let gapless = rows.first().is_none_or(|(id, ..)| *id == position + 1);
    Ok(gapless.then(|| rows.into_iter().filter_map(|(_, kind, reference)| Change::read(&kind, reference)).collect()))
}

/// Locks the row, and on SQLite the database, by a write that changes nothing.
fn lock_change_head(connection: &mut AnyConnection) -> QueryResult<usize> {
    diesel::update(change_head::table).set(change_head::position.eq(change_head::position)).execute(connection)
}

fn append(connection: &mut AnyConnection, change: &Change, at: i64) -> QueryResult<()> {
    diesel::update(change_head::table).set(change_head::position.eq(change_head::position + 1)).execute(connection)?;
    let id = position(connection)?;
    diesel::insert_into(change_log::table)
        .values((
            change_log::id.eq(id),
            change_log::kind.eq(change.kind()),
            change_log::reference.eq(change.reference()),
            change_log::at.eq(at),
        ))
        .execute(connection)?;
    diesel::delete(change_log::table.filter(change_log::id.le(id - MAX_LOG_ROWS))).execute(connection)?;
    Ok(())
}

fn record(connection: &mut AnyConnection, actor: &Actor, action: &str, target: &str, at: i64) -> QueryResult<usize> {
    diesel::insert_into(admin_events::table)
        .values((
            admin_events::id.eq(uuid::Uuid::now_v7().to_string()),
            admin_events::at.eq(at),
            admin_events::actor.eq(actor.who),
            admin_events::action.eq(action),
            admin_events::target.eq(target),
            admin_events::request_id.eq(actor.request_id.as_deref()),
        ))
        .execute(connection)
}
