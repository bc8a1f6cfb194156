//! The store: SQLite or PostgreSQL through one code path. Queries live below here and nowhere else.
//!
//! Everything blocks: callers are the control half's blocking pool and the ledger's own thread. What rows mean, and who may
//! change them, is decided above.

pub mod batches;
pub mod changes;
pub mod connection;
pub mod edges;
pub mod entries;
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

use std::path::PathBuf;
use std::time::Duration;

use diesel::connection::SimpleConnection;
use diesel::migration::{Migration, MigrationSource};
use diesel::r2d2::{Pool, PooledConnection};
use diesel::{Connection as _, QueryResult};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::config::DatabaseUrl;
use connection::{Access, AnyConnection, Manager, Target};

/// The database, shared: a clone is another hold on the same pools.
#[derive(Clone)]
pub struct Store {
    writers: Pool<Manager>,
    readers: Pool<Manager>,
}

/// Why the store could not do what was asked. The text is one line, names no secret and says what to do.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The SQLite file cannot be used.
    #[error("cannot open the database {}: {why}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong and the remedy.
        why: String,
    },
    /// The PostgreSQL server does not let us in.
    #[error("cannot reach the database: {0}; check database.url and that the server is running")]
    Unreachable(String),
    /// No connection became free or could be made in time.
    #[error("no database connection within 2 s: {0}")]
    NoConnection(String),
    /// The tables could not be brought up to date.
    #[error("cannot migrate the database: {0}")]
    Migration(String),
    /// A statement failed.
    #[error("database: {0}")]
    Query(#[from] diesel::result::Error),
}

const SQLITE_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/sqlite");
const POSTGRES_MIGRATIONS: EmbeddedMigrations = embed_migrations!("migrations/postgresql");
/// Keeps processes that start together from migrating together: the bytes of "aigw".
const MIGRATION_LOCK: i64 = 0x6169_6777;
const CHECKOUT_TIMEOUT: Duration = Duration::from_secs(2);

impl Store {
    /// Opens the database, making it if it is an SQLite file that does not exist, and brings its tables up to date.
    ///
    /// # Errors
    /// If it cannot be reached, written or migrated.
    pub fn open(url: &DatabaseUrl) -> Result<Self, StoreError> {
        let target = Target::prepare(url)?;
        // A first connection by hand: a pool would only say that it timed out.
        migrate(&mut target.connect(Access::Write)?)?;
        let (writers, readers) = match target {
            Target::Sqlite(_) => (1, 4),
            Target::Postgres(..) => (4, 4),
        };
        Ok(Self { writers: pool(&target, Access::Write, writers), readers: pool(&target, Access::Read, readers) })
    }

    /// Reads.
    ///
    /// # Errors
    /// If there is no connection in time, or as `query` says.
    pub fn read<T, E: From<StoreError>>(&self, query: impl FnOnce(&mut AnyConnection) -> Result<T, E>) -> Result<T, E> {
        query(&mut *checkout(&self.readers)?)
    }

    /// Writes in one transaction, undone if `statements` fails. The first statement must be a write: SQLite then waits for
    /// another process's write lock, where a read that turns into a write would fail at once.
    ///
    /// # Errors
    /// If there is no connection in time, the commit fails, or as `statements` says.
    pub fn write<T, E>(&self, statements: impl FnOnce(&mut AnyConnection) -> Result<T, E>) -> Result<T, E>
    where
        E: From<StoreError> + From<diesel::result::Error>,
    {
        let connection: &mut AnyConnection = &mut *checkout(&self.writers)?;
        connection.transaction(statements)
    }

    /// Makes sure that what was deleted is in no file any more, as far as the database lets us: SQLite overwrites it in the
    /// database but keeps it in the write-ahead log until that is cut.
    ///
    /// # Errors
    /// If the database fails.
    pub fn forget_deleted(&self) -> Result<(), StoreError> {
        match &mut *checkout(&self.writers)? {
            AnyConnection::Sqlite(file) => Ok(file.batch_execute("PRAGMA wal_checkpoint(TRUNCATE)")?),
            AnyConnection::Postgres(_) => Ok(()),
        }
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// Says why it does not.
    pub fn ping(&self) -> Result<(), StoreError> {
        self.read(|connection| Ok(connection.batch_execute("SELECT 1")?))
    }
}

fn pool(target: &Target, access: Access, size: u32) -> Pool<Manager> {
    Pool::builder()
        .max_size(size)
        .min_idle(Some(0))
        .connection_timeout(CHECKOUT_TIMEOUT)
        .build_unchecked(Manager::new(target.clone(), access))
}

fn checkout(pool: &Pool<Manager>) -> Result<PooledConnection<Manager>, StoreError> {
    pool.get().map_err(|error| StoreError::NoConnection(error.to_string()))
}

/// All or nothing, and one process at a time.
fn migrate(connection: &mut AnyConnection) -> Result<(), StoreError> {
    match connection {
        AnyConnection::Sqlite(file) => file.immediate_transaction(|file| bring_up_to_date(file, SQLITE_MIGRATIONS)),
        AnyConnection::Postgres(server) => server.transaction(|server| {
            server.batch_execute(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))?;
            bring_up_to_date(server, POSTGRES_MIGRATIONS)
        }),
    }
}

fn bring_up_to_date<DB, C>(connection: &mut C, migrations: EmbeddedMigrations) -> Result<(), StoreError>
where
    DB: diesel::backend::Backend,
    C: MigrationHarness<DB>,
    EmbeddedMigrations: MigrationSource<DB>,
{
    let trouble = |error: Box<dyn std::error::Error + Send + Sync>| StoreError::Migration(error.to_string());
    let known: Vec<Box<dyn Migration<DB>>> = migrations.migrations().map_err(trouble)?;
    let applied = connection.applied_migrations().map_err(trouble)?;
    if let Some(unknown) = applied.iter().find(|version| known.iter().all(|migration| migration.name().version() != **version)) {
        return Err(StoreError::Migration(format!("it holds migration {unknown} of a newer aigw; run that version or restore a backup")));
    }
    connection.run_pending_migrations(migrations).map_err(trouble)?;
    Ok(())
}

/// A row that cannot be read back: edited by hand, or from another version.
fn unreadable<T>(what: &str, id: &str) -> QueryResult<T> {
    Err(diesel::result::Error::DeserializationError(format!("{what} of {id} cannot be read").into()))
}
