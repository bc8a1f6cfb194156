//! Builds a directory from records, and a new one from an older one and what changed.
//!
//! Records may be newer than the position they are said to reflect; a later update then contains
//! them again. Applying a record twice changes nothing.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use super::record::{ByoProviderRecord, DirectoryChanges, DirectoryRecords, DirectoryUpdate, GrantRecord, KeyRecord, TenantRecord};
use super::{Directory, DirectoryContext};
use crate::catalog::account::{Account, SealedKey};
use crate::catalog::byo::TenantProviders;
use crate::catalog::byo::high_water::HighWaterMarks;
use crate::catalog::caller::{Caller, Grant, KeyValidity, Tenant};
use crate::terms::{KeyId, TenantId};

impl Directory {
    /// Builds the directory of `records`. It keeps what outlives a version from the directory
    /// `before`: warm providers, high-water marks and the validity that running streams poll.
    pub fn from_records(context: &DirectoryContext, records: DirectoryRecords, before: Option<&Directory>) -> Self {
        let mut directory = Self::default();
        directory.add(context, records, before);
        if let Some(before) = before {
            update_validity(before, &directory, |_| true);
        }
        directory
    }

    /// This directory after an update.
    pub fn updated(&self, context: &DirectoryContext, update: DirectoryUpdate) -> Self {
        match update {
            DirectoryUpdate::Complete(records) => Self::from_records(context, records, Some(self)),
            DirectoryUpdate::Changes(changes) => self.with_changes(context, changes),
        }
    }

    /// This directory over new offerings.
    pub fn rebuild(&self, context: &DirectoryContext) -> Self {
        let rebuilt = |(id, providers): (&TenantId, &Arc<TenantProviders>)| {
            let tenant = self.tenants.get(id)?;
            let accounts = providers.providers.iter().map(|own| Arc::clone(&own.account)).collect();
            let marks = self.high_water.get(id)?;
            let rebuilt = TenantProviders::build(tenant, accounts, &context.offerings, context.private_upstreams, marks, Some(providers));
            Some((id.clone(), Arc::new(rebuilt)))
        };
        Self {
            tenants: self.tenants.clone(),
            callers: self.callers.clone(),
            byo: self.byo.iter().filter_map(rebuilt).collect(),
            high_water: self.high_water.clone(),
        }
    }

    fn with_changes(&self, context: &DirectoryContext, changes: DirectoryChanges) -> Self {
        let DirectoryChanges { records, removed_tenants, removed_keys } = changes;
        let tenants: HashSet<TenantId> =
            removed_tenants.into_iter().chain(records.tenants.iter().map(|record| record.id.clone())).collect();
        let keys: HashSet<KeyId> = removed_keys.into_iter().chain(records.keys.iter().map(|record| record.id.clone())).collect();
        let is_touched = |caller: &Caller| tenants.contains(&caller.tenant.id) || keys.contains(&caller.key_id);
        let mut directory = self.removing(&tenants, is_touched);
        directory.add(context, records, Some(self));
        update_validity(self, &directory, is_touched);
        directory
    }

    fn removing(&self, tenants: &HashSet<TenantId>, is_touched: impl Fn(&Caller) -> bool) -> Self {
        let callers = self.callers.iter().filter(|(_, caller)| !is_touched(caller));
        Self {
            tenants: untouched(&self.tenants, tenants),
            callers: callers.map(|(lookup, caller)| (*lookup, Arc::clone(caller))).collect(),
            byo: untouched(&self.byo, tenants),
            high_water: untouched(&self.high_water, tenants),
        }
    }

    fn add(&mut self, context: &DirectoryContext, records: DirectoryRecords, before: Option<&Directory>) {
        let mut accounts: HashMap<TenantId, Vec<Arc<Account>>> = HashMap::new();
        for record in records.providers {
            let (tenant, account) = account(record);
            accounts.entry(tenant).or_default().push(Arc::new(account));
        }
        for record in records.tenants {
            let accounts = accounts.remove(&record.id).unwrap_or_default();
            self.add_tenant(context, record, accounts, before);
        }
        self.add_keys(records.keys, before);
    }

