//! The directory of a snapshot from the store's rows: whole at the start, then patched along the change log.
//!
//! Rows may be newer than the position they are said to reflect; the log then names them again, and reading a row twice
//! changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use diesel::QueryResult;

use super::store::changes::{self, Change};
use super::store::connection::AnyConnection;
use super::store::grants::{self, GrantRow};
use super::store::keys::{self, KeyRow};
use super::store::providers::{self, ProviderRow};
use super::store::tenants::{self, TenantRow};
use crate::catalog::account::{Account, SealedKey};
use crate::catalog::byo::TenantProviders;
use crate::catalog::byo::high_water::HighWaterMarks;
use crate::catalog::caller::{Caller, Grant, KeyValidity, Tenant};
use crate::catalog::directory::Directory;
use crate::catalog::offerings::Offerings;
use crate::seal::names::{EdgeId, Epoch, Ring, Version};
use crate::terms::{KeyId, ProviderName, TenantId};

/// What the rows are laid over.
#[derive(Clone)]
pub struct Frame {
    /// What TOML offers.
    pub offerings: Arc<Offerings>,
    /// The edge whose grants are read; `None` where nothing can be spent.
    pub edge: Option<EdgeId>,
    /// May tenants' own providers be at private addresses?
    pub private_upstreams: bool,
}

type Grants = HashMap<String, Vec<GrantRow>>;

/// The whole directory and the position it reflects. `before` is the one that it replaces.
///
/// # Errors
/// If the database fails.
pub fn load(connection: &mut AnyConnection, frame: &Frame, before: Option<&Directory>) -> QueryResult<(Directory, i64)> {
    let position = changes::position(connection)?;
    let mut directory = Directory::default();
    let mut accounts: HashMap<String, Vec<Arc<Account>>> = HashMap::new();
    for row in providers::all(connection)? {
        accounts.entry(row.tenant.clone()).or_default().extend(account(row));
    }
    for row in tenants::all(connection)? {
        let accounts = accounts.remove(&row.id).unwrap_or_default();
        enter_tenant(&mut directory, before, frame, row, accounts);
    }
    let grants = frame.edge.as_ref().map(|edge| grants::at(connection, edge.as_str())).transpose()?;
    enter(&mut directory, before, keys::active(connection)?, grants.unwrap_or_default());
    if let Some(before) = before {
        update_validity(before, &directory, |_| true);
    }
    Ok((directory, position))
}

/// `current` with all changes after `position`, and the position reached; `None` if there are none.
///
/// # Errors
/// If the database fails.
pub fn catch_up(
    connection: &mut AnyConnection,
    frame: &Frame,
    current: &Directory,
    position: i64,
) -> QueryResult<Option<(Directory, i64)>> {
    let head = changes::position(connection)?;
    if head == position {
        return Ok(None);
    }
    // A head that went back is another database in the old one's place.
    let known = if head > position { changes::after(connection, position)? } else { None };
    match known {
        Some(changes) => Ok(Some((patch(connection, frame, current, &changes)?, head))),
        None => load(connection, frame, Some(current)).map(Some),
    }
}

/// `current` over other offerings.
pub fn refit(frame: &Frame, current: &Directory) -> Directory {
    let refitted = |(id, own): (&TenantId, &Arc<TenantProviders>)| {
        let tenant = current.tenants.get(id)?;
        let accounts = own.providers.iter().map(|own| Arc::clone(&own.account)).collect();
        let marks = current.high_water.get(id)?;
        Some((id.clone(), Arc::new(TenantProviders::build(tenant, accounts, &frame.offerings, frame.private_upstreams, marks, Some(own)))))
    };
    Directory {
        tenants: current.tenants.clone(),
        callers: current.callers.clone(),
        byo: current.byo.iter().filter_map(refitted).collect(),
        high_water: current.high_water.clone(),
    }
}

fn patch(connection: &mut AnyConnection, frame: &Frame, current: &Directory, changes: &[Change]) -> QueryResult<Directory> {
    let tenant_ids: HashSet<&TenantId> = changes.iter().filter_map(Change::tenant).collect();
    let key_ids: HashSet<&KeyId> = changes.iter().filter_map(Change::key).collect();
    let is_touched = |caller: &Caller| tenant_ids.contains(&caller.tenant.id) || key_ids.contains(&caller.key_id);
    let mut directory = without(current, &tenant_ids, is_touched);
    for id in &tenant_ids {
        if let Some(row) = tenants::find(connection, id)? {
            let accounts = providers::of(connection, id)?.into_iter().filter_map(account).collect();
            enter_tenant(&mut directory, Some(current), frame, row, accounts);
            let grants = frame.edge.as_ref().map(|edge| grants::of_tenant(connection, id, edge.as_str())).transpose()?;
            enter(&mut directory, Some(current), keys::active_of(connection, id)?, grants.unwrap_or_default());
        }
    }
    for id in &key_ids {
        let row = keys::find(connection, id)?.filter(|row| row.revoked_at.is_none());
        let grants = frame.edge.as_ref().map(|edge| grants::of_key(connection, id, edge.as_str())).transpose()?;
        enter(&mut directory, Some(current), row, grants.unwrap_or_default());
    }
    update_validity(current, &directory, is_touched);
    Ok(directory)
}

