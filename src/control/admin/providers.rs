//! `/providers`, the brokered providers with their health; `/tenants/{t}/providers`, the providers
//! of one tenant in the order they are tried, including its own.

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;

use super::error::AdminError;
use super::gate::actor;
use super::input::{JsonBody, Parameters};
use super::page::ListJson;
use crate::catalog::byo::{Inactive, TenantProvider, TenantProviders};
use crate::catalog::caller::Tenant;
use crate::catalog::chain::{merge, providers_for};
use crate::catalog::offerings::{BrokeredProvider, Offerings};
use crate::config::Disabled;
use crate::control::error::ControlError;
use crate::control::providers::ProviderFields;
use crate::control::store::providers::ProviderRow;
use crate::control::{Control, directory};
use crate::terms::{Billing, TenantId};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Provider")]
pub(super) struct ProviderJson<'a> {
    object: &'static str,
    name: &'a str,
    kind: &'a str,
    source: &'static str,
    base_url: Option<&'a str>,
    #[schemars(with = "Option<Vec<String>>")]
    tenants: Option<&'a [TenantId]>,
    enabled: bool,
    disabled_reason: Option<String>,
    last4: Option<&'a str>,
    cooldown_until: Option<i64>,
    failures: u32,
    last_error: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "ProviderDeleted")]
pub(super) struct ProviderDeletedJson {
    object: &'static str,
    name: String,
    deleted: bool,
}

/// A provider in a tenant's list.
#[derive(Clone, Copy)]
enum ListedProvider<'a> {
    Own(&'a TenantProvider),
    Brokered(&'a BrokeredProvider),
}

pub async fn list(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    Parameters::of(&request).finish()?;
    let offerings = control.snapshot().offerings;
    let providers = offerings.providers.iter().map(|listed| brokered(listed, &control));
    Ok(HttpResponse::Ok().json(ListJson::whole(providers.collect())))
}

/// With `model`: the chain of a request for this model. Without: every provider that the tenant may
/// use, and its own inactive ones.
pub async fn chain(request: HttpRequest, control: web::Data<Control>, path: web::Path<String>) -> Result<HttpResponse, AdminError> {
    let mut parameters = Parameters::of(&request);
    let model = parameters.one("model")?;
    parameters.finish()?;
    let row = control.tenant(path.into_inner()).await?;
    let snapshot = control.snapshot();
    let own = snapshot.directory.byo.get(row.id.as_str());
    let tenant = directory::tenant_record(row).into_tenant(own.is_some());
    let listed = match &model {
        Some(name) => chain_of(&tenant, own.map(AsRef::as_ref), &snapshot.offerings, name)?,
        None => usable(&tenant, own.map(AsRef::as_ref), &snapshot.offerings),
    };
    let providers = listed.into_iter().map(|listed| match listed {
        ListedProvider::Own(provider) => owned(provider, &tenant.id, &snapshot.offerings, &control),
        ListedProvider::Brokered(provider) => brokered(provider, &control),
    });
    Ok(HttpResponse::Ok().json(ListJson::whole(providers.collect())))
}

pub async fn put(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
    body: JsonBody<ProviderFields>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, name) = path.into_inner();
    let row = control.put_provider(actor(&request), tenant, name, body.0).await?;
    Ok(respond(&control, &row))
}

pub async fn show(control: web::Data<Control>, path: web::Path<(String, String)>) -> Result<HttpResponse, AdminError> {
    let (tenant, name) = path.into_inner();
    let row = control.provider(tenant, name).await?;
    Ok(respond(&control, &row))
}

pub async fn delete(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, name) = path.into_inner();
    let row = control.delete_provider(actor(&request), tenant, name).await?;
    Ok(HttpResponse::Ok().json(ProviderDeletedJson { object: "provider.deleted", name: row.name, deleted: true }))
}

pub async fn reseal(
    request: HttpRequest,
    control: web::Data<Control>,
    path: web::Path<(String, String)>,
) -> Result<HttpResponse, AdminError> {
    let (tenant, name) = path.into_inner();
    let row = control.reseal_provider(actor(&request), tenant, name).await?;
    Ok(respond(&control, &row))
}

