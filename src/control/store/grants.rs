//! Rows of rings, and ESCROW and GRANT blobs. Mutations go through
//! [`Store::mutate`](super::Store::mutate).

use std::collections::HashMap;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{escrow, grants, rings};

/// A ring of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = rings, primary_key(tenant, ring))]
pub struct RingRow {
    /// The tenant.
    pub tenant: String,
    /// Name of the ring.
    pub ring: String,
    /// Current epoch.
    pub epoch: i32,
    /// Number of secrets ever sealed in it.
    pub versions: i32,
}

/// A virtual key's wrap key, sealed.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = escrow)]
pub struct EscrowRow {
    /// The virtual key.
    pub key_id: String,
    /// The key's tenant.
    pub tenant: String,
    /// The ESCROW blob.
    pub blob: Vec<u8>,
}

/// A spend key, sealed for one virtual key at one edge.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = grants)]
pub struct GrantRow {
    /// The virtual key.
    pub key_id: String,
    /// The edge.
    pub edge: String,
    /// The ring.
    pub ring: String,
    /// Epoch of the spend key.
    pub epoch: i32,
    /// The key's tenant.
    pub tenant: String,
    /// The GRANT blob.
    pub blob: Vec<u8>,
}

/// A ring of a tenant.
///
/// # Errors
/// Every function in this file fails if the database does.
pub fn ring(connection: &mut AnyConnection, tenant: &str, ring: &str) -> QueryResult<Option<RingRow>> {
    rings::table.find((tenant, ring)).select(RingRow::as_select()).first(connection).optional()
}

/// All rings of a tenant.
pub fn rings(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<RingRow>> {
    rings::table.filter(rings::tenant.eq(tenant)).order(rings::ring).select(RingRow::as_select()).load(connection)
}

/// Adds a ring.
pub fn insert_ring(connection: &mut AnyConnection, row: &RingRow) -> QueryResult<usize> {
    diesel::insert_into(rings::table).values(row).execute(connection)
}

/// Updates a ring.
pub fn update_ring(connection: &mut AnyConnection, row: &RingRow) -> QueryResult<usize> {
    diesel::update(rings::table.find((&row.tenant, &row.ring))).set(row).execute(connection)
}

/// ESCROW blobs of a tenant's virtual keys. Revoked keys have none.
pub fn escrow_of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<EscrowRow>> {
    escrow::table.filter(escrow::tenant.eq(tenant)).select(EscrowRow::as_select()).load(connection)
}

/// Ids of a tenant's keys that have an ESCROW blob and can therefore use the tenant's own
/// providers.
pub fn keys_with_grants(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<String>> {
    escrow::table.filter(escrow::tenant.eq(tenant)).select(escrow::key_id).load(connection)
}

/// Adds an ESCROW blob.
pub fn insert_escrow(connection: &mut AnyConnection, row: &EscrowRow) -> QueryResult<usize> {
    diesel::insert_into(escrow::table).values(row).execute(connection)
}

/// Adds a grant.
pub fn insert(connection: &mut AnyConnection, row: &GrantRow) -> QueryResult<usize> {
    diesel::insert_into(grants::table).values(row).execute(connection)
}

/// Deletes all grants of a virtual key and its ESCROW blob.
pub fn withdraw(connection: &mut AnyConnection, key_id: &str) -> QueryResult<()> {
    diesel::delete(grants::table.filter(grants::key_id.eq(key_id))).execute(connection)?;
    diesel::delete(escrow::table.find(key_id)).execute(connection)?;
    Ok(())
}

/// Deletes all grants of a tenant's virtual keys.
pub fn delete_of_tenant(connection: &mut AnyConnection, tenant: &str) -> QueryResult<usize> {
    diesel::delete(grants::table.filter(grants::tenant.eq(tenant))).execute(connection)
}

/// All grants to `edge`, by virtual key.
pub fn at(connection: &mut AnyConnection, edge: &str) -> QueryResult<HashMap<String, Vec<GrantRow>>> {
    by_key(grants::table.filter(grants::edge.eq(edge)).select(GrantRow::as_select()).load(connection)?)
}

/// Grants of a tenant to `edge`, by virtual key.
pub fn of_tenant(connection: &mut AnyConnection, tenant: &str, edge: &str) -> QueryResult<HashMap<String, Vec<GrantRow>>> {
    let rows = grants::table.filter(grants::tenant.eq(tenant)).filter(grants::edge.eq(edge));
    by_key(rows.select(GrantRow::as_select()).load(connection)?)
}

/// Grants of one virtual key to `edge`.
pub fn of_key(connection: &mut AnyConnection, key_id: &str, edge: &str) -> QueryResult<HashMap<String, Vec<GrantRow>>> {
    let rows = grants::table.filter(grants::key_id.eq(key_id)).filter(grants::edge.eq(edge));
    by_key(rows.select(GrantRow::as_select()).load(connection)?)
}

fn by_key(rows: Vec<GrantRow>) -> QueryResult<HashMap<String, Vec<GrantRow>>> {
    let mut by_key: HashMap<String, Vec<GrantRow>> = HashMap::new();
    for row in rows {
        by_key.entry(row.key_id.clone()).or_default().push(row);
    }
    Ok(by_key)
}
