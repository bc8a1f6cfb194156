//! Usage requests of OpenAI's Admin API, parsed strictly: period, buckets, filters, groups and
//! page. Times are in Unix seconds; buckets start at whole minutes, hours and days of UTC.

use actix_web::HttpRequest;

use crate::clock;
use crate::control::admin::input::Parameters;
use crate::control::admin::page;
use crate::control::error::ControlError;
use crate::control::store::entries::LedgerFilter;
use crate::control::store::usage::{Among, BucketWidth, Dimension, UsageQuery, UsageRow};
use crate::terms::Operation;

/// An endpoint: what it counts and which parameters it has.
pub struct Endpoint {
    /// Operations to count; empty: all.
    pub operations: &'static [Operation],
    /// Fields to group by.
    pub fields: &'static [GroupField],
    /// Whether buckets can be shorter than a day.
    pub hours_and_minutes: bool,
    /// Maximum number of days on one page.
    pub max_days: i64,
}

/// A field to group by, in OpenAI's terms.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupField {
    /// `project_id`: the tenant.
    Project,
    /// `user_id`: the subject.
    User,
    /// `api_key_id`
    Key,
    /// `model`
    Model,
    /// `line_item`: the model.
    LineItem,
    /// `batch`: always false.
    Batch,
    /// `service_tier`: not recorded.
    ServiceTier,
    /// `api_source`: always `unlabeled`.
    Source,
}

/// A valid usage request.
#[derive(Debug)]
pub struct UsageRequest {
    start: i64,
    end: i64,
    width: BucketWidth,
    /// Start of the first bucket of this page.
    first: i64,
    limit: i64,
    fields: Vec<GroupField>,
    among: Among,
    /// `batch=true`, which matches no entry.
    only_batches: bool,
}

/// The end of the year 9999 in Unix seconds.
const MAX_TIME: i64 = 253_402_300_799;
/// Maximum values of one list.
const MAX_VALUES: usize = 1_000;

impl GroupField {
    const ALL: [(&'static str, GroupField); 8] = [
        ("project_id", GroupField::Project),
        ("user_id", GroupField::User),
        ("api_key_id", GroupField::Key),
        ("model", GroupField::Model),
        ("line_item", GroupField::LineItem),
        ("batch", GroupField::Batch),
        ("service_tier", GroupField::ServiceTier),
        ("api_source", GroupField::Source),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// The dimension of the ledger; `None` for fields with a constant value.
    fn dimension(self) -> Option<Dimension> {
        match self {
            GroupField::Project => Some(Dimension::Tenant),
            GroupField::User => Some(Dimension::Subject),
            GroupField::Key => Some(Dimension::Key),
            GroupField::Model | GroupField::LineItem => Some(Dimension::Model),
            GroupField::Batch | GroupField::ServiceTier | GroupField::Source => None,
        }
    }
}

impl UsageRequest {
    /// Parses a request. Also returns the fingerprint that its pages share.
    ///
    /// # Errors
    /// Names the invalid parameter.
    pub fn read(request: &HttpRequest, endpoint: &Endpoint) -> Result<(Self, u32), ControlError> {
        let mut parameters = Parameters::of(request);
        let fingerprint = parameters.fingerprint();
        let parsed = Self::of(&mut parameters, endpoint, clock::unix_seconds())?;
        parameters.finish()?;
        Ok((parsed, fingerprint))
    }

    fn of(parameters: &mut Parameters, endpoint: &Endpoint, now: i64) -> Result<Self, ControlError> {
        let fingerprint = parameters.fingerprint();
        let missing = || ControlError::invalid("start_time", "start_time is required, in Unix seconds");
        let start = moment(parameters, "start_time")?.ok_or_else(missing)?;
        // Entries settled within this second count too.
        let end = moment(parameters, "end_time")?;
        if end.is_some_and(|end| end <= start) {
            return Err(ControlError::invalid("end_time", "end_time must be after start_time"));
        }
        let end = end.unwrap_or_else(|| start.max(now + 1));
        let width = width(parameters, endpoint)?;
        let first = page(parameters, fingerprint, start, end, width)?;
        Ok(Self {
            start,
            end,
            width,
            first,
            limit: limit(parameters, endpoint, width)?,
            fields: fields(parameters, endpoint)?,
            only_batches: batch(parameters, endpoint)?,
            among: Among {
                operations: endpoint.operations.to_vec(),
                tenants: list(parameters, "project_ids")?,
                keys: list(parameters, "api_key_ids")?,
                subjects: list(parameters, "user_ids")?,
                models: models(parameters, endpoint)?,
            },
        })
    }

    /// The ledger query; `None` if it cannot match any entry.
    pub fn query(&self) -> Option<UsageQuery> {
        let (from, to) = (self.start.max(self.first), self.page_end().min(self.end));
        let filter = LedgerFilter { from: Some(from * 1_000), to: Some(to * 1_000), ..LedgerFilter::default() };
        let query = UsageQuery { filter, among: self.among.clone(), group_by: self.dimensions(), bucket_width: Some(self.width) };
        (from < to && !self.only_batches).then_some(query)
    }

    /// Start and end of each bucket of this page.
    pub fn buckets(&self) -> impl Iterator<Item = (i64, i64)> {
        let (seconds, last) = (seconds(self.width), self.page_end().min(self.end));
        (0..self.limit)
            .map(move |nth| self.first + nth * seconds)
            .take_while(move |start| *start < last)
            .map(move |start| (start, start + seconds))
    }

    /// Start of the next page; `None` on the last.
    pub fn next(&self) -> Option<i64> {
        Some(self.page_end()).filter(|next| *next < self.end)
    }

    /// Returns whether results are grouped by `field`.
    pub fn groups_by(&self, field: GroupField) -> bool {
        self.fields.contains(&field)
    }

    /// Returns the value of a field that results are grouped by.
    pub fn value<'r>(&self, row: &'r UsageRow, field: GroupField) -> Option<&'r str> {
        let dimension = field.dimension().filter(|_| self.groups_by(field))?;
        let nth = self.dimensions().iter().position(|known| *known == dimension)?;
        row.group.get(nth)?.as_deref()
    }

