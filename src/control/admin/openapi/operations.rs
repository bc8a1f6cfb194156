//! Every route of the admin plane: what it is for, what it takes, what it answers.

use schemars::{JsonSchema, Schema, SchemaGenerator};

use crate::control::admin::page::List;
use crate::control::admin::{catalog, edges, keys, ledger, organization, providers, reload, tenants, usage};
use crate::control::edges::NewEdge;
use crate::control::keys::KeyFields;
use crate::control::providers::ProviderFields;
use crate::control::tenants::{NewTenant, TenantChange};

/// One method of one path.
pub struct Operation {
    pub method: &'static str,
    pub path: &'static str,
    pub summary: &'static str,
    pub parameters: Vec<Parameter>,
    pub body: Option<fn(&mut SchemaGenerator) -> Schema>,
    pub status: u16,
    pub answer: fn(&mut SchemaGenerator) -> Schema,
    /// Whether `Accept: text/csv` gets CSV.
    pub is_csv_too: bool,
    /// Besides those any route may answer with.
    pub refusals: Vec<u16>,
}

/// A parameter of the query, or a header.
#[derive(Clone)]
pub struct Parameter {
    pub name: &'static str,
    pub place: &'static str,
    pub what: &'static str,
    pub r#type: &'static str,
    pub is_required: bool,
}

