//! Mutations: each one leaves a line for other processes and a line for people, in its own transaction.
//!
//! [`Store::mutate`] is the only door. It holds the one row of `change_head` from its first statement to its commit, so
//! mutations are serial across all processes, a check before a write is safe, and no reader of the log can miss an id.

use std::sync::Arc;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{admin_events, change_head, change_log};
use super::{Store, StoreError};
use crate::credential::Credential;
use crate::terms::{KeyId, RequestId, TenantId};

/// Something a process that serves traffic must read again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// A tenant, and with it whatever depends on it.
    Tenant(TenantId),
    /// One virtual key.
    Key(KeyId),
}

/// Who is changing something.
#[derive(Clone, Debug)]
pub struct Actor {
    /// `admin` for the holder of the admin token; otherwise the command, such as `quickstart`.
    pub who: &'static str,
    /// The request it came with, if it came with one.
    pub request_id: Option<RequestId>,
    /// The tenant key it came with: what opens the secrets of a tenant that keeps its own root.
    pub tenant_key: Option<Arc<Credential>>,
}

/// What a mutation did: its answer and what is to be written down about it.
#[derive(Debug)]
pub struct Mutation<T> {
    /// The answer.
    pub answer: T,
    /// Such as `key.create`.
    pub action: &'static str,
    /// Such as `acme/key_…`. Never a secret.
    pub target: String,
    /// For other processes; none if nothing of theirs changed.
    pub changes: Vec<Change>,
}

/// Lines of the change log that are kept. A process that is further behind reads everything again.
const KEPT: i64 = 10_000;

impl Store {
    /// Runs a mutation in one transaction with what is recorded about it. `at` is in Unix milliseconds.
    ///
    /// # Errors
    /// As `statements` says, or if the database does not take it; then nothing has changed.
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
    /// The tenant, if that is what changed.
    pub fn tenant(&self) -> Option<&TenantId> {
        if let Change::Tenant(id) = self { Some(id) } else { None }
    }

    /// The key, if that is what changed.
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

    /// `None` for a kind that this version does not know and so does not depend on.
    fn read(kind: &str, reference: String) -> Option<Self> {
        match kind {
            "tenant" => Some(Change::Tenant(reference.into())),
            "key" => Some(Change::Key(reference.into())),
            _ => None,
        }
    }
}

/// The id of the newest change.
///
/// # Errors
/// If the database fails.
pub fn position(connection: &mut AnyConnection) -> QueryResult<i64> {
    change_head::table.select(change_head::position).first(connection)
}

/// All changes after `position`, the oldest first; `None` if some of them have been forgotten.
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

/// A write that changes nothing takes the row's lock, and on SQLite the database's.
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
    diesel::delete(change_log::table.filter(change_log::id.le(id - KEPT))).execute(connection)?;
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
