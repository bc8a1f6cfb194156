//! The store as the ledger's sink: entries and journal positions, in one transaction.

use diesel::prelude::*;

use super::batches::{insert_entries, set_position};
use super::entries::{EntryRow, TagRow};
use super::schema::journal_positions;
use super::{Store, StoreError};
use crate::ledger::{Batch, EntrySink, Positions, SinkError};

/// The sink of the ledger.
pub struct StoreSink(Store);

impl Store {
    /// A sink for the ledger's thread. It keeps no connection between batches.
    pub fn sink(&self) -> StoreSink {
        StoreSink(self.clone())
    }
}

impl EntrySink for StoreSink {
    fn store(&mut self, batch: &Batch) -> Result<(), SinkError> {
        let rows: Vec<EntryRow> = batch.entries.iter().map(EntryRow::of).collect();
        let tags: Vec<TagRow> = batch.entries.iter().flat_map(TagRow::all_of).collect();
        let stored: Result<(), StoreError> = self.0.write(|connection| {
            insert_entries(connection, &rows, &tags)?;
            for (segment, position) in &batch.positions {
                set_position(connection, segment, i64::try_from(*position).unwrap_or(i64::MAX))?;
            }
            Ok(())
        });
        stored.map_err(SinkError::from)
    }

    fn positions(&mut self) -> Result<Positions, SinkError> {
        let rows: Result<Vec<(String, i64)>, StoreError> = self.0.read(|connection| Ok(journal_positions::table.load(connection)?));
        Ok(rows?.into_iter().map(|(segment, position)| (segment, u64::try_from(position).unwrap_or(0))).collect())
    }

    fn forget(&mut self, segments: &[String]) -> Result<(), SinkError> {
        let gone: Result<usize, StoreError> = self.0.write(|connection| {
            Ok(diesel::delete(journal_positions::table.filter(journal_positions::segment.eq_any(segments))).execute(connection)?)
        });
        gone.map(drop).map_err(SinkError::from)
    }
}

impl From<StoreError> for SinkError {
    fn from(error: StoreError) -> Self {
        SinkError(error.to_string())
    }
}
