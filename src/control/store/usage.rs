//! Usage: sums over the ledger by dimension and time.
//!
//! Entries that were rolled up ([`retention`](super::retention)) count as if created at the start
//! of their month. Calendar months are summed from days here, because the two databases have
//! different date functions; `statement` generates the SQL.

mod query;
mod statement;
mod totals;

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::connection::AnyConnection;
use statement::SumRow;

pub(super) use query::month_of;
pub use query::{Among, BucketWidth, Dimension, MAX_DIMENSIONS, MAX_ROWS, UsageQuery};
pub use totals::Totals;

/// A row of the result.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// Start of the bucket in Unix milliseconds; `None` without buckets.
    pub bucket: Option<i64>,
    /// Values of the dimensions in the order of the query; `None` where entries have none.
    pub group: Vec<Option<String>>,
    /// The sums.
    pub totals: Totals,
}

/// The sums of a query, ordered by bucket and group; `None` if there are more than [`MAX_ROWS`].
///
/// # Errors
/// If the database fails.
pub fn usage(connection: &mut AnyConnection, query: &UsageQuery) -> QueryResult<Option<Vec<UsageRow>>> {
    let rows: Vec<SumRow> = statement::of(query).load(connection)?;
    Ok((rows.len() <= MAX_ROWS).then(|| fold(rows, query)))
}

fn fold(rows: Vec<SumRow>, query: &UsageQuery) -> Vec<UsageRow> {
    let mut sums: BTreeMap<(Option<i64>, Vec<Option<String>>), Totals> = BTreeMap::new();
    for row in rows {
        let bucket = query.bucket_width.map(|width| width.begin(row.bucket));
        let totals = row.totals();
        let group = row.group(query.group_by.len());
        sums.entry((bucket, group)).or_default().add(&totals);
    }
    sums.into_iter().map(|((bucket, group), totals)| UsageRow { bucket, group, totals }).collect()
}
