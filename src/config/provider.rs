//! `[provider.NAME]`: the operator's accounts.

use std::sync::Arc;

use super::diagnostics::did_you_mean;
use super::endpoint::{self, Auth};
use super::environment::Environment;
use super::kind::{Kind, Kinds};
use super::names;
use super::retry::{self, RetryPolicy};
use super::secret_source::{self, Found, SecretSource};
use super::section::Section;
use crate::guard::NetworkAccess;
use crate::secret::Secret;
use crate::terms::{ProviderName, TenantId};

/// A brokered account of a kind.
#[derive(Debug)]
pub struct ProviderSettings {
    /// Name. Natural order of names is priority.
    pub name: ProviderName,
    /// Kind.
    pub kind: Arc<Kind>,
    /// Operator's key; `None` with `auth = "none"` or if it is missing.
    pub api_key: Option<Arc<Secret>>,
    /// Reason the provider is inactive; `None`: it is active.
    pub disabled: Option<Disabled>,
    /// Tenants that may use it; `None`: all.
    pub tenants: Option<Vec<TenantId>>,
    /// Base URL of the provider, or else of its kind.
    pub base_url: Option<String>,
    /// Headers of the kind, overridden by the provider's.
    pub headers: Vec<(String, String)>,
    /// Query of the kind, overridden by the provider's.
    pub query: Vec<(String, String)>,
    /// Addresses it may connect to.
    pub network: NetworkAccess,
    /// Retry settings of the kind, overridden by the provider's.
    pub retry: RetryPolicy,
}

/// Reason a provider is inactive.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Disabled {
    /// `enabled = false`
    ByOperator,
    /// This variable (`api_key_env`) is unset or empty, or this file (`api_key_file`) does not exist.
    NoKey(String),
}

/// Reads the providers of one file into `providers`.
pub(super) fn read(root: &mut Section<'_>, kinds: &Kinds, environment: &dyn Environment, providers: &mut Vec<ProviderSettings>) {
    for (name, mut section) in root.sections("provider") {
        names::check_name(&section, name, "provider");
        let is_taken = providers.iter().any(|known| *known.name == *name);
        match kind(&mut section, kinds) {
            _ if is_taken => {
                section.problem("", "this provider is already defined in another file", "keep one definition or rename this one");
            }
            Some(kind) => {
                providers.push(provider(name, kind, &mut section, environment));
                section.done();
            }
            // Without its kind the rest cannot be checked.
            None => {}
        }
    }
}

fn kind<'a>(section: &mut Section<'_>, kinds: &'a Kinds) -> Option<&'a Arc<Kind>> {
    if !section.has("kind") {
        section.problem("kind", "is missing", did_you_mean("", kinds.keys().map(|kind| kind.as_str())));
    }
    let name = section.text("kind")?;
    let kind = kinds.get(name);
    if kind.is_none() {
        section.problem("kind", format!("{name:?} is not a kind"), did_you_mean(name, kinds.keys().map(|kind| kind.as_str())));
    }
    kind
}

fn provider(name: &str, kind: &Arc<Kind>, section: &mut Section<'_>, environment: &dyn Environment) -> ProviderSettings {
    let enabled = section.flag("enabled").unwrap_or(true);
    let (api_key, no_key) = api_key(section, kind, environment);
    let network = endpoint::network_access(section, &kind.network);
    ProviderSettings {
        name: name.into(),
        kind: kind.clone(),
        api_key,
        disabled: if enabled { no_key.map(Disabled::NoKey) } else { Some(Disabled::ByOperator) },
        tenants: tenants(section),
        base_url: base_url(section, kind, &network, enabled),
        headers: endpoint::headers(section, &kind.auth, &kind.headers),
        query: endpoint::query(section, &kind.query),
        network,
        retry: retry::read(section, &kind.retry),
    }
}

/// Returns the key, or the name of the variable or file it is missing from.
fn api_key(section: &mut Section<'_>, kind: &Kind, environment: &dyn Environment) -> (Option<Arc<Secret>>, Option<String>) {
    const SOURCE: SecretSource = SecretSource { env: "api_key_env", file: Some("api_key_file"), literal: "api_key", default: None };
    let is_named = section.has(SOURCE.env) || section.has("api_key_file") || section.has(SOURCE.literal);
    let found = SOURCE.find(section, environment);
    if kind.auth == Auth::None {
        if is_named {
            section.problem("", format!("the kind {} sends no key, but one is named", kind.name), "remove the key or set auth on the kind");
        }
        return (None, None);
    }
    match found {
        Found::Secret(key) => {
            if let Some((what, remedy)) = secret_source::provider_key_fault(&key) {
                let source = if section.has(SOURCE.env) { SOURCE.env } else { "api_key_file" };
                section.key_problem(source, what, remedy);
            }
            (Some(Arc::new(key)), None)
        }
        Found::Missing(name) => (None, Some(name)),
        Found::Nothing => {
            if !is_named {
                section.problem(SOURCE.env, "is missing", "name the environment variable that holds the key: api_key_env = \"…\"");
            }
            (None, None)
        }
    }
}

fn tenants(section: &mut Section<'_>) -> Option<Vec<TenantId>> {
    let tenants = section.texts("tenants")?;
    if tenants.is_empty() {
        section.problem("tenants", "is empty", "name a tenant, remove it to allow all, or write enabled = false");
    }
    for tenant in &tenants {
        if !names::is_name(tenant) {
            section.problem("tenants", format!("{tenant:?} is not a tenant id"), names::NAME_RULE);
        }
    }
    Some(tenants.into_iter().map(TenantId::from).collect())
}

/// Returns its own base URL or its kind's, which must be valid under the provider's own network access.
fn base_url(section: &mut Section<'_>, kind: &Kind, network: &NetworkAccess, enabled: bool) -> Option<String> {
    let own = endpoint::base_url(section, network);
    if !kind.dialect.is_remote() {
        if own.is_some() {
            section.problem("base_url", format!("the dialect {} makes no calls", kind.dialect.name()), "remove base_url");
        }
        return None;
    }
    if let (None, Some(inherited)) = (&own, &kind.base_url)
        && *network != kind.network
    {
        endpoint::check_base_url(section, inherited, network);
    }
    let base_url = own.or_else(|| kind.base_url.clone());
    if base_url.is_none() && enabled {
        let remedy = "add base_url = \"https://…\" here or to the kind, or write enabled = false";
        section.problem("base_url", format!("neither the provider nor its kind {} has one", kind.name), remedy);
    }
    base_url
}
