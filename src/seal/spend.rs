//! Spending a provider key: from a presented virtual key and two blobs to an opened payload (spec/security.md 1.6).
//!
//! Needs no database and no master key. Whoever calls has checked the virtual key before, and keeps of all this at most the
//! payload, in the cache. Whether a payload may go somewhere is the payload's to say.

use super::blob::{Unopened, open};
use super::context::{GrantContext, SecretContext};
use super::derivation::{EdgeKey, GrantKey, WrapKey};
use super::names::{EdgeId, Epoch, Ring, Version};
use super::payload::Payload;
use crate::terms::{KeyId, ProviderName, TenantId};

/// A gateway's own half of every grant.
#[derive(Debug)]
pub struct Edge {
    /// Who it is.
    pub id: EdgeId,
    /// E.
    pub key: EdgeKey,
}

/// Which provider key is spent by whom. All of it from the authenticated virtual key and the requested provider, nothing
/// from the rows in which the blobs lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpendRequest {
    /// The virtual key's tenant.
    pub tenant: TenantId,
    /// The virtual key.
    pub key_id: KeyId,
    /// The ring it spends from.
    pub ring: Ring,
    /// That ring's epoch.
    pub epoch: Epoch,
    /// The provider.
    pub name: ProviderName,
    /// Its key's version.
    pub version: Version,
}

/// What did not open, for the log and the audit. The client learns nothing: to it, the provider's key was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SpendError {
    /// The grant: another edge's, another key's, of another epoch, or not what was written.
    #[error("the grant of this virtual key at this edge does not open")]
    Grant(#[source] Unopened),
    /// The provider key: of another version, or not what was written.
    #[error("the sealed key of this provider does not open")]
    Secret(#[source] Unopened),
}

impl SpendRequest {
    /// Opens the provider key. The wrap key and the spend key do not outlive this call.
    ///
    /// # Errors
    /// Which of the two blobs did not open; there is no third way.
    pub fn open(&self, edge: &Edge, wrap_key: WrapKey, grant: &[u8], secret: &[u8]) -> Result<Payload, SpendError> {
        let grant_key = GrantKey::of(&edge.key, &wrap_key, &edge.id);
        let spend_key = open(&self.grant_at(&edge.id), &grant_key, grant).map_err(SpendError::Grant)?;
        open(&self.secret(), &spend_key, secret).map_err(SpendError::Secret)
    }

    /// Where its GRANT at an edge belongs.
    pub fn grant_at<'a>(&'a self, edge_id: &'a EdgeId) -> GrantContext<'a> {
        GrantContext { tenant: &self.tenant, key_id: &self.key_id, edge_id, ring: &self.ring, epoch: self.epoch }
    }

    /// Where its SECRET belongs.
    pub fn secret(&self) -> SecretContext<'_> {
        SecretContext { tenant: &self.tenant, ring: &self.ring, name: &self.name, version: self.version, epoch: self.epoch }
    }
}

#[cfg(test)]
mod tests;
