//! Tenants' own providers, their keys as SECRET blobs. Mutations go through [`Store::mutate`](super::Store::mutate).

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::schema::byo_providers;

/// One provider of a tenant. Times are Unix seconds.
#[derive(Clone, PartialEq, Eq, Queryable, Selectable, Insertable, AsChangeset)]
#[diesel(table_name = byo_providers, primary_key(tenant, name), treat_none_as_null = true)]
pub struct ProviderRow {
    /// Whose.
    pub tenant: String,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: String,
    /// Where it is, if not where its kind is.
    pub base_url: Option<String>,
    /// Whether it is used.
    pub enabled: bool,
    /// The ring its key is sealed in.
    pub ring: String,
    /// Which of the ring's secrets it is.
    pub version: i32,
    /// In which epoch it was sealed.
    pub epoch: i32,
    /// The SECRET blob; `None` for a kind that takes no key.
    pub secret: Option<Vec<u8>>,
    /// The key's last four characters.
    pub last4: Option<String>,
    /// When it was first written.
    pub created_at: i64,
    /// When it was last changed.
    pub updated_at: i64,
}

/// Every provider of every tenant.
///
/// # Errors
/// If the database fails; so for every function here.
pub fn all(connection: &mut AnyConnection) -> QueryResult<Vec<ProviderRow>> {
    byo_providers::table.select(ProviderRow::as_select()).load(connection)
}

/// The providers of one tenant.
pub fn of(connection: &mut AnyConnection, tenant: &str) -> QueryResult<Vec<ProviderRow>> {
    byo_providers::table.filter(byo_providers::tenant.eq(tenant)).select(ProviderRow::as_select()).load(connection)
}

/// The tenant's provider of that name.
pub fn find(connection: &mut AnyConnection, tenant: &str, name: &str) -> QueryResult<Option<ProviderRow>> {
    byo_providers::table.find((tenant, name)).select(ProviderRow::as_select()).first(connection).optional()
}

/// Writes it, new or over the old one.
pub fn put(connection: &mut AnyConnection, row: &ProviderRow) -> QueryResult<()> {
    let changed = diesel::update(byo_providers::table.find((&row.tenant, &row.name))).set(row).execute(connection)?;
    if changed == 0 {
        diesel::insert_into(byo_providers::table).values(row).execute(connection)?;
    }
    Ok(())
}

/// Removes it.
pub fn delete(connection: &mut AnyConnection, tenant: &str, name: &str) -> QueryResult<usize> {
    diesel::delete(byo_providers::table.find((tenant, name))).execute(connection)
}

/// Whether any tenant has a sealed key here.
pub fn any_sealed(connection: &mut AnyConnection) -> QueryResult<bool> {
    diesel::select(diesel::dsl::exists(byo_providers::table.filter(byo_providers::secret.is_not_null()))).get_result(connection)
}
