//! One connection type over two databases, how each is opened, and what the pools hand out.
//!
//! Statements are written once against [`AnyConnection`]; only [`batches`](super::batches) looks inside it.
#![allow(missing_docs, reason = "the derive makes public items of its own")]

use std::fs::{DirBuilder, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use diesel::r2d2::{ManageConnection, R2D2Connection};

use super::StoreError;
use super::tls::Tls;
use crate::config::DatabaseUrl;
use crate::secret::Secret;

/// A connection to either database.
#[derive(diesel::MultiConnection)]
pub enum AnyConnection {
    /// One file.
    Sqlite(SqliteConnection),
    /// A server.
    Postgres(PgConnection),
}

/// The backend of [`AnyConnection`], for boxed queries.
pub type Backend = <AnyConnection as diesel::Connection>::Backend;

/// Opens connections for a pool.
pub struct Manager {
    target: Target,
    access: Access,
}

/// What a connection is for. PostgreSQL makes no difference.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    /// May write; on SQLite there is one of these, because a second writer only waits.
    Write,
    /// Reads, beside the writer.
    Read,
}

/// Which database.
#[derive(Clone)]
pub enum Target {
    /// The file's path.
    Sqlite(PathBuf),
    /// The server's URL, which may hold a password, and how to reach it over TLS if that is demanded.
    Postgres(Arc<Secret>, Option<Tls>),
}

/// A page is what SQLite writes at a time; of 8 KiB, the ledger's rows take a third less system time than of the usual 4 KiB. It is
/// decided when a database is made.
const SQLITE_SETTINGS: &str = "PRAGMA busy_timeout = 5000; PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
     PRAGMA foreign_keys = ON; PRAGMA secure_delete = ON;";

impl Target {
    /// The database that is configured; an SQLite file and its directory are made if need be.
    ///
    /// # Errors
    /// If the file cannot be made or opened for writing.
    pub fn prepare(url: &DatabaseUrl) -> Result<Self, StoreError> {
        match url {
            DatabaseUrl::Sqlite(path) => {
                create_private(path).map_err(|error| StoreError::File { path: path.clone(), why: file_trouble(&error) })?;
                Ok(Target::Sqlite(path.clone()))
            }
            DatabaseUrl::Postgres(url) => {
                let tls = Tls::of(url.expose()).map_err(|error| StoreError::Unreachable(error.to_string()))?;
                Ok(Target::Postgres(Arc::new(with_patience(url.expose())), tls))
            }
        }
    }

    /// Opens one connection, its settings made.
    ///
    /// # Errors
    /// If the database cannot be reached or is none; the text is one line and holds no password.
    pub fn connect(&self, access: Access) -> Result<AnyConnection, StoreError> {
        match self {
            Target::Sqlite(path) => self.unreachable_on_error(sqlite(path, access)).map(AnyConnection::Sqlite),
            Target::Postgres(url, None) => self.unreachable_on_error(PgConnection::establish(url.expose())).map(AnyConnection::Postgres),
            Target::Postgres(url, Some(tls)) => {
                let tunnel = tls.open().map_err(|error| StoreError::Unreachable(error.to_string()))?;
                let connection = PgConnection::establish(tunnel.url(url.expose()).expose());
                self.unreachable_on_error(connection).map(AnyConnection::Postgres)
            }
        }
    }

    fn unreachable_on_error<T>(&self, result: ConnectionResult<T>) -> Result<T, StoreError> {
        result.map_err(|error| match self {
            Target::Sqlite(path) => {
                StoreError::File { path: path.clone(), why: format!("{}; name another path in database.url", one_line(&error.to_string())) }
            }
            Target::Postgres(url, _) => StoreError::Unreachable(without_password(&one_line(&error.to_string()), url.expose())),
        })
    }
}

impl Manager {
    /// Opens connections to `target` for `access`.
    pub fn new(target: Target, access: Access) -> Self {
        Self { target, access }
    }
}

impl ManageConnection for Manager {
    type Connection = AnyConnection;
    type Error = StoreError;

    fn connect(&self) -> Result<AnyConnection, StoreError> {
        self.target.connect(self.access)
    }

    /// A server may have gone away since; a file has not.
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

/// Makes the file, readable by its owner alone, before SQLite would make it readable by all. Its WAL inherits the mode.
fn create_private(path: &Path) -> std::io::Result<()> {
    if let Some(directory) = path.parent().filter(|directory| !directory.as_os_str().is_empty()) {
        DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    }
    OpenOptions::new().read(true).append(true).create(true).mode(0o600).open(path).map(drop)
}

fn file_trouble(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::PermissionDenied => "permission denied; let this user write there or name another path in database.url".to_owned(),
        ErrorKind::ReadOnlyFilesystem => "the file system is read-only; name another path in database.url".to_owned(),
        ErrorKind::StorageFull => "the disk is full; free some space".to_owned(),
        ErrorKind::IsADirectory => "it is a directory; name a file in database.url".to_owned(),
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a part of its path is not a directory; name another path in database.url".to_owned()
        }
        _ => format!("{error}; name another path in database.url"),
    }
}

/// libpq waits for ever by default. A start-up and a pool must not, and a server that is silently gone must be noticed within a
/// minute: the ledger waits for its answer.
const PATIENCE: [(&str, &str); 5] = [
    ("connect_timeout", "5"),
    ("keepalives_idle", "30"),
    ("keepalives_interval", "10"),
    ("keepalives_count", "3"),
    ("tcp_user_timeout", "30000"),
];

/// The URL with [`PATIENCE`], but for what it says itself.
fn with_patience(url: &str) -> Secret {
    let mut text = url.to_owned();
    for (name, value) in PATIENCE {
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

/// libpq quotes parts of a URL it cannot read.
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
    fn a_url_gets_patience_but_for_what_it_says_itself() {
        let all = "connect_timeout=5&keepalives_idle=30&keepalives_interval=10&keepalives_count=3&tcp_user_timeout=30000";
        assert_eq!(with_patience("postgres://u:p@db/d").expose(), format!("postgres://u:p@db/d?{all}"));
        assert_eq!(with_patience("postgres://u@db/d?sslmode=require").expose(), format!("postgres://u@db/d?sslmode=require&{all}"));
        let own = "postgres://u@db/d?keepalives_count=9&connect_timeout=60&tcp_user_timeout=0";
        assert_eq!(with_patience(own).expose(), format!("{own}&keepalives_idle=30&keepalives_interval=10"));
    }
}
