//! Plain records that a directory is built from. They serialize to JSON and to binary formats
//! alike.

use serde::{Deserialize, Serialize};

use super::bytes::{LookupValue, SealedBlob};
use crate::seal::names::{Epoch, Ring, Version};
use crate::terms::{KeyId, KindName, ProviderName, TenantId};

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantRecord {
    /// Slug.
    pub id: TenantId,
    /// Display name.
    pub name: String,
    /// Whether it may use the operator's providers.
    pub brokered: bool,
    /// Whether brokered providers join the chain after its own.
    pub broker_fallback: bool,
    /// A disabled tenant gets 403.
    pub enabled: bool,
    /// Unix seconds of its creation. Distinguishes tenants that had the same id.
    pub created_at: i64,
}

/// An active virtual key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRecord {
    /// Id of the key.
    pub id: KeyId,
    /// The key's tenant.
    pub tenant: TenantId,
    /// Lookup value.
    pub lookup: LookupValue,
    /// Display name.
    pub name: String,
    /// User or service that the key stands for.
    pub subject: String,
    /// Team, if any.
    pub team: Option<String>,
    /// Tags of every request made with the key, sorted by name.
    pub tags: Vec<(String, String)>,
    /// Catalog model ids or aliases; `None`: all models.
    pub allowed_models: Option<Vec<String>>,
    /// Unix seconds after which the key is refused.
    pub expires_at: Option<i64>,
    /// Requests per minute.
    pub rpm: Option<u32>,
    /// Tokens per minute.
    pub tpm: Option<u32>,
    /// Concurrent requests.
    pub max_concurrency: Option<u32>,
    /// Cents per UTC calendar month.
    pub monthly_budget_cents: Option<u64>,
    /// Grants of the key to the gateway that the record is for.
    pub grants: Vec<GrantRecord>,
}

/// A GRANT blob of a virtual key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct GrantRecord {
    /// Ring that it opens.
    pub ring: Ring,
    /// Epoch of the ring.
    pub epoch: Epoch,
    /// The GRANT blob.
    pub blob: SealedBlob,
}

/// A tenant's own provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ByoProviderRecord {
    /// The provider's tenant.
    pub tenant: TenantId,
    /// Name.
    pub name: ProviderName,
    /// Name of the kind.
    pub kind: KindName,
    /// Base URL; `None`: the base URL of the kind.
    pub base_url: Option<String>,
    /// Whether the tenant has it enabled.
    pub enabled: bool,
    /// Sealed API key; `None` for a kind without authentication.
    pub key: Option<SealedKeyRecord>,
    /// Last four characters of the API key.
    pub last4: Option<String>,
}

/// A SECRET blob of a tenant's own provider.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SealedKeyRecord {
    /// Ring under whose spend key it is sealed.
    pub ring: Ring,
    /// Epoch of the ring at sealing.
    pub epoch: Epoch,
    /// Version among the ring's secrets.
    pub version: Version,
    /// The SECRET blob.
    pub blob: SealedBlob,
}

/// Records of tenants with everything that belongs to them, and of single keys.
///
/// A tenant's record comes with the records of all its providers and keys. Providers of a tenant
/// that is not among the records are ignored; so are keys of a tenant that the directory does not
/// know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryRecords {
    /// Tenants.
    pub tenants: Vec<TenantRecord>,
    /// All own providers of these tenants.
    pub providers: Vec<ByoProviderRecord>,
    /// All active keys of these tenants, and further keys.
    pub keys: Vec<KeyRecord>,
}

/// Records that changed, and ids of what was removed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectoryChanges {
    /// New and changed records. A tenant's record replaces the tenant and everything that belongs
    /// to it.
    pub records: DirectoryRecords,
    /// Deleted tenants.
    pub removed_tenants: Vec<TenantId>,
    /// Revoked and deleted keys.
    pub removed_keys: Vec<KeyId>,
}

/// An update of a directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DirectoryUpdate {
    /// The complete directory, when the changes are not known.
    Complete(DirectoryRecords),
    /// The changes since the last update.
    Changes(DirectoryChanges),
}
