//! `/v1/organization/usage/*` and `/v1/organization/costs`: the ledger in the shapes of OpenAI's Admin API, as its SDKs ask and
//! read them. A project is a tenant, a user a subject.
//!
//! What is asked is read in `question`; here are the sums, put into buckets, in OpenAI's words.

mod question;

use actix_web::{HttpRequest, HttpResponse, web};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::value::RawValue;

use super::error::AdminError;
use super::page;
use crate::control::Control;
use crate::control::store::usage::UsageRow;
use crate::terms::{NanoUsd, Operation};
use question::{Endpoint, Field, Question};

const COMPLETIONS: Endpoint = Endpoint {
    operations: &[Operation::Chat, Operation::Completions],
    fields: &[Field::Project, Field::User, Field::Key, Field::Model, Field::Batch, Field::ServiceTier, Field::Source],
    hours_and_minutes: true,
    longest: 31,
};
const EMBEDDINGS: Endpoint = Endpoint {
    operations: &[Operation::Embeddings],
    fields: &[Field::Project, Field::User, Field::Key, Field::Model],
    hours_and_minutes: true,
    longest: 31,
};
const COSTS: Endpoint = Endpoint {
    operations: &[],
    fields: &[Field::Project, Field::User, Field::Key, Field::LineItem, Field::Source],
    hours_and_minutes: false,
    longest: 180,
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

/// What a result is grouped by; `null` for what it is not.
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
    /// The ledger does not know it.
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
    /// The model: what an entry cost is one sum.
    line_item: Option<&'a str>,
    quantity: Option<f64>,
    quantity_unit: Option<&'static str>,
    #[serde(flatten)]
    groups: Groups<'a>,
}

#[derive(Serialize, JsonSchema)]
pub(super) struct Amount {
    /// US dollars: the exact decimal, to the nano-dollar.
    #[schemars(with = "f64")]
    value: Box<RawValue>,
    currency: &'static str,
}

/// What was asked and what the ledger says.
struct Asked {
    question: Question,
    fingerprint: u32,
    rows: Vec<UsageRow>,
}

pub async fn completions(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let asked = ask(&request, &control, &COMPLETIONS).await?;
    let question = &asked.question;
    Ok(asked.page(|row| CompletionsResult {
        object: "organization.usage.completions.result",
        input_tokens: row.totals.prompt_tokens,
        input_cached_tokens: row.totals.cached_tokens,
        input_cache_write_tokens: row.totals.cache_write_tokens,
        input_uncached_tokens: row.totals.prompt_tokens - row.totals.cached_tokens - row.totals.cache_write_tokens,
        output_tokens: row.totals.completion_tokens,
        input_audio_tokens: 0,
        output_audio_tokens: 0,
        num_model_requests: row.totals.requests,
        groups: groups(row, question),
        model: question.value(row, Field::Model),
        batch: question.groups_by(Field::Batch).then_some(false),
        service_tier: None,
    }))
}

pub async fn embeddings(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let asked = ask(&request, &control, &EMBEDDINGS).await?;
    let question = &asked.question;
    Ok(asked.page(|row| EmbeddingsResult {
        object: "organization.usage.embeddings.result",
        input_tokens: row.totals.prompt_tokens,
        num_model_requests: row.totals.requests,
        groups: groups(row, question),
        model: question.value(row, Field::Model),
    }))
}

pub async fn costs(request: HttpRequest, control: web::Data<Control>) -> Result<HttpResponse, AdminError> {
    let asked = ask(&request, &control, &COSTS).await?;
    let question = &asked.question;
    Ok(asked.page(|row| CostsResult {
        object: "organization.costs.result",
        amount: amount(NanoUsd(row.totals.cost_nanousd)),
        line_item: question.value(row, Field::LineItem),
        quantity: None,
        quantity_unit: None,
        groups: groups(row, question),
    }))
}

async fn ask(request: &HttpRequest, control: &Control, endpoint: &Endpoint) -> Result<Asked, AdminError> {
    let (question, fingerprint) = Question::read(request, endpoint)?;
    let rows = match question.usage() {
        Some(query) => control.usage(query).await?,
        None => Vec::new(),
    };
    Ok(Asked { question, fingerprint, rows })
}

impl Asked {
    /// Every bucket of the page, those without usage too. Rows come in the order of their buckets.
    fn page<'a, T: Serialize>(&'a self, shown: impl Fn(&'a UsageRow) -> T) -> HttpResponse {
        let mut rows = self.rows.iter().peekable();
        let data = self.question.buckets().map(|(start_time, end_time)| {
            let is_in = |row: &&UsageRow| row.bucket.is_some_and(|bucket| bucket < end_time * 1_000);
            let results = std::iter::from_fn(|| rows.next_if(is_in)).map(&shown).collect();
            BucketJson { object: "bucket", start_time, end_time, results }
        });
        let data = data.collect();
        let next_page = self.question.next().map(|start| page::encode(&start.to_string(), self.fingerprint));
        HttpResponse::Ok().json(PageJson { object: "page", data, has_more: next_page.is_some(), next_page })
    }
}

fn groups<'a>(row: &'a UsageRow, question: &Question) -> Groups<'a> {
    Groups {
        project_id: question.value(row, Field::Project),
        user_id: question.value(row, Field::User),
        api_key_id: question.value(row, Field::Key),
        api_source: question.groups_by(Field::Source).then_some("unlabeled"),
    }
}

fn amount(cost: NanoUsd) -> Amount {
    Amount { value: RawValue::from_string(cost.to_string()).unwrap_or_else(|_| RawValue::NULL.to_owned()), currency: "usd" }
}
