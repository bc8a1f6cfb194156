//! The directory: tenants, their virtual keys and their own providers.
//!
//! Built from plain [records](record), wherever they come from: rows of the database or messages of
//! another process.

mod build;
pub mod bytes;
pub mod record;

use std::collections::HashMap;
use std::sync::Arc;

use super::byo::TenantProviders;
use super::byo::high_water::HighWaterMarks;
use super::caller::{Caller, Tenant};
use super::offerings::Offerings;
use crate::terms::{ProviderName, TenantId};

/// Tenants and their virtual keys, indexed for lookup.
#[derive(Debug, Default)]
pub struct Directory {
    /// Tenants by id.
    pub tenants: HashMap<TenantId, Arc<Tenant>>,
    /// Active keys by lookup value (spec/security.md 1.2), never by the key itself.
    pub callers: HashMap<[u8; 32], Arc<Caller>>,
    /// Own providers of the tenants that have any.
    pub byo: HashMap<TenantId, Arc<TenantProviders>>,
    /// Newest versions of sealed keys seen, kept as long as the tenant exists.
    pub high_water: HashMap<TenantId, Arc<HighWaterMarks>>,
}

/// Inputs, besides the records, that a directory is built from.
#[derive(Clone)]
pub struct DirectoryContext {
    /// Offerings of the configuration.
    pub offerings: Arc<Offerings>,
    /// Whether tenants' own providers may be at private addresses.
    pub private_upstreams: bool,
}

impl Directory {
    /// A directory without own providers.
    pub fn build(tenants: impl IntoIterator<Item = Arc<Tenant>>, callers: impl IntoIterator<Item = Arc<Caller>>) -> Self {
        Self {
            tenants: tenants.into_iter().map(|tenant| (tenant.id.clone(), tenant)).collect(),
            callers: callers.into_iter().map(|caller| (caller.lookup, caller)).collect(),
            byo: HashMap::new(),
            high_water: HashMap::new(),
        }
    }

    /// The key with that lookup value. Compare the value in constant time before trusting the
    /// result.
    pub fn caller(&self, lookup: &[u8; 32]) -> Option<&Arc<Caller>> {
        self.callers.get(lookup)
    }

    /// Providers, by tenant, whose sealed key was rolled back since `before`.
    pub fn rolled_back_since<'a>(&'a self, before: &'a Directory) -> impl Iterator<Item = (&'a TenantId, &'a ProviderName)> {
        let was_known = |id: &TenantId, name: &ProviderName| {
            before.byo.get(id).is_some_and(|providers| providers.rolled_back().any(|known| known == name))
        };
        let all = self.byo.iter().flat_map(|(id, providers)| providers.rolled_back().map(move |name| (id, name)));
        all.filter(move |(id, name)| !was_known(id, name))
    }
}

#[cfg(test)]
mod tests;
