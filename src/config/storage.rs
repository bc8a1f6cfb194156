//! `[database]` and `[ledger]`: durable state.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use super::duration;
use super::environment::Environment;
use super::section::Section;
use crate::secret::Secret;

const DAY: Duration = Duration::from_secs(86_400);
/// Default of `keep`.
const KEEP: Duration = Duration::from_secs(400 * 86_400);

/// `[database]`: the database that holds the state.
#[derive(Debug, Clone, PartialEq)]
pub struct Database {
    /// Parsed URL.
    pub url: DatabaseUrl,
}

/// Parsed database URL. PostgreSQL's may hold a password and is therefore a [`Secret`].
#[derive(Debug, Clone, PartialEq)]
pub enum DatabaseUrl {
    /// `sqlite://path`
    Sqlite(PathBuf),
    /// `postgres://user@host/db`
    Postgres(Arc<Secret>),
}

/// `[ledger]`: the journal in which entries wait for the database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerSettings {
    /// Directory of the journals.
    pub journal: PathBuf,
    /// Failure that a journaled entry survives.
    pub durability: Durability,
    /// Bytes of journal that may wait to be stored.
    pub max_journal: u64,
    /// Age at which entries are rolled up into monthly sums; `None`: never.
    pub keep: Option<Duration>,
}

/// Failure that a journaled entry survives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The end of the process, `kill -9` included.
    Process,
    /// Loss of power, except for the last moments (fsync).
    Power,
}

impl DatabaseUrl {
    /// Parses a database URL; `None` unless it names an SQLite file or a PostgreSQL server.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if let Some(path) = text.strip_prefix("sqlite://") {
            let is_file = !path.is_empty() && !path.starts_with(':') && !path.ends_with('/') && !path.contains(['?', '\0']);
            return is_file.then(|| Self::Sqlite(PathBuf::from(path)));
        }
        let parsed = url::Url::parse(text).ok()?;
        matches!(parsed.scheme(), "postgres" | "postgresql").then(|| Self::Postgres(Arc::new(Secret::new(text))))
    }
}

/// Reads `[database]`. `AIGW_DATABASE_URL` takes precedence.
pub(super) fn read_database(root: &mut Section<'_>, environment: &dyn Environment) -> Database {
    let mut section = root.section_or_empty("database");
    // The URL may hold a password, so no problem quotes it.
    let check = |section: &Section<'_>, text: &str, what: &str| {
        let url = DatabaseUrl::parse(text);
        if url.is_none() {
            section.problem("url", what, "write \"sqlite://path/to/aigw.db\" or \"postgres://user@host/database\"");
        }
        url
    };
    let in_toml = section.text("url").and_then(|text| check(&section, text, "is not a database URL"));
    let url = match environment.var("AIGW_DATABASE_URL") {
        Some(text) => check(&section, &text, "AIGW_DATABASE_URL is not a database URL"),
        None => in_toml,
    };
    section.done();
    Database { url: url.unwrap_or_else(|| DatabaseUrl::Sqlite(PathBuf::from("aigw-data/aigw.db"))) }
}

/// Reads `[ledger]`. The default directory of journals is beside the SQLite database.
pub(super) fn read_ledger(root: &mut Section<'_>, database: &Database) -> LedgerSettings {
    let mut section = root.section_or_empty("ledger");
    let beside = match &database.url {
        DatabaseUrl::Sqlite(path) => path.parent().map_or_else(|| PathBuf::from("journal"), |parent| parent.join("journal")),
        DatabaseUrl::Postgres(_) => PathBuf::from("aigw-data/journal"),
    };
    let durability = |text: &str| match text {
        "process" => Some(Durability::Process),
        "power" => Some(Durability::Power),
        _ => None,
    };
    let ledger = LedgerSettings {
        journal: section.text("journal").filter(|text| !text.is_empty()).map_or(beside, PathBuf::from),
        durability: section.parsed("durability", "write \"process\" or \"power\"", durability).unwrap_or(Durability::Process),
        max_journal: section.size("max_journal", 1 << 20..=1 << 50).unwrap_or(4 << 30),
        keep: section
            .parsed("keep", "write a duration of at least a day such as \"400d\", or \"forever\"", parse_keep)
            .unwrap_or(Some(KEEP)),
    };
    section.done();
    ledger
}

/// Parses `keep`; `Some(None)` is `"forever"`. At least a day, since a journal may wait that long to be recovered.
fn parse_keep(text: &str) -> Option<Option<Duration>> {
    if text == "forever" { Some(None) } else { duration::parse(text).filter(|keep| *keep >= DAY).map(Some) }
}
