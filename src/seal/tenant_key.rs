//! A tenant's root under a tenant key, in custody `tenant` (spec/security.md 1.5): made by the control half, which then shows the
//! key once, or on the tenant's own machine, which then sends what is here and keeps the key.

use super::blob::{SealError, seal};
use super::context::TenantKeyRootContext;
use super::derivation::{TenantRoot, TenantWrapKey};
use super::names::TenantKeyId;
use crate::credential::{Credential, CredentialKind};
use crate::terms::TenantId;

/// A new tenant key, and the root that it alone opens.
pub struct TenantKeyHolder {
    /// What the key is called.
    pub id: TenantKeyId,
    /// The key.
    pub key: Credential,
    /// The root under it: a ROOT blob.
    pub root: Vec<u8>,
}

impl TenantKeyHolder {
    /// Makes a key and puts `root` under it.
    ///
    /// # Errors
    /// If the operating system has no randomness to give, or the tenant's id cannot be bound to a blob.
    pub fn of(root: &TenantRoot, tenant: &TenantId) -> Result<Self, SealError> {
        let unbound = SealError::Place(super::context::BlobType::Root);
        let key = Credential::mint(CredentialKind::Tenant)?;
        let id = TenantKeyId::parse(&format!("tk_{}", uuid::Uuid::now_v7().simple())).map_err(|_| unbound)?;
        let wrap_key = TenantWrapKey::of(&key).ok_or(unbound)?;
        let root = seal(&TenantKeyRootContext { tenant, tenant_key: &id }, &wrap_key, root)?;
        Ok(Self { id, key, root })
    }
}
