//! Operations on virtual keys. The key itself is only in memory until the response that shows it.

pub mod settings;

use std::collections::HashSet;
use std::time::Duration;

use super::Control;
use super::error::ControlError;
use super::store::changes::{Actor, Change, Mutation};
use super::store::connection::AnyConnection;
use super::store::grants;
use super::store::keys::{self, KeyRow};
use super::tenants::get_tenant;
use crate::clock;
use crate::credential::{Credential, CredentialKind};
pub use settings::KeyFields;
use settings::{is_active, new_id};

/// A newly created key, which can be shown only now.
#[derive(Debug)]
pub struct IssuedKey {
    /// Its row.
    pub row: KeyRow,
    /// The key.
    pub key: Credential,
    /// Whether the key can use the tenant's own providers.
    pub has_grants: bool,
}

/// Maximum time that a rotated key keeps working.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 86_400);

impl Control {
    /// Creates a key of `tenant`.
    ///
    /// # Errors
    /// If a value is invalid, there is no such tenant, or the database fails.
    pub async fn create_key(&self, actor: Actor, tenant: String, new: KeyFields) -> Result<IssuedKey, ControlError> {
        let key = Credential::mint(CredentialKind::Virtual)?;
        let row = new.validate()?.new_row(tenant, &key, clock::unix_seconds());
        let (sealing, presented) = (self.sealing.clone(), actor.tenant_key.clone());
        self.mutate(actor, move |connection| {
            let tenant = get_tenant(connection, &row.tenant)?;
            keys::insert(connection, row.clone())?;
            if let Some(sealing) = &sealing {
                let root = sealing.root(connection, &tenant, presented.as_ref())?;
                sealing.grant_key(connection, &tenant, &root, &row.id, &key)?;
            }
            Ok(done(IssuedKey { row, key, has_grants: sealing.is_some() }, "key.create"))
        })
        .await
    }

    /// Returns the ids of the tenant's keys that can use its own providers. Keys from before the
    /// master key was set cannot.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keys_with_grants(&self, tenant: String) -> Result<HashSet<String>, ControlError> {
        self.read(move |connection| Ok(grants::keys_with_grants(connection, &tenant)?.into_iter().collect())).await
    }

    /// Returns one page of a tenant's keys, including revoked ones.
    ///
    /// # Errors
    /// If there is no such tenant, or the database fails.
    pub async fn keys(&self, tenant: String, after: Option<String>, limit: usize) -> Result<Vec<KeyRow>, ControlError> {
        self.read(move |connection| {
            get_tenant(connection, &tenant)?;
            Ok(keys::page(connection, &tenant, after.as_deref(), i64::try_from(limit).unwrap_or(i64::MAX))?)
        })
        .await
    }

    /// Returns the tenant's key with this id.
    ///
    /// # Errors
    /// If the tenant has no such key, or the database fails.
    pub async fn key(&self, tenant: String, id: String) -> Result<KeyRow, ControlError> {
        self.read(move |connection| find(connection, &tenant, &id)).await
    }

    /// Changes a key.
    ///
    /// # Errors
    /// If a value is invalid, there is no such key, it is revoked, or the database fails.
    pub async fn change_key(&self, actor: Actor, tenant: String, id: String, change: KeyFields) -> Result<KeyRow, ControlError> {
        let change = change.validate()?;
        self.mutate(actor, move |connection| {
            let mut row = find(connection, &tenant, &id)?;
            if row.revoked_at.is_some() {
                return Err(conflict("key_revoked", "the key is revoked and cannot be changed; create a new one"));
            }
            change.apply(&mut row);
            keys::update(connection, row.clone())?;
            Ok(done(row, "key.update"))
        })
        .await
    }

    /// Revokes a key. Idempotent.
    ///
    /// # Errors
    /// If there is no such key, or the database fails.
    pub async fn revoke_key(&self, actor: Actor, tenant: String, id: String) -> Result<KeyRow, ControlError> {
        let now = clock::unix_seconds();
        self.mutate(actor, move |connection| {
            let mut row = find(connection, &tenant, &id)?;
            row.revoked_at.get_or_insert(now);
            keys::update(connection, row.clone())?;
            grants::withdraw(connection, &row.id)?;
            Ok(done(row, "key.revoke"))
        })
        .await
    }

    /// Creates a successor with the same settings. The old key keeps working for `grace`.
    ///
    /// # Errors
    /// If `grace` is too long, there is no such key, it is inactive or already rotated, or the
    /// database fails.
    pub async fn rotate_key(&self, actor: Actor, tenant: String, id: String, grace: Duration) -> Result<IssuedKey, ControlError> {
        if grace > MAX_GRACE {
            return Err(ControlError::invalid("grace", "grace must be at most 30d"));
        }
        let key = Credential::mint(CredentialKind::Virtual)?;
        let now = clock::unix_seconds();
        let (sealing, presented) = (self.sealing.clone(), actor.tenant_key.clone());
        self.mutate(actor, move |connection| {
            let owner = get_tenant(connection, &tenant)?;
            let old = find(connection, &tenant, &id)?;
            let successor = keys::successor(connection, &id)?;
            if let Some(successor) = successor {
                return Err(conflict("key_rotated", &format!("the key is already rotated; rotate its successor {successor}")));
            }
            if !is_active(&old, now) {
                return Err(conflict("key_inactive", "the key is revoked or expired; create a new one"));
            }
            let row = old.succeeded_by(&key, now);
            let old = old.ending(now, grace);
            if old.revoked_at.is_some() {
                grants::withdraw(connection, &old.id)?;
            }
            keys::update(connection, old)?;
            keys::insert(connection, row.clone())?;
            if let Some(sealing) = &sealing {
                let root = sealing.root(connection, &owner, presented.as_ref())?;
                sealing.grant_key(connection, &owner, &root, &row.id, &key)?;
            }
            let mut done = done(IssuedKey { row, key, has_grants: sealing.is_some() }, "key.rotate");
            done.changes.push(Change::Key(id.into()));
            Ok(done)
        })
        .await
    }
}

