//! `/ledger`

mod csv;
mod json;

use actix_web::http::header::ACCEPT;
use actix_web::{HttpRequest, HttpResponse, web};

use super::error::AdminError;
use super::input::Parameters;
use super::page::{Page, bad_cursor};
use crate::control::Control;
use crate::control::error::ControlError;
use crate::control::store::entries::{LedgerFilter, PageCursor};
use crate::ledger::entry::{Entry, Outcome};
pub(super) use json::EntryJson;

/// The end of the year 9999 in Unix milliseconds.
const LATEST: i64 = 253_402_300_799_999;

pub async fn list(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let mut parameters = Parameters::of(&request);
    let filter = filter(&mut parameters)?;
    let is_limited = parameters.has("limit");
    let page = Page::of(&mut parameters)?;
    parameters.finish()?;
    let after = page.after.as_deref().map(|text| parse_position(text).ok_or_else(bad_cursor)).transpose()?;
    if wants_csv(&request) {
        return csv::answer(control.into_inner(), filter, after, is_limited.then_some(page.limit)).await;
    }
    let entries = control.entries(filter, after, page.fetched()).await?;
    let entries: Vec<&Entry> = entries.iter().collect();
    Ok(HttpResponse::Ok().json(page.list(entries, |entry| position(entry), EntryJson::from)))
}

pub async fn show(control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let entry = control.entry(path.into_inner()).await?;
    Ok(HttpResponse::Ok().json(EntryJson::from(&entry)))
}

/// Parses the filters that `/ledger` and `/usage` share.
pub(super) fn filter(parameters: &mut Parameters) -> Result<LedgerFilter, ControlError> {
    let (from, to) = range(parameters)?;
    Ok(LedgerFilter {
        tenant: parameters.one("tenant")?,
        key_id: parameters.one("key_id")?,
        model: parameters.one("model")?,
        provider: parameters.one("provider")?,
        subject: parameters.one("subject")?,
        tag: parameters.one("tag")?.map(parse_tag),
        outcome: parameters.one("outcome")?.map(|name| parse_outcome(&name)).transpose()?,
        from,
        to,
    })
}

/// Parses `from` and `to`, in Unix milliseconds.
fn range(parameters: &mut Parameters) -> Result<(Option<i64>, Option<i64>), ControlError> {
    let mut moment = |name| match parameters.number(name)? {
        Some(at) if !(0..=LATEST).contains(&at) => Err(ControlError::invalid(name, format!("{name} must be in Unix milliseconds"))),
        at => Ok(at),
    };
    let (from, to) = (moment("from")?, moment("to")?);
    match (from, to) {
        (Some(from), Some(to)) if to < from => Err(ControlError::invalid("to", "to must not be before from")),
        range => Ok(range),
    }
}

/// Parses `name=value`, or a name alone for any value.
fn parse_tag(text: String) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((name, value)) => (name.to_owned(), Some(value.to_owned())),
        None => (text, None),
    }
}

fn parse_outcome(name: &str) -> Result<Outcome, ControlError> {
    let all = "outcome must be one of ok, client_error, upstream_error, interrupted, client_closed";
    Outcome::from_name(name).ok_or_else(|| ControlError::invalid("outcome", all))
}

fn position(entry: &Entry) -> String {
    format!("{}.{}", entry.created_at, entry.id)
}

fn parse_position(text: &str) -> Option<PageCursor> {
    let (created_at, id) = text.split_once('.')?;
    Some(PageCursor { created_at: created_at.parse().ok()?, id: id.to_owned() })
}

fn wants_csv(request: &HttpRequest) -> bool {
    let accepted = request.headers().get_all(ACCEPT).filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|kind| {
        let kind = kind.split(';').next().unwrap_or_default();
        kind.trim().eq_ignore_ascii_case("text/csv")
    })
}
