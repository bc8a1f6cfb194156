//! `/providers`, the brokered providers and how they have been doing; `/tenants/{t}/providers`, those of one tenant in the
//! order they are tried.

use actix_web::{HttpRequest, HttpResponse, web};
use serde::Serialize;

use super::error::AdminError;
use super::input::Parameters;
use super::page::List;
use crate::catalog::chain::providers_for;
use crate::catalog::snapshot::Listed;
use crate::config::Disabled;
use crate::control::error::ControlError;
use crate::control::{Control, Health, directory};
use crate::terms::TenantId;

#[derive(Serialize)]
struct ProviderJson<'a> {
    object: &'static str,
    name: &'a str,
    kind: &'a str,
    source: &'static str,
    base_url: Option<&'a str>,
    tenants: Option<&'a [TenantId]>,
    enabled: bool,
    disabled_reason: Option<String>,
    last4: Option<&'a str>,
    cooldown_until: Option<i64>,
    failures: u32,
    last_error: Option<String>,
}

pub async fn list(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    Parameters::of(&request).finish()?;
    let offerings = control.snapshot().offerings;
    let providers = offerings.providers.iter().map(|listed| shown(listed, control.health(&listed.provider.name)));
    Ok(HttpResponse::Ok().json(List::whole(providers.collect())))
}

/// With `model`: the chain of a request for it. Without: every provider the tenant may use.
pub async fn chain(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let mut parameters = Parameters::of(&request);
    let model = parameters.one("model")?;
    parameters.finish()?;
    let tenant = directory::tenant(control.tenant(path.into_inner()).await?);
    let offerings = control.snapshot().offerings;
    let all = &offerings.providers;
    let listed: Vec<&Listed> = match model {
        Some(name) => {
            let model = offerings.model(&name).ok_or(ControlError::UnknownModel(name))?;
            let chain = providers_for(&tenant, model);
            chain.iter().filter_map(|offer| all.iter().find(|listed| listed.provider.name == offer.provider.name)).collect()
        }
        None => all.iter().filter(|listed| tenant.brokered && listed.provider.serves(&tenant.id)).collect(),
    };
    let providers = listed.into_iter().map(|listed| shown(listed, control.health(&listed.provider.name)));
    Ok(HttpResponse::Ok().json(List::whole(providers.collect())))
}

fn shown(listed: &Listed, health: Health) -> ProviderJson<'_> {
    let provider = &listed.provider;
    ProviderJson {
        object: "provider",
        name: &provider.name,
        kind: &provider.kind,
        source: "brokered",
        base_url: provider.base_url.as_deref(),
        tenants: provider.tenants.as_deref(),
        enabled: listed.disabled.is_none(),
        disabled_reason: listed.disabled.as_ref().map(reason),
        last4: listed.last4.as_deref(),
        cooldown_until: health.cooldown_until,
        failures: health.failures,
        last_error: health.last_error,
    }
}

fn reason(disabled: &Disabled) -> String {
    match disabled {
        Disabled::ByOperator => "enabled = false".to_owned(),
        Disabled::NoKey(source) => format!("no key in {source}"),
    }
}
