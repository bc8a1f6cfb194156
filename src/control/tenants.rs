//! Operations on tenants and on tenant keys.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use schemars::JsonSchema;
use serde::Deserialize;

use super::error::ControlError;
use super::sealing::{CUSTODY_TENANT, IssuedTenantKey};
use super::store::changes::{Actor, Change, Mutation};
use super::store::connection::AnyConnection;
use super::store::roots::{self, TenantKeyRow};
use super::store::tenants::{self, TenantRow};
use super::{Control, fields};
use crate::clock;
use crate::seal::blob::is_key_blob;
use crate::seal::context::BlobType;

/// Fields of a new tenant.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub struct NewTenant {
    /// 1 to 64 characters of a-z, 0-9 and -.
    pub id: String,
    /// Display name; defaults to the id.
    pub name: Option<String>,
    /// Default true.
    pub brokered: Option<bool>,
    /// Default false.
    pub broker_fallback: Option<bool>,
    /// `operator` (default) or `tenant`.
    pub custody: Option<String>,
    /// With custody `tenant`: the public part of a tenant key that was created on the tenant's
    /// machine.
    pub local_key: Option<LocalKey>,
    /// Default true.
    pub enabled: Option<bool>,
}

/// Public part of a tenant key created on the tenant's machine, with the wrapped root.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub struct LocalKey {
    /// `tk_` and 32 hexadecimal digits.
    pub id: String,
    /// The lookup value derived from the key, in base64.
    pub lookup: String,
    /// The last four characters of the key, for display.
    pub last4: String,
    /// The root wrapped with that key, a ROOT blob in base64.
    pub root: String,
}

/// Changed fields of a tenant; missing fields are left as they are.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
#[allow(missing_docs, reason = "the fields of a tenant (DESIGN.md section 8)")]
pub struct TenantChange {
    pub name: Option<String>,
    pub brokered: Option<bool>,
    pub broker_fallback: Option<bool>,
    pub enabled: Option<bool>,
}

/// A newly created tenant.
#[derive(Debug)]
pub struct CreatedTenant {
    /// Its row.
    pub row: TenantRow,
    /// Its tenant key, with custody `tenant`; can be shown only now.
    pub tenant_key: Option<IssuedTenantKey>,
}

/// A tenant key, and the root that it wraps as a ROOT blob.
type LocalTenantKey = (TenantKeyRow, Vec<u8>);

impl Control {
    /// Creates a tenant, and its root if there is a master key.
    ///
    /// # Errors
    /// If a value is invalid, the id is taken, or the database fails.
    pub async fn create_tenant(&self, actor: Actor, new: NewTenant) -> Result<CreatedTenant, ControlError> {
        let now = clock::unix_seconds();
        let (row, local) = new.check(now)?;
        if row.custody == CUSTODY_TENANT && self.sealing.is_none() {
            return Err(ControlError::SealingUnavailable);
        }
        let sealing = self.sealing.clone();
        self.mutate(actor, move |connection| {
            if tenants::find(connection, &row.id)?.is_some() {
                return Err(ControlError::Exists { what: "tenant", id: row.id });
            }
            tenants::insert(connection, &row)?;
            let tenant_key = match (sealing, local) {
                (None, _) => None,
                (Some(sealing), None) => sealing.create_root(connection, &row)?,
                (Some(sealing), Some((key, root))) => {
                    if roots::has_tenant_key(connection, &key)? {
                        return Err(ControlError::Exists { what: "tenant key", id: key.id });
                    }
                    sealing.insert_tenant_key(connection, &key, root)?;
                    None
                }
            };
            let Mutation { answer: row, action, target, changes } = done(row, "tenant.create");
            Ok(Mutation { answer: CreatedTenant { row, tenant_key }, action, target, changes })
        })
        .await
    }

    /// Returns the tenant keys of a tenant.
    ///
    /// # Errors
    /// If there is no such tenant, or the database fails.
    pub async fn tenant_keys(&self, id: String) -> Result<Vec<TenantKeyRow>, ControlError> {
        self.read(move |connection| {
            get_tenant(connection, &id)?;
            Ok(roots::tenant_keys_of(connection, &id)?)
        })
        .await
    }

