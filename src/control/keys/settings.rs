//! Settings of virtual keys: the fields of the admin API, their validation and how they change a
//! row.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Deserialize;

use crate::control::error::ControlError;
use crate::control::fields;
use crate::control::store::keys::{AllowedModels, KeyRow, Tags};
use crate::credential::Credential;

/// Fields of a new or changed key. A missing field is left as it is; a null field is cleared.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
#[allow(missing_docs, reason = "the fields of a virtual key (DESIGN.md section 4)")]
pub struct KeyFields {
    pub name: Option<String>,
    pub subject: Option<String>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub team: Option<Option<String>>,
    pub tags: Option<BTreeMap<String, String>>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub allowed_models: Option<Option<Vec<String>>>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub monthly_budget_cents: Option<Option<u64>>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub rpm: Option<Option<u32>>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub tpm: Option<Option<u32>>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub max_concurrency: Option<Option<u32>>,
    #[serde(default, deserialize_with = "fields::double_option")]
    pub expires_at: Option<Option<i64>>,
}

/// Validated [`KeyFields`].
#[derive(Debug)]
pub(super) struct ValidKeyFields {
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
    /// Validates all fields.
    pub(super) fn validate(self) -> Result<ValidKeyFields, ControlError> {
        Ok(ValidKeyFields {
            name: self.name.map(|name| fields::label("name", name)).transpose()?,
            subject: self.subject.map(|subject| fields::label("subject", subject)).transpose()?,
            team: each("team", self.team, fields::label)?,
            tags: self.tags.map(|tags| fields::tags("tags", tags)).transpose()?,
            allowed_models: each("allowed_models", self.allowed_models, fields::models)?,
            monthly_budget_cents: each("monthly_budget_cents", self.monthly_budget_cents, fields::cents)?,
            rpm: each("rpm", self.rpm, fields::limit)?,
            tpm: each("tpm", self.tpm, fields::limit)?,
            max_concurrency: each("max_concurrency", self.max_concurrency, fields::limit)?,
            expires_at: each("expires_at", self.expires_at, fields::unix_seconds)?,
        })
    }
}

impl ValidKeyFields {
    /// Returns the row of a new key. Its name defaults to the id, its subject to the name.
    pub(super) fn new_row(self, tenant: String, key: &Credential, now: i64) -> KeyRow {
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

    /// Applies the given fields to `row`.
    pub(super) fn apply(self, row: &mut KeyRow) {
        fn set<T>(field: &mut T, given: Option<T>) {
            if let Some(value) = given {
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

/// Returns whether a key is neither revoked nor expired. `now` is in Unix seconds.
pub fn is_active(row: &KeyRow, now: i64) -> bool {
    row.revoked_at.is_none() && row.expires_at.is_none_or(|at| now < at)
}

/// Returns a new key id. Ids sort by creation time.
pub(super) fn new_id() -> String {
    format!("key_{}", uuid::Uuid::now_v7().simple())
}

/// Validates a value unless it is missing or null.
fn each<T, U>(
    param: &str,
    given: Option<Option<T>>,
    check: impl FnOnce(&str, T) -> Result<U, ControlError>,
) -> Result<Option<Option<U>>, ControlError> {
    given.map(|value| value.map(|value| check(param, value)).transpose()).transpose()
}
