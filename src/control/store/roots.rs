//! ROOT blobs and the tenant keys some of them are under. What they hold is [`sealing`](crate::control::sealing)'s.

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{tenant_keys, tenant_roots};

/// A tenant's root under one holder.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = tenant_roots)]
pub struct RootRow {
    /// Whose root.
    pub tenant: String,
    /// `master:` and a kid, or `tk:` and a tenant key's id.
    pub holder: String,
    /// The ROOT blob.
    pub blob: Vec<u8>,
}

/// A tenant key: never the key, only what it is found by.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = tenant_keys)]
pub struct TenantKeyRow {
    /// `tk_…`
    pub id: String,
    /// Whose it is.
    pub tenant: String,
    /// Derived from the key: 32 bytes.
    pub lookup: Vec<u8>,
    /// Its last four characters, for people.
    pub last4: String,
    /// Unix seconds.
    pub created_at: i64,
}

/// The tenant's root under that holder.
///
/// # Errors
/// If the database fails; so for every function here.
pub fn find(connection: &mut AnyConnection, tenant: &str, holder: &str) -> QueryResult<Option<RootRow>> {
    tenant_roots::table.find((tenant, holder)).select(RootRow::as_select()).first(connection).optional()
}

/// All roots of a tenant.
pub fn of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<RootRow>> {
    tenant_roots::table.filter(tenant_roots::tenant.eq(tenant)).select(RootRow::as_select()).load(connection)
}

/// Up to `limit` roots that are held by `master:` something other than `kid`, in the order of their tenants.
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

/// Takes one away.
pub fn delete(connection: &mut AnyConnection, tenant: &str, holder: &str) -> QueryResult<usize> {
    diesel::delete(tenant_roots::table.find((tenant, holder))).execute(connection)
}

/// The tenant's key with that look-up value.
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

/// Whether any tenant has a key with that id or look-up value.
pub fn has_tenant_key(connection: &mut AnyConnection, row: &TenantKeyRow) -> QueryResult<bool> {
    let alike = tenant_keys::table.filter(tenant_keys::id.eq(&row.id).or(tenant_keys::lookup.eq(&row.lookup)));
    alike.count().get_result::<i64>(connection).map(|count| count > 0)
}

/// Takes a tenant key away.
pub fn delete_tenant_key(connection: &mut AnyConnection, id: &str) -> QueryResult<usize> {
    diesel::delete(tenant_keys::table.find(id)).execute(connection)
}
