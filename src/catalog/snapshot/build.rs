//! From checked configuration to offerings: providers as headers and policies, models as chains of offers with their URIs.
//!
//! Everything a request would otherwise have to work out is worked out here, once per reload.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use actix_web::http::Uri;
use actix_web::http::header::{AUTHORIZATION, HeaderName, HeaderValue};

use super::{Listed, Model, Offer, Offerings, Provider};
use crate::catalog::chain::natural_order;
use crate::catalog::own::Stamp;
use crate::config::{self, Auth};
use crate::guard::Source;
use crate::ledger::entry::Billing;
use crate::terms::Operation;

impl Offerings {
    /// Builds the look-ups. `before` lends its providers where nothing about them has changed, so that their connections
    /// stay warm.
    pub fn build(catalog: &config::Catalog, before: Option<&Offerings>, built_at: i64) -> Self {
        let mut sources: Vec<&config::Provider> = catalog.providers.iter().collect();
        sources.sort_by(|a, b| natural_order(&a.name, &b.name));
        let providers: Vec<Listed> = sources.iter().map(|source| list(source, before)).collect();
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

fn list(source: &config::Provider, before: Option<&Offerings>) -> Listed {
    let built = Provider::build(source);
    let old = before.and_then(|before| before.providers.iter().find(|old| *old.provider == built));
    Listed {
        provider: old.map_or_else(|| Arc::new(built), |old| old.provider.clone()),
        disabled: source.disabled.clone(),
        last4: source.api_key.as_ref().map(|key| key.last4().to_owned()),
    }
}

impl Provider {
    fn build(source: &config::Provider) -> Self {
        Self {
            name: source.name.clone(),
            kind: source.kind.name.clone(),
            billing: Billing::Brokered,
            tenants: source.tenants.clone(),
            dialect: source.kind.dialect,
            quirks: source.kind.quirks.clone(),
            base_url: source.base_url.clone(),
            headers: static_headers(&source.headers),
            credential: source.api_key.as_ref().and_then(|key| credential(&source.kind.auth, key.expose())),
            source: Source::Operator(source.reach.clone()),
            retry: source.retry.clone(),
        }
    }
}

/// Headers whose form configuration has checked.
pub(in crate::catalog) fn static_headers(headers: &[(String, String)]) -> Vec<(HeaderName, HeaderValue)> {
    headers.iter().filter_map(|(name, value)| header(name, value)).collect()
}

/// A header whose form configuration has checked.
fn header(name: &str, value: &str) -> Option<(HeaderName, HeaderValue)> {
    Some((HeaderName::from_bytes(name.as_bytes()).ok()?, HeaderValue::from_str(value).ok()?))
}

/// A provider's key as the header it travels in.
pub(crate) fn credential(auth: &Auth, key: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, mut value) = match auth {
        Auth::None => return None,
        Auth::Bearer => header(AUTHORIZATION.as_str(), zeroize::Zeroizing::new(format!("Bearer {key}")).as_str())?,
        Auth::Header(name) => header(name, key)?,
    };
    value.set_sensitive(true);
    Some((name, value))
}

impl Model {
    /// `sources` and `listed` are the same providers in the same order.
    fn build(definition: &config::Model, sources: &[&config::Provider], listed: &[Listed]) -> Self {
        let offers: Vec<Arc<Offer>> = sources
            .iter()
            .zip(listed)
            .filter(|(source, _)| is_ready(source))
            .filter_map(|(source, listed)| {
                let served = definition.served_by.get(&source.kind.name)?;
                Some(Arc::new(Offer::build(definition, served, &source.kind, &source.query, &listed.provider, None)))
            })
            .collect();
        let is_open_to_all = offers.iter().all(|offer| offer.provider.tenants.is_none());
        Self { definition: definition.clone(), offers: offers.into(), is_open_to_all }
    }
}

/// Whether calls may go to it: switched on, and with a key if its kind wants one (a call must never go out without).
fn is_ready(source: &config::Provider) -> bool {
    source.disabled.is_none() && (source.kind.auth == Auth::None || source.api_key.is_some())
}

impl Offer {
    pub(in crate::catalog) fn build(
        definition: &config::Model,
        served: &config::Served,
        kind: &config::Kind,
        query: &[(String, String)],
        provider: &Arc<Provider>,
        stamp: Option<Stamp>,
    ) -> Self {
        Self {
            provider: provider.clone(),
            model: definition.id.clone(),
            upstream_model: served.upstream_model.as_str().into(),
            targets: targets(&kind.paths, provider.base_url.as_deref(), query, &served.upstream_model),
            price: served.price.clone(),
            max_output_tokens: definition.max_output_tokens,
            stamp,
        }
    }
}

/// Where each operation goes.
pub(crate) fn targets(
    paths: &BTreeMap<Operation, String>,
    base_url: Option<&str>,
    query: &[(String, String)],
    upstream_model: &str,
) -> BTreeMap<Operation, Uri> {
    let Some(base_url) = base_url else {
        return paths.keys().map(|operation| (*operation, Uri::from_static("/"))).collect();
    };
    let target = |(operation, path): (&Operation, &String)| {
        let target = target(base_url, path, query, upstream_model);
        match target.parse() {
            Ok(uri) => Some((*operation, uri)),
            Err(error) => {
                log::error!("{target:?} is no URI ({error}): {operation} is off for {upstream_model}");
                None
            }
        }
    };
    paths.iter().filter_map(target).collect()
}

/// One URI as text; the model and the query percent-encoded.
fn target(base_url: &str, path: &str, query: &[(String, String)], upstream_model: &str) -> String {
    let path = path.trim_start_matches('/').replace("{model}", &percent_encode(upstream_model));
    let mut target = format!("{}/{path}", base_url.trim_end_matches('/'));
    for (nth, (name, value)) in query.iter().enumerate() {
        let separator = if nth == 0 { '?' } else { '&' };
        target.push(separator);
        target.push_str(&percent_encode(name));
        target.push('=');
        target.push_str(&percent_encode(value));
    }
    target
}

/// Leaves RFC 3986's unreserved characters, so that a name stays one path segment or one query value.
fn percent_encode(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => encoded.push(char::from(byte)),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}