type Told = (&'static str, &'static str, &'static str);

const PAGE: [Told; 2] = [("limit", "integer", "How many: 1 to 1000."), ("cursor", "string", "The next_cursor of the page before.")];
const FILTERS: [Told; 9] = [
    ("tenant", "string", "Only this tenant's."),
    ("key_id", "string", "Only this key's."),
    ("model", "string", "Only this model's."),
    ("provider", "string", "Only this provider's."),
    ("subject", "string", "Only of whom the key stood for."),
    ("tag", "string", "Only with this tag: `name=value`, or a name for any value."),
    ("outcome", "string", "Only with this outcome: ok, client_error, upstream_error, interrupted or client_closed."),
    ("from", "integer", "From then on, in Unix milliseconds."),
    ("to", "integer", "Before then, in Unix milliseconds."),
];
const BY: Told = ("group_by", "array", "Any of tenant, team, key, subject, model, provider, tag:NAME.");
const WIDTH: Told = ("bucket_width", "string", "Sums by 1m, 1h, 1d or 1mo of UTC.");
const TIME: [Told; 6] = [
    ("end_time", "integer", "Before then, in Unix seconds; now if not said."),
    ("bucket_width", "string", "1m, 1h or 1d; costs by 1d only."),
    ("group_by[]", "array", "What results are grouped by, as OpenAI documents it."),
    ("limit", "integer", "Buckets of a page."),
    ("page", "string", "The next_page of the page before."),
    ("models[]", "array", "Only these models."),
];
const AMONG: [Told; 3] = [
    ("project_ids[]", "array", "Only these tenants."),
    ("user_ids[]", "array", "Only these subjects."),
    ("api_key_ids[]", "array", "Only these keys, by their ids."),
];
const START: Parameter =
    Parameter { name: "start_time", place: "query", what: "From then on, in Unix seconds.", r#type: "integer", is_required: true };

const TENANT_KEY: Parameter = Parameter {
    name: "X-Aigw-Tenant-Key",
    place: "header",
    what: "The tenant key, for a tenant whose custody is `tenant`.",
    r#type: "string",
    is_required: false,
};

/// The table.
pub fn all() -> Vec<Operation> {
    let mut all = of_tenants();
    all.extend(of_keys());
    all.extend(of_providers());
    all.extend(of_the_ledger());
    all.extend(of_openai());
    all
}

fn of_tenants() -> Vec<Operation> {
    type Tenant = tenants::TenantJson;
    type Key = tenants::TenantKeyJson<'static>;
    vec![
        Operation::new::<List<Tenant>>("get", "/admin/v1/tenants", "List tenants").query(&PAGE),
        Operation::new::<Tenant>("post", "/admin/v1/tenants", "Make a tenant").takes::<NewTenant>().makes().refuses(&[409]),
        Operation::new::<Tenant>("get", "/admin/v1/tenants/{tenant}", "Show a tenant"),
        Operation::new::<Tenant>("patch", "/admin/v1/tenants/{tenant}", "Change a tenant").takes::<TenantChange>().refuses(&[409]),
        Operation::new::<tenants::Deleted>("delete", "/admin/v1/tenants/{tenant}", "Delete a tenant and its keys").refuses(&[409]),
        Operation::new::<List<Key>>("get", "/admin/v1/tenants/{tenant}/tenant-keys", "List a tenant's own root's keys"),
        Operation::new::<Key>("post", "/admin/v1/tenants/{tenant}/tenant-keys", "Make another tenant key").opened().makes(),
        Operation::new::<tenants::Deleted>("delete", "/admin/v1/tenants/{tenant}/tenant-keys/{key}", "Delete a tenant key").opened(),
        Operation::new::<tenants::EpochJson>("post", "/admin/v1/tenants/{tenant}/epoch", "Begin a new epoch, after a leak").opened(),
        Operation::new::<List<edges::EdgeJson<'static>>>("get", "/admin/v1/edges", "List edges"),
        Operation::new::<edges::EdgeJson<'static>>("post", "/admin/v1/edges", "Make an edge").takes::<NewEdge>().makes().refuses(&[409]),
        Operation::new::<edges::Deleted>("delete", "/admin/v1/edges/{edge}", "Delete an edge").refuses(&[409]),
    ]
}

fn of_keys() -> Vec<Operation> {
    type Key = keys::KeyJson<'static>;
    vec![
        Operation::new::<List<Key>>("get", "/admin/v1/tenants/{tenant}/keys", "List virtual keys").query(&PAGE),
        Operation::new::<Key>("post", "/admin/v1/tenants/{tenant}/keys", "Make a virtual key").takes::<KeyFields>().opened().makes(),
        Operation::new::<Key>("get", "/admin/v1/tenants/{tenant}/keys/{key}", "Show a virtual key"),
        Operation::new::<Key>("patch", "/admin/v1/tenants/{tenant}/keys/{key}", "Change a virtual key")
            .takes::<KeyFields>()
            .refuses(&[409]),
        Operation::new::<Key>("delete", "/admin/v1/tenants/{tenant}/keys/{key}", "Revoke a virtual key"),
        Operation::new::<Key>("post", "/admin/v1/tenants/{tenant}/keys/{key}/rotate", "Replace a virtual key")
            .takes::<keys::Rotation>()
            .opened()
            .makes(),
    ]
}

fn of_providers() -> Vec<Operation> {
    type Provider = providers::ProviderJson<'static>;
    vec![
        Operation::new::<List<Provider>>(
            "get",
            "/admin/v1/tenants/{tenant}/providers",
            "List a tenant's providers in the order they are tried",
        )
        .query(&[("model", "string", "The chain of a request for this model.")]),
        Operation::new::<Provider>("put", "/admin/v1/tenants/{tenant}/providers/{name}", "Write a provider of the tenant's own")
            .takes::<ProviderFields>()
            .opened(),
        Operation::new::<Provider>("get", "/admin/v1/tenants/{tenant}/providers/{name}", "Show a provider of the tenant's own"),
        Operation::new::<providers::Deleted>(
            "delete",
            "/admin/v1/tenants/{tenant}/providers/{name}",
            "Delete a provider of the tenant's own",
        )
        .opened(),
        Operation::new::<Provider>("post", "/admin/v1/tenants/{tenant}/providers/{name}/reseal", "Seal a provider's key anew").opened(),
        Operation::new::<List<Provider>>("get", "/admin/v1/providers", "List brokered providers and how they have been doing"),
        Operation::new::<List<catalog::ModelJson<'static>>>(
            "get",
            "/admin/v1/catalog",
            "Show the models in effect, who serves each, at which price",
        ),
        Operation::new::<reload::ReloadedJson>("post", "/admin/v1/reload", "Read the configuration again"),
        Operation::new::<serde_json::Map<String, serde_json::Value>>("get", "/admin/v1/openapi.json", "This description"),
    ]
}

fn of_the_ledger() -> Vec<Operation> {
    type Entry = ledger::EntryJson<'static>;
    vec![
        Operation::new::<List<Entry>>("get", "/admin/v1/ledger", "List entries, newest first").query(&FILTERS).query(&PAGE).csv(),
        Operation::new::<Entry>("get", "/admin/v1/ledger/{request_id}", "Show the newest entry of a request"),
        Operation::new::<usage::UsageJson<'static>>("get", "/admin/v1/usage", "Sum up what was used and what it cost")
            .query(&FILTERS)
            .query(&[BY, WIDTH])
            .query(&PAGE),
    ]
}

fn of_openai() -> Vec<Operation> {
    use organization::{CompletionsResult, CostsResult, EmbeddingsResult, PageJson};
    vec![
        Operation::new::<PageJson<CompletionsResult<'static>>>(
            "get",
            "/v1/organization/usage/completions",
            "Usage of chat and completions, as OpenAI's Admin API tells it",
        )
        .over_time()
        .query(&[("batch", "boolean", "Only batches, of which there are none, or only others.")]),
        Operation::new::<PageJson<EmbeddingsResult<'static>>>(
            "get",
            "/v1/organization/usage/embeddings",
            "Usage of embeddings, as OpenAI's Admin API tells it",
        )
        .over_time(),
        Operation::new::<PageJson<CostsResult<'static>>>("get", "/v1/organization/costs", "Costs by day, as OpenAI's Admin API tells them")
            .over_time()
            .query(&[("line_items[]", "array", "Only these line items: models.")]),
    ]
}

