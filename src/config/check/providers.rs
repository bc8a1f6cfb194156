//! `[provider.NAME]`: the operator's accounts.

use std::sync::Arc;

use super::kinds::Kinds;
use super::secrets::{self, Found, Place};
use super::{did_you_mean, names, retry, wire};
use crate::config::toml::Section;
use crate::config::{Auth, Disabled, Environment, Kind, Provider};
use crate::secret::Secret;
use crate::terms::TenantId;

/// Reads the providers of one file into `providers`.
pub fn read(root: &mut Section<'_>, kinds: &Kinds, environment: &dyn Environment, providers: &mut Vec<Provider>) {
    for (name, mut section) in root.sections("provider") {
        names::check_name(&section, name, "provider");
        let is_taken = providers.iter().any(|known| *known.name == *name);
        match kind(&mut section, kinds) {
            _ if is_taken => {
                section.problem(
                    "",
                    "this provider is defined in another file already",
                    "keep one definition, or give this one another name",
                );
            }
            Some(kind) => {
                providers.push(provider(name, kind, &mut section, environment));
                section.done();
            }
            // Without its kind the rest cannot be judged.
            None => {}
        }
    }
}

fn kind<'a>(section: &mut Section<'_>, kinds: &'a Kinds) -> Option<&'a Arc<Kind>> {
    if !section.has("kind") {
        section.problem("kind", "names no kind", did_you_mean("", kinds.keys().map(|kind| kind.as_str())));
    }
    let name = section.text("kind")?;
    let kind = kinds.get(name);
    if kind.is_none() {
        section.problem("kind", format!("{name:?} is no kind"), did_you_mean(name, kinds.keys().map(|kind| kind.as_str())));
    }
    kind
}

fn provider(name: &str, kind: &Arc<Kind>, section: &mut Section<'_>, environment: &dyn Environment) -> Provider {
    let enabled = section.flag("enabled").unwrap_or(true);
    let (api_key, no_key) = api_key(section, kind, environment);
    let network = wire::network_access(section, &kind.network);
    Provider {
        name: name.into(),
        kind: kind.clone(),
        api_key,
        disabled: if enabled { no_key.map(Disabled::NoKey) } else { Some(Disabled::ByOperator) },
        tenants: tenants(section),
        base_url: base_url(section, kind, &network, enabled),
        headers: wire::headers(section, &kind.auth, &kind.headers),
        query: wire::query(section, &kind.query),
        network,
        retry: retry::read(section, &kind.retry),
    }
}

/// The key, or the place it is missing from.
fn api_key(section: &mut Section<'_>, kind: &Kind, environment: &dyn Environment) -> (Option<Arc<Secret>>, Option<String>) {
    const PLACE: Place = Place { env: "api_key_env", file: Some("api_key_file"), literal: "api_key", default: None };
    let is_named = section.has(PLACE.env) || section.has("api_key_file") || section.has(PLACE.literal);
    let found = PLACE.find(section, environment);
    if kind.auth == Auth::None {
        if is_named {
            section.problem(
                "",
                format!("the kind {} sends no key, but one is named", kind.name),
                "leave the key out, or give the kind an auth",
            );
        }
        return (None, None);
    }
    match found {
        Found::Key(key) => {
            if let Some((what, remedy)) = secrets::provider_key_fault(&key) {
                let place = if section.has(PLACE.env) { PLACE.env } else { "api_key_file" };
                section.key_problem(place, what, remedy);
            }
            (Some(Arc::new(key)), None)
        }
        Found::Absent(place) => (None, Some(place)),
        Found::Nowhere => {
            if !is_named {
                section.problem(PLACE.env, "names no key", "name the environment variable that holds it: api_key_env = \"…\"");
            }
            (None, None)
        }
    }
}

fn tenants(section: &mut Section<'_>) -> Option<Vec<TenantId>> {
    let tenants = section.texts("tenants")?;
    if tenants.is_empty() {
        section.problem("tenants", "names nobody", "name a tenant, leave it out for all of them, or write enabled = false");
    }
    for tenant in &tenants {
        if !names::is_name(tenant) {
            section.problem("tenants", format!("{tenant:?} is no tenant id"), names::NAME_RULE);
        }
    }
    Some(tenants.into_iter().map(TenantId::from).collect())
}

/// Its own base URL or its kind's, which must hold under its own network too.
fn base_url(section: &mut Section<'_>, kind: &Kind, network: &crate::guard::NetworkAccess, enabled: bool) -> Option<String> {
    let own = wire::base_url(section, network);
    if !kind.dialect.is_remote() {
        if own.is_some() {
            section.problem("base_url", format!("the dialect {} calls nobody", kind.dialect.name()), "leave it out");
        }
        return None;
    }
    if let (None, Some(inherited)) = (&own, &kind.base_url)
        && *network != kind.network
    {
        wire::check_base_url(section, inherited, network);
    }
    let base_url = own.or_else(|| kind.base_url.clone());
    if base_url.is_none() && enabled {
        let remedy = "add base_url = \"https://…\" here or to the kind, or write enabled = false";
        section.problem("base_url", format!("neither the provider nor its kind {} has one", kind.name), remedy);
    }
    base_url
}