fn without(current: &Directory, tenant_ids: &HashSet<&TenantId>, is_touched: impl Fn(&Caller) -> bool) -> Directory {
    let callers = current.callers.iter().filter(|(_, caller)| !is_touched(caller));
    let tenants = current.tenants.iter().filter(|(id, _)| !tenant_ids.contains(id));
    let own = current.byo.iter().filter(|(id, _)| !tenant_ids.contains(id));
    let marks = current.high_water.iter().filter(|(id, _)| !tenant_ids.contains(id));
    Directory {
        tenants: tenants.map(|(id, tenant)| (id.clone(), Arc::clone(tenant))).collect(),
        callers: callers.map(|(lookup, caller)| (*lookup, Arc::clone(caller))).collect(),
        byo: own.map(|(id, own)| (id.clone(), Arc::clone(own))).collect(),
        high_water: marks.map(|(id, marks)| (id.clone(), Arc::clone(marks))).collect(),
    }
}

/// Tells the running streams of what has changed under them: a key that is gone or whose tenant is disabled ends at once.
fn update_validity(before: &Directory, after: &Directory, is_touched: impl Fn(&Caller) -> bool) {
    for (lookup, old) in before.callers.iter().filter(|(_, caller)| is_touched(caller)) {
        match after.callers.get(lookup) {
            Some(caller) if caller.tenant.enabled => old.validity.set(caller.expires_at),
            _ => old.validity.revoke(),
        }
    }
}

fn enter_tenant(directory: &mut Directory, before: Option<&Directory>, frame: &Frame, row: TenantRow, accounts: Vec<Arc<Account>>) {
    let created_at = row.created_at;
    let tenant = tenant(row, !accounts.is_empty());
    let known = before.and_then(|before| before.high_water.get(&tenant.id));
    let mut marks = HighWaterMarks::of(created_at, known.map(Arc::as_ref));
    if tenant.has_byo {
        let before = before.and_then(|before| before.byo.get(&tenant.id));
        let own =
            TenantProviders::build(&tenant, accounts.clone(), &frame.offerings, frame.private_upstreams, &marks, before.map(Arc::as_ref));
        directory.byo.insert(tenant.id.clone(), Arc::new(own));
    }
    accounts.iter().for_each(|account| marks.advance(account));
    directory.high_water.insert(tenant.id.clone(), Arc::new(marks));
    directory.tenants.insert(tenant.id.clone(), Arc::new(tenant));
}

/// Providers, by tenant, whose sealed key is older than one seen before, where `before` has not known it yet.
pub fn newly_rolled_back<'a>(before: &'a Directory, after: &'a Directory) -> impl Iterator<Item = (&'a TenantId, &'a ProviderName)> {
    let was = |id: &TenantId, name: &ProviderName| before.byo.get(id).is_some_and(|own| own.rolled_back().any(|known| known == name));
    let all = after.byo.iter().flat_map(|(id, own)| own.rolled_back().map(move |name| (id, name)));
    all.filter(move |(id, name)| !was(id, name))
}

fn enter(directory: &mut Directory, before: Option<&Directory>, rows: impl IntoIterator<Item = KeyRow>, mut granted: Grants) {
    for row in rows {
        let Some(tenant) = directory.tenants.get(row.tenant.as_str()) else { continue };
        let grants = granted.remove(&row.id).unwrap_or_default().into_iter().filter_map(grant).collect();
        match caller(row, tenant, grants, before) {
            Ok(caller) => drop(directory.callers.insert(caller.lookup, Arc::new(caller))),
            Err(id) => log::error!("the row of virtual key {id} is damaged; the key is refused"),
        }
    }
}

/// A tenant as the gateway half knows it.
pub fn tenant(row: TenantRow, has_byo: bool) -> Tenant {
    let TenantRow { id, name, brokered, broker_fallback, enabled, .. } = row;
    Tenant { id: id.into(), name, brokered, broker_fallback, enabled, has_byo }
}

/// A tenant's own provider as the catalog knows it; a row edited by hand into nonsense is none.
fn account(row: ProviderRow) -> Option<Arc<Account>> {
    let account = read_account(&row);
    if account.is_none() {
        log::error!("the row of provider {} of tenant {} is damaged; it takes no part", row.name, row.tenant);
    }
    account.map(Arc::new)
}

fn read_account(row: &ProviderRow) -> Option<Account> {
    let key = match &row.secret {
        None => None,
        Some(blob) => Some(Arc::new(SealedKey {
            ring: Ring::parse(&row.ring).ok()?,
            epoch: Epoch(row.epoch.try_into().ok()?),
            version: Version(row.version.try_into().ok()?),
            blob: blob.clone(),
        })),
    };
    let (name, kind) = (row.name.as_str().into(), row.kind.as_str().into());
    Some(Account { name, kind, base_url: row.base_url.clone(), enabled: row.enabled, key, last4: row.last4.clone() })
}

fn grant(row: GrantRow) -> Option<Grant> {
    Some(Grant { ring: Ring::parse(&row.ring).ok()?, epoch: Epoch(row.epoch.try_into().ok()?), blob: row.blob.into() })
}

/// The id back if the row's look-up value is none.
fn caller(row: KeyRow, tenant: &Arc<Tenant>, grants: Vec<Grant>, before: Option<&Directory>) -> Result<Caller, String> {
    let Ok(lookup) = row.lookup.try_into() else { return Err(row.id) };
    let known = before.and_then(|before| before.caller(&lookup));
    Ok(Caller {
        validity: known.map_or_else(|| KeyValidity::until(row.expires_at), |known| Arc::clone(&known.validity)),
        grants,
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
