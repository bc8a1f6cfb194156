//! Tenant keys, for tenants with custody `tenant` (spec/security.md 1.5).
//!
//! The control half creates the key and shows it once, or the tenant's own machine creates it,
//! keeps the key and sends the rest.

use super::blob::{SealError, seal};
use super::context::TenantKeyRootContext;
use super::derivation::{TenantRoot, TenantWrapKey};
use super::names::TenantKeyId;
use crate::credential::{Credential, CredentialKind};
use crate::terms::TenantId;

/// A new tenant key with the root that it wraps.
pub struct TenantKeyHolder {
    /// Public id of the key.
    pub id: TenantKeyId,
    /// The key.
    pub key: Credential,
    /// The wrapped root, a ROOT blob.
    pub root: Vec<u8>,
}

impl TenantKeyHolder {
    /// Generates a key and wraps `root` with it.
    ///
    /// # Errors
    /// If the operating system returns no random bytes, or the tenant's id cannot be bound to a
    /// blob.
    pub fn of(root: &TenantRoot, tenant: &TenantId) -> Result<Self, SealError> {
        let unbound = SealError::InvalidContext(super::context::BlobType::Root);
        let key = Credential::mint(CredentialKind::Tenant)?;
        let id = TenantKeyId::parse(&format!("tk_{}", uuid::Uuid::now_v7().simple())).map_err(|_| unbound)?;
        let wrap_key = TenantWrapKey::of(&key).ok_or(unbound)?;
        let root = seal(&TenantKeyRootContext { tenant, tenant_key: &id }, &wrap_key, root)?;
        Ok(Self { id, key, root })
    }
}
