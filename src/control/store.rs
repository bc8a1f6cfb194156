//! The store: SQLite or PostgreSQL through one code path. All queries of the crate are below here.
//!
//! Every function blocks: callers are the control half's blocking threads and the ledger's thread.
//! The meaning of rows, and permission to change them, are decided by the callers.

pub mod batches;
pub mod changes;
pub mod connection;
pub mod edges;
pub mod entries;
mod error;
pub mod grants;
pub mod keys;
pub mod providers;
pub mod retention;
pub mod roots;
pub mod schema;
pub mod sink;
pub mod tenants;
pub mod tls;
pub mod usage;

#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::r2d2::{Pool, PooledConnection};
use diesel::{Connection as _, QueryResult};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::config::DatabaseUrl;
use connection::{Access, AnyConnection, DatabaseTarget, Manager};

pub use error::StoreError;

/// The database. Clones share the same connection pools.
#[derive(Clone)]
pub struct Store {
    writers: Pool<Manager>,
    readers: Pool<Manager>,
}

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgresql");
/// PostgreSQL advisory lock that serializes migrations of processes that start together: "aigw" in
/// ASCII.
const MIGRATION_LOCK: i64 = 0x6169_6777;
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(2);

impl Store {
    /// Opens the database and migrates it. Creates an SQLite file that does not exist.
    ///
    /// # Errors
    /// If it cannot be reached, written or migrated.
    pub fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let target = DatabaseTarget::prepare(url)?;
        // The first connection is not from a pool, which would only report a timeout.
        migrate(&mut target.connect(Access::Write)?)?;
        let (writers, readers) = match target {
            DatabaseTarget::Sqlite(_) => (1, 4),
            DatabaseTarget::Postgres(..) => (4, 4),
        };
        Ok(Self { writers: pool(&target, Access::Write, writers), readers: pool(&target, Access::Read, readers) })
    }

    /// Runs a query on a read-only connection.
    ///
    /// # Errors
    /// If there is no connection in time; errors of `query`.
    pub fn read<T, E: From<StoreError>>(&self, query: impl FnOnce(&mut AnyConnection) -> Result<T, E>) -> Result<T, E> {
        query(&mut *checkout(&self.readers)?)
    }

    /// Runs `statements` in one transaction, which is rolled back if they fail. The first statement
    /// must be a write: SQLite then waits for the write lock of another process, whereas a
    /// transaction that starts with a read and then writes would fail at once.
    ///
    /// # Errors
    /// If there is no connection in time or the commit fails; errors of `statements`.
    pub fn write<T, E>(&self, statements: impl FnOnce(&mut AnyConnection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError> + From<diesel::result::Error>,
    {
        let connection: &mut AnyConnection = &mut *checkout(&self.writers)?;
        connection.transaction(statements)
    }

    /// Removes deleted data from the files, as far as the database allows: SQLite overwrites it in
    /// the database but keeps it in the write-ahead log until that is truncated.
    ///
    /// # Errors
    /// If the database fails.
    pub fn forget_deleted(&self) -> Result<(), StoreError> {
        match &mut *checkout(&self.writers)? {
            AnyConnection::Sqlite(file) => Ok(file.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?),
            AnyConnection::Postgres(_) => Ok(()),
        }
    }

    /// Checks that the database responds.
    ///
    /// # Errors
    /// If it does not.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| Ok(connection.batch_execute("SELECT 1")?))
    }
}

fn pool(target: &DatabaseTarget, access: Access, size: u32) -> Pool<Manager> {
    Pool::builder()
        .max_size(size)
        .min_idle(Some(0))
        .connection_timeout(CHECKOUT_TIMEOUT)
        .build_unchecked(Manager::new(target.clone(), access))
}

fn checkout(pool: &Pool<Manager>) -> Result<PooledConnection<Manager>, StoreError> {
    pool.get().map_err(|error| StoreError::NoConnection(error.to_string()))
}

/// Runs all pending migrations in one transaction, one process at a time.
fn migrate(connection: &mut AnyConnection) -> Result<(), StoreError> {
    match connection {
        AnyConnection::Sqlite(file) => file.immediate_transaction(|file| run_pending(file, SQLITE_MIGRATIONS)),
        AnyConnection::Postgres(server) => server.transaction(|server| {
            server.batch_execute(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))?;
            run_pending(server, POSTGRES_MIGRATIONS)
        }),
    }
}

fn run_pending<DB, C>(connection: &mut C, migrations: EmbeddedMigrations) -> Result<(), StoreError>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let failed = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Migration(error.to_string());
    let known: Vec<Box<dyn Migration<DB>>> = migrations.migrations().map_err(failed)?;
    let applied = connection.applied_migrations().map_err(failed)?;
    if let Some(unknown) = applied.iter().find(|version| known.iter().all(|migration| migration.name().version() != **version)) {
        return Err(StoreError::Migration(format!(
            "it contains migration {unknown} of a newer aigw; run that version or restore a backup"
        )));
    }
    connection.run_pending_migrations(migrations).map_err(failed)?;
    Ok(())
}

/// Error for a row that cannot be read: edited by hand, or written by another version.
fn unreadable<T>(column: &str, id: &str) -> QueryResult<T> {
    Err(diesel::result::Error::DeserializationError(format!("cannot read {column} of {id}").into()))
}
