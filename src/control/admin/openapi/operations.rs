//! Table of all admin routes with their summaries, parameters, bodies and responses.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::control::admin::page::ListJson;
use crate::control::admin::{catalog, edges, keys, ledger, organization, providers, reload, tenants, usage};
use crate::control::edges::NewEdge;
use crate::control::keys::KeyFields;
use crate::control::providers::ProviderFields;
use crate::control::tenants::{NewTenant, TenantChange};

/// One method of one path.
pub struct RouteDescription {
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    pub parameters: Vec<Parameter>,
    pub body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub status: u16,
    pub answer: fn(&mut SchemaGenerator) -> Schema,
    /// Whether `Accept: text/csv` returns CSV.
    pub is_csv_too: bool,
    /// Error statuses besides those of every route.
    pub errors: Vec<u16>,
}

/// A parameter of the query, or a header.
#[derive(Clone)]
pub struct Parameter {
    pub name: &'static str,
    pub location: &'static str,
    pub description: &'static str,
    pub r#type: &'static str,
    pub is_required: bool,
}

/// Name, type and description of a query parameter.
type ParameterRow = (&'static str, &'static str, &'static str);

const PAGE: [ParameterRow; 2] =
    [("limit", "integer", "Maximum number of rows: 1 to 1000."), ("cursor", "string", "The next_cursor of the previous page.")];
const FILTERS: [ParameterRow; 9] = [
    ("tenant", "string", "Only this tenant."),
    ("key_id", "string", "Only this key."),
    ("model", "string", "Only this model."),
    ("provider", "string", "Only this provider."),
    ("subject", "string", "Only this subject."),
    ("tag", "string", "Only entries with this tag: `name=value`, or a name for any value."),
    ("outcome", "string", "Only this outcome: ok, client_error, upstream_error, interrupted or client_closed."),
    ("from", "integer", "Start of the period, in Unix milliseconds."),
    ("to", "integer", "End of the period (exclusive), in Unix milliseconds."),
];
const BY: ParameterRow = ("group_by", "array", "Dimensions to group by: any of tenant, team, key, subject, model, provider, tag:NAME.");
const WIDTH: ParameterRow = ("bucket_width", "string", "Length of a bucket in UTC: 1m, 1h, 1d or 1mo.");
const TIME: [ParameterRow; 6] = [
    ("end_time", "integer", "End of the period (exclusive), in Unix seconds; defaults to now."),
    ("bucket_width", "string", "Length of a bucket: 1m, 1h or 1d; 1d for costs."),
    ("group_by[]", "array", "Fields to group by, as documented by OpenAI."),
    ("limit", "integer", "Maximum number of buckets on a page."),
    ("page", "string", "The next_page of the previous page."),
    ("models[]", "array", "Only these models."),
];
const SELECTION: [ParameterRow; 3] = [
    ("project_ids[]", "array", "Only these tenants."),
    ("user_ids[]", "array", "Only these subjects."),
    ("api_key_ids[]", "array", "Only these keys (ids)."),
];
const START: Parameter = Parameter {
    name: "start_time",
    location: "query",
    description: "Start of the period, in Unix seconds.",
    r#type: "integer",
    is_required: true,
};

const TENANT_KEY: Parameter = Parameter {
    name: "X-Aigw-Tenant-Key",
    location: "header",
    description: "The tenant key, for tenants with custody `tenant`.",
    r#type: "string",
    is_required: false,
};

/// Returns all routes.
pub fn all() -> Vec<RouteDescription> {
    let mut all = tenant_routes();
    all.extend(key_routes());
    all.extend(provider_routes());
    all.extend(ledger_routes());
    all.extend(openai_routes());
    all
}

fn tenant_routes() -> Vec<RouteDescription> {
    vec![
        RouteDescription::new::<ListJson<tenants::TenantJson>>("get", "/admin/v1/tenants", "List tenants").query(&PAGE),
        RouteDescription::new::<tenants::TenantJson>("post", "/admin/v1/tenants", "Create a tenant")
            .takes::<NewTenant>()
            .creates()
            .fails_with(&[409]),
        RouteDescription::new::<tenants::TenantJson>("get", "/admin/v1/tenants/{tenant}", "Show a tenant"),
        RouteDescription::new::<tenants::TenantJson>("patch", "/admin/v1/tenants/{tenant}", "Change a tenant")
            .takes::<TenantChange>()
            .fails_with(&[409]),
        RouteDescription::new::<tenants::TenantDeletedJson>("delete", "/admin/v1/tenants/{tenant}", "Delete a tenant and its keys")
            .fails_with(&[409]),
        RouteDescription::new::<ListJson<tenants::TenantKeyJson<'static>>>(
            "get",
            "/admin/v1/tenants/{tenant}/tenant-keys",
            "List tenant keys",
        ),
        RouteDescription::new::<tenants::TenantKeyJson<'static>>("post", "/admin/v1/tenants/{tenant}/tenant-keys", "Create a tenant key")
            .takes_tenant_key()
            .creates(),
        RouteDescription::new::<tenants::TenantDeletedJson>(
            "delete",
            "/admin/v1/tenants/{tenant}/tenant-keys/{key}",
            "Delete a tenant key",
        )
        .takes_tenant_key(),
        RouteDescription::new::<tenants::EpochJson>("post", "/admin/v1/tenants/{tenant}/epoch", "Start a new epoch after a leak")
            .takes_tenant_key(),
        RouteDescription::new::<ListJson<edges::EdgeJson<'static>>>("get", "/admin/v1/edges", "List edges"),
        RouteDescription::new::<edges::EdgeJson<'static>>("post", "/admin/v1/edges", "Create an edge")
            .takes::<NewEdge>()
            .creates()
            .fails_with(&[409]),
        RouteDescription::new::<edges::EdgeDeletedJson>("delete", "/admin/v1/edges/{edge}", "Delete an edge").fails_with(&[409]),
    ]
}

