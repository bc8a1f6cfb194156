//! Usage: sums over the ledger by dimension and time.
//!
//! Entries that were rolled up ([`retention`](super::retention)) count as if created at the start
//! of their month. Calendar months are summed from days here, because the two databases have
//! different date functions; `statement` generates the SQL.

mod statement;

use std::collections::BTreeMap;

use diesel::prelude::*;

use super::connection::AnyConnection;
use super::entries::LedgerFilter;
use crate::terms::Operation;
use statement::SumRow;

/// A dimension to group by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Dimension {
    /// `tenant`
    Tenant,
    /// `team`
    Team,
    /// `key`
    Key,
    /// `subject`
    Subject,
    /// `model`
    Model,
    /// `provider`
    Provider,
    /// `tag:NAME`
    Tag(String),
}

/// Width of a time bucket. Buckets start at whole minutes, hours, days or months of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BucketWidth {
    /// `1m`
    Minute,
    /// `1h`
    Hour,
    /// `1d`
    Day,
    /// `1mo`
    Month,
}

/// A usage query.
#[derive(Clone, Debug, Default)]
pub struct UsageQuery {
    /// Filter of entries.
    pub filter: LedgerFilter,
    /// Further filter, by lists.
    pub among: Among,
    /// At most [`MAX_DIMENSIONS`].
    pub group_by: Vec<Dimension>,
    /// `None`: one sum over all time.
    pub bucket_width: Option<BucketWidth>,
}

/// Filter by lists: an entry must match one element of each list that is not empty.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Among {
    /// Operations.
    pub operations: Vec<Operation>,
    /// Tenant ids.
    pub tenants: Vec<String>,
    /// Key ids.
    pub keys: Vec<String>,
    /// Subjects of keys.
    pub subjects: Vec<String>,
    /// Catalog model ids.
    pub models: Vec<String>,
}

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

/// Sums of entries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, schemars::JsonSchema)]
#[allow(missing_docs, reason = "names of ledger fields (DESIGN.md section 7)")]
pub struct Totals {
    /// Entries.
    pub requests: i64,
    pub prompt_tokens: i64,
    pub cached_tokens: i64,
    pub cache_write_tokens: i64,
    pub completion_tokens: i64,
    pub reasoning_tokens: i64,
    pub cost_nanousd: i64,
    pub list_cost_nanousd: i64,
}

/// Maximum number of dimensions of a query.
pub const MAX_DIMENSIONS: usize = 7;
/// Maximum number of rows of a result.
pub const MAX_ROWS: usize = 100_000;

/// The sums of a query, ordered by bucket and group; `None` if there are more than [`MAX_ROWS`].
///
/// # Errors
/// If the database fails.
pub fn usage(connection: &mut AnyConnection, query: &UsageQuery) -> QueryResult<Option<Vec<UsageRow>>> {
    let rows: Vec<SumRow> = statement::of(query).load(connection)?;
    Ok((rows.len() <= MAX_ROWS).then(|| fold(rows, query)))
}

impl Dimension {
    /// The dimension of that name, as `group_by` spells it.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "tenant" => Dimension::Tenant,
            "team" => Dimension::Team,
            "key" => Dimension::Key,
            "subject" => Dimension::Subject,
            "model" => Dimension::Model,
            "provider" => Dimension::Provider,
            _ => Dimension::Tag(name.strip_prefix("tag:").filter(|tag| !tag.is_empty())?.to_owned()),
        })
    }

    /// The name that [`from_name`](Self::from_name) parses.
    pub fn name(&self) -> String {
        match self {
            Dimension::Tag(tag) => format!("tag:{tag}"),
            Dimension::Key => "key".to_owned(),
            other => other.column().to_owned(),
        }
    }

    fn column(&self) -> &'static str {
        match self {
            Dimension::Tenant => "tenant",
            Dimension::Team => "team",
            Dimension::Key => "key_id",
            Dimension::Subject => "subject",
            Dimension::Model => "model",
            Dimension::Provider => "provider",
            Dimension::Tag(_) => "value",
        }
    }
}

impl BucketWidth {
    /// The width of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Some(match name {
            "1m" => BucketWidth::Minute,
            "1h" => BucketWidth::Hour,
            "1d" => BucketWidth::Day,
            "1mo" => BucketWidth::Month,
            _ => return None,
        })
    }

    /// Width of the buckets in SQL.
    fn milliseconds(self) -> i64 {
        match self {
            BucketWidth::Minute => 60_000,
            BucketWidth::Hour => 3_600_000,
            BucketWidth::Day | BucketWidth::Month => 86_400_000,
        }
    }

    /// End of the bucket that starts at `start`, which is the start of the next one.
    pub fn end(self, start: i64) -> i64 {
        match self {
            // A month has 28 to 31 days, so 31 days later is in the next month.
            BucketWidth::Month => month_of(start + 31 * 86_400_000).unwrap_or(start),
            _ => start + self.milliseconds(),
        }
    }

    /// Start of the bucket that an SQL bucket belongs to.
    fn begin(self, at: i64) -> i64 {
        if self == BucketWidth::Month { month_of(at).unwrap_or(at) } else { at }
    }
}

impl Totals {
    /// The sums with their names.
    pub fn named(&self) -> [(&'static str, i64); 8] {
        [
            ("requests", self.requests),
            ("prompt_tokens", self.prompt_tokens),
            ("cached_tokens", self.cached_tokens),
            ("cache_write_tokens", self.cache_write_tokens),
            ("completion_tokens", self.completion_tokens),
            ("reasoning_tokens", self.reasoning_tokens),
            ("cost_nanousd", self.cost_nanousd),
            ("list_cost_nanousd", self.list_cost_nanousd),
        ]
    }

    /// Adds `other` to these sums; saturates.
    pub fn add(&mut self, other: &Totals) {
        let sums = [
            (&mut self.requests, other.requests),
            (&mut self.prompt_tokens, other.prompt_tokens),
            (&mut self.cached_tokens, other.cached_tokens),
            (&mut self.cache_write_tokens, other.cache_write_tokens),
            (&mut self.completion_tokens, other.completion_tokens),
            (&mut self.reasoning_tokens, other.reasoning_tokens),
            (&mut self.cost_nanousd, other.cost_nanousd),
            (&mut self.list_cost_nanousd, other.list_cost_nanousd),
        ];
        for (sum, more) in sums {
            *sum = sum.saturating_add(more);
        }
    }
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

/// Start of the UTC month that contains `at`, both in Unix milliseconds; `None` beyond the year
/// 9999.
pub(super) fn month_of(at: i64) -> Option<i64> {
    let utc = jiff::tz::TimeZone::UTC;
    let day = jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(utc.clone()).date();
    Some(day.first_of_month().to_zoned(utc).ok()?.timestamp().as_millisecond())
}
