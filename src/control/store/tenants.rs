//! Tenants' rows. Mutations go through [`Store::mutate`](super::Store::mutate).

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::tenants;

/// One tenant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = tenants)]
pub struct TenantRow {
    /// A slug.
    pub id: String,
    /// For people.
    pub name: String,
    /// May it use the operator's providers?
    pub brokered: bool,
    /// May brokered providers follow its own?
    pub broker_fallback: bool,
    /// Who can open its secrets: `operator` or `tenant`.
    pub custody: String,
    /// A disabled tenant is refused.
    pub enabled: bool,
    /// Unix seconds.
    pub created_at: i64,
}

/// All of them.
///
/// # Errors
/// If the database fails; so for every function here.
pub fn all(connection: &mut AnyConnection) -> QueryResult<Vec<TenantRow>> {
    tenants::table.select(TenantRow::as_select()).load(connection)
}

/// Up to `limit` of them in the order of their ids, those after `after`.
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

/// Adds one.
pub fn insert(connection: &mut AnyConnection, row: &TenantRow) -> QueryResult<usize> {
    diesel::insert_into(tenants::table).values(row).execute(connection)
}

/// Changes everything but the id.
pub fn update(connection: &mut AnyConnection, row: &TenantRow) -> QueryResult<usize> {
    diesel::update(tenants::table.find(&row.id)).set(row).execute(connection)
}

/// Removes it and its keys; its entries stay in the ledger. The number removed.
pub fn delete(connection: &mut AnyConnection, id: &str) -> QueryResult<usize> {
    diesel::delete(tenants::table.find(id)).execute(connection)
}
