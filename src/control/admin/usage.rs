//! `/usage`

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::error::AdminError;
use super::input::Parameters;
use super::ledger::filter;
use crate::control::Control;
use crate::control::error::ControlError;
use crate::control::store::usage::{BucketWidth, Dimension, MAX_DIMENSIONS, Totals, UsageQuery, UsageRow};

#[derive(Serialize)]
struct UsageJson<'a> {
    object: &'static str,
    data: Vec<Row<'a>>,
    totals: Totals,
    has_more: bool,
    next_cursor: Option<&'static str>,
}

/// One sum: when, of what, how much.
struct Row<'a> {
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
    };
    parameters.finish()?;
    let names: Vec<String> = query.group_by.iter().map(Dimension::name).collect();
    let width = query.bucket_width;
    let rows = control.usage(query).await?;
    let mut totals = Totals::default();
    rows.iter().for_each(|row| totals.add(&row.totals));
    let data = rows.iter().map(|row| Row { names: &names, row, width }).collect();
    Ok(HttpResponse::Ok().json(UsageJson { object: "list", data, totals, has_more: false, next_cursor: None }))
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
        return Err(ControlError::invalid("group_by", format!("group_by may name at most {MAX_DIMENSIONS}")));
    }
    Ok(dimensions)
}

fn read_width(name: &str) -> Result<BucketWidth, ControlError> {
    BucketWidth::from_name(name).ok_or_else(|| ControlError::invalid("bucket_width", "bucket_width must be 1m, 1h, 1d or 1mo"))
}

impl Serialize for Row<'_> {
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
