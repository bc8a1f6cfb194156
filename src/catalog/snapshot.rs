//! The immutable state that a request is answered from: offerings and directory.
//!
//! Sent to every worker as two `Arc`s and never changed. A request finishes on the snapshot it started
//! with.

use std::sync::Arc;

use super::caller::Caller;
use super::chain::providers_for;
use super::directory::Directory;
use super::offerings::{Model, Offerings};
use super::provider::Chain;

/// Offerings and directory at one moment.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Models, kinds and brokered providers.
    pub offerings: Arc<Offerings>,
    /// Tenants and virtual keys.
    pub directory: Arc<Directory>,
}

/// A model that a caller may use, and the offers to try: at least one.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The model.
    pub model: Arc<Model>,
    /// Offers in order, including those that cannot do every operation
    /// ([`can_do`](super::provider::Offer::can_do)).
    pub chain: Chain,
}

impl Snapshot {
    /// The model with that id or alias, if `caller` may use it, with its chain. Allocates only if the chain
    /// is specific to the tenant.
    pub fn find(&self, caller: &Caller, model: &str) -> Option<Resolved> {
        let model = self.offerings.model(model)?;
        self.offered(caller, model)
    }

    /// Every model that `caller` may use and that has a provider for it, in the order of ids:
    /// `GET /v1/models`.
    pub fn models_for<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = Resolved> + 'a {
        self.offerings.models.iter().filter_map(|model| self.offered(caller, model))
    }

    fn offered(&self, caller: &Caller, model: &Arc<Model>) -> Option<Resolved> {
        if !caller.may_use(&model.definition) {
            return None;
        }
        let byo = if caller.tenant.has_byo { self.directory.byo.get(&caller.tenant.id) } else { None };
        let chain = byo.and_then(|byo| byo.chain(model)).map_or_else(|| providers_for(&caller.tenant, model), Chain::clone);
        (!chain.is_empty()).then(|| Resolved { model: model.clone(), chain })
    }
}

#[cfg(test)]
mod tests;
