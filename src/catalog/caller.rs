//! Tenants and virtual keys as a request sees them.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use smol_str::SmolStr;

use crate::config;
use crate::seal::names::{Epoch, Ring};
use crate::terms::{KeyId, TenantId};

/// A tenant: the unit of isolation and billing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
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
    /// Whether it has providers of its own. Requests of other tenants skip that lookup.
    pub has_byo: bool,
}

/// An active virtual key and its tenant. Revoked keys are not in the directory.
#[derive(Debug, Clone)]
pub struct Caller {
    /// The key's tenant.
    pub tenant: Arc<Tenant>,
    /// Id of the key.
    pub key_id: KeyId,
    /// Lookup value of the key, for the constant-time comparison after the lookup.
    pub lookup: [u8; 32],
    /// Display name.
    pub name: String,
    /// User or service that the key stands for.
    pub subject: SmolStr,
    /// Team, if any.
    pub team: Option<SmolStr>,
    /// Tags of every request made with the key, sorted by name.
    pub tags: Vec<(String, String)>,
    /// Catalog model ids or aliases; `None`: all models.
    pub allowed_models: Option<Vec<String>>,
    /// Unix seconds after which the key is refused.
    pub expires_at: Option<i64>,
    /// Requests per minute; stored, not yet enforced.
    pub rpm: Option<u32>,
    /// Tokens per minute; stored, not yet enforced.
    pub tpm: Option<u32>,
    /// Concurrent requests; stored, not yet enforced.
    pub max_concurrency: Option<u32>,
    /// Cents per UTC calendar month; stored, not yet enforced.
    pub monthly_budget_cents: Option<u64>,
    /// Sealed spend keys that this gateway may open while a request presents the key.
    pub grants: Vec<Grant>,
    /// Current validity, shared by every version of this key.
    pub validity: Arc<KeyValidity>,
}

/// A GRANT blob and what it is bound to besides tenant, key and edge.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// Ring that it opens.
    pub ring: Ring,
    /// Epoch of the ring.
    pub epoch: Epoch,
    /// The GRANT blob.
    pub blob: Arc<[u8]>,
}

/// Time until which a virtual key is valid, as known now. A running stream polls it, because the
/// snapshot it started with never changes.
#[derive(Debug)]
pub struct KeyValidity(AtomicI64);

impl Tenant {
    /// A tenant with defaults: brokered, enabled, without providers of its own.
    pub fn minimal(id: TenantId) -> Self {
        Self { id, name: String::new(), brokered: true, broker_fallback: false, enabled: true, has_byo: false }
    }
}

impl Caller {
    /// A key with defaults: no name, no tags, no limits, no expiry.
    pub fn minimal(tenant: Arc<Tenant>, key_id: KeyId, lookup: [u8; 32]) -> Self {
        Self {
            tenant,
            key_id,
            lookup,
            name: String::new(),
            subject: SmolStr::default(),
            team: None,
            tags: Vec::new(),
            allowed_models: None,
            expires_at: None,
            rpm: None,
            tpm: None,
            max_concurrency: None,
            monthly_budget_cents: None,
            grants: Vec::new(),
            validity: KeyValidity::until(None),
        }
    }

    /// Whether the key may use the model: `allowed_models` names its id or an alias.
    pub fn may_use(&self, model: &config::ModelSettings) -> bool {
        let names = |allowed: &String| *allowed == *model.id || model.aliases.contains(allowed);
        self.allowed_models.as_ref().is_none_or(|allowed| allowed.iter().any(names))
    }
}

impl KeyValidity {
    /// Validity until `end` in Unix seconds; `None`: without end.
    pub fn until(end: Option<i64>) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(end.unwrap_or(i64::MAX))))
    }

    /// Moves the end to `end` in Unix seconds; `None`: without end.
    pub fn set(&self, end: Option<i64>) {
        self.0.store(end.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// Ends the validity at once.
    pub fn revoke(&self) {
        self.0.store(i64::MIN, Ordering::Relaxed);
    }

    /// Whether the key is valid at `now`, in Unix seconds.
    pub fn is_valid_at(&self, now: i64) -> bool {
        now < self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({}, epoch {})", self.ring, self.epoch.0)
    }
}
