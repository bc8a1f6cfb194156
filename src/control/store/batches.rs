//! What the two databases do not say alike: inserts of many rows, and inserts that pass over what is there.
//!
//! The only file that looks inside a [`AnyConnection`] to write. PostgreSQL takes a batch five times faster as one statement
//! (spec/actix-notes.md section 8); SQLite prepares statements of a few sizes once.

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::connection::AnyConnection;
use super::entries::{EntryRow, InsertEntries, InsertTags, TagRow};
use super::schema::{entries, entry_tags, journal_positions};

/// Rows in one PostgreSQL statement: 32 columns and at most 65,535 parameters.
const ROWS: usize = 1_000;

/// Rows in one SQLite statement of a full batch, and in one of what is left of it.
const MANY: usize = 32;
const FEW: usize = 4;

/// Runs one of the inserts over all rows.
macro_rules! insert {
    ($insert:ident, $rows:expr, $file:expr) => {
        let (many, rest) = $rows.as_chunks::<MANY>();
        let (few, rest) = rest.as_chunks::<FEW>();
        for rows in many {
            $insert(rows).execute($file)?;
        }
        for rows in few {
            $insert(rows).execute($file)?;
        }
        for row in rest {
            $insert(std::array::from_ref(row)).execute($file)?;
        }
    };
}

/// Stores entries and their tags, passing over those whose id is stored already.
///
/// # Errors
/// If the database fails; the transaction around it is then to be given up.
pub fn insert_entries(connection: &mut AnyConnection, rows: &[EntryRow<'_>], tags: &[TagRow<'_>]) -> QueryResult<()> {
    match connection {
        AnyConnection::Sqlite(file) => {
            insert!(InsertEntries, rows, file);
            insert!(InsertTags, tags, file);
        }
        AnyConnection::Postgres(server) => {
            for chunk in rows.chunks(ROWS) {
                diesel::insert_into(entries::table).values(chunk).on_conflict_do_nothing().execute(server)?;
            }
            for chunk in tags.chunks(ROWS) {
                diesel::insert_into(entry_tags::table).values(chunk).on_conflict_do_nothing().execute(server)?;
            }
        }
    }
    Ok(())
}

/// Says how far a journal segment is stored.
///
/// # Errors
/// As [`insert_entries`].
pub fn set_position(connection: &mut AnyConnection, segment: &str, position: i64) -> QueryResult<usize> {
    let row = (journal_positions::segment.eq(segment), journal_positions::position.eq(position));
    let moved = journal_positions::position.eq(excluded(journal_positions::position));
    let insert = diesel::insert_into(journal_positions::table).values(row).on_conflict(journal_positions::segment);
    match connection {
        AnyConnection::Sqlite(file) => insert.do_update().set(moved).execute(file),
        AnyConnection::Postgres(server) => insert.do_update().set(moved).execute(server),
    }
}
