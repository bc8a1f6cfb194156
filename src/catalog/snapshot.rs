//! The immutable world a request is answered from: offerings (from TOML) and the directory (from the store).
//!
//! Built by the control half, sent to every worker as one `Arc`, never changed afterwards. A request finishes on the
//! snapshot it started with.

mod build;
pub(in crate::catalog) use build::static_headers;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use actix_web::http::Uri;
use actix_web::http::header::{HeaderName, HeaderValue};
use smol_str::SmolStr;

use super::chain::{Chain, providers_for};
use super::own::marks::Marks;
use super::own::{Own, Stamp};
use crate::config::{self, Price, RetryPolicy};
use crate::dialect::{Dialect, Quirks};
use crate::guard::Source;
use crate::ledger::entry::Billing;
use crate::seal::names::{Epoch, Ring};
use crate::terms::{KeyId, KindName, ModelId, Operation, ProviderName, TenantId};

/// The world at one moment. Two clones of an `Arc`.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Models, kinds and brokered providers.
    pub offerings: Arc<Offerings>,
    /// Tenants and virtual keys.
    pub directory: Arc<Directory>,
}

/// What TOML defines, ready for look-ups.
#[derive(Debug)]
pub struct Offerings {
    /// Models in the order of their ids.
    pub models: Vec<Arc<Model>>,
    /// Ids and aliases, each to its model.
    by_name: HashMap<String, Arc<Model>>,
    /// Brokered providers in natural order, the disabled ones too.
    pub providers: Vec<Listed>,
    /// By name: what tenants' own providers may be of.
    pub kinds: BTreeMap<KindName, Arc<config::Kind>>,
    /// Unix seconds at which these offerings were built: `created` of `GET /v1/models`.
    pub built_at: i64,
}

/// A brokered provider as the admin plane lists it.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The provider; its `credential` is `None` where no key was found.
    pub provider: Arc<Provider>,
    /// Why it takes no part.
    pub disabled: Option<config::Disabled>,
    /// The last four characters of its key.
    pub last4: Option<String>,
}

/// A model and the brokered offers for it.
#[derive(Debug)]
pub struct Model {
    /// What TOML says.
    pub definition: config::Model,
    /// The enabled brokered offers, in natural order of their providers. Shared by every chain that needs no more.
    pub offers: Chain,
    /// Whether no offer is kept for certain tenants, so that `offers` is everybody's chain.
    pub is_open_to_all: bool,
}

/// A named account at an upstream: everything an adapter needs that does not depend on the model. Two providers with equal
/// settings across a reload are the same `Arc`, so that their connections stay warm.
#[derive(PartialEq)]
pub struct Provider {
    /// Its name.
    pub name: ProviderName,
    /// Its kind.
    pub kind: KindName,
    /// Whose bill.
    pub billing: Billing,
    /// Only for these tenants.
    pub tenants: Option<Vec<TenantId>>,
    /// Its language.
    pub dialect: &'static dyn Dialect,
    /// What is peculiar about its kind.
    pub quirks: Arc<Quirks>,
    /// Where it is reached, without a trailing slash; `None` where the dialect is not remote.
    pub base_url: Option<String>,
    /// Static headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// The operator's key as the header it travels in, marked sensitive.
    pub credential: Option<(HeaderName, HeaderValue)>,
    /// Who wrote its URL, and which addresses it may reach.
    pub source: Source,
    /// Retries, time-outs, cooldown.
    pub retry: RetryPolicy,
}

/// One way to get an answer from one model: a provider and what is decided about the call.
#[derive(Debug)]
pub struct Offer {
    /// Who.
    pub provider: Arc<Provider>,
    /// The catalog's model.
    pub model: ModelId,
    /// The name it has there.
    pub upstream_model: SmolStr,
    /// Where each operation goes, the model and the query filled in. An operation that is missing cannot be done. Where the
    /// dialect is not remote, the URI is a mere mark.
    pub targets: BTreeMap<Operation, Uri>,
    /// What it costs.
    pub price: Arc<Price>,
    /// The longest answer, in tokens.
    pub max_output_tokens: Option<u64>,
    /// How it is paid with the tenant's own key, if it is.
    pub stamp: Option<Stamp>,
}

