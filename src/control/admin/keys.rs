//! `/tenants/{t}/keys`

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::error::AdminError;
use super::gate::actor;
use super::input::{JsonBody, Parameters};
use super::page::Page;
use crate::clock;
use crate::control::Control;
use crate::control::error::ControlError;
use crate::control::keys::settings::is_active;
use crate::control::keys::{IssuedKey, KeyFields};
use crate::control::store::keys::KeyRow;
use crate::credential::CredentialKind;

/// The body of a rotation.
#[derive(Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, expecting = "a JSON object")]
pub struct Rotation {
    /// Time that the old key keeps working, such as `"1h"`; zero by default.
    grace: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Key")]
pub(super) struct KeyJson<'a> {
    object: &'static str,
    id: &'a str,
    /// The key itself, shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<&'a str>,
    display: String,
    tenant: &'a str,
    name: &'a str,
    subject: &'a str,
    team: Option<&'a str>,
    #[serde(serialize_with = "object")]
    #[schemars(with = "std::collections::BTreeMap<String, String>")]
    tags: &'a [(String, String)],
    allowed_models: Option<&'a [String]>,
    monthly_budget_cents: Option<i64>,
    rpm: Option<i64>,
    tpm: Option<i64>,
    max_concurrency: Option<i64>,
    expires_at: Option<i64>,
    status: &'static str,
    /// Whether the key can use the tenant's own providers. A key from before the gateway had a
    /// master key cannot; rotate it.
    byo: bool,
    created_at: i64,
    revoked_at: Option<i64>,
    rotated_from: Option<&'a str>,
}

pub async fn create(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<String>,
    body: JsonBody<KeyFields>,
) -> Result<HttpResponse, AdminError> {
    let issued = control.create_key(actor(&request), path.into_inner(), body.0).await?;
    Ok(created(&issued))
}

pub async fn list(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let mut parameters = Parameters::of(&request);
    let page = Page::of(&mut parameters)?;
    parameters.finish()?;
    let tenant = path.into_inner();
    let rows = control.keys(tenant.clone(), page.after.clone(), page.fetched()).await?;
    let rows: Vec<&KeyRow> = rows.iter().collect();
    let keys_with_grants = control.keys_with_grants(tenant).await?;
    Ok(HttpResponse::Ok().json(page.list(rows, |row| row.id.clone(), |row| shown(row, None, keys_with_grants.contains(&row.id)))))
}

pub async fn show(control: web::Data<Control>, path: web::Path<(String, String)>) -> Result<HttpResponse, AdminError> {
    let (tenant, id) = path.into_inner();
    answer(&control, &control.key(tenant, id).await?).await
}

pub async fn change(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
    body: JsonBody<KeyFields>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, id) = path.into_inner();
    answer(&control, &control.change_key(actor(&request), tenant, id, body.0).await?).await
}

pub async fn revoke(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, id) = path.into_inner();
    answer(&control, &control.revoke_key(actor(&request), tenant, id).await?).await
}

pub async fn rotate(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
    body: JsonBody<Rotation>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, id) = path.into_inner();
    let grace = grace(body.0.grace.as_deref())?;
    Ok(created(&control.rotate_key(actor(&request), tenant, id, grace).await?))
}

fn grace(text: Option<&str>) -> Result<Duration, ControlError> {
    let invalid = |_| ControlError::invalid("grace", "grace must be a duration such as \"1h\" or \"30d\"");
    text.map_or(Ok(Duration::ZERO), |text| humantime::parse_duration(text).map_err(invalid))
}

async fn answer(control: &Control, row: &KeyRow) -> Result<HttpResponse, AdminError> {
    let has_grants = control.keys_with_grants(row.tenant.clone()).await?.contains(&row.id);
    Ok(HttpResponse::Ok().json(shown(row, None, has_grants)))
}

fn created(issued: &IssuedKey) -> HttpResponse {
    HttpResponse::Created().json(shown(&issued.row, Some(issued.key.text().expose()), issued.has_grants))
}

fn shown<'a>(row: &'a KeyRow, key: Option<&'a str>, byo: bool) -> KeyJson<'a> {
    KeyJson {
        object: "key",
        id: &row.id,
        key,
        display: CredentialKind::Virtual.masked(&row.last4),
        tenant: &row.tenant,
        name: &row.name,
        subject: &row.subject,
        team: row.team.as_deref(),
        tags: &row.tags.0,
        allowed_models: row.allowed_models.0.as_deref(),
        monthly_budget_cents: row.monthly_budget_cents,
        rpm: row.rpm,
        tpm: row.tpm,
        max_concurrency: row.max_concurrency,
        expires_at: row.expires_at,
        status: status(row),
        byo,
        created_at: row.created_at,
        revoked_at: row.revoked_at,
        rotated_from: row.rotated_from.as_deref(),
    }
}

fn status(row: &KeyRow) -> &'static str {
    match row.revoked_at {
        Some(_) => "revoked",
        None if is_active(row, clock::unix_seconds()) => "active",
        None => "expired",
    }
}

/// Serializes pairs as a JSON object.
pub(super) fn object<S: Serializer>(pairs: &[(String, String)], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(pairs.len()))?;
    for (name, value) in pairs {
        map.serialize_entry(name, value)?;
    }
    map.end()
}
