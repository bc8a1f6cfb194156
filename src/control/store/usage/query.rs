//! A usage query: its filters, dimensions and time buckets.

use crate::control::store::entries::LedgerFilter;
use crate::terms::Operation;

/// Maximum number of dimensions of a query.
pub const MAX_DIMENSIONS: usize = 7;
/// Maximum number of rows of a result.
pub const MAX_ROWS: usize = 100_000;

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

    pub(super) fn column(&self) -> &'static str {
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
    pub(super) fn milliseconds(self) -> i64 {
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
    pub(super) fn begin(self, at: i64) -> i64 {
        if self == BucketWidth::Month { month_of(at).unwrap_or(at) } else { at }
    }
}

/// Start of the UTC month that contains `at`, both in Unix milliseconds; `None` beyond the year
/// 9999.
pub(in crate::control::store) fn month_of(at: i64) -> Option<i64> {
    let utc = jiff::tz::TimeZone::UTC;
    let day = jiff::Timestamp::from_millisecond(at).ok()?.to_zoned(utc.clone()).date();
    Some(day.first_of_month().to_zoned(utc).ok()?.timestamp().as_millisecond())
}
