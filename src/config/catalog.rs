//! The merged result of all provider files.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::diagnostics::Diagnostics;
use super::environment::Environment;
use super::kind::{self, Kind, Kinds};
use super::model::{self, ModelSettings, Models};
use super::provider::{self, ProviderSettings};
use super::retry::RetryPolicy;
use super::section::Section;
use crate::terms::KindName;
use crate::terms::natural::natural_order;

/// Kinds, providers and models of all provider files, merged and checked.
#[derive(Debug, Default)]
pub struct CatalogSettings {
    /// Kinds by name.
    pub kinds: BTreeMap<KindName, Arc<Kind>>,
    /// Brokered providers, enabled or not, in natural order of their names.
    pub providers: Vec<ProviderSettings>,
    /// Models in the order of their ids.
    pub models: Vec<ModelSettings>,
}

/// Reads all kinds first, then all providers and models, so that the order of the files does not matter.
pub(super) fn read(
    roots: &mut [Section<'_>],
    defaults: &RetryPolicy,
    environment: &dyn Environment,
    diagnostics: &Diagnostics,
) -> CatalogSettings {
    let (mut kinds, mut providers, mut models) = (Kinds::new(), Vec::new(), Models::default());
    for root in roots.iter_mut() {
        kind::read(root, defaults, &mut kinds);
    }
    for root in roots.iter_mut() {
        provider::read(root, &kinds, environment, &mut providers);
        model::read(root, &kinds, &mut models);
    }
    providers.sort_by(|a, b| natural_order(&a.name, &b.name));
    CatalogSettings { kinds, providers, models: models.finish(diagnostics) }
}
