//! `/reload`

use actix_web::{HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::AdminError;
use crate::control::Control;

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Reloaded")]
pub(super) struct ReloadedJson {
    object: &'static str,
    models: usize,
    providers: usize,
    warnings: Vec<String>,
}

pub async fn reload(control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let reloaded = control.reload().await?;
    let json = ReloadedJson { object: "reload", models: reloaded.models, providers: reloaded.providers, warnings: reloaded.warnings };
    Ok(HttpResponse::Ok().json(json))
}