    fn add_tenant(&mut self, context: &DirectoryContext, record: TenantRecord, accounts: Vec<Arc<Account>>, before: Option<&Directory>) {
        let created_at = record.created_at;
        let tenant = record.into_tenant(!accounts.is_empty());
        let known = before.and_then(|before| before.high_water.get(&tenant.id));
        let mut marks = HighWaterMarks::of(created_at, known.map(Arc::as_ref));
        if tenant.has_byo {
            let before = before.and_then(|before| before.byo.get(&tenant.id)).map(Arc::as_ref);
            let providers =
                TenantProviders::build(&tenant, accounts.clone(), &context.offerings, context.private_upstreams, &marks, before);
            self.byo.insert(tenant.id.clone(), Arc::new(providers));
        }
        accounts.iter().for_each(|account| marks.advance(account));
        self.high_water.insert(tenant.id.clone(), Arc::new(marks));
        self.tenants.insert(tenant.id.clone(), Arc::new(tenant));
    }

    fn add_keys(&mut self, records: Vec<KeyRecord>, before: Option<&Directory>) {
        for record in records {
            let Some(tenant) = self.tenants.get(&record.tenant) else { continue };
            let caller = caller(record, tenant, before);
            self.callers.insert(caller.lookup, Arc::new(caller));
        }
    }
}

impl TenantRecord {
    /// The tenant of this record.
    pub fn into_tenant(self, has_byo: bool) -> Tenant {
        let TenantRecord { id, name, brokered, broker_fallback, enabled, created_at: _ } = self;
        Tenant { id, name, brokered, broker_fallback, enabled, has_byo }
    }
}

fn untouched<T>(all: &HashMap<TenantId, Arc<T>>, touched: &HashSet<TenantId>) -> HashMap<TenantId, Arc<T>> {
    all.iter().filter(|(id, _)| !touched.contains(*id)).map(|(id, value)| (id.clone(), Arc::clone(value))).collect()
}

/// Updates the validity that running streams poll: that of a removed key, or of a key whose tenant
/// is disabled, ends at once.
fn update_validity(before: &Directory, after: &Directory, is_touched: impl Fn(&Caller) -> bool) {
    for (lookup, old) in before.callers.iter().filter(|(_, caller)| is_touched(caller)) {
        match after.callers.get(lookup) {
            Some(caller) if caller.tenant.enabled => old.validity.set(caller.expires_at),
            _ => old.validity.revoke(),
        }
    }
}

fn account(record: ByoProviderRecord) -> (TenantId, Account) {
    let ByoProviderRecord { tenant, name, kind, base_url, enabled, key, last4 } = record;
    let key = key.map(|key| Arc::new(SealedKey { ring: key.ring, epoch: key.epoch, version: key.version, blob: key.blob.0 }));
    (tenant, Account { name, kind, base_url, enabled, key, last4 })
}

fn grant(record: GrantRecord) -> Grant {
    Grant { ring: record.ring, epoch: record.epoch, blob: record.blob.0.into() }
}

fn caller(record: KeyRecord, tenant: &Arc<Tenant>, before: Option<&Directory>) -> Caller {
    let lookup = record.lookup.0;
    let known = before.and_then(|before| before.caller(&lookup));
    Caller {
        validity: known.map_or_else(|| KeyValidity::until(record.expires_at), |known| Arc::clone(&known.validity)),
        grants: record.grants.into_iter().map(grant).collect(),
        tenant: Arc::clone(tenant),
        key_id: record.id,
        lookup,
        name: record.name,
        subject: record.subject.into(),
        team: record.team.map(Into::into),
        tags: record.tags,
        allowed_models: record.allowed_models,
        expires_at: record.expires_at,
        rpm: record.rpm,
        tpm: record.tpm,
        max_concurrency: record.max_concurrency,
        monthly_budget_cents: record.monthly_budget_cents,
    }
}
