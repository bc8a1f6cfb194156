//! Opens a provider key with a presented virtual key, a GRANT blob and a SECRET blob
//! (spec/security.md 1.6).
//!
//! Needs no database and no master key. The caller has authenticated the virtual key before, and
//! may keep only the payload, in the cache. The payload itself checks its destinations.

use super::blob::{Unopened, open};
use super::context::{GrantContext, SecretContext};
use super::derivation::{EdgeKey, GrantKey, WrapKey};
use super::names::{EdgeId, Epoch, Ring, Version};
use super::payload::KeyPayload;
use crate::terms::{KeyId, ProviderName, TenantId};

/// The gateway's half of every grant.
#[derive(Debug)]
pub struct Edge {
    /// Id of the edge.
    pub id: EdgeId,
    /// E, the edge key.
    pub key: EdgeKey,
}

/// Identifies a provider key and the virtual key that uses it. All values come from the
/// authenticated virtual key and the requested provider, never from the rows that store the blobs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRequest {
    /// Tenant of the virtual key.
    pub tenant: TenantId,
    /// The virtual key.
    pub key_id: KeyId,
    /// Ring of the provider key.
    pub ring: Ring,
    /// Epoch of the ring.
    pub epoch: Epoch,
    /// The provider.
    pub name: ProviderName,
    /// Version of the provider's key.
    pub version: Version,
}

/// The blob that did not open, for the log. A client is told only that the provider's key was
/// refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpendError {
    /// The grant is of another edge, key or epoch, or was altered.
    #[error("the grant of this virtual key at this edge does not open")]
    Grant(#[source] Unopened),
    /// The provider key is of another version, or was altered.
    #[error("the sealed key of this provider does not open")]
    Secret(#[source] Unopened),
}

impl SpendRequest {
    /// Opens the provider key. The wrap key and the spend key are dropped on return.
    ///
    /// # Errors
    /// Names the blob that did not open.
    pub fn open(&self, edge: &Edge, wrap_key: WrapKey, grant: &[u8], secret: &[u8]) -> Result<KeyPayload, SpendError> {
        let grant_key = GrantKey::of(&edge.key, &wrap_key, &edge.id);
        let spend_key = open(&self.grant_at(&edge.id), &grant_key, grant).map_err(SpendError::Grant)?;
        open(&self.secret(), &spend_key, secret).map_err(SpendError::Secret)
    }

    /// Returns the context of the GRANT at an edge.
    pub fn grant_at<'a>(&'a self, edge_id: &'a EdgeId) -> GrantContext<'a> {
        GrantContext { tenant: &self.tenant, key_id: &self.key_id, edge_id, ring: &self.ring, epoch: self.epoch }
    }

    /// Returns the context of the SECRET.
    pub fn secret(&self) -> SecretContext<'_> {
        SecretContext { tenant: &self.tenant, ring: &self.ring, name: &self.name, version: self.version, epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests;
