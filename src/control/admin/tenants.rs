//! `/tenants`, tenant keys and epochs

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::AdminError;
use super::gate::actor;
use super::input::{JsonBody, Parameters};
use super::page::{ListJson, Page};
use crate::control::Control;
use crate::control::store::roots::TenantKeyRow;
use crate::control::store::tenants::TenantRow;
use crate::control::tenants::{CreatedTenant, NewTenant, TenantChange};
use crate::credential::CredentialKind;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Tenant")]
pub(super) struct TenantJson {
    object: &'static str,
    id: String,
    name: String,
    brokered: bool,
    broker_fallback: bool,
    custody: String,
    enabled: bool,
    created_at: i64,
    /// The tenant key, for a tenant with custody `tenant`; shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_key: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_key_id: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantKey")]
pub(super) struct TenantKeyJson<'a> {
    object: &'static str,
    id: &'a str,
    tenant: &'a str,
    /// The key itself, shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    tenant_key: Option<&'a str>,
    display: String,
    created_at: i64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Epoch")]
pub(super) struct EpochJson {
    object: &'static str,
    tenant: String,
    epoch: i32,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "TenantDeleted")]
pub(super) struct TenantDeletedJson {
    object: &'static str,
    id: String,
    deleted: bool,
}

pub async fn create(request: HttpRequest, control: web::Data<Control>, body: JsonBody<NewTenant>) -> Result<HttpResponse, AdminError> {
    let CreatedTenant { row, tenant_key } = control.create_tenant(actor(&request), body.0).await?;
    let mut json = shown(row);
    if let Some(issued) = tenant_key {
        (json.tenant_key, json.tenant_key_id) = (Some(issued.key.text().expose().to_owned()), Some(issued.row.id));
    }
    Ok(HttpResponse::Created().json(json))
}

pub async fn list_keys(control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let rows = control.tenant_keys(path.into_inner()).await?;
    Ok(HttpResponse::Ok().json(ListJson::whole(rows.iter().map(|row| shown_key(row, None)).collect())))
}

pub async fn create_key(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let issued = control.create_tenant_key(actor(&request), path.into_inner()).await?;
    Ok(HttpResponse::Created().json(shown_key(&issued.row, Some(issued.key.text().expose()))))
}

pub async fn delete_key(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, id) = path.into_inner();
    let row = control.delete_tenant_key(actor(&request), tenant, id).await?;
    Ok(HttpResponse::Ok().json(TenantDeletedJson { object: "tenant_key.deleted", id: row.id, deleted: true }))
}

/// Starts the next epoch, after a leak.
pub async fn advance_epoch(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let tenant = path.into_inner();
    let epoch = control.advance_epoch(actor(&request), tenant.clone()).await?;
    Ok(HttpResponse::Ok().json(EpochJson { object: "epoch", tenant, epoch }))
}

pub async fn list(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let mut parameters = Parameters::of(&request);
    let page = Page::of(&mut parameters)?;
    parameters.finish()?;
    let rows = control.tenants(page.after.clone(), page.fetched()).await?;
    Ok(HttpResponse::Ok().json(page.list(rows, |row| row.id.clone(), shown)))
}

pub async fn show(control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    Ok(HttpResponse::Ok().json(shown(control.tenant(path.into_inner()).await?)))
}

pub async fn change(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<String>,
    body: JsonBody<TenantChange>,
) -> Result<HttpResponse, AdminError> {
    Ok(HttpResponse::Ok().json(shown(control.change_tenant(actor(&request), path.into_inner(), body.0).await?)))
}

pub async fn delete(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let row = control.delete_tenant(actor(&request), path.into_inner()).await?;
    Ok(HttpResponse::Ok().json(TenantDeletedJson { object: "tenant.deleted", id: row.id, deleted: true }))
}

fn shown(row: TenantRow) -> TenantJson {
    TenantJson {
        object: "tenant",
        id: row.id,
        name: row.name,
        brokered: row.brokered,
        broker_fallback: row.broker_fallback,
        custody: row.custody,
        enabled: row.enabled,
        created_at: row.created_at,
        tenant_key: None,
        tenant_key_id: None,
    }
}

fn shown_key<'a>(row: &'a TenantKeyRow, key: Option<&'a str>) -> TenantKeyJson<'a> {
    let display = CredentialKind::Tenant.masked(&row.last4);
    TenantKeyJson { object: "tenant_key", id: &row.id, tenant: &row.tenant, tenant_key: key, display, created_at: row.created_at }
}
