//! `/edges`

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::AdminError;
use super::gate::actor;
use super::input::{JsonBody, Parameters};
use super::page::ListJson;
use crate::control::Control;
use crate::control::edges::{IssuedEdge, NewEdge};
use crate::control::store::edges::EdgeRow;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Edge")]
pub(super) struct EdgeJson<'a> {
    object: &'static str,
    id: &'a str,
    /// The edge key, shown only once.
    #[serde(skip_serializing_if = "Option::is_none")]
    edge_key: Option<&'a str>,
    tenants: Option<&'a [String]>,
    /// Tenants with custody `tenant`, which grant nothing to this edge until their next epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pending_tenants: Option<&'a [String]>,
    created_at: i64,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "EdgeDeleted")]
pub(super) struct EdgeDeletedJson {
    object: &'static str,
    id: String,
    deleted: bool,
}

pub async fn create(request: HttpRequest, control: web::Data<Control>, body: JsonBody<NewEdge>) -> Result<HttpResponse, AdminError> {
    let IssuedEdge { row, key, pending } = control.create_edge(actor(&request), body.0).await?;
    let json = EdgeJson { edge_key: Some(key.text().expose()), pending_tenants: Some(&pending), ..shown(&row) };
    Ok(HttpResponse::Created().json(json))
}

pub async fn list(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    Parameters::of(&request).finish()?;
    let rows = control.edges().await?;
    Ok(HttpResponse::Ok().json(ListJson::whole(rows.iter().map(shown).collect())))
}

pub async fn delete(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let row = control.delete_edge(actor(&request), path.into_inner()).await?;
    Ok(HttpResponse::Ok().json(EdgeDeletedJson { object: "edge.deleted", id: row.id, deleted: true }))
}

fn shown(row: &EdgeRow) -> EdgeJson<'_> {
    let tenants = row.tenants.0.as_deref();
    EdgeJson { object: "edge", id: &row.id, edge_key: None, tenants, pending_tenants: None, created_at: row.created_at }
}
