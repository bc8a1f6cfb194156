//! Rows of tenants' own providers, with their keys as SECRET blobs. Mutations go through
//! [`Store::mutate`](super::Store::mutate).

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::byo_providers;

/// A tenant's own provider. Times are Unix seconds.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = byo_providers, primary_key(tenant, name), treat_none_as_null = true)]
pub struct ProviderRow {
    /// The tenant.
    pub tenant: String,
    /// Name.
    pub name: String,
    /// Name of the kind.
    pub kind: String,
    /// Base URL; `None`: the base URL of the kind.
    pub base_url: Option<String>,
    /// Whether it is enabled.
    pub enabled: bool,
    /// Ring that its key is sealed in.
    pub ring: String,
    /// Version among the ring's secrets.
    pub version: i32,
    /// Epoch of the ring at sealing.
    pub epoch: i32,
    /// The SECRET blob; `None` for a kind without authentication.
    pub secret: Option<Vec<u8>>,
    /// Last four characters of the key.
    pub last4: Option<String>,
    /// Time of creation.
    pub created_at: i64,
    /// Time of the last change.
    pub updated_at: i64,
}

/// All providers of all tenants.
///
/// # Errors
/// Every function in this file fails if the database does.
pub fn all(connection: &mut AnyConnection) -> QueryResult<Vec<ProviderRow>> {
    byo_providers::table.select(ProviderRow::as_select()).load(connection)
}

/// All providers of a tenant.
pub fn of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<ProviderRow>> {
    byo_providers::table.filter(byo_providers::tenant.eq(tenant)).select(ProviderRow::as_select()).load(connection)
}

/// A provider of a tenant by name.
pub fn find(connection: &mut AnyConnection, tenant: &str, name: &str) -> QueryResult<Option<ProviderRow>> {
    byo_providers::table.find((tenant, name)).select(ProviderRow::as_select()).first(connection).optional()
}

/// Inserts or updates a provider.
pub fn put(connection: &mut AnyConnection, row: &ProviderRow) -> QueryResult<()> {
    let changed = diesel::update(byo_providers::table.find((&row.tenant, &row.name))).set(row).execute(connection)?;
    if changed == 0 {
        diesel::insert_into(byo_providers::table).values(row).execute(connection)?;
    }
    Ok(())
}

/// Deletes a provider. Returns the number deleted.
pub fn delete(connection: &mut AnyConnection, tenant: &str, name: &str) -> QueryResult<usize> {
    diesel::delete(byo_providers::table.find((tenant, name))).execute(connection)
}

/// Whether any tenant has a sealed key.
pub fn any_sealed(connection: &mut AnyConnection) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(byo_providers::table.filter(byo_providers::secret.is_not_null()))).get_result(connection)
}
