//! Databases for tests: always a new SQLite file, and a new schema on PostgreSQL if a server is
//! configured.

use diesel::connection::SimpleConnection;
use diesel::{Connection, PgConnection};

use super::Store;
use crate::config::DatabaseUrl;
use crate::secret::Secret;

const POSTGRES: &str = "AIGW_TEST_POSTGRES_URL";

/// A store and the guard that removes its database.
pub struct Fresh {
    pub store: Store,
    pub url: DatabaseUrl,
    #[allow(dead_code, reason = "held for its drop")]
    pub cleanup: Box<dyn Send + Sync>,
}

/// Runs `test` on SQLite and, if a server is configured, on PostgreSQL; otherwise prints that it is
/// skipped.
pub fn on_each_database(test: impl Fn(Fresh)) {
    test(sqlite());
    match std::env::var(POSTGRES) {
        Ok(url) => test(postgres(&url)),
        Err(_) => eprintln!("skipped on PostgreSQL: {POSTGRES} is unset"),
    }
}

/// A new SQLite database.
pub fn sqlite() -> Fresh {
    let directory = tempfile::tempdir().unwrap();
    let url = DatabaseUrl::Sqlite(directory.path().join("data/aigw.db"));
    Fresh { store: Store::open(&url).unwrap(), url, cleanup: Box::new(directory) }
}

fn postgres(server: &str) -> Fresh {
    let schema = format!("test_{}", uuid::Uuid::now_v7().simple());
    PgConnection::establish(server).unwrap().batch_execute(&format!("CREATE SCHEMA {schema}")).unwrap();
    let separator = if server.contains('?') { '&' } else { '?' };
    let url = format!("{server}{separator}options=-csearch_path%3D{schema}");
    let url = DatabaseUrl::Postgres(std::sync::Arc::new(Secret::new(url)));
    Fresh { store: Store::open(&url).unwrap(), url, cleanup: Box::new(Schema { server: server.to_owned(), schema }) }
}

struct Schema {
    server: String,
    schema: String,
}

impl Drop for Schema {
    fn drop(&mut self) {
        if let Ok(mut connection) = PgConnection::establish(&self.server) {
            let _ = connection.batch_execute(&format!("SET client_min_messages = error; DROP SCHEMA {} CASCADE", self.schema));
        }
    }
}
