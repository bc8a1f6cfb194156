//! Rings, ESCROW and GRANT blobs. Mutations go through [`Store::mutate`](super::Store::mutate).

use std::collections::HashMap;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::{escrow, grants, rings};

/// One ring of a tenant.
#[derive(Clone, Debug, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = rings, primary_key(tenant, ring))]
pub struct RingRow {
    /// Whose.
    pub tenant: String,
    /// Its name.
    pub ring: String,
    /// The current epoch.
    pub epoch: i32,
    /// How many secrets were ever sealed in it.
    pub versions: i32,
}

/// A virtual key's wrap key, sealed.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable)]
#[diesel(table_name = escrow)]
pub struct EscrowRow {
    /// The virtual key.
    pub key_id: String,
    /// Its tenant.
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
    /// Of which epoch.
    pub epoch: i32,
    /// The key's tenant.
    pub tenant: String,
    /// The GRANT blob.
    pub blob: Vec<u8>,
}

/// A ring of a tenant.
///
/// # Errors
/// If the database fails; so for every function here.
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

/// Changes a ring's epoch and count.
pub fn update_ring(connection: &mut AnyConnection, row: &RingRow) -> QueryResult<usize> {
    diesel::update(rings::table.find((&row.tenant, &row.ring))).set(row).execute(connection)
}

/// What a tenant's virtual keys have in escrow. Revoked ones have nothing there.
pub fn escrow_of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<EscrowRow>> {
    escrow::table.filter(escrow::tenant.eq(tenant)).select(EscrowRow::as_select()).load(connection)
}

/// The keys of a tenant that have something in escrow: those that can spend the tenant's own providers.
pub fn keys_with_grants(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<String>> {
    escrow::table.filter(escrow::tenant.eq(tenant)).select(escrow::key_id).load(connection)
}

/// Puts a wrap key into escrow.
pub fn insert_escrow(connection: &mut AnyConnection, row: &EscrowRow) -> QueryResult<usize> {
    diesel::insert_into(escrow::table).values(row).execute(connection)
}

/// Adds a grant.
pub fn insert(connection: &mut AnyConnection, row: &GrantRow) -> QueryResult<usize> {
    diesel::insert_into(grants::table).values(row).execute(connection)
}

/// Takes away all a virtual key was granted, and what it has in escrow.
pub fn withdraw(connection: &mut AnyConnection, key_id: &str) -> QueryResult<()> {
    diesel::delete(grants::table.filter(grants::key_id.eq(key_id))).execute(connection)?;
    diesel::delete(escrow::table.find(key_id)).execute(connection)?;
    Ok(())
}

/// Takes away all that a tenant's virtual keys were granted.
pub fn delete_of_tenant(connection: &mut AnyConnection, tenant: &str) -> QueryResult<usize> {
    diesel::delete(grants::table.filter(grants::tenant.eq(tenant))).execute(connection)
}

/// Every grant at `edge`, by virtual key.
pub fn at(connection: &mut AnyConnection, edge: &str) -> QueryResult<HashMap<String, Vec<GrantRow>>> {
    by_key(grants::table.filter(grants::edge.eq(edge)).select(GrantRow::as_select()).load(connection)?)
}

/// The grants of a tenant at `edge`, by virtual key.
pub fn of_tenant(connection: &mut AnyConnection, tenant: &str, edge: &str) -> QueryResult<HashMap<String, Vec<GrantRow>>> {
    let rows = grants::table.filter(grants::tenant.eq(tenant)).filter(grants::edge.eq(edge));
    by_key(rows.select(GrantRow::as_select()).load(connection)?)
}

/// The grants of one virtual key at `edge`.
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