    /// Creates another tenant key. The request must carry an existing one.
    ///
    /// # Errors
    /// If the custody is not `tenant`, the presented key does not open the root, or the database
    /// fails.
    pub async fn create_tenant_key(&self, actor: Actor, id: String) -> Result<IssuedTenantKey, ControlError> {
        let sealing = self.sealing()?;
        let presented = actor.tenant_key.clone();
        self.mutate(actor, move |connection| {
            let tenant = tenant_with_custody(connection, &id)?;
            let root = sealing.root(connection, &tenant, presented.as_ref())?;
            let issued = sealing.add_tenant_key(connection, &tenant, &root)?;
            let target = format!("{id}/{}", issued.row.id);
            Ok(Mutation { answer: issued, action: "tenant_key.create", target, changes: Vec::new() })
        })
        .await
    }

    /// Deletes a tenant key. The request must carry a valid one.
    ///
    /// # Errors
    /// As [`create_tenant_key`](Self::create_tenant_key), or if there is no such key or it is the
    /// last one.
    pub async fn delete_tenant_key(&self, actor: Actor, id: String, key: String) -> Result<TenantKeyRow, ControlError> {
        let sealing = self.sealing()?;
        let presented = actor.tenant_key.clone();
        self.mutate(actor, move |connection| {
            let tenant = tenant_with_custody(connection, &id)?;
            sealing.root(connection, &tenant, presented.as_ref())?;
            let row = sealing.remove_tenant_key(connection, &tenant, &key)?;
            Ok(Mutation { target: format!("{id}/{}", row.id), answer: row, action: "tenant_key.delete", changes: Vec::new() })
        })
        .await
    }

    /// Moves a tenant to the next epoch, after a virtual key, an edge key or a database dump has
    /// leaked. Reseals its provider keys; virtual keys keep working.
    ///
    /// # Errors
    /// If there is no master key, the tenant's root does not open, or the database fails.
    pub async fn advance_epoch(&self, actor: Actor, id: String) -> Result<i32, ControlError> {
        let sealing = self.sealing()?;
        let presented = actor.tenant_key.clone();
        let epoch = self
            .mutate(actor, move |connection| {
                let tenant = get_tenant(connection, &id)?;
                let root = sealing.root(connection, &tenant, presented.as_ref())?;
                let epoch = sealing.advance_epoch(connection, &tenant, &root)?;
                let changes = vec![Change::Tenant(id.as_str().into())];
                Ok(Mutation { answer: epoch, action: "tenant.epoch", target: id, changes })
            })
            .await?;
        let store = self.store.clone();
        super::blocking::blocking(move || store.forget_deleted()).await??;
        Ok(epoch)
    }

    /// Returns one page of tenants.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tenants(&self, after: Option<String>, limit: usize) -> Result<Vec<TenantRow>, ControlError> {
        self.read(move |connection| Ok(tenants::page(connection, after.as_deref(), i64::try_from(limit).unwrap_or(i64::MAX))?)).await
    }

    /// Returns the tenant with this id.
    ///
    /// # Errors
    /// If there is no such tenant, or the database fails.
    pub async fn tenant(&self, id: String) -> Result<TenantRow, ControlError> {
        self.read(move |connection| tenants::find(connection, &id)?.ok_or_else(|| ControlError::not_found("tenant", id))).await
    }

    /// Changes a tenant.
    ///
    /// # Errors
    /// If a value is invalid, there is no such tenant, or the database fails.
    pub async fn change_tenant(&self, actor: Actor, id: String, change: TenantChange) -> Result<TenantRow, ControlError> {
        let name = change.name.map(|name| fields::label("name", name)).transpose()?;
        self.mutate(actor, move |connection| {
            let Some(mut row) = tenants::find(connection, &id)? else { return Err(ControlError::not_found("tenant", id)) };
            row.name = name.unwrap_or(row.name);
            row.brokered = change.brokered.unwrap_or(row.brokered);
            row.broker_fallback = change.broker_fallback.unwrap_or(row.broker_fallback);
            row.enabled = change.enabled.unwrap_or(row.enabled);
            tenants::update(connection, &row)?;
            Ok(done(row, "tenant.update"))
        })
        .await
    }

    /// Deletes a tenant and its keys. Its ledger entries stay.
    ///
    /// # Errors
    /// If there is no such tenant, or the database fails.
    pub async fn delete_tenant(&self, actor: Actor, id: String) -> Result<TenantRow, ControlError> {
        self.mutate(actor, move |connection| {
            let Some(row) = tenants::find(connection, &id)? else { return Err(ControlError::not_found("tenant", id)) };
            tenants::delete(connection, &id)?;
            Ok(done(row, "tenant.delete"))
        })
        .await
    }
}