impl Operation {
    fn new<T: JsonSchema>(method: &'static str, path: &'static str, summary: &'static str) -> Self {
        let (answer, refusals) = (schema::<T>, Vec::new());
        Self { method, path, summary, parameters: Vec::new(), body: None, status: 200, answer, is_csv_too: false, refusals }
    }

    /// A name for generated clients, such as `get_tenants_keys`.
    pub fn id(&self) -> String {
        let parts = self.path.split('/').map(|part| part.trim_matches(['{', '}'])).filter(|part| !matches!(*part, "" | "admin" | "v1"));
        let words = std::iter::once(self.method).chain(parts).map(|part| part.replace(['-', '.'], "_"));
        words.collect::<Vec<_>>().join("_")
    }

    fn query(mut self, parameters: &[Told]) -> Self {
        let of_query = |(name, r#type, what): &Told| Parameter { name, place: "query", what, r#type, is_required: false };
        self.parameters.extend(parameters.iter().map(of_query));
        self
    }

    fn over_time(mut self) -> Self {
        self.parameters.push(START);
        self.query(&TIME).query(&AMONG)
    }

    fn takes<T: JsonSchema>(mut self) -> Self {
        self.body = Some(schema::<T>);
        self
    }

    fn makes(mut self) -> Self {
        self.status = 201;
        self
    }

    fn refuses(mut self, statuses: &[u16]) -> Self {
        self.refusals.extend(statuses);
        self
    }

    /// It touches secrets: those of a tenant that keeps its own root need its key.
    fn opened(mut self) -> Self {
        self.parameters.push(TENANT_KEY);
        self.refuses(&[403, 409])
    }

    fn csv(mut self) -> Self {
        self.is_csv_too = true;
        self
    }
}

fn schema<T: JsonSchema>(generator: &mut SchemaGenerator) -> Schema {
    generator.subschema_for::<T>()
}