impl KeyRow {
    /// Returns a successor with the same settings.
    fn succeeded_by(&self, key: &Credential, now: i64) -> Self {
        Self {
            id: new_id(),
            lookup: key.lookup().to_vec(),
            last4: key.text().last4().to_owned(),
            created_at: now,
            rotated_from: Some(self.id.clone()),
            ..self.clone()
        }
    }

    /// Returns the same key, which ends after `grace` or at its own expiry, whichever is earlier.
    fn ending(mut self, now: i64, grace: Duration) -> Self {
        if grace.is_zero() {
            self.revoked_at = Some(now);
        } else {
            let end = now.saturating_add(i64::try_from(grace.as_secs()).unwrap_or(i64::MAX));
            self.expires_at = Some(self.expires_at.map_or(end, |at| at.min(end)));
        }
        self
    }
}

/// Returns the tenant's key; another tenant's key is not found.
fn find(connection: &mut AnyConnection, tenant: &str, id: &str) -> Result<KeyRow, ControlError> {
    let row = keys::find(connection, id)?.filter(|row| row.tenant == tenant);
    row.ok_or_else(|| ControlError::not_found("key", id))
}

fn conflict(code: &'static str, message: &str) -> ControlError {
    ControlError::Conflict { code, message: message.to_owned() }
}

fn done<T: HasKeyRow>(answer: T, action: &'static str) -> Mutation<T> {
    let row = answer.row();
    let (target, changes) = (format!("{}/{}", row.tenant, row.id), vec![Change::Key(row.id.as_str().into())]);
    Mutation { answer, action, target, changes }
}

/// A result that contains the row of a key.
trait HasKeyRow {
    fn row(&self) -> &KeyRow;
}

impl HasKeyRow for KeyRow {
    fn row(&self) -> &KeyRow {
        self
    }
}

impl HasKeyRow for IssuedKey {
    fn row(&self) -> &KeyRow {
        &self.row
    }
}
