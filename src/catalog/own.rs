//! A tenant's own providers: accounts from the store, laid over the offerings of TOML, and the chains that come of it.
//!
//! Built when either of the two changes, so that a request looks its chain up and nothing more. Keys are sealed here and stay
//! so; what opens them is the gateway's.

pub mod marks;

use std::collections::HashMap;
use std::sync::Arc;

use super::chain::{Chain, merge, natural_order, providers_for};
use super::snapshot::{Model, Offer, Offerings, Provider, Tenant};
use crate::config::{Auth, Kind};
use crate::guard::{Denied, Origin, Policy, SelfListen, Source, check_url};
use crate::ledger::entry::Billing;
use crate::seal::names::{Epoch, Ring, Version};
use crate::seal::payload::Destination;
use crate::terms::{KindName, ModelId, ProviderName};
use marks::Marks;

/// A tenant's own account at a provider, as it is stored.
#[derive(Debug, PartialEq, Eq)]
pub struct Account {
    /// Its name.
    pub name: ProviderName,
    /// Its kind.
    pub kind: KindName,
    /// Where it is, if not where its kind is.
    pub base_url: Option<String>,
    /// Whether the tenant wants it used.
    pub enabled: bool,
    /// Its key; `None` for a kind that takes none.
    pub key: Option<Arc<SealedKey>>,
    /// The last four characters of that key.
    pub last4: Option<String>,
}

/// A provider key as a SECRET blob, and what it is bound to besides tenant and name.
#[derive(PartialEq, Eq)]
pub struct SealedKey {
    /// Its ring.
    pub ring: Ring,
    /// The ring's epoch when it was sealed.
    pub epoch: Epoch,
    /// Which of the ring's secrets it is.
    pub version: Version,
    /// The blob.
    pub blob: Vec<u8>,
}

/// What an offer needs to be paid with a tenant's own key. Without a key or a sound destination nothing is sent.
#[derive(Debug)]
pub struct Stamp {
    /// The key.
    pub key: Option<Arc<SealedKey>>,
    /// Where the request will go: it must be sealed in with the key.
    pub destination: Option<Destination>,
}

/// The own providers of one tenant.
#[derive(Debug, Default)]
pub struct Own {
    /// In natural order of their names, those that take no part too.
    pub providers: Vec<OwnProvider>,
    /// The whole chain of each model that one of them serves.
    chains: HashMap<ModelId, Chain>,
}

/// One of them.
#[derive(Debug)]
pub struct OwnProvider {
    /// As it is stored.
    pub account: Arc<Account>,
    /// As it is called; `None` where it takes no part.
    pub provider: Option<Arc<Provider>>,
    /// Why it takes no part.
    pub idle: Option<Idle>,
}

/// Why a tenant's own provider takes no part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// The tenant has switched it off.
    Disabled,
    /// Its kind is not configured any more.
    NoKind,
    /// Neither it nor its kind says where it is.
    Nowhere,
    /// Its sealed key is older than one that was there before: somebody has written it into the database by hand.
    RolledBack,
}

impl Own {
    /// Lays `accounts` over the offerings; those whose key is older than `marks` take no part. `before` lends its providers where
    /// nothing about them has changed, so that their connections stay warm.
    pub fn build(
        tenant: &Tenant,
        mut accounts: Vec<Arc<Account>>,
        offerings: &Offerings,
        private_upstreams: bool,
        marks: &Marks,
        before: Option<&Own>,
    ) -> Self {
        accounts.sort_by(|a, b| natural_order(&a.name, &b.name));
        let providers: Vec<OwnProvider> = accounts
            .into_iter()
            .map(|account| match ready(&account, offerings, marks) {
                Err(idle) => OwnProvider { account, provider: None, idle: Some(idle) },
                Ok(kind) => {
                    let built = Provider::own(tenant, &account, kind, private_upstreams);
                    let old = before
                        .and_then(|before| before.providers.iter().find_map(|old| old.provider.as_ref().filter(|old| ***old == built)));
                    let provider = old.map_or_else(|| Arc::new(built), Arc::clone);
                    OwnProvider { account, provider: Some(provider), idle: None }
                }
            })
            .collect();
        let chains =
            offerings.models.iter().filter_map(|model| Some((model.definition.id.clone(), chain(tenant, &providers, model, offerings)?)));
        let chains = chains.collect();
        Self { providers, chains }
    }