/// Who may ask: tenants and their virtual keys.
#[derive(Debug, Default)]
pub struct Directory {
    /// By id.
    pub tenants: HashMap<TenantId, Arc<Tenant>>,
    /// By the derived look-up value of the key (spec/security.md 1.2), never by the key.
    pub callers: HashMap<[u8; 32], Arc<Caller>>,
    /// Tenants' own providers, of those that have any.
    pub own: HashMap<TenantId, Arc<Own>>,
    /// How new their sealed keys have been, for as long as the tenant is there.
    pub marks: HashMap<TenantId, Arc<Marks>>,
}

/// Who pays.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// Its slug.
    pub id: TenantId,
    /// For people.
    pub name: String,
    /// May it use the operator's providers?
    pub brokered: bool,
    /// May brokered providers follow its own?
    pub broker_fallback: bool,
    /// A disabled tenant gets 403.
    pub enabled: bool,
    /// Whether it has providers of its own: if not, its requests cost nothing more.
    pub has_own: bool,
}

/// Who asks: an active virtual key and its tenant. Revoked keys are not in the directory.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Whose key.
    pub tenant: Arc<Tenant>,
    /// The key's id.
    pub key_id: KeyId,
    /// The look-up value, for the constant-time comparison after the look-up.
    pub lookup: [u8; 32],
    /// For people.
    pub name: String,
    /// Whom the key stands for.
    pub subject: SmolStr,
    /// The team, if any.
    pub team: Option<SmolStr>,
    /// Tags of every request made with it, sorted by name.
    pub tags: Vec<(String, String)>,
    /// Catalog model ids (aliases resolved when stored are matched too); `None`: all.
    pub allowed_models: Option<Vec<String>>,
    /// Unix seconds after which the key is refused.
    pub expires_at: Option<i64>,
    /// Requests per minute; stored, not yet enforced.
    pub rpm: Option<u32>,
    /// Tokens per minute; stored, not yet enforced.
    pub tpm: Option<u32>,
    /// Requests at a time; stored, not yet enforced.
    pub max_concurrency: Option<u32>,
    /// Cents per UTC calendar month; stored, not yet enforced.
    pub monthly_budget_cents: Option<u64>,
    /// What this gateway may spend while a request presents the key.
    pub grants: Vec<Grant>,
    /// Until when its running streams may go on; the same for every version of this row.
    pub standing: Arc<Standing>,
}

impl Tenant {
    /// A tenant of which nothing is said but its id: brokered, enabled, without providers of its own.
    pub fn bare(id: TenantId) -> Self {
        Self { id, name: String::new(), brokered: true, broker_fallback: false, enabled: true, has_own: false }
    }
}

impl Caller {
    /// A key of which nothing is said but whose it is and what tells it from others: no name, no tags, no limits, no end.
    pub fn bare(tenant: Arc<Tenant>, key_id: KeyId, lookup: [u8; 32]) -> Self {
        Self {
            tenant,
            key_id,
            lookup,
            name: String::new(),
            subject: SmolStr::default(),
            team: None,
            tags: Vec::new(),
            allowed_models: None,
            expires_at: None,
            rpm: None,
            tpm: None,
            max_concurrency: None,
            monthly_budget_cents: None,
            grants: Vec::new(),
            standing: Standing::until(None),
        }
    }
}

/// A GRANT blob and what it is bound to besides tenant, key and edge.
#[derive(Clone, PartialEq, Eq)]
pub struct Grant {
    /// The ring it opens.
    pub ring: Ring,
    /// In which epoch.
    pub epoch: Epoch,
    /// The blob.
    pub blob: Arc<[u8]>,
}

/// Until when a virtual key counts, as known now: what a running stream looks at now and then, because the snapshot it
/// started with never changes.
#[derive(Debug)]
pub struct Standing(AtomicI64);

