//! Opened provider keys, for as long as they may be kept (spec/security.md 1.6).
//!
//! The only plaintext that outlives a request. Time is an argument. A hit says nothing about the caller: each request's own
//! key is checked before it comes here.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::names::{Epoch, Ring, Version};
use super::payload::Payload;
use super::spend::SpendRequest;
use crate::terms::{KeyId, ProviderName, TenantId};

/// How long an opened key is kept unless configured otherwise.
pub const DEFAULT_TTL: Duration = Duration::from_secs(60);

/// The longest an opened key can be kept.
pub const MAX_TTL: Duration = Duration::from_secs(300);

/// How many opened keys are kept at most; the one unused for longest leaves first.
pub const CAPACITY: usize = 10_000;

/// The opened provider keys of one worker.
pub struct OpenedSecrets {
    ttl: Duration,
    capacity: usize,
    slots: HashMap<Place, Slot>,
    /// Oldest use first. Each slot is here once, under its `used`.
    by_use: BTreeMap<u64, Place>,
    uses: u64,
}

/// The key of spec/security.md 1.6.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Place {
    key_id: KeyId,
    ring: Ring,
    name: ProviderName,
    version: Version,
    epoch: Epoch,
}

struct Slot {
    tenant: TenantId,
    payload: Arc<Payload>,
    opened: Instant,
    used: u64,
}

impl OpenedSecrets {
    /// An empty cache. A `ttl` of zero keeps nothing, one over [`MAX_TTL`] counts as that.
    pub fn new(ttl: Duration) -> Self {
        Self::with_capacity(ttl, CAPACITY)
    }

    fn with_capacity(ttl: Duration, capacity: usize) -> Self {
        Self { ttl: ttl.min(MAX_TTL), capacity, slots: HashMap::new(), by_use: BTreeMap::new(), uses: 0 }
    }

    /// The payload for `spend`: kept, or opened by `open` and then kept. Being used does not prolong its time.
    ///
    /// # Errors
    /// Those of `open`; a failure is never kept.
    pub fn get_or_open<E>(
        &mut self,
        spend: &SpendRequest,
        now: Instant,
        open: impl FnOnce() -> Result<Payload, E>,
    ) -> Result<Arc<Payload>, E> {
        let place = Place::of(spend);
        if let Some(payload) = self.get(&place, &spend.tenant, now) {
            return Ok(payload);
        }
        let payload = Arc::new(open()?);
        self.keep(place, spend.tenant.clone(), Arc::clone(&payload), now);
        Ok(payload)
    }

    /// Forgets what has had its time, so that it ends even where nobody asks for it again. To be called now and then.
    pub fn sweep(&mut self, now: Instant) {
        let ttl = self.ttl;
        self.retain(|_, slot| slot.is_fresh(ttl, now));
    }

    /// Forgets what one virtual key opened: it was revoked, rotated or changed.
    pub fn purge_key(&mut self, key_id: &KeyId) {
        self.retain(|place, _| place.key_id != *key_id);
    }

    /// Forgets what a tenant's virtual keys opened.
    pub fn purge_tenant(&mut self, tenant: &TenantId) {
        self.retain(|_, slot| slot.tenant != *tenant);
    }

    /// Forgets everything: at shutdown, or when the changes cannot be followed.
    pub fn purge(&mut self) {
        self.slots.clear();
        self.by_use.clear();
    }

    /// How many opened keys are kept.
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether none is kept.
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    fn get(&mut self, place: &Place, tenant: &TenantId, now: Instant) -> Option<Arc<Payload>> {
        let slot = self.slots.get_mut(place)?;
        if slot.tenant != *tenant || !slot.is_fresh(self.ttl, now) {
            self.remove(place);
            return None;
        }
        self.uses += 1;
        if let Some(place) = self.by_use.remove(&slot.used) {
            self.by_use.insert(self.uses, place);
        }
        slot.used = self.uses;
        Some(Arc::clone(&slot.payload))
    }

    fn keep(&mut self, place: Place, tenant: TenantId, payload: Arc<Payload>, now: Instant) {
        if self.ttl.is_zero() {
            return;
        }
        self.remove(&place);
        while self.slots.len() >= self.capacity
            && let Some((_, unused)) = self.by_use.pop_first()
        {
            self.slots.remove(&unused);
        }
        self.uses += 1;
        self.by_use.insert(self.uses, place.clone());
        self.slots.insert(place, Slot { tenant, payload, opened: now, used: self.uses });
    }

    fn remove(&mut self, place: &Place) {
        if let Some(slot) = self.slots.remove(place) {
            self.by_use.remove(&slot.used);
        }
    }

    fn retain(&mut self, keep: impl Fn(&Place, &Slot) -> bool) {
        let Self { slots, by_use, .. } = self;
        slots.retain(|place, slot| {
            let stays = keep(place, slot);
            if !stays {
                by_use.remove(&slot.used);
            }
            stays
        });
    }
}

impl Place {
    fn of(spend: &SpendRequest) -> Self {
        let SpendRequest { key_id, ring, name, version, epoch, .. } = spend;
        Self { key_id: key_id.clone(), ring: ring.clone(), name: name.clone(), version: *version, epoch: *epoch }
    }
}

impl Slot {
    fn is_fresh(&self, ttl: Duration, now: Instant) -> bool {
        now.saturating_duration_since(self.opened) < ttl
    }
}

impl std::fmt::Debug for OpenedSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("OpenedSecrets").field("ttl", &self.ttl).field("len", &self.len()).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
