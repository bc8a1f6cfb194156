//! What can be done with a tenant's own providers. Their keys come in here, are sealed for the places they may be sent to,
//! and never go out again (spec/security.md 1.4, 1.5).

use std::sync::Arc;

use actix_web::http::header::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::error::ControlError;
use super::store::changes::{Actor, Change, Mutation};
use super::store::providers::{self, ProviderRow};
use super::tenants::get_tenant;
use super::{Control, fields, now_ms};
use crate::config::check::names;
use crate::config::{Auth, Kind};
use crate::guard::{Denied, Policy, Source, check_url};
use crate::seal::payload::{BadPayload, Destination, Payload, Presentation};
use crate::secret::Secret;

/// What is said about a provider. A field that is missing is left as it is; `base_url: null` is the kind's.
#[derive(Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
#[allow(missing_docs, reason = "the fields of a provider (DESIGN.md section 8)")]
pub struct ProviderFields {
    pub kind: Option<String>,
    #[serde(default, deserialize_with = "secret")]
    #[schemars(with = "Option<String>")]
    pub api_key: Option<Secret>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub base_url: Option<Option<String>>,
    pub enabled: Option<bool>,
}

/// A provider as it shall be, and what is to be sealed for it.
struct PlannedProvider {
    row: ProviderRow,
    payload: Option<Payload>,
}

impl Control {
    /// Writes a provider of `tenant`, new or changed.
    ///
    /// # Errors
    /// If nothing can be sealed here, a value is bad, its key is needed and not there, or the database fails.
    pub async fn put_provider(
        &self,
        actor: Actor,
        tenant: String,
        name: String,
        fields: ProviderFields,
    ) -> Result<ProviderRow, ControlError> {
        let sealing = self.sealing()?;
        if !names::is_name(&name) {
            return Err(ControlError::invalid("name", format!("{name:?} cannot name a provider: {}", names::NAME_RULE)));
        }
        let (offerings, presented, policy) = (self.snapshot().offerings, actor.tenant_key.clone(), self.provider_policy());
        let now = now_ms() / 1_000;
        self.mutate(actor, move |connection| {
            let owner = get_tenant(connection, &tenant)?;
            let root = sealing.root(connection, &owner, presented.as_ref())?;
            let before = providers::find(connection, &tenant, &name)?;
            let kind = fields.kind.as_deref().or(before.as_ref().map(|row| row.kind.as_str()));
            let kind = kind.ok_or_else(|| ControlError::invalid("kind", "kind is missing; GET /admin/v1/catalog lists the kinds"))?;
            let unknown = || ControlError::invalid("kind", format!("there is no kind {kind:?}; GET /admin/v1/catalog lists them"));
            let kind = Arc::clone(offerings.kinds.get(kind).ok_or_else(unknown)?);
            let PlannedProvider { mut row, payload } = policy.plan(&kind, before, tenant, name, fields, now)?;
            if let Some(payload) = payload {
                sealing.seal_key(connection, &root, &mut row, &payload)?;
            }
            providers::put(connection, &row)?;
            Ok(done(row, "provider.put"))
        })
        .await
    }

    /// A provider of `tenant`.
    ///
    /// # Errors
    /// If there is none such, or the database fails.
    pub async fn provider(&self, tenant: String, name: String) -> Result<ProviderRow, ControlError> {
        self.read(move |connection| {
            get_tenant(connection, &tenant)?;
            providers::find(connection, &tenant, &name)?.ok_or_else(|| ControlError::not_found("provider", name))
        })
        .await
    }

    /// Removes a provider and its key.
    ///
    /// # Errors
    /// As [`provider`](Self::provider).
    pub async fn delete_provider(&self, actor: Actor, tenant: String, name: String) -> Result<ProviderRow, ControlError> {
        self.mutate(actor, move |connection| {
            get_tenant(connection, &tenant)?;
            let row = providers::find(connection, &tenant, &name)?.ok_or_else(|| ControlError::not_found("provider", name.as_str()))?;
            providers::delete(connection, &tenant, &name)?;
            Ok(done(row, "provider.delete"))
        })
        .await
    }

    /// Seals a provider's key for where its kind is now. The key stays the same and is not shown.
    ///
    /// # Errors
    /// If nothing can be sealed here, there is no such provider or key, it does not open, or the database fails.
    pub async fn reseal_provider(&self, actor: Actor, tenant: String, name: String) -> Result<ProviderRow, ControlError> {
        let sealing = self.sealing()?;
        let (offerings, presented, policy) = (self.snapshot().offerings, actor.tenant_key.clone(), self.provider_policy());
        let now = now_ms() / 1_000;
        self.mutate(actor, move |connection| {
            let owner = get_tenant(connection, &tenant)?;
            let root = sealing.root(connection, &owner, presented.as_ref())?;
            let missing = || ControlError::not_found("provider", name.as_str());
            let mut row = providers::find(connection, &tenant, &name)?.ok_or_else(missing)?;
            let gone = || conflict("unknown_kind", format!("its kind {:?} is not configured any more; write it with another", row.kind));
            let kind = Arc::clone(offerings.kinds.get(row.kind.as_str()).ok_or_else(gone)?);
            if row.secret.is_none() {
                return Err(conflict("no_key", "it has no key to seal".to_owned()));
            }
            let destination = policy.destination(&kind, row.base_url.as_deref())?;
            let payload = sealing.open_key(&root, &row)?.redirected([destination]).map_err(|error| bad_payload(&error))?;
            sealing.seal_key(connection, &root, &mut row, &payload)?;
            row.updated_at = now;
            providers::put(connection, &row)?;
            Ok(done(row, "provider.reseal"))
        })
        .await
    }

