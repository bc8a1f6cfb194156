//! What can be done with virtual keys. The key itself exists here for as long as it takes to answer with it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};

use super::error::ControlError;
use super::store::changes::{Actor, Change, Done};
use super::store::connection::AnyConnection;
use super::store::keys::{self, AllowedModels, KeyRow, Tags};
use super::store::tenants;
use super::{Control, fields, now_ms};
use crate::credential::{Credential, CredentialKind};

/// What is said about a key, new or changed. A field that is missing is left as it is, one that is null is cleared.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
#[allow(missing_docs, reason = "the fields of a virtual key (DESIGN.md section 4)")]
pub struct KeyFields {
    pub name: Option<String>,
    pub subject: Option<String>,
    #[serde(default, deserialize_with = "said")]
    pub team: Option<Option<String>>,
    pub tags: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "said")]
    pub allowed_models: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "said")]
    pub monthly_budget_cents: Option<Option<u64>>,
    #[serde(default, deserialize_with = "said")]
    pub rpm: Option<Option<u32>>,
    #[serde(default, deserialize_with = "said")]
    pub tpm: Option<Option<u32>>,
    #[serde(default, deserialize_with = "said")]
    pub max_concurrency: Option<Option<u32>>,
    #[serde(default, deserialize_with = "said")]
    pub expires_at: Option<Option<i64>>,
}

/// A key that has just been made: the only time it can be shown.
#[derive(Debug)]
pub struct IssuedKey {
    /// Its row.
    pub row: KeyRow,
    /// The key.
    pub key: Credential,
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
        self.mutate(actor, move |connection| {
            require_tenant(connection, &row.tenant)?;
            keys::insert(connection, row.clone())?;
            Ok(done(IssuedKey { row, key }, "key.create"))
        })
        .await
    }

    /// One page of a tenant's keys, the revoked ones too.
    ///
    /// # Errors
    /// If there is no such tenant, or the database fails.
    pub async fn keys(&self, tenant: String, after: Option<String>, limit: usize) -> Result<Vec<KeyRow>, ControlError> {
        self.read(move |connection| {
            require_tenant(connection, &tenant)?;
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
        self.mutate(actor, move |connection| {
            let old = find(connection, &tenant, &id)?;
            let successor = keys::successor(connection, &id)?;
            if let Some(successor) = successor {
                return Err(conflict("key_rotated", &format!("the key is rotated already; rotate its successor {successor}")));
            }
            if !is_active(&old, now) {
                return Err(conflict("key_inactive", "the key is revoked or expired; make a new one"));
            }
            let row = old.succeeded_by(&key, now);
            keys::update(connection, old.ending(now, grace))?;
            keys::insert(connection, row.clone())?;
            let mut done = done(IssuedKey { row, key }, "key.rotate");
            done.changes.push(Change::Key(id.into()));
            Ok(done)
        })
        .await
    }
}

/// Whether a key is neither revoked nor expired. `now` is in Unix seconds.
pub fn is_active(row: &KeyRow, now: i64) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|at| now < at)
}

/// [`KeyFields`] whose values may be stored.
#[derive(Debug)]
struct Checked {
    name: Option<String>,
    subject: Option<String>,
    team: Option<Option<String>>,
    tags: Option<Vec<(String, String)>>,
    allowed_models: Option<Option<Vec<String>>>,
    monthly_budget_cents: Option<Option<i64>>,
    rpm: Option<Option<i64>>,
    tpm: Option<Option<i64>>,
    max_concurrency: Option<Option<i64>>,
    expires_at: Option<Option<i64>>,
}

impl KeyFields {
    fn check(self) -> Result<Checked, ControlError> {
        Ok(Checked {
            name: self.name.map(|name| fields::label("name", name)).transpose()?,
            subject: self.subject.map(|subject| fields::label("subject", subject)).transpose()?,
            team: each("team", self.team, fields::label)?,
            tags: self.tags.map(|tags| fields::tags("tags", tags)).transpose()?,
            allowed_models: each("allowed_models", self.allowed_models, fields::models)?,
            monthly_budget_cents: each("monthly_budget_cents", self.monthly_budget_cents, fields::cents)?,
            rpm: each("rpm", self.rpm, fields::limit)?,
            tpm: each("tpm", self.tpm, fields::limit)?,
            max_concurrency: each("max_concurrency", self.max_concurrency, fields::limit)?,
            expires_at: each("expires_at", self.expires_at, fields::moment)?,
        })
    }
}

impl Checked {
    /// A new key: named and standing for itself unless said otherwise.
    fn first(self, tenant: String, key: &Credential, now: i64) -> KeyRow {
        let id = new_id();
        let name = self.name.clone().unwrap_or_else(|| id.clone());
        let mut row = KeyRow {
            lookup: key.lookup().to_vec(),
            last4: key.text().last4().to_owned(),
            tenant,
            subject: name.clone(),
            name,
            id,
            team: None,
            tags: Tags::default(),
            allowed_models: AllowedModels(None),
            monthly_budget_cents: None,
            rpm: None,
            tpm: None,
            max_concurrency: None,
            expires_at: None,
            created_at: now,
            revoked_at: None,
            rotated_from: None,
        };
        self.apply(&mut row);
        row
    }

    fn apply(self, row: &mut KeyRow) {
        fn set<T>(field: &mut T, said: Option<T>) {
            if let Some(value) = said {
                *field = value;
            }
        }
        set(&mut row.name, self.name);
        set(&mut row.subject, self.subject);
        set(&mut row.team, self.team);
        set(&mut row.tags, self.tags.map(Tags));
        set(&mut row.allowed_models, self.allowed_models.map(AllowedModels));
        set(&mut row.monthly_budget_cents, self.monthly_budget_cents);
        set(&mut row.rpm, self.rpm);
        set(&mut row.tpm, self.tpm);
        set(&mut row.max_concurrency, self.max_concurrency);
        set(&mut row.expires_at, self.expires_at);
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

/// Ids sort by the time they were made.
fn new_id() -> String {
    format!("key_{}", uuid::Uuid::now_v7().simple())
}

fn require_tenant(connection: &mut AnyConnection, id: &str) -> Result<(), ControlError> {
    tenants::find(connection, id)?.map(drop).ok_or_else(|| ControlError::not_found("tenant", id))
}

/// Another tenant's key is no key.
fn find(connection: &mut AnyConnection, tenant: &str, id: &str) -> Result<KeyRow, ControlError> {
    let row = keys::find(connection, id)?.filter(|row| row.tenant == tenant);
    row.ok_or_else(|| ControlError::not_found("key", id))
}

fn conflict(code: &'static str, message: &str) -> ControlError {
    ControlError::Conflict { code, message: message.to_owned() }
}

fn done<T: Keyed>(answer: T, action: &'static str) -> Done<T> {
    let row = answer.row();
    let (target, changes) = (format!("{}/{}", row.tenant, row.id), vec![Change::Key(row.id.as_str().into())]);
    Done { answer, action, target, changes }
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

/// Checks a value if there is one to check.
fn each<T, U>(
    param: &str,
    said: Option<Option<T>>,
    check: impl FnOnce(&str, T) -> Result<U, ControlError>,
) -> Result<Option<Option<U>>, ControlError> {
    said.map(|value| value.map(|value| check(param, value)).transpose()).transpose()
}

/// Tells a field that is null from one that is missing.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(deserializer: D) -> Result<Option<Option<T>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}
