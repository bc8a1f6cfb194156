//! The directory of a snapshot from the store's rows: whole at the start, then patched along the change log.
//!
//! Rows may be newer than the position they are said to reflect; the log then names them again, and reading a row twice
//! changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::QueryResult;

use super::store::changes::{self, Change};
use super::store::connection::AnyConnection;
use super::store::keys::{self, KeyRow};
use super::store::tenants::{self, TenantRow};
use crate::catalog::snapshot::{Caller, Directory, Tenant};
use crate::terms::{KeyId, TenantId};

/// The whole directory and the position it reflects.
///
/// # Errors
/// If the database fails.
pub fn load(connection: &mut AnyConnection) -> QueryResult<(Directory, i64)> {
    let position = changes::position(connection)?;
    let mut directory = Directory::default();
    for row in tenants::all(connection)? {
        let tenant = tenant(row);
        directory.tenants.insert(tenant.id.clone(), Arc::new(tenant));
    }
    enter(&mut directory, keys::active(connection)?);
    Ok((directory, position))
}

/// `current` with all changes after `position`, and the position reached; `None` if there are none.
///
/// # Errors
/// If the database fails.
pub fn catch_up(connection: &mut AnyConnection, current: &Directory, position: i64) -> QueryResult<Option<(Directory, i64)>> {
    let head = changes::position(connection)?;
    if head == position {
        return Ok(None);
    }
    // A head that went back is another database in the old one's place.
    let known = if head > position { changes::after(connection, position)? } else { None };
    match known {
        Some(changes) => Ok(Some((patch(connection, current, &changes)?, head))),
        None => load(connection).map(Some),
    }
}

fn patch(connection: &mut AnyConnection, current: &Directory, changes: &[Change]) -> QueryResult<Directory> {
    let tenant_ids: HashSet<&TenantId> = changes.iter().filter_map(Change::tenant).collect();
    let key_ids: HashSet<&KeyId> = changes.iter().filter_map(Change::key).collect();
    let mut directory = without(current, &tenant_ids, &key_ids);
    for id in &tenant_ids {
        if let Some(row) = tenants::find(connection, id)? {
            directory.tenants.insert((*id).clone(), Arc::new(tenant(row)));
            enter(&mut directory, keys::active_of(connection, id)?);
        }
    }
    for id in key_ids {
        enter(&mut directory, keys::find(connection, id)?.filter(|row| row.revoked_at.is_none()));
    }
    Ok(directory)
}

fn without(current: &Directory, tenant_ids: &HashSet<&TenantId>, key_ids: &HashSet<&KeyId>) -> Directory {
    let stays = |caller: &Caller| !tenant_ids.contains(&caller.tenant.id) && !key_ids.contains(&caller.key_id);
    let callers = current.callers.iter().filter(|(_, caller)| stays(caller));
    let tenants = current.tenants.iter().filter(|(id, _)| !tenant_ids.contains(id));
    Directory {
        tenants: tenants.map(|(id, tenant)| (id.clone(), Arc::clone(tenant))).collect::<HashMap<_, _>>(),
        callers: callers.map(|(lookup, caller)| (*lookup, Arc::clone(caller))).collect::<HashMap<_, _>>(),
    }
}

fn enter(directory: &mut Directory, rows: impl IntoIterator<Item = KeyRow>) {
    for row in rows {
        let Some(tenant) = directory.tenants.get(row.tenant.as_str()) else { continue };
        match caller(row, tenant) {
            Ok(caller) => drop(directory.callers.insert(caller.lookup, Arc::new(caller))),
            Err(id) => log::error!("the row of virtual key {id} is damaged; the key is refused"),
        }
    }
}

/// A tenant as the gateway half knows it.
pub fn tenant(row: TenantRow) -> Tenant {
    Tenant { id: row.id.into(), name: row.name, brokered: row.brokered, broker_fallback: row.broker_fallback, enabled: row.enabled }
}

/// The id back if the row's look-up value is none.
fn caller(row: KeyRow, tenant: &Arc<Tenant>) -> Result<Caller, String> {
    let Ok(lookup) = row.lookup.try_into() else { return Err(row.id) };
    Ok(Caller {
        tenant: Arc::clone(tenant),
        key_id: row.id.into(),
        lookup,
        name: row.name,
        subject: row.subject.into(),
        team: row.team.map(Into::into),
        tags: row.tags.0,
        allowed_models: row.allowed_models.0,
        expires_at: row.expires_at,
        rpm: row.rpm.map(limit),
        tpm: row.tpm.map(limit),
        max_concurrency: row.max_concurrency.map(limit),
        monthly_budget_cents: row.monthly_budget_cents.map(|cents| cents.try_into().unwrap_or(0)),
    })
}

/// A limit that is no limit can only come from a hand in the database: nothing is let through.
fn limit(value: i64) -> u32 {
    value.try_into().unwrap_or(0)
}
