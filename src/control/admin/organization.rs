//! `/v1/organization/usage/*` and `/v1/organization/costs`: usage and costs in the format of
//! OpenAI's Admin API, for its SDKs. A project is a tenant, a user a subject.
//!
//! `usage_request` parses the request; this file puts the totals into buckets and OpenAI's format.

mod usage_request;

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::AdminError;
use super::page;
use crate::control::Control;
use crate::control::store::usage::UsageRow;
use crate::terms::{NanoUsd, Operation};
use usage_request::{Endpoint, GroupField, UsageRequest};

const COMPLETIONS: Endpoint = Endpoint {
    operations: &[Operation::Chat, Operation::Completions],
    fields: &[
        GroupField::Project,
        GroupField::User,
        GroupField::Key,
        GroupField::Model,
        GroupField::Batch,
        GroupField::ServiceTier,
        GroupField::Source,
    ],
    hours_and_minutes: true,
    max_days: 31,
};
const EMBEDDINGS: Endpoint = Endpoint {
    operations: &[Operation::Embeddings],
    fields: &[GroupField::Project, GroupField::User, GroupField::Key, GroupField::Model],
    hours_and_minutes: true,
    max_days: 31,
};
const COSTS: Endpoint = Endpoint {
    operations: &[],
    fields: &[GroupField::Project, GroupField::User, GroupField::Key, GroupField::LineItem, GroupField::Source],
    hours_and_minutes: false,
    max_days: 180,
};

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub(super) struct PageJson<T> {
    object: &'static str,
    data: Vec<BucketJson<T>>,
    has_more: bool,
    next_page: Option<String>,
}

#[derive(Serialize, JsonSchema)]
#[schemars(rename = "{T}Bucket")]
pub(super) struct BucketJson<T> {
    object: &'static str,
    start_time: i64,
    end_time: i64,
    results: Vec<T>,
}

/// Values of the dimensions that a result is grouped by; `null` for the others.
#[derive(Serialize, Default, JsonSchema)]
pub(super) struct Groups<'a> {
    project_id: Option<&'a str>,
    user_id: Option<&'a str>,
    api_key_id: Option<&'a str>,
    api_source: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct CompletionsResult<'a> {
    object: &'static str,
    input_tokens: i64,
    input_cached_tokens: i64,
    input_cache_write_tokens: i64,
    input_uncached_tokens: i64,
    output_tokens: i64,
    input_audio_tokens: i64,
    output_audio_tokens: i64,
    num_model_requests: i64,
    #[serde(flatten)]
    groups: Groups<'a>,
    model: Option<&'a str>,
    batch: Option<bool>,
    /// Always null: the ledger does not record it.
    service_tier: Option<&'static str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct EmbeddingsResult<'a> {
    object: &'static str,
    input_tokens: i64,
    num_model_requests: i64,
    #[serde(flatten)]
    groups: Groups<'a>,
    model: Option<&'a str>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct CostsResult<'a> {
    object: &'static str,
    amount: Amount,
    /// The model: an entry has one total cost.
    line_item: Option<&'a str>,
    quantity: Option<f64>,
    quantity_unit: Option<&'static str>,
    #[serde(flatten)]
    groups: Groups<'a>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Amount {
    /// US dollars as an exact decimal, in steps of a nano-dollar.
    #[schemars(with = "f64")]
    value: Box<RawValue>,
    currency: &'static str,
}

/// A request and its totals.
struct UsageAnswer {
    usage: UsageRequest,
    fingerprint: u32,
    rows: Vec<UsageRow>,
}

pub async fn completions(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let answer = ask(&request, &control, &COMPLETIONS).await?;
    let usage = &answer.usage;
    Ok(answer.page(|row| CompletionsResult {
        object: "organization.usage.completions.result",
        input_tokens: row.totals.prompt_tokens,
        input_cached_tokens: row.totals.cached_tokens,
        input_cache_write_tokens: row.totals.cache_write_tokens,
        input_uncached_tokens: row.totals.prompt_tokens - row.totals.cached_tokens - row.totals.cache_write_tokens,
        output_tokens: row.totals.completion_tokens,
        input_audio_tokens: 0,
        output_audio_tokens: 0,
        num_model_requests: row.totals.requests,
        groups: groups(row, usage),
        model: usage.value(row, GroupField::Model),
        batch: usage.groups_by(GroupField::Batch).then_some(false),
        service_tier: None,
    }))
}

pub async fn embeddings(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let answer = ask(&request, &control, &EMBEDDINGS).await?;
    let usage = &answer.usage;
    Ok(answer.page(|row| EmbeddingsResult {
        object: "organization.usage.embeddings.result",
        input_tokens: row.totals.prompt_tokens,
        num_model_requests: row.totals.requests,
        groups: groups(row, usage),
        model: usage.value(row, GroupField::Model),
    }))
}

pub async fn costs(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let answer = ask(&request, &control, &COSTS).await?;
    let usage = &answer.usage;
    Ok(answer.page(|row| CostsResult {
        object: "organization.costs.result",
        amount: amount(NanoUsd(row.totals.cost_nanousd)),
        line_item: usage.value(row, GroupField::LineItem),
        quantity: None,
        quantity_unit: None,
        groups: groups(row, usage),
    }))
}

async fn ask(request: &HttpRequest, control: &Control, endpoint: &Endpoint) -> Result<UsageAnswer, AdminError> {
    let (usage, fingerprint) = UsageRequest::read(request, endpoint)?;
    let rows = match usage.query() {
        Some(query) => control.usage(query).await?,
        None => Vec::new(),
    };
    Ok(UsageAnswer { usage, fingerprint, rows })
}

impl UsageAnswer {
    /// Builds the page with every bucket, including empty ones. Rows are sorted by bucket.
    fn page<'a, T: Serialize>(&'a self, shown: impl Fn(&'a UsageRow) -> T) -> HttpResponse {
        let mut rows = self.rows.iter().peekable();
        let data = self.usage.buckets().map(|(start_time, end_time)| {
            let is_in = |row: &&UsageRow| row.bucket.is_some_and(|bucket| bucket < end_time * 1_000);
            let results = std::iter::from_fn(|| rows.next_if(is_in)).map(&shown).collect();
            BucketJson { object: "bucket", start_time, end_time, results }
        });
        let data = data.collect();
        let next_page = self.usage.next().map(|start| page::encode(&start.to_string(), self.fingerprint));
        HttpResponse::Ok().json(PageJson { object: "page", data, has_more: next_page.is_some(), next_page })
    }
}

fn groups<'a>(row: &'a UsageRow, usage: &UsageRequest) -> Groups<'a> {
    Groups {
        project_id: usage.value(row, GroupField::Project),
        user_id: usage.value(row, GroupField::User),
        api_key_id: usage.value(row, GroupField::Key),
        api_source: usage.groups_by(GroupField::Source).then_some("unlabeled"),
    }
}

fn amount(cost: NanoUsd) -> Amount {
    Amount { value: RawValue::from_string(cost.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned()), currency: "usd" }
}