    /// The chain for a model, if one of these serves it; brokered providers are in it if the tenant asked for them.
    pub fn chain(&self, model: &Model) -> Option<&Chain> {
        self.chains.get(&model.definition.id)
    }

    /// The names of those whose key was brought back.
    pub fn rolled_back(&self) -> impl Iterator<Item = &ProviderName> {
        self.providers.iter().filter(|own| own.idle == Some(Idle::RolledBack)).map(|own| &own.account.name)
    }

    /// Whether this very provider is one of them.
    pub fn has(&self, provider: &Arc<Provider>) -> bool {
        self.providers.iter().any(|own| own.provider.as_ref().is_some_and(|own| Arc::ptr_eq(own, provider)))
    }
}

impl std::fmt::Debug for SealedKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SealedKey({}, version {}, epoch {})", self.ring, self.version.0, self.epoch.0)
    }
}

fn ready<'a>(account: &Account, offerings: &'a Offerings, marks: &Marks) -> Result<&'a Arc<Kind>, Idle> {
    if marks.is_passed(account) {
        return Err(Idle::RolledBack);
    }
    if !account.enabled {
        return Err(Idle::Disabled);
    }
    let kind = offerings.kinds.get(&account.kind).ok_or(Idle::NoKind)?;
    let is_somewhere = !kind.dialect.is_remote() || account.base_url.is_some() || kind.base_url.is_some();
    if is_somewhere { Ok(kind) } else { Err(Idle::Nowhere) }
}

/// The chain of a model that one of `providers` serves.
fn chain(tenant: &Tenant, providers: &[OwnProvider], model: &Model, offerings: &Offerings) -> Option<Chain> {
    let own: Vec<Arc<Offer>> = providers
        .iter()
        .filter_map(|own| {
            let provider = own.provider.as_ref()?;
            let kind = offerings.kinds.get(&provider.kind)?;
            let served = model.definition.served_by.get(&provider.kind)?;
            let stamp = stamp(own, provider, kind);
            Some(Arc::new(Offer::build(&model.definition, served, kind, &kind.query, provider, stamp)))
        })
        .collect();
    if own.is_empty() {
        return None;
    }
    let brokered = providers_for(tenant, model);
    Some(merge(&own, &brokered, tenant.broker_fallback, |offer| &offer.provider.name).into())
}

fn stamp(own: &OwnProvider, provider: &Provider, kind: &Kind) -> Option<Stamp> {
    if kind.auth == Auth::None || !kind.dialect.is_remote() {
        return None;
    }
    let destination = provider.base_url.as_deref().and_then(|url| origin(url, &provider.source).ok());
    Some(Stamp { key: own.account.key.clone(), destination: destination.as_ref().map(Destination::from) })
}

fn origin(url: &str, source: &Source) -> Result<Origin, Denied> {
    check_url(url, &Policy { source: source.clone(), self_listen: SelfListen::default() })
}

impl Provider {
    fn own(tenant: &Tenant, account: &Account, kind: &Kind, private_upstreams: bool) -> Self {
        let is_remote = kind.dialect.is_remote();
        let (base_url, source) = match &account.base_url {
            Some(url) => (Some(url.clone()), Source::TenantUrl { private_upstreams }),
            None => (kind.base_url.clone(), Source::Operator(kind.reach.clone())),
        };
        // A URL that is refused now, whoever let it in, is none: nothing is sent.
        let base_url = base_url.filter(|_| is_remote).filter(|url| match origin(url, &source) {
            Ok(_) => true,
            Err(denied) => {
                log::error!(
                    "the base URL of provider {} of tenant {} is refused, nothing is sent there: {denied}",
                    account.name,
                    tenant.id
                );
                false
            }
        });
        Self {
            name: account.name.clone(),
            kind: kind.name.clone(),
            billing: Billing::Byo,
            tenants: Some(vec![tenant.id.clone()]),
            dialect: kind.dialect,
            quirks: kind.quirks.clone(),
            base_url,
            headers: super::snapshot::static_headers(&kind.headers),
            credential: None,
            source,
            retry: kind.retry.clone(),
        }
    }
}

#[cfg(test)]
mod tests;
