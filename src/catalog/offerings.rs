//! Offerings: models, kinds and brokered providers from the configuration, indexed for lookup.

mod build;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use super::provider::{Chain, Provider};
use crate::config;
use crate::terms::KindName;

/// Everything the configuration offers.
#[derive(Debug)]
pub struct Offerings {
    /// Models in the order of their ids.
    pub models: Vec<Arc<Model>>,
    /// Model of each id and alias.
    by_name: HashMap<String, Arc<Model>>,
    /// Brokered providers in natural order, disabled ones included.
    pub providers: Vec<BrokeredProvider>,
    /// Kinds by name; tenants' own providers refer to them.
    pub kinds: BTreeMap<KindName, Arc<config::Kind>>,
    /// Unix seconds at which these offerings were built: `created` of `GET /v1/models`.
    pub built_at: i64,
}

/// A brokered provider as the admin API lists it.
#[derive(Debug, Clone)]
pub struct BrokeredProvider {
    /// The provider; its `credential` is `None` where no key was found.
    pub provider: Arc<Provider>,
    /// Reason for being disabled, if it is.
    pub disabled: Option<config::Disabled>,
    /// Last four characters of its key.
    pub last4: Option<String>,
}

/// A model and the brokered offers for it.
#[derive(Debug)]
pub struct Model {
    /// Definition in the configuration.
    pub definition: config::ModelSettings,
    /// Enabled brokered offers, in natural order of their providers. Shared by every chain that
    /// equals it.
    pub offers: Chain,
    /// Whether no offer is reserved for certain tenants, so that `offers` is the chain of all
    /// tenants.
    pub is_open_to_all: bool,
}

impl Offerings {
    /// The model with that id or alias.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.by_name.get(name)
    }
}

#[cfg(test)]
mod tests;
