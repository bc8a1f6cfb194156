//! The immutable state that a request is answered from: offerings and directory.
//!
//! Sent to every worker as two `Arc`s and never changed. A request finishes on the snapshot it
//! started with. Built from a configuration and directory records alone, so that a process without
//! a database can build one.

use std::sync::Arc;

use super::caller::Caller;
use super::chain::providers_for;
use super::directory::record::{DirectoryRecords, DirectoryUpdate};
use super::directory::{Directory, DirectoryContext};
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
    /// Builds the first snapshot.
    pub fn from_records(context: DirectoryContext, records: DirectoryRecords) -> Self {
        let directory = Directory::from_records(&context, records, None);
        Self { offerings: context.offerings, directory: Arc::new(directory) }
    }

    /// This snapshot after an update of the directory.
    pub fn updated(&self, private_upstreams: bool, update: DirectoryUpdate) -> Self {
        let offerings = Arc::clone(&self.offerings);
        let context = DirectoryContext { offerings, private_upstreams };
        let directory = self.directory.updated(&context, update);
        Self { offerings: context.offerings, directory: Arc::new(directory) }
    }

    /// This snapshot after a reload of the configuration.
    pub fn with_offerings(&self, context: DirectoryContext) -> Self {
        let directory = self.directory.rebuild(&context);
        Self { offerings: context.offerings, directory: Arc::new(directory) }
    }

    /// The model with that id or alias, if `caller` may use it, with its chain. Allocates only if
    /// the chain is specific to the tenant.
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
