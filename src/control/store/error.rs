//! Errors of the database and of the connections to it.

use std::path::PathBuf;

/// An error of the store. The text is one line, contains no secret and names the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The SQLite file cannot be used.
    #[error("cannot open the database {}: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Reason and remedy.
        reason: String,
    },
    /// The PostgreSQL server refuses the connection or cannot be reached.
    #[error("cannot reach the database: {0}; check database.url and that the server is running")]
    Unreachable(String),
    /// No connection became free, or could be opened, in time.
    #[error("no database connection within 2 s: {0}")]
    NoConnection(String),
    /// A migration failed.
    #[error("cannot migrate the database: {0}")]
    Migration(String),
    /// A statement failed.
    #[error("database: {0}")]
    Query(#[from] diesel::result::Error),
}
