//! What OpenAI's Admin API can be asked about usage, read strictly: which time, in which buckets, of what, grouped by what, and
//! which page of the answer. Times are in Unix seconds, and buckets begin at whole minutes, hours and days of UTC.

use actix_web::HttpRequest;

use crate::control::admin::input::Parameters;
use crate::control::admin::page;
use crate::control::error::ControlError;
use crate::control::now_ms;
use crate::control::store::entries::LedgerFilter;
use crate::control::store::usage::{Among, BucketWidth, Dimension, UsageQuery, UsageRow};
use crate::terms::Operation;

/// What an endpoint counts and how it may be asked.
pub struct Endpoint {
    /// Empty: all.
    pub operations: &'static [Operation],
    /// What it groups by.
    pub fields: &'static [Field],
    /// Whether buckets may be shorter than a day.
    pub hours_and_minutes: bool,
    /// Days on one page at most.
    pub longest: i64,
}

/// What can be grouped by, in OpenAI's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
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
    /// `batch`: nothing is.
    Batch,
    /// `service_tier`: not known.
    ServiceTier,
    /// `api_source`: `unlabeled`.
    Source,
}

/// A question that makes sense.
#[derive(Debug)]
pub struct Question {
    start: i64,
    end: i64,
    width: BucketWidth,
    /// When the first bucket of this page begins.
    first: i64,
    limit: i64,
    fields: Vec<Field>,
    among: Among,
    /// `batch=true`: only what does not exist.
    only_batches: bool,
}

/// The end of the year 9999 in Unix seconds.
const LATEST: i64 = 253_402_300_799;
/// Values of one list.
const MAX_VALUES: usize = 1_000;

impl Field {
    const ALL: [(&'static str, Field); 8] = [
        ("project_id", Field::Project),
        ("user_id", Field::User),
        ("api_key_id", Field::Key),
        ("model", Field::Model),
        ("line_item", Field::LineItem),
        ("batch", Field::Batch),
        ("service_tier", Field::ServiceTier),
        ("api_source", Field::Source),
    ];

    fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// The ledger's own dimension, if entries differ in it.
    fn dimension(self) -> Option<Dimension> {
        match self {
            Field::Project => Some(Dimension::Tenant),
            Field::User => Some(Dimension::Subject),
            Field::Key => Some(Dimension::Key),
            Field::Model | Field::LineItem => Some(Dimension::Model),
            Field::Batch | Field::ServiceTier | Field::Source => None,
        }
    }
}

impl Question {
    /// The question of a request, and the fingerprint that its pages share.
    ///
    /// # Errors
    /// Names the parameter that makes no sense.
    pub fn read(request: &HttpRequest, endpoint: &Endpoint) -> Result<(Self, u32), ControlError> {
        let mut parameters = Parameters::of(request);
        let fingerprint = parameters.fingerprint();
        let question = Self::of(&mut parameters, endpoint, now_ms() / 1_000)?;
        parameters.finish()?;
        Ok((question, fingerprint))
    }

    fn of(parameters: &mut Parameters, endpoint: &Endpoint, now: i64) -> Result<Self, ControlError> {
        let fingerprint = parameters.fingerprint();
        let missing = || ControlError::invalid("start_time", "start_time is required, in unix seconds");
        let start = moment(parameters, "start_time")?.ok_or_else(missing)?;
        // What is settled within this second counts too.
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

    /// The sums to ask for; `None` if there can be none.
    pub fn usage(&self) -> Option<UsageQuery> {
        let (from, to) = (self.start.max(self.first), self.page_end().min(self.end));
        let filter = LedgerFilter { from: Some(from * 1_000), to: Some(to * 1_000), ..LedgerFilter::default() };
        let query = UsageQuery { filter, among: self.among.clone(), group_by: self.dimensions(), bucket_width: Some(self.width) };
        (from < to && !self.only_batches).then_some(query)
    }

    /// When each bucket of this page begins and ends.
    pub fn buckets(&self) -> impl Iterator<Item = (i64, i64)> {
        let (seconds, last) = (seconds(self.width), self.page_end().min(self.end));
        (0..self.limit)
            .map(move |nth| self.first + nth * seconds)
            .take_while(move |start| *start < last)
            .map(move |start| (start, start + seconds))
    }

    /// When the next page begins.
    pub fn next(&self) -> Option<i64> {
        Some(self.page_end()).filter(|next| *next < self.end)
    }

    /// Whether results are grouped by it.
    pub fn groups_by(&self, field: Field) -> bool {
        self.fields.contains(&field)
    }

    /// What a row says of a field that results are grouped by.
    pub fn value<'r>(&self, row: &'r UsageRow, field: Field) -> Option<&'r str> {
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
        // OpenAI's API knows no months.
        BucketWidth::Day | BucketWidth::Month => 86_400,
    }
}

