//! Rows of ROOT blobs and of the tenant keys that hold some of them.
//! [`sealing`](crate::control::sealing) opens the blobs.

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{tenant_keys, tenant_roots};

/// A tenant's root, sealed for one holder.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = tenant_roots)]
pub struct RootRow {
    /// The tenant.
    pub tenant: String,
    /// `master:` and a kid, or `tk:` and the id of a tenant key.
    pub holder: String,
    /// The ROOT blob.
    pub blob: Vec<u8>,
}

/// A tenant key: the lookup value, never the key.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = tenant_keys)]
pub struct TenantKeyRow {
    /// Id: `tk_…`
    pub id: String,
    /// The tenant.
    pub tenant: String,
    /// Lookup value derived from the key: 32 bytes.
    pub lookup: Vec<u8>,
    /// Last four characters, for display.
    pub last4: String,
    /// Unix seconds of its creation.
    pub created_at: i64,
}

/// A tenant's root sealed for that holder.
///
/// # Errors
/// Every function in this file fails if the database does.
pub fn find(connection: &mut AnyConnection, tenant: &str, holder: &str) -> QueryResult<Option<RootRow>> {
    tenant_roots::table.find((tenant, holder)).select(RootRow::as_select()).first(connection).optional()
}

/// All roots of a tenant.
pub fn of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<RootRow>> {
    tenant_roots::table.filter(tenant_roots::tenant.eq(tenant)).select(RootRow::as_select()).load(connection)
}

/// Up to `limit` roots that are held by `master:` something other than `kid`, in the order of their
/// tenants.
pub fn under_others(connection: &mut AnyConnection, holder: &str, limit: i64) -> QueryResult<Vec<RootRow>> {
    tenant_roots::table
        .filter(tenant_roots::holder.like("master:%"))
        .filter(tenant_roots::holder.ne(holder))
        .order(tenant_roots::tenant)
        .limit(limit)
        .select(RootRow::as_select())
        .load(connection)
}

/// Every holder there is.
pub fn holders(connection: &mut AnyConnection) -> QueryResult<Vec<String>> {
    tenant_roots::table.select(tenant_roots::holder).distinct().load(connection)
}

/// Adds one.
pub fn insert(connection: &mut AnyConnection, row: &RootRow) -> QueryResult<usize> {
    diesel::insert_into(tenant_roots::table).values(row).execute(connection)
}

/// Deletes a root. Returns the number deleted.
pub fn delete(connection: &mut AnyConnection, tenant: &str, holder: &str) -> QueryResult<usize> {
    diesel::delete(tenant_roots::table.find((tenant, holder))).execute(connection)
}

/// A tenant's key by lookup value.
pub fn tenant_key(connection: &mut AnyConnection, tenant: &str, lookup: &[u8]) -> QueryResult<Option<TenantKeyRow>> {
    tenant_keys::table
        .filter(tenant_keys::tenant.eq(tenant))
        .filter(tenant_keys::lookup.eq(lookup))
        .select(TenantKeyRow::as_select())
        .first(connection)
        .optional()
}

/// All keys of a tenant.
pub fn tenant_keys_of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<TenantKeyRow>> {
    tenant_keys::table.filter(tenant_keys::tenant.eq(tenant)).order(tenant_keys::id).select(TenantKeyRow::as_select()).load(connection)
}

/// Adds a tenant key.
pub fn insert_tenant_key(connection: &mut AnyConnection, row: &TenantKeyRow) -> QueryResult<usize> {
    diesel::insert_into(tenant_keys::table).values(row).execute(connection)
}

/// Whether any tenant has a key with that id or lookup value.
pub fn has_tenant_key(connection: &mut AnyConnection, row: &TenantKeyRow) -> QueryResult<bool> {
    let alike = tenant_keys::table.filter(tenant_keys::id.eq(&row.id).or(tenant_keys::lookup.eq(&row.lookup)));
    alike.count().get_result::<i64>(connection).map(|count| count > 0)
}

/// Deletes a tenant key. Returns the number deleted.
pub fn delete_tenant_key(connection: &mut AnyConnection, id: &str) -> QueryResult<usize> {
    diesel::delete(tenant_keys::table.find(id)).execute(connection)
}
