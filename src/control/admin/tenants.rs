//! `/tenants`

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::error::AdminError;
use super::gate::actor;
use super::input::{Body, Parameters};
use super::page::Page;
use crate::control::Control;
use crate::control::store::tenants::TenantRow;
use crate::control::tenants::{NewTenant, TenantChange};

#[derive(Serialize)]
struct TenantJson {
    object: &'static str,
    id: String,
    name: String,
    brokered: bool,
    broker_fallback: bool,
    custody: String,
    enabled: bool,
    created_at: i64,
}

#[derive(Serialize)]
struct Deleted {
    object: &'static str,
    id: String,
    deleted: bool,
}

pub async fn create(request: HttpRequest, control: web::Data<Control>, body: Body<NewTenant>) -> Result<HttpResponse, AdminError> {
    let row = control.create_tenant(actor(&request), body.0).await?;
    Ok(HttpResponse::Created().json(shown(row)))
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
    body: Body<TenantChange>,
) -> Result<HttpResponse, AdminError> {
    Ok(HttpResponse::Ok().json(shown(control.change_tenant(actor(&request), path.into_inner(), body.0).await?)))
}

pub async fn delete(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let row = control.delete_tenant(actor(&request), path.into_inner()).await?;
    Ok(HttpResponse::Ok().json(Deleted { object: "tenant.deleted", id: row.id, deleted: true }))
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
    }
}
