//! Providers and offers: everything an adapter needs to make a call.

mod target;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use actix_web::http::Uri;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use smol_str::SmolStr;

use super::account::ByoAuth;
use crate::config::{self, Auth, Price, RetryPolicy};
use crate::dialect::contract::Dialect;
use crate::dialect::quirks::Quirks;
use crate::guard::Source;
use crate::terms::{Billing, KindName, ModelId, Operation, ProviderName, TenantId};

/// The offers tried for one request, in order. Cheap to clone: the common chain is shared by all
/// tenants.
pub type Chain = Arc<[Arc<Offer>]>;

/// A named account at an upstream: the settings of a call that do not depend on the model.
/// Providers with equal settings before and after a reload are the same `Arc`, so that their
/// connections stay warm.
#[derive(PartialEq)]
pub struct Provider {
    /// Name.
    pub name: ProviderName,
    /// Name of the kind.
    pub kind: KindName,
    /// Party that pays the upstream.
    pub billing: Billing,
    /// Tenants it is reserved for; `None`: all.
    pub tenants: Option<Vec<TenantId>>,
    /// Wire language.
    pub dialect: &'static dyn Dialect,
    /// Deviations of the kind from the dialect.
    pub quirks: Arc<Quirks>,
    /// Base URL without a trailing slash; `None` where the dialect is not remote.
    pub base_url: Option<String>,
    /// Static headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The operator's key as an authentication header, marked sensitive.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// Origin of the base URL, which decides the addresses it may reach.
    pub source: Source,
    /// Retries, timeouts, cooldown.
    pub retry: RetryPolicy,
}

/// A provider × model, with target and price.
#[derive(Debug)]
pub struct Offer {
    /// Provider to call.
    pub provider: Arc<Provider>,
    /// Model id in the catalog.
    pub model: ModelId,
    /// Model name at the provider.
    pub upstream_model: SmolStr,
    /// URI of each supported operation, with model and query filled in. A placeholder where the
    /// dialect is not remote.
    pub targets: BTreeMap<Operation, Uri>,
    /// Price.
    pub price: Arc<Price>,
    /// Longest answer, in tokens.
    pub max_output_tokens: Option<u64>,
    /// Authentication with the tenant's own key; `None` for brokered offers and kinds without a
    /// key.
    pub byo_auth: Option<ByoAuth>,
}

impl Provider {
    /// Whether the tenant may use it.
    pub fn serves(&self, tenant: &TenantId) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant))
    }
}

impl Offer {
    /// Combines what configuration says about a model at a kind with one provider of that kind.
    pub(super) fn build(
        definition: &config::ModelSettings,
        served: &config::Offering,
        kind: &config::Kind,
        query: &[(String, String)],
        provider: &Arc<Provider>,
        byo_auth: Option<ByoAuth>,
    ) -> Self {
        Self {
            provider: provider.clone(),
            model: definition.id.clone(),
            upstream_model: served.upstream_model.as_str().into(),
            targets: target::targets(&kind.paths, provider.base_url.as_deref(), query, &served.upstream_model),
            price: served.price.clone(),
            max_output_tokens: definition.max_output_tokens,
            byo_auth,
        }
    }

    /// Whether the provider's dialect and kind support `operation`.
    pub fn can_do(&self, operation: Operation) -> bool {
        self.targets.contains_key(&operation)
    }
}

/// Static headers; their syntax was checked with the configuration.
pub(super) fn static_headers(headers: &[(String, String)]) -> Vec<(HeaderName, HeaderValue)> {
    headers.iter().filter_map(|(name, value)| header(name, value)).collect()
}

/// The authentication header for a provider's key; `None` for a kind without authentication.
pub(super) fn credential(auth: &Auth, key: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, mut value) = match auth {
        Auth::None => return None,
        Auth::Bearer => header(AUTHORIZATION.as_str(), zeroize::Zeroizing::new(format!("Bearer {key}")).as_str())?,
        Auth::Header(name) => header(name, key)?,
    };
    value.set_sensitive(true);
    Some((name, value))
}

fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
