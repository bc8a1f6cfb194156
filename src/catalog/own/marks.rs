//! How new the sealed keys of a tenant have been: whoever can write the database can bring back an older one, which opens as well
//! as it did then (spec/security.md 1.8). What has been seen is remembered in memory, so that such a key is noticed and not spent.

use std::collections::HashMap;

use super::{Account, SealedKey};
use crate::seal::names::{Epoch, Ring, Version};
use crate::terms::ProviderName;

/// The newest epoch of each ring and the newest version under each name that one tenant's keys had.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    /// When the tenant was created, in Unix seconds: another one under the same id begins anew.
    since: i64,
    epochs: HashMap<Ring, Epoch>,
    versions: HashMap<ProviderName, Version>,
}

impl Marks {
    /// What is known of the tenant that was created then: `before`, if that was the same.
    pub fn of(since: i64, before: Option<&Marks>) -> Self {
        before.filter(|before| before.since == since).cloned().unwrap_or_else(|| Self { since, ..Self::default() })
    }

    /// Whether an account's key is older than one that was there before.
    pub fn is_passed(&self, account: &Account) -> bool {
        let older = |key: &SealedKey| {
            self.epochs.get(&key.ring).is_some_and(|epoch| key.epoch < *epoch)
                || self.versions.get(&account.name).is_some_and(|version| key.version < *version)
        };
        account.key.as_deref().is_some_and(older)
    }

    /// Takes note of an account's key.
    pub fn raise(&mut self, account: &Account) {
        let Some(key) = &account.key else { return };
        let epoch = self.epochs.entry(key.ring.clone()).or_insert(key.epoch);
        *epoch = key.epoch.max(*epoch);
        let version = self.versions.entry(account.name.clone()).or_insert(key.version);
        *version = key.version.max(*version);
    }
}