    fn provider_policy(&self) -> ProviderPolicy {
        ProviderPolicy {
            tenant_url: Policy {
                source: Source::TenantUrl { private_upstreams: self.private_upstreams },
                self_listen: self.self_listen.clone(),
            },
        }
    }
}

/// Decides whether a provider may be as it is wanted.
struct ProviderPolicy {
    /// What holds for a URL that a tenant wrote.
    tenant_url: Policy,
}

impl ProviderPolicy {
    fn plan(
        &self,
        kind: &Kind,
        before: Option<ProviderRow>,
        tenant: String,
        name: String,
        fields: ProviderFields,
        now: i64,
    ) -> Result<PlannedProvider, ControlError> {
        let ProviderFields { api_key, base_url, enabled, .. } = fields;
        let is_same_kind = before.as_ref().is_some_and(|row| row.kind == *kind.name);
        let kept = before.as_ref().filter(|_| is_same_kind).and_then(|row| row.base_url.clone());
        let base_url = base_url.unwrap_or(kept).filter(|url| !is_of_kind(kind, url));
        let is_same_place = is_same_kind && before.as_ref().is_some_and(|row| row.base_url == base_url);
        let destination = self.destination(kind, base_url.as_deref());
        let takes_key = kind.auth != Auth::None && kind.dialect.is_remote();
        let has_key = before.as_ref().is_some_and(|row| row.secret.is_some());
        let payload = match (api_key, takes_key) {
            (Some(_), false) => return Err(ControlError::invalid("api_key", format!("the kind {} takes no key", kind.name))),
            (None, true) if !is_same_place || !has_key => {
                // A URL that is refused is the greater trouble.
                destination?;
                let what = if has_key { "with another kind or base_url the key has to be given again" } else { "api_key is missing" };
                return Err(ControlError::invalid("api_key", what));
            }
            (Some(key), true) => Some(Payload::new([destination?], presentation(&kind.auth)?, key).map_err(|error| bad_payload(&error))?),
            (None, _) => {
                if kind.dialect.is_remote() {
                    destination?;
                }
                None
            }
        };
        if base_url.is_some() && !kind.dialect.is_remote() {
            return Err(ControlError::invalid("base_url", format!("the kind {} is nowhere else than here; leave it out", kind.name)));
        }
        let created_at = before.as_ref().map_or(now, |row| row.created_at);
        let enabled = enabled.or(before.as_ref().map(|row| row.enabled)).unwrap_or(true);
        let row = ProviderRow {
            tenant,
            name,
            kind: kind.name.to_string(),
            base_url,
            enabled,
            created_at,
            updated_at: now,
            ..kept_key(before, takes_key)
        };
        Ok(PlannedProvider { row, payload })
    }

    /// The one place a key of this kind may be sent to.
    fn destination(&self, kind: &Kind, base_url: Option<&str>) -> Result<Destination, ControlError> {
        let refused = |denied: Denied| ControlError::invalid("base_url", format!("base_url is refused: {denied}"));
        if let Some(url) = base_url {
            return check_url(url, &self.tenant_url).map(|origin| (&origin).into()).map_err(refused);
        }
        let missing = || ControlError::invalid("base_url", format!("base_url is missing: the kind {} has none of its own", kind.name));
        let url = kind.base_url.as_deref().ok_or_else(missing)?;
        let policy = Policy { source: Source::Operator(kind.reach.clone()), self_listen: self.tenant_url.self_listen.clone() };
        check_url(url, &policy).map(|origin| (&origin).into()).map_err(refused)
    }
}

/// Whether a tenant has written out where its kind is anyway.
fn is_of_kind(kind: &Kind, url: &str) -> bool {
    kind.base_url.as_deref().is_some_and(|of_kind| of_kind.trim_end_matches('/') == url.trim_end_matches('/'))
}

/// A row with the key there was and nothing else; a kind that takes no key keeps none.
fn kept_key(before: Option<ProviderRow>, takes_key: bool) -> ProviderRow {
    let blank = ProviderRow {
        tenant: String::new(),
        name: String::new(),
        kind: String::new(),
        base_url: None,
        enabled: true,
        ring: crate::seal::Ring::main().as_str().to_owned(),
        version: 0,
        epoch: 0,
        secret: None,
        last4: None,
        created_at: 0,
        updated_at: 0,
    };
    before.filter(|_| takes_key).unwrap_or(blank)
}

fn presentation(auth: &Auth) -> Result<Presentation, ControlError> {
    match auth {
        Auth::Header(name) => {
            let name = HeaderName::from_bytes(name.as_bytes());
            name.map(Presentation::Header).map_err(|_| ControlError::invalid("kind", "the kind's auth header has no valid name"))
        }
        Auth::Bearer | Auth::None => Ok(Presentation::Bearer),
    }
}

fn bad_payload(error: &BadPayload) -> ControlError {
    ControlError::invalid("api_key", error.to_string())
}

fn conflict(code: &'static str, message: String) -> ControlError {
    ControlError::Conflict { code, message }
}

fn done(row: ProviderRow, action: &'static str) -> Mutation<ProviderRow> {
    let (target, tenant) = (format!("{}/{}", row.tenant, row.name), row.tenant.as_str().into());
    Mutation { answer: row, action, target, changes: vec![Change::Tenant(tenant)] }
}

fn secret<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Secret>, D::Error> {
    Ok(Option::<String>::deserialize(deserializer)?.map(Secret::new))
}
