//! A tenant's own providers, built from its accounts and the offerings, and the chains they are
//! part of.
//!
//! Rebuilt when accounts or offerings change, so that a request only looks its chain up.

pub mod high_water;

use std::collections::HashMap;
use std::sync::Arc;

use super::account::{Account, ByoAuth};
use super::caller::Tenant;
use super::chain::{merge, providers_for};
use super::offerings::{Model, Offerings};
use super::provider::{Chain, Offer, Provider, static_headers};
use crate::config::{Auth, Kind};
use crate::guard::{Denied, Origin, Policy, SelfListen, Source, check_url};
use crate::seal::payload::Destination;
use crate::terms::natural::natural_order;
use crate::terms::{Billing, ModelId, ProviderName};
use high_water::HighWaterMarks;

/// The own providers of one tenant.
#[derive(Debug, Default)]
pub struct TenantProviders {
    /// In natural order of their names, inactive ones included.
    pub providers: Vec<TenantProvider>,
    /// Complete chain of each model that one of them serves.
    chains: HashMap<ModelId, Chain>,
}

/// One provider of a tenant.
#[derive(Debug)]
pub struct TenantProvider {
    /// The stored account.
    pub account: Arc<Account>,
    /// The provider to call; `None` if inactive.
    pub provider: Option<Arc<Provider>>,
    /// Reason for being inactive, if it is.
    pub inactive: Option<Inactive>,
}

/// Reason why a tenant's own provider is inactive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inactive {
    /// The tenant has disabled it.
    Disabled,
    /// Its kind is no longer configured.
    UnknownKind,
    /// Neither the account nor its kind has a base URL.
    NoBaseUrl,
    /// Its sealed key is older than one seen before: the database was edited by hand or restored.
    RolledBack,
}

impl TenantProviders {
    /// Builds the providers of `accounts`; accounts whose key is older than `marks` become
    /// inactive. Providers that are unchanged since `before` are reused, so that their connections
    /// stay warm.
    pub fn build(
        tenant: &Tenant,
        mut accounts: Vec<Arc<Account>>,
        offerings: &Offerings,
        private_upstreams: bool,
        marks: &HighWaterMarks,
        before: Option<&TenantProviders>,
    ) -> Self {
        accounts.sort_by(|a, b| natural_order(&a.name, &b.name));
        let providers: Vec<TenantProvider> = accounts
            .into_iter()
            .map(|account| match active_kind(&account, offerings, marks) {
                Err(reason) => TenantProvider { account, provider: None, inactive: Some(reason) },
                Ok(kind) => {
                    let built = byo_provider(tenant, &account, kind, private_upstreams);
                    let old = before.and_then(|before| before.equal_to(&built));
                    let provider = old.map_or_else(|| Arc::new(built), Arc::clone);
                    TenantProvider { account, provider: Some(provider), inactive: None }
                }
            })
            .collect();
        let chains =
            offerings.models.iter().filter_map(|model| Some((model.definition.id.clone(), chain(tenant, &providers, model, offerings)?)));
        let chains = chains.collect();
        Self { providers, chains }
    }

    /// The chain of a model, if one of these providers serves it. Includes brokered offers if the
    /// tenant has set `broker_fallback`.
    pub fn chain(&self, model: &Model) -> Option<&Chain> {
        self.chains.get(&model.definition.id)
    }

    /// Names of the providers whose sealed key was rolled back.
    pub fn rolled_back(&self) -> impl Iterator<Item = &ProviderName> {
        self.providers.iter().filter(|own| own.inactive == Some(Inactive::RolledBack)).map(|own| &own.account.name)
    }

    /// Whether `provider`, by identity, is one of these.
    pub fn has(&self, provider: &Arc<Provider>) -> bool {
        self.providers.iter().any(|own| own.provider.as_ref().is_some_and(|own| Arc::ptr_eq(own, provider)))
    }

    fn equal_to(&self, provider: &Provider) -> Option<&Arc<Provider>> {
        self.providers.iter().find_map(|own| own.provider.as_ref().filter(|own| ***own == *provider))
    }
}

/// The kind of an active account, or the reason why the account is inactive.
fn active_kind<'a>(account: &Account, offerings: &'a Offerings, marks: &HighWaterMarks) -> Result<&'a Arc<Kind>, Inactive> {
    if marks.is_rolled_back(account) {
        return Err(Inactive::RolledBack);
    }
    if !account.enabled {
        return Err(Inactive::Disabled);
    }
    let kind = offerings.kinds.get(&account.kind).ok_or(Inactive::UnknownKind)?;
    let is_reachable = !kind.dialect.is_remote() || account.base_url.is_some() || kind.base_url.is_some();
    if is_reachable { Ok(kind) } else { Err(Inactive::NoBaseUrl) }
}

/// The chain of a model that one of `providers` serves.
fn chain(tenant: &Tenant, providers: &[TenantProvider], model: &Model, offerings: &Offerings) -> Option<Chain> {
    let own: Vec<Arc<Offer>> = providers
        .iter()
        .filter_map(|own| {
            let provider = own.provider.as_ref()?;
            let kind = offerings.kinds.get(&provider.kind)?;
            let served = model.definition.served_by.get(&provider.kind)?;
            let auth = byo_auth(own, provider, kind);
            Some(Arc::new(Offer::build(&model.definition, served, kind, &kind.query, provider, auth)))
        })
        .collect();
    if own.is_empty() {
        return None;
    }
    let brokered = providers_for(tenant, model);
    Some(merge(&own, &brokered, tenant.broker_fallback, |offer| &offer.provider.name).into())
}

fn byo_auth(own: &TenantProvider, provider: &Provider, kind: &Kind) -> Option<ByoAuth> {
    if kind.auth == Auth::None || !kind.dialect.is_remote() {
        return None;
    }
    let destination = provider.base_url.as_deref().and_then(|url| origin(url, &provider.source).ok());
    Some(ByoAuth { key: own.account.key.clone(), destination: destination.as_ref().map(Destination::from) })
}

fn origin(url: &str, source: &Source) -> Result<Origin, Denied> {
    check_url(url, &Policy { source: source.clone(), self_listen: SelfListen::default() })
}

fn byo_provider(tenant: &Tenant, account: &Account, kind: &Kind, private_upstreams: bool) -> Provider {
    let is_remote = kind.dialect.is_remote();
    let (base_url, source) = match &account.base_url {
        Some(url) => (Some(url.clone()), Source::TenantUrl { private_upstreams }),
        None => (kind.base_url.clone(), Source::Operator(kind.network.clone())),
    };
    // A URL that today's policy refuses is dropped, even if it was accepted when stored.
    let base_url = base_url.filter(|_| is_remote).filter(|url| match origin(url, &source) {
        Ok(_) => true,
        Err(denied) => {
            log::error!("base URL of provider {} of tenant {} is not allowed, nothing is sent to it: {denied}", account.name, tenant.id);
            false
        }
    });
    Provider {
        name: account.name.clone(),
        kind: kind.name.clone(),
        billing: Billing::Byo,
        tenants: Some(vec![tenant.id.clone()]),
        dialect: kind.dialect,
        quirks: kind.quirks.clone(),
        base_url,
        headers: static_headers(&kind.headers),
        credential: None,
        source,
        retry: kind.retry.clone(),
    }
}

#[cfg(test)]
mod tests;
