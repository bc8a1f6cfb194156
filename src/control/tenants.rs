//! What can be done with tenants.

use serde::Deserialize;

use super::error::ControlError;
use super::store::changes::{Actor, Change, Done};
use super::store::tenants::{self, TenantRow};
use super::{Control, fields, now_ms};

/// A tenant to be.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub struct NewTenant {
    /// A slug.
    pub id: String,
    /// For people; the id if not said.
    pub name: Option<String>,
    /// Default true.
    pub brokered: Option<bool>,
    /// Default false.
    pub broker_fallback: Option<bool>,
    /// `operator` if not said.
    pub custody: Option<String>,
    /// Default true.
    pub enabled: Option<bool>,
}

/// What shall be different about a tenant.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
#[allow(missing_docs, reason = "the fields of a tenant (DESIGN.md section 8)")]
pub struct TenantChange {
    pub name: Option<String>,
    pub brokered: Option<bool>,
    pub broker_fallback: Option<bool>,
    pub enabled: Option<bool>,
}

impl Control {
    /// Makes a tenant.
    ///
    /// # Errors
    /// If a value is bad, the id is taken, or the database fails.
    pub async fn create_tenant(&self, actor: Actor, new: NewTenant) -> Result<TenantRow, ControlError> {
        let row = new.check(now_ms() / 1_000)?;
        self.mutate(actor, move |connection| {
            if tenants::find(connection, &row.id)?.is_some() {
                return Err(ControlError::Exists { what: "tenant", id: row.id });
            }
            tenants::insert(connection, &row)?;
            Ok(done(row, "tenant.create"))
        })
        .await
    }

    /// One page of tenants and whether there are more.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn tenants(&self, after: Option<String>, limit: usize) -> Result<Vec<TenantRow>, ControlError> {
        self.read(move |connection| Ok(tenants::page(connection, after.as_deref(), i64::try_from(limit).unwrap_or(i64::MAX))?)).await
    }

    /// The tenant with that id.
    ///
    /// # Errors
    /// If there is none, or the database fails.
    pub async fn tenant(&self, id: String) -> Result<TenantRow, ControlError> {
        self.read(move |connection| tenants::find(connection, &id)?.ok_or_else(|| ControlError::not_found("tenant", id))).await
    }

    /// Changes a tenant.
    ///
    /// # Errors
    /// If a value is bad, there is no such tenant, or the database fails.
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

    /// Deletes a tenant and its keys. Its entries stay in the ledger.
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
    fn check(self, created_at: i64) -> Result<TenantRow, ControlError> {
        let id = fields::slug("id", self.id)?;
        let name = self.name.map_or_else(|| Ok(id.clone()), |name| fields::label("name", name))?;
        match self.custody.as_deref() {
            None | Some("operator") => {}
            Some("tenant") => {
                let message = "custody by the tenant needs sealing, which is not available here; use \"operator\"".to_owned();
                return Err(ControlError::Conflict { code: "sealing_unavailable", message });
            }
            Some(_) => return Err(ControlError::invalid("custody", "custody must be \"operator\" or \"tenant\"")),
        }
        Ok(TenantRow {
            id,
            name,
            brokered: self.brokered.unwrap_or(true),
            broker_fallback: self.broker_fallback.unwrap_or(false),
            custody: "operator".to_owned(),
            enabled: self.enabled.unwrap_or(true),
            created_at,
        })
    }
}

fn done(row: TenantRow, action: &'static str) -> Done<TenantRow> {
    let (target, id) = (row.id.clone(), row.id.as_str().into());
    Done { answer: row, action, target, changes: vec![Change::Tenant(id)] }
}
