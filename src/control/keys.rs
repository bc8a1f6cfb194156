//! What can be done with virtual keys. The key itself exists here for as long as it takes to answer with it.

pub mod settings;

use std::collections::HashSet;
use std::time::Duration;

use super::error::ControlError;
use super::store::changes::{Actor, Change, Mutation};
use super::store::connection::AnyConnection;
use super::store::grants;
use super::store::keys::{self, KeyRow};
use super::tenants::get_tenant;
use super::{Control, now_ms};
use crate::credential::{Credential, CredentialKind};
pub use settings::KeyFields;
use settings::{is_active, new_id};

/// A key that has just been made: the only time it can be shown.
#[derive(Debug)]
pub struct IssuedKey {
    /// Its row.
    pub row: KeyRow,
    /// The key.
    pub key: Credential,
    /// Whether it opens the tenant's own providers.
    pub has_grants: bool,
}

/// The longest a rotated key may go on working.
pub const MAX_GRACE: Duration = Duration::from_secs(30 * 86_400);

impl Control {
    /// Makes a key of `tenant`.
    ///
    /// # Errors
    /// If a value is bad, there is no such tenant, or the database fails.
    pub async fn create_key(&self, actor: Actor, tenant: String, new: KeyFields) -> Result<IssuedKey, ControlError> {
        let key = Credential::mint(CredentialKind::Virtual)?;
        let row = new.check()?.first(tenant, &key, now_ms() / 1_000);
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

    /// The tenant's keys that open its own providers. One from before there was a master key does not.
    ///
    /// # Errors
    /// If the database fails.
    pub async fn keys_with_grants(&self, tenant: String) -> Result<HashSet<String>, ControlError> {
        self.read(move |connection| Ok(grants::keys_with_grants(connection, &tenant)?.into_iter().collect())).await
    }

    /// One page of a tenant's keys, the revoked ones too.
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

    /// The tenant's key with that id.
    ///
    /// # Errors
    /// If the tenant has none such, or the database fails.
    pub async fn key(&self, tenant: String, id: String) -> Result<KeyRow, ControlError> {
        self.read(move |connection| find(connection, &tenant, &id)).await
    }

    /// Changes a key.
    ///
    /// # Errors
    /// If a value is bad, there is no such key, it is revoked, or the database fails.
    pub async fn change_key(&self, actor: Actor, tenant: String, id: String, change: KeyFields) -> Result<KeyRow, ControlError> {
        let change = change.check()?;
        self.mutate(actor, move |connection| {
            let mut row = find(connection, &tenant, &id)?;
            if row.revoked_at.is_some() {
                return Err(conflict("key_revoked", "the key is revoked and cannot be changed; make a new one"));
            }
            change.apply(&mut row);
            keys::update(connection, row.clone())?;
            Ok(done(row, "key.update"))
        })
        .await
    }

    /// Revokes a key. Revoking it again changes nothing.
    ///
    /// # Errors
    /// If there is no such key, or the database fails.
    pub async fn revoke_key(&self, actor: Actor, tenant: String, id: String) -> Result<KeyRow, ControlError> {
        let now = now_ms() / 1_000;
        self.mutate(actor, move |connection| {
            let mut row = find(connection, &tenant, &id)?;
            row.revoked_at.get_or_insert(now);
            keys::update(connection, row.clone())?;
            grants::withdraw(connection, &row.id)?;
            Ok(done(row, "key.revoke"))
        })
        .await
    }

    /// Makes a successor with the same settings; the key itself goes on working for `grace`.
    ///
    /// # Errors
    /// If `grace` is too long, there is no such key, it has ended or has a successor, or the database fails.
    pub async fn rotate_key(&self, actor: Actor, tenant: String, id: String, grace: Duration) -> Result<IssuedKey, ControlError> {
        if grace > MAX_GRACE {
            return Err(ControlError::invalid("grace", "grace must be at most 30d"));
        }
        let key = Credential::mint(CredentialKind::Virtual)?;
        let now = now_ms() / 1_000;
        let (sealing, presented) = (self.sealing.clone(), actor.tenant_key.clone());
        self.mutate(actor, move |connection| {
            let owner = get_tenant(connection, &tenant)?;
            let old = find(connection, &tenant, &id)?;
            let successor = keys::successor(connection, &id)?;
            if let Some(successor) = successor {
                return Err(conflict("key_rotated", &format!("the key is rotated already; rotate its successor {successor}")));
            }
            if !is_active(&old, now) {
                return Err(conflict("key_inactive", "the key is revoked or expired; make a new one"));
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
    /// A key with the same settings.
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

    /// The same key, at its end after `grace`; it never lives longer than it would have.
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

/// Another tenant's key is no key.
fn find(connection: &mut AnyConnection, tenant: &str, id: &str) -> Result<KeyRow, ControlError> {
    let row = keys::find(connection, id)?.filter(|row| row.tenant == tenant);
    row.ok_or_else(|| ControlError::not_found("key", id))
}

fn conflict(code: &'static str, message: &str) -> ControlError {
    ControlError::Conflict { code, message: message.to_owned() }
}

fn done<T: Keyed>(answer: T, action: &'static str) -> Mutation<T> {
    let row = answer.row();
    let (target, changes) = (format!("{}/{}", row.tenant, row.id), vec![Change::Key(row.id.as_str().into())]);
    Mutation { answer, action, target, changes }
}

/// An answer about one key.
trait Keyed {
    fn row(&self) -> &KeyRow;
}

impl Keyed for KeyRow {
    fn row(&self) -> &KeyRow {
        self
    }
}

impl Keyed for IssuedKey {
    fn row(&self) -> &KeyRow {
        &self.row
    }
}
