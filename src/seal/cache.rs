//! Cache of opened provider keys with a time to live (spec/security.md 1.6).
//!
//! The only plaintext that outlives a request. The caller passes the time. A hit does not authorize
//! anything: the virtual key of each request is checked before.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::names::{Epoch, Ring, Version};
use super::payload::KeyPayload;
use super::spend::SpendRequest;
use crate::terms::{KeyId, ProviderName, TenantId};

/// Default time to live of an opened key.
pub const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// Maximum time to live of an opened key.
pub const MAX_TTL: Duration = Duration::from_secs(300);

/// Maximum number of opened keys; the least recently used one is evicted.
pub const CAPACITY: usize = 10_000;

/// The opened provider keys of one worker.
pub struct OpenedSecrets {
    ttl: Duration,
    capacity: usize,
    slots: HashMap<CacheKey, Slot>,
    /// Least recently used first. Holds each slot once, under its `last_use`.
    by_use: BTreeMap<u64, CacheKey>,
    uses: u64,
}

/// The cache key of spec/security.md 1.6.
#[derive(Clone, PartialEq, Eq, Hash)]
struct CacheKey {
    key_id: KeyId,
    ring: Ring,
    name: ProviderName,
    version: Version,
    epoch: Epoch,
}

struct Slot {
    tenant: TenantId,
    payload: Arc<KeyPayload>,
    opened_at: Instant,
    last_use: u64,
}

impl OpenedSecrets {
    /// Creates an empty cache. A `ttl` of zero disables it; one above [`MAX_TTL`] is reduced to
    /// that.
    pub fn new(ttl: Duration) -> Self {
        Self::with_capacity(ttl, CAPACITY)
    }

    fn with_capacity(ttl: Duration, capacity: usize) -> Self {
        Self { ttl: ttl.min(MAX_TTL), capacity, slots: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// Returns the cached payload for `spend`, or opens and caches it. Uses do not extend the time
    /// to live.
    ///
    /// # Errors
    /// Those of `open`; errors are not cached.
    pub fn get_or_open<E>(
        &mut self,
        spend: &SpendRequest,
        now: Instant,
        open: impl FnOnce() -> Result<KeyPayload, E>,
    ) -> Result<Arc<KeyPayload>, E> {
        let key = CacheKey::of(spend);
        if let Some(payload) = self.get(&key, &spend.tenant, now) {
            return Ok(payload);
        }
        let payload = Arc::new(open()?);
        self.keep(key, spend.tenant.clone(), Arc::clone(&payload), now);
        Ok(payload)
    }

    /// Removes expired keys that no request asks for again. Must be called periodically.
    pub fn sweep(&mut self, now: Instant) {
        let ttl = self.ttl;
        self.retain(|_, slot| slot.is_fresh(ttl, now));
    }

    /// Removes the keys opened with one virtual key, after it was revoked, rotated or changed.
    pub fn purge_key(&mut self, key_id: &KeyId) {
        self.retain(|key, _| key.key_id != *key_id);
    }

    /// Removes the keys opened with a tenant's virtual keys.
    pub fn purge_tenant(&mut self, tenant: &TenantId) {
        self.retain(|_, slot| slot.tenant != *tenant);
    }

    /// Removes all keys: at shutdown, or when changes cannot be followed.
    pub fn purge(&mut self) {
        self.slots.clear();
        self.by_use.clear();
    }

    /// Number of cached keys.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Returns whether the cache is empty.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn get(&mut self, key: &CacheKey, tenant: &TenantId, now: Instant) -> Option<Arc<KeyPayload>> {
        let slot = self.slots.get_mut(key)?;
        if slot.tenant != *tenant || !slot.is_fresh(self.ttl, now) {
            self.remove(key);
            return None;
        }
        self.uses += 1;
        if let Some(key) = self.by_use.remove(&slot.last_use) {
            self.by_use.insert(self.uses, key);
        }
        slot.last_use = self.uses;
        Some(Arc::clone(&slot.payload))
    }

    fn keep(&mut self, key: CacheKey, tenant: TenantId, payload: Arc<KeyPayload>, now: Instant) {
        if self.ttl.is_zero() {
            return;
        }
        self.remove(&key);
        while self.slots.len() >= self.capacity
            && let Some((_, unused)) = self.by_use.pop_first()
        {
            self.slots.remove(&unused);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, key.clone());
        self.slots.insert(key, Slot { tenant, payload, opened_at: now, last_use: self.uses });
    }

    fn remove(&mut self, key: &CacheKey) {
        if let Some(slot) = self.slots.remove(key) {
            self.by_use.remove(&slot.last_use);
        }
    }

    fn retain(&mut self, keep: impl Fn(&CacheKey, &Slot) -> bool) {
        let Self { slots, by_use, .. } = self;
        slots.retain(|key, slot| {
            let stays = keep(key, slot);
            if !stays {
                by_use.remove(&slot.last_use);
            }
            stays
        });
    }
}

impl CacheKey {
    fn of(spend: &SpendRequest) -> Self {
        let SpendRequest { key_id, ring, name, version, epoch, .. } = spend;
        Self { key_id: key_id.clone(), ring: ring.clone(), name: name.clone(), version: *version, epoch: *epoch }
    }
}

impl Slot {
    fn is_fresh(&self, ttl: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.opened_at) < ttl
    }
}

impl std::fmt::Debug for OpenedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedSecrets").field("ttl", &self.ttl).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
