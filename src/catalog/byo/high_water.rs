//! Detection of rolled-back sealed keys.
//!
//! Write access to the database suffices to restore an older sealed key, which still opens
//! (spec/security.md 1.8). The newest epoch and version seen are kept in memory, so that an older
//! key is noticed and not used.

use std::collections::HashMap;

use crate::catalog::account::{Account, SealedKey};
use crate::seal::names::{Epoch, Ring, Version};
use crate::terms::ProviderName;

/// Newest epoch of each ring and newest version of each provider key of one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HighWaterMarks {
    /// Creation of the tenant in Unix seconds. A new tenant under the same id starts without marks.
    tenant_created_at: i64,
    epochs: HashMap<Ring, Epoch>,
    versions: HashMap<ProviderName, Version>,
}

impl HighWaterMarks {
    /// Marks of the tenant created at `tenant_created_at` (Unix seconds): `before`, if it is of the
    /// same tenant, else empty.
    pub fn of(tenant_created_at: i64, before: Option<&HighWaterMarks>) -> Self {
        let same = before.filter(|before| before.tenant_created_at == tenant_created_at).cloned();
        same.unwrap_or_else(|| Self { tenant_created_at, ..Self::default() })
    }

    /// Whether the account's key is older than one seen before.
    pub fn is_rolled_back(&self, account: &Account) -> bool {
        let is_older = |key: &SealedKey| {
            self.epochs.get(&key.ring).is_some_and(|epoch| key.epoch < *epoch)
                || self.versions.get(&account.name).is_some_and(|version| key.version < *version)
        };
        account.key.as_deref().is_some_and(is_older)
    }

    /// Raises the marks to the account's key.
    pub fn advance(&mut self, account: &Account) {
        let Some(key) = &account.key else { return };
        let epoch = self.epochs.entry(key.ring.clone()).or_insert(key.epoch);
        *epoch = key.epoch.max(*epoch);
        let version = self.versions.entry(account.name.clone()).or_insert(key.version);
        *version = key.version.max(*version);
    }
}