/// Returns a tenant's own provider from the snapshot, or from its row if it is not in the snapshot
/// yet.
fn respond(control: &Control, row: &ProviderRow) -> HttpResponse {
    let snapshot = control.snapshot();
    let tenant = TenantId::from(row.tenant.as_str());
    let own = snapshot.directory.byo.get(&tenant);
    match own.and_then(|own| own.providers.iter().find(|own| *own.account.name == *row.name)) {
        Some(provider) => HttpResponse::Ok().json(owned(provider, &tenant, &snapshot.offerings, control)),
        None => HttpResponse::Ok().json(ProviderJson {
            object: "provider",
            name: &row.name,
            kind: &row.kind,
            source: "byo",
            base_url: row.base_url.as_deref(),
            tenants: None,
            enabled: row.enabled,
            disabled_reason: None,
            last4: row.last4.as_deref(),
            cooldown_until: None,
            failures: 0,
            last_error: None,
        }),
    }
}

/// Returns the providers tried for a model, in order.
fn chain_of<'a>(
    tenant: &Tenant,
    own: Option<&'a TenantProviders>,
    offerings: &'a Offerings,
    name: &str,
) -> Result<Vec<ListedProvider<'a>>, ControlError> {
    let model = offerings.model(name).ok_or_else(|| ControlError::UnknownModel(name.to_owned()))?;
    let chain = own.and_then(|own| own.chain(model)).cloned().unwrap_or_else(|| providers_for(tenant, model));
    let listed = chain.iter().filter_map(|offer| match offer.provider.billing {
        Billing::Byo => own?.providers.iter().find(|own| own.account.name == offer.provider.name).map(ListedProvider::Own),
        Billing::Brokered => {
            offerings.providers.iter().find(|listed| listed.provider.name == offer.provider.name).map(ListedProvider::Brokered)
        }
    });
    Ok(listed.collect())
}

/// Returns all providers that a tenant may use, in natural order.
fn usable<'a>(tenant: &Tenant, own: Option<&'a TenantProviders>, offerings: &'a Offerings) -> Vec<ListedProvider<'a>> {
    let brokered = offerings.providers.iter().filter(|listed| tenant.brokered && listed.provider.serves(&tenant.id));
    let brokered: Vec<ListedProvider<'_>> = brokered.map(ListedProvider::Brokered).collect();
    let own: Vec<ListedProvider<'_>> = own.into_iter().flat_map(|own| &own.providers).map(ListedProvider::Own).collect();
    merge(&own, &brokered, true, |listed| match listed {
        ListedProvider::Own(provider) => &provider.account.name,
        ListedProvider::Brokered(listed) => &listed.provider.name,
    })
}

fn brokered<'a>(listed: &'a BrokeredProvider, control: &Control) -> ProviderJson<'a> {
    let (provider, health) = (&listed.provider, control.health(None, &listed.provider.name));
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

fn owned<'a>(own: &'a TenantProvider, tenant: &TenantId, offerings: &'a Offerings, control: &Control) -> ProviderJson<'a> {
    let (account, health) = (&own.account, control.health(Some(tenant), &own.account.name));
    let of_kind = || offerings.kinds.get(&account.kind).and_then(|kind| kind.base_url.as_deref());
    ProviderJson {
        object: "provider",
        name: &account.name,
        kind: &account.kind,
        source: "byo",
        base_url: account.base_url.as_deref().or_else(of_kind),
        tenants: None,
        enabled: own.inactive.is_none(),
        disabled_reason: own.inactive.map(|inactive| inactive_reason(inactive, &account.kind)),
        last4: account.last4.as_deref(),
        cooldown_until: health.cooldown_until,
        failures: health.failures,
        last_error: health.last_error,
    }
}

fn inactive_reason(inactive: Inactive, kind: &str) -> String {
    match inactive {
        Inactive::Disabled => "enabled = false".to_owned(),
        Inactive::UnknownKind => format!("kind {kind} is no longer configured"),
        Inactive::NoBaseUrl => format!("neither the provider nor kind {kind} has a base_url"),
        Inactive::RolledBack => "the sealed key is older than the previous one; set the key again".to_owned(),
    }
}

fn reason(disabled: &Disabled) -> String {
    match disabled {
        Disabled::ByOperator => "enabled = false".to_owned(),
        Disabled::NoKey(source) => format!("no key in {source}"),
    }
}