fn moment(parameters: &mut Parameters, name: &str) -> Result<Option<i64>, ControlError> {
    match parameters.number(name)? {
        Some(at) if !(0..=LATEST).contains(&at) => {
            Err(ControlError::invalid(name, format!("{name} must be in unix seconds (not milliseconds)")))
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

/// Buckets of one page.
fn limit(parameters: &mut Parameters, endpoint: &Endpoint, width: BucketWidth) -> Result<i64, ControlError> {
    let (usual, longest) = match width {
        BucketWidth::Minute => (60, 1_440),
        BucketWidth::Hour => (24, 168),
        BucketWidth::Day | BucketWidth::Month => (7, endpoint.longest),
    };
    match parameters.number("limit")? {
        Some(limit) if !(1..=longest).contains(&limit) => {
            Err(ControlError::invalid("limit", format!("limit must be 1 to {longest} for this bucket_width")))
        }
        limit => Ok(limit.unwrap_or(usual)),
    }
}

/// When the first bucket of the page begins.
fn page(parameters: &mut Parameters, fingerprint: u32, start: i64, end: i64, width: BucketWidth) -> Result<i64, ControlError> {
    let aligned = |at: i64| at - at % seconds(width);
    let Some(cursor) = parameters.one("page")? else { return Ok(aligned(start)) };
    let next = page::decode(&cursor, fingerprint).and_then(|text| text.parse().ok());
    let fits = |next: &i64| *next > start && *next < end && *next == aligned(*next);
    next.filter(fits).ok_or_else(|| ControlError::invalid("page", "page must be the next_page of an earlier answer to the same question"))
}

fn fields(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<Vec<Field>, ControlError> {
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

/// Costs are asked for by line items; they are models.
fn models(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<Vec<String>, ControlError> {
    let mut models = list(parameters, "models")?;
    if endpoint.fields.contains(&Field::LineItem) {
        models.extend(list(parameters, "line_items")?);
    }
    Ok(models)
}

fn batch(parameters: &mut Parameters, endpoint: &Endpoint) -> Result<bool, ControlError> {
    if !endpoint.fields.contains(&Field::Batch) {
        return Ok(false);
    }
    match parameters.one("batch")?.as_deref() {
        None | Some("false") => Ok(false),
        Some("true") => Ok(true),
        Some(_) => Err(ControlError::invalid("batch", "batch must be true or false")),
    }
}

/// `name[]=a&name[]=b`, as the SDKs spell it, and `name=a&name=b` mean the same.
fn list(parameters: &mut Parameters, name: &str) -> Result<Vec<String>, ControlError> {
    let mut values = parameters.many(&format!("{name}[]"));
    values.extend(parameters.many(name));
    if values.iter().any(String::is_empty) {
        return Err(ControlError::invalid(name, format!("a value of {name} is empty; leave it out")));
    }
    if values.len() > MAX_VALUES {
        return Err(ControlError::invalid(name, format!("{name} must be at most {MAX_VALUES} values")));
    }
    Ok(values)
}
