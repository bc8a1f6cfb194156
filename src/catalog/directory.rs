//! The directory: tenants, their virtual keys and their own providers.

use std::collections::HashMap;
use std::sync::Arc;

use super::byo::TenantProviders;
use super::byo::high_water::HighWaterMarks;
use super::caller::{Caller, Tenant};
use crate::terms::TenantId;

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

    /// The key with that lookup value. Compare the value in constant time before trusting the result.
    pub fn caller(&self, lookup: &[u8; 32]) -> Option<&Arc<Caller>> {
        self.callers.get(lookup)
    }
}
