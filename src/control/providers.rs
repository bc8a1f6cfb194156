//! Operations on tenants' own providers. Their keys are sealed for the destinations they may be
//! sent to and never returned (spec/security.md 1.4, 1.5).

use std::sync::Arc;

use actix_web::http::header::HeaderName;
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::error::ControlError;
use super::store::changes::{Actor, Change, Mutation};
use super::store::providers::{self, ProviderRow};
use super::tenants::get_tenant;
use super::{Control, fields};
use crate::clock;
use crate::config::names;
use crate::config::{Auth, Kind};
use crate::guard::{Denied, Policy, Source, check_url};
use crate::seal::payload::{BadPayload, Destination, KeyPayload, Presentation};
use crate::secret::Secret;

/// Fields of a new or changed provider. A missing field is left as it is; `base_url: null` selects
/// that of the kind.
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

/// The row to write for a provider, and the payload to seal, if the key changes.
struct PlannedProvider {
    row: ProviderRow,
    payload: Option<KeyPayload>,
}

impl Control {
    /// Creates or changes a provider of `tenant`.
    ///
    /// # Errors
    /// If there is no master key, a value is invalid, a required key is missing, or the database
    /// fails.
    pub async fn put_provider(
        &self,
        actor: Actor,
        tenant: String,
        name: String,
        fields: ProviderFields,
    ) -> Result<ProviderRow, ControlError> {
        let sealing = self.sealing()?;
        if !names::is_name(&name) {
            return Err(ControlError::invalid("name", format!("{name:?} is not a valid provider name: {}", names::NAME_RULE)));
        }
        let (offerings, presented, policy) = (self.snapshot().offerings, actor.tenant_key.clone(), self.provider_policy());
        let now = clock::unix_seconds();
        self.mutate(actor, move |connection| {
            let owner = get_tenant(connection, &tenant)?;
            let root = sealing.root(connection, &owner, presented.as_ref())?;
            let before = providers::find(connection, &tenant, &name)?;
            let kind = fields.kind.as_deref().or(before.as_ref().map(|row| row.kind.as_str()));
            let kind = kind.ok_or_else(|| ControlError::invalid("kind", "kind is required; GET /admin/v1/catalog lists the kinds"))?;
            let unknown = || ControlError::invalid("kind", format!("unknown kind {kind:?}; GET /admin/v1/catalog lists the kinds"));
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

    /// Returns a provider of `tenant`.
    ///
    /// # Errors
    /// If there is no such provider, or the database fails.
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

    /// Reseals a provider's key for the current destination of its kind. The key itself stays the
    /// same.
    ///
    /// # Errors
    /// If there is no master key, there is no such provider or key, it does not open, or the
    /// database fails.
    pub async fn reseal_provider(&self, actor: Actor, tenant: String, name: String) -> Result<ProviderRow, ControlError> {
        let sealing = self.sealing()?;
        let (offerings, presented, policy) = (self.snapshot().offerings, actor.tenant_key.clone(), self.provider_policy());
        let now = clock::unix_seconds();
        self.mutate(actor, move |connection| {
            let owner = get_tenant(connection, &tenant)?;
            let root = sealing.root(connection, &owner, presented.as_ref())?;
            let missing = || ControlError::not_found("provider", name.as_str());
            let mut row = providers::find(connection, &tenant, &name)?.ok_or_else(missing)?;
            let gone = || conflict("unknown_kind", format!("its kind {:?} is no longer configured; change it to another kind", row.kind));
            let kind = Arc::clone(offerings.kinds.get(row.kind.as_str()).ok_or_else(gone)?);
            if row.secret.is_none() {
                return Err(conflict("no_key", "the provider has no key to reseal".to_owned()));
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

/// Validates changes of providers and derives the destination of their keys.
struct ProviderPolicy {
    /// Guard policy for URLs that tenants set.
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
        let is_same_destination = is_same_kind && before.as_ref().is_some_and(|row| row.base_url == base_url);
        let destination = self.destination(kind, base_url.as_deref());
        let takes_key = kind.auth != Auth::None && kind.dialect.is_remote();
        let has_key = before.as_ref().is_some_and(|row| row.secret.is_some());
        let payload = match (api_key, takes_key) {
            (Some(_), false) => return Err(ControlError::invalid("api_key", format!("kind {} has no key; omit api_key", kind.name))),
            (None, true) if !is_same_destination || !has_key => {
                // A refused URL is reported first.
                destination?;
                let message = if has_key { "api_key is required when kind or base_url changes" } else { "api_key is required" };
                return Err(ControlError::invalid("api_key", message));
            }
            (Some(key), true) => {
                Some(KeyPayload::new([destination?], presentation(&kind.auth)?, key).map_err(|error| bad_payload(&error))?)
            }
            (None, _) => {
                if kind.dialect.is_remote() {
                    destination?;
                }
                None
            }
        };
        if base_url.is_some() && !kind.dialect.is_remote() {
            return Err(ControlError::invalid("base_url", format!("kind {} has no remote endpoint; omit base_url", kind.name)));
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
            ..previous_key(before, takes_key)
        };
        Ok(PlannedProvider { row, payload })
    }

    /// Returns the only destination that a key of this provider may be sent to.
    fn destination(&self, kind: &Kind, base_url: Option<&str>) -> Result<Destination, ControlError> {
        let refused = |denied: Denied| ControlError::invalid("base_url", format!("base_url is refused: {denied}"));
        if let Some(url) = base_url {
            return check_url(url, &self.tenant_url).map(|origin| (&origin).into()).map_err(refused);
        }
        let missing = || ControlError::invalid("base_url", format!("base_url is required: kind {} has no default", kind.name));
        let url = kind.base_url.as_deref().ok_or_else(missing)?;
        let policy = Policy { source: Source::Operator(kind.network.clone()), self_listen: self.tenant_url.self_listen.clone() };
        check_url(url, &policy).map(|origin| (&origin).into()).map_err(refused)
    }
}

/// Returns whether `url` is the base URL of the kind.
fn is_of_kind(kind: &Kind, url: &str) -> bool {
    kind.base_url.as_deref().is_some_and(|of_kind| of_kind.trim_end_matches('/') == url.trim_end_matches('/'))
}

/// Returns the previous row for its sealed key, or a blank row if there is none or the kind has no
/// keys.
fn previous_key(before: Option<ProviderRow>, takes_key: bool) -> ProviderRow {
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
            name.map(Presentation::Header).map_err(|_| ControlError::invalid("kind", "the kind's auth header has an invalid name"))
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
