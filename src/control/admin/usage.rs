//! `/usage`

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::error::AdminError;
use super::input::Parameters;
use super::ledger::filter;
use super::page::{ListJson, Page, bad_cursor};
use crate::control::Control;
use crate::control::error::ControlError;
use crate::control::store::usage::{BucketWidth, Dimension, MAX_DIMENSIONS, Totals, UsageQuery, UsageRow};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Usage")]
pub(super) struct UsageJson<'a> {
    #[serde(flatten)]
    list: ListJson<UsageRowJson<'a>>,
    /// Totals of the whole result, on every page.
    totals: Totals,
}

/// Sort key of a row: bucket and group.
type UsagePosition = (Option<i64>, Vec<Option<String>>);

/// Totals of one bucket and group.
struct UsageRowJson<'a> {
    names: &'a [String],
    row: &'a UsageRow,
    width: Option<BucketWidth>,
}

pub async fn list(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let mut parameters = Parameters::of(&request);
    let query = UsageQuery {
        filter: filter(&mut parameters)?,
        group_by: dimensions(&mut parameters)?,
        bucket_width: parameters.one("bucket_width")?.map(|width| read_width(&width)).transpose()?,
        ..UsageQuery::default()
    };
    let is_paged = parameters.has("limit") || parameters.has("cursor");
    let page = is_paged.then(|| Page::of(&mut parameters)).transpose()?;
    parameters.finish()?;
    let after = page.as_ref().and_then(|page| page.after.as_deref());
    let after: Option<UsagePosition> = after.map(|text| serde_json::from_str(text).map_err(|_| bad_cursor())).transpose()?;
    let names: Vec<String> = query.group_by.iter().map(Dimension::name).collect();
    let width = query.bucket_width;
    let rows = control.usage(query).await?;
    let mut totals = Totals::default();
    rows.iter().for_each(|row| totals.add(&row.totals));
    let shown = |row| UsageRowJson { names: &names, row, width };
    let remaining = rows.iter().filter(|row| after.as_ref().is_none_or(|(bucket, group)| (&row.bucket, &row.group) > (bucket, group)));
    let list = match page {
        Some(page) => page.list(remaining.take(page.fetched()).collect(), |row| position(row), shown),
        None => ListJson::whole(remaining.map(shown).collect()),
    };
    Ok(HttpResponse::Ok().json(UsageJson { list, totals }))
}

fn position(row: &UsageRow) -> String {
    serde_json::to_string(&(row.bucket, &row.group)).unwrap_or_default()
}

/// `group_by=a,b`, `group_by=a&group_by=b` and `group_by[]=a` mean the same.
fn dimensions(parameters: &mut Parameters) -> Result<Vec<Dimension>, ControlError> {
    let mut given = parameters.many("group_by");
    given.extend(parameters.many("group_by[]"));
    let mut dimensions = Vec::new();
    for name in given.iter().flat_map(|value| value.split(',')).map(str::trim).filter(|name| !name.is_empty()) {
        let all = "group_by must be any of tenant, team, key, subject, model, provider, tag:NAME";
        let dimension = Dimension::from_name(name).ok_or_else(|| ControlError::invalid("group_by", all))?;
        if !dimensions.contains(&dimension) {
            dimensions.push(dimension);
        }
    }
    if dimensions.len() > MAX_DIMENSIONS {
        return Err(ControlError::invalid("group_by", format!("group_by must name at most {MAX_DIMENSIONS} dimensions")));
    }
    Ok(dimensions)
}

fn read_width(name: &str) -> Result<BucketWidth, ControlError> {
    BucketWidth::from_name(name).ok_or_else(|| ControlError::invalid("bucket_width", "bucket_width must be 1m, 1h, 1d or 1mo"))
}

/// Schema of [`UsageRowJson`]. A row also has a field for each dimension of `group_by`.
#[derive(JsonSchema)]
#[allow(dead_code, reason = "only used for the schema")]
struct UsageRowSchema {
    /// Only with buckets, as is `end_time`.
    #[schemars(skip_serializing_if = "Option::is_none")]
    start_time: Option<i64>,
    #[schemars(skip_serializing_if = "Option::is_none")]
    end_time: Option<i64>,
    #[schemars(flatten)]
    totals: Totals,
    #[schemars(flatten)]
    groups: std::collections::BTreeMap<String, Option<String>>,
}

impl JsonSchema for UsageRowJson<'_> {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "UsageRow".into()
    }

    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        UsageRowSchema::json_schema(generator)
    }
}

impl Serialize for UsageRowJson<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        if let (Some(start), Some(width)) = (self.row.bucket, self.width) {
            map.serialize_entry("start_time", &start)?;
            map.serialize_entry("end_time", &width.end(start))?;
        }
        for (name, value) in self.names.iter().zip(&self.row.group) {
            map.serialize_entry(name, value)?;
        }
        for (name, sum) in self.row.totals.named() {
            map.serialize_entry(name, &sum)?;
        }
        map.end()
    }
}