    fn dimensions(&self) -> Vec<Dimension> {
        self.fields.iter().filter_map(|field| field.dimension()).collect()
    }

    fn page_end(&self) -> i64 {
        self.first + self.limit * seconds(self.width)
    }
}

fn seconds(width: BucketWidth) -> i64 {
    match width {
        BucketWidth::Minute => 60,
        BucketWidth::Hour => 3_600,
        // OpenAI's API has no monthly buckets.
        BucketWidth::Day | BucketWidth::Month => 86_400,
    }
}

fn moment(parameters: &mut Parameters, name: &str) -> Result<Option<i64>, ControlError> {
    match parameters.number(name)? {
        Some(at) if !(0..=MAX_TIME).contains(&at) => {
            Err(ControlError::invalid(name, format!("{name} must be in Unix seconds, not milliseconds")))
        }
        at => Ok(at),
    }
}

fn width(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<BucketWidth, ControlError> {
    match parameters.one("bucket_width")?.as_deref() {
        None | Some("1d") => Ok(BucketWidth::Day),
        Some("1h") if endpoint.hours_and_minutes => Ok(BucketWidth::Hour),
        Some("1m") if endpoint.hours_and_minutes => Ok(BucketWidth::Minute),
        Some(_) => {
            let all = if endpoint.hours_and_minutes { "1m, 1h or 1d" } else { "1d" };
            Err(ControlError::invalid("bucket_width", format!("bucket_width must be {all}")))
        }
    }
}

/// Parses the number of buckets of one page.
fn limit(parameters: &mut Parameters, endpoint: &Endpoint, width: BucketWidth) -> Result<i64, ControlError> {
    let (default, max) = match width {
        BucketWidth::Minute => (60, 1_440),
        BucketWidth::Hour => (24, 168),
        BucketWidth::Day | BucketWidth::Month => (7, endpoint.max_days),
    };
    match parameters.number("limit")? {
        Some(limit) if !(1..=max).contains(&limit) => {
            Err(ControlError::invalid("limit", format!("limit must be 1 to {max} for this bucket_width")))
        }
        limit => Ok(limit.unwrap_or(default)),
    }
}

/// Parses the start of the first bucket of the page.
fn page(parameters: &mut Parameters, fingerprint: u32, start: i64, end: i64, width: BucketWidth) -> Result<i64, ControlError> {
    let aligned = |at: i64| at - at % seconds(width);
    let Some(cursor) = parameters.one("page")? else { return Ok(aligned(start)) };
    let next = page::decode(&cursor, fingerprint).and_then(|text| text.parse().ok());
    let fits = |next: &i64| *next > start && *next < end && *next == aligned(*next);
    next.filter(fits).ok_or_else(|| ControlError::invalid("page", "page must be the next_page of an earlier response to the same query"))
}

fn fields(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<Vec<GroupField>, ControlError> {
    let mut fields = Vec::new();
    for name in list(parameters, "group_by")? {
        let field = endpoint.fields.iter().find(|field| field.name() == name).ok_or_else(|| {
            let all: Vec<_> = endpoint.fields.iter().map(|field| field.name()).collect();
            ControlError::invalid("group_by", format!("group_by must be any of {}", all.join(", ")))
        })?;
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
    Ok(fields)
}

/// Parses the models; for costs also the line items, which are models.
fn models(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<Vec<String>, ControlError> {
    let mut models = list(parameters, "models")?;
    if endpoint.fields.contains(&GroupField::LineItem) {
        models.extend(list(parameters, "line_items")?);
    }
    Ok(models)
}

fn batch(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<bool, ControlError> {
    if !endpoint.fields.contains(&GroupField::Batch) {
        return Ok(false);
    }
    match parameters.one("batch")?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ControlError::invalid("batch", "batch must be true or false")),
    }
}

/// Parses a list. `name[]=a&name[]=b`, which the SDKs send, and `name=a&name=b` are the same.
fn list(parameters: &mut Parameters, name: &str) -> Result<Vec<String>, ControlError> {
    let mut values = parameters.many(&format!("{name}[]"));
    values.extend(parameters.many(name));
    if values.iter().any(String::is_empty) {
        return Err(ControlError::invalid(name, format!("values of {name} must not be empty; omit them")));
    }
    if values.len() > MAX_VALUES {
        return Err(ControlError::invalid(name, format!("{name} must have at most {MAX_VALUES} values")));
    }
    Ok(values)
}
