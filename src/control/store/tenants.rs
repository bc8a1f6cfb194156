//! Rows of tenants. Mutations go through [`Store::mutate`](super::Store::mutate).

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::tenants;

/// A tenant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tenants)]
pub struct TenantRow {
    /// Slug.
    pub id: String,
    /// Display name.
    pub name: String,
    /// Whether it may use the operator's providers.
    pub brokered: bool,
    /// Whether brokered providers join the chain after its own.
    pub broker_fallback: bool,
    /// Party that can open its secrets: `operator` or `tenant`.
    pub custody: String,
    /// A disabled tenant gets 403.
    pub enabled: bool,
    /// Unix seconds of its creation.
    pub created_at: i64,
}

/// All tenants.
///
/// # Errors
/// Every function in this file fails if the database does.
pub fn all(connection: &mut AnyConnection) -> QueryResult<Vec<TenantRow>> {
    tenants::table.select(TenantRow::as_select()).load(connection)
}

/// Up to `limit` tenants that follow `after`, ordered by id.
pub fn page(connection: &mut AnyConnection, after: Option<&str>, limit: i64) -> QueryResult<Vec<TenantRow>> {
    tenants::table
        .filter(tenants::id.gt(after.unwrap_or_default()))
        .order(tenants::id)
        .limit(limit)
        .select(TenantRow::as_select())
        .load(connection)
}

/// The tenant with that id.
pub fn find(connection: &mut AnyConnection, id: &str) -> QueryResult<Option<TenantRow>> {
    tenants::table.find(id).select(TenantRow::as_select()).first(connection).optional()
}

/// Adds a tenant.
pub fn insert(connection: &mut AnyConnection, row: &TenantRow) -> QueryResult<usize> {
    diesel::insert_into(tenants::table).values(row).execute(connection)
}

/// Updates everything but the id.
pub fn update(connection: &mut AnyConnection, row: &TenantRow) -> QueryResult<usize> {
    diesel::update(tenants::table.find(&row.id)).set(row).execute(connection)
}

/// Deletes a tenant and its keys; its entries stay in the ledger. Returns the number of tenants
/// deleted.
pub fn delete(connection: &mut AnyConnection, id: &str) -> QueryResult<usize> {
    diesel::delete(tenants::table.find(id)).execute(connection)
}
