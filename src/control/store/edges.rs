//! Rows of edges with their EDGE blobs, one per gateway. Mutations go through
//! [`Store::mutate`](super::Store::mutate).

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::edges;

/// One edge.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = edges)]
pub struct EdgeRow {
    /// Id.
    pub id: String,
    /// Kid of the master key that wraps it.
    pub kid: String,
    /// The EDGE blob.
    pub blob: Vec<u8>,
    /// Tenants it serves.
    #[diesel(serialize_as = Option<String>, deserialize_as = Option<String>)]
    pub tenants: ServedTenants,
    /// Unix seconds of its creation.
    pub created_at: i64,
}

/// The tenants an edge serves, `None` for all; a JSON array in the database.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServedTenants(pub Option<Vec<String>>);

impl ServedTenants {
    /// Whether `tenant` is one of them.
    pub fn includes(&self, tenant: &str) -> bool {
        self.0.as_ref().is_none_or(|tenants| tenants.iter().any(|served| served == tenant))
    }
}

impl From<ServedTenants> for Option<String> {
    fn from(served: ServedTenants) -> Self {
        served.0.map(|ids| serde_json::Value::from(ids).to_string())
    }
}

impl TryFrom<Option<String>> for ServedTenants {
    type Error = serde_json::Error;

    fn try_from(text: Option<String>) -> Result<Self, Self::Error> {
        text.map(|text| serde_json::from_str(&text)).transpose().map(Self)
    }
}

/// All edges.
///
/// # Errors
/// Every function in this file fails if the database does.
pub fn all(connection: &mut AnyConnection) -> QueryResult<Vec<EdgeRow>> {
    edges::table.order(edges::id).select(EdgeRow::as_select()).load(connection)
}

/// The edge with that id.
pub fn find(connection: &mut AnyConnection, id: &str) -> QueryResult<Option<EdgeRow>> {
    edges::table.find(id).select(EdgeRow::as_select()).first(connection).optional()
}

/// Adds an edge.
pub fn insert(connection: &mut AnyConnection, row: EdgeRow) -> QueryResult<usize> {
    diesel::insert_into(edges::table).values(row).execute(connection)
}

/// Replaces the blob of an edge by one under another master key.
pub fn rewrap(connection: &mut AnyConnection, id: &str, kid: &str, blob: &[u8]) -> QueryResult<usize> {
    diesel::update(edges::table.find(id)).set((edges::kid.eq(kid), edges::blob.eq(blob))).execute(connection)
}

/// Deletes an edge and its grants. Returns the number of edges deleted.
pub fn delete(connection: &mut AnyConnection, id: &str) -> QueryResult<usize> {
    diesel::delete(edges::table.find(id)).execute(connection)
}
