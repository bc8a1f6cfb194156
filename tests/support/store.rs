//! Database of a gateway under test: SQLite always, PostgreSQL if `AIGW_TEST_POSTGRES_URL` is set.

use std::path::Path;

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection, SqliteConnection};

use super::unique;

/// Kind of database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Store {
    Sqlite,
    Postgres,
}

impl Store {
    /// Whether it can be tested here. Prints a message if not.
    pub fn is_available(self) -> bool {
        let available = self == Store::Sqlite || postgres().is_some();
        if !available {
            eprintln!("skipped: AIGW_TEST_POSTGRES_URL is not set");
        }
        available
    }

    /// Creates an empty database and returns its URL.
    pub fn url(self, directory: &Path) -> String {
        match self {
            Store::Sqlite => format!("sqlite://{}/aigw.db", directory.display()),
            Store::Postgres => {
                let server = postgres().expect("AIGW_TEST_POSTGRES_URL");
                let name = unique("aigw").replace('-', "_");
                let mut connection = PgConnection::establish(&server).unwrap_or_else(|error| panic!("AIGW_TEST_POSTGRES_URL: {error}"));
                connection.batch_execute(&format!("CREATE DATABASE {name}")).unwrap();
                let mut url = url::Url::parse(&server).unwrap();
                url.set_path(&name);
                url.to_string()
            }
        }
    }
}

fn postgres() -> Option<String> {
    std::env::var("AIGW_TEST_POSTGRES_URL").ok().filter(|url| !url.is_empty())
}

/// Blocks a database from accepting entries until the returned guard is dropped.
pub fn blocked(database: &str) -> Box<dyn SimpleConnection> {
    if let Some(file) = database.strip_prefix("sqlite://") {
        let mut connection = SqliteConnection::establish(file).unwrap();
        connection.batch_execute("PRAGMA busy_timeout = 5000; BEGIN IMMEDIATE").unwrap();
        return Box::new(connection);
    }
    let mut connection = PgConnection::establish(database).unwrap();
    connection.batch_execute("BEGIN; LOCK TABLE entries IN SHARE MODE").unwrap();
    Box::new(connection)
}

/// Declares tests that run on every store. Each gets the shared gateway on that store.
macro_rules! on_every_store {
    ($($(#[$meta:meta])* fn $name:ident($shared:ident: &TestGateway) $body:block)+) => {
        $(fn $name($shared: &$crate::support::test_gateway::TestGateway) $body)+
        mod on_sqlite { $(#[test] fn $name() { super::$name($crate::support::test_gateway::shared_gateway_on($crate::support::store::Store::Sqlite)) })+ }
        mod on_postgresql { $(#[test] fn $name() {
            let store = $crate::support::store::Store::Postgres;
            if store.is_available() { super::$name($crate::support::test_gateway::shared_gateway_on(store)) }
        })+ }
    };
}
pub(crate) use on_every_store;
