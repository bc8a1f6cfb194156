//! Reads the records of the directory from the store: complete at the start, then along the change
//! log.
//!
//! Maps rows to records and nothing else; [`crate::catalog::directory`] builds the directory.

use std::collections::{HashMap, HashSet};

use diesel::QueryResult;

use super::store::changes::{self, Change};
use super::store::connection::AnyConnection;
use super::store::grants::{self, GrantRow};
use super::store::keys::{self, KeyRow};
use super::store::providers::{self, ProviderRow};
use super::store::tenants::{self, TenantRow};
use crate::catalog::directory::bytes::{LookupValue, SealedBlob};
use crate::catalog::directory::record::{
    ByoProviderRecord, DirectoryChanges, DirectoryRecords, DirectoryUpdate, GrantRecord, KeyRecord, SealedKeyRecord, TenantRecord,
};
use crate::seal::names::{EdgeId, Epoch, Ring, Version};
use crate::terms::{KeyId, TenantId};

/// Grant rows by key id.
type Grants = HashMap<String, Vec<GrantRow>>;

/// Reads all records and the position they reflect. Grants are those to `edge`; `None`: no grants.
///
/// # Errors
/// If the database fails.
pub fn read(connection: &mut AnyConnection, edge: Option<&EdgeId>) -> QueryResult<(DirectoryRecords, i64)> {
    let position = changes::position(connection)?;
    let providers = providers::all(connection)?.into_iter().filter_map(provider_record).collect();
    let tenants = tenants::all(connection)?.into_iter().map(tenant_record).collect();
    let mut grants = edge.map(|edge| grants::at(connection, edge.as_str())).transpose()?.unwrap_or_default();
    let keys = keys::active(connection)?.into_iter().filter_map(|row| key_record(row, &mut grants)).collect();
    Ok((DirectoryRecords { tenants, providers, keys }, position))
}

/// Reads what changed after `position`, and the position reached; `None` if nothing changed. If the
/// change log does not reach back that far, the update is complete.
///
/// # Errors
/// If the database fails.
pub fn read_after(connection: &mut AnyConnection, edge: Option<&EdgeId>, position: i64) -> QueryResult<Option<(DirectoryUpdate, i64)>> {
    let head = changes::position(connection)?;
    if head == position {
        return Ok(None);
    }
    // A position that went back means that the database was replaced.
    let known = if head > position { changes::after(connection, position)? } else { None };
    match known {
        Some(changes) => Ok(Some((DirectoryUpdate::Changes(read_changed(connection, edge, &changes)?), head))),
        None => {
            let (records, position) = read(connection, edge)?;
            Ok(Some((DirectoryUpdate::Complete(records), position)))
        }
    }
}

fn read_changed(connection: &mut AnyConnection, edge: Option<&EdgeId>, changes: &[Change]) -> QueryResult<DirectoryChanges> {
    let tenant_ids: HashSet<&TenantId> = changes.iter().filter_map(Change::tenant).collect();
    let key_ids: HashSet<&KeyId> = changes.iter().filter_map(Change::key).collect();
    let mut changed = DirectoryChanges::default();
    for id in tenant_ids {
        let Some(row) = tenants::find(connection, id)? else {
            changed.removed_tenants.push(id.clone());
            continue;
        };
        changed.records.tenants.push(tenant_record(row));
        changed.records.providers.extend(providers::of(connection, id)?.into_iter().filter_map(provider_record));
        let mut grants = edge.map(|edge| grants::of_tenant(connection, id, edge.as_str())).transpose()?.unwrap_or_default();
        let rows = keys::active_of(connection, id)?;
        changed.records.keys.extend(rows.into_iter().filter_map(|row| key_record(row, &mut grants)));
    }
    for id in key_ids {
        let row = keys::find(connection, id)?.filter(|row| row.revoked_at.is_none());
        let mut grants = edge.map(|edge| grants::of_key(connection, id, edge.as_str())).transpose()?.unwrap_or_default();
        match row.and_then(|row| key_record(row, &mut grants)) {
            Some(record) => changed.records.keys.push(record),
            None => changed.removed_keys.push(id.clone()),
        }
    }
    Ok(changed)
}

/// The record of a tenant.
pub fn tenant_record(row: TenantRow) -> TenantRecord {
    let TenantRow { id, name, brokered, broker_fallback, enabled, created_at, .. } = row;
    TenantRecord { id: id.into(), name, brokered, broker_fallback, enabled, created_at }
}

/// The record of a tenant's own provider. A row that was damaged by hand has none.
fn provider_record(row: ProviderRow) -> Option<ByoProviderRecord> {
    let ProviderRow { tenant, name, kind, base_url, enabled, last4, .. } = row;
    let key = match row.secret {
        None => Some(None),
        Some(blob) => sealed_key(&row.ring, row.epoch, row.version, blob).map(Some),
    };
    let Some(key) = key else {
        log::error!("the row of provider {name} of tenant {tenant} is damaged; the provider is inactive");
        return None;
    };
    Some(ByoProviderRecord { tenant: tenant.into(), name: name.into(), kind: kind.into(), base_url, enabled, key, last4 })
}

fn sealed_key(ring: &str, epoch: i32, version: i32, blob: Vec<u8>) -> Option<SealedKeyRecord> {
    let (epoch, version) = (Epoch(epoch.try_into().ok()?), Version(version.try_into().ok()?));
    Some(SealedKeyRecord { ring: Ring::parse(ring).ok()?, epoch, version, blob: SealedBlob(blob) })
}

fn grant_record(row: GrantRow) -> Option<GrantRecord> {
    Some(GrantRecord { ring: Ring::parse(&row.ring).ok()?, epoch: Epoch(row.epoch.try_into().ok()?), blob: SealedBlob(row.blob) })
}

/// The record of a key, with its grants taken out of `grants`. A row that was damaged by hand has
/// none.
fn key_record(row: KeyRow, grants: &mut Grants) -> Option<KeyRecord> {
    let Ok(lookup) = row.lookup.try_into() else {
        log::error!("the row of virtual key {} is damaged; the key is refused", row.id);
        return None;
    };
    Some(KeyRecord {
        grants: grants.remove(&row.id).unwrap_or_default().into_iter().filter_map(grant_record).collect(),
        id: row.id.into(),
        tenant: row.tenant.into(),
        lookup: LookupValue(lookup),
        name: row.name,
        subject: row.subject,
        team: row.team,
        tags: row.tags.0,
        allowed_models: row.allowed_models.0,
        expires_at: row.expires_at,
        rpm: row.rpm.map(limit),
        tpm: row.tpm.map(limit),
        max_concurrency: row.max_concurrency.map(limit),
        monthly_budget_cents: row.monthly_budget_cents.map(|cents| cents.try_into().unwrap_or(0)),
    })
}

/// An invalid limit can only come from a manual edit of the database: it becomes 0, which refuses
/// all.
fn limit(value: i64) -> u32 {
    value.try_into().unwrap_or(0)
}
