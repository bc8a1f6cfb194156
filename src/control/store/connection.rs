//! One connection type for both databases, and how connections are opened.
//!
//! Statements are written once against [`AnyConnection`]; only [`batches`](super::batches) matches
//! on it.
#![allow(missing_docs, reason = "the derive generates public items")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, R2D2Connection};

use super::error::StoreError;
use super::tls::Tls;
use crate::config::DatabaseUrl;
use crate::secret::Secret;

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// A file.
    Sqlite(SqliteConnection),
    /// A server.
    Postgres(PgConnection),
}

/// The backend of [`AnyConnection`], for boxed queries.
pub type Backend = <AnyConnection as diesel::Connection>::Backend;

/// Opens connections for a pool.
pub struct Manager {
    target: DatabaseTarget,
    access: Access,
}

/// Access mode of a connection. Ignored by PostgreSQL.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// Read and write. SQLite has one such connection: a second writer would only wait.
    Write,
    /// Read only, concurrent with the writer.
    Read,
}

/// Address of the database.
#[derive(Clone)]
pub enum DatabaseTarget {
    /// Path of the file.
    Sqlite(PathBuf),
    /// URL of the server, which may contain a password, and TLS settings if TLS is required.
    Postgres(Arc<Secret>, Option<Tls>),
}

/// With pages of 8 KiB, the ledger's rows take a third less system time than with the default of 4
/// KiB. The page size is fixed when a database is created.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;";

impl DatabaseTarget {
    /// The configured database. Creates an SQLite file and its directory if missing.
    ///
    /// # Errors
    /// If the file cannot be created or opened for writing.
    pub fn prepare(url: &DatabaseUrl) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                create_private(path).map_err(|error| StoreError::File { path: path.clone(), reason: file_error(&error) })?;
                Ok(DatabaseTarget::Sqlite(path.clone()))
            }
            DatabaseUrl::Postgres(url) => {
                let tls = Tls::of(url.expose()).map_err(|error| StoreError::Unreachable(error.to_string()))?;
                Ok(DatabaseTarget::Postgres(Arc::new(with_timeouts(url.expose())), tls))
            }
        }
    }

    /// Opens and configures one connection.
    ///
    /// # Errors
    /// If the database cannot be reached or is not a database; the text is one line without a
    /// password.
    pub fn connect(&self, access: Access) -> Result<AnyConnection, StoreError> {
        match self {
            DatabaseTarget::Sqlite(path) => self.unreachable_on_error(sqlite(path, access)).map(AnyConnection::Sqlite),
            DatabaseTarget::Postgres(url, None) => {
                self.unreachable_on_error(PgConnection::establish(url.expose())).map(AnyConnection::Postgres)
            }
            DatabaseTarget::Postgres(url, Some(tls)) => {
                let tunnel = tls.open().map_err(|error| StoreError::Unreachable(error.to_string()))?;
                let connection = PgConnection::establish(tunnel.url(url.expose()).expose());
                self.unreachable_on_error(connection).map(AnyConnection::Postgres)
            }
        }
    }

    fn unreachable_on_error<T>(&self, result: ConnectionResult<T>) -> Result<T, StoreError> {
        result.map_err(|error| match self {
            DatabaseTarget::Sqlite(path) => StoreError::File {
                path: path.clone(),
                reason: format!("{}; set another path in database.url", one_line(&error.to_string())),
            },
            DatabaseTarget::Postgres(url, _) => StoreError::Unreachable(without_password(&one_line(&error.to_string()), url.expose())),
        })
    }
}

impl Manager {
    /// A manager of connections to `target`.
    pub fn new(target: DatabaseTarget, access: Access) -> Self {
        Self { target, access }
    }
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = StoreError;

    fn connect(&self) -> Result<AnyConnection, StoreError> {
        self.target.connect(self.access)
    }

    /// Pings a server; a file is always valid.
    fn is_valid(&self, connection: &mut AnyConnection) -> Result<(), StoreError> {
        match connection {
            AnyConnection::Sqlite(_) => Ok(()),
            AnyConnection::Postgres(server) => server.ping().map_err(StoreError::Query),
        }
    }

    fn has_broken(&self, connection: &mut AnyConnection) -> bool {
        std::thread::panicking() || connection.is_broken()
    }
}

fn sqlite(path: &Path, access: Access) -> ConnectionResult<SqliteConnection> {
    let path = path.to_str().ok_or_else(|| ConnectionError::BadConnection("the path is not valid UTF-8".to_owned()))?;
    let mut connection = SqliteConnection::establish(path)?;
    connection.batch_execute(SQLITE_SETTINGS).map_err(ConnectionError::CouldntSetupConfiguration)?;
    if access == Access::Read {
        connection.batch_execute("PRAGMA query_only = ON;").map_err(ConnectionError::CouldntSetupConfiguration)?;
    }
    Ok(connection)
}

/// Creates the file with mode 0600 before SQLite would make it readable by all. Its WAL inherits
/// the mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map(drop)
}

fn file_error(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied; allow this user to write there or set another path in database.url".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only; set another path in database.url".to_owned(),
        ErrorKind::StorageFull => "the disk is full; free some space".to_owned(),
        ErrorKind::IsADirectory => "it is a directory; set a file in database.url".to_owned(),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a component of the path is not a directory; set another path in database.url".to_owned()
        }
        _ => format!("{error}; set another path in database.url"),
    }
}

/// Timeouts for libpq, which has none by default. A start and a pool must not wait forever, and an
/// unresponsive server must be detected within a minute, because the ledger waits for its response.
const TIMEOUTS: [(&str, &str); 5] = [
    ("connect_timeout", "5"),
    ("keepalives_idle", "30"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
];

/// The URL with [`TIMEOUTS`], except for parameters that it sets itself.
fn with_timeouts(url: &str) -> Secret {
    let mut text = url.to_owned();
    for (name, value) in TIMEOUTS {
        if !url.contains(&format!("{name}=")) {
            text.push(if text.contains('?') { '&' } else { '?' });
            text.push_str(&format!("{name}={value}"));
        }
    }
    Secret::new(text)
}

fn one_line(text: &str) -> String {
    text.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join("; ")
}

/// Redacts the password: libpq quotes parts of a URL that it cannot parse.
fn without_password(text: &str, url: &str) -> String {
    let authority = url.split_once("://").map_or(url, |(_, rest)| rest);
    let password = authority.split('@').next().filter(|_| authority.contains('@')).and_then(|user| user.split_once(':'));
    match password {
        Some((_, password)) if !password.is_empty() => text.replace(password, "[redacted]"),
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_gets_timeouts_except_those_it_sets() {
        let all = "connect_timeout=5&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000";
        assert_eq!(with_timeouts("postgres://u:p@db/d").expose(), format!("postgres://u:p@db/d?{all}"));
        assert_eq!(with_timeouts("postgres://u@db/d?sslmode=require").expose(), format!("postgres://u@db/d?sslmode=require&{all}"));
        let own = "postgres://u@db/d?keepalives_count=9&connect_timeout=60&tcp_user_timeout=0";
        assert_eq!(with_timeouts(own).expose(), format!("{own}&keepalives_idle=30&keepalives_interval=10"));
    }
}