fn key_routes() -> Vec<RouteDescription> {
    vec![
        RouteDescription::new::<ListJson<keys::KeyJson<'static>>>("get", "/admin/v1/tenants/{tenant}/keys", "List virtual keys")
            .query(&PAGE),
        RouteDescription::new::<keys::KeyJson<'static>>("post", "/admin/v1/tenants/{tenant}/keys", "Create a virtual key")
            .takes::<KeyFields>()
            .takes_tenant_key()
            .creates(),
        RouteDescription::new::<keys::KeyJson<'static>>("get", "/admin/v1/tenants/{tenant}/keys/{key}", "Show a virtual key"),
        RouteDescription::new::<keys::KeyJson<'static>>("patch", "/admin/v1/tenants/{tenant}/keys/{key}", "Change a virtual key")
            .takes::<KeyFields>()
            .fails_with(&[409]),
        RouteDescription::new::<keys::KeyJson<'static>>("delete", "/admin/v1/tenants/{tenant}/keys/{key}", "Revoke a virtual key"),
        RouteDescription::new::<keys::KeyJson<'static>>("post", "/admin/v1/tenants/{tenant}/keys/{key}/rotate", "Rotate a virtual key")
            .takes::<keys::Rotation>()
            .takes_tenant_key()
            .creates(),
    ]
}

fn provider_routes() -> Vec<RouteDescription> {
    vec![
        RouteDescription::new::<ListJson<providers::ProviderJson<'static>>>(
            "get",
            "/admin/v1/tenants/{tenant}/providers",
            "List a tenant's providers in the order they are tried",
        )
        .query(&[("model", "string", "Return the chain of requests for this model.")]),
        RouteDescription::new::<providers::ProviderJson<'static>>(
            "put",
            "/admin/v1/tenants/{tenant}/providers/{name}",
            "Create or change a tenant's own provider",
        )
        .takes::<ProviderFields>()
        .takes_tenant_key(),
        RouteDescription::new::<providers::ProviderJson<'static>>(
            "get",
            "/admin/v1/tenants/{tenant}/providers/{name}",
            "Show a tenant's own provider",
        ),
        RouteDescription::new::<providers::ProviderDeletedJson>(
            "delete",
            "/admin/v1/tenants/{tenant}/providers/{name}",
            "Delete a tenant's own provider",
        )
        .takes_tenant_key(),
        RouteDescription::new::<providers::ProviderJson<'static>>(
            "post",
            "/admin/v1/tenants/{tenant}/providers/{name}/reseal",
            "Reseal the key of a tenant's own provider",
        )
        .takes_tenant_key(),
        RouteDescription::new::<ListJson<providers::ProviderJson<'static>>>(
            "get",
            "/admin/v1/providers",
            "List brokered providers with their health",
        ),
        RouteDescription::new::<ListJson<catalog::ModelJson<'static>>>(
            "get",
            "/admin/v1/catalog",
            "Show the current models with providers and prices",
        ),
        RouteDescription::new::<reload::ReloadedJson>("post", "/admin/v1/reload", "Reload the configuration"),
        RouteDescription::new::<serde_json::Map<String, serde_json::Value>>("get", "/admin/v1/openapi.json", "Show this description"),
    ]
}

