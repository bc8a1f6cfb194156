//! Rows of virtual keys: the lookup value, never the key. Mutations go through
//! [`Store::mutate`](super::Store::mutate).

use diesel::prelude::*;
use serde::Serializer as _;

use super::connection::AnyConnection;
use super::schema::virtual_keys;

/// A virtual key. Times are Unix seconds.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = virtual_keys, treat_none_as_null = true)]
pub struct KeyRow {
    /// Id: `key_…`
    pub id: String,
    /// Lookup value derived from the key (spec/security.md 1.2): 32 bytes.
    pub lookup: Vec<u8>,
    /// Last four characters of the key, for display.
    pub last4: String,
    /// The tenant.
    pub tenant: String,
    /// Display name.
    pub name: String,
    /// User or service that the key stands for.
    pub subject: String,
    /// Team, if any.
    pub team: Option<String>,
    /// Tags of every request made with it.
    #[diesel(serialize_as = String, deserialize_as = String)]
    pub tags: Tags,
    /// Models it may use.
    #[diesel(serialize_as = Option<String>, deserialize_as = Option<String>)]
    pub allowed_models: AllowedModels,
    /// Cents per UTC calendar month.
    pub monthly_budget_cents: Option<i64>,
    /// Requests per minute.
    pub rpm: Option<i64>,
    /// Tokens per minute.
    pub tpm: Option<i64>,
    /// Concurrent requests.
    pub max_concurrency: Option<i64>,
    /// Time from which it is refused.
    pub expires_at: Option<i64>,
    /// Time of creation.
    pub created_at: i64,
    /// Time of revocation, if revoked.
    pub revoked_at: Option<i64>,
    /// Predecessor in a rotation, if any.
    pub rotated_from: Option<String>,
}

/// Tags sorted by name; a JSON object in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags(pub Vec<(String, String)>);

/// Names of models, `None` for all; a JSON array in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowedModels(pub Option<Vec<String>>);

/// All keys that are not revoked.
///
/// # Errors
/// Every function in this file fails if the database does.
pub fn active(connection: &mut AnyConnection) -> QueryResult<Vec<KeyRow>> {
    virtual_keys::table.filter(virtual_keys::revoked_at.is_null()).select(KeyRow::as_select()).load(connection)
}

/// All keys of `tenant` that are not revoked.
pub fn active_of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<KeyRow>> {
    virtual_keys::table
        .filter(virtual_keys::tenant.eq(tenant))
        .filter(virtual_keys::revoked_at.is_null())
        .select(KeyRow::as_select())
        .load(connection)
}

/// Up to `limit` keys of `tenant` that follow `after`, ordered by id, which is the order of
/// creation.
pub fn page(connection: &mut AnyConnection, tenant: &str, after: Option<&str>, limit: i64) -> QueryResult<Vec<KeyRow>> {
    virtual_keys::table
        .filter(virtual_keys::tenant.eq(tenant))
        .filter(virtual_keys::id.gt(after.unwrap_or_default()))
        .order(virtual_keys::id)
        .limit(limit)
        .select(KeyRow::as_select())
        .load(connection)
}

/// The key with that id, of any tenant.
pub fn find(connection: &mut AnyConnection, id: &str) -> QueryResult<Option<KeyRow>> {
    virtual_keys::table.find(id).select(KeyRow::as_select()).first(connection).optional()
}

/// Id of the key that succeeded `id` in a rotation.
pub fn successor(connection: &mut AnyConnection, id: &str) -> QueryResult<Option<String>> {
    virtual_keys::table.filter(virtual_keys::rotated_from.eq(id)).select(virtual_keys::id).first(connection).optional()
}

/// Adds a key.
pub fn insert(connection: &mut AnyConnection, row: KeyRow) -> QueryResult<usize> {
    diesel::insert_into(virtual_keys::table).values(row).execute(connection)
}

/// Updates everything but the id.
pub fn update(connection: &mut AnyConnection, row: KeyRow) -> QueryResult<usize> {
    diesel::update(virtual_keys::table.find(row.id.clone())).set(row).execute(connection)
}

/// Serializes pairs as a JSON object, in order.
pub(super) fn object_text(pairs: &[(String, String)]) -> String {
    let mut text = Vec::new();
    // Serializing strings to memory cannot fail.
    let _ = serde_json::Serializer::new(&mut text).collect_map(pairs.iter().map(|(name, value)| (name, value)));
    String::from_utf8(text).unwrap_or_default()
}

/// Parses a JSON object of strings, sorted by name.
pub(super) fn object_pairs(text: &str) -> serde_json::Result<Vec<(String, String)>> {
    let object: std::collections::BTreeMap<String, String> = serde_json::from_str(text)?;
    Ok(object.into_iter().collect())
}

impl From<Tags> for String {
    fn from(tags: Tags) -> Self {
        object_text(&tags.0)
    }
}

impl TryFrom<String> for Tags {
    type Error = serde_json::Error;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        object_pairs(&text).map(Self)
    }
}

impl From<AllowedModels> for Option<String> {
    fn from(models: AllowedModels) -> Self {
        models.0.map(|names| serde_json::Value::from(names).to_string())
    }
}

impl TryFrom<Option<String>> for AllowedModels {
    type Error = serde_json::Error;

    fn try_from(text: Option<String>) -> Result<Self, Self::Error> {
        text.map(|text| serde_json::from_str(&text)).transpose().map(Self)
    }
}
