//! Contexts that blobs are bound to: for each type its key, its content and its authenticated
//! fields (spec/security.md 1.3).
//!
//! Values must come from the authenticated virtual key and the requested provider, never from the
//! row that stores the blob. Contexts of blobs under the master key are in the control half.

use super::derivation::{EscrowKey, GrantKey, JobKey, SpendKey, TenantRoot, TenantWrapKey, WrapKey};
use super::fields::Fields;
use super::key::{BlobContent, Key};
use super::names::{EdgeId, Epoch, Ring, TenantKeyId, Version};
use super::payload::KeyPayload;
use crate::terms::{KeyId, ProviderName, TenantId};

/// Type of a blob, its fifth byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlobType {
    /// A provider key and its destinations, under a spend key.
    Secret = 1,
    /// A spend key, for a virtual key at an edge.
    Grant = 2,
    /// A tenant's root, under the master key or a tenant key.
    Root = 3,
    /// A virtual key's wrap key, under the tenant's escrow key.
    Escrow = 4,
    /// An edge's key, under the master key.
    Edge = 5,
    /// A spend key, for an edge alone.
    Job = 6,
    /// The private key of the audit log, under the master key.
    AuditKey = 7,
}

/// The context of one blob. Its type determines the key and the content.
pub trait Context {
    /// The type byte.
    const TYPE: BlobType;
    /// The first field, which separates the domains.
    const LABEL: &'static str;
    /// The key that seals and opens it.
    type Key: Key;
    /// The sealed content.
    type Content: BlobContent;

    /// Appends the fields after the label.
    fn fields(&self, to: Fields) -> Fields;
}

/// SECRET: a provider key and its destinations.
#[derive(Clone, Copy, Debug)]
pub struct SecretContext<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The ring.
    pub ring: &'a Ring,
    /// The provider.
    pub name: &'a ProviderName,
    /// Version of the provider's key.
    pub version: Version,
    /// Epoch of the ring.
    pub epoch: Epoch,
}

/// GRANT: a spend key for one virtual key at one edge. The ring `vault` cannot be granted.
#[derive(Clone, Copy, Debug)]
pub struct GrantContext<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The virtual key.
    pub key_id: &'a KeyId,
    /// The edge.
    pub edge_id: &'a EdgeId,
    /// The ring.
    pub ring: &'a Ring,
    /// Epoch of the ring.
    pub epoch: Epoch,
}

/// ROOT in custody `tenant`: a tenant's root under one of its tenant keys.
#[derive(Clone, Copy, Debug)]
pub struct TenantKeyRootContext<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The tenant key.
    pub tenant_key: &'a TenantKeyId,
}

/// ESCROW: a virtual key's wrap key, for the grants of later epochs.
#[derive(Clone, Copy, Debug)]
pub struct EscrowContext<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The virtual key.
    pub key_id: &'a KeyId,
}

/// JOB: a spend key for one edge's background work.
#[derive(Clone, Copy, Debug)]
pub struct JobContext<'a> {
    /// The tenant.
    pub tenant: &'a TenantId,
    /// The edge.
    pub edge_id: &'a EdgeId,
    /// The ring.
    pub ring: &'a Ring,
    /// Epoch of the ring.
    pub epoch: Epoch,
}

impl Context for SecretContext<'_> {
    const TYPE: BlobType = BlobType::Secret;
    const LABEL: &'static str = "aigw/v1/secret";
    type Key = SpendKey;
    type Content = KeyPayload;

    fn fields(&self, to: Fields) -> Fields {
        to.name(self.tenant).name(self.ring.as_str()).name(self.name).number(self.version.0).number(self.epoch.0)
    }
}

impl Context for GrantContext<'_> {
    const TYPE: BlobType = BlobType::Grant;
    const LABEL: &'static str = "aigw/v1/grant";
    type Key = GrantKey;
    type Content = SpendKey;

    fn fields(&self, to: Fields) -> Fields {
        let to = to.name(self.tenant).name(self.key_id).name(self.edge_id.as_str()).name(self.ring.as_str()).number(self.epoch.0);
        if self.ring.is_vault() { to.invalid() } else { to }
    }
}

impl Context for TenantKeyRootContext<'_> {
    const TYPE: BlobType = BlobType::Root;
    const LABEL: &'static str = "aigw/v1/root-wrap";
    type Key = TenantWrapKey;
    type Content = TenantRoot;

    fn fields(&self, to: Fields) -> Fields {
        to.name(self.tenant).prefixed_name("tk:", self.tenant_key.as_str())
    }
}

impl Context for EscrowContext<'_> {
    const TYPE: BlobType = BlobType::Escrow;
    const LABEL: &'static str = "aigw/v1/escrow";
    type Key = EscrowKey;
    type Content = WrapKey;

    fn fields(&self, to: Fields) -> Fields {
        to.name(self.tenant).name(self.key_id)
    }
}

impl Context for JobContext<'_> {
    const TYPE: BlobType = BlobType::Job;
    const LABEL: &'static str = "aigw/v1/job";
    type Key = JobKey;
    type Content = SpendKey;

    fn fields(&self, to: Fields) -> Fields {
        to.name(self.tenant).name(self.edge_id.as_str()).name(self.ring.as_str()).number(self.epoch.0)
    }
}
