//! Writes that the two databases need different statements for: batch inserts and upserts.
//!
//! The only file that matches on [`AnyConnection`] to write. PostgreSQL stores a batch five times
//! faster as one statement (spec/actix-notes.md section 8); SQLite reuses prepared statements of a
//! few sizes.

use diesel::prelude::*;
use diesel::upsert::excluded;

use super::connection::AnyConnection;
use super::entries::{EntryRow, InsertEntries, InsertTags, TagRow};
use super::schema::{entries, entry_tags, journal_positions};

/// Rows per PostgreSQL statement: 32 columns, at most 65,535 parameters.
const ROWS: usize = 1_000;

/// Rows per SQLite statement: for most of a batch, and for the remainder.
const MANY: usize = 32;
const FEW: usize = 4;

/// Inserts all rows with one of the SQLite statements.
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

/// Stores entries and their tags, skipping those already stored.
///
/// # Errors
/// If the database fails; the caller must then roll its transaction back.
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

/// Sets the position up to which a journal segment is stored.
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