/// What a caller's request for a model comes to: the model and the providers to try, at least one.
#[derive(Debug, Clone)]
pub struct Resolved {
    /// The model asked for, by id or alias.
    pub model: Arc<Model>,
    /// Who is tried, in order, whatever each can do ([`Offer::can_do`]).
    pub chain: Chain,
}

impl Snapshot {
    /// The model `caller` may use under that id or alias, with its chain. Nothing is allocated unless the chain is the
    /// tenant's alone.
    pub fn find(&self, caller: &Caller, model: &str) -> Option<Resolved> {
        let model = self.offerings.model(model)?;
        self.offered(caller, model)
    }

    /// Every model `caller` may use and has a provider for, in the order of their ids: `GET /v1/models`.
    pub fn models_for<'a>(&'a self, caller: &'a Caller) -> impl Iterator<Item = Resolved> + 'a {
        self.offerings.models.iter().filter_map(|model| self.offered(caller, model))
    }

    fn offered(&self, caller: &Caller, model: &Arc<Model>) -> Option<Resolved> {
        if !caller.may_use(&model.definition) {
            return None;
        }
        let own = if caller.tenant.has_own { self.directory.own.get(&caller.tenant.id) } else { None };
        let chain = own.and_then(|own| own.chain(model)).map_or_else(|| providers_for(&caller.tenant, model), Chain::clone);
        (!chain.is_empty()).then(|| Resolved { model: model.clone(), chain })
    }
}

impl Offerings {
    /// The model with that id or alias.
    pub fn model(&self, name: &str) -> Option<&Arc<Model>> {
        self.by_name.get(name)
    }
}

impl Offer {
    /// Whether its provider's dialect and kind can do `operation`.
    pub fn can_do(&self, operation: Operation) -> bool {
        self.targets.contains_key(&operation)
    }
}

impl Provider {
    /// Whether it is for everybody or for this tenant.
    pub fn serves(&self, tenant: &TenantId) -> bool {
        self.tenants.as_ref().is_none_or(|tenants| tenants.contains(tenant))
    }
}

impl Directory {
    /// Builds the look-ups.
    pub fn build(tenants: impl IntoIterator<Item = Arc<Tenant>>, callers: impl IntoIterator<Item = Arc<Caller>>) -> Self {
        Self {
            tenants: tenants.into_iter().map(|tenant| (tenant.id.clone(), tenant)).collect(),
            callers: callers.into_iter().map(|caller| (caller.lookup, caller)).collect(),
            own: HashMap::new(),
            marks: HashMap::new(),
        }
    }

    /// The caller of that look-up value. The value is derived, but compare it in constant time before trusting the answer.
    pub fn caller(&self, lookup: &[u8; 32]) -> Option<&Arc<Caller>> {
        self.callers.get(lookup)
    }
}

impl Caller {
    /// Whether its key may use the model: `allowed_models` names the id or an alias.
    pub fn may_use(&self, model: &config::Model) -> bool {
        let names = |allowed: &String| *allowed == *model.id || model.aliases.contains(allowed);
        self.allowed_models.as_ref().is_none_or(|allowed| allowed.iter().any(names))
    }
}

impl Standing {
    /// A key that counts until then, in Unix seconds, or for ever.
    pub fn until(end: Option<i64>) -> Arc<Self> {
        Arc::new(Self(AtomicI64::new(end.unwrap_or(i64::MAX))))
    }

    /// The end has moved.
    pub fn set(&self, end: Option<i64>) {
        self.0.store(end.unwrap_or(i64::MAX), Ordering::Relaxed);
    }

    /// It counts no more.
    pub fn end(&self) {
        self.0.store(i64::MIN, Ordering::Relaxed);
    }

    /// Whether it still counts. `now` is in Unix seconds.
    pub fn holds(&self, now: i64) -> bool {
        now < self.0.load(Ordering::Relaxed)
    }
}

impl fmt::Debug for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Grant({}, epoch {})", self.ring, self.epoch.0)
    }
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider").field("name", &self.name).field("kind", &self.kind).finish_non_exhaustive()
    }
}
