//! The adapters of one worker: one for each provider, started on first use and replaced when it
//! dies.
//!
//! This is the adapters' actual supervisor. actix restarts an actor that stops, but not one that
//! panics.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;

use actix::{Addr, Supervisor};

use super::adapter::Adapter;
use super::filter::Filter;
use super::health::{Health, HealthBook};
use crate::catalog::provider::Provider;
use crate::catalog::snapshot::Snapshot;
use crate::terms::{Billing, TenantId};
use crate::upstream::{Network, Upstream, UpstreamPolicy};

/// The adapters of one worker.
pub struct AdapterSlots {
    health: Arc<HealthBook>,
    network: Network,
    filter: Option<Arc<dyn Filter>>,
    /// By identity of the provider: a provider with other settings is another provider, with
    /// another pool.
    slots: RefCell<HashMap<*const Provider, Rc<AdapterSlot>>>,
}

/// A running adapter and its provider.
pub struct AdapterSlot {
    provider: Arc<Provider>,
    /// The provider's health, shared by all workers.
    pub health: Arc<Health>,
    /// Address of the adapter.
    pub adapter: Addr<Adapter>,
}

impl AdapterSlots {
    /// Creates slots without adapters.
    pub fn new(health: Arc<HealthBook>, network: Network, filter: Option<Arc<dyn Filter>>) -> Self {
        Self { health, network, filter, slots: RefCell::default() }
    }

    /// The provider's slot. Its adapter is started on first use.
    pub fn get(&self, provider: &Arc<Provider>) -> Rc<AdapterSlot> {
        let mut slots = self.slots.borrow_mut();
        let slot = slots.entry(Arc::as_ptr(provider)).or_insert_with(|| {
            let health = self.health.of(owner(provider), &provider.name);
            self.start(provider, health)
        });
        Rc::clone(slot)
    }

    /// Replaces a slot whose adapter is dead. Returns `false` if the adapter is alive or was
    /// replaced before: a call that panics by itself does not end its adapter.
    pub fn replace(&self, dead: &Rc<AdapterSlot>) -> bool {
        let mut slots = self.slots.borrow_mut();
        let Some(slot) = slots.get_mut(&Arc::as_ptr(&dead.provider)) else { return false };
        let is_dead = Rc::ptr_eq(slot, dead) && !dead.adapter.connected();
        if is_dead {
            *slot = self.start(&dead.provider, Arc::clone(&dead.health));
        }
        is_dead
    }

    /// Retires the adapters of providers that `snapshot` no longer has. Their calls finish; idle
    /// connections are closed.
    pub fn retain(&self, snapshot: &Snapshot) {
        self.slots.borrow_mut().retain(|_, slot| is_current(snapshot, &slot.provider));
    }

    fn start(&self, provider: &Arc<Provider>, health: Arc<Health>) -> Rc<AdapterSlot> {
        let policy = UpstreamPolicy { source: provider.source.clone(), connect_timeout: provider.retry.connect_timeout };
        let adapter = Adapter::new(Upstream::new(&self.network, policy), Arc::clone(&health), self.filter.clone());
        Rc::new(AdapterSlot { provider: Arc::clone(provider), health, adapter: Supervisor::start(move |_| adapter) })
    }
}

fn is_current(snapshot: &Snapshot, provider: &Arc<Provider>) -> bool {
    match owner(provider) {
        None => snapshot.offerings.providers.iter().any(|listed| Arc::ptr_eq(&listed.provider, provider)),
        Some(tenant) => snapshot.directory.byo.get(tenant).is_some_and(|own| own.has(provider)),
    }
}

/// The tenant that owns the provider, `None` for a brokered one.
fn owner(provider: &Provider) -> Option<&TenantId> {
    match provider.billing {
        Billing::Brokered => None,
        Billing::Byo => provider.tenants.as_ref().and_then(|tenants| tenants.first()),
    }
}