impl NewTenant {
    /// Validates the fields. Returns the row, and the tenant key if it was created elsewhere.
    fn check(self, created_at: i64) -> Result<(TenantRow, Option<LocalTenantKey>), ControlError> {
        let id = fields::slug("id", self.id)?;
        let name = self.name.map_or_else(|| Ok(id.clone()), |name| fields::label("name", name))?;
        let custody = self.custody.unwrap_or_else(|| "operator".to_owned());
        if custody != "operator" && custody != CUSTODY_TENANT {
            return Err(ControlError::invalid("custody", "custody must be \"operator\" or \"tenant\""));
        }
        if self.local_key.is_some() && custody != CUSTODY_TENANT {
            return Err(ControlError::invalid("local_key", "local_key requires custody \"tenant\""));
        }
        let local = self.local_key.map(|local| local.check(&id, created_at)).transpose()?;
        let row = TenantRow {
            id,
            name,
            brokered: self.brokered.unwrap_or(true),
            broker_fallback: self.broker_fallback.unwrap_or(false),
            custody,
            enabled: self.enabled.unwrap_or(true),
            created_at,
        };
        Ok((row, local))
    }
}

impl LocalKey {
    fn check(self, tenant: &str, created_at: i64) -> Result<LocalTenantKey, ControlError> {
        let digits = self.id.strip_prefix("tk_").unwrap_or_default();
        if digits.len() != 32 || !digits.bytes().all(|digit| digit.is_ascii_hexdigit() && !digit.is_ascii_uppercase()) {
            return Err(ControlError::invalid("local_key.id", "local_key.id must be tk_ and 32 hexadecimal digits"));
        }
        if self.last4.len() != 4 || !self.last4.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
            return Err(ControlError::invalid("local_key.last4", "local_key.last4 must be the last four characters of the key"));
        }
        let lookup = BASE64.decode(self.lookup).ok().filter(|lookup| lookup.len() == 32);
        let lookup = lookup.ok_or_else(|| ControlError::invalid("local_key.lookup", "local_key.lookup must be 32 bytes in base64"))?;
        let root = BASE64.decode(self.root).ok().filter(|root| is_key_blob(root, BlobType::Root));
        let root = root.ok_or_else(|| ControlError::invalid("local_key.root", "local_key.root must be a ROOT blob in base64"))?;
        Ok((TenantKeyRow { id: self.id, tenant: tenant.to_owned(), lookup, last4: self.last4, created_at }, root))
    }
}

/// Returns the tenant with this id.
///
/// # Errors
/// If there is no such tenant, or the database fails.
pub(super) fn get_tenant(connection: &mut AnyConnection, id: &str) -> Result<TenantRow, ControlError> {
    tenants::find(connection, id)?.ok_or_else(|| ControlError::not_found("tenant", id))
}

fn tenant_with_custody(connection: &mut AnyConnection, id: &str) -> Result<TenantRow, ControlError> {
    let tenant = get_tenant(connection, id)?;
    if tenant.custody == CUSTODY_TENANT {
        return Ok(tenant);
    }
    let message = "only tenants with custody \"tenant\" have tenant keys; the custody of a tenant cannot be changed".to_owned();
    Err(ControlError::Conflict { code: "operator_custody", message })
}

fn done(row: TenantRow, action: &'static str) -> Mutation<TenantRow> {
    let (target, id) = (row.id.clone(), row.id.as_str().into());
    Mutation { answer: row, action, target, changes: vec![Change::Tenant(id)] }
}
