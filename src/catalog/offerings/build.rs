//! Builds offerings from a checked configuration.
//!
//! Everything that a request would otherwise compute is computed here, once per reload.

use std::collections::HashMap;
use std::sync::Arc;

use super::{BrokeredProvider, Model, Offerings};
use crate::catalog::provider::{Offer, Provider, credential, static_headers};
use crate::config::{self, Auth};
use crate::guard::Source;
use crate::terms::Billing;
use crate::terms::natural::natural_order;

impl Offerings {
    /// Builds the offerings of `catalog` at `built_at` (Unix seconds). Providers that are unchanged
    /// since `before` are reused, so that their connections stay warm.
    pub fn build(catalog: &config::CatalogSettings, before: Option<&Offerings>, built_at: i64) -> Self {
        let mut sources: Vec<&config::ProviderSettings> = catalog.providers.iter().collect();
        sources.sort_by(|a, b| natural_order(&a.name, &b.name));
        let providers: Vec<BrokeredProvider> = sources.iter().map(|source| BrokeredProvider::build(source, before)).collect();
        let models: Vec<Arc<Model>> =
            catalog.models.iter().map(|definition| Arc::new(Model::build(definition, &sources, &providers))).collect();
        let mut by_name = HashMap::new();
        for model in &models {
            for alias in &model.definition.aliases {
                by_name.insert(alias.clone(), model.clone());
            }
        }
        for model in &models {
            by_name.insert(model.definition.id.to_string(), model.clone());
        }
        Self { models, by_name, providers, kinds: catalog.kinds.clone(), built_at }
    }
}

impl BrokeredProvider {
    fn build(source: &config::ProviderSettings, before: Option<&Offerings>) -> Self {
        let built = brokered(source);
        let old = before.and_then(|before| before.providers.iter().find(|old| *old.provider == built));
        Self {
            provider: old.map_or_else(|| Arc::new(built), |old| old.provider.clone()),
            disabled: source.disabled.clone(),
            last4: source.api_key.as_ref().map(|key| key.last4().to_owned()),
        }
    }
}

fn brokered(source: &config::ProviderSettings) -> Provider {
    Provider {
        name: source.name.clone(),
        kind: source.kind.name.clone(),
        billing: Billing::Brokered,
        tenants: source.tenants.clone(),
        dialect: source.kind.dialect,
        quirks: source.kind.quirks.clone(),
        base_url: source.base_url.clone(),
        headers: static_headers(&source.headers),
        credential: source.api_key.as_ref().and_then(|key| credential(&source.kind.auth, key.expose())),
        source: Source::Operator(source.network.clone()),
        retry: source.retry.clone(),
    }
}

impl Model {
    /// `sources` and `built` are the same providers in the same order.
    fn build(definition: &config::ModelSettings, sources: &[&config::ProviderSettings], built: &[BrokeredProvider]) -> Self {
        let offers: Vec<Arc<Offer>> = sources
            .iter()
            .zip(built)
            .filter(|(source, _)| is_ready(source))
            .filter_map(|(source, built)| {
                let served = definition.served_by.get(&source.kind.name)?;
                Some(Arc::new(Offer::build(definition, served, &source.kind, &source.query, &built.provider, None)))
            })
            .collect();
        let is_open_to_all = offers.iter().all(|offer| offer.provider.tenants.is_none());
        Self { definition: definition.clone(), offers: offers.into(), is_open_to_all }
    }
}

/// Whether calls may use the provider: enabled, and with a key if its kind needs one.
fn is_ready(source: &config::ProviderSettings) -> bool {
    source.disabled.is_none() && (source.kind.auth == Auth::None || source.api_key.is_some())
}