fn ledger_routes() -> Vec<RouteDescription> {
    vec![
        RouteDescription::new::<ListJson<ledger::EntryJson<'static>>>("get", "/admin/v1/ledger", "List entries, newest first")
            .query(&FILTERS)
            .query(&PAGE)
            .csv(),
        RouteDescription::new::<ledger::EntryJson<'static>>("get", "/admin/v1/ledger/{request_id}", "Show the newest entry of a request"),
        RouteDescription::new::<usage::UsageJson<'static>>("get", "/admin/v1/usage", "Report usage and cost")
            .query(&FILTERS)
            .query(&[BY, WIDTH])
            .query(&PAGE),
    ]
}

fn openai_routes() -> Vec<RouteDescription> {
    use organization::{CompletionsResult, CostsResult, EmbeddingsResult, PageJson};
    vec![
        RouteDescription::new::<PageJson<CompletionsResult<'static>>>(
            "get",
            "/v1/organization/usage/completions",
            "Usage of chat and completions, in the format of OpenAI's Admin API",
        )
        .over_time()
        .query(&[("batch", "boolean", "True returns nothing, because there are no batches.")]),
        RouteDescription::new::<PageJson<EmbeddingsResult<'static>>>(
            "get",
            "/v1/organization/usage/embeddings",
            "Usage of embeddings, in the format of OpenAI's Admin API",
        )
        .over_time(),
        RouteDescription::new::<PageJson<CostsResult<'static>>>(
            "get",
            "/v1/organization/costs",
            "Costs by day, in the format of OpenAI's Admin API",
        )
        .over_time()
        .query(&[("line_items[]", "array", "Only these line items: models.")]),
    ]
}

impl RouteDescription {
    fn new<T: JsonSchema>(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        let (answer, errors) = (schema::<T>, Vec::new());
        Self { method, path, summary, parameters: Vec::new(), body: None, status: 200, answer, is_csv_too: false, errors }
    }

    /// Operation id for generated clients, such as `get_tenants_keys`.
    pub fn id(&self) -> String {
        let parts = self.path.split('/').map(|part| part.trim_matches(['{', '}'])).filter(|part| !matches!(*part, "" | "admin" | "v1"));
        let words = std::iter::once(self.method).chain(parts).map(|part| part.replace(['-', '.'], "_"));
        words.collect::<Vec<_>>().join("_")
    }

    fn query(mut self, parameters: &[ParameterRow]) -> Self {
        let parameter =
            |(name, r#type, description): &ParameterRow| Parameter { name, location: "query", description, r#type, is_required: false };
        self.parameters.extend(parameters.iter().map(parameter));
        self
    }

    fn over_time(mut self) -> Self {
        self.parameters.push(START);
        self.query(&TIME).query(&SELECTION)
    }

    fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(schema::<T>);
        self
    }

    fn creates(mut self) -> Self {
        self.status = 201;
        self
    }

    fn fails_with(mut self, statuses: &[u16]) -> Self {
        self.errors.extend(statuses);
        self
    }

    /// The route opens sealed data, which needs the tenant key for custody `tenant`.
    fn takes_tenant_key(mut self) -> Self {
        self.parameters.push(TENANT_KEY);
        self.fails_with(&[403, 409])
    }

    fn csv(mut self) -> Self {
        self.is_csv_too = true;
        self
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
